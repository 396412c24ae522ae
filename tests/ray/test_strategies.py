"""What follows the death of a worker on Ray is what its strategy says, and the books balance."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

from benchmarks.machines import Machines
from routilux import ErrorHandler, Flow, JobState, Ray, Routine

pytestmark = pytest.mark.ray

COUNT = 20
BAD = 7


class Mortal(Routine):
    """Handles numbers, and dies of one, or of the first try of it."""

    def __init__(self, *, is_deadly: bool) -> None:
        super().__init__()
        self.is_deadly = is_deadly
        self.define_slot("input", handler=self.handle)
        self.define_event("handled", ["n"])

    def handle(self, n: int) -> None:
        self.emit("handled", n=n)
        if n == BAD and (self.is_deadly or self.attempt == 1):
            os.kill(os.getpid(), signal.SIGKILL)
            threading.Event().wait()


def run(handler: ErrorHandler, *, is_deadly: bool = True) -> tuple[JobState, list[Any]]:
    flow = Flow("mortal")
    flow.add_routine(
        Mortal(is_deadly=is_deadly), "mortal", placement="ray", ray=Ray(num_cpus=0.5), error_handler=handler
    )
    flow.output("mortal", "handled")
    with flow.start(keep_open=True) as job:
        for n in range(COUNT):
            job.send("mortal", "input", n=n)
        job.close_entry()
        told = [result["n"] for result in job.results()]
    return job.state, told


def test_retry_runs_it_again(joined: Machines) -> None:
    state, told = run(ErrorHandler("retry", retry_delay=0.0), is_deadly=False)
    assert (state.status, told) == ("completed", list(range(COUNT)))
    assert state.routine_states["mortal"]["retries"] == 1
    assert state.dead_letters == []


def test_continue_gives_up_the_message(joined: Machines) -> None:
    state, told = run(ErrorHandler("continue"))
    assert (state.status, told) == ("completed", [n for n in range(COUNT) if n != BAD])
    (letter,) = state.dead_letters
    assert letter.data == {"n": BAD}
    assert "The actor is dead because its worker process has died" in letter.cause


def test_skip_gives_up_the_routine(joined: Machines) -> None:
    state, told = run(ErrorHandler("skip"))
    assert (state.status, told) == ("completed", list(range(BAD)))
    figures = state.routine_states["mortal"]
    assert (figures["status"], figures["handled"]) == ("skipped", BAD)
    assert figures["skipped"] == COUNT - BAD - 1
    assert [letter.data for letter in state.dead_letters] == [{"n": BAD}]


def test_stop_gives_up_the_job(joined: Machines) -> None:
    state, told = run(ErrorHandler("stop"))
    assert (state.status, told) == ("failed", list(range(BAD)))
    assert "was lost: The actor is dead because its worker process has died" in str(state.error)


def test_tries_that_may_end_in_death_are_counted_apart(joined: Machines) -> None:
    state, told = run(ErrorHandler("retry", max_retries=100, retry_delay=0.0, max_crashes=1, then="continue"))
    assert (state.status, told) == ("completed", [n for n in range(COUNT) if n != BAD])
    assert state.routine_states["mortal"]["retries"] == 1
