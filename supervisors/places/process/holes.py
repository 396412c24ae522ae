"""The free memory between the objects of a process, taken so that its copies make nothing there.

Owns the filling. What it fills with is kept for good.

An allocator puts a new object where there is room, and that is between old ones, wherever some were given back. In a
forked copy each such place is on a page that the copy shares with its original, and has to have for itself once it
writes there: a page for an object. Where there is no such room a copy's objects lie side by side, on pages that they
fill.
"""

from __future__ import annotations

import sys

_GRAIN = 16
"""Bytes by which the sizes of small blocks of memory differ (CPython's `obmalloc.c`, as all below)."""
_LARGEST = 512
"""Bytes of the largest of these; what is larger comes from the C library."""
_ROW_BYTES = 8_192
"""Blocks side by side for so many bytes are no holes: from there on memory is new (arbitrary: half of what the
allocator takes at a time for blocks of one size)."""
_MOST = 20_000
"""Holes of a size at most (arbitrary)."""

_kept: list[bytes] = []


def fill_holes() -> None:
    """Take what room there is between small objects, until new ones come to lie side by side."""
    # By size from above, since what this makes itself is small.
    for size in range(_LARGEST, 2 * _GRAIN, -_GRAIN):
        taken = _take(size)
        if not taken:
            return  # another allocator (`python -X dev`, PYTHONMALLOC), where objects never lie side by side
        _kept.extend(taken)


def _take(size: int) -> list[bytes]:
    """Take blocks of a size until there is a row of them; none if none comes."""
    length = size - sys.getsizeof(b"")
    taken: list[bytes] = []
    row, last = 0, 0
    for _ in range(_MOST):
        made = bytes(length)
        taken.append(made)
        row = row + size if id(made) == last + size else 0
        if row >= _ROW_BYTES:
            return taken
        last = id(made)
    return []
