"""Encoded data of many messages as one piece of memory: how it travels, and how it lies in a mailbox.

Owns the form, and its check. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise, starmap
from typing import Annotated

import msgspec

from supervisors.wire.values import PLAIN


class Packed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Encoded data of several messages, that of one behind that of the other; none is empty.

    Args:
        data: all of it.
        sizes: how many bytes that of each has.
        is_plain: whether all are plain values, and are given as such, whatever their tags are; else some may be.
    """

    data: bytes
    sizes: list[Annotated[int, msgspec.Meta(ge=1)]]
    is_plain: bool = False

    @classmethod
    def of(cls, payloads: Sequence[bytes], *, is_plain: bool = False) -> Packed:
        """Pack the data of some messages, at least one."""
        return cls(b"".join(payloads), list(map(len, payloads)), is_plain)

    @classmethod
    def join(cls, parts: Sequence[Packed]) -> Packed:
        """Give that of several as one: all of them plain, or none."""
        data, sizes, is_plain = zip(*((part.data, part.sizes, part.is_plain) for part in parts), strict=True)
        return cls(b"".join(data), list(chain.from_iterable(sizes)), is_plain[0])

    @property
    def is_sound(self) -> bool:
        """Whether it ends where it is said to, and there is some; to be asked of what came from elsewhere."""
        return sum(self.sizes) == len(self.data) > 0

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, at: int) -> bytes:
        """Give that of one of them, counted from 0."""
        start = sum(self.sizes[:at])
        return self._cut(start, start + self.sizes[at])

    def __iter__(self) -> Iterator[bytes]:
        return starmap(self._cut, pairwise(accumulate(self.sizes, initial=0)))

    def tags(self) -> set[int]:
        """Give the first bytes of all."""
        return set(map(self.data.__getitem__, accumulate(self.sizes[:-1], initial=0)))

    def between(self, start: int, stop: int) -> Packed:
        """Give those from one on, to before another."""
        sizes = self.sizes[start:stop]
        first = sum(self.sizes[:start])
        return Packed(self.data[first : first + sum(sizes)], sizes, self.is_plain)

    def _cut(self, start: int, end: int) -> bytes:
        return PLAIN + self.data[start + 1 : end] if self.is_plain else self.data[start:end]
