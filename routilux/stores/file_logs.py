"""A log in a file of its own, open for as long as a lease appends to it.

Never knows what is appended, nor where one piece ends: what is whole is what one call appended.
"""

from __future__ import annotations

import contextlib
import os
from typing import Self

from routilux.stores.errors import StoreWriteError
from routilux.stores.folders import Folder, writing
from routilux.stores.syscalls import Syscalls


class FileLog:
    """A log, open for appending.

    Args:
        descriptor: its file; this object closes it.
        what: what it is called in errors.
        calls: what changes it.
    """

    def __init__(self, descriptor: int, what: str, calls: Syscalls) -> None:
        self._descriptor = descriptor
        self._what = what
        self._calls = calls
        self._is_named = False  # a name that was there may not be on the device either
        self._is_torn = False
        self._is_lost = False
        self._good_bytes = os.fstat(descriptor).st_size

    @classmethod
    def open(cls, folder: Folder, name: str, what: str, calls: Syscalls) -> Self:
        """Open the file `name`, which is made where it is not there."""
        with contextlib.suppress(FileNotFoundError):
            return cls(folder.open_file(name, os.O_WRONLY | os.O_APPEND), what, calls)
        return cls(folder.create(name, os.O_WRONLY | os.O_APPEND), what, calls)

    def append(self, data: bytes, folder: Folder, *, durable: bool) -> int:
        """Add `data` with one write, and give the size after it. What was torn before is cut off first.

        Raises:
            StoreWriteError: it could not be written, or not all of it, or not brought to the device; after the last
                of these the log takes nothing more, since nobody can tell what of it is on the device.
        """
        if self._is_lost:
            raise StoreWriteError(self._what, "an earlier part of it may be lost: begin another log")
        with writing(self._what):
            if self._is_torn:
                self._mend()
            self._write(data)
            if durable:
                self._sync(folder)
        return self._good_bytes

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _write(self, data: bytes) -> None:
        self._is_torn = True
        try:
            written = self._calls.write(self._descriptor, memoryview(data))
            if written < len(data):
                raise StoreWriteError(self._what, f"the system took {written} of {len(data)} bytes")
        except OSError:
            with contextlib.suppress(OSError):  # the next append tries again
                self._mend()
            raise
        self._good_bytes += len(data)
        self._is_torn = False

    def _mend(self) -> None:
        self._calls.truncate(self._descriptor, self._good_bytes)
        self._is_torn = False

    def _sync(self, folder: Folder) -> None:
        try:
            self._calls.fsync(self._descriptor)
            if not self._is_named:
                folder.sync()
        except OSError:
            self._is_lost = True
            raise
        self._is_named = True
