"""Shared memory that is none, and a value that lends its bytes: for tests of those who use them."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

from supervisors.wire.outside import Name, pack_outside


class Shelf:
    """A space that keeps copies in a dict."""

    def __init__(self, *, has_room: bool = True) -> None:
        self.has_room = has_room
        self.kept: dict[int, memoryview] = {}

    def share(self, inner: bytes, buffers: Sequence[memoryview]) -> bytes | None:
        if not self.has_room:
            return None
        names = []
        for buffer in buffers:
            number = len(self.kept)
            self.kept[number] = memoryview(bytes(buffer))
            names.append(Name(number, 0, buffer.nbytes))
        return pack_outside(names, inner)

    def find(self, data: bytes | memoryview, names: Sequence[Name]) -> list[memoryview]:
        return [self.kept[name.segment] for name in names]

    def empty(self, size: int) -> memoryview | None:
        return None

    def withdraw(self, data: bytes) -> None:
        """Do nothing."""


class Block:
    """An object whose bytes are out of band."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Block, (pickle.PickleBuffer(self.data),)
