"""What a command gives on stdout, where that cannot be written to as well.

Owns the two streams of the program: opens what is missing, and tells what cannot be written.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from routilux.cli.errors import CommandError
from routilux.stores.single_file import write_parts
from supervisors.text import printable

READER_GONE = 141
"""Exit status of a program whose reader has gone, as for SIGPIPE."""
FILE_WIDTH = 100
"""Characters a line has where there is no terminal (arbitrary)."""


def width_of(stream: TextIO) -> int:
    """Give the characters a line of the terminal has; of a file: what most screens have."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or FILE_WIDTH
    except (OSError, ValueError):
        return FILE_WIDTH


def open_missing_streams() -> None:
    """Write to nowhere what goes to a stream that the program was started without."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  for as long as the program runs
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  the same


def write_parts_to(path: str | None, parts: Iterable[bytes]) -> None:
    """Write a file that is made in parts, in the place of the one there; or to stdout, where no path is given.

    Raises:
        StoreWriteError: the file could not be written; what was there is as it was.
        As `write_result`.
    """
    if path is not None:
        write_parts(path, parts)
        print(printable(f"wrote {path}"), file=sys.stderr)
        return
    for part in parts:
        write_result(part.decode(), flush=False)
    write_result("")


def write_result(text: str, *, flush: bool = True) -> None:
    """Write to stdout.

    Args:
        text: what.
        flush: whether at once.

    Raises:
        CommandError: it cannot be written to: a full disk.
        SystemExit: its reader has gone, such as `head`, which has all it wanted.
    """
    try:
        sys.stdout.write(text)
        if flush:
            sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = None  # as below
        raise SystemExit(READER_GONE) from None
    except OSError as error:
        sys.stdout = None  # or the interpreter would try again at its end, and say so
        raise CommandError(f"cannot write to stdout: {error.strerror or error}", 1) from error
