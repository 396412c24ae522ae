"""How the values of users become bytes and come back: one codec a job, known to all its parts.

Owns what such a codec is, and the one of jobs that keep no checkpoints. A job with a store has another one, which
carries less and tells so by `check`. Never decides where a value is encoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from supervisors.wire import values

Check = Callable[[Any, str], None]
"""Raises `ValueEncodingError` for a value, with its path, that could not be encoded."""


class ValueCodec(Protocol):
    """How a job's values are encoded. Travels with the services that use it; several threads may use it at a time."""

    def encode(self, value: Any, path: str) -> bytes:
        """Encode `value`, which is copied by this.

        Args:
            value: what a user emits, commits or sends.
            path: what the value is called in an error, such as `payload`.

        Raises:
            ValueEncodingError: some part cannot be carried; the error's `path` names it.
        """

    def decode(self, data: bytes) -> Any:
        """Give back what `encode` was given, anew at each call.

        Raises:
            ValueDecodingError: the bytes cannot be turned back into a value here.
        """

    def check(self, value: Any, path: str) -> None:
        """Hold that `value`, which is kept by reference, could be encoded; raises as `encode`."""


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

    def decode(self, data: bytes) -> Any:
        """Decode; runs code, see `supervisors.wire.values`."""
        return values.decode(data)

    def check(self, value: Any, path: str) -> None:
        """Do nothing: what is kept by reference in such a job need never be encoded."""


PICKLED = Pickled()
"""The one that everybody has who is given no other."""


def check_of(codec: ValueCodec) -> Check | None:
    """Give what checks the values that are kept by reference; None where nothing is to be called for them."""
    return None if isinstance(codec, Pickled) else codec.check
