"""What the ledger tells of what it did: facts, for the history and the tracker. Plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

import msgspec

from routilux.blocks import Keys
from routilux.ids import to_bytes
from routilux.moments import Moments
from supervisors.reasons import Reason

FACTS_BATCH = 512
"""Facts that gather before the state actor is called to fetch them (arbitrary)."""
TOGETHER_SHARE = 16
"""So many facts that are told together count as one more: what they take is a list of numbers (arbitrary)."""


class Fact(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Something that happened to a message, for the history and the tracker.

    It is kept as it is in history logs: a field that is added gets a default, at the end; none is renamed.

    Args:
        kind: `committed`, `released`, `failed`, `skipped`, `redelivered`, `discarded`, what was decided
            (`stop`, `continue`, ...), or `node_lost`.
        routine: index of the routine; -1 where it happened to the job as a whole.
        edge: index of the connection the message came by; -1 where there is none.
        key: the message's identity, as the bytes that its id is written of (`ids`); empty where there is no message.
        attempt: which try it was, from 1.
        at: clock reading, in seconds.
        seconds: how long the turn took; 0.0 where that means nothing.
        events: indexes of the events emitted, in order.
        reason: what went wrong, where something did.
        count: messages that were skipped.
        detail: what is to be told of it, where no reason does.
    """

    kind: str
    routine: int
    edge: int
    key: bytes
    attempt: int
    at: float
    seconds: float = 0.0
    events: tuple[int, ...] = ()
    reason: Reason | None = None
    count: int = 0
    detail: str = ""


JOB = -1
"""Stands in a fact for the routine, where it happened to the job as a whole."""


class Commits(msgspec.Struct, frozen=True, gc=False):
    """Turns that were committed together, each the first try of its message: as many facts.

    Args:
        routine: index of the routine.
        edge: index of the connection that their messages came by.
        keys: the messages' identities.
        start: index in these of the first.
        began_at: clock reading when the first turn began; each other one began as the one before ended.
        ats: when each ended.
        events: indexes of the events that were emitted.
        each: of each turn the indexes of the events it emitted, in order; None: of each turn they are `events`.
    """

    routine: int
    edge: int
    keys: Keys
    start: int
    began_at: float
    ats: list[float] | Moments
    events: tuple[int, ...]
    each: list[tuple[int, ...]] | None = None

    kind: ClassVar[str] = "committed"
    reason: ClassVar[None] = None

    def __len__(self) -> int:
        return len(self.ats)

    @property
    def at(self) -> float:
        """Clock reading of their commit."""
        return self.ats[-1]

    def facts(self) -> Iterator[Fact]:
        """Give each as a fact."""
        keys = self.keys.to_list()[self.start : self.start + len(self.ats)]
        each = self.each or [self.events] * len(keys)
        before = self.began_at
        for key, at, events in zip(keys, self.ats, each, strict=True):
            yield Fact("committed", self.routine, self.edge, to_bytes(key), 1, at, at - before, events)
            before = at


def facts_of(told: Iterable[Fact | Commits]) -> Iterator[Fact]:
    """Give facts, those told of together one by one."""
    for fact in told:
        if isinstance(fact, Commits):
            yield from fact.facts()
        else:
            yield fact


def count_facts(told: Iterable[Fact | Commits]) -> int:
    """Count facts, those told of together one by one."""
    return sum(len(fact) if isinstance(fact, Commits) else 1 for fact in told)
