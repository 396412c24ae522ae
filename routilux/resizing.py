"""How many workers a pool should have, which may have between a lowest and a highest number of them.

Owns that decision and what it is made of. Pure: times are handed in. Never starts a worker, never ends one.

Theory of operation. A pool grows by one when more messages are there than workers, and what they hold is work for
`BACKLOG_SECONDS` at least for each, all of the time for `GROW_SECONDS`: a burst that will be over before another
process is ready is none. It shrinks by one when, over `SHRINK_SECONDS`, those that were left would have been busy for
less than `SHRINK_LOAD` of their time. Between the two lies more than one worker makes, so it does not swing.
"""

from __future__ import annotations

from collections.abc import Callable

GROW_SECONDS = 0.25
"""How long there has to be too much to do (arbitrary: a process is started in less)."""
BACKLOG_SECONDS = 0.25
"""Work for each worker that is too much (arbitrary: as above)."""
SHRINK_SECONDS = 10.0
"""Over which time it is looked how much there was to do (arbitrary)."""
SHRINK_LOAD = 0.5
"""How busy those that stay may have been at most (arbitrary)."""
_WEIGHT = 0.25
"""Weight of the newest duration in the moving average, as of a worker's window (`supervisors...process.link`)."""


class Resizing:
    """The size of one pool.

    Args:
        low: the least number of workers, with which it begins.
        high: the most.
        now: clock reading.
    """

    def __init__(self, low: int, high: int, now: float) -> None:
        self._low = low
        self._high = high
        self.size = low
        """How many workers it should have."""
        self._over_since: float | None = None
        self._window_from = now
        self._busy = 0.0
        self._average: float | None = None

    def note_done(self, seconds: float) -> None:
        """Note that a turn took so long."""
        self._busy += seconds
        before = self._average
        self._average = seconds if before is None else before + _WEIGHT * (seconds - before)

    def decide(self, now: float, backlog: int, count_long: Callable[[float], int], *, may_shrink: bool) -> int:
        """Decide anew; gives by how much the size has changed: 1, -1 or 0.

        Args:
            now: clock reading.
            backlog: messages that wait or are in hand.
            count_long: tells how many workers have been at one message since a clock reading; asked where it matters.
            may_shrink: whether it may become less.
        """
        if not self._has_too_much(backlog):
            self._over_since = None
            return self._decide_less(now, count_long) if may_shrink else 0
        self._begin_window(now)
        if self._over_since is None:
            self._over_since = now
        if self.size == self._high or now - self._over_since < GROW_SECONDS:
            return 0
        self._over_since = now
        self.size += 1
        return 1

    def next_look(self, *, may_shrink: bool) -> float | None:
        """Clock reading at which it is to be decided anew, though nothing has happened; None for never."""
        if self._over_since is not None:
            return self._over_since + GROW_SECONDS if self.size < self._high else None
        return self._window_from + SHRINK_SECONDS if self.size > self._low and may_shrink else None

    def _has_too_much(self, backlog: int) -> bool:
        if backlog <= self.size:
            return False
        # Of turns of which none has come to its end it is known that they take long.
        return self._average is None or backlog * self._average >= BACKLOG_SECONDS * self.size

    def _decide_less(self, now: float, count_long: Callable[[float], int]) -> int:
        if self.size == self._low:
            self._begin_window(now)
            return 0
        seconds = now - self._window_from
        if seconds < SHRINK_SECONDS:
            return 0
        needed = (self._busy / seconds if seconds else 0.0) + count_long(self._window_from)
        self._begin_window(now)
        if needed > SHRINK_LOAD * (self.size - 1):
            return 0
        self.size -= 1
        return -1

    def _begin_window(self, now: float) -> None:
        self._window_from = now
        self._busy = 0.0
