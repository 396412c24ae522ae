"""Values as they travel where memory is shared: the large buffers apart, all else as `values` has it.

Owns which buffers lie apart, and what becomes of them where there is no room. Never maps memory: that is its `Space`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from supervisors.errors import ValueDecodingError, ValueEncodingError
from supervisors.wire import arrays, values
from supervisors.wire.outside import BESIDE, LEAST_BYTES, OUTSIDE, Space, pack_beside, read_beside, read_names

TOO_LONG = (
    f"its buffers take more than the {values.MAX_VALUE_BYTES:,} bytes that travel in one message, and more shared "
    "memory than there is or will be: give the job a larger shared_memory_limit, or let go of arrays that are kept"
)


class Buffers:
    """Collects the large buffers of a value."""

    __slots__ = ("taken",)

    def __init__(self) -> None:
        self.taken: list[memoryview] = []

    def take(self, buffer: Any) -> bool:
        """Take a `pickle.PickleBuffer`; True for one that is to be copied into the pickle."""
        try:
            raw: memoryview = buffer.raw()
        except BufferError:  # in several pieces: the pickler knows what to say
            return True
        if raw.nbytes < LEAST_BYTES:
            return True
        self.add(raw)
        return False

    def add(self, buffer: memoryview) -> int:
        """Take a buffer; give its number."""
        self.taken.append(buffer)
        return len(self.taken) - 1


def share(value: Any, path: str, space: Space) -> bytes:
    """Encode `value` with its large buffers in shared memory: a flat dict of arrays as `arrays` has it, or as below.

    Args:
        value: the value, which is not plain: plain ones have no buffers.
        path: what it is called in an error.
        space: the shared memory.

    Raises:
        ValueEncodingError: some part cannot be carried, or there is no room for so much.
    """
    buffers = Buffers()
    inner = arrays.encode(value, buffers.add)
    return share_code(value, path, space) if inner is None else place(inner, buffers.taken, path, space)


def share_code(value: Any, path: str, space: Space) -> bytes:
    """Encode `value` as a pickle, as `values.encode_code` does, but with its large buffers in shared memory.

    A buffer that lies there already is not copied. Where there is no room the buffers follow the value. Arguments and
    errors as of `share`.
    """
    buffers = Buffers()
    inner = values.encode_code(value, path, buffers.take)
    return place(inner, buffers.taken, path, space)


def place(inner: bytes, buffers: Sequence[memoryview], path: str, space: Space) -> bytes:
    """Give the value that `inner` is without these buffers; raises as `share`."""
    if not buffers:
        return inner
    shared = space.share(inner, buffers)
    if shared is not None:
        return shared
    if len(inner) + sum(buffer.nbytes for buffer in buffers) >= values.MAX_VALUE_BYTES:
        raise ValueEncodingError(path, TOO_LONG)
    return pack_beside(buffers, inner)


def decode(data: bytes, space: Space | None) -> Any:
    """Give back the value that `share` was given; raises as `values.decode`, and runs code."""
    if data[:1] < OUTSIDE:
        return values.decode(data)  # nearly all there are
    buffers, inner = find_buffers(data, space) or ((), memoryview(data))
    if inner[:1] == arrays.ARRAYS:
        return arrays.decode(inner, buffers)
    return values.decode_apart(inner, buffers)


def find_buffers(data: bytes | memoryview, space: Space | None) -> tuple[Sequence[Any], memoryview] | None:
    """Give the buffers of a value, and the value without; None for one that has all in one piece.

    Raises:
        ValueDecodingError: it is damaged, or names shared memory that was not given here.
    """
    tag = data[:1]
    if tag == OUTSIDE:
        names, inner = read_names(data)
        if space is None:
            raise ValueDecodingError(f"{len(data)} bytes name shared memory, and there is none here")
        return space.find(data, names), inner
    return read_beside(data) if tag == BESIDE else None
