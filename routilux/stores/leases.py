"""What the stores here give to who takes a job, and how they tell that it may not write any more.

Owns the lease as an object. Never knows where a store keeps who has what: that is handed in.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from routilux.stores.base import Lease, Owner, Store
from routilux.stores.errors import FencedError, JobExistsError, UnknownJobError

L = TypeVar("L", bound="HeldLease")


class LeaseStore(Protocol):
    """What a lease asks of the store that gave it, as `Lease` tells."""

    def check(self, lease: Lease) -> None:
        """Raise `FencedError` if `lease` is not in force."""

    def announce(self, lease: Lease, owner: Owner) -> None:
        """Change the owner of record."""

    def release(self, lease: Lease) -> None:
        """Give the job back, if `lease` still has it."""


class HeldLease:
    """A job of a store, taken.

    Args:
        store: the store.
        job_id: the job.
        generation: this runner's.
    """

    def __init__(self, store: LeaseStore, job_id: str, generation: int) -> None:
        self.store = store
        self._job_id = job_id
        self._generation = generation

    @property
    def job_id(self) -> str:
        return self._job_id

    @property
    def generation(self) -> int:
        return self._generation

    def check(self) -> None:
        self.store.check(self)

    def announce(self, owner: Owner) -> None:
        self.store.announce(self, owner)

    def fileno(self) -> int | None:
        """Give None: there is no descriptor."""
        return None

    def release(self) -> None:
        self.store.release(self)

    def check_found(self, generation: int | None, *, is_ours: bool) -> None:
        """Raise `FencedError` unless it is in force, by what the store has found.

        Args:
            generation: the job's; None where the job is gone.
            is_ours: whether the job is still this lease's by all else that the store goes by.
        """
        if not is_ours or generation != self.generation:
            raise FencedError(self.job_id, self.generation, generation)


def checked_lease(lease: Lease, kind: type[L], store: LeaseStore) -> L:
    """Give `lease` if `store` gave it.

    Raises:
        ValueError: another one did.
    """
    if isinstance(lease, kind) and lease.store is store:
        return lease
    raise ValueError(f"the lease of job {lease.job_id!r} was not given by {store}")


def checked_generation(generation: int | None, job_id: str, store: Store, *, create: bool) -> int:
    """Give the generation of a job as it was found, or 0 for one that is to be made.

    Args:
        generation: None where there is no such job.
        job_id: the job.
        store: where it was looked for.
        create: whether it is to be a new one.

    Raises:
        JobExistsError: it is to be new, and is there.
        UnknownJobError: it is to be there, and is not.
    """
    if create and generation is not None:
        raise JobExistsError(job_id, str(store))
    if not create and generation is None:
        raise UnknownJobError(job_id, str(store))
    return generation or 0
