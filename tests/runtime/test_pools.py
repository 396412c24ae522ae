"""Pools of real processes: in order, whichever worker is first, and bounded behind a slow one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, JobState, Routine, resizing
from routilux.errors import PartitionKeyError
from routilux.runtime.partitions import KEYS_KNOWN
from supervisors.places.ordered import line_limit
from tests.runtime import shapes
from tests.runtime.test_delivery import COUNT, KILLS, Killer, check_sink
from tests.runtime.waiting import wait_until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]


class Spin(Routine):
    """Hands numbers on, after more work for some than for others; lets them out early, and fails at times."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        self.state["count"] = self.state.get("count", 0) + 1
        sum(range(n * 7919 % 3_000))
        self.emit("number", n=n)
        if n % 500 == 250 and self.attempt == 1:
            raise ValueError(n)


def ordered_flow(work: Routine, workers: int, **options: Any) -> Flow:
    flow = Flow("ordered")
    flow.add_routine(shapes.Source(), "source")
    pool = {"placement": "process", "workers": workers, "ordered": True, "error_handler": shapes.RETRY, **options}
    flow.add_routine(work, "work", **pool)
    flow.add_routine(shapes.Sink(), "sink")
    flow.connect("source", "number", "work", "input")
    flow.connect("work", "number", "sink", "input")
    return flow


def test_an_ordered_pool_gives_its_results_in_order() -> None:
    state = ordered_flow(Spin(), 3).execute("source", {"count": COUNT})
    check_sink(state, ("input",), COUNT)
    counts = [worker.get("count", 0) for worker in state.routine_states["work"]["state"]]
    assert len(counts) == 3
    assert sum(counts) == COUNT


def test_killed_workers_of_an_ordered_pool_lose_double_and_reorder_nothing() -> None:
    job = ordered_flow(Spin(), 3, max_restarts=100).start("source", {"count": COUNT})
    killer = Killer(job, KILLS, seed=4321)
    state = job.wait(500)
    killed = killer.stop()
    check_sink(state, ("input",), COUNT)
    assert sum(worker.get("count", 0) for worker in state.routine_states["work"]["state"]) == COUNT
    assert killed >= KILLS // 2  # the last ones may come to a pool that has done its work


class WaitsFirst(Routine):
    """Waits at number 0 until somebody opens a named pipe for writing."""

    def __init__(self, pipe: str) -> None:
        super().__init__()
        self.pipe = pipe
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        if n == 0:
            Path(self.pipe).open("rb").close()
        self.emit("number", n=n)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_waits_finished_behind_a_slow_message_is_bounded(tmp_path: Path) -> None:
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    job = ordered_flow(WaitsFirst(pipe), 2).start("source", {"count": COUNT})
    work = job.ledger.accounts[1]
    limit = line_limit(2)
    wait_until(lambda: len(work.in_hand) > limit - 2)  # what is left is less than one for each
    assert len(work.in_hand) <= limit
    assert work.handled == 0
    Path(pipe).open("wb").close()
    state = job.wait(100)
    check_sink(state, ("input",), COUNT)


class Deadly(Routine):
    """Ends its process at one number."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.last = last
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        if n == self.last:
            os._exit(3)
        self.emit("number", n=n)


def test_a_message_that_kills_its_worker_costs_itself_alone() -> None:
    flow = ordered_flow(Deadly(25), 3, error_handler=ErrorHandler("continue"))
    flow.output("work", "number")
    state = flow.execute("source", {"count": 50})
    assert state.status == "completed", state.error
    assert [item["n"] for item in state.results()] == [n for n in range(50) if n != 25]
    assert [letter.attempts for letter in state.dead_letters] == [1]


class Visits(Routine):
    """Counts by user, and tells which process did."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("visit", ["user", "n", "count", "pid"])

    def handle(self, user: tuple[str, int], n: int) -> None:
        self.increment_stat("visits")
        count = self.state["count"] = self.state.get("count", 0) + 1
        self.emit("visit", user=user, n=n, count=count, pid=os.getpid())


class Users(Routine):
    """Emits the numbers below `count`, each for one of some users."""

    def __init__(self, users: int) -> None:
        super().__init__()
        self.users = users
        self.define_slot("trigger", handler=self.produce)
        self.define_event("number", ["who", "n"])

    def produce(self, count: int) -> Iterator[None]:
        for n in range(self.state.get("next", 0), count):
            self.emit("number", who=("user", n % self.users), n=n)
            self.state["next"] = n + 1
            if n % 100 == 99:
                yield


def partitioned_flow(users: int, workers: int = 3, source: str = "thread", **options: Any) -> Flow:
    flow = Flow("partitioned")
    flow.add_routine(Users(users), "source", placement=source)
    pool = {"placement": "process", "workers": workers, "partition_by": "user", "error_handler": shapes.RETRY}
    flow.add_routine(Visits(), "visits", **{**pool, **options})
    flow.connect("source", "number", "visits", "input", {"who": "user"})
    flow.output("visits", "visit")
    return flow


def check_visits(state: JobState, users: int, count: int, results: list[Any]) -> dict[Any, set[int]]:
    """Each user was counted alone, once and in order; gives the processes that did."""
    assert state.status == "completed", state.error
    told = state.routine_states["visits"]
    assert told["state"] == {("user", user): {"count": len(range(user, count, users))} for user in range(users)}
    assert told["stats"]["visits"] == count
    pids: dict[Any, set[int]] = {}
    came: dict[Any, list[int]] = {}
    for item in results:
        pids.setdefault(item["user"], set()).add(item["pid"])
        came.setdefault(item["user"], []).append(item["n"])
        assert item["count"] == len(came[item["user"]])
    assert came == {("user", user): list(range(user, count, users)) for user in range(users)}
    return pids


@pytest.mark.parametrize("placement", ["thread", "process"])
def test_equal_keys_go_to_one_process_which_keeps_their_state(placement: str) -> None:
    flow = partitioned_flow(20, source=placement)
    state = flow.execute("source", {"count": COUNT})
    pids = check_visits(state, 20, COUNT, list(state.results()))
    assert all(len(found) == 1 for found in pids.values())
    assert len(set.union(*pids.values())) == 3


def test_keys_beyond_those_that_a_worker_keeps_lose_nothing() -> None:
    users = 3 * KEYS_KNOWN
    state = partitioned_flow(users, workers=1).execute("source", {"count": 2 * users})
    check_visits(state, users, 2 * users, list(state.results()))


def test_killed_workers_of_a_partitioned_routine_lose_double_and_reorder_nothing() -> None:
    job = partitioned_flow(50, max_restarts=100).start("source", {"count": COUNT})
    killer = Killer(job, KILLS, seed=99)
    state = job.wait(500)
    killed = killer.stop()
    check_visits(state, 50, COUNT, list(job.results()))
    assert killed >= KILLS // 2  # the last ones may come to a pool that has done its work


def test_a_partitioned_job_is_resumed_with_another_number_of_workers(tmp_path: Path) -> None:
    store = str(tmp_path / "jobs")
    half = COUNT // 2
    job = partitioned_flow(50, workers=3).start("source", {"count": COUNT}, store=store)
    visits = job.ledger.accounts[1]
    wait_until(lambda: visits.handled > half // 10)
    job.pause(reason="to get another machine")
    kept = job.state
    assert kept.routine_states["visits"]["state"]
    job.leave()
    again = Flow.resume(store, job.id, flow=partitioned_flow(50, workers=2))
    results = list(again.results())
    check_visits(again.wait(100), 50, COUNT, results)


def test_what_comes_from_outside_carries_its_key() -> None:
    job = partitioned_flow(5).start(keep_open=True)
    for n in range(30):
        job.send("visits", "input", user=n % 5, n=n)
    with pytest.raises(PartitionKeyError, match=r"a message to 'visits': expected parameter 'user', got"):
        job.send("visits", "input", n=3)
    with pytest.raises(PartitionKeyError, match=r"parameter 'user': expected a key .* got a float"):
        job.send("visits", "input", user=1.5, n=3)
    job.close_entry()
    state = job.wait(60)
    assert state.routine_states["visits"]["state"] == {user: {"count": 6} for user in range(5)}


class Keyless(Routine):
    """Emits a message without the key that its receiver goes by, and then one with it."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.produce)
        self.define_event("number", ["user", "n"])

    def produce(self) -> None:
        try:
            self.emit("number", user=[1], n=1)
        except PartitionKeyError as error:
            self.emit("number", user=str(error), n=2)


@pytest.mark.parametrize("placement", ["thread", "process"])
def test_a_key_that_cannot_be_one_is_refused_where_it_is_emitted(placement: str) -> None:
    flow = partitioned_flow(5)
    flow.add_routine(Keyless(), "keyless", placement=placement)
    flow.connect("keyless", "number", "visits", "input")
    state = flow.execute("keyless")
    [told] = state.routine_states["visits"]["state"]
    assert told.startswith("emit('number'): parameter 'user': expected a key that is exactly str")


class Long(Routine):
    """Takes some ten milliseconds for each number, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        self.state["count"] = self.state.get("count", 0) + 1
        sum(range(300_000))
        self.emit("number", n=n)


@pytest.mark.parametrize("ordered", [None, True])
def test_a_pool_grows_with_its_load_and_shrinks_when_that_is_over(
    ordered: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resizing, "BACKLOG_SECONDS", 0.02)
    monkeypatch.setattr(resizing, "SHRINK_SECONDS", 0.1)
    flow = Flow("resized")
    flow.add_routine(Long(), "long", placement="process", workers=(1, 3), ordered=ordered)
    flow.output("long", "number")
    job = flow.start(keep_open=True)
    long = job.ledger.accounts[0]

    def count_up() -> int:
        return sum(pid is not None for pid in long.pids)

    wait_until(lambda: count_up() == 1)
    sent = 0
    for _ in range(2):
        while count_up() < 3:
            if len(long.mailbox) < 30:
                job.send("long", "input", n=sent)
                sent += 1
        wait_until(lambda: count_up() == 1)
        assert not long.in_hand
    job.close_entry()
    numbers = [item["n"] for item in job.results()]
    state = job.wait(60)
    assert state.status == "completed", state.error
    assert (numbers if ordered else sorted(numbers)) == list(range(sent))
    counts = [worker.get("count", 0) for worker in state.routine_states["long"]["state"]]
    # Each number has one state, whichever process had it.
    assert sum(counts) == sent
    assert len(counts) == 3
    assert state.routine_states["long"]["restarts"] == 0
