"""What becomes of a job when its program is asked to end.

Owns the handlers for SIGTERM and SIGHUP that are there while a program waits for a job, and the words that say how to
resume one.
Never ends a job.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from routilux.runtime.handle import JobHandle

HANGUP = getattr(signal, "SIGHUP", None)
"""Says that the terminal is closed, or the connection to it; None on systems without."""


@contextlib.contextmanager
def ending_on_signals(*, is_wanted: bool = True) -> Iterator[None]:
    """Make SIGTERM an orderly end with status 143, and SIGHUP one with 129, as Ctrl-C is one.

    Each where the program has not said what it is, and where it is not ignored (`nohup`). Only the main thread can; on
    others nothing happens.

    Args:
        is_wanted: whether it is to be done at all.
    """
    on_main = threading.current_thread() is threading.main_thread()
    handlers = {signal.SIGTERM: _leave} if HANGUP is None else {signal.SIGTERM: _leave, HANGUP: _leaving_once()}
    numbers = [number for number in handlers if is_wanted and on_main and signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, handlers[number])
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def note_resume(error: BaseException, job: JobHandle) -> None:
    """Let an error that ended the wait for a job say how to go on with it, where it was kept."""
    note = f"job {job.id!r} is paused and kept in {job.store}: go on with Flow.resume(store, {job.id!r}, flow=flow)"
    if job.status == "paused" and note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _leaving_once() -> Callable[[int, FrameType | None], None]:
    """Give a handler that leaves at the first signal alone.

    When a terminal is closed the kernel tells of it, and the shell too: nobody insists.
    """
    came = False

    def leave(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if not came:
            came = True
            _leave(number, frame)

    return leave
