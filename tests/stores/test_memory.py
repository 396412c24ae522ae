"""The store in memory: what it keeps goes with it."""

from __future__ import annotations

from routilux.stores import MemoryStore, this_process


def test_two_stores_have_nothing_in_common() -> None:
    MemoryStore().acquire("job", this_process(), create=True)
    assert MemoryStore().jobs() == []


def test_its_leases_have_no_descriptor() -> None:
    assert MemoryStore().acquire("job", this_process(), create=True).fileno() is None


def test_what_is_kept_stays_when_the_store_is_closed() -> None:
    store = MemoryStore()
    store.put(store.acquire("job", this_process(), create=True), "object", [b"1"])
    store.close()
    assert store.get("job", "object") == b"1"
    assert store.owner("job") is None
    assert store.acquire("job", this_process(), create=False).generation == 2
