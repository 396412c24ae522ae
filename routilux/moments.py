"""When many turns ended that ran one behind the other, as a process tells it and as it is kept.

Owns the form. Pure.

Theory of operation. Of nearly all of these times nobody ever asks for more than the last. So they stay the bytes that
they came as, and when they come the last alone is looked at. Whoever asks for another one gets what can be: a worker
that has gone mad may tell of turns that ended before all began, or never. Of a list of them none is before another one.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence

_BYTES = struct.calcsize("d")


def pack(ats: Sequence[float]) -> memoryview[float]:
    """Give times as they travel, which is as bytes: processes of one machine have the same doubles."""
    return memoryview(struct.pack(f"{len(ats)}d", *ats)).cast("d")


class Moments:
    """Clock readings, none before another one that comes ahead of it.

    Args:
        began_at: that at which the first turn began.
        data: when each ended (`pack`).

    Raises:
        ValueError: there are none, they are cut off, or the last is not behind the first.
    """

    __slots__ = ("_ats", "_last", "began_at")

    def __init__(self, began_at: float, data: bytes) -> None:
        if not data or len(data) % _BYTES:
            raise ValueError("times that are none")
        self._ats = memoryview(data).cast("d")
        self.began_at = began_at
        self._last = self._ats[-1]
        if not self.began_at <= self._last:
            raise ValueError("a clock that goes back")

    def ending(self, last: float) -> Moments:
        """Give them all by as much earlier or later, so that the last is `last`."""
        before = self._last - last
        began_at = min(last, self.began_at - before)
        # What is rounded stays between the two.
        between = [min(last, max(began_at, at - before)) for at in self.to_list()[:-1]]
        return Moments(began_at, pack([*between, last]).tobytes())

    def __len__(self) -> int:
        return len(self._ats)

    def __getitem__(self, at: int) -> float:
        """Give one of them; where it makes no sense, that of the beginning."""
        found = self._ats[at]
        return found if self.began_at <= found <= self._last else self.began_at

    def __iter__(self) -> Iterator[float]:
        return iter(self.to_list())

    def to_list(self) -> list[float]:
        """Give all, oldest first."""
        ats = list(self._ats)
        # Nearly all are what they should be. Of what is no number the sum is none.
        if self.began_at <= ats[0] and math.isfinite(sum(ats)) and ats == sorted(ats):
            return ats
        return list(self._mend())

    def _mend(self) -> Iterator[float]:
        before, last = self.began_at, self._last
        for found in self._ats:
            if before <= found <= last:
                before = found
            yield before
