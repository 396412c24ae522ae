from __future__ import annotations

import pytest

from routilux.stores.errors import FencedError, JobExistsError, UnknownJobError
from routilux.stores.leases import HeldLease, checked_generation, checked_lease
from routilux.stores.memory import MemoryStore
from routilux.stores.owners import this_process

STORE = MemoryStore()


@pytest.mark.parametrize(
    ("found", "is_ours", "why"),
    [
        (None, False, "is not in the store any more"),
        (4, False, "was taken over by generation 4"),
        (4, True, "was taken over by generation 4"),
        (3, False, "was given back"),
    ],
)
def test_a_lease_that_is_not_in_force_is_told_why(found: int | None, is_ours: bool, why: str) -> None:
    with pytest.raises(FencedError, match=why) as refused:
        HeldLease(STORE, "job", 3).check_found(found, is_ours=is_ours)
    assert (refused.value.generation, refused.value.current) == (3, found)


def test_a_lease_is_in_force_that_is_ours_and_of_the_jobs_generation() -> None:
    HeldLease(STORE, "job", 3).check_found(3, is_ours=True)


def test_a_lease_asks_the_store_that_gave_it() -> None:
    store = MemoryStore()
    lease = store.acquire("job", this_process(), create=True)
    assert lease.fileno() is None
    lease.announce(this_process("/control"))
    assert store.owner("job") == this_process("/control")
    lease.release()
    assert store.owner("job") is None
    with pytest.raises(FencedError):
        lease.check()


def test_a_lease_of_another_store_is_refused() -> None:
    lease = HeldLease(STORE, "job", 1)
    assert checked_lease(lease, HeldLease, STORE) is lease
    with pytest.raises(ValueError, match="the lease of job 'job' was not given by the memory of this program"):
        checked_lease(lease, HeldLease, MemoryStore())


def test_a_generation_is_that_of_a_job_that_is_there_as_it_is_to_be() -> None:
    assert checked_generation(None, "job", STORE, create=True) == 0
    assert checked_generation(2, "job", STORE, create=False) == 2
    with pytest.raises(JobExistsError, match="'job'"):
        checked_generation(2, "job", STORE, create=True)
    with pytest.raises(UnknownJobError, match="'job'"):
        checked_generation(None, "job", STORE, create=False)
