"""Where a thread, or a coroutine that waits, is in its code, as text.

Owns the one look into the interpreter that this takes. Never stops a thread.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

FRAMES_KEPT = 40
"""Innermost frames that are told (arbitrary: as many as of a traceback)."""


def stack_of(thread: threading.Thread) -> str:
    """Give the stack of `thread` at this moment, innermost frame last; "" when it does not run."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001  the documented way to it
    return "".join(traceback.format_stack(frame, FRAMES_KEPT)) if frame is not None else ""


def stacks_under(name: str) -> list[tuple[str, str]]:
    """Give the stacks of all threads of a name, or of one that begins with it and a slash.

    Frames of this package and of those beside it that lead to the first other one are left out.

    Returns:
        Pairs of (name, stack), innermost frame last; "" for a thread that is in nobody else's code.
    """
    frames = sys._current_frames()  # noqa: SLF001  as above
    found = []
    for thread in threading.enumerate():
        if thread.name == name or thread.name.startswith(name + "/"):
            frame = frames.get(thread.ident or 0)
            summary = [] if frame is None else traceback.extract_stack(frame, limit=None)
            first = next((at for at, entry in enumerate(summary) if not _is_own(entry.filename)), len(summary))
            found.append((thread.name, "".join(traceback.format_list(summary[first:][-FRAMES_KEPT:]))))
    return found


def _is_own(path: str) -> bool:
    return path.startswith(_OWN) or path == threading.__file__


def stack_of_coroutine(coroutine: Any) -> str:
    """Give where `coroutine` waits, innermost frame last; "" when it has ended.

    It follows what is awaited as far as that shows; a future or a task at its end does not.
    """
    frames: list[tuple[Any, int]] = []
    while coroutine is not None and len(frames) < FRAMES_KEPT:
        frame = next((found for name in _FRAMES if (found := getattr(coroutine, name, None)) is not None), None)
        if frame is not None:
            frames.append((frame, frame.f_lineno))
        coroutine = next((found for name in _AWAITED if (found := getattr(coroutine, name, None)) is not None), None)
    return "".join(traceback.StackSummary.extract(iter(frames)).format())


_OWN = tuple(f"{folder}{os.sep}" for folder in (Path(__file__).parent, Path(__file__).parents[1] / "routilux"))
"""Where the code is that leads to a handler."""
_FRAMES = ("cr_frame", "ag_frame", "gi_frame")
_AWAITED = ("cr_await", "ag_await", "gi_yieldfrom")
