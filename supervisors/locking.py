"""A lock for steps of microseconds that many threads take in turns.

Owns one way of waiting. A plain lock convoys under the global interpreter lock: the system hands
it to a waiter that does not run Python yet, who then holds it while it waits for the interpreter,
so that everybody else queues up behind and every acquisition costs a thread switch (measured: a
thread pipeline spent nine tenths of its time there). Here nobody waits in the lock's own queue:
a thread takes it only while it runs, and otherwise lets the others run and tries again.
"""

from __future__ import annotations

import threading
import time

_EAGER_TRIES = 64
"""Tries with nothing but a yield in between (arbitrary: the holder needs one slice to be done)."""
_PATIENT_SECONDS = 0.0001


class BriefLock:
    """A lock to be held for a few microseconds, without any wait inside; not reentrant."""

    __slots__ = ("_lock", "patient")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.patient = self._lock
        """The same lock, taken by waiting for it: for threads that a signal handler may interrupt.

        An exception out of a handler (Ctrl-C) cannot come between its being taken and the body of
        its `with`, as it can in `__enter__` here; it would stay locked.
        """

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._wait()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _wait(self) -> None:
        tries = 0
        while not self._lock.acquire(blocking=False):
            tries += 1
            # No event to wait for: the holder was interrupted for a moment, and goes on as soon as it may.
            time.sleep(0.0 if tries < _EAGER_TRIES else _PATIENT_SECONDS)  # noqa: TID251  it gives the interpreter away
