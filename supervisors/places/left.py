"""What a place has given up, and what still runs of that: loops, and single requests on them.

Owns what is told of as left behind, and from when on. Never ends anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from supervisors.places.request import Loop


class _Left(NamedTuple):
    loop: Loop
    is_over: Callable[[], bool]
    stack: str
    told_at: float


class LeftBehind:
    """All that was given up, and had not come to its end at the last look.

    Args:
        clock: gives the time in seconds.
        note: called with the stacks of what is left behind, at least whenever these are others than before.
    """

    def __init__(self, clock: Callable[[], float], note: Callable[[tuple[str, ...]], None]) -> None:
        self._clock = clock
        self._note = note
        self._left: list[_Left] = []

    def add(self, loop: Loop, is_over: Callable[[], bool], stack: str, moment: float = 0.0) -> None:
        """Add what was given up.

        Args:
            loop: the loop it runs on.
            is_over: tells whether it has come to its end.
            stack: where it was.
            moment: seconds until it counts: for what was ended though nothing was wrong with it.
        """
        self._left.append(_Left(loop, is_over, stack, self._clock() + moment))
        self.tell()

    def holds(self, loop: Loop) -> bool:
        """Tell whether something of that loop is left."""
        return any(left.loop is loop for left in self._left)

    def is_any_ending(self) -> bool:
        """Tell whether something has not ended, and does not count so far."""
        now = self._clock()
        return any(left.told_at > now and not left.is_over() for left in self._left)

    def next_at(self) -> float:
        """Clock reading at which the next one begins to count; infinite where there is none."""
        now = self._clock()
        return min((left.told_at for left in self._left if left.told_at > now), default=math.inf)

    def look(self) -> None:
        """Tell of it if something has come to its end."""
        if any(left.is_over() for left in self._left):
            self.tell()

    def tell(self) -> None:
        """Tell what is left behind now; nothing if nothing was given up since it told of nothing."""
        if not self._left:
            return
        now = self._clock()
        self._left = [left for left in self._left if not left.is_over()]
        self._note(tuple(left.stack for left in self._left if left.told_at <= now))
