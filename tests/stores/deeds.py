"""What several tests of stores do."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Any

from routilux.stores import FileStore, MemoryStore, SqliteStore, Store
from routilux.stores.syscalls import Syscalls

VERBS = tuple(name for name in vars(Syscalls) if not name.startswith("_"))
FULL = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.ENOTDIR]


class Watched(Syscalls):
    """System calls that are counted, with something done before and after each."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def before(self, number: int, verb: str) -> None:
        pass

    def after(self, number: int, verb: str) -> None:
        pass

    def __getattribute__(self, name: str) -> Any:
        call = super().__getattribute__(name)
        if name not in VERBS:
            return call

        def watched(*args: Any, **kwargs: Any) -> Any:
            number = len(self.done)
            self.done.append(name)
            self.before(number, name)
            result = call(*args, **kwargs)
            self.after(number, name)
            return result

        return watched


class Failing(Watched):
    """System calls of which one fails, or all from that one on; `at` may be set anew."""

    def __init__(self, at: int = -1, number: int = errno.EIO, *, for_good: bool = False) -> None:
        super().__init__()
        self.at, self.number, self.for_good = at, number, for_good

    def before(self, number: int, verb: str) -> None:
        if number == self.at or (self.for_good and 0 <= self.at < number):
            raise OSError(self.number, os.strerror(self.number))


class Short(Syscalls):
    """Writes of at most `at_most` bytes each."""

    def __init__(self, at_most: int) -> None:
        self.at_most = at_most

    def write(self, descriptor: int, data: memoryview) -> int:
        return os.write(descriptor, data[: self.at_most])


def make_store(kind: str, folder: Path) -> Store:
    """Give a store of a kind: `memory`, `files` or `sqlite`."""
    if kind == "memory":
        return MemoryStore()
    return FileStore(folder / "jobs") if kind == "files" else SqliteStore(folder / "jobs.sqlite")


def reopen(store: Any) -> Store:
    """Give a second store of the same place."""
    if isinstance(store, SqliteStore):
        return SqliteStore(store.path, takeover_seconds=0.05)
    return FileStore(store.root, takeover_seconds=0.05)


def take_over(store: Any, job_id: str) -> None:
    """Count a job's generation up behind its lease's back."""
    if isinstance(store, SqliteStore):
        connection = sqlite3.connect(store.path)
        with connection:
            connection.execute("UPDATE jobs SET generation = generation + 1 WHERE job = ?", (job_id,))
        connection.close()
    else:
        path = store.root / job_id / "generation"
        path.write_text(f"{int(path.read_text()) + 1}\n")


def temporaries(folder: Path) -> list[str]:
    """Give the names of temporary files below a folder."""
    return [path.name for path in folder.rglob(".tmp-*")]
