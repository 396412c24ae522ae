"""When a job is cut for a checkpoint, and who is told what came of it.

Owns the checkpoints of one job as its state actor sees them: which are wanted, which one is being written, and their
numbers. One is written at a time; wishes that come meanwhile are served together by the next. The cut copies
references with the job's lock held; encoding and writing are the recorder's.

A routine whose state is read in place stops at its next boundary before the cut, and goes on after its state was
encoded: all others go on all the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from routilux.accounts import Account
from routilux.books import AccountBooks, Books, Versions
from routilux.errors import JobEndedError
from routilux.facts import Commits, Fact, count_facts
from routilux.jobs.backlog import Backlog
from routilux.jobs.errors import CheckpointFailedError
from routilux.jobs.journal import Journal
from routilux.jobs.recorder import CheckpointInfo, KeepFacts, NotSaved, Save, Saved, TakenOver
from routilux.ledger import Ledger
from routilux.records.schema import PausePoint
from routilux.stores.errors import FencedError
from routilux.tracking.meters import Measures, Times
from routilux.turn.state import to_stored
from supervisors.behavior import Context, Ref, Timer
from supervisors.errors import ValueEncodingError

BOUNDARY_SECONDS = 30.0
"""What routines whose state is read in place get to come to a boundary; then the checkpoint is given up (arbitrary)."""
PAUSE_POINTS = 1_000
"""Pauses that a job tells of, the newest: every checkpoint holds them, with what their callers kept (arbitrary)."""


class CheckpointDue(NamedTuple):
    """The time between two checkpoints is over."""


class BoundaryOverdue(NamedTuple):
    """A routine has not come to a boundary in time."""

    number: int


class Stopped(NamedTuple):
    """A routine has come to the boundary at which it was to stop."""


Outcome = CheckpointInfo | CheckpointFailedError | JobEndedError
"""What comes of a wish for a checkpoint."""


class Pause(NamedTuple):
    """What a pause point is made of: why, and what the caller wants to be kept with it, encoded."""

    reason: str
    checkpoint: bytes | None


class Wish(NamedTuple):
    """Somebody wants a checkpoint.

    Args:
        cause: `start`, `interval`, `asked`, `pause` or `resume`.
        done: called with what came of it.
        pause: the pause that it is for.
    """

    cause: str
    done: Callable[[Outcome], None]
    pause: Pause | None = None


class Checkpoints:
    """The checkpoints of one job.

    Args:
        ledger: the job's.
        journal: the log of what was done once.
        backlog: where facts are counted that go to the recorder.
        generation: which runner of the job this is.
        number: that of the last checkpoint there was.
        every: seconds between two checkpoints, from the end of one to the cut of the next; None for none by itself.
        pause_points: the pauses there were, oldest first.
        wall_offset: what to add to a clock reading to get seconds since the epoch.
        failed: called with each failure.
        taken_over: called when another runner has the job.
    """

    def __init__(  # noqa: PLR0913  what a job's checkpoints go by, spelled out once
        self,
        ledger: Ledger,
        *,
        journal: Journal,
        backlog: Backlog,
        generation: int,
        number: int,
        every: float | None,
        pause_points: list[PausePoint],
        wall_offset: float,
        failed: Callable[[CheckpointFailedError], None],
        taken_over: Callable[[FencedError], None],
    ) -> None:
        self._ledger = ledger
        self._journal = journal
        self._backlog = backlog
        self._generation = generation
        self._number = number
        self._every = every
        self.pause_points = pause_points
        self._wall_offset = wall_offset
        self.take_in: Callable[[list[Fact | Commits], list[Times], float], Measures | None] = lambda *_: None
        """Takes note of what was fetched at a cut, and of when that was; gives what was measured up to it."""
        self._failed = failed
        self._taken_over = taken_over
        self._recorder: Ref | None = None
        self._wishes: list[Wish] = []
        self._serving: list[Wish] = []
        self._is_writing = False
        self._is_stopping = False
        self._is_paused = False
        self._is_over = False
        self._last_number: int | None = None
        """That of the checkpoint at the job's end, once it was cut."""
        self._known: Versions = {}
        self._timer: Timer | None = None
        self._overdue: Timer | None = None
        self.last: CheckpointInfo | None = None
        """The newest durable one of this runner."""
        self.failures = 0
        """How many could not be kept, since the last that was."""

    def begin(self, recorder: Ref, ctx: Context) -> None:
        """Begin to keep the job; the first checkpoint is for its starter to ask for."""
        self._recorder = recorder
        self._go_on(ctx)

    def tell_recorder(self, message: object) -> None:
        """Hand something to the recorder; before it is there, nothing is lost that it would have to know."""
        if self._recorder is not None:
            self._recorder.signal(message)

    def keep_facts(self, facts: list[Fact | Commits]) -> None:
        """Hand facts to the recorder."""
        if self._recorder is not None:
            self._backlog.add(count_facts(facts))
            self._recorder.signal(KeepFacts(facts))

    def note_paused(self, *, is_paused: bool, ctx: Context) -> bool:
        """Take note that the job is paused, or goes on: while it is paused it is kept only when that is asked for.

        Returns:
            Whether it was paused before.
        """
        before, self._is_paused = self._is_paused, is_paused
        self._set_timer(ctx)
        return before

    def want(self, wish: Wish, ctx: Context) -> None:
        """Cut the job as soon as that can be; once it was cut at its end the wish waits for `end`."""
        self._wishes.append(wish)
        self._go_on(ctx)

    def handle(
        self, message: CheckpointDue | BoundaryOverdue | Stopped | Saved | NotSaved | TakenOver, ctx: Context
    ) -> None:
        """Go on."""
        match message:
            case CheckpointDue():
                self._timer = None
                self.want(Wish("interval", lambda _: None), ctx)
            case Stopped():
                self._go_on(ctx)
            case BoundaryOverdue(number):
                if self._is_stopping and number == self._number:
                    self._give_up(ctx)
            case Saved(info, versions):
                self._known, self.last, self.failures = versions, info, 0
                self._end(info, ctx)
            case NotSaved(_, error):
                self._end(error, ctx)
            case TakenOver(fenced):
                self._taken_over(fenced)

    def cut_last(self, status: str, error: str | None, ctx: Context, pause: Pause | None = None) -> None:
        """Cut the job at its end, in this program at least: nobody takes anything any more."""
        self._is_over = True
        self._set_timer(ctx)
        self._number += 1
        self._last_number = self._number
        if pause is not None:
            self._add_points([pause], ctx)
        self._write("end" if pause is None else "pause", status, error, self.pause_points, ctx)

    def find_unwritten(self, newest: CheckpointInfo | None) -> CheckpointFailedError | None:
        """Tell that the job's end was cut and is not kept, given the newest checkpoint that is durable."""
        if self._last_number is None or (newest is not None and newest.number >= self._last_number):
            return None
        return CheckpointFailedError(self._ledger.job_id, self._last_number, "it was not written in time")

    def end(self) -> None:
        """Tell those who still wait for a checkpoint that the job has ended."""
        waiting, self._serving, self._wishes = [*self._serving, *self._wishes], [], []
        for wish in waiting:
            wish.done(JobEndedError(self._ledger.job_id, "ending", "a checkpoint"))

    # -- Private

    def _go_on(self, ctx: Context) -> None:
        if self._is_writing or not self._wishes or self._recorder is None or self._is_over:
            return  # of a job that is over, the last one tells how it ended: none may be newer
        if not self._is_stopping and self._in_place():
            self._is_stopping = True
            self._ledger.stop_in_place()
            self._overdue = ctx.set_timer(BOUNDARY_SECONDS, BoundaryOverdue(self._number))
        if not self._is_stopping or all(account.has_stopped for account in self._in_place()):
            self._cut(ctx)

    def _in_place(self) -> list[Account]:
        return [account for account in self._ledger.accounts if account.is_in_place]

    def _cut(self, ctx: Context) -> None:
        self._serving, self._wishes = self._wishes, []
        self._number += 1
        self._is_writing = True
        self._set_timer(ctx)
        pauses = [wish.pause for wish in self._serving if wish.pause is not None]
        self._add_points(pauses, ctx)
        cause = "pause" if pauses else self._serving[-1].cause
        self._write(cause, "paused" if pauses or self._is_paused else "running", None, self.pause_points, ctx)

    def _add_points(self, pauses: list[Pause], ctx: Context) -> None:
        at = ctx.now() + self._wall_offset
        added = [PausePoint(at, pause.reason, pause.checkpoint, self._generation, self._number) for pause in pauses]
        self.pause_points = [*self.pause_points, *added][-PAUSE_POINTS:]

    def _write(self, cause: str, status: str, error: str | None, points: list[PausePoint], ctx: Context) -> None:
        ledger, started = self._ledger, time.perf_counter()
        with ledger.lock:
            facts, times = ledger.fetch_facts_held(), ledger.fetch_times_held()
            books = ledger.copy_held(self._known)
            once = self._journal.position
        seconds = time.perf_counter() - started
        measures = self.take_in(facts, times, ctx.now())
        if measures is not None:
            books = _add_measures(books, measures)
        failure: CheckpointFailedError | None = None
        try:
            books = self._encode_in_place(books)
        except CheckpointFailedError as torn:
            failure = torn
        except (ValueEncodingError, RecursionError, MemoryError) as unfit:
            failure = CheckpointFailedError(ledger.job_id, self._number, str(unfit))
        self._let_go()
        if failure is not None:
            self.tell_recorder(NotSaved(self._number, failure))
            self._end(failure, ctx)
            return
        self.tell_recorder(Save(self._number, cause, status, error, ctx.now(), seconds, books, points, once))

    def _encode_in_place(self, books: Books) -> Books:
        accounts: list[AccountBooks] = list(books.accounts)
        for account in self._in_place():
            if account.abandoned:  # at the job's end: its thread may still change what would be read
                told = f"routine {account.plan.id!r} was left behind in a handler that changes its state in place"
                raise CheckpointFailedError(self._ledger.job_id, self._number, told)
            stored = tuple(to_stored(committed, self._ledger.codec) for committed in account.committed)
            accounts[account.index] = accounts[account.index]._replace(committed=stored)
        return books._replace(accounts=tuple(accounts))

    def _let_go(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
        if self._is_stopping:
            self._is_stopping = False
            self._ledger.let_in_place_go()

    def _give_up(self, ctx: Context) -> None:
        busy = [account.plan.id for account in self._in_place() if not account.has_stopped]
        self._let_go()
        self._serving, self._wishes = self._wishes, []
        told = f"routine {', '.join(map(repr, busy))} did not come to the end of a turn within {BOUNDARY_SECONDS:g} s"
        self._end(CheckpointFailedError(self._ledger.job_id, self._number + 1, told), ctx)

    def _end(self, outcome: CheckpointInfo | CheckpointFailedError, ctx: Context) -> None:
        self._is_writing = False
        served, self._serving = self._serving, []
        if isinstance(outcome, CheckpointFailedError):
            self.failures += 1
            self.pause_points = [point for point in self.pause_points if point.number != outcome.number]
            self._failed(outcome)
        for wish in served:
            if wish.pause is None or not self._is_over:  # what has ended cannot be paused any more
                wish.done(outcome)
        self._set_timer(ctx)
        self._go_on(ctx)

    def _set_timer(self, ctx: Context) -> None:
        """Have the time run from the end of one checkpoint to the next, while the job runs."""
        if self._is_writing or self._is_paused or self._is_over or self._recorder is None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif self._every is not None and self._timer is None:
            self._timer = ctx.set_timer(self._every, CheckpointDue())


def _add_measures(books: Books, measures: Measures) -> Books:
    accounts = tuple(
        account._replace(measured=measured) for account, measured in zip(books.accounts, measures.routines, strict=True)
    )
    return books._replace(accounts=accounts, seconds=measures.seconds)
