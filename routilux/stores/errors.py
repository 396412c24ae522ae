"""What can go wrong with a store.

StoreError (RoutiluxError)
├── UnknownJobError (LookupError)       the store has no such job
├── MissingObjectError (LookupError)    the job has no such object or log
├── JobExistsError (ValueError)         a job of that id is there already
├── JobOwnedError (RuntimeError)        another runner has the job; `owner` says who
├── FencedError (RuntimeError)          the job was taken over: this runner may not write any more
├── StoreWriteError (OSError)           the world: the disk is full, a limit, a device that fails
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
        self.job_id = job_id
        super().__init__(f"{store} has a job {job_id!r} already: resume it, or choose another id")


class JobOwnedError(StoreError, RuntimeError):
    """Another runner has the job.

    Args:
        job_id: the job.
        owner: who has it.
    """

    def __init__(self, job_id: str, owner: Owner) -> None:
        self.job_id, self.owner = job_id, owner
        super().__init__(f"job {job_id!r} is run by {owner}: pause or cancel it there first")


class FencedError(StoreError, RuntimeError):
    """The job was taken over by another runner, and this one may not write any more.

    Args:
        job_id: the job.
        generation: the generation of this runner.
        current: that of the one who has it now.
    """

    def __init__(self, job_id: str, generation: int, current: int) -> None:
        self.job_id, self.generation, self.current = job_id, generation, current
        super().__init__(
            f"job {job_id!r} was taken over: generation {generation} may not write, generation {current} has it"
        )


class StoreWriteError(StoreError, OSError):
    """What was to be kept could not be written, and nothing of it is there.

    Args:
        what: what was to be written, for people.
        reason: what the system said.
    """

    def __init__(self, what: str, reason: str) -> None:
        self.what, self.reason = what, reason
        super().__init__(f"{what} could not be written: {reason}")


class UnsafeStoreError(StoreError, PermissionError):
    """A file or folder of the store could have been written by others, or is no plain file."""
