"""The Python stack of a worker, asked for by a signal and told through the page's file.

Owns the signal, the region of the file that stacks are written to, and both sides of it. Never
decides when a stack is wanted (see `overdue`).

Theory of operation. The worker lets `faulthandler` write the stacks of all its threads when the signal comes.
That is a handler in C: it works while the worker's GIL is held by somebody else, or for hours by a call
that never gives it up, and it takes no memory. It writes where the offset of the descriptor is, and
parent and worker share that offset, since they share the open file: the parent sets it, empties the
region, sends the signal and reads what is there some time later. A worker that is stopped, or that
blocks the signal in all its threads, has said nothing by then.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
import signal
import sys

from supervisors.places.process.page import STACK_AT, STACK_BYTES

_EMPTY = bytes(STACK_BYTES)
_OWN_THREAD = re.compile(r'/process/deputy\.py", line \d+ in _serve$', re.MULTILINE)
_OWN_FRAMES = re.compile(r'\n  File "[^\n]*/process/worker\.py", line .*', re.DOTALL)
_INTERRUPTED = "Current thread"


def stack_signal() -> int | None:
    """Give the signal that asks for a stack; None where none can be asked for.

    One that programs hardly use: a real-time signal where there are some (61 on Linux), else `SIGUSR2`.
    """
    if not hasattr(faulthandler, "register"):
        return None
    # Three below the last one (arbitrary): those who take the first or the last one keep it.
    return signal.SIGRTMAX - 3 if sys.platform != "darwin" else signal.SIGUSR2


_SIGNAL = stack_signal()


def answer_stack_requests(page_fd: int) -> None:
    """Write the stacks of all threads whenever they are asked for; the worker's call.

    Args:
        page_fd: the page's file, to be kept open.
    """
    if _SIGNAL is not None:
        faulthandler.register(_SIGNAL, file=page_fd, all_threads=True, chain=False)


class StackReader:
    """The parent's side: asks a worker for its stacks, and reads the answer.

    Args:
        page_fd: the page's file; the very descriptor that the worker was started with, and from now on this object's.
    """

    def __init__(self, page_fd: int) -> None:
        self._fd = page_fd

    def ask(self, pid: int) -> None:
        """Ask the process `pid`, which must not have been reaped and must have registered for it."""
        if _SIGNAL is None:
            return
        os.pwrite(self._fd, _EMPTY, STACK_AT)
        os.lseek(self._fd, STACK_AT, os.SEEK_SET)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, _SIGNAL)

    def read(self) -> str:
        """Give what has been answered so far, see `tidy_stacks`; empty if nothing was."""
        data = os.pread(self._fd, STACK_BYTES, STACK_AT)
        return tidy_stacks(data.rstrip(b"\0").decode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def tidy_stacks(text: str) -> str:
    """Give what `faulthandler` wrote without a worker's own threads and frames, the thread that runs requests first."""
    threads = [thread for thread in text.strip("\n").split("\n\n") if not _OWN_THREAD.search(thread)]
    threads.sort(key=lambda thread: not thread.startswith(_INTERRUPTED))
    return "\n\n".join(_OWN_FRAMES.sub("", thread) for thread in threads)
