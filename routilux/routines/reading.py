"""Files as sources read them: regular ones, from where one was, line by line or in blocks.

Owns opening, decoding and what is told when that fails. Remembers nothing, emits nothing.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, NamedTuple

from routilux.errors import OptionError
from routilux.routines.errors import FileReadError, reason_of

_NEWLINE = b"\n"


class Line(NamedTuple):
    """A line of a file.

    Args:
        end: where the next one begins, in bytes.
        number: its number, from 1.
        text: what is in it, without its end.
    """

    end: int
    number: int
    text: str


class Decoding:
    """How the bytes of a file become text.

    Args:
        encoding: the name of the encoding.
        errors: what becomes of bytes that are not in it, as for `bytes.decode`.
        owner: whose it is, for errors.

    Raises:
        OptionError: there is no such encoding, or no such way with errors.
    """

    def __init__(self, encoding: str, errors: str, owner: str) -> None:
        self.encoding = checked_encoding(encoding, owner)
        self.errors = checked_errors(errors, UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), owner)
        # A mark at the start of the file is none anywhere else.
        self._later = "utf-8" if self.encoding == "utf-8-sig" else self.encoding

    def decode(self, data: bytes, path: str, line: int | None = None) -> str:
        """Give the text of a file, or of one of its lines.

        Raises:
            FileReadError: it is not in the encoding.
        """
        try:
            return data.decode(self.encoding if line in (None, 1) else self._later, self.errors)
        except UnicodeDecodeError as error:
            byte = error.object[error.start : error.start + 1]
            found = f"byte 0x{byte.hex()}" if byte else "the end"
            detail = f"{found} at {error.start:,} is not {self.encoding} ({error.reason}); errors= goes on past it"
            raise FileReadError(path, detail, line) from error
        except UnicodeError as error:  # of a codec that does not tell where
            raise FileReadError(path, f"it is not {self.encoding} ({error})", line) from error

    def has_plain_newlines(self) -> bool:
        """Tell whether a line ends with the byte of a newline, as in all encodings but UTF-16 and UTF-32."""
        encoder = codecs.getincrementalencoder(self.encoding)()
        encoder.encode("")
        return encoder.encode("\n") == _NEWLINE


@contextmanager
def opened(path: str, at: int = 0) -> Iterator[BinaryIO]:
    """Open a regular file at a place in it.

    Raises:
        FileReadError: it cannot be opened, is no regular file, or is shorter than that; or, at the end, than what was
            read of it.
    """
    try:
        # Not to wait for somebody who writes into a pipe: it is refused.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FileReadError(path, reason_of(error)) from error
    except ValueError as error:  # a zero character
        raise FileReadError(path, str(error)) from error
    with _as_file(descriptor, path) as file:
        size = os.fstat(descriptor).st_size
        if size < at:
            raise _shortened(path, at, size)
        file.seek(at)
        yield file
        # Not of a file that has no size at all and is read nevertheless, such as those below /proc.
        now, read = os.fstat(descriptor).st_size, file.tell()
        if now < read and now != size:
            raise _shortened(path, read, now)


def read_lines(path: str, at: int, number: int, decoding: Decoding, max_bytes: int) -> Generator[Line, None, None]:
    """Read a file line by line. A line ends with a newline, or a carriage return and a newline, or with the file.

    Args:
        path: the file.
        at: where to begin, in bytes.
        number: the number of the line before.
        decoding: how bytes become text.
        max_bytes: bytes of a line at most.

    Raises:
        FileReadError: it cannot be opened, read or decoded, or a line is too long.
    """
    with opened(path, at) as file:
        while True:
            number += 1
            try:
                raw = file.readline(max_bytes + 1)
            except OSError as error:
                raise FileReadError(path, reason_of(error), number) from error
            if not raw:
                return
            if len(raw) > max_bytes:
                raise FileReadError(path, f"it has more than max_line_bytes={max_bytes:,} bytes", number)
            at += len(raw)
            has_end = raw.endswith(_NEWLINE)
            text = decoding.decode(raw.removesuffix(b"\r\n").removesuffix(_NEWLINE) if has_end else raw, path, number)
            if text or has_end:  # else it was the mark at the start of an empty file
                yield Line(at, number, text)


def read_block(file: BinaryIO, path: str, size: int = -1) -> bytes:
    """Read the next bytes of an open file, or all that are left; empty at its end.

    Raises:
        FileReadError: it cannot be read.
    """
    try:
        return file.read(size)
    except OSError as error:
        raise FileReadError(path, reason_of(error)) from error


def checked_encoding(encoding: object, owner: str) -> str:
    """Give the usual name of an encoding.

    Raises:
        OptionError: there is no such encoding of text.
    """
    if isinstance(encoding, str):
        with suppress(LookupError, ValueError):  # ValueError: a zero character, or one that does not do with `ignore`
            b"a".decode(encoding, "ignore")
            return codecs.lookup(encoding).name
    raise OptionError(f"{owner}: expected encoding to be that of a text, such as 'utf-8', got {encoding!r}")


def checked_errors(errors: object, example: UnicodeError, owner: str) -> str:
    """Give a way with what is not in an encoding.

    Args:
        errors: the way.
        example: something that it has to do with: some ways are for writing alone.
        owner: whose it is, for errors.

    Raises:
        OptionError: there is no such way.
    """
    if isinstance(errors, str):
        with suppress(LookupError, ValueError, TypeError):
            way = codecs.lookup_error(errors)
            with suppress(UnicodeError):  # `strict` raises it
                way(example)
            return errors
    raise OptionError(f"{owner}: expected errors to be one of 'strict', 'replace', 'ignore', ..., got {errors!r}")


def _shortened(path: str, read: int, size: int) -> FileReadError:
    return FileReadError(path, f"{read:,} bytes of it were read before, and now it has {size:,}")


def _as_file(descriptor: int, path: str) -> BinaryIO:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise FileReadError(path, f"it is {_kind(mode)}, and no regular file")


def _kind(mode: int) -> str:
    for is_kind, word in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if is_kind(mode):
            return word
    return "a device"
