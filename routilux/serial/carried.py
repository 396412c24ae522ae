"""The ladder: how values of a job with a store become bytes and back.

Owns the choice of the rung: plain values as MessagePack; what has identity or types beyond that as a graph, if all of
its classes are registered; anything else as a pickle, if that is allowed. The first byte tells which. Never guesses:
bytes are read as the rung that they say, by nothing else, and what cannot be carried is refused when it is written.
"""

from __future__ import annotations

import sys
from typing import Any

from routilux.serial.errors import PickleRefusedError
from routilux.serial.graph import GRAPH, Reader, RegisteredTypes, check_graph, write_graph
from routilux.serial.registry import Registry, default
from supervisors.errors import ValueEncodingError
from supervisors.wire import sharing, values
from supervisors.wire.outside import BESIDE, OUTSIDE, Space, inner_of

_BY_VALUE = b"cloudpickle"
"""What is in every pickle that holds code: the functions that make classes and functions again are named so."""


class Carried:
    """The codec of a job with a store. It may be used by any thread, and travels with its classes.

    Args:
        registry: the classes whose objects it carries.
        allow_pickle: whether what is neither plain nor made of registered classes goes as a pickle, and pickles are
            read. Reading one runs code of whoever wrote it.
    """

    def __init__(self, registry: Registry = default, *, allow_pickle: bool = False) -> None:
        self._registry = registry
        self.allow_pickle = allow_pickle
        self._reader = Reader(RegisteredTypes(registry))

    def encode(self, value: Any, path: str = "value") -> bytes:
        """Encode `value`, which is copied by this: later changes to it do not show.

        Args:
            value: what is to be kept.
            path: what it is called in an error, such as `state['cart']`.

        Raises:
            ValueEncodingError: some part cannot be carried; the error's `path` names it.
        """
        plain = values.encode_plain(value, path)
        if plain is not None:
            return plain
        try:
            return write_graph(value, path, self._registry)
        except ValueEncodingError:
            if not self.allow_pickle:
                raise
        return values.encode_code(value, path)

    def share(self, data: dict[str, Any], path: str) -> bytes:
        """Encode: without shared memory it is the same."""
        return self.encode(data, path)

    def share_apart(self, value: Any, path: str, space: Space) -> bytes:
        """Encode a value that is not plain, with its large buffers in shared memory where there is room.

        Args:
            value: what goes into a message.
            path: as of `encode`.
            space: the shared memory.

        Raises:
            ValueEncodingError: as `encode`; or there is no room for so much.
        """
        buffers = sharing.Buffers()
        try:
            inner = write_graph(value, path, self._registry, buffers)
        except ValueEncodingError:
            if not self.allow_pickle:
                raise
            return sharing.share_code(value, path, space)
        return sharing.place(inner, buffers.taken, path, space)

    def withdraw(self, data: bytes) -> None:
        """Do nothing: without shared memory what it gave is bytes."""

    def house(self, data: bytes) -> bytes:
        """Give it as it is."""
        return data

    def empty(self, size: int) -> memoryview | None:
        """Give none."""
        return None

    def check(self, value: Any, path: str = "value") -> None:
        """Raise what `encode` would raise, for less: nothing is kept of a graph, and arrays are not copied."""
        if values.encode_plain(value, path) is not None:
            return
        try:
            check_graph(value, path, self._registry)
        except ValueEncodingError:
            if not self.allow_pickle:
                raise
            values.encode_code(value, path)

    def decode(self, data: bytes | memoryview, space: Space | None = None) -> Any:
        """Give back the value that `encode` was given. No code runs but that of migrations and, if allowed, pickles.

        Args:
            data: the bytes.
            space: where the shared memory is that they may name.

        Raises:
            ValueReadingError: the value cannot be read here: its class is not registered, say, or it is a pickle.
            ValueDecodingError: the bytes are damaged, or are no encoded value.
        """
        view = memoryview(data)
        rung = bytes(view[:1])
        if rung == GRAPH:
            return self._reader.read(view[1:])
        if rung == values.PICKLE and not self.allow_pickle:
            raise PickleRefusedError
        found = sharing.find_buffers(data, space)
        if found is None:
            return values.decode(view)
        buffers, inner = found
        if bytes(inner[:1]) == GRAPH:
            return self._reader.read(inner[1:], buffers)
        if not self.allow_pickle:
            raise PickleRefusedError
        return values.decode_apart(inner, buffers)

    def __reduce__(self) -> Any:
        return _restore, (self._registry, self.allow_pickle)


def _restore(registry: Registry, allow_pickle: bool) -> Carried:  # noqa: FBT001 - a pickle has no names for arguments
    return Carried(registry, allow_pickle=allow_pickle)


def needs_of(data: bytes | memoryview) -> set[str]:
    """Tell what reading some bytes takes beyond plain data: `pickle`, and `cpython-3.11` if there is code in them.

    The bytes must have been written by this interpreter: its version is the one that is told.
    """
    if bytes(data[:1]) in {BESIDE, OUTSIDE}:
        data = inner_of(data)
    if bytes(data[:1]) != values.PICKLE:
        return set()
    if _BY_VALUE not in bytes(data):
        return {"pickle"}
    return {"pickle", f"{sys.implementation.name}-{sys.version_info.major}.{sys.version_info.minor}"}
