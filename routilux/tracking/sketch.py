"""Quantile sketches: the distribution of many durations in little memory. Pure.

Theory of operation. This is a DDSketch (Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees", PVLDB 12(12), 2019): values are counted in buckets that grow with the value, so that a
quantile is told with a bounded relative error, and two sketches are merged by adding their counts. The bucket of a
value is found by the linear interpolation of its binary logarithm, as in the fast mappings of that paper's own
implementations: it is the upper half of the value as a 32 bit float, which is a sign, 8 bits of exponent and 7 bits of
mantissa. So each octave has 128 buckets of equal width, none is wider than 1/128 of its lower bound, and the value in
its middle is at most 1/257 = 0.39 % away from any in it. There are 32,768 buckets at most, whatever comes; between one
microsecond and one day there are 4,700.

Who counts (`Histogram`) has a dict of counters, and once there are many a row of them for each octave; what is told,
sent and kept of it (`Sketch`) are the buckets in which there is something.

Whoever has more durations than can be looked at one by one adds their number, sum and greatest, which are exact, and
some of them, by which the others are counted too.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections import deque
from collections.abc import Sequence
from itertools import compress
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

RELATIVE_ACCURACY = 1 / 257
"""By how much of itself a quantile may be wrong at most, for values from 1e-38 to 1e38."""
_SIGN = 0x8000
_OCTAVE_BITS = 7
_IN_OCTAVE = (1 << _OCTAVE_BITS) - 1
_NONE = bytes(8 << _OCTAVE_BITS)
"""A row in which there is nothing yet."""
_FEW = 64
"""Buckets up to which there are no rows (arbitrary): in a dict each takes a tenth of what a row does."""
_UPPER_HALF = 1 if sys.byteorder == "little" else 0
_SINGLE = struct.Struct(">f")


Count: TypeAlias = Annotated[int, Meta(ge=0)]
Bucket: TypeAlias = Annotated[int, Meta(ge=0, le=0x7FFF)]


class Sketch(msgspec.Struct, array_like=True):
    """How many durations there were, and how they are distributed.

    Args:
        count: how many there were.
        total: their sum.
        greatest: the greatest of them; 0.0 where there were none.
        buckets: how many of them there were in each bucket, by its number.
    """

    count: Count = 0
    total: float = 0.0
    greatest: float = 0.0
    buckets: dict[Bucket, Count] = {}

    def merge(self, other: Sketch) -> None:
        """Add all that another one has seen."""
        self.count += other.count
        self.total += other.total
        self.greatest = max(self.greatest, other.greatest)
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """Give the values that shares of all are not above, within `RELATIVE_ACCURACY` of themselves.

        Args:
            shares: from 0.0 to 1.0, in rising order.

        Returns:
            The values, in seconds; 0.0 where there are none.
        """
        found: list[float] = []
        below = 0
        ranks = deque(share * (self.count - 1) for share in shares)
        for bucket in sorted(self.buckets):
            below += self.buckets[bucket]
            while ranks and below > ranks[0]:
                ranks.popleft()
                found.append(min(_middle(bucket), self.greatest))
        return found + [self.greatest] * len(ranks)

    @property
    def mean(self) -> float:
        """The mean; 0.0 where there are none."""
        return self.total / self.count if self.count else 0.0


class Histogram:
    """Counts durations for sketches, in memory that does not grow with their number.

    It takes a kilobyte for each octave, which is from a duration to its double, in which there was any: some twenty of
    them for turns of microseconds and waits of seconds, forty for all between a microsecond and a week; and less while
    few buckets have any.

    Args:
        before: what was counted already.
    """

    __slots__ = ("_count", "_few", "_greatest", "_octaves", "_total")

    def __init__(self, before: Sketch = Sketch()) -> None:  # noqa: B008  it is only read
        self._count, self._total, self._greatest = before.count, before.total, before.greatest
        self._few: dict[int, int] | None = before.buckets.copy()
        """How many there were in each bucket, while these are few; then None."""
        self._octaves: dict[int, array[int]] = {}
        """By the number of the octave, how many there were in each of its buckets, once these are many."""
        if len(self._few) > _FEW:
            self._lay_out(self._few)

    def add(self, samples: Sequence[float], count: int, total: float, greatest: float) -> None:
        """Count values of which some are known: in its bucket each of these stands for its share of all.

        Args:
            samples: those that are known, in seconds, one at least; a negative one is zero to quantiles.
            count: how many there are in all.
            total: the sum of all.
            greatest: the greatest of all.
        """
        self._count += count
        self._total += total
        self._greatest = max(self._greatest, greatest)
        few, octaves = self._few, self._octaves
        each, more = divmod(count, len(samples))
        each_of_first = each + more  # what does not share out is counted with it
        singles = struct.pack(f"{len(samples)}f", *samples)
        for half in memoryview(singles).cast("H")[_UPPER_HALF::2].tolist():
            bucket = half if half < _SIGN else 0
            if few is not None:
                few[bucket] = few.get(bucket, 0) + each_of_first
                each_of_first = each
                continue
            octave = octaves.get(bucket >> _OCTAVE_BITS) or self._octave(bucket >> _OCTAVE_BITS)
            octave[bucket & _IN_OCTAVE] += each_of_first
            each_of_first = each
        if few is not None and len(few) > _FEW:
            self._lay_out(few)

    def sketch(self) -> Sketch:
        """Give what was counted so far."""
        buckets: dict[int, int] = {} if self._few is None else self._few.copy()
        for octave, counts in self._octaves.items():
            first = octave << _OCTAVE_BITS
            buckets.update(zip(compress(range(first, first + len(counts)), counts), filter(None, counts), strict=True))
        return Sketch(self._count, self._total, self._greatest, buckets)

    def _lay_out(self, buckets: dict[int, int]) -> None:
        """Have rows from here on."""
        self._few = None
        for bucket, count in buckets.items():
            self._octave(bucket >> _OCTAVE_BITS)[bucket & _IN_OCTAVE] += count

    def _octave(self, number: int) -> array[int]:
        counts = self._octaves.get(number)
        if counts is None:
            counts = self._octaves[number] = array("Q", _NONE)
        return counts


def _middle(bucket: int) -> float:
    """Give the value from which no other in the bucket is further away, by its share."""
    lower, upper = (_SINGLE.unpack((half << 16).to_bytes(4, "big"))[0] for half in (bucket, bucket + 1))
    return float(2.0 * lower * upper / (lower + upper))
