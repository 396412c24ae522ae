"""When a job is cut for a checkpoint, and who is told what came of it."""

from __future__ import annotations

from typing import Any

import pytest

from routilux import Flow, Routine
from routilux.errors import JobEndedError
from routilux.jobs.backlog import Backlog
from routilux.jobs.checkpoints import (
    BOUNDARY_SECONDS,
    BoundaryOverdue,
    CheckpointDue,
    Checkpoints,
    Pause,
    Stopped,
    Wish,
)
from routilux.jobs.errors import CheckpointFailedError
from routilux.jobs.recorder import CheckpointInfo, NotSaved, Save, Saved
from routilux.ledger import Ledger
from routilux.messages import TurnResult
from routilux.records.schema import HistoryPosition
from routilux.routing import compile_plan
from routilux.turn.state import begin_state
from supervisors.locking import BriefLock
from tests.jobs.contexts import FakeContext, FakeRef


class Plain(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=lambda: None)


class Live(Plain):
    state_policy = "in_place"


class FakeJournal:
    position = HistoryPosition(3, 40)


class Bench:
    """The checkpoints of a job, with a recorder that answers when the test says so."""

    def __init__(self, *, every: float | None = None, routine: type[Routine] = Plain) -> None:
        flow = Flow("checkpoints")
        flow.add_routine(routine(), "one")
        plan = compile_plan(flow)

        def nothing(*_: Any) -> None:
            pass

        self.stopped = 0
        self.ledger = Ledger(
            plan,
            BriefLock(),
            on_quiet=nothing,
            on_facts=nothing,
            on_overflow=nothing,
            on_stopped=self._count_stopped,
            job_id="job",
        )
        self.account = self.ledger.accounts[0]
        self.account.committed[0] = begin_state(self.account.plan.routine)
        self.failed: list[CheckpointFailedError] = []
        self.checkpoints = Checkpoints(
            self.ledger,
            journal=FakeJournal(),  # type: ignore[arg-type]
            backlog=Backlog(),
            generation=3,
            number=10,
            every=every,
            pause_points=[],
            wall_offset=100.0,
            failed=self.failed.append,
            taken_over=nothing,
        )
        self.ctx = FakeContext()
        self.recorder = FakeRef()
        self.done: list[tuple[str, Any]] = []

    def _count_stopped(self) -> None:
        self.stopped += 1

    def begin(self) -> None:
        self.checkpoints.begin(self.recorder, self.ctx)  # type: ignore[arg-type]

    def want(self, cause: str = "asked", pause: Pause | None = None) -> None:
        self.checkpoints.want(Wish(cause, lambda outcome: self.done.append((cause, outcome)), pause), self.ctx)  # type: ignore[arg-type]

    def handle(self, message: Any) -> None:
        self.checkpoints.handle(message, self.ctx)  # type: ignore[arg-type]

    def saves(self) -> list[Save]:
        return [message for message in self.recorder.sent if isinstance(message, Save)]

    def save(self) -> CheckpointInfo:
        """Let the recorder save what it has."""
        asked = self.saves()[-1]
        info = CheckpointInfo(3, asked.number, asked.cause, 0.0, 0, 0, 0.0, 0.0, 0.0)
        self.handle(Saved(info, {(0, 0): self.account.versions[0]}))
        return info

    def fail(self) -> CheckpointFailedError:
        number = self.saves()[-1].number
        error = CheckpointFailedError("job", number, "no")
        self.handle(NotSaved(number, error))
        return error

    def send_and_take(self) -> int:
        self.ledger.admit(0, {})
        ((delivery, _),) = self.ledger.take(self.account)
        return delivery

    def commit(self, delivery: int) -> None:
        self.ledger.commit(self.account, 0, [(delivery, TurnResult([], []), 0.0, 0.0)])


def test_nothing_is_cut_before_there_is_a_recorder() -> None:
    bench = Bench()
    bench.want("start")
    assert bench.saves() == []
    bench.begin()
    assert [(save.number, save.cause, save.status, save.once) for save in bench.saves()] == [
        (11, "start", "running", HistoryPosition(3, 40))
    ]


def test_one_is_written_at_a_time_and_wishes_that_come_meanwhile_share_the_next() -> None:
    bench = Bench()
    bench.begin()
    bench.want("a")
    bench.want("b")
    bench.want("c")
    assert [save.number for save in bench.saves()] == [11]
    first = bench.save()
    assert bench.done == [("a", first)]
    assert [save.number for save in bench.saves()] == [11, 12]
    second = bench.save()
    assert bench.done[1:] == [("b", second), ("c", second)]
    assert len(bench.saves()) == 2
    assert bench.checkpoints.last == second


def test_time_runs_from_the_end_of_one_to_the_next() -> None:
    bench = Bench(every=5.0)
    bench.begin()
    assert bench.ctx.running() == []
    bench.want("start")
    assert bench.ctx.running() == []
    bench.save()
    (timer,) = bench.ctx.running()
    assert (timer.delay, timer.message) == (5.0, CheckpointDue())
    bench.want("asked")  # one in between has the time run anew
    assert bench.ctx.running() == []
    bench.fail()
    (timer,) = bench.ctx.running()
    bench.handle(CheckpointDue())
    assert bench.saves()[-1].cause == "interval"
    assert len(bench.saves()) == 3


def test_a_failure_is_told_once_and_to_those_who_asked() -> None:
    bench = Bench()
    bench.begin()
    bench.want("a")
    bench.want("b", Pause("why", None))
    error = bench.fail()
    assert bench.done == [("a", error)]
    assert (bench.failed, bench.checkpoints.failures) == ([error], 1)
    assert [point.number for point in bench.checkpoints.pause_points] == [12]
    another = bench.fail()
    assert bench.checkpoints.failures == 2
    assert bench.checkpoints.pause_points == []  # that pause never was
    assert bench.done[1:] == [("b", another)]
    bench.want("c")
    bench.save()
    assert bench.checkpoints.failures == 0


def test_a_pause_has_its_status_and_its_point() -> None:
    bench = Bench()
    bench.begin()
    bench.ctx.time = 5.0
    bench.want("pause", Pause("lunch", b"x"))
    save = bench.saves()[-1]
    assert (save.cause, save.status) == ("pause", "paused")
    (point,) = save.pause_points
    assert (point.at, point.reason, point.checkpoint, point.generation, point.number) == (105.0, "lunch", b"x", 3, 11)


def test_the_newest_thousand_pauses_are_kept() -> None:
    bench = Bench()
    bench.begin()
    for number in range(1_002):
        bench.want("pause", Pause(str(number), None))
        bench.save()
    reasons = [point.reason for point in bench.checkpoints.pause_points]
    assert (len(reasons), reasons[0], reasons[-1]) == (1_000, "2", "1001")


def test_a_paused_job_is_kept_as_one_and_by_itself_not_at_all() -> None:
    bench = Bench(every=5.0)
    bench.begin()
    bench.want("pause", Pause("lunch", None))
    bench.checkpoints.note_paused(is_paused=True, ctx=bench.ctx)  # type: ignore[arg-type]
    bench.save()
    assert bench.ctx.running() == []
    bench.want("asked")
    assert (bench.saves()[-1].cause, bench.saves()[-1].status) == ("asked", "paused")
    bench.save()
    assert bench.ctx.running() == []
    bench.checkpoints.note_paused(is_paused=False, ctx=bench.ctx)  # type: ignore[arg-type]
    assert [timer.delay for timer in bench.ctx.running()] == [5.0]


@pytest.mark.parametrize("outcome", ["saved", "failed", "none"])
def test_nothing_is_cut_after_the_last(outcome: str) -> None:
    bench = Bench(every=1.0)
    bench.begin()
    bench.want("a")
    bench.want("b")
    bench.want("pause", Pause("lunch", None))
    bench.checkpoints.cut_last("completed", None, bench.ctx)  # type: ignore[arg-type]
    if outcome == "saved":
        bench.handle(Saved(CheckpointInfo(3, 11, "a", 0.0, 0, 0, 0.0, 0.0, 0.0), {}))
    elif outcome == "failed":
        bench.handle(NotSaved(11, CheckpointFailedError("job", 11, "no")))
    bench.want("late")
    assert [(save.number, save.status, save.cause) for save in bench.saves()] == [
        (11, "running", "a"),
        (12, "completed", "end"),
    ]
    bench.checkpoints.end()
    assert [cause for cause, _ in bench.done] == ["a", "b", "pause", "late"]
    assert all(isinstance(found, JobEndedError) for _, found in bench.done[1:])
    assert bench.ctx.running() == []
    bench.checkpoints.end()
    assert len(bench.done) == 4


def test_a_routine_whose_state_is_read_in_place_is_waited_for() -> None:
    bench = Bench(routine=Live)
    bench.begin()
    delivery = bench.send_and_take()
    bench.ledger.admit(0, {})
    bench.want("a")
    assert bench.saves() == []
    assert [timer.delay for timer in bench.ctx.running()] == [BOUNDARY_SECONDS]
    assert bench.ledger.take(bench.account) == []
    bench.commit(delivery)
    assert bench.stopped == 1
    assert bench.ledger.take(bench.account) == []
    bench.handle(Stopped())
    (save,) = bench.saves()
    assert save.books.accounts[0].committed[0] is not None
    assert all(value.__class__ is bytes for value in save.books.accounts[0].committed[0].values())
    # It goes on while that is written.
    assert len(bench.ledger.take(bench.account)) == 1
    assert bench.ctx.running() == []


def test_a_routine_that_does_not_come_to_a_boundary_costs_the_checkpoint() -> None:
    bench = Bench(routine=Live, every=5.0)
    bench.begin()
    delivery = bench.send_and_take()
    bench.want("a")
    bench.want("b")
    (overdue,) = bench.ctx.running()
    bench.handle(overdue.message)
    assert [cause for cause, _ in bench.done] == ["a", "b"]
    assert bench.saves() == []
    assert len(bench.failed) == 1
    assert "'one' did not come to the end of a turn" in str(bench.failed[0])
    assert not bench.account.is_stopping
    # The next one is another try.
    bench.want("c")
    bench.handle(BoundaryOverdue(99))
    assert bench.done[2:] == []
    bench.commit(delivery)
    bench.handle(Stopped())
    assert len(bench.saves()) == 1


def test_a_pause_that_is_given_up_does_not_let_go_what_stops_for_a_checkpoint() -> None:
    bench = Bench(routine=Live)
    bench.begin()
    delivery = bench.send_and_take()
    bench.ledger.admit(0, {})
    bench.want("a")
    bench.ledger.hold_gate()
    bench.ledger.open_gate()
    bench.commit(delivery)
    assert bench.ledger.take(bench.account) == []
    assert bench.stopped == 1
    bench.handle(Stopped())
    assert len(bench.saves()) == 1
    assert len(bench.ledger.take(bench.account)) == 1


def test_what_waits_for_a_retry_has_stopped() -> None:
    bench = Bench(routine=Live)
    bench.begin()
    delivery = bench.send_and_take()
    bench.want("a")
    bench.ledger.set_aside(bench.account, (delivery,), redelivered=False, due_at=1e9, holds=True)
    assert bench.stopped == 1


def test_a_state_that_cannot_be_written_costs_the_checkpoint_and_lets_go() -> None:
    bench = Bench(routine=Live)
    bench.begin()
    bench.account.committed[0][""].value["x"] = lambda: (yield)
    bench.account.committed[0][""].value["y"] = (n for n in ())
    bench.want("a")
    assert bench.saves() == []
    assert [type(found) for _, found in bench.done] == [CheckpointFailedError]
    assert not bench.account.is_stopping
