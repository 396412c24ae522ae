"""What each error handler makes of a failure, where that is more than one message (see `measure`) can show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, JobState, Routine
from tests.faults.deeds import raise_plainly

pytestmark = [pytest.mark.faults, pytest.mark.processes]

BAD = 7
COUNT = 20
PLACEMENTS = ("thread", "process")


class Worker(Routine):
    """Handles numbers, and does something bad on one of them."""

    def __init__(self, deed: Callable[[], Any]) -> None:
        super().__init__()
        self.deed = deed
        self.define_slot("trigger", handler=self.handle)
        self.define_event("handled", ["n"])

    def handle(self, n: int) -> None:
        self.emit("handled", n=n)
        if n == BAD:
            self.deed()


def run(placement: str, handler: ErrorHandler) -> JobState:
    flow = Flow("failures")
    flow.add_routine(Worker(raise_plainly), "worker", placement=placement, error_handler=handler)
    flow.output("worker", "handled")
    with flow.start(keep_open=True) as job:
        for n in range(COUNT):
            job.send("worker", "trigger", n=n)
        job.close_entry()
        job.collect()
    return job.state


def decisions(state: JobState) -> list[str]:
    return [record.kind for record in state.history if record.kind in {"retry", "continue", "stop", "skip"}]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_retries_wait_and_give_up_as_the_handler_says(placement: str) -> None:
    state = run(placement, ErrorHandler("retry", max_retries=2, retry_delay=0.01, then="continue"))
    [letter] = state.dead_letters
    assert letter.attempts == 3
    assert decisions(state) == ["retry", "retry", "continue"]
    errors = [record for record in state.history if record.kind == "error"]
    assert errors[1].at - errors[0].at >= 0.01
    assert errors[2].at - errors[1].at >= 0.02
    assert [item["n"] for item in state.results()] == [n for n in range(COUNT) if n != BAD]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_what_is_not_retryable_is_given_up_at_once(placement: str) -> None:
    state = run(placement, ErrorHandler("retry", retryable_exceptions=(KeyError,), then="continue"))
    [letter] = state.dead_letters
    assert (letter.attempts, decisions(state)) == (1, ["continue"])


@pytest.mark.parametrize("strategy", ["continue", "skip", "retry"])
def test_a_critical_routine_stops_the_job_whatever_the_strategy_tolerates(strategy: str) -> None:
    handler = ErrorHandler(strategy, max_retries=1, retry_delay=0.0, is_critical=True, then="continue")
    state = run("thread", handler)
    assert state.status == "failed"
    assert decisions(state)[-1] == "stop"


def test_a_routine_set_as_critical_is_tried_again_and_then_stops_the_job() -> None:
    flow = Flow("critical")
    flow.set_error_handler(ErrorHandler("continue"))
    routine = Worker(raise_plainly)
    routine.set_as_critical(max_retries=2, retry_delay=0.0)
    flow.add_routine(routine, "worker")
    flow.output("worker", "handled")
    state = flow.execute("worker", {"n": BAD})
    assert (state.status, decisions(state)) == ("failed", ["retry", "retry", "stop"])


def test_the_routines_own_handler_comes_before_the_flows() -> None:
    flow = Flow("own")
    flow.set_error_handler(ErrorHandler("stop"))
    routine = Worker(raise_plainly)
    routine.set_as_optional()
    flow.add_routine(routine, "worker")
    flow.output("worker", "handled")
    state = flow.execute("worker", {"n": BAD})
    assert (state.status, len(state.dead_letters)) == ("completed", 1)
