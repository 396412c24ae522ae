"""Pools of processes that keep order, on the seeded host: commits come in order, whichever worker is first or dies.

`ROUTILUX_STRESS=1` (`make stress`) runs 2,000 seeds a case.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, JobStatus, Routine, resizing
from routilux.runtime import partitions
from routilux.turn import outbox
from supervisors.places.scripted import Faults
from supervisors.wire.values import decode
from tests.runtime import shapes
from tests.runtime.seeded import SeededJob
from tests.runtime.world import Odds, World

IS_STRESS = os.environ.get("ROUTILUX_STRESS") == "1"
SEEDS = range(2_000 if IS_STRESS else 20)
KEPT_SEEDS = range(2_000 if IS_STRESS else 6)
"""Of jobs in a store, whose seeds take ten times as long."""
COUNT = 12
FAULTS = Faults(crash=0.01, crash_before_commit=0.03, start_failure=0.02)
NEVER_GIVE_UP = ErrorHandler("retry", max_retries=10_000, retry_delay=0.05, jitter=0.5)
EVERY = (None, 0.02, 0.3)

pytestmark = pytest.mark.timeout(6_000 if IS_STRESS else 300)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")


class Work(Routine):
    """Makes three of each number, in the way that its number says: at once, in steps, or after it was done once.

    Every fourth fails the first two times, after it has let some out. Steps keep their place in the state of the
    worker, to which a message comes back as long as its job has the same runner.
    """

    tickets = itertools.count()

    def __init__(self, *, steps: bool = True) -> None:
        super().__init__()
        self.steps = steps
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> Iterator[None] | None:
        self.state["count"] = self.state.get("count", 0) + 1
        if n % 3 == 0 and self.steps:
            return self.make_in_steps(n)
        if n % 3 == 1:
            self.state[f"ticket.{n}"] = self.once("pay", lambda: next(self.tickets))
        for k in range(3):
            self.emit("number", n=n * 3 + k)
        self.fail_at_times(n)
        return None

    def make_in_steps(self, n: int) -> Iterator[None]:
        for k in range(self.state.get(f"step.{n}", 0), 3):
            self.emit("number", n=n * 3 + k)
            self.state[f"step.{n}"] = k + 1
            yield
            self.fail_at_times(n)

    def fail_at_times(self, n: int) -> None:
        if n % 4 == 2 and self.attempt <= 2:
            raise ValueError(n)


def make_flow(workers: Any = 3, *, steps: bool = True, **options: Any) -> Flow:
    flow = Flow("pool")
    common: dict[str, Any] = {
        "placement": "process",
        "error_handler": NEVER_GIVE_UP,
        "max_restarts": 10_000,
        "ordered": True,
        **options,
    }
    flow.add_routine(shapes.Source(batch=2), "source", error_handler=NEVER_GIVE_UP)
    flow.add_routine(Work(steps=steps), "work", workers=workers, **common)
    flow.add_routine(shapes.Sink(), "sink")
    flow.connect("source", "number", "work", "input")
    flow.connect("work", "number", "sink", "input")
    flow.output("work", "number")
    return flow


def check_sink(sink: Any, numbers: list[int], told: str) -> None:
    assert "disorder" not in sink, told
    found = (sink["input.last"], sink["input.count"], sink["input.sum"])
    assert found == (numbers[-1], len(numbers), sum(numbers)), told


def is_all_handled(cut: Any) -> bool:
    """Whether nothing is left but results, which nobody takes."""
    return all(count.sent == count.handled for count in cut.connections if not count.label.endswith("output"))


def results(job: SeededJob) -> list[int]:
    (output,) = job.ledger.outputs
    payloads = [message.payload for message in (*output.collected, *output.mailbox.data)]
    return [(job.codec.decode(payload) if isinstance(payload, bytes) else payload)["n"] for payload in payloads]


@pytest.mark.parametrize("workers", [2, 3, 7])
@pytest.mark.parametrize("capacity", [3, 1_000])
def test_an_ordered_pool_commits_in_order_whichever_worker_is_first_fails_or_dies(
    workers: int, capacity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "COUNT_BOUND", 2)
    for seed in SEEDS:
        job = SeededJob(make_flow(workers=workers, capacity=capacity), seed, FAULTS)
        job.send("source", count=COUNT)
        cut = job.run()
        told = f"seed {seed}"
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        assert results(job) == list(range(COUNT * 3)), told
        check_sink(job.state("sink"), list(range(COUNT * 3)), told)
        states = [job.state("work", worker) for worker in range(workers)]
        tickets = {value for state in states for key, value in state.items() if key.startswith("ticket")}
        assert len(tickets) == COUNT // 3, told
        assert is_all_handled(cut), told


class Failing(Routine):
    """Fails on every third number, after it has let it out."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        self.emit("number", n=n)
        if n % 3 == 2:
            raise ValueError(n)


@pytest.mark.parametrize(
    ("strategy", "status", "handled"),
    [("continue", "completed", [0, 1, 3, 4, 6, 7]), ("skip", "completed", [0, 1]), ("stop", "failed", [0, 1])],
)
def test_each_strategy_gives_up_what_it_says_and_keeps_what_is_behind(
    strategy: str, status: str, handled: list[int]
) -> None:
    for seed in SEEDS:
        flow = Flow("strategies")
        flow.add_routine(
            Failing(), "failing", placement="process", workers=3, ordered=True, error_handler=ErrorHandler(strategy)
        )
        flow.add_routine(shapes.Sink(), "sink")
        flow.connect("failing", "number", "sink", "input")
        flow.output("failing", "number")
        job = SeededJob(flow, seed, Faults())
        for n in range(9):
            job.send("failing", n=n)
        cut = job.run()
        told = f"seed {seed}"
        assert cut.status == status, f"{told}: {cut.error}"
        assert "disorder" not in job.state("sink"), told
        assert results(job) == handled, told
        account, figures = job.account("failing"), cut.routines[0].figures
        left = [decode(message.payload)["n"] for message in account.mailbox.waiting_held()]
        assert left == (list(range(2, 9)) if strategy == "stop" else []), told
        assert figures.handled == len(handled), told
        assert figures.handled + figures.dead + figures.skipped + figures.waiting == 9, told
        assert not account.in_hand, told


@pytest.mark.parametrize("strategy", ["continue", "stop"])
def test_a_message_that_kills_its_worker_is_told_in_its_turn(strategy: str) -> None:
    for seed in SEEDS:
        flow = Flow("deaths")
        handler = ErrorHandler("retry", max_retries=2, retry_delay=0.1, then=strategy)
        options: dict[str, Any] = {"placement": "process", "workers": 3, "ordered": True, "max_restarts": 99}
        flow.add_routine(shapes.Stage(), "stage", error_handler=handler, **options)
        flow.add_routine(shapes.Sink(), "sink")
        flow.connect("stage", "number", "sink", "input")
        job = SeededJob(flow, seed, Faults(crash=0.3))
        for n in range(9):
            job.send("stage", slot="input", n=n)
        cut = job.run()
        told = f"seed {seed}"
        assert cut.status in {JobStatus.COMPLETED, JobStatus.FAILED}, told
        sink = job.state("sink")
        assert "disorder" not in sink, told
        left = [decode(message.payload)["n"] for message in job.account("stage").mailbox.waiting_held()]
        assert left == sorted(left), told
        dead = [decode(letter.message.payload)["n"] for letter in cut.dead_letters]
        assert sink.get("input.count", 0) + len(left) + len(dead) == 9, told
        assert all(letter.attempts == 3 for letter in cut.dead_letters), told
        if strategy == "continue":
            assert cut.status is JobStatus.COMPLETED, told


@pytest.mark.parametrize("strategy", ["continue", "stop"])
def test_a_message_that_no_frame_can_carry_fails_in_its_turn(strategy: str) -> None:
    for seed in SEEDS:
        flow = Flow("heavy")
        handler = ErrorHandler("retry", max_retries=10_000, retry_delay=0.1, then=strategy)
        flow.add_routine(
            Work(), "work", placement="process", workers=3, ordered=True, max_restarts=10_000, error_handler=handler
        )
        flow.add_routine(shapes.Sink(), "sink")
        flow.connect("work", "number", "sink", "input")
        flow.output("work", "number")
        job = SeededJob(flow, seed, Faults(crash=0.02, crash_before_commit=0.02), max_request_bytes=200)
        for n in range(9):
            job.send("work", slot="input", n=n, **({"weight": "x" * 300} if n in {4, 5} else {}))
        cut = job.run()
        told = f"seed {seed}"
        kept = [n for n in range(9) if n not in {4, 5}] if strategy == "continue" else [0, 1, 2, 3]
        assert cut.status is (JobStatus.COMPLETED if strategy == "continue" else JobStatus.FAILED), told
        assert results(job) == [n * 3 + k for n in kept for k in range(3)], told


def test_an_ordered_pool_keeps_order_over_pauses_and_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "COUNT_BOUND", 2)
    for seed in KEPT_SEEDS:
        odds = Odds(fail=0.05 if seed % 3 == 0 else 0.0, die_writing=0.02 if seed % 2 else 0.0)
        world = World(lambda: make_flow(steps=False), seed, odds, FAULTS, EVERY[seed % 3])
        cut = world.run([("source", {"count": COUNT})])
        told = f"seed {seed}"
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        assert results(world.job) == list(range(COUNT * 3)), told
        check_sink(world.job.state("sink"), list(range(COUNT * 3)), told)
        assert all(len(values) == 1 for values in world.recorded().values()), told
        assert is_all_handled(cut), told


# ---- Partitioned


class Tally(Routine):
    """Keeps for each key the numbers that came, in order, and hands on how many and the last; fails at times."""

    def __init__(self, *, steps: bool = True) -> None:
        super().__init__()
        self.steps = steps
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["user", "n", "count"])

    def handle(self, user: int, n: int) -> Iterator[None] | None:
        self.increment_stat("seen")
        if self.steps and n % 4 == 1:
            return self.handle_in_steps(user, n)
        self.keep(user, n)
        if n % 5 == 3 and self.attempt <= 2:
            raise ValueError(n)
        return None

    def keep(self, user: int, n: int) -> None:
        seen = self.state.setdefault("seen", [])
        seen.append(n)
        self.emit("number", user=user, n=n, count=len(seen))

    def handle_in_steps(self, user: int, n: int) -> Iterator[None]:
        if self.state.get("at") != n:
            self.state["at"] = n
            self.keep(user, n)
            yield
        if n % 3 == 0 and self.attempt <= 2:
            raise ValueError(n)


class Spread(Routine):
    """Emits the numbers below `count`, each for one of `users`."""

    def __init__(self, users: int) -> None:
        super().__init__()
        self.users = users
        self.define_slot("trigger", handler=self.produce)
        self.define_event("number", ["who", "n"])

    def produce(self, count: int) -> Iterator[None]:
        for n in range(self.state.get("next", 0), count):
            self.emit("number", who=n * n % self.users, n=n)
            self.state["next"] = n + 1
            if n % 2:
                yield


USERS = 5


def make_partitioned(workers: Any = 3, **options: Any) -> Flow:
    flow = Flow("partitioned")
    common: dict[str, Any] = {"error_handler": NEVER_GIVE_UP, "max_restarts": 10_000}
    flow.add_routine(Spread(USERS), "spread", **common)
    pool: dict[str, Any] = {"placement": "process", "workers": workers, "partition_by": "user", **common, **options}
    flow.add_routine(Tally(), "tally", **pool)
    flow.connect("spread", "number", "tally", "input", {"who": "user"})
    flow.output("tally", "number")
    return flow


def by_user(count: int) -> dict[int, list[int]]:
    kept: dict[int, list[int]] = {}
    for n in range(count):
        kept.setdefault(n * n % USERS, []).append(n)
    return kept


def check_partitioned(job: SeededJob, count: int, told: str) -> None:
    """Each key has its own state, and its messages came once and in order."""
    expected = by_user(count)
    assert {user: state["seen"] for user, state in job.state("tally").items()} == expected, told
    (output,) = job.ledger.outputs
    payloads = [message.payload for message in (*output.collected, *output.mailbox.data)]
    came: dict[int, list[int]] = {}
    for payload in payloads:
        data: Any = job.codec.decode(payload) if isinstance(payload, bytes) else payload
        came.setdefault(data["user"], []).append(data["n"])
        assert data["count"] == len(came[data["user"]]), told
    assert came == expected, told


@pytest.mark.parametrize("ordered", [None, True])
@pytest.mark.parametrize("workers", [1, 3])
def test_each_key_has_its_own_state_and_order_whichever_worker_fails_or_dies(
    workers: int, ordered: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "KEYS_KNOWN", 1)
    for seed in SEEDS:
        job = SeededJob(make_partitioned(workers, ordered=ordered), seed, FAULTS)
        job.send("spread", count=COUNT * 2)
        cut = job.run()
        told = f"seed {seed}"
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        check_partitioned(job, COUNT * 2, told)
        if ordered:
            assert results(job) == list(range(COUNT * 2)), told
        assert is_all_handled(cut), told


@pytest.mark.parametrize("ordered", [None, True])
def test_each_key_keeps_its_state_over_pauses_power_cuts_and_other_numbers_of_workers(ordered: bool | None) -> None:
    for seed in KEPT_SEEDS:
        odds = Odds(fail=0.05 if seed % 3 == 0 else 0.0, die_writing=0.02 if seed % 2 else 0.0)
        sizes = itertools.cycle([3, 1, 4, 2])

        def make(sizes: Iterator[int] = sizes) -> Flow:
            return make_partitioned(next(sizes), ordered=ordered)

        world = World(make, seed, odds, FAULTS, EVERY[seed % 3])
        cut = world.run([("spread", {"count": COUNT})])
        told = f"seed {seed}"
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        check_partitioned(world.job, COUNT, told)
        assert is_all_handled(cut), told


@pytest.mark.parametrize("strategy", ["continue", "stop", "skip"])
def test_a_failure_of_a_key_gives_up_what_its_strategy_says(strategy: str) -> None:
    for seed in SEEDS:
        flow = Flow("failing")
        options: dict[str, Any] = {"placement": "process", "workers": 3, "partition_by": "n"}
        flow.add_routine(Failing(), "failing", error_handler=ErrorHandler(strategy), **options)
        flow.output("failing", "number")
        job = SeededJob(flow, seed, Faults())
        for n in range(9):
            job.send("failing", n=n)
        cut = job.run()
        told, figures = f"seed {seed}", cut.routines[0].figures
        assert figures.handled + figures.dead + figures.skipped + figures.waiting == 9, told
        assert set(results(job)) <= {0, 1, 3, 4, 6, 7}, told
        if strategy == "continue":
            assert sorted(results(job)) == [0, 1, 3, 4, 6, 7], told


# ---- Resized


@pytest.fixture
def _sizes_swing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pools grow and shrink whenever there is any reason for it."""
    for name, value in (
        ("GROW_SECONDS", 0.0),
        ("BACKLOG_SECONDS", 0.0),
        ("SHRINK_SECONDS", 0.0),
        ("SHRINK_LOAD", 99.0),
    ):
        monkeypatch.setattr(resizing, name, value)


@pytest.mark.usefixtures("_sizes_swing")
@pytest.mark.parametrize("ordered", [None, True])
def test_a_pool_that_grows_and_shrinks_loses_nothing(ordered: bool | None) -> None:
    sizes = set()
    for seed in SEEDS:
        job = SeededJob(make_flow((1, 4), steps=False, ordered=ordered, capacity=4), seed, FAULTS)
        job.send("source", count=COUNT * 2)
        work = job.account("work")
        job.ledger.close_entry()
        job.run_until(lambda work=work, job=job: bool(sizes.add(count_up(work)) or job.finished.done()))
        cut = job.run()
        told = f"seed {seed}"
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        assert sorted(results(job)) == list(range(COUNT * 6)), told
        assert ordered is None or results(job) == sorted(results(job)), told
        assert is_all_handled(cut), told
    assert {1, 2, 3, 4} <= sizes


def count_up(account: Any) -> int:
    return sum(pid is not None for pid in account.pids)


@pytest.mark.usefixtures("_sizes_swing")
@pytest.mark.parametrize("ordered", [None, True])
def test_keys_move_when_a_pool_grows_and_shrinks_and_lose_nothing(
    ordered: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "KEYS_KNOWN", 2)
    for seed in SEEDS:
        job = SeededJob(make_partitioned((1, 4), ordered=ordered), seed, FAULTS)
        job.send("spread", count=COUNT * 2)
        cut = job.run()
        told = f"seed {seed}"
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        check_partitioned(job, COUNT * 2, told)
        assert is_all_handled(cut), told


@pytest.mark.usefixtures("_sizes_swing")
def test_a_pool_that_grows_and_shrinks_loses_nothing_over_pauses_and_power_cuts() -> None:
    for seed in KEPT_SEEDS:
        odds = Odds(fail=0.05 if seed % 3 == 0 else 0.0, die_writing=0.02 if seed % 2 else 0.0)
        world = World(lambda: make_partitioned((1, 3)), seed, odds, FAULTS, EVERY[seed % 3])
        cut = world.run([("spread", {"count": COUNT})])
        told = f"seed {seed}"
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        check_partitioned(world.job, COUNT, told)
        assert is_all_handled(cut), told
