"""A job's snapshot as a file: a header, and what `to_bytes` gives.

Owns the header (magic, format, oldest reader, BLAKE2b-256 of the rest), by which every change is seen. Never opens a
file.
"""

from __future__ import annotations

import hashlib
import struct

from routilux.records.errors import DamagedError, UnsupportedFormatError

FORMAT = 1
"""What is written here."""
MIN_READER = 1
"""The oldest format whose readers can read what is written here."""

_MAGIC = b"RTXSTATE"
_HEADER = struct.Struct("<8sHH32s")


class DamagedStateError(DamagedError):
    """A snapshot of a job is not what was written."""

    what = "the job's state"


def seal(body: bytes) -> bytes:
    """Give the content of a file."""
    return _HEADER.pack(_MAGIC, FORMAT, MIN_READER, _digest(body)) + body


def unseal(data: bytes) -> bytes:
    """Give what `seal` was given.

    Raises:
        DamagedStateError: it is not what was written.
        UnsupportedFormatError: a newer version wrote it.
    """
    if len(data) < _HEADER.size:
        raise DamagedStateError(f"it has {len(data)} bytes, fewer than its header")
    magic, _format, min_reader, digest = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise DamagedStateError("it does not begin as one does")
    body = data[_HEADER.size :]
    # The version first: a newer one may check itself in another way.
    if min_reader > FORMAT:
        raise UnsupportedFormatError("the job's state", min_reader, FORMAT)
    if _digest(body) != digest:
        raise DamagedStateError("it is torn, or was changed")
    return body


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=32).digest()
