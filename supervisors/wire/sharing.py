"""Values as they travel where memory is shared: the large buffers apart, all else as `values` has it.

Owns which buffers lie apart, and what becomes of them where there is no room. Never maps memory: that is its `Space`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from supervisors.errors import ValueDecodingError, ValueEncodingError
from supervisors.wire import values
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
    """Encode `value` as a pickle, as `values.encode_code` does, but with its large buffers in shared memory.

    A buffer that lies there already is not copied. Where there is no room the buffers follow the value.

    Args:
        value: the value, which is not plain: plain ones have no buffers.
        path: what it is called in an error.
        space: the shared memory.

    Raises:
        ValueEncodingError: some part cannot be carried, or there is no room for so much.
    """
    buffers = Buffers()
    inner = _encode_arrays(value, buffers)
    if inner is None:
        buffers = Buffers()
        inner = values.encode_code(value, path, buffers.take)
    return place(inner, buffers.taken, path, space)


def _encode_arrays(value: Any, buffers: Buffers) -> bytes | None:
    """Encode a flat dict of plain values and arrays of NumPy as `values.encode_code` does, at a third of the cost.

    Nothing in it can be defined in `__main__`, so that it takes none of what is done for that. None: it is another
    value, or one that takes a closer look.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None or value.__class__ is not dict or not values.TEXT.issuperset(map(type, value)):
        return None
    for part in value.values():
        if type(part) is numpy.ndarray:
            dtype = part.dtype
            if dtype.hasobject or dtype.metadata is not None or dtype.names is not None:
                return None
        elif type(part) not in values.SCALARS:
            return None
    try:
        data = values.encode_data(value, buffers.take)
    except Exception:  # noqa: BLE001  the closer look tells what it is
        return None
    return data if len(data) <= values.MAX_VALUE_BYTES else None


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
    found = find_buffers(data, space)
    if found is None:
        return values.decode(data)
    buffers, inner = found
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
