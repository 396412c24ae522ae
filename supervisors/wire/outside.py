"""Values of which the large buffers lie beside their bytes: how such bytes look, and who finds the buffers.

Owns the form. A value that is encoded so is bytes like any other: a byte that says so, the names of its buffers (which
segment of shared memory, where in it, how long), and the value without them. Or the buffers follow the value, for
where no memory is shared. What stands in the names comes from elsewhere: it is checked where it is read, and by the
parent before it hands it on. Pure: never maps a segment.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from supervisors.errors import ValueDecodingError

LEAST_BYTES = 64 * 1024
"""Size of a buffer from which on it lies outside (DESIGN section 4)."""
OUTSIDE_TAG = 4
OUTSIDE = bytes([OUTSIDE_TAG])
"""First byte of a value whose buffers lie in shared memory."""
BESIDE = b"\x05"
"""First byte of a value that its buffers follow."""
_HEAD = struct.Struct("<cI")
_MOST_BUFFERS = 65_536
"""Buffers of one value (arbitrary)."""


class Name(NamedTuple):
    """Where a buffer lies: the segment, the first byte, how many."""

    segment: int
    offset: int
    length: int


class Holder(Protocol):
    """Keeps a segment of shared memory as it is."""

    @property
    def id(self) -> int:
        """That of the segment."""

    @property
    def size(self) -> int:
        """That of the segment."""

    @property
    def is_here(self) -> bool:
        """Whether it is memory of this machine, which processes of the program may be given."""

    def view(self, name: Name) -> memoryview:
        """Give a part of it, to be read, which keeps it too. Raises `OSError` if it cannot be mapped."""


class Leased(bytes):
    """Bytes that name shared memory, with what keeps it from being used for anything else while they are there.

    Wherever a payload is kept, its memory is; and when the last that kept it lets it go, its memory is free. So the
    places of a message are all there is to count.
    """

    leases: Sequence[Holder] = ()
    moved: Leased | None = None
    """The same in other memory, for those who cannot be given this, once it was made (`move`)."""

    def move(self, other: Leased) -> Leased:
        """Hold, as long as this lasts, the same in other memory; gives that, or what another thread gave before."""
        held: Leased = self.__dict__.setdefault("moved", other)
        return held

    @classmethod
    def of(cls, data: bytes, leases: Sequence[Holder]) -> Leased:
        """Give `data`, which holds `leases`."""
        made = cls(data)
        made.leases = leases
        return made

    def count_held(self) -> int:
        """Tell how many bytes of shared memory it keeps."""
        return sum([lease.size for lease in self.leases])


class LeasedBody(NamedTuple):
    """A body of a frame that names shared memory, with what keeps that: encoded, so that it is a part of the frame."""

    body: bytes | msgspec.Raw
    leases: Sequence[Holder]


class Space(Protocol):
    """Shared memory as a process sees it that writes and reads values."""

    def share(self, inner: bytes, buffers: Sequence[memoryview]) -> bytes | None:
        """Give a value that names its buffers: those that lie here already, and copies of the others.

        Waits for room. None: there is none, and waiting would not help.
        """

    def empty(self, size: int) -> memoryview | None:
        """Give room for so many bytes to be written, which `share` will not copy; None as there."""

    def find(self, data: bytes | memoryview, names: Sequence[Name]) -> list[memoryview]:
        """Give the buffers that `data` names, to be read.

        Raises:
            ValueDecodingError: they are none that this process was given.
        """

    def withdraw(self, data: bytes) -> None:
        """Take back what `share` gave: it is handed on to nobody."""


ALIGNMENT = 64
"""Where in a segment a buffer may begin: a multiple of the size of a cache line."""


def lay_out(buffers: Sequence[memoryview]) -> tuple[list[int], int]:
    """Give where each of some buffers begins if they lie in one segment, and how long that is."""
    offsets, end = [], 0
    for buffer in buffers:
        offsets.append(end)
        end += -(-buffer.nbytes // ALIGNMENT) * ALIGNMENT
    return offsets, end


class Here:
    """What this process has, if it is a worker."""

    space: Space | None = None


here = Here()


def pack_outside(names: Sequence[Name], inner: bytes) -> bytes:
    """Give a value whose buffers have these names."""
    told = _encoder.encode(names)
    return b"".join((_HEAD.pack(OUTSIDE, len(told)), told, inner))


def pack_beside(buffers: Sequence[memoryview], inner: bytes | memoryview) -> bytes:
    """Give a value that its buffers follow."""
    told = _encoder.encode([len(inner), *(buffer.nbytes for buffer in buffers)])
    return b"".join((_HEAD.pack(BESIDE, len(told)), told, inner, *buffers))


def read_names(data: bytes | memoryview) -> tuple[list[Name], memoryview]:
    """Give the names in a value, and the value without its buffers.

    Raises:
        ValueDecodingError: it is damaged.
    """
    told, inner = _split(data)
    try:
        names = _names_decoder.decode(told)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ValueDecodingError(f"{len(data)} bytes do not name their buffers: {error}") from error
    if len(names) > _MOST_BUFFERS or any(name.length < 1 or name.offset < 0 for name in names):
        raise ValueDecodingError(f"{len(data)} bytes name buffers that cannot be")
    return names, inner


def read_beside(data: bytes | memoryview) -> tuple[list[bytes], memoryview]:
    """Give the buffers that follow a value, each copied to where its elements may lie, and the value without.

    Raises:
        ValueDecodingError: it is damaged.
    """
    told, rest = _split(data)
    try:
        lengths = _lengths_decoder.decode(told)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ValueDecodingError(f"{len(data)} bytes do not tell their buffers: {error}") from error
    if not lengths or len(lengths) > _MOST_BUFFERS or min(lengths) < 0 or sum(lengths) != len(rest):
        raise ValueDecodingError(f"{len(data)} bytes are not as long as they tell")
    at = lengths[0]
    buffers = []
    for length in lengths[1:]:
        buffers.append(bytes(rest[at : at + length]))
        at += length
    return buffers, rest[: lengths[0]]


def inner_of(data: bytes | memoryview) -> memoryview:
    """Give a value without its buffers, which may be any. Raises as the two above."""
    if data[:1] == BESIDE:
        return read_beside(data)[1]
    return read_names(data)[1]


def count_outside(data: bytes) -> int:
    """Tell how many bytes the buffers of a value have that lie in shared memory."""
    return sum(name.length for name in read_names(data)[0])


def find_held(data: bytes | memoryview, names: Sequence[Name]) -> list[memoryview]:
    """Give the buffers that a payload names and holds.

    Raises:
        ValueDecodingError: it does not hold one, or that cannot be mapped.
    """
    holders = {holder.id: holder for holder in data.leases} if isinstance(data, Leased) else {}
    try:
        return [holders[name.segment].view(name) for name in names]
    except (KeyError, OSError) as error:
        raise ValueDecodingError(f"{len(data)} bytes name shared memory that is not here: {error!r}") from error


def materialize(data: Leased) -> bytes:
    """Give a value that names shared memory as one that its buffers follow: for a file. Raises as `find_held`."""
    names, inner = read_names(data)
    return pack_beside(find_held(data, names), inner)


def _split(data: bytes | memoryview) -> tuple[memoryview, memoryview]:
    view = memoryview(data)
    if len(view) < _HEAD.size:
        raise ValueDecodingError(f"{len(view)} bytes are no value with buffers")
    _tag, length = _HEAD.unpack_from(view)
    end = _HEAD.size + length
    if end > len(view):
        raise ValueDecodingError(f"{len(view)} bytes end within what tells of their buffers")
    return view[_HEAD.size : end], view[end:]


_encoder = msgspec.msgpack.Encoder()
_names_decoder = msgspec.msgpack.Decoder(list[Name])
_lengths_decoder = msgspec.msgpack.Decoder(list[int])
