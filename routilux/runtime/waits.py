"""What threads from outside wait by: the end of a job, and how much of their time is left.

Never decides when a job is over.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from routilux.accounts import Bell
from routilux.errors import OptionError
from routilux.jobs.actor import JobCut
from supervisors.mailbox import Lock

_Value = TypeVar("_Value")


class End:
    """The end of a job, for those who wait for it and may be interrupted.

    The future itself is asked by nobody who may be: its lock is one that Ctrl-C can leave taken. Knows
    no `Job`, so that one that nobody holds any more goes at once, with the results it has collected.
    """

    def __init__(self, finished: Future[JobCut], lock: Lock) -> None:
        self.cut: JobCut | None = None
        self.bell = Bell(lock)
        self._lock = lock
        finished.add_done_callback(self._note)

    def has_come(self) -> bool:
        """Whether the job is over."""
        return self.cut is not None

    def ring(self) -> None:
        """Let all that wait look again."""
        with self._lock:
            rung = self.bell.ring_held()
        for waiter in rung:
            waiter.unpark()

    def _note(self, finished: Future[JobCut]) -> None:
        self.cut = finished.result()
        self.ring()


class Arrival(Generic[_Value]):
    """An answer of the job, for one who waits for it and may be interrupted; as with the end, nobody asks the future.

    Args:
        reply: where the answer goes.
        end: the job's, at whose bell is waited.
    """

    def __init__(self, reply: Future[_Value], end: End) -> None:
        self._end = end
        self._reply: Future[_Value] | None = None
        reply.add_done_callback(self._note)

    def wait(self) -> Future[_Value] | None:
        """Wait for the answer, and give the future that has it; None: the job ended without."""
        self._end.bell.wait_for(self._look)
        return self._reply

    def _look(self) -> bool | None:
        over = self._end.has_come()  # first: what was answered before the end counts
        return True if self._reply is not None or over else None

    def _note(self, reply: Future[_Value]) -> None:
        self._reply = reply
        self._end.ring()


def countdown(timeout: float | None) -> Callable[[], float | None]:
    """Give what tells how many of `timeout` seconds, from now, are left; None for no limit.

    Raises:
        OptionError: it is no number of seconds.
    """
    if timeout is None:
        return lambda: None
    given: object = timeout  # what came may be anything
    if isinstance(given, bool) or not isinstance(given, int | float) or math.isnan(given):
        raise OptionError(f"expected timeout to be a number of seconds, or None for no limit, got {timeout!r}")
    deadline = time.monotonic() + timeout
    return lambda: deadline - time.monotonic()
