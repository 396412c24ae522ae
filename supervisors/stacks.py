"""Where a thread is in its code, as text.

Owns the one look into the interpreter that this takes. Never stops a thread.
"""

from __future__ import annotations

import sys
import threading
import traceback

FRAMES_KEPT = 40
"""Innermost frames that are told (arbitrary: as many as of a traceback)."""


def stack_of(thread: threading.Thread) -> str:
    """Give the stack of `thread` at this moment, innermost frame last; "" when it does not run."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001  the documented way to it
    return "".join(traceback.format_stack(frame, FRAMES_KEPT)) if frame is not None else ""
