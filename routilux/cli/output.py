"""What a command gives on stdout and tells on stderr, where these cannot be written to as well.

Owns the two streams of the program: opens what is missing, tells what cannot be written of its data, and lets go what
would be for people.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from routilux.cli.errors import CommandError
from routilux.stores.single_file import write_parts
from supervisors.text import printable

READER_GONE = 141
"""Exit status of a program whose reader has gone, as for SIGPIPE."""
FILE_WIDTH = 100
"""Characters a line has where there is no terminal (arbitrary)."""

_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.EIO})
"""What writing to a stream ends in whose reader has gone, or whose terminal was closed."""


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


@contextlib.contextmanager
def for_people(stream: TextIO) -> Iterator[None]:
    """Write to a stream in the body what is for people, and nothing depends on: it is let go where that cannot be.

    Where nobody reads it any more, whatever is written to it from here on goes nowhere.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _GONE:
            _silence(stream)


def tell(line: str) -> None:
    """Write a line to stderr, for people."""
    with for_people(sys.stderr):
        print(line, file=sys.stderr)


def flush_streams() -> None:
    """Write what was printed and waits, or let it go where nobody reads it, of which the program's end would tell."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it could not be written to, and this was told
            with for_people(stream):
                stream.flush()


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


def _silence(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError):  # it has no descriptor, or is closed
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
