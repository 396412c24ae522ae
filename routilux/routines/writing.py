"""Files as sinks write them: each record at the place where the last one that counts ended.

Owns the order of the steps that make a sink exact. Remembers nothing: where that place is its routine's state tells.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from routilux.routines.errors import FileWriteError, reason_of


def write_at(path: str, end: int, record: bytes, *, fsync: bool) -> None:
    """Cut a file to a length and put a record there; the file is made if there is to be nothing in it.

    When this returns the record is in the file, and with `fsync` on the disk. When it raises, or the process ends in
    the middle, some of the record may be behind `end`, and nothing before it was touched: so it may be called again.

    Args:
        path: the file.
        end: its length up to and with the last record that counts, in bytes.
        record: what is written.
        fsync: whether to wait for the disk.

    Raises:
        FileWriteError: it cannot be opened or written, is no regular file, or is shorter than `end`.
    """
    try:
        # Not to wait for somebody who reads from a pipe: it is refused.
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if end else os.O_CREAT)
        descriptor = os.open(path, flags, 0o666)
        try:
            _check(descriptor, path, end)
            _write(descriptor, end, record)
            if fsync:
                os.fsync(descriptor)  # a checkpoint that says the record is there must not outlive it
        finally:
            os.close(descriptor)
        if fsync and not end:
            _sync_folder(path)
    except FileWriteError:
        raise
    except OSError as error:
        raise FileWriteError(path, reason_of(error)) from error
    except ValueError as error:  # a zero character
        raise FileWriteError(path, str(error)) from error


def _check(descriptor: int, path: str, end: int) -> None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise FileWriteError(path, "it is no regular file, which could be cut back when a turn is run again")
    if status.st_size < end:
        detail = f"the job has written {end:,} bytes of it, and it has {status.st_size:,}: somebody else changed it"
        raise FileWriteError(path, detail)
    if status.st_size > end:
        os.ftruncate(descriptor, end)


def _write(descriptor: int, at: int, record: bytes) -> None:
    left = memoryview(record)
    while left:
        written = os.pwrite(descriptor, left, at)
        at += written
        left = left[written:]


def _sync_folder(path: str) -> None:
    descriptor = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
