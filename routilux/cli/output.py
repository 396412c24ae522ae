"""What a command gives on stdout, where that cannot be written to as well.

Owns the two streams of the program: opens what is missing, and tells what cannot be written.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from routilux.cli.target import CommandError


def open_missing_streams() -> None:
    """Write to nowhere what goes to a stream that the program was started without."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  for as long as the program runs
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  the same


def write_result(text: str) -> None:
    """Write to stdout, at once.

    Raises:
        CommandError: it cannot be written to: a full disk, a reader that has gone.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        sys.stdout = None  # or the interpreter would try again at its end, and say so
        raise CommandError(f"cannot write to stdout: {error.strerror or error}", 1) from error
