"""A handler that does not return, on a thread: it is left behind, and nothing it does later counts."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from routilux import Flow, Routine
from routilux.turn.outbox import COUNT_BOUND

pytestmark = pytest.mark.faults

BAD = 7
COUNT = 20


class Stuck(Routine):
    """Is left behind in the middle of a turn, and counts what it does when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.is_stuck, self.go_on = threading.Event(), threading.Event()
        self.done = 0
        self.define_slot("short", handler=self.handle)
        self.define_slot("steps", handler=self.step)
        self.define_slot("stream", handler=self.stream)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        if n == BAD:
            self._hang()
        self.done += 1

    def step(self, n: int) -> Any:
        for _ in range(COUNT):
            self.handle(BAD if n == 0 else n)
            yield

    def stream(self, n: int) -> None:
        self._hang()
        for _ in range(3 * COUNT_BOUND):
            self.emit("number", n=n)
            self.done += 1

    def _hang(self) -> None:
        self.is_stuck.set()
        self.go_on.wait()


@pytest.mark.parametrize(("slot", "more"), [("short", 1), ("steps", 1), ("stream", COUNT_BOUND - 1)])
def test_a_thread_that_was_left_behind_does_nothing_after_the_turn_it_hung_in(slot: str, more: int) -> None:
    routine = Stuck()
    flow = Flow("stuck")
    flow.add_routine(routine, "stuck")
    job = flow.start(keep_open=True, shutdown=0.0)
    for n in range(COUNT):
        job.send("stuck", slot, n=n)
    routine.is_stuck.wait()
    [thread] = [thread for thread in threading.enumerate() if thread.name.endswith("/stuck")]
    job.cancel()
    state = job.wait()
    before = routine.done
    routine.go_on.set()
    thread.join()
    # A release is due after so many emissions, or sooner on a busy machine: 50 ms after the first.
    assert 1 <= routine.done - before <= more
    assert (state.status, state.routine_states["stuck"]["handled"]) == ("cancelled", before)
