"""Copies of this process that a request makes by fork, and comes back out of.

Such a copy has the requesting thread alone: nobody hears it, and the locks of others stay as they were. So it must not
go on with what its original does. Owns how a copy is told from its original, and its end. Never forks.

A fork that the interpreter makes is counted (`Generation`). One that code makes past it is found out by the process id,
or, where the kernel can, by a byte that it wipes in every copy (`make_mark`): a look at that costs no system call.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from typing import NoReturn, Protocol

from supervisors.renewals import renewals


class Mark(Protocol):
    """Tells the process that made it from its copies."""

    def __getitem__(self, index: int, /) -> int:
        """Give for 0 something that is true in the process that made the mark, and 0 in its copies."""


class Generation:
    """How many forks of the interpreter lie between the program's first process and this one; read without a call."""

    def __init__(self) -> None:
        self.number = 0
        self.mark = [1]
        """A mark of this process that costs nothing: one for copies that the interpreter makes."""

    def count_copy(self) -> None:
        """Note that this is a copy from here on."""
        self.number += 1
        self.mark[0] = 0
        self.mark = [1]


generation = Generation()
"""That of this process. Whoever runs requests compares it with the one in which it was made."""


_MADV_WIPEONFORK = 18  # madvise(2); the module has no name for it


def make_mark() -> Mark:
    """Make a mark for this process, and for copies however they are made."""
    if sys.platform == "linux":
        memory = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        try:
            memory.madvise(_MADV_WIPEONFORK)
        except OSError:  # before Linux 4.14, or none
            memory.close()
        else:
            memory[0] = 1
            return memory
    return _ProcessMark()


class _ProcessMark:
    """The mark where the kernel wipes nothing."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    def __getitem__(self, _index: int, /) -> int:
        return int(os.getpid() == self._pid)


def leave_copy(error: BaseException | None) -> NoReturn:
    """End this copy, whose request returned (None) or raised, as a program that came to its end by that."""
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
    code = error.code if isinstance(error, SystemExit) else (0 if error is None else 1)
    os._exit(code if isinstance(code, int) else (0 if code is None else 1))


renewals.add(generation.count_copy)
