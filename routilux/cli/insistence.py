"""Ctrl-C and SIGTERM while a job is watched: what the second one says, and the end that the third one is.

Owns the count of them. The first raises where the program waits, and the second where it waits for the job's end, as
they would without this; it is `live` and the job that do something about them. The third ends the program at once, as
if it was killed: nothing is waited for and nothing written, and worker processes end with their program.

SIGHUP is not counted: it says that nobody is at the terminal any more, so nobody insists.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TextIO

from routilux.runtime.job import Job
from supervisors.text import printable

_SIGNALS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = "\x1b[?25h"
_CAN_SELECT = sys.platform != "win32"
"""Whether it can be asked of any descriptor if there is room to write."""


def tell_first(job: Job) -> str:
    """Say what the first one does, and in a second line what further ones will do."""
    id_ = printable(job.id)
    if job.store is None:
        then = "once more ends it at once; a third time kills this program"
        return f"cancelling job {id_}: what is in hand is given a moment to end\n  {then}"
    then = "once more puts it back at once, to be run again; a third time kills this program"
    return f"pausing job {id_}: what is in hand is given a moment to end\n  {then}"


def tell_second(job: Job) -> str:
    """Say what the second one does."""
    doing = "ending what is in hand" if job.store is None else "putting back what is in hand, to be run again"
    return f"{doing} now (once more kills this program)"


def tell_third(job: Job) -> str:
    """Say what the third one does."""
    id_ = printable(job.id)
    if job.store is None:
        return f"killed; job {id_} was not kept"
    return f"killed; job {id_} is kept in {printable(job.store)} as of its last checkpoint, to be resumed"


@contextlib.contextmanager
def insisting(job: Job, out: TextIO) -> Iterator[None]:
    """Count the signals that ask this program to end; at the third, end it with the status of that signal.

    On the main thread alone, and for signals that have a handler in Python: what is ignored, or ends the program by
    itself, stays so. Inside of another one it does nothing.

    Args:
        job: what is waited for.
        out: where people are told; its descriptor is written to, since a signal may come in the middle of a line.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    count = _Count(job, out)
    for number in _SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler) and not isinstance(handler, _Count):
            count.before[number] = handler
            signal.signal(number, count)
    try:
        yield
    finally:
        for number, handler in count.before.items():
            if signal.getsignal(number) is count:
                signal.signal(number, handler)


class _Count:
    """A signal handler that counts, and hands on to those before it."""

    def __init__(self, job: Job, out: TextIO) -> None:
        self._job = job
        self._out = out
        self._came = 0
        self.before: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._came += 1
        if self._came == 2:  # noqa: PLR2004  twice
            self._write(tell_second(self._job))
        elif self._came > 2:  # noqa: PLR2004
            self._write(tell_third(self._job), first=_SHOW_CURSOR)
            os._exit(128 + number)
        self.before[number](number, frame)

    def _write(self, line: str, first: str = "") -> None:
        """Write a line, behind what is for a terminal alone; nothing where a reader who stopped leaves no room."""
        with contextlib.suppress(OSError, ValueError):  # closed, or no file
            if self._out.isatty():
                line = first + line
            fd = self._out.fileno()
            if _CAN_SELECT and not select.select([], [fd], [], 0.0)[1]:
                return
            os.write(fd, f"{line}\n".encode(errors="backslashreplace"))
