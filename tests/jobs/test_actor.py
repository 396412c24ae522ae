"""The state actor: what its words lead to, with and without a store."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from routilux import Flow, JobStatus, Routine
from routilux.errors import TransitionError
from routilux.jobs.actor import GetCut, GoOn, JobCut, Left, Move, Paused, PauseNow, StateActor
from routilux.jobs.checkpoints import Pause
from routilux.ledger import Ledger
from routilux.routing import compile_plan
from supervisors.errors import InternalError
from supervisors.locking import BriefLock
from tests.jobs.contexts import FakeContext


class Echo(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=lambda: None)


class Bench:
    """A state actor of a job without a store."""

    def __init__(self) -> None:
        flow = Flow("actor")
        flow.add_routine(Echo(), "one")

        def nothing(*_: Any) -> None:
            pass

        plan = compile_plan(flow)
        self.ledger = Ledger(plan, BriefLock(), on_quiet=nothing, on_facts=nothing, on_overflow=nothing, job_id="job")
        self.told: list[Paused] = []
        self.actor = StateActor(self.ledger, 100.0, self.told.append)
        self.ctx = FakeContext()
        self.actor.on_start(self.ctx)  # type: ignore[arg-type]

    def handle(self, message: Any) -> None:
        self.actor.on_message(message, self.ctx)  # type: ignore[arg-type]

    def cut(self) -> JobCut:
        reply: Future[JobCut] = Future()
        self.handle(GetCut(reply))
        return reply.result(0)


def test_without_a_store_a_pause_is_a_pause_all_the_same() -> None:
    bench = Bench()
    bench.handle(Move(JobStatus.RUNNING))
    bench.ctx.time = 3.0
    bench.handle(PauseNow(Pause("lunch", b"x")))
    assert bench.told == [Paused(None)]
    cut = bench.cut()
    assert (cut.status, cut.checkpoint) == (JobStatus.PAUSED, None)
    assert [(point.at, point.reason, point.checkpoint) for point in cut.pause_points] == [(103.0, "lunch", b"x")]
    reply: Future[bool] = Future()
    bench.handle(GoOn(reply))
    assert (reply.result(0), bench.cut().status) == (True, JobStatus.RUNNING)
    bench.handle(PauseNow(Pause("tea", None)))
    assert [point.reason for point in bench.cut().pause_points] == ["lunch", "tea"]


def test_without_a_store_the_newest_thousand_pauses_are_told_too() -> None:
    bench = Bench()
    bench.handle(Move(JobStatus.RUNNING))
    for number in range(1_002):
        bench.handle(PauseNow(Pause(str(number), None)))
        bench.handle(GoOn(Future()))
    reasons = [point.reason for point in bench.cut().pause_points]
    assert (len(reasons), reasons[0], reasons[-1]) == (1_000, "2", "1001")


def test_without_a_store_a_job_cannot_be_left() -> None:
    bench = Bench()
    bench.handle(Move(JobStatus.RUNNING))
    bench.handle(Left("later"))
    assert bench.cut().status is JobStatus.RUNNING


def test_books_that_do_not_add_up_fail_the_job() -> None:
    bench = Bench()
    bench.handle(Move(JobStatus.RUNNING))
    bench.ledger._ways[0].sent += 1
    bench.handle(Move(JobStatus.COMPLETED))
    cut = bench.cut()
    assert cut.status is JobStatus.FAILED
    assert "does not add up" in (cut.error or "")


@pytest.mark.parametrize("message", [Move(JobStatus.PAUSED), Move(JobStatus.RUNNING)])
def test_what_is_over_stays_over(message: Move) -> None:
    bench = Bench()
    bench.handle(Move(JobStatus.RUNNING))
    bench.handle(Move(JobStatus.CANCELLED, "enough"))
    with pytest.raises(TransitionError):
        bench.handle(message)
    assert bench.cut().status is JobStatus.CANCELLED


def test_a_word_it_does_not_know_is_an_error_of_ours() -> None:
    with pytest.raises(InternalError, match="was sent 'word'"):
        Bench().handle("word")
