"""Handlers that run at once, on the seeded host: whatever goes on first, commits come in order and nothing is lost.

What they await is drawn (`Turns`), fails, or never comes; a store, pauses and power cuts come in by `World`.
`ROUTILUX_STRESS=1` (`make stress`) runs 2,000 seeds a case.
"""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, JobStatus, Routine
from supervisors.places.scripted import Faults
from supervisors.places.simulated_loop import SimulatedCancel
from tests.runtime import shapes
from tests.runtime.seeded import SeededJob
from tests.runtime.world import Odds, World

IS_STRESS = os.environ.get("ROUTILUX_STRESS") == "1"
SEEDS = range(2_000 if IS_STRESS else 15)
KEPT_SEEDS = range(2_000 if IS_STRESS else 9)
"""Of jobs in a store, whose seeds take ten times as long: each of the three rhythms of checkpoints, three times."""
COUNT = 12
NEVER_GIVE_UP = ErrorHandler("retry", max_retries=10_000, retry_delay=0.05, jitter=0.5)

pytestmark = pytest.mark.timeout(6_000 if IS_STRESS else 300)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level("CRITICAL")
    yield
    gc.collect()  # a coroutine that somebody has left behind is told of here, and not in another test


class Turns:
    """Lets others go on, so many times."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __await__(self) -> Iterator[None]:
        for _ in range(self._count):
            yield


class Until:
    """Waits for something."""

    def __init__(self, is_there: Callable[[], bool]) -> None:
        self._is_there = is_there

    def __await__(self) -> Iterator[Callable[[], bool]]:
        yield self._is_there


class Waiting(Routine):
    """Hands every number on after a while that depends on it; `fails` says which numbers fail, by attempt."""

    def __init__(self, fails: Callable[[int, int], bool] = lambda _n, _attempt: False) -> None:
        super().__init__()
        self.fails = fails
        self.define_slot("trigger", handler=self.handle)
        self.define_event("number", ["n"])

    async def handle(self, n: int) -> None:
        attempt = self.attempt
        self.emit("number", n=n)
        self.state[f"{n}"] = attempt
        await Turns(n * 7 % 5)
        seen = dict(self.state)
        await Turns(n % 3)
        assert dict(self.state) == seen, "a turn saw what another did"
        assert self.attempt == attempt, "a turn took itself for another"
        if self.fails(n, attempt):
            raise ValueError(n)
        self.state["last"] = n


def third_twice(n: int, attempt: int) -> bool:
    return n % 3 == 0 and attempt <= 2


def run_numbers(
    seed: int, routine: Routine, handler: ErrorHandler, count: int = COUNT, **options: Any
) -> tuple[SeededJob, Any]:
    flow = Flow("numbers")
    flow.add_routine(routine, "waiting", error_handler=handler, **options)
    flow.add_routine(shapes.Sink(), "sink")
    flow.connect("waiting", "number", "sink", "input")
    job = SeededJob(flow, seed, Faults())
    for n in range(count):
        job.send("waiting", n=n)
    return job, job.run()


@pytest.mark.parametrize("concurrency", [1, 3, 100])
def test_commits_come_in_the_order_in_which_messages_were_taken_whatever_fails(concurrency: int) -> None:
    for seed in SEEDS:
        job, cut = run_numbers(seed, Waiting(third_twice), NEVER_GIVE_UP, concurrency=concurrency)
        assert cut.status is JobStatus.COMPLETED, f"seed {seed}: {cut.error}"
        sink = job.state("sink")
        assert {key: sink[f"input.{key}"] for key in ("last", "count", "sum")} == shapes.sums(COUNT), f"seed {seed}"
        assert "disorder" not in sink, f"seed {seed}"
        tries = {f"{n}": 3 if n % 3 == 0 else 1 for n in range(COUNT)}
        assert job.state("waiting") == {**tries, "last": COUNT - 1}, f"seed {seed}"
        assert cut.routines[0].figures.retries == 8


def test_without_order_every_message_is_handled_once_and_none_waits_for_another() -> None:
    disorder = 0
    for seed in SEEDS:
        job, cut = run_numbers(seed, Waiting(third_twice), NEVER_GIVE_UP, concurrency=5, ordered=False)
        assert cut.status is JobStatus.COMPLETED, f"seed {seed}: {cut.error}"
        sink = job.state("sink")
        assert (sink["input.count"], sink["input.sum"]) == (COUNT, sum(range(COUNT))), f"seed {seed}"
        disorder += sink.get("disorder", 0)
    assert disorder


@pytest.mark.parametrize(
    ("strategy", "status", "handled"),
    [("continue", "completed", [1, 2, 4, 5, 7, 8]), ("skip", "completed", [1, 2]), ("stop", "failed", [1, 2])],
)
def test_each_strategy_gives_up_what_it_says_and_keeps_what_is_behind(
    strategy: str, status: str, handled: list[int]
) -> None:
    for seed in SEEDS:
        routine = Waiting(lambda n, _attempt: (n % 3 == 0 and n > 0) or (n == 0 and strategy == "continue"))
        expected = handled if strategy == "continue" else [0, *handled]
        job, cut = run_numbers(seed, routine, ErrorHandler(strategy), count=9, concurrency=4)
        told = f"seed {seed}"
        assert cut.status == status, f"{told}: {cut.error}"
        assert [n for n in range(9) if f"{n}" in job.state("waiting")] == expected, told
        assert "disorder" not in job.state("sink"), told
        account = job.account("waiting")
        left = [message.payload["n"] for message in account.mailbox.waiting_held()]
        figures = cut.routines[0].figures
        if strategy == "stop":  # the failing one first, all behind it in their order
            assert left == [3, 4, 5, 6, 7, 8], told
            assert sum(message.redelivered for message in account.mailbox.waiting_held()) <= 3, told
        else:
            assert left == [], told
            assert figures.handled + figures.dead + figures.skipped == 9, told
        assert not account.in_hand, told


class Stepping(Routine):
    """Makes three of each number, one a step; fails at the second step of some, the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("number", ["n"])

    async def handle(self, n: int) -> AsyncIterator[None]:
        for k in range(self.state.get(f"{n}", 0), 3):
            self.emit("number", n=n * 3 + k)
            self.state[f"{n}"] = k + 1
            await Turns((n + k) % 3)
            if n % 4 == 1 and k == 1 and self.attempt == 1:
                raise ValueError(n)
            yield


@pytest.mark.parametrize("concurrency", [1, 4])
def test_an_asynchronous_generator_commits_at_each_yield_in_its_turn(concurrency: int) -> None:
    for seed in SEEDS:
        job, cut = run_numbers(seed, Stepping(), NEVER_GIVE_UP, concurrency=concurrency)
        told = f"seed {seed}"
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        sink = job.state("sink")
        assert {key: sink[f"input.{key}"] for key in ("last", "count", "sum")} == shapes.sums(3 * COUNT), told
        assert "disorder" not in sink, told
        assert job.state("waiting") == {f"{n}": 3 for n in range(COUNT)}, told


class Hanging(Routine):
    """Waits for what never comes at the first attempt of some numbers; of these some do not let themselves be ended."""

    def __init__(self, *, swallows: bool) -> None:
        super().__init__()
        self.swallows = swallows
        self.define_slot("trigger", handler=self.handle)
        self.define_event("number", ["n"])

    async def handle(self, n: int) -> None:
        self.emit("number", n=n)
        hangs = n % 4 == 2 and self.attempt == 1
        while hangs:
            try:
                await Until(lambda: False)
            except SimulatedCancel:
                if not self.swallows:
                    raise
        await Turns(n % 3)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("swallows", [False, True])
def test_a_turn_that_takes_too_long_is_cancelled_or_left_behind_alone(swallows: bool, ordered: bool) -> None:
    for seed in SEEDS:
        job, cut = run_numbers(
            seed,
            Hanging(swallows=swallows),
            NEVER_GIVE_UP,
            concurrency=5,
            ordered=ordered,
            timeout=1.0,
            max_abandoned=5,
        )
        told = f"seed {seed}"
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        sink = job.state("sink")
        assert (sink["input.count"], sink["input.sum"]) == (COUNT, sum(range(COUNT))), told
        assert not ordered or "disorder" not in sink, told
        figures = cut.routines[0].figures
        assert (figures.failed, figures.retries, figures.restarts) == (3, 3, 0), told
        assert len(job.account("waiting").abandoned) == (3 if swallows else 0), told


def test_too_many_turns_that_went_on_though_they_were_cancelled_stop_the_job() -> None:
    for seed in SEEDS:
        _, cut = run_numbers(seed, Hanging(swallows=True), NEVER_GIVE_UP, concurrency=12, timeout=1.0, max_abandoned=2)
        assert cut.status is JobStatus.FAILED
        assert "max_abandoned is 2; a handler that is cancelled has to let CancelledError pass" in (cut.error or "")


class Ledgered(Waiting):
    """As `Waiting`, and does something once; hangs now and then."""

    async def handle(self, n: int) -> None:
        self.once("seen", lambda: n)
        if n % 5 == 3 and self.attempt == 1:
            await Until(lambda: False)
        await super().handle(n)


@pytest.mark.parametrize("options", [{"concurrency": 4}, {"concurrency": 4, "ordered": False}, {"concurrency": 1}])
def test_every_message_once_over_pauses_and_power_cuts(options: dict[str, Any]) -> None:
    def make_flow() -> Flow:
        flow = Flow("kept")
        flow.add_routine(shapes.Source(4), "source", error_handler=NEVER_GIVE_UP)
        slow = Ledgered(third_twice)
        slow.define_slot("input", handler=slow.handle)
        flow.add_routine(slow, "waiting", error_handler=NEVER_GIVE_UP, timeout=0.5, **options)
        flow.add_routine(shapes.Sink(), "sink", error_handler=NEVER_GIVE_UP)
        flow.connect("source", "number", "waiting", "input")
        flow.connect("waiting", "number", "sink", "input")
        return flow

    for seed in KEPT_SEEDS:
        odds = Odds(checkpoint=0.1, pause=0.1, die=0.02, leave=0.01, fail=0.05 if seed % 3 == 0 else 0.0)
        world = World(make_flow, seed, odds, None, (None, 0.02, 0.3)[seed % 3])
        cut = world.run([("source", {"count": COUNT})])
        told = f"seed {seed}"
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        sink = world.job.state("sink")
        if options.get("ordered", True):
            assert {key: sink[f"input.{key}"] for key in ("last", "count", "sum")} == shapes.sums(COUNT), told
            assert "disorder" not in sink, told
        assert (sink["input.count"], sink["input.sum"]) == (COUNT, sum(range(COUNT))), told
        assert all(count.sent == count.handled for count in cut.connections), told
