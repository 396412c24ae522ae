"""A quantile sketch: the distribution of many durations in little memory. Pure.

Theory of operation. This is a DDSketch (Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees", PVLDB 12(12), 2019): values are counted in buckets that grow with the value, so that a
quantile is told with a bounded relative error, and two sketches are merged by adding their counts. The bucket of a
value is found by the linear interpolation of its binary logarithm, as in the fast mappings of that paper's own
implementations: it is the upper half of the value as a 32 bit float, which is a sign, 8 bits of exponent and 7 bits of
mantissa. So each octave has 128 buckets of equal width, none is wider than 1/128 of its lower bound, and the value in
its middle is at most 1/257 = 0.39 % away from any in it. There are 65,536 buckets at most, whatever comes; between one
microsecond and one day there are 4,700.

Whoever has more durations than can be looked at one by one adds their number, sum and greatest, which are exact, and
some of them, by which the others are counted too.
"""

from __future__ import annotations

import struct
import sys
from collections import deque
from collections.abc import Sequence
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

RELATIVE_ACCURACY = 1 / 257
"""By how much of itself a quantile may be wrong at most, for values from 1e-38 to 1e38."""
_SIGN = 0x8000
_UPPER_HALF = 1 if sys.byteorder == "little" else 0
_SINGLE = struct.Struct(">f")


Count: TypeAlias = Annotated[int, Meta(ge=0)]
Bucket: TypeAlias = Annotated[int, Meta(ge=0, le=0xFFFF)]


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

    def extend(self, values: Sequence[float]) -> None:
        """Add values, in seconds; a negative one is zero to quantiles."""
        if values:
            self.add(values, len(values), sum(values), max(values))

    def add(self, samples: Sequence[float], count: int, total: float, greatest: float) -> None:
        """Add values of which some are known: in its bucket each of these stands for its share of all.

        Args:
            samples: those that are known, one at least.
            count: how many there are in all.
            total: the sum of all.
            greatest: the greatest of all.
        """
        self.count += count
        self.total += total
        self.greatest = max(self.greatest, greatest)
        each = count // len(samples)
        singles = struct.pack(f"{len(samples)}f", *samples)
        buckets = self.buckets
        bucket = 0
        for bucket in memoryview(singles).cast("H")[_UPPER_HALF::2].tolist():
            buckets[bucket] = buckets.get(bucket, 0) + each
        buckets[bucket] += count - len(samples) * each

    def merge(self, other: Sketch) -> None:
        """Add all that another one has seen."""
        self.count += other.count
        self.total += other.total
        self.greatest = max(self.greatest, other.greatest)
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def copy(self) -> Sketch:
        """Give one that does not change with this one."""
        return Sketch(self.count, self.total, self.greatest, self.buckets.copy())

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
        for bucket in sorted(self.buckets, key=_order):
            below += self.buckets[bucket]
            while ranks and below > ranks[0]:
                ranks.popleft()
                found.append(min(_middle(bucket), self.greatest))
        return found + [self.greatest] * len(ranks)

    @property
    def mean(self) -> float:
        """The mean; 0.0 where there are none."""
        return self.total / self.count if self.count else 0.0


def _order(bucket: int) -> int:
    return bucket if bucket < _SIGN else -1


def _middle(bucket: int) -> float:
    """Give the value from which no other in the bucket is further away, by its share."""
    if bucket >= _SIGN:
        return 0.0
    lower, upper = (_SINGLE.unpack((half << 16).to_bytes(4, "big"))[0] for half in (bucket, bucket + 1))
    return float(2.0 * lower * upper / (lower + upper))
