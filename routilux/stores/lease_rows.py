"""The rows by which one runner has a job of a database of PostgreSQL.

    jobs      a row a job: its generation, and the token of the lease that is in force
    leases    a row a job that somebody has: the owner, and when the lease ends

Owns who has a job, and for how long. Never knows what is kept of it.

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
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from functools import partial
from typing import Any, NamedTuple

from routilux.stores.base import Owner, checked_job_id
from routilux.stores.claims import TAKEOVER_SECONDS as WORKERS_SECONDS
from routilux.stores.errors import JobExistsError, JobOwnedError, StoreError, UnknownJobError
from routilux.stores.leases import HeldLease, LeaseStore
from routilux.stores.owners import decode_owner, encode_owner, is_seen_alive, is_seen_dead
from routilux.stores.renewing import Renewer
from routilux.stores.server import SILENCE_SECONDS, Server, Transaction
from supervisors.report import reporter

LEASE_SECONDS = 30.0
"""How long a lease lasts that is not renewed (arbitrary): longer than a network or a server is gone for in passing."""
TAKEOVER_SECONDS = 60.0
"""How long a job is waited for whose owner is not seen alive (arbitrary, longer than a lease lasts)."""
RENEWALS = 5
"""So often a lease is renewed while it lasts: one or two that fail do no harm (arbitrary)."""

_LONGEST_PAUSE = 0.5

_log = reporter("routilux")


class Held(NamedTuple):
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

    def __init__(self, store: LeaseStore, job_id: str, generation: int, token: bytes) -> None:
        super().__init__(store, job_id, generation)
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

    def check_row(self, row: tuple[Any, ...] | None) -> None:
        """Raise `FencedError` if it is not in force by the job's row, as `lock_job` gives it."""
        generation, token = (None, None) if row is None else row
        self.check_found(generation, is_ours=not self.is_copied and token == self.token)


class LeaseRows:
    """Who has which job of a database. Any thread may use it.

    Args:
        server: the database.
        lease_seconds: how long a job stays taken whose runner is not heard of.
        takeover_seconds: how long to wait for a job whose runner is not seen alive.
    """

    def __init__(self, server: Server, lease_seconds: float, takeover_seconds: float) -> None:
        self._server = server
        self._lease_seconds = lease_seconds
        self._takeover_seconds = takeover_seconds
        self._lock = threading.Lock()  # guards what follows
        self._held: set[PostgresLease] = set()
        self._renewer: Renewer | None = None

    def acquire(self, store: LeaseStore, job_id: str, owner: Owner, *, create: bool) -> PostgresLease:
        """Take a job for `store`, as `Store.acquire`."""
        checked_job_id(job_id)
        what, token = f"job {job_id!r} in {self._server}", secrets.token_bytes(16)
        if create:
            self._server.make(what)
            generation: int | None = self._server.writing(what, partial(self._make_job, job_id, token, owner))
        else:
            generation = None
        while generation is None:
            # Looked at first without a lock: a write of the owner may take long.
            free = self._wait_free(job_id)
            generation = self._server.writing(what, partial(self._take, job_id, token, owner, free))
        lease = PostgresLease(store, job_id, generation, token)
        self._hold(lease)
        return lease

    def look(self, job_id: str) -> Held | None:
        """Give the lease of a job; None where it has none that is in force. Raises `UnknownJobError`."""

        def work(transaction: Transaction | None) -> Held | None:
            return _find_held(self.check_job(transaction, job_id), job_id)

        return self._server.reading(f"the owner of job {job_id!r}", work)

    def check_job(self, transaction: Transaction | None, job_id: str) -> Transaction:
        """Give `transaction` if the job is there. Raises `UnknownJobError`."""
        checked_job_id(job_id)
        if transaction is None or transaction.row("SELECT 1 FROM {jobs} WHERE job = %s", job_id) is None:
            raise UnknownJobError(job_id, str(self._server))
        return transaction

    def check(self, lease: PostgresLease) -> None:
        """Raise `FencedError` if `lease` is not in force."""

        def work(transaction: Transaction | None) -> None:
            row = None
            if transaction is not None:
                row = transaction.row("SELECT generation, token FROM {jobs} WHERE job = %s", lease.job_id)
            lease.check_row(row)

        self._server.reading(f"job {lease.job_id!r}", work)

    def release(self, lease: PostgresLease) -> None:
        """Give the job back, if `lease` still has it; where the server is gone, the lease runs out."""
        with self._lock:
            is_held = lease in self._held
        if not is_held:
            return
        if not lease.is_copied:
            with contextlib.suppress(StoreError):
                self._server.writing(f"the end of the lease of job {lease.job_id!r}", lambda t: _give_back(t, lease))
        self.drop(lease)

    def drop(self, lease: PostgresLease) -> None:
        """Renew a lease no more."""
        renewer = None
        with self._lock:
            self._held.discard(lease)
            if not self._held:
                renewer, self._renewer = self._renewer, None
        if renewer is not None and not lease.is_copied:  # the copy has not got the thread
            renewer.close()

    def close(self) -> None:
        """Give all jobs back."""
        with self._lock:
            leases = list(self._held)
        for lease in leases:
            self.release(lease)

    # ---- renewing

    def _hold(self, lease: PostgresLease) -> None:
        with self._lock:
            self._held.add(lease)
            if self._renewer is None:
                # Its own: a large write takes the other for long. One that says nothing is given up before the lease.
                server = Server(self._server.url, 0.0, min(SILENCE_SECONDS, self._lease_seconds / 3))
                self._renewer = Renewer(
                    lambda: self._renew(server), server.close, self._lease_seconds / RENEWALS, str(self._server)
                )

    def _renew(self, server: Server) -> None:
        with self._lock:
            tokens = [lease.token for lease in self._held]
        server.writing(
            f"leases in {server}",
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
        if not made and lock_job(transaction, job_id) != (1, token):  # else it was made by the first try
            raise JobExistsError(job_id, str(self._server))
        self._insert_lease(transaction, job_id, token, owner)
        return 1

    def _take(self, job_id: str, token: bytes, owner: Owner, free: Held | None, transaction: Transaction) -> int | None:
        """Take a job that is free, or that `free` has, as it was seen last; None where another one was faster."""
        found = lock_job(transaction, job_id)
        if found is None:
            raise UnknownJobError(job_id, str(self._server))
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

    def _wait_free(self, job_id: str) -> Held | None:
        """Wait until a job can be taken; gives the lease it may be taken from though that has not ended.

        Raises:
            JobOwnedError: its owner lives, or cannot be told dead in time.
            UnknownJobError: there is no such job.
        """
        began = 0.0
        first: Held | None = None
        while (held := self.look(job_id)) is not None:
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


def lock_job(transaction: Transaction, job_id: str) -> tuple[Any, ...] | None:
    """Give the generation and the token of a job, and let nobody else change it before the transaction ends."""
    return transaction.row("SELECT generation, token FROM {jobs} WHERE job = %s FOR UPDATE", job_id)


def record_owner(transaction: Transaction, lease: PostgresLease, owner: Owner) -> None:
    """Change what others are told of the owner."""
    transaction.change("UPDATE {leases} SET owner = %s WHERE token = %s", encode_owner(owner), lease.token)


def _find_held(transaction: Transaction, job_id: str) -> Held | None:
    row = transaction.row(
        "SELECT token, owner, renewals, extract(epoch FROM expires_at - clock_timestamp())::float8 FROM {leases}"
        " WHERE job = %s AND expires_at > clock_timestamp()",
        job_id,
    )
    return None if row is None else Held(row[0], decode_owner(row[1]), row[2], row[3])


def _give_back(transaction: Transaction, lease: PostgresLease) -> None:
    transaction.change("UPDATE {jobs} SET token = NULL WHERE job = %s AND token = %s", lease.job_id, lease.token)
    transaction.change("DELETE FROM {leases} WHERE token = %s", lease.token)
