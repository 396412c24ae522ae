"""The shared page of a worker: what it is on and since when, told without a message.

Owns the page's layout, and that of the file it is in: the page, the region for stacks (`stack`),
what the worker is told before its first frame. The worker's main thread alone writes the page; its parent
reads it, while the worker lives and after its death. Never says what follows from what it tells (see `link`).

The fields of a page are written one after another, not at once, so their order matters: `ran`, then `since`, then
`seq`. Whoever reads a number thus also sees the time that belongs to it; and a request that is counted in `ran` while
`seq` still names it has run. `read` looks twice, until two looks agree. While requests follow one another the end of
one and the beginning of the next are written at once, by `begin`.

A file that shrinks below what is mapped of it ends whoever reads there (SIGBUS), and the worker holds the
same file as the parent. So on Linux its size is sealed; elsewhere it is at least filled with real
zeros, so that a full disk is an error of its making and not a signal later on.
"""

from __future__ import annotations

import errno
import fcntl
import math
import mmap
import os
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

PAGE_BYTES = 4096
STACK_BYTES = 65_536
"""Bytes for the stacks of a worker's threads (arbitrary: some five threads at the 100 frames that are told)."""
STACK_AT = PAGE_BYTES
TOLD_AT = STACK_AT + STACK_BYTES
_IDLE = -1
_ALL = struct.Struct("@Qdq")  # ran, since, seq; in the machine's own form: each is one store, which a kill cannot cut
_SINCE = struct.Struct("@d")
_SINCE_AT = 8
_LOOKS = 8


class PageView(NamedTuple):
    """What a page says.

    Args:
        seq: the request the worker is on, or None.
        since: monotonic clock at which that request began; infinite while the worker waits for a grant.
        ran: requests that this incarnation has run to their end, failed ones included.
    """

    seq: int | None
    since: float
    ran: int


NOTHING = PageView(None, 0.0, 0)
"""What is known where no page is."""


class Page:
    """One mapped page.

    Args:
        fd: the descriptor of the page's file; it stays the caller's and may be closed.
        clock: gives the readings that it has; the parent's.
    """

    def __init__(self, fd: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._memory = mmap.mmap(fd, PAGE_BYTES)
        self.begin: Callable[[int, float, int], None] = partial(_ALL.pack_into, self._memory, 0)
        """Say: so many requests have run, and since then the worker is on this one. The worker's call for each
        request; made of built-in parts: no call of ours."""

    def clear(self) -> None:
        """Say: idle, nothing run. Called by the parent before the worker starts."""
        _ALL.pack_into(self._memory, 0, 0, 0.0, _IDLE)

    def shift(self, since: float) -> None:
        """Say since when the present request counts, waits left out; infinite stops the count."""
        _SINCE.pack_into(self._memory, _SINCE_AT, since)

    def rest(self, ran: int) -> None:
        """Say: so many requests have run, idle now. The worker's call."""
        _ALL.pack_into(self._memory, 0, ran, 0.0, _IDLE)

    def read(self) -> PageView:
        """Give what the page says now. The call of the parent, and of the worker's deputy."""
        look = _ALL.unpack_from(self._memory)
        for _ in range(_LOOKS):
            again = _ALL.unpack_from(self._memory)
            if again == look:
                break
            look = again
        ran, since, seq = look
        return PageView(None if seq == _IDLE else seq, math.inf if math.isnan(since) else since, ran)

    def close(self) -> None:
        """Give the mapping back."""
        del self.begin
        self._memory.close()


def create_page_file(told: bytes) -> int:
    """Make a page's file without a name, with `told` stored in it; give its descriptor.

    What a worker needs before it can read its first frame travels here (`interpreter`, `surroundings`).

    Raises:
        OSError: no descriptor or no space is left.
    """
    if sys.platform == "linux":
        return _create_sealed_file(told)
    with tempfile.TemporaryFile() as file:
        file.write(bytes(TOLD_AT) + told)
        file.flush()
        return os.dup(file.fileno())


def read_told(fd: int) -> bytes:
    """Give what was stored in the file of a page as it was made."""
    return os.pread(fd, os.fstat(fd).st_size, TOLD_AT)


def _create_sealed_file(told: bytes) -> int:
    if sys.platform != "linux":
        raise NotImplementedError
    fd = os.memfd_create("supervisors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, TOLD_AT)  # what is never written takes no memory
        _store(fd, told)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _store(fd: int, told: bytes) -> None:
    if os.pwrite(fd, told, TOLD_AT) < len(told):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
