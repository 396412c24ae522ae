"""A fresh interpreter that runs one module of this folder: how a worker is spawned, and how a zygote begins.

Owns the command line and what is run by it before anything can be imported. Never starts a process.
"""

from __future__ import annotations

import multiprocessing.util
import os
import sys
from pathlib import Path

from supervisors.places.process.page import TOLD_AT

_ROOT = str(Path(__file__).resolve().parents[3])
"""The folder that `supervisors` lies in."""

_STUB = f"""\
import os, sys
fd = int(sys.argv[3])
sys.path[:] = os.fsdecode(os.pread(fd, os.fstat(fd).st_size, {TOLD_AT})).split(chr(0))
try:
    from supervisors.places.process import {{0}} as module
except ImportError:
    sys.path.append(sys.argv[1])
    from supervisors.places.process import {{0}} as module
module.main(*map(int, sys.argv[2:]))
"""
"""Search for modules where the parent does, then become what the module is the main program of."""


def interpreter() -> list[str]:
    """Give the command of an interpreter with the flags of this one, `-P` (no unsafe path) added.

    Raises:
        OSError: this program does not know its own.
    """
    if not sys.executable:
        raise OSError("this program does not know its interpreter (sys.executable is empty)")
    # The standard library's own list, used by multiprocessing too.
    flags: list[str] = multiprocessing.util._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
    return [sys.executable, *flags, *(() if "-P" in flags else ("-P",))]


def command_of(module: str, channel_fd: int, told_fd: int, *numbers: int) -> list[str]:
    """Give the command that runs `main` of a module of this folder with these numbers.

    Args:
        module: its name.
        channel_fd: its first number: the descriptor by which it is talked to.
        told_fd: its second: a page's file, made with `told_search_path`.
        numbers: what comes behind these.
    """
    return [*interpreter(), "-c", _STUB.format(module), _ROOT, *map(str, (channel_fd, told_fd, *numbers))]


def told_search_path() -> bytes:
    """Give `sys.path` as the file of a page tells it to a fresh interpreter."""
    return os.fsencode("\0".join(entry for entry in sys.path if type(entry) is str))
