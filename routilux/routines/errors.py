"""The errors of the built-in routines; what they share is told in `routilux.errors`.

RoutiluxError
├── RoutineCodeError
│   └── RecordError (ValueError)    a message with which a built-in routine can do nothing
└── FileError (OSError)             the world: a file; `path` and `line` say where
    ├── FileReadError               it cannot be read, or is not the one that it was
    └── FileWriteError              it cannot be written, or is not as the job left it
"""

from __future__ import annotations

from routilux.errors import RoutiluxError, RoutineCodeError


class RecordError(RoutineCodeError, ValueError):
    """A message, or what a function made of it, is nothing that a built-in routine can work on."""


class FileError(RoutiluxError, OSError):
    """Something is the matter with a file.

    Args:
        what: what was attempted, such as `cannot read`.
        path: the file.
        detail: what is wrong.
        line: the number of the line, from 1; None where it is not about one.
    """

    def __init__(self, what: str, path: str, detail: str, line: int | None = None) -> None:
        self.path = path
        self.line = line
        self.detail = detail
        where = "" if line is None else f", line {line:,}"
        super().__init__(f"{what} {path!r}{where}: {detail}")


class FileReadError(FileError):
    """A file or folder cannot be read, or its text is not in the encoding that was given."""

    def __init__(self, path: str, detail: str, line: int | None = None) -> None:
        super().__init__("cannot read", path, detail, line)


class FileWriteError(FileError):
    """A sink's file cannot be written, or is shorter than the job has left it."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__("cannot write", path, detail)


def reason_of(error: OSError) -> str:
    """Tell an error of the operating system without the path, which is told already."""
    return error.strerror or str(error) or type(error).__name__
