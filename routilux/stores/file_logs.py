"""A log in a file of its own, open for as long as a lease appends to it.

Never knows what is appended, nor where one piece ends: what is whole is what one call appended.

When a file could not be brought to the device nobody can tell what of it is there, and to try again proves nothing: the
system may take the pages for written. So what was not known to be on the device is held in memory, and the next append
writes the log anew: what was on the device, then what was held, into another file that takes the place of the first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Self

from routilux.stores.errors import StoreWriteError
from routilux.stores.folders import Folder, writing
from routilux.stores.syscalls import Syscalls

HELD_BYTES = 4 * 1024 * 1024
"""What is held in memory until it is on the device; more is brought there at once (arbitrary)."""
_CHUNK_BYTES = 1024 * 1024


class FileLog:
    """A log, open for appending.

    Args:
        descriptor: its file; this object closes it.
        name: the file's name in its folder.
        what: what it is called in errors.
        calls: what changes it.
    """

    def __init__(self, descriptor: int, name: str, what: str, calls: Syscalls) -> None:
        self._descriptor = descriptor
        self._name = name
        self._what = what
        self._calls = calls
        self._is_named = False  # a name that was there may not be on the device either
        self._is_torn = False
        self._is_lost = False
        self._good_bytes = os.fstat(descriptor).st_size
        self._held: list[bytes] = []
        self._durable_bytes = self._good_bytes

    @classmethod
    def open(cls, folder: Folder, name: str, what: str, calls: Syscalls) -> Self:
        """Open the file `name`, which is made where it is not there."""
        with contextlib.suppress(FileNotFoundError):
            return cls(folder.open_file(name, os.O_WRONLY | os.O_APPEND), name, what, calls)
        return cls(folder.create(name, os.O_WRONLY | os.O_APPEND), name, what, calls)

    def append(self, data: bytes, folder: Folder, *, durable: bool) -> int:
        """Add `data` with one write, and give the size after it. What was torn or lost before is put right first.

        Raises:
            StoreWriteError: it could not be written, or not all of it, or not brought to the device; it counts as not
                added then, though readers may see it until the next append.
        """
        with writing(self._what):
            if self._is_lost:
                self._write_anew(folder)
            if self._is_torn:
                self._mend()
            self._write(data)
            if durable or self._good_bytes - self._durable_bytes > HELD_BYTES:
                self._sync(folder, len(data))
            else:
                self._held.append(data)
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

    def _sync(self, folder: Folder, added_bytes: int) -> None:
        try:
            self._calls.fsync(self._descriptor)
            if not self._is_named:
                folder.sync()
        except OSError:
            self._is_lost = True
            self._good_bytes -= added_bytes
            raise
        self._is_named = True
        self._durable_bytes = self._good_bytes
        self._held.clear()

    def _write_anew(self, folder: Folder) -> None:
        folder.replace(self._name, self._known_parts(folder))
        descriptor = folder.open_file(self._name, os.O_WRONLY | os.O_APPEND)
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._durable_bytes = self._good_bytes
        self._held.clear()
        self._is_lost = self._is_torn = False
        self._is_named = True

    def _known_parts(self, folder: Folder) -> Iterator[bytes]:
        for offset in range(0, self._durable_bytes, _CHUNK_BYTES):
            yield folder.read(self._name, offset, min(_CHUNK_BYTES, self._durable_bytes - offset))
        yield from self._held
