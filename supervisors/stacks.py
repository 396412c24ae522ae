"""Where a thread, or a coroutine that waits, is in its code, as text.

Owns the one look into the interpreter that this takes. Never stops a thread.
"""

from __future__ import annotations

import sys
import threading
import traceback
from typing import Any

FRAMES_KEPT = 40
"""Innermost frames that are told (arbitrary: as many as of a traceback)."""


def stack_of(thread: threading.Thread) -> str:
    """Give the stack of `thread` at this moment, innermost frame last; "" when it does not run."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001  the documented way to it
    return "".join(traceback.format_stack(frame, FRAMES_KEPT)) if frame is not None else ""


def stacks_under(name: str) -> list[tuple[str, str]]:
    """Give the stacks of all threads of a name, or of one that begins with it and a slash.

    Returns:
        Pairs of (name, stack), innermost frame last.
    """
    threads = [each for each in threading.enumerate() if each.name == name or each.name.startswith(f"{name}/")]
    return [(thread.name, stack_of(thread)) for thread in threads]


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


_FRAMES = ("cr_frame", "ag_frame", "gi_frame")
_AWAITED = ("cr_await", "ag_await", "gi_yieldfrom")
