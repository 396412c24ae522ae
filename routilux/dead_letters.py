"""Dead letters: the messages that were given up, and how many of them are kept.

Plain data, guarded by the job's lock and changed by `dispositions` alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

from routilux.causes import TextBudget, shorten, tell_cause, weigh
from routilux.messages import Message
from routilux.turn.values import PICKLED, Decodes
from supervisors.reasons import Reason

DEAD_LETTERS_KEPT = 10_000
"""Newest dead letters kept a routine, with what they carry; all are counted (arbitrary)."""
REASONS_BYTES = 16 * 1024 * 1024
"""Text of the reasons of one routine's dead letters; older ones keep one line (arbitrary: some 500 long tracebacks)."""


class DeadLetter(NamedTuple):
    """A message that was given up.

    Args:
        routine_id: the routine that could not handle it, or whose result nobody could read.
        message: the message itself.
        reason: what went wrong the last time, with traceback, signal or exit code; of an old one
            only what fits in a line (`REASONS_BYTES`).
        attempts: how often it was tried.
        at: when it was given up, in seconds since the epoch; of one in a ledger, a clock reading.
        codec: how the values of its job are encoded.
        given_up_with: the set of messages that was given up, where it was one of several; None for a message by itself.
    """

    routine_id: str
    message: Message
    reason: Reason
    attempts: int
    at: float
    codec: Decodes = PICKLED
    given_up_with: Message | None = None

    @property
    def cause(self) -> str:
        """What went wrong the last time, in one line."""
        return tell_cause(self.reason)

    @property
    def data(self) -> dict[str, Any]:
        """What the message carried, by parameter name; decoded anew at each look.

        Raises:
            ValueDecodingError: it cannot be read here.
        """
        payload = self.message.payload
        if isinstance(payload, dict):
            return dict(payload)
        data: dict[str, Any] = self.codec.decode(payload)
        return data


class DeadLetters:
    """The newest dead letters of one routine.

    Bounded by their number, not by what they carry: a payload is kept whole, or it could not be
    redelivered. Their reasons are bounded by their size too.

    Args:
        capacity: letters kept.
        reasons_bytes: text of their reasons that is kept in full.
    """

    def __init__(self, capacity: int = DEAD_LETTERS_KEPT, reasons_bytes: int = REASONS_BYTES) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[tuple[int, int], DeadLetter] = OrderedDict()
        self._budget: TextBudget[tuple[int, int]] = TextBudget(reasons_bytes)

    def __iter__(self) -> Iterator[DeadLetter]:
        """Those that are kept, oldest first."""
        return iter(self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)

    def holds(self, letter: DeadLetter) -> bool:
        """Whether it is kept here: this letter, not another about the same message."""
        kept = self._kept.get(_key(letter))
        return kept is not None and kept.message is letter.message

    def add(self, letter: DeadLetter) -> DeadLetter | None:
        """Keep a letter; give the oldest, which is let go if there are too many.

        To be dropped without the job's lock: what it carries may be the last of an object with a `__del__`.
        """
        gone: DeadLetter | None = None
        if len(self._kept) >= self._capacity:
            oldest, gone = self._kept.popitem(last=False)
            self._budget.give_back(oldest)
        self._kept[_key(letter)] = letter
        for key in self._budget.take(_key(letter), weigh(letter.reason)):
            kept = self._kept[key]
            self._kept[key] = kept._replace(reason=shorten(kept.reason))
        return gone

    def remove(self, letter: DeadLetter) -> None:
        """Let a letter go that is kept here."""
        del self._kept[_key(letter)]
        self._budget.give_back(_key(letter))


def _key(letter: DeadLetter) -> tuple[int, int]:
    return letter.message.edge, letter.message.seq
