"""The history of a job: facts, kept within a bound, and told as execution records. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from routilux.facts import Fact
from routilux.routing import Plan

HISTORY_LIMIT = 10_000
"""Newest records kept in memory (DESIGN section 7); what is cut is counted."""


class ExecutionRecord(msgspec.Struct, frozen=True):
    """One thing that happened in a job.

    Args:
        routine_id: where.
        kind: `start`, `emit`, `completed`, `error`, or what was decided after an error:
            `stop`, `continue`, `retry`, `skip`; `skipped` counts what a skipped routine passed over.
        at: when, in seconds since the epoch.
        message_id: the message's id, empty where there is none.
        source: the connection it came by, such as `read.file -> parse.source`.
        attempt: which try of the message, from 1; 0 where that means nothing.
        event: the event emitted, for `emit`.
        seconds: how long the turn took, for `completed`.
        detail: the error or cause in words.
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


class HistoryCut(NamedTuple):
    """A history as it was at one moment; told as records on demand.

    Args:
        plan: the compiled flow, for names.
        facts: the facts kept, oldest first.
        total: facts there were in all.
        wall_offset: what to add to a clock reading to get seconds since the epoch.
    """

    plan: Plan
    facts: tuple[Fact, ...]
    total: int
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
    """

    def __init__(self, plan: Plan, wall_offset: float) -> None:
        self._plan = plan
        self._wall_offset = wall_offset
        # A fact makes at least one record, so as many facts as records are enough.
        self._facts: deque[Fact] = deque(maxlen=HISTORY_LIMIT)
        self._total = 0

    def extend(self, facts: Iterable[Fact]) -> None:
        """Add facts, oldest first."""
        added = list(facts)
        self._facts.extend(added)
        self._total += len(added)

    def cut(self) -> HistoryCut:
        """Copy what there is, by reference."""
        return HistoryCut(self._plan, tuple(self._facts), self._total, self._wall_offset)


def _tell(fact: Fact, plan: Plan, offset: float) -> Iterator[ExecutionRecord]:
    routine = plan.routines[fact.routine]
    at = fact.at + offset
    source = plan.edges[fact.edge].label if fact.edge >= 0 else ""
    message_id = f"{fact.edge}-{fact.seq}" if fact.edge >= 0 else ""

    def record(kind: str, when: float, **more: object) -> ExecutionRecord:
        base = {"message_id": message_id, "source": source, "attempt": fact.attempt}
        return ExecutionRecord(routine.id, kind, when, **{**base, **more})  # type: ignore[arg-type]  # checked by the tests

    if fact.kind == "committed":
        yield record("start", at - fact.seconds)
    for event in fact.events:
        yield record("emit", at, event=routine.events[event])
    if fact.kind == "committed":
        yield record("completed", at, seconds=fact.seconds)
    elif fact.kind == "failed":
        yield record("error", at, detail=str(fact.detail))
    elif fact.kind == "skipped":
        yield record("skipped", at, detail=f"{fact.detail} messages that waited were skipped")
    elif fact.kind != "released":
        yield record(fact.kind, at, detail=str(fact.detail))
