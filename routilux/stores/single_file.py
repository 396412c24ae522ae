"""One file of a user's, outside of any store: written whole or not at all, read if nobody else could have written it.

Owns the steps. The folder may be anybody's, `/tmp` for one: what counts is the file itself.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from routilux.stores.folders import TEMPORARY, check_plain, reading, writing
from routilux.stores.syscalls import FILE_MODE


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file that only this user may read, in the place of the one there: old or new at any moment, and durable.

    Raises:
        StoreWriteError: it could not be written; what was there is as it was.
    """
    write_parts(path, (data,))


def write_parts(path: str | os.PathLike[str], parts: Iterable[bytes]) -> None:
    """As `write_file`, of parts that are made one after another; what making them raises leaves what was there."""
    target = Path(path)
    temporary = target.parent / (TEMPORARY + secrets.token_hex(8))
    with writing(f"the file {str(target)!r}"):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, FILE_MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(target.parent)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Read a file.

    Raises:
        UnsafeStoreError: others could have written it, or it is a link or no plain file.
        StoreReadError: it is not there, or cannot be read.
    """
    target = Path(path)
    with reading(f"the file {str(target)!r}"):
        # A pipe in its place must not hold us up.
        descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            check_plain(os.fstat(file.fileno()), target)
            return file.read()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
