"""What a store is: named immutable objects and append-only logs of jobs, over bytes.

Owns the interface that all stores have and the rules they share. Knows nothing of what the bytes mean.
`routilux.testing.check_store` tells whether a store keeps these rules.

The rules. An object is there whole or not at all, whenever the program or the machine is stopped; once `put` has
returned it stays. Objects and logs of a job share their names, and nothing is written over. A log may end in the middle
of what was appended last: whoever reads it can tell. What one lease appends after an append that failed follows what is
whole; but where one lease's log was torn by a crash the next lease cannot tell, so it begins a log of its own. Who
writes has the job's lease, and a lease that was taken over writes nothing more. Any thread may call a store; those of
one lease write one after the other. What the system refuses while something is read is a `StoreReadError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import msgspec

from routilux.errors import OptionError

JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What a job's id looks like (DESIGN section 10): it becomes a path."""
OBJECT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
"""What the name of an object or a log looks like."""


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Who runs a job.

    Args:
        pid: process id.
        started_at: when that process began, in seconds since the epoch, as the system tells: a process id alone
            may be another's by now.
        boot_id: the system's run; process ids of another one say nothing.
        host: the machine's name, for people.
        control: where it takes commands, such as a socket's path; empty where it takes none.
    """

    pid: int
    started_at: float
    boot_id: str
    host: str
    control: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class ObjectInfo(NamedTuple):
    """One object or log.

    Args:
        name: its name.
        size_bytes: its size.
        written_at: when it was written, in seconds since the epoch.
    """

    name: str
    size_bytes: int
    written_at: float


class Lease(Protocol):
    """The right to run a job and to write what is kept of it."""

    @property
    def job_id(self) -> str:
        """The job."""

    @property
    def generation(self) -> int:
        """How many runners the job has had, this one included."""

    def check(self) -> None:
        """Raise `FencedError` if the job was taken over, or the lease was released."""

    def announce(self, owner: Owner) -> None:
        """Change what others are told of the owner."""

    def fileno(self) -> int | None:
        """A descriptor that holds the lease for whoever inherits it; None where there is none.

        A worker process keeps it open, so that nobody takes the job over while workers of a killed runner are alive.
        Where there is none, such a job is not taken over before its workers have had time to notice that, and to end.
        """

    def release(self) -> None:
        """Give the job back; nothing happens the second time."""


class Store(Protocol):
    """Where jobs are kept."""

    def __str__(self) -> str:
        """What it is called in errors, such as `the folder '/data/jobs'`."""

    def jobs(self) -> list[str]:
        """The ids of all jobs, sorted."""

    def acquire(self, job_id: str, owner: Owner, *, create: bool) -> Lease:
        """Take a job: its generation counts one up, durably, before anything else is written.

        The lease of an owner that is no more is taken over, once its workers are gone too.

        Args:
            job_id: the job.
            owner: who takes it.
            create: whether it is a new job; else it must be there.

        Raises:
            JobExistsError: it is to be new, and is there.
            UnknownJobError: it is to be there, and is not.
            JobOwnedError: somebody has it.
            StoreWriteError: the store could not be written.
            UnsafeStoreError: others could have written it.
            DamagedStoreError: no store has written it.
        """

    def owner(self, job_id: str) -> Owner | None:
        """Who runs the job now; None for nobody. Raises `UnknownJobError`."""

    def put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        """Keep an object, made of `parts` one after the other; durable and whole when this returns.

        What `parts` raises comes through, and there is nothing of the object.

        Returns:
            Its size in bytes.

        Raises:
            StoreWriteError: it could not be written; there is nothing of it, at the latest once the lease writes again:
                a store that is reached by a network may have to leave it in doubt until then.
            FencedError: the job was taken over.
            ObjectExistsError: there is an object or a log of that name, and it stays.
        """

    def get(self, job_id: str, name: str, limit: int | None = None) -> bytes:
        """Give an object, or its first `limit` bytes. Raises `MissingObjectError`, or `UnknownJobError`."""

    def objects(self, job_id: str) -> list[ObjectInfo]:
        """List the objects of a job, not its logs, sorted by name. Raises `UnknownJobError`."""

    def delete(self, lease: Lease, name: str) -> None:
        """Let an object or a log go; nothing happens if it is not there. Raises `FencedError`.

        After a crash of the machine it may be there again.
        """

    def append(self, lease: Lease, log: str, data: bytes, *, durable: bool) -> int:
        """Add to the end of a log, which is made where it is not there.

        Args:
            lease: the job's.
            log: the log's name.
            data: what is added.
            durable: whether it has to stay, whatever happens to the machine, and all that was appended before.

        Returns:
            The log's size in bytes after it.

        Raises:
            StoreWriteError: it could not be written, or not all of it, or not be made durable. It counts as not added,
                and may be added again.
            FencedError: the job was taken over.
            ObjectExistsError: there is an object of that name.
        """

    def read(self, job_id: str, log: str, offset: int = 0, limit: int | None = None) -> bytes:
        """Give a part of a log: from `offset` on, at most `limit` bytes; empty where there is nothing.

        Raises:
            MissingObjectError: there is no such log.
            UnknownJobError: there is no such job.
        """

    def logs(self, job_id: str) -> list[ObjectInfo]:
        """List the logs of a job, sorted by name. Raises `UnknownJobError`."""

    def remove(self, lease: Lease) -> None:
        """Let the job go with all that is kept of it, and release the lease."""

    def close(self) -> None:
        """Give back what the store holds open; leases are released. What is kept stays, and it may be used again."""


def checked_job_id(job_id: object) -> str:
    """Give `job_id` if it can be one.

    Raises:
        OptionError: it cannot.
    """
    if isinstance(job_id, str) and JOB_ID.fullmatch(job_id):
        return job_id
    raise OptionError(f"a job id has 1 to 64 letters, digits, '-' and '_', the first a letter or digit; got {job_id!r}")


def checked_name(name: str) -> str:
    """Give `name` if an object or a log can be called so.

    Raises:
        ValueError: it cannot.
    """
    if OBJECT_NAME.fullmatch(name):
        return name
    raise ValueError(f"the name of an object has 1 to 100 lower-case letters, digits and '-'; got {name!r}")
