"""The shared memory of an owner, as its own threads see it that write and read values.

Owns the copying of buffers into segments in the parent. Never decides how long anybody waits for room.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from supervisors.places.process.segment_pool import SegmentPool
from supervisors.places.process.segments import Loan, Segment
from supervisors.wire.outside import Leased, Name, find_held, lay_out, pack_outside


class OwnSpace:
    """A pool as threads of the parent see it: a `Space`.

    Args:
        pool: the pool.
        lend: gives room for so many bytes, maybe after a wait; None where there will be none.
    """

    def __init__(self, pool: SegmentPool, lend: Callable[[int], Loan | None]) -> None:
        self._pool = pool
        self._lend = lend

    def share(self, inner: bytes, buffers: Sequence[memoryview]) -> bytes | None:
        """Give a value that names its buffers; None where there is no room for them."""
        places: dict[int, tuple[Segment, int]] = {}
        others = []
        for at, buffer in enumerate(buffers):
            found = self._pool.find_own(buffer)
            if found is None:
                others.append(at)
            else:
                places[at] = found
        if others:
            offsets, size = lay_out([buffers[at] for at in others])
            loan = self._lend(size)
            if loan is None:
                return None
            for at, offset in zip(others, offsets, strict=True):
                self._pool.copier.write(loan.export, offset, buffers[at])
                places[at] = loan.segment, offset
        names, leases = [], {}
        for at, buffer in enumerate(buffers):
            segment, offset = places[at]
            leases[segment.id] = self._pool.lease_own(segment)
            names.append(Name(segment.id, offset, buffer.nbytes))
        return Leased.of(pack_outside(names, inner), tuple(leases.values()))

    def empty(self, size: int) -> memoryview | None:
        """Give room for so many bytes to be written."""
        loan = self._lend(size)
        return None if loan is None else loan.view(0, size)

    def find(self, data: bytes | memoryview, names: Sequence[Name]) -> list[memoryview]:
        """Give the buffers that a payload names; raises `ValueDecodingError` where it does not hold them."""
        return find_held(data, names)

    def withdraw(self, data: bytes) -> None:
        """Do nothing: what `share` gave has leases, which end with it."""
