"""The pause protocol: what each message leads to at each stage."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from routilux import Flow, Routine
from routilux.errors import JobEndedError
from routilux.jobs.actor import GoOn, Paused, PauseNow
from routilux.jobs.checkpoints import Pause
from routilux.jobs.errors import CheckpointFailedError, PauseInterruptedError, PauseTimeoutError
from routilux.jobs.recorder import CheckpointInfo
from routilux.ledger import Ledger
from routilux.routing import compile_plan
from routilux.runtime.commands import Hold, LetGo, PauseDue, PauseJob, Requeue, Rested, ResumeJob
from routilux.runtime.pausing import Pausing
from supervisors.locking import BriefLock
from tests.jobs.contexts import FakeContext

INFO = CheckpointInfo(1, 7, "pause", 0.0, 0, 0, 0.0, 0.0, 0.0)
LOST = CheckpointFailedError("job", 7, "the disk is full")


class Echo(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=lambda: None)


class InPlace(Echo):
    state_policy = "in_place"


class Bench:
    """A protocol with what it talks to."""

    def __init__(self) -> None:
        flow = Flow("pausing")
        flow.add_routine(Echo(), "thread")
        flow.add_routine(Echo(), "process", placement="process")
        flow.add_routine(InPlace(), "live")
        plan = compile_plan(flow)

        def nothing(*_: Any) -> None:
            pass

        self.ledger = Ledger(plan, BriefLock(), on_quiet=nothing, on_facts=nothing, on_overflow=nothing, job_id="job")
        self.told: list[tuple[int, Any]] = []
        self.state: list[Any] = []
        self.ctx = FakeContext()
        self.pausing = Pausing(self.ledger, lambda i, m: self.told.append((i, m)), self.state.append, lambda _: "here")

    def handle(self, message: Any) -> None:
        self.pausing.handle(message, self.ctx)  # type: ignore[arg-type]

    def pause(self, timeout: float | None = None, on_timeout: str = "abort") -> Future[CheckpointInfo | None]:
        reply: Future[CheckpointInfo | None] = Future()
        self.handle(PauseJob(Pause("lunch", None), timeout, on_timeout, reply))
        return reply

    def resume(self) -> Future[bool]:
        reply: Future[bool] = Future()
        self.handle(ResumeJob(reply))
        return reply

    def rest(self, *routines: int, number: int | None = None) -> None:
        for routine in routines:
            self.handle(Rested(routine, self.ledger.hold if number is None else number))

    def to(self, stage: str) -> Future[CheckpointInfo | None] | None:
        """Bring it to a stage; gives the pause that led there."""
        if stage == "going":
            return None
        reply = self.pause()
        if stage in {"keeping", "paused"}:
            self.rest(0, 1, 2)
        if stage == "paused":
            self.handle(Paused(INFO))
        return reply


STAGES = ["going", "resting", "keeping", "paused"]


def test_a_pause_holds_rests_keeps_and_only_then_answers() -> None:
    bench = Bench()
    reply = bench.pause()
    assert not bench.ledger.is_open
    assert bench.told == [(index, Hold(1)) for index in range(3)]
    bench.rest(0, 2, 2, 0)
    assert bench.state == []
    bench.rest(1)
    assert bench.state == [PauseNow(Pause("lunch", None))]
    assert not reply.done()
    bench.handle(Paused(INFO))
    assert reply.result(0) is INFO
    assert not bench.ledger.is_open


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_second_pause_is_the_first(stage: str) -> None:
    bench = Bench()
    first = bench.to(stage)
    assert first is not None
    second = bench.pause()
    if stage == "resting":
        bench.rest(0, 1, 2)
    if stage != "paused":
        bench.handle(Paused(INFO))
    assert (first.result(0), second.result(0)) == (INFO, INFO)
    assert [message for message in bench.state if isinstance(message, PauseNow)] == [PauseNow(Pause("lunch", None))]
    assert sum(isinstance(message, Hold) for _, message in bench.told) == 3


def test_a_resume_of_a_job_that_goes_on_does_nothing() -> None:
    bench = Bench()
    assert bench.resume().result(0) is False
    assert (bench.told, bench.state) == ([], [])


def test_a_resume_while_it_comes_to_rest_ends_the_pause() -> None:
    bench = Bench()
    first, second = bench.to("resting"), bench.pause()
    assert first is not None
    assert bench.resume().result(0) is False
    assert isinstance(first.exception(0), PauseInterruptedError)
    assert isinstance(second.exception(0), PauseInterruptedError)
    assert bench.ledger.is_open
    assert bench.told[-3:] == [(index, LetGo()) for index in range(3)]


def test_a_resume_while_it_is_written_comes_after_the_pause() -> None:
    bench = Bench()
    paused = bench.to("keeping")
    assert paused is not None
    first, second = bench.resume(), bench.resume()
    assert not first.done()
    assert not bench.ledger.is_open
    bench.handle(Paused(INFO))
    assert paused.result(0) is INFO
    assert bench.state[1:] == [GoOn(first)]
    assert second.result(0) is False
    assert bench.ledger.is_open


def test_a_resume_of_a_paused_job_opens_the_gate() -> None:
    bench = Bench()
    bench.to("paused")
    reply = bench.resume()
    assert bench.state[1:] == [GoOn(reply)]  # which answers it when the job is so
    assert bench.ledger.is_open
    assert bench.told[-3:] == [(index, LetGo()) for index in range(3)]


def test_what_the_store_did_not_take_leaves_the_job_going() -> None:
    bench = Bench()
    paused = bench.to("keeping")
    assert paused is not None
    resumed = bench.resume()
    bench.handle(Paused(None, LOST))
    assert paused.exception(0) is LOST
    assert resumed.result(0) is False
    assert bench.ledger.is_open
    assert not bench.pause().done()


def test_words_of_another_hold_come_too_late() -> None:
    bench = Bench()
    bench.pause(timeout=1.0)
    bench.resume()
    reply = bench.pause(timeout=1.0)
    bench.rest(0, 1, 2, number=1)
    bench.handle(PauseDue(1, is_half=False))
    assert not reply.done()
    assert bench.state == []
    bench.rest(0, 1, 2)
    assert len(bench.state) == 1
    # The time for turns in hand is over then: the store may take its own.
    assert bench.ctx.running() == []
    bench.handle(PauseDue(2, is_half=False))
    assert not reply.done()


def test_at_half_the_time_the_log_names_who_is_busy_and_at_its_end_the_pause_is_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    reply = bench.pause(timeout=4.0)
    assert [(timer.delay, timer.message) for timer in bench.ctx.running()] == [
        (2.0, PauseDue(1, is_half=True)),
        (4.0, PauseDue(1, is_half=False)),
    ]
    bench.rest(1, 2)
    bench.ctx.time = 2.0
    bench.handle(PauseDue(1, is_half=True))
    assert "routine 'thread' is still at no message after 2 s" in caplog.text
    assert not reply.done()
    bench.ctx.time = 4.0
    bench.handle(PauseDue(1, is_half=False))
    error = reply.exception(0)
    assert isinstance(error, PauseTimeoutError)
    assert [busy.routine_id for busy in error.busy] == ["thread"]
    assert bench.ledger.is_open
    assert bench.ctx.running() == []


def test_who_asks_later_waits_no_longer_than_it_wants() -> None:
    bench = Bench()
    first = bench.pause(timeout=None)
    later = bench.pause(timeout=4.0)
    (timer,) = bench.ctx.running()
    assert timer.delay == 4.0
    bench.handle(timer.message)
    assert isinstance(later.exception(0), PauseTimeoutError)
    assert not first.done()
    assert not bench.ledger.is_open
    bench.pause(1.0, "requeue")
    bench.rest(2)
    bench.handle(bench.ctx.running()[-1].message)
    assert any(isinstance(command, Requeue) for _, command in bench.told)
    assert not first.done()


def test_requeue_takes_from_threads_and_ends_processes() -> None:
    bench = Bench()
    account = bench.ledger.accounts[0]
    bench.ledger.admit(0, {})
    bench.ledger.take(account)
    reply = bench.pause(1.0, "requeue")
    bench.rest(2)
    bench.handle(PauseDue(1, is_half=False))
    assert bench.told[-1] == (1, Requeue(1))
    assert [message.redelivered for message in account.mailbox.waiting_held()] == [True]
    assert bench.state == []
    bench.rest(1)
    assert len(bench.state) == 1
    assert not reply.done()


def test_requeue_gives_up_where_a_state_is_changed_in_place() -> None:
    bench = Bench()
    reply = bench.pause(1.0, "requeue")
    bench.rest(0, 1)
    bench.handle(PauseDue(1, is_half=False))
    assert isinstance(reply.exception(0), PauseTimeoutError)
    assert bench.ledger.is_open


@pytest.mark.parametrize("stage", STAGES)
def test_the_end_answers_all_who_wait(stage: str) -> None:
    bench = Bench()
    reply = bench.to(stage)
    resumed = bench.resume() if stage == "keeping" else None
    bench.pausing.end()
    if reply is not None and stage != "paused":
        assert isinstance(reply.exception(0), JobEndedError)
    if resumed is not None:
        assert isinstance(resumed.exception(0), JobEndedError)
        assert "a resume was refused" in str(resumed.exception(0))
    assert bench.ctx.running() == []
