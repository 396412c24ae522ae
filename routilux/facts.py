"""What the ledger tells of what it did: facts, for the history and the tracker. Plain values."""

from __future__ import annotations

import msgspec

from supervisors.reasons import Reason

FACTS_BATCH = 512
"""Facts that gather before the state actor is called to fetch them (arbitrary)."""


class Fact(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Something that happened to a message, for the history and the tracker.

    It is kept as it is in history logs: a field that is added gets a default, at the end; none is renamed.

    Args:
        kind: `committed`, `released`, `failed`, `skipped`, `redelivered`, or what was decided
            (`stop`, `continue`, ...).
        routine: index of the routine.
        edge: index of the connection the message came by; -1 where there is none.
        key: the message's identity, as the bytes that its id is written of (`ids`); empty where there is no message.
        attempt: which try it was, from 1.
        at: clock reading, in seconds.
        seconds: how long the turn took; 0.0 where that means nothing.
        events: indexes of the events emitted, in order.
        reason: what went wrong, where something did.
        count: messages that were skipped.
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
