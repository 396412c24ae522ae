"""A store in one SQLite database.

Owns what the rows mean. An object or a log is a row of `entries`, and its bytes are rows of `chunks`, each named by the
offset at which it begins: an object may be larger than a value of SQLite, which ends at 10^9 bytes, and a log grows by
rows.

    <path>                  the database
    <path>-locks/           a lock file for each job: who has it locked runs the job

Who writes does so in a transaction that begins with a look at the job's generation.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from routilux.stores.base import Lease, ObjectInfo, Owner, checked_job_id, checked_name
from routilux.stores.chunks import into_chunks
from routilux.stores.claims import TAKEOVER_SECONDS, ClaimedLease, is_claimed, take_claim
from routilux.stores.database import Database
from routilux.stores.errors import FencedError, JobOwnedError, MissingObjectError, ObjectExistsError, StoreError
from routilux.stores.folders import Folder, reading, writing
from routilux.stores.leases import checked_generation, checked_lease
from routilux.stores.owners import decode_owner, encode_owner
from routilux.stores.syscalls import Syscalls

_OBJECT, _LOG = 0, 1


class SqliteStore:
    """Jobs in one database. Any thread may use it.

    An append is on the device when it returns, whether it was to be `durable` or not.

    Args:
        path: the database; it is made, and the folders above it, when the first job is.
        takeover_seconds: how long to wait for a job whose runner has ended, while workers of it still live.
        factory: the class of the connection.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        takeover_seconds: float = TAKEOVER_SECONDS,
        factory: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        self.path = Path(path).absolute()
        self._takeover_seconds = takeover_seconds
        # Its lock guards the leases too.
        self._database = Database(self.path, factory)
        self._leases: set[ClaimedLease] = set()

    def __str__(self) -> str:
        return str(self._database)

    def jobs(self) -> list[str]:
        with self._database.reading(str(self)) as connection:
            return (
                [] if connection is None else [row[0] for row in connection.execute("SELECT job FROM jobs ORDER BY 1")]
            )

    def acquire(self, job_id: str, owner: Owner, *, create: bool) -> ClaimedLease:
        checked_job_id(job_id)
        what = f"job {job_id!r} in {self}"
        if create:
            self._database.make(what)
        self._check_there(job_id, what, create=create)
        with writing(what), self._open_locks() as folder:
            try:
                claim = take_claim(
                    folder, _lock_file(job_id), job_id, lambda: self._recorded(job_id, what), self._takeover_seconds
                )
            except JobOwnedError:
                self._check_there(job_id, what, create=create)
                raise
        try:
            with self._database.writing(what) as connection:
                current = self._generation(connection, job_id, create=create)
                lease = ClaimedLease(self, job_id, current + 1, claim)
                connection.execute(
                    "INSERT INTO jobs VALUES (?, ?, ?) ON CONFLICT (job) DO UPDATE"
                    " SET generation = excluded.generation, owner = excluded.owner",
                    (job_id, lease.generation, encode_owner(owner)),
                )
        except BaseException:
            claim.release()
            raise
        with self._database.lock:
            self._leases.add(lease)
        return lease

    def owner(self, job_id: str) -> Owner | None:
        what = f"the owner of job {job_id!r}"
        with self._database.reading(what) as connection:
            self._generation(connection, job_id, create=False)
        with reading(what), contextlib.suppress(FileNotFoundError), Folder.open(self._locks, Syscalls()) as folder:
            if is_claimed(folder, _lock_file(job_id)):
                return self._recorded(job_id, what)
        return None

    def put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        checked_name(name)
        chunks = list(into_chunks(parts))  # outside the lock: making the parts is the caller's code
        with self._leased(lease, f"{name!r} of job {lease.job_id!r}") as connection:
            if _find_entry(connection, lease.job_id, name) is not None:
                raise ObjectExistsError(lease.job_id, name, str(self))
            size = 0
            for chunk in chunks:
                _insert_chunk(connection, lease.job_id, name, size, chunk)
                size += len(chunk)
            connection.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?)", (lease.job_id, name, _OBJECT, size, time.time())
            )
        return size

    def get(self, job_id: str, name: str, limit: int | None = None) -> bytes:
        return self._read(job_id, name, _OBJECT, 0, limit)

    def objects(self, job_id: str) -> list[ObjectInfo]:
        return self._list(job_id, _OBJECT)

    def delete(self, lease: Lease, name: str) -> None:
        with self._leased(lease, f"{name!r} of job {lease.job_id!r}") as connection:
            for table in ("chunks", "entries"):
                connection.execute(f"DELETE FROM {table} WHERE job = ? AND name = ?", (lease.job_id, name))  # noqa: S608 -- one of two words

    def append(self, lease: Lease, log: str, data: bytes, *, durable: bool) -> int:
        checked_name(log)
        with self._leased(lease, f"{log!r} of job {lease.job_id!r}") as connection:
            kind, size = _find_entry(connection, lease.job_id, log) or (_LOG, 0)
            if kind == _OBJECT:
                raise ObjectExistsError(lease.job_id, log, str(self))
            for chunk in into_chunks([data]):
                _insert_chunk(connection, lease.job_id, log, size, chunk)
                size += len(chunk)
            connection.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (job, name) DO UPDATE SET size = excluded.size, written_at = excluded.written_at",
                (lease.job_id, log, _LOG, size, time.time()),
            )
        return size

    def read(self, job_id: str, log: str, offset: int = 0, limit: int | None = None) -> bytes:
        return self._read(job_id, log, _LOG, offset, limit)

    def logs(self, job_id: str) -> list[ObjectInfo]:
        return self._list(job_id, _LOG)

    def remove(self, lease: Lease) -> None:
        held = checked_lease(lease, ClaimedLease, self)
        what = f"the removal of job {lease.job_id!r}"
        with self._database.lock:
            with self._leased(lease, what) as connection:
                for statement in (
                    "DELETE FROM chunks WHERE job = ?",
                    "DELETE FROM entries WHERE job = ?",
                    "DELETE FROM jobs WHERE job = ?",
                ):
                    connection.execute(statement, (lease.job_id,))
            with writing(what), contextlib.ExitStack() as stack:
                stack.callback(self._drop_held, held)
                stack.enter_context(Folder.open(self._locks, Syscalls())).remove(_lock_file(lease.job_id))

    def close(self) -> None:
        with self._database.lock:
            for lease in list(self._leases):
                self.release(lease)
            self._database.close()

    # ---- for its leases

    def check(self, lease: Lease) -> None:
        held = checked_lease(lease, ClaimedLease, self)
        with self._database.reading(f"job {lease.job_id!r}") as connection:
            _check_found(held, connection)

    def announce(self, lease: Lease, owner: Owner) -> None:
        with self._leased(lease, f"the owner of job {lease.job_id!r}") as connection:
            connection.execute("UPDATE jobs SET owner = ? WHERE job = ?", (encode_owner(owner), lease.job_id))

    def release(self, lease: Lease) -> None:
        held = checked_lease(lease, ClaimedLease, self)
        with self._database.lock:
            if held.claim is None:
                return
            # A record that stays says nothing once the lock is free.
            with (
                contextlib.suppress(StoreError),
                self._leased(lease, f"the owner of job {lease.job_id!r}") as connection,
            ):
                connection.execute("UPDATE jobs SET owner = NULL WHERE job = ?", (lease.job_id,))
            self._drop_held(held)

    def _drop_held(self, lease: ClaimedLease) -> None:
        lease.release_claim()
        self._leases.discard(lease)

    @contextlib.contextmanager
    def _leased(self, lease: Lease, what: str) -> Iterator[sqlite3.Connection]:
        """Give the connection for a transaction of `lease`, while it is in force."""
        held = checked_lease(lease, ClaimedLease, self)
        if not self._database.is_there(what):
            raise FencedError(lease.job_id, lease.generation, None)
        with self._database.writing(what) as connection:
            _check_found(held, connection)
            yield connection

    # ---- looking

    @property
    def _locks(self) -> Path:
        return self.path.with_name(self.path.name + "-locks")

    def _open_locks(self) -> Folder:
        with Folder.open(self.path.parent, Syscalls()) as above:
            return above.make_folder(self._locks.name)

    def _check_there(self, job_id: str, what: str, *, create: bool) -> None:
        with self._database.reading(what) as connection:
            self._generation(connection, job_id, create=create)

    def _generation(self, connection: sqlite3.Connection | None, job_id: str, *, create: bool) -> int:
        """Give the generation of a job, 0 for one to be made. Raises as `acquire`."""
        checked_job_id(job_id)
        return checked_generation(_read_generation(connection, job_id), job_id, self, create=create)

    def _recorded(self, job_id: str, what: str) -> Owner | None:
        with self._database.reading(what) as connection:
            if connection is None:
                return None
            row = connection.execute("SELECT owner FROM jobs WHERE job = ?", (job_id,)).fetchone()
            return None if row is None or row[0] is None else decode_owner(row[0])

    def _read(self, job_id: str, name: str, kind: int, offset: int, limit: int | None) -> bytes:
        checked_name(name)
        with self._database.reading(f"{name!r} of job {job_id!r}") as connection:
            self._generation(connection, job_id, create=False)
            found = None if connection is None else _find_entry(connection, job_id, name)
            if connection is None or found is None or found[0] != kind:
                raise MissingObjectError(job_id, name, str(self))
            size = found[1]
            end = size if limit is None else min(size, offset + limit)
            rows = connection.execute(
                "SELECT start, data FROM chunks WHERE job = ? AND name = ? AND start < ? AND start >="
                " (SELECT max(start) FROM chunks WHERE job = ? AND name = ? AND start <= ?) ORDER BY start",
                (job_id, name, end, job_id, name, offset),
            )
            return b"".join(data[max(0, offset - start) : end - start] for start, data in rows)

    def _list(self, job_id: str, kind: int) -> list[ObjectInfo]:
        with self._database.reading(f"job {job_id!r}") as connection:
            self._generation(connection, job_id, create=False)
            if connection is None:
                return []
            return [
                ObjectInfo(*row)
                for row in connection.execute(
                    "SELECT name, size, written_at FROM entries WHERE job = ? AND kind = ? ORDER BY name",
                    (job_id, kind),
                )
            ]


def _check_found(lease: ClaimedLease, connection: sqlite3.Connection | None) -> None:
    """Raise `FencedError` if `lease` is not in force."""
    is_ours = lease.claim is not None and not lease.claim.is_copied
    lease.check_found(_read_generation(connection, lease.job_id), is_ours=is_ours)


def _read_generation(connection: sqlite3.Connection | None, job_id: str) -> int | None:
    if connection is None:
        return None
    row = connection.execute("SELECT generation FROM jobs WHERE job = ?", (job_id,)).fetchone()
    return None if row is None else int(row[0])


def _find_entry(connection: sqlite3.Connection, job_id: str, name: str) -> tuple[int, int] | None:
    """Give the kind and the size of an object or log; None where there is none."""
    row = connection.execute("SELECT kind, size FROM entries WHERE job = ? AND name = ?", (job_id, name)).fetchone()
    return None if row is None else (int(row[0]), int(row[1]))


def _insert_chunk(connection: sqlite3.Connection, job_id: str, name: str, start: int, data: bytes | memoryview) -> None:
    connection.execute("INSERT INTO chunks VALUES (?, ?, ?, ?)", (job_id, name, start, data))


def _lock_file(job_id: str) -> str:
    return f"{job_id}.lock"
