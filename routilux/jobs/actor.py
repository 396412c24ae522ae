"""The state actor: owner of a job's status and history.

Every change of status goes through it and by the one table of `machine`. It fetches facts from
the ledger in batches, checks the conservation of messages at the end (R7), and answers with
snapshots. It never changes the ledger.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import NamedTuple

from routilux.accounts import Account
from routilux.dead_letters import DeadLetter
from routilux.holdings import EdgeCount
from routilux.jobs.history import History, HistoryCut
from routilux.jobs.machine import JobStatus, is_final, move
from routilux.jobs.state import RoutineFigures
from routilux.ledger import Ledger
from routilux.routing import names_of
from supervisors.behavior import Behavior, Context
from supervisors.errors import InternalError
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


class GetCut(NamedTuple):
    """Somebody wants to know how the job is; the answer goes to `reply`."""

    reply: Future[JobCut]


class RoutineCut(NamedTuple):
    """One routine at one moment; `committed` is by worker, still encoded."""

    status: str
    figures: RoutineFigures
    committed: list[dict[str, object]]
    error: str | None


class JobCut(NamedTuple):
    """A whole job between two commits, by reference."""

    status: JobStatus
    error: str | None
    updated_at: float
    routines: tuple[RoutineCut, ...]
    connections: list[EdgeCount]
    dead_letters: list[DeadLetter]
    history: HistoryCut


class StateActor(Behavior):
    """The owner of a job's status and history.

    Args:
        ledger: the job's.
        wall_offset: what to add to a clock reading to get seconds since the epoch.
    """

    def __init__(self, ledger: Ledger, wall_offset: float) -> None:
        self._ledger = ledger
        self._wall_offset = wall_offset
        self._history = History(names_of(ledger.plan), wall_offset)
        self._updated_at = 0.0
        self.status = JobStatus.PENDING
        """Read by anyone; changed here alone."""
        self.error: str | None = None

    def on_start(self, ctx: Context) -> None:
        """Note when the job began."""
        self._updated_at = ctx.now() + self._wall_offset

    def on_message(self, message: object, ctx: Context) -> None:
        """Take facts in, change the status, or answer."""
        match message:
            case FactsWait():
                self._fetch(ctx)
            case Move(to, error):
                self._move(to, error, ctx)
            case GetCut(reply):
                try:
                    reply.set_result(self.cut(ctx.now()))
                except BaseException as error:
                    reply.set_exception(error)
                    raise
            case _:
                detail = f"the state actor was sent {message!r}"
                raise InternalError(detail)

    def on_stop(self, reason: Reason, ctx: Context) -> None:
        """Answer those who asked and were not heard any more."""
        _control, asked = ctx.mailbox.close()
        for message in asked:
            if isinstance(message, GetCut):
                message.reply.set_result(self.cut(ctx.now()))

    def cut(self, now: float) -> JobCut:
        """Give the job as it is between two commits."""
        ledger = self._ledger
        with ledger.lock:
            facts = ledger.fetch_facts_held()
            routines, connections, letters = _cut_books_held(ledger)
        if facts:
            self._history.extend(facts)
            self._updated_at = now + self._wall_offset
        letters.sort(key=lambda letter: letter.at)
        return JobCut(self.status, self.error, self._updated_at, routines, connections, letters, self._history.cut())

    def _fetch(self, ctx: Context) -> None:
        with self._ledger.lock:
            facts = self._ledger.fetch_facts_held()
        self._history.extend(facts)
        self._updated_at = ctx.now() + self._wall_offset

    def _move(self, to: JobStatus, error: str | None, ctx: Context) -> None:
        if is_final(to):
            self._fetch(ctx)
            try:
                self._ledger.check()
            except InternalError as mismatch:
                to, error = JobStatus.FAILED, str(mismatch)
        self.error = error
        self._updated_at = ctx.now() + self._wall_offset
        self.status = move(self.status, to)


def cut_again(cut: JobCut, ledger: Ledger) -> JobCut:
    """Give the last cut of a job that is over with its books as they are now: results are still being read."""
    with ledger.outside:
        routines, connections, letters = _cut_books_held(ledger)
    letters.sort(key=lambda letter: letter.at)
    return cut._replace(routines=routines, connections=connections, dead_letters=letters)


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
        waiting=len(account.mailbox),
        in_hand=len(account.in_hand),
        in_retry=sum(map(len, account.in_retry.values())),
        abandoned=len(account.abandoned),
    )


def _cut_books_held(ledger: Ledger) -> tuple[tuple[RoutineCut, ...], list[EdgeCount], list[DeadLetter]]:
    routines = tuple(_cut_routine(account) for account in ledger.accounts)
    return routines, ledger.counts_held(), [letter for account in ledger.accounts for letter in account.dead_letters]


def _cut_routine(account: Account) -> RoutineCut:
    committed = [dict(state) for state in account.committed]
    return RoutineCut(account.status, count_held(account), committed, account.error)
