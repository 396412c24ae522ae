"""The heap of a worker: the door to how glibc keeps the large blocks that were freed.

Owns the bound up to which these stay mapped, to be given out again. Never allocates.

glibc gives a block above a threshold pages of its own, which go back to the system with it: the next array of that
size takes them anew, and clearing them costs as much as copying it (64 MB: 5 ms of 26, measured). The threshold
follows the blocks that are freed, and twice of it is how much free memory the heap keeps at its top, but both end at
32 MiB (mallopt(3), M_MMAP_THRESHOLD). This goes on by the same rule, up to 128 MiB.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

_GLIBC_BYTES = 32 * 1024 * 1024
"""Size of a block up to which glibc does so by itself (`DEFAULT_MMAP_THRESHOLD_MAX`)."""
MOST_BYTES = 128 * 1024 * 1024
"""Size of a block up to which it stays mapped: twice of that may be free and kept (arbitrary)."""
_STEP_BYTES = 1024 * 1024
"""What the threshold is a multiple of: more than a block takes besides what was asked for."""
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


class Heap:
    """The heap of this process, if that is a worker.

    Args:
        may_keep: whether it may keep what was freed: not where its memory is limited.
    """

    def __init__(self, *, may_keep: bool) -> None:
        self._may_keep = may_keep
        self._kept_bytes = _GLIBC_BYTES

    def keep(self, size: int) -> None:
        """Have blocks of this size stay mapped from now on, since one was used, and more like it may be."""
        if not self._may_keep or not self._kept_bytes < size <= MOST_BYTES:
            return
        self._kept_bytes = (size // _STEP_BYTES + 1) * _STEP_BYTES
        # Looked up here and not at the start, which it would make dearer for each worker: few have such arrays.
        mallopt = _find_mallopt()
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, self._kept_bytes)
            mallopt(_M_TRIM_THRESHOLD, 2 * self._kept_bytes)


def keep_freed() -> None:
    """Have blocks up to 32 MiB stay mapped from now on, as they do once one of that size was freed.

    A message of some 100 KiB and more that goes with its buffers is copied from block to block on its way. New pages
    for each of them cost as much again as the copies do, or more (1 MB to a worker and back: 7.0 ms, and 5.5 with these
    kept, measured).
    """
    bytes(_GLIBC_BYTES - _STEP_BYTES)  # nobody writes there, so it takes no memory


def _find_mallopt() -> Any:
    """Give what sets the thresholds; None where the C library is another one."""
    return getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
