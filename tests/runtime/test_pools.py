"""Pools of real processes: in order, whichever worker is first, and bounded behind a slow one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, Routine
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
    counts = [worker["count"] for worker in state.routine_states["work"]["state"]]
    assert len(counts) == 3
    assert sum(counts) == COUNT
    assert all(counts)


def test_killed_workers_of_an_ordered_pool_lose_double_and_reorder_nothing() -> None:
    job = ordered_flow(Spin(), 3, max_restarts=100).start("source", {"count": COUNT})
    killer = Killer(job, KILLS, seed=4321)
    state = job.wait(500)
    killed = killer.stop()
    check_sink(state, ("input",), COUNT)
    assert sum(worker["count"] for worker in state.routine_states["work"]["state"]) == COUNT
    assert killed == KILLS


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
