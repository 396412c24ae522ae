from __future__ import annotations

import pytest

from routilux.keeping import origin
from routilux.records.packing import pack
from routilux.stores import MemoryStore, this_process
from routilux.stores.errors import UnknownJobError


def test_what_a_job_was_started_from_is_kept_anew_and_copied() -> None:
    store = MemoryStore()
    lease = store.acquire("a", this_process(), create=True)
    assert origin.find_target(store, "a") is None
    origin.record_origin(store, lease, "flows:one")
    origin.record_origin(store, lease, "flows:two")
    assert origin.find_target(store, "a") == "flows:two"
    other = store.acquire("b", this_process(), create=True)
    origin.copy_origin(store, "a", other)
    assert origin.find_target(store, "b") == "flows:two"
    with pytest.raises(UnknownJobError):
        origin.find_target(store, "c")


def test_one_from_elsewhere_or_that_is_none_says_nothing() -> None:
    store = MemoryStore()
    lease = store.acquire("a", this_process(), create=True)
    store.put(lease, origin.NAME, [pack(origin.Origin("flows:one", "elsewhere"))])
    assert origin.find_target(store, "a") is None
    store.delete(lease, origin.NAME)
    store.put(lease, origin.NAME, [b"\xc1"])
    assert origin.find_target(store, "a") is None
