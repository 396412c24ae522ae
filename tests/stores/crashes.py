"""A program that is killed at every system call, and at every statement, of what stores do.

`python -m tests.stores.crashes FOLDER` makes a copy of a prepared store for each point, forks, and has the copy of
itself kill itself there. Prints a line of JSON for each point: its folder, the deed, and where it was killed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from routilux.stores import FileStore, Lease, SqliteStore, Store, this_process
from tests.stores.deeds import Watched

OLD, NEW = b"old" * 1000, b"new" * 1000
LOG, MORE = b"a log, ", b"and more"


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Killing(Watched):
    """System calls of which one is the last."""

    at, moment = -1, ""

    def arm(self, at: int, moment: str) -> None:
        """Die `moment` the call number `at` from now on."""
        self.at, self.moment, self.done = at, moment, []

    def write(self, descriptor: int, data: memoryview) -> int:
        if self.moment == "amid" and len(self.done) - 1 == self.at:
            os.write(descriptor, data[: len(data) // 2])
            _die()
        return os.write(descriptor, data)

    def before(self, number: int, verb: str) -> None:
        if number == self.at and self.moment == "before":
            _die()

    def after(self, number: int, verb: str) -> None:
        if number == self.at and self.moment == "after":
            _die()


class KillingConnection(sqlite3.Connection):
    """A connection of which one statement is the last."""

    at, moment, done = -1, "", 0

    @classmethod
    def arm(cls, at: int, moment: str) -> None:
        """Die `moment` the statement number `at` from now on."""
        cls.at, cls.moment, cls.done = at, moment, 0

    def execute(self, *args: Any) -> Any:
        number, kind = KillingConnection.done, type(self)
        kind.done += 1
        if number == kind.at and kind.moment == "before":
            _die()
        result = super().execute(*args)
        if number == kind.at and kind.moment == "after":
            _die()
        return result


def prepare(store: Store) -> Store:
    """Put into an empty store what every deed finds there."""
    lease = store.acquire("job", this_process(), create=True)
    store.put(lease, "old", [OLD])
    store.append(lease, "log", LOG, durable=True)
    store.close()
    return store


def _acquire(store: Store) -> Lease:
    return store.acquire("job", this_process(), create=False)


DEEDS: dict[str, Callable[[Store, Lease], object]] = {
    "put": lambda store, lease: store.put(lease, "new", [NEW[:1500], NEW[1500:]]),
    "append": lambda store, lease: store.append(lease, "log", MORE, durable=True),
    "begin": lambda store, lease: store.append(lease, "another", MORE, durable=True),
    "delete": lambda store, lease: store.delete(lease, "old"),
    "remove": lambda store, lease: store.remove(lease),
}
"""What is done with a lease. Beside these: `acquire` the job, and `create` another one."""


def _do(deed: str, store: Store, arm: Callable[[], None]) -> None:
    if deed in DEEDS:
        lease = _acquire(store)
        arm()
        DEEDS[deed](store, lease)
    else:
        arm()
        store.acquire("job" if deed == "acquire" else "made", this_process(), create=deed == "create")


def _is_killed(deed: str, store: Store, arm: Callable[[], None]) -> bool:
    pid = os.fork()  # noqa: TID251 -- this program has one thread
    if pid == 0:
        try:
            _do(deed, store, arm)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def _points(folder: Path, kind: str, deed: str) -> Iterator[dict[str, str]]:
    """Kill a deed before each call, amid each write, and after the last call: after another is before the next."""
    for at in range(1000):
        point = _try(folder, kind, deed, at, "before")
        if point is None:
            yield from filter(None, [_try(folder, kind, deed, at - 1, "after")])
            return
        yield point
        if kind == "files":
            yield from filter(None, [_try(folder, kind, deed, at, "amid")])


def _try(folder: Path, kind: str, deed: str, at: int, moment: str) -> dict[str, str] | None:
    copy = folder / f"{kind}-{deed}-{at:02}-{moment}"
    shutil.copytree(folder / f"{kind}-template", copy)
    is_killed = _is_killed(deed, *_make(kind, copy, at, moment))
    return {"kind": kind, "deed": deed, "at": f"{moment} call {at}", "folder": str(copy)} if is_killed else None


def _make(kind: str, folder: Path, at: int, moment: str) -> tuple[Store, Callable[[], None]]:
    if kind == "files":
        calls = Killing()
        return FileStore(folder / "jobs", calls=calls), lambda: calls.arm(at, moment)
    store = SqliteStore(folder / "jobs.sqlite", factory=KillingConnection)
    return store, lambda: KillingConnection.arm(at, moment)


def main() -> None:
    """Kill every deed of both stores at every point."""
    folder = Path(sys.argv[1])
    prepare(FileStore(folder / "files-template" / "jobs"))
    (folder / "sqlite-template").mkdir()
    prepare(SqliteStore(folder / "sqlite-template" / "jobs.sqlite"))
    for kind in ("files", "sqlite"):
        for deed in [*DEEDS, "acquire", "create"]:
            for point in _points(folder, kind, deed):
                sys.stdout.write(json.dumps(point) + "\n")


if __name__ == "__main__":
    main()
