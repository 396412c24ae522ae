"""What threads from outside wait by: the end of a job, and how much of their time is left.

Never decides when a job is over.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future

from routilux.accounts import Bell
from routilux.errors import OptionError
from routilux.jobs.actor import JobCut
from supervisors.mailbox import Lock


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

    def _note(self, finished: Future[JobCut]) -> None:
        self.cut = finished.result()
        with self._lock:
            rung = self.bell.ring_held()
        for waiter in rung:
            waiter.unpark()


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
