"""The history of a job: facts, kept within a bound, and told as execution records. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from routilux.causes import TextBudget, shorten, weigh
from routilux.executions import ExecutionRecord, Names, tell
from routilux.facts import Fact

HISTORY_LIMIT = 10_000
"""Newest records kept in memory (DESIGN section 7); what is cut is counted."""
REASONS_BYTES = 16 * 1024 * 1024
"""Text of the reasons in a history, counted at each record; older ones keep one line (arbitrary)."""


class HistoryCut(NamedTuple):
    """A history as it was at one moment; told as records on demand.

    Args:
        names: what the indexes in the facts stand for.
        facts: the facts kept, oldest first.
        total: facts there were in all.
        shortened: facts whose reason was shortened, in all.
        wall_offset: what to add to a clock reading to get seconds since the epoch.
    """

    names: Names
    facts: tuple[Fact, ...]
    total: int
    shortened: int
    wall_offset: float

    def records(self) -> list[ExecutionRecord]:
        """The newest `HISTORY_LIMIT` records, oldest first."""
        newest: deque[ExecutionRecord] = deque(maxlen=HISTORY_LIMIT)
        for fact in self.facts:
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
        return HistoryCut(self._names, tuple(self._facts), self._total, self._shortened, self._wall_offset)

    def _shorten(self, position: int) -> None:
        fact = self._facts[position]
        if fact.reason is not None:
            # Another fact in its place: the old one may be part of a cut.
            self._facts[position] = msgspec.structs.replace(fact, reason=shorten(fact.reason))
            self._shortened += 1
