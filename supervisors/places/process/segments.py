"""Segments of shared memory as their owner has them, and the leases that keep them as they are.

Owns a segment's descriptor and the parent's mapping of it. Never decides who gets one: that is the pool's.
"""

from __future__ import annotations

import os
import secrets
import weakref
from typing import NamedTuple, Protocol

from supervisors.errors import InternalError
from supervisors.wire.memory import PAGE_BYTES, Mapping, Stock, create_segment, view_of, writable_view_of
from supervisors.wire.outside import LEAST_BYTES, Name

_STEPS = 4
"""Sizes of segments in each doubling: a buffer wastes a fifth of its segment at most."""
_ID_BITS = 63


def round_size(size: int) -> int:
    """Give the size of the segment for so many bytes: few sizes, so that a warm one is found."""
    size = max(size, LEAST_BYTES)
    step = max(PAGE_BYTES, (1 << (size - 1).bit_length() - 1) // _STEPS)
    return -(-size // step) * step


class Writer(Protocol):
    """Who writes a segment: one process, as long as there is the segment."""

    is_own: bool
    is_gone: bool
    spare: Stock[Segment]

    def map(self, segment: Segment) -> Mapping:
        """Give the parent's mapping of it. Raises `OSError` if there can be none."""


class Segment:
    """One piece of shared memory. Its descriptor is closed when nobody holds this.

    Raises:
        OSError: it cannot be made.
    """

    __slots__ = ("__weakref__", "fd", "id", "lease", "own_mapping", "size", "writer")

    def __init__(self, size: int, writer: Writer) -> None:
        self.fd = -1
        self.fd = create_segment(size)
        self.id = secrets.randbits(_ID_BITS)
        self.size = size
        self.writer = writer
        self.lease: weakref.ref[Lease] | None = None
        self.own_mapping: Mapping | None = None
        """The parent's, once it has looked at it."""

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close its descriptor: what is mapped stays so."""
        if self.fd != -1:
            os.close(self.fd)
            self.fd = -1

    @property
    def mapping(self) -> Mapping:
        """The parent's mapping, which there is."""
        if self.own_mapping is None:
            raise InternalError("a segment that is not mapped")
        return self.own_mapping

    @property
    def is_used(self) -> bool:
        """Whether anybody in the parent looks at it."""
        return self.own_mapping is not None and self.own_mapping.is_used

    @property
    def live_lease(self) -> Lease | None:
        """Its lease, if it has one."""
        return None if self.lease is None else self.lease()


class Lease:
    """Keeps a segment from being written again; there is one a segment at a time."""

    __slots__ = ("__weakref__", "segment")

    is_here = True

    def __init__(self, segment: Segment) -> None:
        self.segment = segment

    @property
    def id(self) -> int:
        """That of the segment."""
        return self.segment.id

    @property
    def size(self) -> int:
        """That of the segment."""
        return self.segment.size

    def view(self, name: Name) -> memoryview:
        """Give a part of it, which keeps the lease. Raises `OSError` if it cannot be mapped."""
        mapping = self.segment.writer.map(self.segment)
        return view_of(mapping.export(self), name.offset, name.length)


class Loan(NamedTuple):
    """A segment to be written by the parent, with what tells that somebody does."""

    segment: Segment
    export: object

    def view(self, offset: int, length: int) -> memoryview:
        """Give a part of it, to be written."""
        return writable_view_of(self.export, offset, length)
