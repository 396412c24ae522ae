"""What becomes of a job when its program is asked to end.

Owns the handler for SIGTERM that is there while a program waits for a job, and the words that say how to resume one.
Never ends a job.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from routilux.runtime.handle import JobHandle


@contextlib.contextmanager
def ending_on_sigterm(*, is_wanted: bool = True) -> Iterator[None]:
    """Make SIGTERM an orderly end with status 143, as Ctrl-C is one, where the program has not said what it is.

    Only the main thread can; on others nothing happens.

    Args:
        is_wanted: whether it is to be done at all.
    """
    on_main = threading.current_thread() is threading.main_thread()
    if not is_wanted or not on_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def note_resume(error: BaseException, job: JobHandle) -> None:
    """Let an error that ended the wait for a job say how to go on with it, where it was kept."""
    note = f"job {job.id!r} is paused and kept in {job.store}: go on with Flow.resume(store, {job.id!r}, flow=flow)"
    if job.status == "paused" and note not in getattr(error, "__notes__", ()):
        error.add_note(note)
