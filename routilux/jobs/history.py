"""The history of a job: facts, kept within a bound, and told as execution records. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from routilux.causes import TextBudget, shorten, weigh
from routilux.executions import ExecutionRecord, Names, tell
from routilux.facts import Commits, Fact, count_facts, facts_of

HISTORY_LIMIT = 10_000
"""Newest records kept in memory (DESIGN section 7); what is cut is counted."""
REASONS_BYTES = 16 * 1024 * 1024
"""Text of the reasons in a history, counted at each record; older ones keep one line (arbitrary)."""


class HistoryCut(NamedTuple):
    """A history as it was at one moment; told as records on demand.

    Args:
        names: what the indexes in the facts stand for.
        told: the facts kept, oldest first.
        total: facts there were in all.
        shortened: facts whose reason was shortened, in all.
        wall_offset: what to add to a clock reading to get seconds since the epoch.
    """

    names: Names
    told: tuple[Fact | Commits, ...]
    total: int
    shortened: int
    wall_offset: float

    def facts(self) -> list[Fact]:
        """The newest facts, `HISTORY_LIMIT` at most, oldest first."""
        return list(deque(facts_of(self.told), maxlen=HISTORY_LIMIT))

    def records(self) -> list[ExecutionRecord]:
        """The newest `HISTORY_LIMIT` records, oldest first."""
        newest: deque[ExecutionRecord] = deque(maxlen=HISTORY_LIMIT)
        for fact in facts_of(self.told):
            newest.extend(tell(fact, self.names, self.wall_offset))
        return list(newest)


class History:
    """The facts of one job, newest kept.

    Args:
        names: what the indexes in the facts stand for.
        wall_offset: what to add to a clock reading to get seconds since the epoch.
        reasons_bytes: text of the reasons that are kept in full.
    """

    def __init__(self, names: Names, wall_offset: float, reasons_bytes: int = REASONS_BYTES) -> None:
        self._names = names
        self._wall_offset = wall_offset
        # A fact makes at least one record, so as many facts as records are enough.
        self._told: deque[Fact | Commits] = deque()
        self._kept = 0
        """Facts in there."""
        self._total = 0
        self._told_total = 0
        """What was told of in all, where those told of together are one."""
        self._shortened = 0
        self._budget: TextBudget[int] = TextBudget(reasons_bytes)

    def extend(self, told: Iterable[Fact | Commits]) -> None:
        """Add facts, oldest first."""
        added = list(told)
        count = count_facts(added)
        self._total += count
        first, self._told_total = self._told_total, self._told_total + len(added)
        self._told.extend(added)
        self._kept += count
        while self._kept > HISTORY_LIMIT and self._kept - (oldest := count_facts((self._told[0],))) >= HISTORY_LIMIT:
            self._told.popleft()
            self._kept -= oldest
        kept_from = self._told_total - len(self._told)
        while (first_kept := self._budget.oldest) is not None and first_kept < kept_from:
            self._budget.give_back(first_kept)
        if not [fact for fact in added if fact.reason is not None]:
            return  # so it is nearly always, and every turn makes a fact
        for number, fact in enumerate(added, first):
            if fact.reason is not None and number >= kept_from:
                for over in self._budget.take(number, weigh(fact.reason)):
                    self._shorten(over - kept_from)

    @property
    def total(self) -> int:
        """Facts there were in all."""
        return self._total

    def cut(self) -> HistoryCut:
        """Copy what there is, by reference."""
        return HistoryCut(self._names, tuple(self._told), self._total, self._shortened, self._wall_offset)

    def _shorten(self, position: int) -> None:
        fact = self._told[position]
        if isinstance(fact, Fact) and fact.reason is not None:
            # Another fact in its place: the old one may be part of a cut.
            self._told[position] = msgspec.structs.replace(fact, reason=shorten(fact.reason))
            self._shortened += 1
