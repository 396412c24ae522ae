"""Stacks as people want to see them: without the frames that are ours. Pure.

Owns which frames those are, and how stacks are read: as `traceback` writes them, the newest frame last, and as
`faulthandler` does, the newest first. Never reads the environment, which says whether they are wanted in full.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping

from supervisors import text as _text

FULL_TRACEBACK = "ROUTILUX_FULL_TRACEBACK"
"""Environment variable that has stacks shown with all frames; anything but nothing and `0`."""
LEFT_OUT = f"[frames of routilux are left out; {FULL_TRACEBACK}=1 shows them]"

_FRAME = re.compile(r'  File "([^"]*)", line (\d+),? in (.+)')
_NEWEST_FIRST = "most recent call first"
_HEAD = "Traceback (most recent call last):"


def _folder_of(file: str) -> str:
    return file[: max(file.rfind("/"), file.rfind("\\")) + 1]


_OWN = (_folder_of(__file__), _folder_of(_text.__file__))
_LIBRARY = _folder_of(traceback.__file__)
_INSTALLED = re.compile(r"/lib(?:64)?/python\d[^/]*/|/(?:site|dist)-packages/")
_SERVANTS = re.compile(r"/(?:cloudpickle|pykka|rich)/[^/]*\.py$|/runpy\.py$|^<frozen |^<string>$")
"""Files of others that nobody calls but us, or that begin programs."""
_THREAD_STARTS = {"_bootstrap", "_bootstrap_inner", "run"}


def wants_all(environment: Mapping[str, str]) -> bool:
    """Tell whether stacks are to be shown with all frames."""
    return environment.get(FULL_TRACEBACK, "0") not in {"", "0"}


def is_own(file: str, function: str) -> bool:
    """Tell whether a frame of this function in this file is ours, or one of those that carry us."""
    if file.startswith(_OWN) or _SERVANTS.search(file.replace("\\", "/")):
        return True
    return file == f"{_LIBRARY}threading.py" and function in _THREAD_STARTS


def is_of_user(file: str) -> bool:
    """Tell whether a frame in this file that is not ours is the user's, as far as that can be known: no library's."""
    return not (file.startswith(_LIBRARY) or _INSTALLED.search(file.replace("\\", "/")))


def find_place(stack: str) -> str | None:
    """Give the newest place in a stack that is the user's, as `file.py:12 in function`; None if there is none.

    A value that cannot be kept is refused deep within our own code, and it is the line of the `emit` that counts; what
    `json` refuses, at the line that called it. Of a user whose code is installed as a library, the newest place there.
    """
    found = [frame for frame in _FRAME.findall(stack) if not is_own(frame[0], frame[2])]
    frames = [frame for frame in found if is_of_user(frame[0])]
    frames = frames or [frame for frame in found if "-packages/" in frame[0].replace("\\", "/")]
    if not frames:
        return None
    file, line, function = frames[0 if _NEWEST_FIRST in stack else -1]
    return f"{file[len(_folder_of(file)) :]}:{line} in {function}"


def ends_in_own(stack: str) -> bool:
    """Tell whether the newest frame of a stack is ours: its thread waits for us, or works for us. False without any.

    Of the stacks of several threads it is that of the one that is told first.
    """
    found = _FRAME.findall(stack)
    if not found:
        return False
    file, _line, function = found[0 if _NEWEST_FIRST in stack else -1]
    return is_own(file, function)


def leave_out_own(stack: str) -> str:
    """Give a stack without our frames, and a line at its end that says so; nothing where it has no others."""
    kept, is_shown, has_others = [], True, False
    for line in stack.splitlines():
        frame = _FRAME.match(line)
        if frame is not None:
            is_shown = not is_own(frame[1], frame[3])
            has_others = has_others or is_shown
        elif not line.startswith(("    ", "  [Previous line repeated")):  # no source line, and no marks below one
            is_shown = True
        if is_shown:
            kept.append(line)
    if not has_others:
        return ""
    shown = [*_without_bare_heads(kept)]
    return "\n".join(shown if len(shown) == len(stack.splitlines()) else [*shown, LEFT_OUT])


def for_people(stack: str, environment: Mapping[str, str]) -> str:
    """Give a stack as it is to be shown: our frames are in it where they are wanted, or where it has no others."""
    return stack if wants_all(environment) else leave_out_own(stack) or stack


def _without_bare_heads(lines: list[str]) -> Iterator[str]:
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line != _HEAD or _FRAME.match(following):
            yield line
