"""Programs killed at a moment of their lives, and what is left of them one second later.

Owns the start, the kill and the count. Knows a program's processes by a mark in their environment, which each inherits
from who started it; so one whose parents have died is found too. Never kills what does not carry the mark.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from typing import NamedTuple

import psutil

MARK = "ROUTILUX_ORPHAN"
GRACE_SECONDS = 1.0
"""By when nothing may be left."""
_PAUSE = 0.02


class Aftermath(NamedTuple):
    """What a killed program left.

    Args:
        seen: processes that it had when it was killed, itself included.
        left: the command lines of those that were there one second later, the end of the grace; they were ended then.
    """

    seen: int
    left: list[str]


def kill_program(program: str, after: float, *arguments: str) -> Aftermath:
    """Run a program's text in an interpreter of its own, and kill it.

    Args:
        program: prints a line when it has imported what it needs: before, there is nothing to be left.
        after: seconds from that line to the kill.
        arguments: the program's.
    """
    mark = f"{os.getpid()}-{uuid.uuid4().hex}"
    process = subprocess.Popen(  # noqa: S603  our own program
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        if process.stdout is None or not process.stdout.readline():
            raise RuntimeError(f"the program ended by itself: {process.wait()}")
        threading.Event().wait(after)
        seen = len(_marked(mark))
        process.kill()
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := _marked(mark)) and time.monotonic() < deadline:
        threading.Event().wait(_PAUSE)
    return Aftermath(seen, [_end(each) for each in left])


def end_marked(mark: str) -> None:
    """Kill what carries the mark: all that a program and those below it have left."""
    for process in _marked(mark):
        _end(process)


def _end(process: psutil.Process) -> str:
    try:
        told = " ".join(process.cmdline())
        process.kill()
    except psutil.NoSuchProcess:
        return f"process {process.pid}, which has ended since"
    return told


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:
            continue
    return found
