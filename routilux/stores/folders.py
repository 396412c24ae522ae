"""A folder that only its owner may write, and files in it that are there whole or not at all.

Owns how a file is made, replaced and checked. Never decides what a file is for.

All is done through the folder's descriptor, so nobody can put another folder in its place meanwhile. A file is written
under a temporary name, brought to the device (`fsync`), given its name, and then the name is brought to the device. A
failed `fsync` is never tried again on that file: the system may have forgotten what it did not write, and the second
one would lie ("Can Applications Recover from fsync Failures?", USENIX ATC 2020). A new name is given by `link`, which
refuses one that is taken, where `rename` would write over it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from routilux.stores.errors import StoreError, StoreReadError, StoreWriteError, UnsafeStoreError
from routilux.stores.syscalls import Syscalls

TEMPORARY = ".tmp-"
"""How the names of files begin that are not whole yet; after a crash they are left over."""

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Tell what the system refuses as `StoreWriteError`: the one door for that."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreWriteError(what, error.strerror or str(error)) from error


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Tell what the system refuses as `StoreReadError`: the one door for that."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreReadError(what, error.strerror or str(error)) from error


def check_safe(found: os.stat_result, path: Path) -> None:
    """Raise `UnsafeStoreError` if others than the user this program runs as could have written it."""
    if found.st_uid != os.geteuid():
        raise UnsafeStoreError(f"{str(path)!r} belongs to user {found.st_uid}, and this program runs as {os.geteuid()}")
    if found.st_mode & _OTHERS_WRITE:
        raise UnsafeStoreError(
            f"{str(path)!r} may be written by others (mode {stat.S_IMODE(found.st_mode):04o}): "
            "see that nobody has, then chmod go-w"
        )


def check_plain(found: os.stat_result, path: Path) -> None:
    """Raise `UnsafeStoreError` if it is no plain file, or as `check_safe`."""
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeStoreError(f"{str(path)!r} is a link, or no plain file")
    check_safe(found, path)


class Folder:
    """An open folder. `close` it, or use it in a `with`.

    Args:
        path: where it is, for people.
        descriptor: it, opened; this object closes it.
        calls: what changes it.
    """

    def __init__(self, path: Path, descriptor: int, calls: Syscalls) -> None:
        self.path = path
        self._descriptor = descriptor
        self._calls = calls
        try:
            check_safe(os.fstat(descriptor), path)
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def open(cls, path: Path, calls: Syscalls) -> Self:
        """Open the folder that `path` leads to, through links too: the program has named it.

        Raises:
            FileNotFoundError: it is not there.
            UnsafeStoreError: others may write it.
        """
        return cls(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), calls)

    @classmethod
    def make(cls, path: Path, calls: Syscalls) -> Self:
        """Open the folder, which is made where it is not there."""
        with contextlib.suppress(FileNotFoundError):
            return cls.open(path, calls)
        path.parent.mkdir(parents=True, exist_ok=True)
        above = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with contextlib.suppress(FileExistsError):  # another one was faster
                calls.mkdir(path.name, dir_fd=above)
            calls.fsync(above)
        finally:
            os.close(above)
        return cls.open(path, calls)

    def enter(self, name: str) -> Folder:
        """Open a folder in it. Raises as `open`; a link is unsafe."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno in {errno.ENOTDIR, errno.ELOOP}:  # systems differ in what they say of a link
                raise UnsafeStoreError(f"{str(self.path / name)!r} is no folder, or a link") from error
            raise
        return Folder(self.path / name, descriptor, self._calls)

    def make_folder(self, name: str) -> Folder:
        """Open a folder in it, which is made where it is not there."""
        with contextlib.suppress(FileNotFoundError):
            return self.enter(name)
        with contextlib.suppress(FileExistsError):  # another one was faster
            self._calls.mkdir(name, dir_fd=self._descriptor)
        self.sync()
        return self.enter(name)

    def names(self) -> list[str]:
        """List what is in it, in no order."""
        return os.listdir(self._descriptor)  # noqa: PTH208 -- a path has no descriptors

    def find(self, name: str) -> os.stat_result | None:
        """Tell of a file or folder in it, without following a link; None if it is not there."""
        with contextlib.suppress(FileNotFoundError):
            return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        return None

    def open_file(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Open a plain file in it; the caller closes the descriptor.

        Raises:
            FileNotFoundError: it is not there.
            UnsafeStoreError: others may write it, or it is a link or no plain file.
        """
        path = self.path / name
        try:
            # A pipe in the file's place must not hold us up.
            flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(name, flags, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:
                raise UnsafeStoreError(f"{str(path)!r} is a link, or no plain file") from error
            raise
        try:
            check_plain(os.fstat(descriptor), path)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def read(self, name: str, offset: int = 0, limit: int | None = None) -> bytes:
        """Give what a file holds now, from `offset` on and at most `limit` bytes. Raises as `open_file`."""
        with os.fdopen(self.open_file(name), "rb") as file:
            # Memory is taken for what is there, however much was asked for.
            rest = max(0, os.fstat(file.fileno()).st_size - offset)
            file.seek(offset if rest else 0)
            return file.read(rest if limit is None else min(rest, limit))

    def create(self, name: str, flags: int = os.O_WRONLY) -> int:
        """Make an empty file in it; the caller closes the descriptor. Raises `FileExistsError`."""
        return self._calls.create(name, flags, dir_fd=self._descriptor)

    def put(self, name: str, parts: Iterable[bytes]) -> int:
        """Make a file of `parts`, whole and durable, and give its size. Raises `FileExistsError`, or `OSError`."""
        with self._temporary(parts) as (temporary, size):
            self._calls.link(temporary, name, dir_fd=self._descriptor)
            try:
                self.sync()
            except OSError:
                # It may be gone after a crash, so it must not look kept.
                with contextlib.suppress(OSError):
                    self.remove(name)
                raise
        return size

    def replace(self, name: str, parts: Iterable[bytes]) -> None:
        """Make a file of `parts`, or put it in the place of the one there: durable, and old or new at any moment."""
        with self._temporary(parts) as (temporary, _):
            self._calls.rename(temporary, name, dir_fd=self._descriptor)
            self.sync()

    def remove(self, name: str) -> None:
        """Take a file away; nothing happens if it is not there."""
        with contextlib.suppress(FileNotFoundError):
            self._calls.unlink(name, dir_fd=self._descriptor)

    def remove_folder(self, name: str) -> None:
        """Take an empty folder away; nothing happens if it is not there, or is in use again."""
        try:
            self._calls.rmdir(name, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST}:
                raise

    def sync(self) -> None:
        """Wait until the names in it are on the device."""
        self._calls.fsync(self._descriptor)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @contextlib.contextmanager
    def _temporary(self, parts: Iterable[bytes]) -> Iterator[tuple[str, int]]:
        """Give the name and size of a temporary file of `parts`, which is on the device; then remove what is left."""
        name = TEMPORARY + secrets.token_hex(8)
        size = 0
        descriptor = self.create(name)
        try:
            try:
                for part in parts:
                    size += len(part)
                    self._write(descriptor, part)
                self._calls.fsync(descriptor)
            finally:
                os.close(descriptor)
            yield name, size
        finally:
            with contextlib.suppress(OSError):  # then it is left over, for the next lease to remove
                self.remove(name)

    def _write(self, descriptor: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._calls.write(descriptor, rest) :]
