"""How the values of users become bytes and come back: one codec a job, known to all its parts.

Owns what such a codec is, and the one of jobs that keep no checkpoints. A job with a store has another one, which
carries less and tells so by `check`. Never decides where a value is encoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from supervisors.wire import sharing, values
from supervisors.wire.outside import BESIDE, OUTSIDE, Leased, Space, here, materialize, read_beside

Check = Callable[[Any, str], None]
"""Raises `ValueEncodingError` for a value, with its path, that could not be encoded."""


class Decodes(Protocol):
    """What a payload is read with."""

    def decode(self, data: bytes) -> Any:
        """Give the value. Raises `ValueDecodingError` if the bytes cannot be turned back into one here."""


class ValueCodec(Protocol):
    """How a job's values are encoded. Travels with the services that use it; several threads may use it at a time."""

    def share(self, data: dict[str, Any], path: str) -> bytes:
        """Encode the data of a message, by the names of parameters: large buffers in it may lie in shared memory.

        Whoever holds what this gives holds them; who receives it gets views of them that cannot be written.
        Path and errors as of `encode`.
        """

    def withdraw(self, data: bytes) -> None:
        """Take back what `share` gave: it goes nowhere."""

    def house(self, data: bytes) -> bytes:
        """Give a value that was kept with its buffers as `share` would have given it, if there is room."""

    def empty(self, size: int) -> memoryview | None:
        """Give shared memory to be written, which `share` will not copy; None where there is no room for so much."""

    def encode(self, value: Any, path: str) -> bytes:
        """Encode `value`, which is copied by this.

        Args:
            value: what a user emits, commits or sends.
            path: what the value is called in an error, such as `payload`.

        Raises:
            ValueEncodingError: some part cannot be carried; the error's `path` names it.
        """

    def decode(self, data: bytes) -> Any:
        """Give back what `encode` or `share` was given, anew at each call.

        Raises:
            ValueDecodingError: the bytes cannot be turned back into a value here.
        """

    def check(self, value: Any, path: str) -> None:
        """Hold that `value`, which is kept by reference, could be encoded; raises as `encode`."""


class BaseCodec(Protocol):
    """How values are encoded that may lie in shared memory, in part."""

    def encode(self, value: Any, path: str) -> bytes:
        """As of `ValueCodec`."""

    def share_apart(self, value: Any, path: str, space: Space) -> bytes:
        """As `encode`, of a value that is not plain, with large buffers in `space` where that has room."""

    def decode(self, data: bytes, space: Space | None = None) -> Any:
        """As of `ValueCodec`; raises `ValueDecodingError` too for what names memory that is not in `space`."""

    def check(self, value: Any, path: str) -> None:
        """As of `ValueCodec`."""


class Shared:
    """The codec of a job that shares memory with its workers. Where it is unpickled, the memory is that process's.

    Args:
        base: how values are encoded.
        space: the shared memory; None where there is none.
        gives: whether it puts anything there, or reads only.
    """

    __slots__ = ("base", "gives", "space")

    def __init__(self, base: BaseCodec, space: Space | None, *, gives: bool = True) -> None:
        self.base = base
        self.space = space
        self.gives = gives

    def __reduce__(self) -> Any:
        return _restore, (self.base, self.gives)

    def reading(self) -> Shared:
        """Give one that puts nothing there: for results that wait for their turn, and hold nothing meanwhile."""
        return Shared(self.base, self.space, gives=False)

    def share(self, data: dict[str, Any], path: str) -> bytes:
        """Encode, with large buffers in shared memory."""
        # Whatever its base is: what is plain has no buffers, and most of what is emitted is.
        plain = values.encode_parameters(data, path)
        if plain is not None:
            return plain
        if self.space is None or not self.gives:
            return self.base.encode(data, path)
        return self.base.share_apart(data, path, self.space)

    def withdraw(self, data: bytes) -> None:
        """Take back what `share` gave."""
        if self.space is not None and data[:1] == OUTSIDE:
            self.space.withdraw(data)

    def house(self, data: bytes) -> bytes:
        """Move the buffers that follow a value into shared memory, if there is room."""
        if self.space is None or data[:1] != BESIDE:
            return data
        buffers, inner = read_beside(data)
        return self.space.share(bytes(inner), [memoryview(buffer) for buffer in buffers]) or data

    def empty(self, size: int) -> memoryview | None:
        """Give shared memory to be written."""
        return None if self.space is None or not self.gives else self.space.empty(size)

    def encode(self, value: Any, path: str) -> bytes:
        """Encode, all in one piece."""
        return self.base.encode(value, path)

    def decode(self, data: bytes) -> Any:
        """Decode; of what lies in shared memory, views."""
        if data[:1] == values.PLAIN:
            return values.decode(data)  # as in `share`
        return self.base.decode(data, self.space)

    def check(self, value: Any, path: str) -> None:
        """Check as its base does."""
        self.base.check(value, path)


def _restore(base: BaseCodec, gives: bool) -> Shared:  # noqa: FBT001
    return Shared(base, here.space, gives=gives)


class Pickled:
    """The codec of jobs without a store: whatever MessagePack or cloudpickle can carry."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "PICKLED"

    def __reduce__(self) -> str:
        return "PICKLED"  # the one of the module that reads it

    def encode(self, value: Any, path: str) -> bytes:
        """Encode; see `supervisors.wire.values`."""
        return values.encode(value, path)

    def share(self, data: dict[str, Any], path: str) -> bytes:
        """Encode: without shared memory it is the same."""
        return values.encode(data, path)

    def share_apart(self, value: Any, path: str, space: Space) -> bytes:
        """Encode; see `supervisors.wire.sharing`."""
        return sharing.share(value, path, space)

    def withdraw(self, data: bytes) -> None:
        """Do nothing: what it gave is bytes."""

    def house(self, data: bytes) -> bytes:
        """Give it as it is."""
        return data

    def empty(self, size: int) -> memoryview | None:
        """Give none."""
        return None

    def decode(self, data: bytes, space: Space | None = None) -> Any:
        """Decode; runs code, see `supervisors.wire.values`."""
        return sharing.decode(data, space)

    def check(self, value: Any, path: str) -> None:
        """Do nothing: what is kept by reference in such a job need never be encoded."""


def to_kept(payload: bytes) -> bytes:
    """Give a payload as it is written into a file: with the buffers that lie in shared memory.

    Raises:
        ValueDecodingError: it names memory that it does not hold.
    """
    return materialize(payload) if isinstance(payload, Leased) else payload


PICKLED = Pickled()
"""The one that everybody has who is given no other."""


def check_of(codec: ValueCodec) -> Check | None:
    """Give what checks the values that are kept by reference; None where nothing is to be called for them."""
    base = codec.base if isinstance(codec, Shared) else codec
    return None if isinstance(base, Pickled) else codec.check
