"""Copies into shared memory, by two threads where they are large and there are processors for both.

Owns the second thread of whoever writes segments. While a sender copies, its receiver has nothing to do, and the other
way round; and one processor gets little more than a half of what memory can give (measured: 16 MB in 0.9 ms by one, in
0.5 ms by two; 64 MB in 6.4 and 3.8). Never maps memory, never decides what is copied.

Theory of operation. Where nobody waits for a processor, the caller hands over the second half, copies the first, and
then the second too if the thread has not begun it: so it waits for no processor that somebody else has taken. Whoever
takes a half's token copies it. A half keeps what it is copied from and to until then, as its caller may be gone by that
time: a signal that raises, such as Ctrl-C, ends a wait in the middle.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import sys
import threading
from typing import Any

from supervisors.cpus import usable_cpus
from supervisors.wire.memory import PAGE_BYTES, address_of, writable_view_of

_LONG_BYTES = 4 * 1024 * 1024
"""Bytes whose copying takes so long that other threads are to run meanwhile (arbitrary; tenths of a millisecond)."""
SHARED_BYTES = 8 * 1000 * 1000
"""Bytes from which on two threads copy: handing over a half takes some 50 us, which fewer do not gain (measured)."""


class Copier:
    """Copies into segments; any thread may call its methods.

    The second thread is there from the first large copy on, and until `close`.
    """

    def __init__(self) -> None:
        self._halves: queue.SimpleQueue[_Half | None] = queue.SimpleQueue()
        """What the thread is to copy; None for its end. Each has a caller that waits for it, which is the bound."""
        self._lock = threading.Lock()
        """Guards the two below."""
        self._thread: threading.Thread | None = None
        self._is_alone = False
        """Whether there is no thread, and will be none."""

    def write(self, export: Any, offset: int, buffer: memoryview) -> None:
        """Copy bytes into a segment, given by its export; other threads run meanwhile where it takes long."""
        size = buffer.nbytes
        if size < _LONG_BYTES:
            writable_view_of(export, offset, size)[:] = buffer
            return
        target, source = ctypes.addressof(export) + offset, address_of(buffer)
        if size >= SHARED_BYTES:
            first = size // 2 // PAGE_BYTES * PAGE_BYTES
            half = _Half(target + first, source + first, size - first, (export, buffer))
            if self._hand_over(half):
                ctypes.memmove(target, source, first)
                half.try_copy()
                half.wait_copied()
                return
        ctypes.memmove(target, source, size)

    def close(self) -> None:
        """End the thread, and wait for that; what is copied from here on is copied by its caller alone."""
        with self._lock:
            thread, self._thread, self._is_alone = self._thread, None, True
        if thread is not None and thread.ident is not None:
            self._halves.put(None)
            thread.join()

    def _hand_over(self, half: _Half) -> bool:
        with self._lock:
            if self._thread is None and not self._is_alone:
                self._is_alone = usable_cpus() < _LEAST_CPUS or not self._start()
            if self._thread is None or not _has_room() or not _keep_apart(self._thread):
                return False
        self._halves.put(half)
        return True

    def _start(self) -> bool:
        thread = threading.Thread(target=self._serve, name="supervisors-copies", daemon=True)
        self._thread = thread  # first: when a signal raises in the start, the thread may be there already
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads
            self._thread = None
            return False
        return True

    def _serve(self) -> None:
        while (half := self._halves.get()) is not None:
            half.try_copy()


class _Half:
    """The second half of a copy: what is to be copied, by one of two threads."""

    __slots__ = ("_copied", "_keeps", "_size", "_source", "_target", "_token")

    def __init__(self, target: int, source: int, size: int, keeps: object) -> None:
        self._target = target
        self._source = source
        self._size = size
        self._keeps = keeps
        self._token = threading.Lock()
        self._copied = threading.Lock()
        self._copied.acquire()

    def try_copy(self) -> None:
        """Copy it, unless that was begun before."""
        if self._token.acquire(blocking=False):
            ctypes.memmove(self._target, self._source, self._size)
            self._keeps = None  # before anybody hears of it: what nobody looks at may be written again
            self._copied.release()

    def wait_copied(self) -> None:
        """Wait until it is copied: a moment, since it was begun."""
        self._copied.acquire()


_LEAST_CPUS = 2
"""Processors' worth of work that this program may get done, where a second thread is of use."""
_RUNNING = "/proc/loadavg"
"""Where Linux tells how many threads run or want to at this moment: `... 2/91 ...` (proc_loadavg(5))."""


def _has_room() -> bool:
    """Tell whether nobody waits for a processor; True where the system does not tell.

    Not whether one is idle: whoever has woken the caller often still runs for a moment.
    """
    try:
        # A file that closes itself, also where a signal raises in between.
        with open(_RUNNING, "rb", buffering=0) as file:  # noqa: PTH123  each large copy would pay for a path
            told = file.read(64)
    except OSError:
        return True
    return int(told.split(b"/")[0].split()[-1]) <= (os.cpu_count() or 1)


def _find_getcpu() -> Any:
    """Give what tells the processor that a thread runs on; None where the system has no such thing."""
    return getattr(ctypes.PyDLL(None), "sched_getcpu", None) if sys.platform == "linux" else None


_getcpu = _find_getcpu()


def _keep_apart(thread: threading.Thread) -> bool:
    """Have a thread run on another processor than this one; False if there is none.

    Left to itself, Linux often wakes it where it was woken from: the two would take turns.
    """
    id_ = thread.native_id
    if _getcpu is None or id_ is None:
        return True
    with contextlib.suppress(OSError):  # it may not, or the thread has just ended
        others = os.sched_getaffinity(0) - {_getcpu()}
        if not others:
            return False
        os.sched_setaffinity(id_, others)
    return True
