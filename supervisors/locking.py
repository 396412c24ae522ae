"""A lock for steps of microseconds that many threads take in turns.

Owns one way of waiting. A plain lock convoys under the global interpreter lock: the system hands
it to a waiter that does not run Python yet, who then holds it while it waits for the interpreter,
so that everybody else queues up behind and every acquisition costs a thread switch (measured: a
thread pipeline spent nine tenths of its time there). Here nobody waits in the lock's own queue:
a thread takes it only while it runs, and otherwise lets the others run and tries again.
"""

from __future__ import annotations

import functools
import threading
import time

_EAGER_TRIES = 64
"""Tries with nothing but a yield in between (arbitrary: the holder needs one slice to be done)."""
_PATIENT_SECONDS = 0.0001


class BriefLock:
    """A lock to be held for a few microseconds, without any wait inside; not reentrant.

    To be used by `with`. Where even the two calls that this makes cost too much::

        if not lock.try_acquire():
            lock.wait()
        try:
            ...
        finally:
            lock.release()
    """

    __slots__ = ("patient", "release", "try_acquire")

    def __init__(self) -> None:
        lock = threading.Lock()
        self.patient = lock
        """The same lock, taken by waiting for it: for threads that a signal handler may interrupt.

        An exception out of a handler (Ctrl-C) cannot come between its being taken and the body of
        its `with`, as it can in `__enter__` here; it would stay locked.
        """
        self.try_acquire = functools.partial(lock.acquire, False)
        """Take the lock if nobody holds it; tells whether. Made of built-in parts: no call of ours."""
        self.release = lock.release
        """Let the lock go; the built-in method itself."""

    def __enter__(self) -> None:
        if not self.try_acquire():
            self.wait()

    def __exit__(self, *_: object) -> None:
        self.release()

    def wait(self) -> None:
        """Take the lock as soon as it is free, by trying again while others run."""
        tries = 0
        while not self.try_acquire():
            tries += 1
            # No event to wait for: the holder was interrupted for a moment, and goes on as soon as it may.
            time.sleep(0.0 if tries < _EAGER_TRIES else _PATIENT_SECONDS)  # noqa: TID251  it gives the interpreter away
