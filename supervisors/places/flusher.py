"""Who tells of what was finished while the thread that ran it is busy with the next request.

Owns one thread of the program, which sleeps unless some place holds results back. Never runs a request.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable

from supervisors.parking import LockParker
from supervisors.renewals import renewals

FLUSH_SECONDS = 0.01
"""After that long a result is told at the latest, give or take as much (arbitrary: some thousand short requests)."""


class Flusher:
    """Calls back a little later. Any thread may use it."""

    def __init__(self) -> None:
        # Unbounded, but each place is in it once at most.
        self._due: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._never = LockParker()
        # Guards the start of the thread.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def new_lock(self) -> threading.Lock:
        """Give a lock for what is told by two threads in turns."""
        return threading.Lock()

    def watch(self, tell: Callable[[], None]) -> bool:
        """Have `tell` called on another thread, between `FLUSH_SECONDS` and twice that from now; it must not raise.

        Returns:
            False if the system gives no thread: nothing is called.
        """
        if self._thread is None and not self._start():
            return False
        self._due.put(tell)
        return True

    def _start(self) -> bool:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name="supervisors-flusher", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return False
                self._thread = thread
        return True

    def _serve(self) -> None:
        waiting: deque[Callable[[], None]] = deque()
        while True:
            if not waiting:
                waiting.append(self._due.get())
            self._never.park(FLUSH_SECONDS)
            # What has come meanwhile waits for the next time. Where one is always due, this thread sleeps and wakes
            # once each time: it has to take the interpreter from those who work.
            due, waiting = waiting, deque()
            while not self._due.empty():
                waiting.append(self._due.get())
            while due:
                # Nothing here refers to the last one any more: its place would stay, with all it has, until the next.
                due.popleft()()


flusher = Flusher()
"""The program's."""


def _begin_anew() -> None:
    # A copy of the program has no such thread, and maybe a lock that nobody opens.
    flusher.__init__()  # type: ignore[misc]


renewals.add(_begin_anew)
