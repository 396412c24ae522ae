"""At which pace a routine's messages are taken: each after a delay, or so many in a time.

Theory of operation. No turn ever sleeps: one that did would hold up a pause, a cancel and a checkpoint, and would lose
its wait when it is killed. A message that is not to be handled yet is not taken. It stays in its mailbox, in its order,
where checkpoints find it and where the bound of the mailbox presses back on who sends.

Owns how many of the messages at the head of a mailbox may be taken, and when that changes. Pure: the time is handed in.
Never takes a message, and sets no timer (see `runtime.turnstile`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol, TypeAlias


class Waiting(Protocol):
    """A message in a mailbox."""

    @property
    def sent_at(self) -> float:
        """Clock reading when it came there."""


class Allowance(NamedTuple):
    """How many messages may be taken.

    Args:
        allowed: so many of those at the head.
        look_at: where it is none, the clock reading at which to look again; None where nothing waits.
    """

    allowed: int
    look_at: float | None


class Pacer(Protocol):
    """A pace as one actor keeps it: with what it has taken by now."""

    def allow(self, waiting: Collection[Waiting], limit: int, now: float) -> Allowance:
        """Tell how many may be taken now.

        Args:
            waiting: what the mailbox holds, oldest first.
            limit: how many there is room for, at least 1.
            now: clock reading.
        """

    def note(self, count: int, now: float) -> None:
        """Note that so many were taken."""


@dataclass(frozen=True, slots=True)
class Delayed:
    """Each message `seconds` after it came into the mailbox, and none before those ahead of it.

    One that was put back after it was taken has had its delay, and waits no more.
    """

    seconds: float

    def begin(self) -> Pacer:
        """Give what keeps this pace: there is nothing to be remembered."""
        return self

    def allow(self, waiting: Collection[Waiting], limit: int, now: float) -> Allowance:
        """Tell how many have waited for long enough (`Pacer`)."""
        allowed = 0
        for message in islice(waiting, limit):
            due = message.sent_at + self.seconds
            if due > now:
                return Allowance(allowed, None if allowed else due)
            allowed += 1
        return Allowance(allowed, None)

    def note(self, count: int, now: float) -> None:
        """Do nothing (`Pacer`)."""


@dataclass(frozen=True, slots=True)
class Throttled:
    """At most `count` messages in any `seconds`: a sliding window, over the times at which they were taken.

    Whatever is taken counts, each time: what was put back and is taken again, and each retry.
    """

    count: int
    seconds: float

    def begin(self) -> Pacer:
        """Give what keeps this pace, with nothing taken."""
        return _Window(self)


Pace: TypeAlias = Delayed | Throttled
"""A plain value: what an actor has taken by it is its own affair (`begin`)."""


class _Window:
    def __init__(self, pace: Throttled) -> None:
        self._pace = pace
        self._taken: deque[tuple[float, int]] = deque()
        """When so many were taken that count now, oldest first."""
        self._free = pace.count
        """Below 0 after what had to go ahead, such as a retry where turns run at once."""

    def allow(self, waiting: Collection[Waiting], limit: int, now: float) -> Allowance:
        taken, seconds = self._taken, self._pace.seconds
        while taken and taken[0][0] + seconds <= now:
            self._free += taken.popleft()[1]
        allowed = max(0, min(self._free, limit, len(waiting)))
        return Allowance(allowed, None if allowed or not waiting else taken[0][0] + seconds)

    def note(self, count: int, now: float) -> None:
        self._taken.append((now, count))
        self._free -= count
