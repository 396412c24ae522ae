"""What can go wrong with a store.

StoreError (RoutiluxError)
├── UnknownJobError (LookupError)       the store has no such job
├── MissingObjectError (LookupError)    the job has no such object or log
├── JobExistsError (ValueError)         a job of that id is there already
├── ObjectExistsError (ValueError)      the job has an object or a log of that name already
├── JobOwnedError (RuntimeError)        another runner has the job; `owner` says who
├── FencedError (RuntimeError)          the job was taken over: this runner may not write any more
├── StoreWriteError (OSError)           the world: the disk is full, a limit, a device that fails
├── StoreReadError (OSError)            the world: what is there could not be read
├── DamagedStoreError (ValueError)      what is there was not written by a store, or not by one of this version
└── UnsafeStoreError (PermissionError)  a file or folder that others may write, or that is a link
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routilux.errors import RoutiluxError

if TYPE_CHECKING:
    from routilux.stores.base import Owner


class StoreError(RoutiluxError):
    """Base of what a store raises."""


class UnknownJobError(StoreError, LookupError):
    """The store has no such job.

    Args:
        job_id: what was asked for.
        store: the store, as it describes itself.
    """

    def __init__(self, job_id: str, store: str) -> None:
        self.job_id = job_id
        super().__init__(f"{store} has no job {job_id!r}")


class MissingObjectError(StoreError, LookupError):
    """The job has no such object or log.

    Args:
        job_id: whose it was to be.
        name: what was asked for.
        store: the store, as it describes itself.
    """

    def __init__(self, job_id: str, name: str, store: str) -> None:
        self.job_id, self.name = job_id, name
        super().__init__(f"{store} has no {name!r} of job {job_id!r}")


class JobExistsError(StoreError, ValueError):
    """A job of that id is there already.

    Args:
        job_id: the id.
        store: the store, as it describes itself.
    """

    def __init__(self, job_id: str, store: str) -> None:
        self.job_id, self.store = job_id, store
        super().__init__(f"{store} has a job {job_id!r} already: resume it, or choose another id")


class ObjectExistsError(StoreError, ValueError):
    """The job has an object or a log of that name already; nothing was changed.

    Args:
        job_id: whose it is.
        name: its name.
        store: the store, as it describes itself.
    """

    def __init__(self, job_id: str, name: str, store: str) -> None:
        self.job_id, self.name = job_id, name
        super().__init__(f"{store} has {name!r} of job {job_id!r} already, and objects are never written over")


class JobOwnedError(StoreError, RuntimeError):
    """Another runner has the job.

    Args:
        job_id: the job.
        owner: who has it; None where no record says so.
        is_alive: whether the owner is known to be running; else something that holds its lock is, or its lease has not
            run out.
        lease_seconds: how long its lease lasts if it is not renewed; None where leases do not run out.
    """

    def __init__(
        self, job_id: str, owner: Owner | None, *, is_alive: bool = True, lease_seconds: float | None = None
    ) -> None:
        self.job_id, self.owner, self.is_alive, self.lease_seconds = job_id, owner, is_alive, lease_seconds
        if owner is None:
            super().__init__(f"job {job_id!r} is held by a process that has left no record of itself")
        elif is_alive:
            super().__init__(f"job {job_id!r} is run by {owner}: leave or cancel it there first")
        elif lease_seconds is None:
            super().__init__(
                f"job {job_id!r} was run by {owner}, which is not to be seen here any more; "
                "but it, or a worker that it started, still holds the job"
            )
        else:
            super().__init__(
                f"job {job_id!r} is held by {owner}, which has not been heard of meanwhile; its lease ends in "
                f"{lease_seconds:.0f} s unless it is renewed, and then the job may be taken over"
            )


class FencedError(StoreError, RuntimeError):
    """The lease is not in force: the job was taken over or removed, the lease was released, or is a forked copy's.

    Args:
        job_id: the job.
        generation: the generation of this runner.
        current: that of the one who has it now, or had it last; None where the job is gone.
    """

    def __init__(self, job_id: str, generation: int, current: int | None) -> None:
        self.job_id, self.generation, self.current = job_id, generation, current
        if current is None:
            why = "is not in the store any more"
        elif current == generation:
            why = "was given back, or is run by the program of which this one is a forked copy"
        else:
            why = f"was taken over by generation {current}"
        super().__init__(f"job {job_id!r} {why}: generation {generation} may not write")


class StoreWriteError(StoreError, OSError):
    """What was to be kept could not be written, and nothing of it is there.

    Args:
        what: what was to be written, for people.
        reason: what the system said.
    """

    def __init__(self, what: str, reason: str) -> None:
        self.what, self.reason = what, reason
        super().__init__(f"{what} could not be written: {reason}")


class StoreReadError(StoreError, OSError):
    """What is kept could not be read.

    Args:
        what: what was to be read, for people.
        reason: what the system said.
    """

    def __init__(self, what: str, reason: str) -> None:
        self.what, self.reason = what, reason
        super().__init__(f"{what} could not be read: {reason}")


class DamagedStoreError(StoreError, ValueError):
    """What is there was not written by a store, or not by one of this version, or has been damaged since."""


class UnsafeStoreError(StoreError, PermissionError):
    """A file or folder of the store could have been written by others, or is no plain file."""
