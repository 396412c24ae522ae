"""Everything that is kept of a job is looked over."""

from __future__ import annotations

import msgspec
import pytest

from routilux.keeping.listing import history_name
from routilux.keeping.saving import save
from routilux.keeping.verifying import verify
from routilux.records.format import OBJECT_BYTES
from routilux.records.schema import HistoryPosition, Image, StateImage
from routilux.stores.errors import UnknownJobError
from tests.keeping.store import FakeStore
from tests.keeping.test_finding import make_newer, name
from tests.keeping.test_history import three_runners
from tests.records.images import KEY, image


def kept(key: bytes | None = None) -> FakeStore:
    """Give a job with four checkpoints, each of which has seen a log to its end, and two refer to one state object."""
    store = three_runners()
    lease = store.lease()
    states = [StateImage("parse", 0, b"x" * OBJECT_BYTES)]
    for number in (1, 2, 3, 4):
        given = image(states if number > 2 else None, number=number)
        position = HistoryPosition(number, len(store.appended["nightly"][history_name(number)]))
        save(store, lease, _with_history(given, position), key=key)
    return store


def _with_history(given: Image, position: HistoryPosition) -> Image:
    return msgspec.structs.replace(given, job=msgspec.structs.replace(given.job, history=position))


@pytest.mark.parametrize("key", [None, KEY])
def test_a_job_that_is_well_has_no_problems(key: bytes | None) -> None:
    assert verify(kept(key), "nightly", key=key) == []


def test_every_object_and_log_that_is_flipped_anywhere_is_told() -> None:
    store = kept()
    for things in (store.kept["nightly"], store.appended["nightly"]):
        for thing, body in list(things.items()):
            for at in range(0, len(body), max(1, len(body) // 23)):
                store.flip(thing, at)
                problems = verify(store, "nightly")
                where = {name(3), name(4)} if thing.startswith("state-") else {thing}
                assert where <= {problem.name for problem in problems}, (thing, at)
                things[thing] = body
    assert verify(store, "nightly") == []


def test_a_state_object_that_is_missing_is_told_by_each_checkpoint_that_needs_it() -> None:
    store = kept()
    (state,) = [thing for thing in store.names() if thing.startswith("state-")]
    del store.kept["nightly"][state]

    assert [problem.name for problem in verify(store, "nightly")] == [name(4), name(3)]


def test_what_a_newer_version_wrote_and_a_missing_key_are_told() -> None:
    store = kept()
    make_newer(store, 3)
    assert [problem.name for problem in verify(store, "nightly")] == [name(3)]

    assert len(verify(kept(KEY), "nightly")) == 4


def test_a_history_that_lacks_what_a_checkpoint_has_seen_is_told() -> None:
    store = kept()
    logs = store.appended["nightly"]
    size = len(logs["history-000004"])
    logs["history-000004"] = logs["history-000004"][:-1]
    del logs["history-000002"]

    last, second = verify(store, "nightly")

    assert last.reason.startswith("the last record is torn, at offset ")
    assert last.reason.endswith(f", and {name(4)} has seen {size} bytes of it")
    assert second.reason.startswith(f"it is not there, and {name(2)} has seen ")


def test_a_job_that_is_not_there_is_unknown() -> None:
    with pytest.raises(UnknownJobError):
        verify(FakeStore(), "nightly")
