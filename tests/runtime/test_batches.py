"""Whole jobs on threads whose messages travel together: what the owner sees while one of them goes on for long."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from routilux import Flow, Job, JobStatus, Routine
from routilux.jobs.errors import PauseTimeoutError
from tests.runtime.waiting import PATIENCE, wait_until

COUNT = 50
HELD = 20
"""The number at which a handler stays."""


class Stays(Routine):
    """Hands numbers on; at one of them, the first time, it stays until it may go on."""

    def __init__(self, held: threading.Event, opened: threading.Event, at: int) -> None:
        super().__init__()
        self.held, self.opened, self.at = held, opened, at
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        self.emit("number", n=n)
        if n == self.at and not self.held.is_set():
            self.held.set()
            assert self.opened.wait(PATIENCE)


@pytest.fixture
def gates() -> Iterator[tuple[threading.Event, threading.Event]]:
    held, opened = threading.Event(), threading.Event()
    yield held, opened
    opened.set()


def start(held: threading.Event, opened: threading.Event, at: int = HELD) -> Job:
    flow = Flow("batches")
    flow.add_routine(Together(), "relay")
    flow.add_routine(Stays(held, opened, at), "stays")
    flow.connect("relay", "number", "stays", "input")
    flow.output("stays", "number")
    return flow.start("relay", {"numbers": list(range(COUNT))})


class Together(Routine):
    """Emits numbers in one turn, so that they travel together."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, numbers: list[int]) -> None:
        for n in numbers:
            self.emit("number", n=n)


def numbers_of(job: Job) -> list[int]:
    return [result["n"] for result in job.results()]


def handled(job: Job) -> int:
    count: int = job.state.routine_states["stays"]["handled"]
    return count


def test_what_was_done_before_a_handler_that_takes_long_is_there_meanwhile(
    gates: tuple[threading.Event, threading.Event],
) -> None:
    held, opened = gates
    job = start(held, opened)
    assert held.wait(PATIENCE)
    results = job.results()
    assert [next(results)["n"] for _ in range(HELD)] == list(range(HELD))
    wait_until(lambda: handled(job) == HELD)
    opened.set()
    assert [result["n"] for result in results] == list(range(HELD, COUNT))
    assert job.wait(PATIENCE).status == JobStatus.COMPLETED


@pytest.mark.parametrize("at", [0, HELD, COUNT - 1])
def test_what_is_taken_from_a_handler_for_a_pause_is_run_again_and_nothing_else_is(
    gates: tuple[threading.Event, threading.Event], at: int
) -> None:
    held, opened = gates
    job = start(held, opened, at)
    assert held.wait(PATIENCE)
    job.pause(timeout=0.05, on_timeout="requeue")
    assert job.status == JobStatus.PAUSED
    opened.set()
    job.resume()
    assert numbers_of(job) == list(range(COUNT))
    state = job.wait(PATIENCE)
    assert state.status == JobStatus.COMPLETED
    assert state.routine_states["stays"]["handled"] == COUNT


def test_a_pause_that_is_given_up_names_the_message_that_runs(
    gates: tuple[threading.Event, threading.Event],
) -> None:
    held, opened = gates
    job = start(held, opened)
    assert held.wait(PATIENCE)
    wait_until(lambda: handled(job) == HELD)
    with pytest.raises(PauseTimeoutError, match="'stays'"):
        job.pause(timeout=0.0)
    opened.set()
    assert numbers_of(job) == list(range(COUNT))
    assert job.wait(PATIENCE).status == JobStatus.COMPLETED
