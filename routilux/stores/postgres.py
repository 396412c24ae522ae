"""A store in a database of PostgreSQL, which several machines share.

Owns what the rows mean, and who has a job.

    jobs      a row a job: its generation, and the token of the lease that is in force
    leases    a row a job that somebody has: the owner, and when the lease ends
    entries   a row an object or log
    chunks    the bytes of one, each piece named by the offset at which it begins

**Who may write.** A transaction that writes begins by locking the job's row, and sees there whether its lease is in
force: by the generation, and by a token that was drawn for this lease, for a job may have been removed and made anew.
So all that is written of one job follows one after another, whoever writes; and a runner that another has taken over
from, and that only now comes out of a pause or back to the network, writes nothing more (`FencedError`).

**Who has a job.** A lease ends after `lease_seconds`, by the server's clock and never by a machine's, unless one thread
of the store renews it. An end alone takes nothing from the runner: it goes on, and renews it late, if nobody has taken
the job over. That a lease is renewed is the sign that its owner lives, and so it is waited for before `JobOwnedError`
where the owner is not seen on this machine. A connection that is lost is no sign of anything: not of death, for the
server may be restarted or the network between have failed; nor is one that is there a sign of life, for a machine that
is gone takes no leave. So the end of the lease decides, with one exception: where the owner was a process of this very
machine that is gone, there is no doubt, and only its workers are waited for, which end soon after it.

**Written once.** See `routilux.stores.server` for connections that are lost. Here, a lease remembers what it may have
left in a transaction whose end it did not see: the names of objects, which are deleted in its next one, and how far
each of its logs had come for sure, where the next append begins. So what is written again is there once.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeVar

from routilux.errors import OptionError
from routilux.quantities import is_number
from routilux.stores.base import HeldLease, Lease, ObjectInfo, Owner, checked_job_id, checked_name
from routilux.stores.chunks import into_chunks
from routilux.stores.claims import TAKEOVER_SECONDS as WORKERS_SECONDS
from routilux.stores.errors import (
    DamagedStoreError,
    FencedError,
    JobExistsError,
    JobOwnedError,
    MissingObjectError,
    ObjectExistsError,
    StoreError,
    UnknownJobError,
)
from routilux.stores.owners import decode_owner, encode_owner, is_seen_alive, is_seen_dead
from routilux.stores.renewing import Renewer
from routilux.stores.server import SILENCE_SECONDS, Server, Transaction
from routilux.stores.urls import read_url
from supervisors.report import reporter

LEASE_SECONDS = 30.0
"""How long a lease lasts that is not renewed (arbitrary): longer than a network or a server is gone for in passing."""
TAKEOVER_SECONDS = 60.0
"""How long a job is waited for whose owner is not seen alive (arbitrary, longer than a lease lasts)."""
PATIENCE_SECONDS = 10.0
"""How long a server is waited for that was there: it is restarted (arbitrary)."""
RENEWALS = 5
"""So often a lease is renewed while it lasts: one or two that fail do no harm (arbitrary)."""

_OBJECT, _LOG = 0, 1
_LONGEST_PAUSE = 0.5
_NOW = "extract(epoch FROM clock_timestamp())::float8"

T = TypeVar("T")
_log = reporter("routilux")


class _Held(NamedTuple):
    """The lease that is in force for a job.

    Args:
        token: which one it is.
        owner: who has it; None where the record cannot be read.
        renewals: how often it was renewed.
        seconds: how long it lasts.
    """

    token: bytes
    owner: Owner | None
    renewals: int
    seconds: float


class PostgresLease(HeldLease):
    """A job of a `PostgresStore`, taken.

    Args:
        store: the store.
        job_id: the job.
        generation: this runner's.
        token: by which it is known in the database.
    """

    def __init__(self, store: PostgresStore, job_id: str, generation: int, token: bytes) -> None:
        super().__init__(job_id, generation)
        self.store = store
        self.token = token
        self.doubtful: set[str] = set()
        """Objects that may be there though they count as not written."""
        self.lengths: dict[str, int] = {}
        """How long the logs are for sure."""
        self._pid = os.getpid()

    @property
    def is_copied(self) -> bool:
        """True in a forked copy of the program: the lease is still its parent's, and gives no right to write."""
        return os.getpid() != self._pid

    def check(self) -> None:
        self.store.check(self)

    def announce(self, owner: Owner) -> None:
        self.store.announce(self, owner)

    def fileno(self) -> int | None:
        """Give None: there is no descriptor. Workers of a killed runner end soon after it, and before its lease."""
        return None

    def release(self) -> None:
        self.store.release(self)


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
        self._lease_seconds = lease_seconds
        self._takeover_seconds = takeover_seconds
        self._server = Server(self._url, patience_seconds)
        self._lock = threading.Lock()  # guards what follows
        self._leases: set[PostgresLease] = set()
        self._renewer: Renewer | None = None

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
        checked_job_id(job_id)
        what, token = f"job {job_id!r} in {self}", secrets.token_bytes(16)
        if create:
            self._server.make(what)
            generation: int | None = self._server.writing(what, partial(self._make_job, job_id, token, owner))
        else:
            generation = None
        while generation is None:
            # Looked at first without a lock: a write of the owner may take long.
            free = self._wait_free(job_id)
            generation = self._server.writing(what, partial(self._take, job_id, token, owner, free))
        lease = PostgresLease(self, job_id, generation, token)
        self._hold(lease)
        return lease

    def owner(self, job_id: str) -> Owner | None:
        held = self._look(job_id)
        return None if held is None or held.owner is None or is_seen_dead(held.owner) else held.owner

    def put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        checked_name(name)
        chunks = list(into_chunks(parts))  # outside the lock: making the parts is the caller's code
        held = self._own(lease)

        def work(transaction: Transaction) -> int:
            if _kind(transaction, lease.job_id, name) is not None:
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
        held = self._own(lease)

        def work(transaction: Transaction) -> None:
            held.lengths.pop(name, None)
            _delete(transaction, lease.job_id, name)

        self._write(held, f"{name!r} of job {lease.job_id!r}", work)

    def append(self, lease: Lease, log: str, data: bytes, *, durable: bool) -> int:
        checked_name(log)
        chunks = list(into_chunks([data]))
        held = self._own(lease)
        what = f"{log!r} of job {lease.job_id!r}"

        def work(transaction: Transaction) -> int:
            if _kind(transaction, lease.job_id, log) == _OBJECT:
                raise ObjectExistsError(lease.job_id, log, str(self))
            begin = self._cut_log(transaction, held, log)
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
        held = self._own(lease)

        def work(transaction: Transaction) -> None:
            found = _lock_job(transaction, lease.job_id)
            if found is None and transaction.is_repeated:
                return  # it went with the first try
            _check(held, found)
            transaction.change("DELETE FROM {jobs} WHERE job = %s", lease.job_id)

        self._server.writing(f"the removal of job {lease.job_id!r}", work)
        self._drop(held)

    def close(self) -> None:
        with self._lock:
            leases = list(self._leases)
        for lease in leases:
            self.release(lease)
        self._server.close()

    # ---- for its leases

    def check(self, lease: PostgresLease) -> None:
        """Raise `FencedError` if `lease` is not in force."""

        def work(transaction: Transaction | None) -> None:
            row = None
            if transaction is not None:
                row = transaction.row("SELECT generation, token FROM {jobs} WHERE job = %s", lease.job_id)
            _check(lease, row)

        self._server.reading(f"job {lease.job_id!r}", work)

    def announce(self, lease: PostgresLease, owner: Owner) -> None:
        """Change the owner of record."""

        def work(transaction: Transaction) -> None:
            transaction.change(
                "UPDATE {leases} SET owner = %s WHERE token = %s",
                encode_owner(owner),
                lease.token,
            )

        self._write(lease, f"the owner of job {lease.job_id!r}", work)

    def release(self, lease: PostgresLease) -> None:
        """Give the job back, if `lease` still has it; where the server is gone, the lease runs out."""
        with self._lock:
            is_held = lease in self._leases
        if not is_held:
            return
        if not lease.is_copied:
            with contextlib.suppress(StoreError):
                self._server.writing(f"the end of the lease of job {lease.job_id!r}", lambda t: _give_back(t, lease))
        self._drop(lease)

    def _hold(self, lease: PostgresLease) -> None:
        with self._lock:
            self._leases.add(lease)
            if self._renewer is None:
                # Its own: a large write takes the other for long. One that says nothing is given up before the lease.
                server = Server(self._url, 0.0, min(SILENCE_SECONDS, self._lease_seconds / 3))
                self._renewer = Renewer(
                    lambda: self._renew(server), server.close, self._lease_seconds / RENEWALS, str(self)
                )

    def _drop(self, lease: PostgresLease) -> None:
        renewer = None
        with self._lock:
            self._leases.discard(lease)
            if not self._leases:
                renewer, self._renewer = self._renewer, None
        if renewer is not None and not lease.is_copied:  # the copy has not got the thread
            renewer.close()

    def _renew(self, server: Server) -> None:
        with self._lock:
            tokens = [lease.token for lease in self._leases]
        server.writing(
            f"leases in {self}",
            lambda t: t.change(
                "UPDATE {leases} SET renewals = renewals + 1,"
                " expires_at = clock_timestamp() + %s * interval '1 second' WHERE token = ANY(%s)",
                self._lease_seconds,
                tokens,
            ),
        )

    # ---- taking

    def _make_job(self, job_id: str, token: bytes, owner: Owner, transaction: Transaction) -> int:
        made = transaction.change("INSERT INTO {jobs} VALUES (%s, 1, %s) ON CONFLICT DO NOTHING", job_id, token)
        if not made and _lock_job(transaction, job_id) != (1, token):  # else it was made by the first try
            raise JobExistsError(job_id, str(self))
        self._insert_lease(transaction, job_id, token, owner)
        return 1

    def _take(
        self, job_id: str, token: bytes, owner: Owner, free: _Held | None, transaction: Transaction
    ) -> int | None:
        """Take a job that is free, or that `free` has, as it was seen last; None where another one was faster."""
        found = _lock_job(transaction, job_id)
        if found is None:
            raise UnknownJobError(job_id, str(self))
        generation = int(found[0])
        if found[1] == token:  # by the first try
            return generation
        held = _find_held(transaction, job_id)
        if held is not None and (free is None or held[:3] != free[:3]):
            return None
        transaction.change(
            "UPDATE {jobs} SET generation = %s, token = %s WHERE job = %s", generation + 1, token, job_id
        )
        self._insert_lease(transaction, job_id, token, owner)
        return generation + 1

    def _insert_lease(self, transaction: Transaction, job_id: str, token: bytes, owner: Owner) -> None:
        transaction.change("DELETE FROM {leases} WHERE job = %s", job_id)
        transaction.change(
            "INSERT INTO {leases} VALUES (%s, %s, %s, 0, clock_timestamp() + %s * interval '1 second')",
            job_id,
            token,
            encode_owner(owner),
            self._lease_seconds,
        )

    def _wait_free(self, job_id: str) -> _Held | None:
        """Wait until a job can be taken; gives the lease it may be taken from though that has not ended.

        Raises:
            JobOwnedError: its owner lives, or cannot be told dead in time.
            UnknownJobError: there is no such job.
        """
        began = 0.0
        first: _Held | None = None
        while (held := self._look(job_id)) is not None:
            owner, now = held.owner, time.monotonic()
            began = now if first is None else began  # the server may have been connected to before
            waited = now - began
            if (owner is not None and is_seen_alive(owner)) or (first is not None and first[:3] != held[:3]):
                raise JobOwnedError(job_id, owner)
            if owner is not None and is_seen_dead(owner) and waited >= WORKERS_SECONDS:
                return held
            left = self._takeover_seconds - waited
            if left <= 0:
                raise JobOwnedError(job_id, owner, is_alive=False, lease_seconds=held.seconds)
            if first is None:
                first = held
                _log.warning(
                    "job %r is held by %s: its lease ends in %.0f s unless it is renewed, and is waited for",
                    job_id,
                    owner or "somebody",
                    held.seconds,
                )
            # For the end of a lease there is no event to wait for.
            threading.Event().wait(min(_LONGEST_PAUSE, left))
        return None

    def _look(self, job_id: str) -> _Held | None:
        """Give the lease of a job; None where it has none that is in force. Raises `UnknownJobError`."""

        def work(transaction: Transaction | None) -> _Held | None:
            self._check_job(transaction, job_id)
            return None if transaction is None else _find_held(transaction, job_id)

        return self._server.reading(f"the owner of job {job_id!r}", work)

    # ---- writing

    def _own(self, lease: Lease) -> PostgresLease:
        if isinstance(lease, PostgresLease) and lease.store is self:
            return lease
        raise ValueError(f"the lease of job {lease.job_id!r} was not given by {self}")

    def _write(self, lease: PostgresLease, what: str, work: Callable[[Transaction], T]) -> T:
        """Write while `lease` is in force."""

        def checked(transaction: Transaction) -> T:
            _check(lease, _lock_job(transaction, lease.job_id))
            for name in lease.doubtful:
                _delete(transaction, lease.job_id, name)
            return work(transaction)

        with self._server.lock:
            result = self._server.writing(what, checked)
            lease.doubtful.clear()
        return result

    def _cut_log(self, transaction: Transaction, lease: PostgresLease, log: str) -> int:
        """Let go of a log what counts as not added; gives its size then."""
        row = transaction.row("SELECT size FROM {entries} WHERE job = %s AND name = %s", lease.job_id, log)
        size = 0 if row is None else int(row[0])
        known = lease.lengths.setdefault(log, size)
        if size < known:
            raise DamagedStoreError(
                f"the server has lost the end of {log!r} of job {lease.job_id!r}, which it had kept: of {known} bytes "
                f"{size} are left, as after a failover to a copy that was behind"
            )
        transaction.change(
            "DELETE FROM {chunks} WHERE job = %s AND name = %s AND start >= %s", lease.job_id, log, known
        )
        return known

    # ---- looking

    def _check_job(self, transaction: Transaction | None, job_id: str) -> None:
        checked_job_id(job_id)
        if transaction is None or transaction.row("SELECT 1 FROM {jobs} WHERE job = %s", job_id) is None:
            raise UnknownJobError(job_id, str(self))

    def _read(self, job_id: str, name: str, kind: int, offset: int, limit: int | None) -> bytes:
        checked_name(name)

        def work(transaction: Transaction | None) -> bytes:
            self._check_job(transaction, job_id)
            row = None
            if transaction is not None:
                row = transaction.row(
                    "SELECT size FROM {entries} WHERE job = %s AND name = %s AND kind = %s", job_id, name, kind
                )
            if transaction is None or row is None:
                raise MissingObjectError(job_id, name, str(self))
            end = row[0] if limit is None else min(row[0], offset + limit)
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
        def work(transaction: Transaction | None) -> list[ObjectInfo]:
            self._check_job(transaction, job_id)
            if transaction is None:
                return []
            rows = transaction.rows(
                "SELECT name, size, written_at FROM {entries} WHERE job = %s AND kind = %s ORDER BY name", job_id, kind
            )
            return [ObjectInfo(*row) for row in rows]

        return self._server.reading(f"job {job_id!r}", work)


def _find_held(transaction: Transaction, job_id: str) -> _Held | None:
    row = transaction.row(
        f"SELECT token, owner, renewals, extract(epoch FROM expires_at)::float8 - {_NOW} FROM {{leases}}"  # noqa: S608 -- a constant of this module
        " WHERE job = %s AND expires_at > clock_timestamp()",
        job_id,
    )
    return None if row is None else _Held(row[0], decode_owner(row[1]), row[2], row[3])


def _lock_job(transaction: Transaction, job_id: str) -> tuple[Any, ...] | None:
    """Give the generation and the token of a job, and let nobody else change it before the transaction ends."""
    return transaction.row("SELECT generation, token FROM {jobs} WHERE job = %s FOR UPDATE", job_id)


def _check(lease: PostgresLease, found: tuple[Any, ...] | None) -> None:
    """Raise `FencedError` if `lease` is not what was found in the job's row."""
    if lease.is_copied or found != (lease.generation, lease.token):
        raise FencedError(lease.job_id, lease.generation, None if found is None else found[0])


def _give_back(transaction: Transaction, lease: PostgresLease) -> None:
    transaction.change("UPDATE {jobs} SET token = NULL WHERE job = %s AND token = %s", lease.job_id, lease.token)
    transaction.change("DELETE FROM {leases} WHERE token = %s", lease.token)


def _kind(transaction: Transaction, job_id: str, name: str) -> int | None:
    row = transaction.row("SELECT kind FROM {entries} WHERE job = %s AND name = %s", job_id, name)
    return None if row is None else int(row[0])


def _insert_chunks(transaction: Transaction, job_id: str, name: str, start: int, chunks: list[bytes]) -> None:
    for chunk in chunks:
        transaction.change("INSERT INTO {chunks} VALUES (%s, %s, %s, %s)", job_id, name, start, chunk)
        start += len(chunk)


def _delete(transaction: Transaction, job_id: str, name: str) -> None:
    transaction.change("DELETE FROM {entries} WHERE job = %s AND name = %s", job_id, name)
