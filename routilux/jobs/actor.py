"""The state actor: owner of a job's status and history.

Every change of status goes through it and by the one table of `machine`. It fetches facts from
the ledger in batches, checks the conservation of messages at the end (R7), and answers with
snapshots. It never changes the ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple

from routilux.accounts import Account
from routilux.dead_letters import DeadLetter
from routilux.facts import Commits, Fact
from routilux.figures import RoutineFigures
from routilux.holdings import EdgeCount, SentAt
from routilux.jobs.checkpoints import (
    PAUSE_POINTS,
    BoundaryOverdue,
    CheckpointDue,
    Checkpoints,
    Outcome,
    Pause,
    Stopped,
    Wish,
)
from routilux.jobs.errors import CheckpointFailedError
from routilux.jobs.history import History, HistoryCut
from routilux.jobs.machine import JobStatus, is_final, move
from routilux.jobs.recorder import CheckpointInfo, NotSaved, Saved, TakenOver
from routilux.ledger import Ledger
from routilux.records.schema import PausePoint
from routilux.routing import names_of
from routilux.tracking.meters import Measures, Meters, Spent, Times
from supervisors.behavior import Behavior, Context, Ref
from supervisors.errors import InternalError
from supervisors.places.base import Worker
from supervisors.reasons import Reason


class FactsWait(NamedTuple):
    """A batch of facts waits in the ledger."""


class Move(NamedTuple):
    """The job is to change its status.

    Args:
        to: the new one.
        error: why, where the job ends badly.
    """

    to: JobStatus
    error: str | None = None


class GoOn(NamedTuple):
    """A paused job goes on; `reply` is told that it was paused, once it shows so no more."""

    reply: Future[bool]


class GetCut(NamedTuple):
    """Somebody wants to know how the job is; the answer goes to `reply`."""

    reply: Future[JobCut]


class RoutineCut(NamedTuple):
    """One routine at one moment; `committed` is by worker, still encoded, `away` lists workers on other machines."""

    status: str
    figures: RoutineFigures
    committed: list[dict[str, object]]
    error: str | None
    pids: tuple[int | None, ...]
    spent: tuple[Spent, ...]
    away: tuple[Worker, ...] = ()


class JobCut(NamedTuple):
    """A whole job between two commits, by reference."""

    status: JobStatus
    error: str | None
    updated_at: float
    routines: tuple[RoutineCut, ...]
    connections: list[EdgeCount]
    sent_at: list[SentAt]
    measures: Measures
    dead_letters: list[DeadLetter]
    history: HistoryCut
    pause_points: list[PausePoint]
    checkpoint: CheckpointInfo | None
    unkept: CheckpointFailedError | None = None
    """Of a job that is over: why it could not be kept as it is here."""


class PauseNow(NamedTuple):
    """All routines rest: the job is to be paused, durably where it has a store."""

    pause: Pause


class Left(NamedTuple):
    """The job has come to its end in this program, and is to be resumed.

    Args:
        reason: why.
    """

    reason: str


class Paused(NamedTuple):
    """The job is paused, or could not be.

    Args:
        checkpoint: what it can be resumed from; None where it has no store.
        error: why it could not be kept, and so is not paused.
    """

    checkpoint: CheckpointInfo | None
    error: CheckpointFailedError | None = None


class TakeCheckpoint(NamedTuple):
    """Somebody wants a checkpoint now; what came of it goes to `reply`."""

    cause: str
    reply: Future[CheckpointInfo]


class KeepWith(NamedTuple):
    """The recorder is there."""

    recorder: Ref


class StateActor(Behavior):
    """The owner of a job's status and history.

    Args:
        ledger: the job's.
        wall_offset: what to add to a clock reading to get seconds since the epoch.
        report: tells the job's supervisor what came of a pause.
        checkpoints: those of the job; None for a job without a store.
    """

    def __init__(
        self,
        ledger: Ledger,
        wall_offset: float,
        report: Callable[[Paused], None],
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self._ledger = ledger
        self._wall_offset = wall_offset
        self._report = report
        self._checkpoints = checkpoints
        self._history = History(names_of(ledger.plan), wall_offset)
        self._meters = Meters(len(ledger.accounts), ledger.measures)
        self._updated_at = 0.0
        self._pauses: list[PausePoint] = []
        self._paused_at = (0, False)
        """Where the job was paused, see `_mark`."""
        if checkpoints is not None:
            checkpoints.take_in = self._take_in_cut
        self.status = JobStatus.PENDING
        """Read by anyone; changed here alone."""
        self.error: str | None = None

    def on_start(self, ctx: Context) -> None:
        """Note when the job began."""
        self._updated_at = ctx.now() + self._wall_offset
        self._meters.begin(ctx.now())

    def on_message(self, message: object, ctx: Context) -> None:
        """Take facts in, change the status, or answer."""
        match message:
            case FactsWait():
                self._fetch(ctx)
            case Move(to, error):
                self._move(to, error, ctx)
            case GoOn(answer):
                self._move(JobStatus.RUNNING, None, ctx)
                answer.set_result(True)
            case GetCut(reply):
                try:
                    reply.set_result(self.cut(ctx.now()))
                except BaseException as error:
                    reply.set_exception(error)
                    raise
            case PauseNow(pause):
                self._pause(pause, ctx)
            case Left(reason):
                self._leave(reason, ctx)
            case _ if self._checkpoints is not None:
                self._keep(message, self._checkpoints, ctx)
            case _:
                raise InternalError(f"the state actor was sent {message!r}")

    def on_stop(self, reason: Reason, ctx: Context) -> None:
        """Answer those who asked and were not heard any more."""
        _control, asked = ctx.mailbox.close()
        for message in asked:
            if isinstance(message, GetCut):
                message.reply.set_result(self.cut(ctx.now()))
        if self._checkpoints is not None:
            self._checkpoints.end()

    def cut(self, now: float) -> JobCut:
        """Give the job as it is between two commits."""
        ledger = self._ledger
        with ledger.lock:
            facts, times = ledger.fetch_facts_held(), ledger.fetch_times_held()
            routines, connections, sent_at, letters = _cut_books_held(ledger)
        if facts:
            self._take_in(facts, times, now)
        letters.sort(key=lambda letter: letter.at)
        return JobCut(
            self.status,
            self.error,
            self._updated_at,
            routines,
            connections,
            sent_at,
            self._meters.measure(now),
            letters,
            self._history.cut(),
            self.pause_points,
            None if self._checkpoints is None else self._checkpoints.last,
        )

    def seconds(self, now: float) -> float:
        """Tell how long the job has run, pauses not counted. Any thread may ask."""
        return self._meters.seconds(now)

    def find_unwritten(self, newest: CheckpointInfo | None) -> CheckpointFailedError | None:
        """As `Checkpoints.find_unwritten`; None for a job without a store."""
        return None if self._checkpoints is None else self._checkpoints.find_unwritten(newest)

    @property
    def pause_points(self) -> list[PausePoint]:
        """All pauses, oldest first."""
        return self._pauses if self._checkpoints is None else self._checkpoints.pause_points

    def _fetch(self, ctx: Context) -> None:
        with self._ledger.lock:
            facts, times = self._ledger.fetch_facts_held(), self._ledger.fetch_times_held()
        self._take_in(facts, times, ctx.now())

    def _take_in(self, facts: list[Fact | Commits], times: list[Times], now: float) -> None:
        self._history.extend(facts)
        self._meters.extend(times, facts)
        if self._checkpoints is not None:
            self._checkpoints.keep_facts(facts)
        self._updated_at = now + self._wall_offset

    def _take_in_cut(self, facts: list[Fact | Commits], times: list[Times], now: float) -> Measures:
        self._take_in(facts, times, now)
        return self._meters.measure(now)

    def _move(self, to: JobStatus, error: str | None, ctx: Context) -> None:
        if is_final(to):
            self._fetch(ctx)
            self._meters.stop(ctx.now())
            try:
                self._ledger.check()
            except InternalError as mismatch:
                to, error = JobStatus.FAILED, str(mismatch)
        self.error = error
        self._updated_at = ctx.now() + self._wall_offset
        self.status = move(self.status, to)
        if to is JobStatus.RUNNING:
            self._meters.go_on(ctx.now())
        if self._checkpoints is None:
            return
        if is_final(to):
            self._checkpoints.cut_last(str(to), error, ctx)
            return
        was_paused = self._checkpoints.note_paused(is_paused=to is JobStatus.PAUSED, ctx=ctx)
        if was_paused and to is JobStatus.RUNNING:
            # What is kept says that it is paused, and nothing ran since: from here that is not so any more.
            self._checkpoints.want(Wish("resume", lambda _: None), ctx)

    def _pause(self, pause: Pause, ctx: Context) -> None:
        def end(outcome: Outcome) -> None:
            if isinstance(outcome, CheckpointFailedError):
                self._meters.go_on(ctx.now())
                self._report(Paused(None, outcome))
            elif (
                isinstance(outcome, CheckpointInfo) and self.status is JobStatus.RUNNING
            ):  # else it has ended meanwhile
                self._move(JobStatus.PAUSED, None, ctx)
                self._report(Paused(outcome))

        self._paused_at = self._mark(ctx)
        self._meters.stop(ctx.now())  # what is kept of it and what it tells from here on are the same
        if self._checkpoints is not None:
            self._checkpoints.want(Wish("pause", end, pause), ctx)
            return
        point = PausePoint(ctx.now() + self._wall_offset, pause.reason, pause.checkpoint, 1, 1)
        self._pauses = [*self._pauses, point][-PAUSE_POINTS:]
        self._move(JobStatus.PAUSED, None, ctx)
        self._report(Paused(None))

    def _leave(self, reason: str, ctx: Context) -> None:
        if self._checkpoints is None:
            return
        if self.status is JobStatus.PAUSED:
            if self._mark(ctx) != self._paused_at:  # else it is kept already as it is
                self._checkpoints.cut_last(str(self.status), None, ctx)
            return
        self._fetch(ctx)
        self._meters.stop(ctx.now())
        try:
            self._ledger.check()
        except InternalError:
            self._move(JobStatus.FAILED, None, ctx)  # it says why
            return
        self.status = move(self.status, JobStatus.PAUSED)
        self._checkpoints.cut_last(str(self.status), None, ctx, Pause(reason, None))

    def _mark(self, ctx: Context) -> tuple[int, bool]:
        """Give what differs after anything that can happen to a paused job: an owner still tells it things."""
        self._fetch(ctx)
        return self._history.total, self._ledger.is_entry_open

    def _keep(self, message: object, checkpoints: Checkpoints, ctx: Context) -> None:
        match message:
            case KeepWith(recorder):
                checkpoints.begin(recorder, ctx)
            case TakeCheckpoint(cause, reply):
                checkpoints.want(Wish(cause, partial(_answer, reply)), ctx)
            case CheckpointDue() | BoundaryOverdue() | Stopped() | Saved() | NotSaved() | TakenOver():
                checkpoints.handle(message, ctx)
            case _:
                raise InternalError(f"the state actor was sent {message!r}")


def _answer(reply: Future[CheckpointInfo], outcome: Outcome) -> None:
    if isinstance(outcome, CheckpointInfo):
        reply.set_result(outcome)
    else:
        reply.set_exception(outcome)


def cut_again(cut: JobCut, ledger: Ledger) -> JobCut:
    """Give the last cut of a job that is over with its books as they are now: results are still being read."""
    with ledger.outside:
        routines, connections, sent_at, letters = _cut_books_held(ledger)
    letters.sort(key=lambda letter: letter.at)
    return cut._replace(routines=routines, connections=connections, sent_at=sent_at, dead_letters=letters)


def count_held(account: Account) -> RoutineFigures:
    """Count what a routine holds and did; the job's lock is held."""
    return RoutineFigures(
        handled=account.handled,
        failed=account.failed,
        skipped=account.skipped,
        dead=account.dead,
        retries=account.retries,
        restarts=account.restarts,
        emitted=account.emitted,
        waiting=account.waiting,
        in_hand=account.count_in_hand,
        in_retry=account.retrying,
        abandoned=len(account.abandoned),
        peak_waiting=max(account.peak_waiting, len(account.mailbox)),
        merged=account.merged,
        merging=sum(map(len, account.buffers)),
    )


def _cut_books_held(
    ledger: Ledger,
) -> tuple[tuple[RoutineCut, ...], list[EdgeCount], list[SentAt], list[DeadLetter]]:
    routines = tuple(_cut_routine(account) for account in ledger.accounts)
    letters = [letter for account in ledger.accounts for letter in account.dead_letters]
    return routines, ledger.counts_held(), ledger.sent_at_held(), letters


def _cut_routine(account: Account) -> RoutineCut:
    committed = [dict(state) for state in account.committed]
    away = account.list_workers() if account.plan.options.placement == "ray" else ()
    return RoutineCut(account.status, count_held(account), committed, account.error, account.pids, account.spent, away)
