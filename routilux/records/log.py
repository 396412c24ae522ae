"""Append-only logs: records one after the other, of which the last may be torn. Pure.

Owns the framing and its reading. Never knows what a record holds, and never reads a log itself.

A record is the length of its body, a checksum and the body: `u32 | u32 | body`, little-endian. The checksum is the
CRC-32 of the length and the body, so that a tail of zeros, which a file system may leave after a power failure, is
no record; nor is one without a body.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

MAX_RECORD_BYTES = 64 * 1024 * 1024
"""Body of a record at most: a longer one is not written, and announced is damage (arbitrary)."""
CHUNK_BYTES = 256 * 1024
"""What a reader asks for at once (arbitrary)."""

_HEAD = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_TORN = "the last record is torn"

Read = Callable[[int, int], bytes]
"""Gives a log's bytes from an offset on, at most so many; fewer only at its end."""


def frame(body: bytes) -> bytes:
    """Make a record of `body`.

    Raises:
        ValueError: it is empty, or longer than `MAX_RECORD_BYTES`.
    """
    if not 0 < len(body) <= MAX_RECORD_BYTES:
        raise ValueError(f"the body of a record has 1 to {MAX_RECORD_BYTES:,} bytes, not {len(body):,}")
    return _HEAD.pack(len(body), _checksum(body)) + body


class LogRecord(NamedTuple):
    """A record that was read: its body, and the offset behind it."""

    body: bytes
    end: int


class LogReader:
    """Reads a log, record for record, as far as it is whole; holds a chunk and a record at most.

    Args:
        read: gives bytes of the log.
        offset: where to begin, at the beginning of a record.
        end: where to stop; None for the log's end.
    """

    def __init__(self, read: Read, offset: int = 0, end: int | None = None) -> None:
        self._read = read
        self._end = end
        self._buffer = b""
        self._at = 0
        self.offset = offset
        """Behind the last whole record so far."""
        self.problem: str | None = None
        """Why reading stopped before the end; None where it did not."""
        self.is_torn = False
        """Whether it stopped because the log ends within a record: what a writer that was killed leaves."""

    def __iter__(self) -> Iterator[LogRecord]:
        """Give the records from where it is, up to the end or the first that is torn or wrong."""
        while isinstance(found := self._next(), LogRecord):
            yield found
        self.is_torn = found is _TORN
        self.problem = found and f"{found}, at offset {self.offset}"

    def _next(self) -> LogRecord | str | None:
        """Give the next record; None at the end, or what is wrong."""
        available = self._fill(_HEAD.size)
        if available == 0:
            return None if self._end is None or self.offset >= self._end else f"it was to go on to {self._end}"
        if available < _HEAD.size:
            return _TORN
        length, checksum = _HEAD.unpack_from(self._buffer, self._at)
        if not 0 < length <= MAX_RECORD_BYTES:
            return f"a record of {length:,} bytes is announced"
        size = _HEAD.size + length
        if self._fill(size) < size:
            return _TORN
        body = self._buffer[self._at + _HEAD.size : self._at + size]
        if _checksum(body) != checksum:
            return "a record is not what was written"
        self._at += size
        self.offset += size
        return LogRecord(body, self.offset)

    def _fill(self, size: int) -> int:
        """Have `size` bytes ahead, or all there are; tell how many there are, `size` at most."""
        have = len(self._buffer) - self._at
        if have >= size:
            return size
        start = self.offset + have
        wanted = max(size - have, CHUNK_BYTES)
        if self._end is not None:
            wanted = min(wanted, self._end - start)
        if wanted > 0:
            self._buffer = self._buffer[self._at :] + self._read(start, wanted)
            self._at = 0
        return min(size, len(self._buffer) - self._at)


def _checksum(body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(_LENGTH.pack(len(body))))
