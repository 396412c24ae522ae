"""A store in a database of PostgreSQL, which several machines share.

Owns what the rows mean of what is kept; `routilux.stores.lease_rows` says who may write it.

    entries   a row an object or log
    chunks    the bytes of one, each piece named by the offset at which it begins

**Written once.** See `routilux.stores.server` for connections that are lost. Here, a lease remembers what it may have
left in a transaction whose end it did not see: the names of objects, which are deleted in its next one, and how far
each of its logs had come for sure, where the next append begins. So what is written again is there once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from routilux.errors import OptionError
from routilux.quantities import is_number
from routilux.stores.base import Lease, ObjectInfo, Owner, checked_name
from routilux.stores.chunks import into_chunks
from routilux.stores.errors import DamagedStoreError, MissingObjectError, ObjectExistsError
from routilux.stores.lease_rows import (
    LEASE_SECONDS,
    TAKEOVER_SECONDS,
    LeaseRows,
    PostgresLease,
    lock_job,
    record_owner,
)
from routilux.stores.leases import checked_lease
from routilux.stores.owners import is_seen_dead
from routilux.stores.server import Server, Transaction
from routilux.stores.urls import read_url

PATIENCE_SECONDS = 10.0
"""How long a server is waited for that was there: it is restarted (arbitrary)."""

_OBJECT, _LOG = 0, 1
_NOW = "extract(epoch FROM clock_timestamp())::float8"

T = TypeVar("T")


class PostgresStore:
    """Jobs in a schema of a database. Any thread may use it; one connection is used, by one thread at a time.

    An append is on the device when it returns, whether it was to be `durable` or not: a server that crashes would else
    lose the end of a log whose writer lives and goes on behind it.

    Args:
        url: the database, as libpq takes it; its schema, and the tables in it, are made when the first job is.
        schema: the schema; default: what the URL's option `schema` says, or `routilux`.
        lease_seconds: how long a job stays taken whose runner is not heard of.
        takeover_seconds: how long to wait for a job whose runner is not seen alive.
        patience_seconds: how long a server is waited for that was there; longer than it takes to be restarted.

    Raises:
        OptionError: something cannot be that.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str | None = None,
        lease_seconds: float = LEASE_SECONDS,
        takeover_seconds: float = TAKEOVER_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        if not (is_number(lease_seconds) and 0 < lease_seconds < float("inf")):
            raise OptionError(f"expected lease_seconds to be a number of seconds above 0, got {lease_seconds!r}")
        self._url = read_url(url, schema)
        self._server = Server(self._url, patience_seconds)
        self._leases = LeaseRows(self._server, lease_seconds, takeover_seconds)

    def __str__(self) -> str:
        return str(self._server)

    def __repr__(self) -> str:
        return f"PostgresStore({self.url!r})"

    @property
    def url(self) -> str:
        """What another program opens the same store by; without a password."""
        return self._url.shown

    def is_there(self) -> bool:
        """Tell whether its tables were made. Raises `StoreReadError`."""
        return self._server.reading(str(self), lambda transaction: transaction is not None)

    def jobs(self) -> list[str]:
        def work(transaction: Transaction | None) -> list[str]:
            found = [] if transaction is None else transaction.rows("SELECT job FROM {jobs} ORDER BY job")
            return [job_id for (job_id,) in found]

        return self._server.reading(str(self), work)

    def acquire(self, job_id: str, owner: Owner, *, create: bool) -> PostgresLease:
        return self._leases.acquire(self, job_id, owner, create=create)

    def owner(self, job_id: str) -> Owner | None:
        held = self._leases.look(job_id)
        return None if held is None or held.owner is None or is_seen_dead(held.owner) else held.owner

    def put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        checked_name(name)
        chunks = list(into_chunks(parts))  # outside the lock: making the parts is the caller's code
        held = checked_lease(lease, PostgresLease, self)

        def work(transaction: Transaction) -> int:
            if _find_entry(transaction, lease.job_id, name) is not None:
                raise ObjectExistsError(lease.job_id, name, str(self))
            held.doubtful.add(name)
            size = sum(map(len, chunks))
            transaction.change(
                f"INSERT INTO {{entries}} VALUES (%s, %s, %s, %s, {_NOW})",  # noqa: S608 -- a constant of this module
                lease.job_id,
                name,
                _OBJECT,
                size,
            )
            _insert_chunks(transaction, lease.job_id, name, 0, chunks)
            return size

        return self._write(held, f"{name!r} of job {lease.job_id!r}", work)

    def get(self, job_id: str, name: str, limit: int | None = None) -> bytes:
        return self._read(job_id, name, _OBJECT, 0, limit)

    def objects(self, job_id: str) -> list[ObjectInfo]:
        return self._list(job_id, _OBJECT)

    def delete(self, lease: Lease, name: str) -> None:
        held = checked_lease(lease, PostgresLease, self)

        def work(transaction: Transaction) -> None:
            held.lengths.pop(name, None)
            _delete(transaction, lease.job_id, name)

        self._write(held, f"{name!r} of job {lease.job_id!r}", work)

    def append(self, lease: Lease, log: str, data: bytes, *, durable: bool) -> int:
        checked_name(log)
        chunks = list(into_chunks([data]))
        held = checked_lease(lease, PostgresLease, self)
        what = f"{log!r} of job {lease.job_id!r}"

        def work(transaction: Transaction) -> int:
            kind, size = _find_entry(transaction, lease.job_id, log) or (_LOG, 0)
            if kind == _OBJECT:
                raise ObjectExistsError(lease.job_id, log, str(self))
            begin = _cut_log(transaction, held, log, size)
            end = begin + sum(map(len, chunks))
            transaction.change(
                f"INSERT INTO {{entries}} VALUES (%s, %s, %s, %s, {_NOW})"  # noqa: S608 -- a constant of this module
                " ON CONFLICT (job, name) DO UPDATE SET size = excluded.size, written_at = excluded.written_at",
                lease.job_id,
                log,
                _LOG,
                end,
            )
            _insert_chunks(transaction, lease.job_id, log, begin, chunks)
            return end

        with self._server.lock:  # what it has come to is noted before the next one
            size = held.lengths[log] = self._write(held, what, work)
        return size

    def read(self, job_id: str, log: str, offset: int = 0, limit: int | None = None) -> bytes:
        return self._read(job_id, log, _LOG, offset, limit)

    def logs(self, job_id: str) -> list[ObjectInfo]:
        return self._list(job_id, _LOG)

    def remove(self, lease: Lease) -> None:
        held = checked_lease(lease, PostgresLease, self)

        def work(transaction: Transaction) -> None:
            found = lock_job(transaction, lease.job_id)
            if found is None and transaction.is_repeated:
                return  # it went with the first try
            held.check_row(found)
            transaction.change("DELETE FROM {jobs} WHERE job = %s", lease.job_id)

        self._server.writing(f"the removal of job {lease.job_id!r}", work)
        self._leases.drop(held)

    def close(self) -> None:
        self._leases.close()
        self._server.close()

    # ---- for its leases

    def check(self, lease: Lease) -> None:
        self._leases.check(checked_lease(lease, PostgresLease, self))

    def announce(self, lease: Lease, owner: Owner) -> None:
        held = checked_lease(lease, PostgresLease, self)
        self._write(held, f"the owner of job {lease.job_id!r}", lambda t: record_owner(t, held, owner))

    def release(self, lease: Lease) -> None:
        self._leases.release(checked_lease(lease, PostgresLease, self))

    # ---- writing

    def _write(self, lease: PostgresLease, what: str, work: Callable[[Transaction], T]) -> T:
        """Write while `lease` is in force."""

        def checked(transaction: Transaction) -> T:
            lease.check_row(lock_job(transaction, lease.job_id))
            for name in lease.doubtful:
                _delete(transaction, lease.job_id, name)
            return work(transaction)

        with self._server.lock:
            result = self._server.writing(what, checked)
            lease.doubtful.clear()
        return result

    # ---- looking

    def _read(self, job_id: str, name: str, kind: int, offset: int, limit: int | None) -> bytes:
        checked_name(name)

        def work(found: Transaction | None) -> bytes:
            transaction = self._leases.check_job(found, job_id)
            entry = _find_entry(transaction, job_id, name)
            if entry is None or entry[0] != kind:
                raise MissingObjectError(job_id, name, str(self))
            size = entry[1]
            end = size if limit is None else min(size, offset + limit)
            if offset >= end:
                return b""
            rows = transaction.rows(
                "SELECT substring(data FROM greatest(0, %s - start)::int + 1 FOR (%s - greatest(%s, start))::int)"
                " FROM {chunks} WHERE job = %s AND name = %s AND start < %s AND start >="
                " (SELECT max(start) FROM {chunks} WHERE job = %s AND name = %s AND start <= %s) ORDER BY start",
                *(offset, end, offset, job_id, name, end, job_id, name, offset),
            )
            return b"".join(data for (data,) in rows)

        return self._server.reading(f"{name!r} of job {job_id!r}", work)

    def _list(self, job_id: str, kind: int) -> list[ObjectInfo]:
        def work(found: Transaction | None) -> list[ObjectInfo]:
            transaction = self._leases.check_job(found, job_id)
            rows = transaction.rows(
                "SELECT name, size, written_at FROM {entries} WHERE job = %s AND kind = %s ORDER BY name", job_id, kind
            )
            return [ObjectInfo(*row) for row in rows]

        return self._server.reading(f"job {job_id!r}", work)


def _find_entry(transaction: Transaction, job_id: str, name: str) -> tuple[int, int] | None:
    """Give the kind and the size of an object or log; None where there is none."""
    row = transaction.row("SELECT kind, size FROM {entries} WHERE job = %s AND name = %s", job_id, name)
    return None if row is None else (int(row[0]), int(row[1]))


def _cut_log(transaction: Transaction, lease: PostgresLease, log: str, size: int) -> int:
    """Let go of a log of that size what counts as not added; gives its size then."""
    known = lease.lengths.setdefault(log, size)
    if size < known:
        raise DamagedStoreError(
            f"the server has lost the end of {log!r} of job {lease.job_id!r}, which it had kept: of {known} bytes "
            f"{size} are left, as after a failover to a copy that was behind"
        )
    transaction.change("DELETE FROM {chunks} WHERE job = %s AND name = %s AND start >= %s", lease.job_id, log, known)
    return known


def _insert_chunks(transaction: Transaction, job_id: str, name: str, start: int, chunks: list[bytes]) -> None:
    for chunk in chunks:
        transaction.change("INSERT INTO {chunks} VALUES (%s, %s, %s, %s)", job_id, name, start, chunk)
        start += len(chunk)


def _delete(transaction: Transaction, job_id: str, name: str) -> None:
    transaction.change("DELETE FROM {entries} WHERE job = %s AND name = %s", job_id, name)
