"""What those who look on at a job are told of, one answer after the other (`control`).

Owns the sources: each gives the next answer when its visitor has room for it, and holds no more than its bound
meanwhile: what is more is counted as missed. All run on the thread of the actor that takes the job's commands; what
happens elsewhere calls that actor, once, and is read there. Never presses back on the job.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from routilux.control.frames import Answer, Logged, LogLine, Passed, Passing, Seen
from routilux.observe import Sampler
from routilux.runtime.logbook import Logbook
from routilux.runtime.passage import Passage

LOOKED_AT = 500
"""Lines of a log that are looked at for one answer (arbitrary: some 2 MB at most)."""
PASSINGS_KEPT = 1_000
"""What has passed a routine that is kept for a slow reader, as text (arbitrary: some 200 kB)."""
PASSINGS_TOGETHER = 200
"""Of these, what is told in one answer (arbitrary)."""


class Source(Protocol):
    """What one visitor is told of."""

    @property
    def seconds(self) -> float | None:
        """Between two looks, of which each is called for by `look`; None: it calls by itself."""

    @property
    def is_over(self) -> bool:
        """Whether nothing will come of it any more."""

    def look(self) -> None:
        """Take in what there is to take in now."""

    def take(self) -> Answer | None:
        """Give the next answer; None while there is none."""

    def close(self) -> None:
        """Take in nothing more."""


class Looks:
    """Pictures of the job.

    Args:
        sampler: takes them.
        seconds: between two; None for one alone.
    """

    def __init__(self, sampler: Sampler, seconds: float | None) -> None:
        self._sampler = sampler
        self.seconds = seconds
        self._is_due = True

    @property
    def is_over(self) -> bool:
        """Whether the one picture that was asked for has been taken."""
        return self.seconds is None and not self._is_due

    def look(self) -> None:
        """Let there be a picture."""
        self._is_due = True

    def take(self) -> Answer | None:
        """Give a picture, if it is time for one: what a slow reader did not take is not there to be taken later."""
        if not self._is_due:
            return None
        self._is_due = False
        return Seen(view=self._sampler.look())

    def close(self) -> None:
        """Do nothing."""


class Lines:
    """Lines of the job's log.

    Args:
        logbook: where they are.
        routine: of this routine alone; "" for all.
        last: those of the lines kept that are told, the newest; None for all.
        follow: whether those that come are told too.
        call: has the visitor's actor look; any thread may call it.
    """

    seconds: float | None = None

    def __init__(
        self, logbook: Logbook, routine: str, last: int | None, call: Callable[[], None], *, follow: bool
    ) -> None:
        self._logbook = logbook
        self._routine = routine
        self._follow = follow
        self._call = call
        self._is_read = False
        self._next, behind = logbook.find_last(routine, last)
        self._end = None if follow else behind
        """Where those end that are told: a job that logs as fast as it is told of would never let its visitor go."""
        if follow:
            logbook.follow(call)

    @property
    def is_over(self) -> bool:
        """Whether those that were kept have been told, and no others were asked for."""
        return self._is_read and not self._follow

    def look(self) -> None:
        """Do nothing: what there is stays in the log, as far as there is room."""

    def take(self) -> Answer | None:
        """Give some lines."""
        missed = 0
        while True:
            lines, following, gone = self._logbook.read(self._next, LOOKED_AT, self._end)
            missed += gone
            if not lines:
                break
            self._next = following
            chosen: list[LogLine] = [line for line in lines if not self._routine or line.routine == self._routine]
            if chosen or missed:
                return Logged(lines=chosen, missed=missed)
        if self._is_read:
            return None
        self._is_read = True
        return Logged(lines=[], missed=missed, is_all=not self._follow)

    def close(self) -> None:
        """Be called no more."""
        if self._follow:
            self._logbook.unfollow(self._call)


class Passings:
    """What passes a routine.

    Args:
        passage: where it is seen.
        close: has it seen no more.
    """

    seconds: float | None = None
    is_over = False

    def __init__(self, passage: Passage, close: Callable[[], None]) -> None:
        self._passage = passage
        self._close = close
        self._kept: deque[Passing] = deque()
        self._missed = 0
        self._is_begun = False

    def look(self) -> None:
        """Make texts of what came, as far as there is room; the values are held no longer than that takes."""
        passings, missed = self._passage.take(PASSINGS_KEPT - len(self._kept))
        self._kept += passings
        self._missed += missed

    def take(self) -> Answer | None:
        """Give what is kept."""
        passings = [self._kept.popleft() for _ in range(min(len(self._kept), PASSINGS_TOGETHER))]
        missed = 0
        if not self._kept:
            missed, self._missed = self._missed + self._passage.take_missed(), 0
        if not (passings or missed) and self._is_begun:
            return None
        self._is_begun = True
        return Passed(passings=passings, missed=missed)

    def close(self) -> None:
        """See no more."""
        self._close()
