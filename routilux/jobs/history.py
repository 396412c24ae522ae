"""The history of a job: facts, kept within a bound, and told as execution records. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from routilux.causes import TextBudget, shorten, tell_cause, weigh
from routilux.facts import Fact
from routilux.ids import to_id
from routilux.routing import Plan
from supervisors.reasons import Reason

HISTORY_LIMIT = 10_000
"""Newest records kept in memory (DESIGN section 7); what is cut is counted."""
REASONS_BYTES = 16 * 1024 * 1024
"""Text of the reasons in a history, counted at each record; older ones keep one line (arbitrary)."""


class ExecutionRecord(msgspec.Struct, frozen=True):
    """One thing that happened in a job.

    Args:
        routine_id: where.
        kind: `start`, `emit`, `completed`, `error`, or what was decided after an error:
            `stop`, `continue`, `retry`, `skip`; `skipped` counts what a skipped routine passed over,
            `redelivered` is a dead letter that was put back.
        at: when, in seconds since the epoch.
        message_id: the message's id, empty where there is none.
        source: the connection it came by, such as `read.file -> parse.source`.
        attempt: which try of the message, from 1; 0 where that means nothing.
        event: the event emitted, for `emit`.
        seconds: how long the turn took, for `completed`.
        detail: the error or cause in one line.
        reason: what went wrong, for `error` and what was decided: with traceback, notes, signal or
            exit code and last output; of an old one only what fits in a line (`REASONS_BYTES`).
    """

    routine_id: str
    kind: str
    at: float
    message_id: str = ""
    source: str = ""
    attempt: int = 0
    event: str = ""
    seconds: float = 0.0
    detail: str = ""
    reason: Reason | None = None


class HistoryCut(NamedTuple):
    """A history as it was at one moment; told as records on demand.

    Args:
        plan: the compiled flow, for names.
        facts: the facts kept, oldest first.
        total: facts there were in all.
        shortened: facts whose reason was shortened, in all.
        wall_offset: what to add to a clock reading to get seconds since the epoch.
    """

    plan: Plan
    facts: tuple[Fact, ...]
    total: int
    shortened: int
    wall_offset: float

    def records(self) -> list[ExecutionRecord]:
        """The newest `HISTORY_LIMIT` records, oldest first."""
        newest: deque[ExecutionRecord] = deque(maxlen=HISTORY_LIMIT)
        for fact in self.facts:
            newest.extend(_tell(fact, self.plan, self.wall_offset))
        return list(newest)


class History:
    """The facts of one job, newest kept.

    Args:
        plan: the compiled flow.
        wall_offset: what to add to a clock reading to get seconds since the epoch.
        reasons_bytes: text of the reasons that are kept in full.
    """

    def __init__(self, plan: Plan, wall_offset: float, reasons_bytes: int = REASONS_BYTES) -> None:
        self._plan = plan
        self._wall_offset = wall_offset
        # A fact makes at least one record, so as many facts as records are enough.
        self._facts: deque[Fact] = deque(maxlen=HISTORY_LIMIT)
        self._total = 0
        self._shortened = 0
        self._budget: TextBudget[int] = TextBudget(reasons_bytes)

    def extend(self, facts: Iterable[Fact]) -> None:
        """Add facts, oldest first."""
        added = list(facts)
        self._facts.extend(added)
        first, self._total = self._total, self._total + len(added)
        kept_from = self._total - len(self._facts)
        while (oldest := self._budget.oldest) is not None and oldest < kept_from:
            self._budget.give_back(oldest)
        for number, fact in enumerate(added, first):
            if fact.reason is not None and number >= kept_from:
                for over in self._budget.take(number, weigh(fact.reason)):
                    self._shorten(over - kept_from)

    def cut(self) -> HistoryCut:
        """Copy what there is, by reference."""
        return HistoryCut(self._plan, tuple(self._facts), self._total, self._shortened, self._wall_offset)

    def _shorten(self, position: int) -> None:
        fact = self._facts[position]
        if fact.reason is not None:
            # Another fact in its place: the old one may be part of a cut.
            self._facts[position] = msgspec.structs.replace(fact, reason=shorten(fact.reason))
            self._shortened += 1


def _tell(fact: Fact, plan: Plan, offset: float) -> Iterator[ExecutionRecord]:
    routine = plan.routines[fact.routine]
    at = fact.at + offset
    source = plan.edges[fact.edge].label if fact.edge >= 0 else ""
    message_id = to_id(fact.key) if fact.edge >= 0 else ""

    def record(kind: str, when: float, **more: object) -> ExecutionRecord:
        base = {"message_id": message_id, "source": source, "attempt": fact.attempt}
        return ExecutionRecord(routine.id, kind, when, **{**base, **more})  # type: ignore[arg-type]  # checked by the tests

    if fact.kind == "committed":
        yield record("start", at - fact.seconds)
    for event in fact.events:
        yield record("emit", at, event=routine.events[event])
    if fact.kind == "committed":
        yield record("completed", at, seconds=fact.seconds)
    elif fact.kind == "skipped":
        yield record("skipped", at, detail=f"{fact.count} messages that waited were skipped")
    elif fact.kind != "released":
        kind = "error" if fact.kind == "failed" else fact.kind
        detail = "" if fact.reason is None else tell_cause(fact.reason)
        yield record(kind, at, detail=detail, reason=fact.reason)
