"""The newest good checkpoint is found, and damaged ones are told."""

from __future__ import annotations

import struct
import zlib

import pytest

from routilux.keeping.finding import catalog, latest, load
from routilux.keeping.saving import save
from routilux.records.errors import (
    DamagedCheckpointError,
    KeyMissingError,
    NoCheckpointError,
    UnsealedError,
    UnsupportedFormatError,
    WrongKeyError,
)
from routilux.records.format import OBJECT_BYTES, header_bytes
from routilux.records.schema import StateImage
from routilux.stores.errors import MissingObjectError, UnknownJobError
from tests.keeping.store import FakeStore
from tests.records.images import KEY, image

LARGE = StateImage("parse", 0, b"x" * OBJECT_BYTES)


def name(number: int) -> str:
    return f"checkpoint-000001-{number:06}"


def saved(*numbers: int, key: bytes | None = None) -> FakeStore:
    store = FakeStore()
    for number in numbers:
        save(store, store.lease(), image(number=number), key=key)
    return store


def make_newer(store: FakeStore, number: int) -> None:
    """Let a checkpoint need a newer reader."""
    data = store.kept["nightly"][name(number)]
    end = header_bytes(data) - 32
    start = data[:8] + struct.pack("<HH", 9, 9) + data[12:20]
    store.kept["nightly"][name(number)] = (
        start + struct.pack("<I", zlib.crc32(data[24:end], zlib.crc32(start))) + data[24:]
    )


def test_the_newest_one_is_found() -> None:
    found = latest(saved(1, 2, 3), "nightly")

    assert (found.image, found.problems) == (image(number=3), [])


def test_damaged_ones_are_told_and_the_one_before_them_is_found() -> None:
    store = saved(1, 2, 3)
    store.flip(name(3))
    store.kept["nightly"][name(2)] = store.kept["nightly"][name(2)][:-5]

    found = latest(store, "nightly")

    assert found.image.header.number == 1
    assert [problem.name for problem in found.problems] == [name(3), name(2)]
    assert "the checkpoint is damaged: it has" in found.problems[0].reason


@pytest.mark.parametrize("is_there", [False, True], ids=["missing", "flipped"])
def test_a_checkpoint_whose_state_object_is_damaged_is_passed_over(is_there: bool) -> None:
    store = saved(1)
    save(store, store.lease(), image([LARGE], number=2))
    (state,) = [kept for kept in store.names() if kept.startswith("state-")]
    if is_there:
        store.flip(state)
    else:
        del store.kept["nightly"][state]

    found = latest(store, "nightly")

    assert found.image.header.number == 1
    assert state in found.problems[0].reason


def test_a_checkpoint_under_the_name_of_another_is_damaged() -> None:
    store = saved(1, 2)
    store.kept["nightly"][name(3)] = store.kept["nightly"][name(1)]
    store.kept["other"] = {name(1): store.kept["nightly"][name(1)]}

    assert latest(store, "nightly").image.header.number == 2
    with pytest.raises(DamagedCheckpointError, match="'checkpoint-000001-000001' of job 'nightly', under another name"):
        load(store, "other", 1, 1)


def test_a_job_without_a_good_checkpoint_says_why() -> None:
    store = saved(1)
    store.flip(name(1))

    with pytest.raises(NoCheckpointError, match=f"'nightly' has no checkpoint that can be read: {name(1)}: the checkp"):
        latest(store, "nightly")
    del store.kept["nightly"][name(1)]
    with pytest.raises(
        NoCheckpointError, match="has no checkpoint that can be read: nothing of it was kept; start it again"
    ):
        latest(store, "nightly")
    with pytest.raises(UnknownJobError):
        latest(store, "other")


def test_one_that_a_newer_version_wrote_is_not_passed_over() -> None:
    store = saved(1, 2)
    make_newer(store, 2)

    with pytest.raises(UnsupportedFormatError):
        latest(store, "nightly")
    assert load(store, "nightly", 1, 1) == image(number=1)


def test_one_that_does_not_go_with_the_key_is_not_passed_over() -> None:
    sealed, plain = saved(1, 2, key=KEY), saved(1)

    with pytest.raises(KeyMissingError):
        latest(sealed, "nightly")
    with pytest.raises(WrongKeyError):
        latest(sealed, "nightly", key=KEY[::-1])
    with pytest.raises(UnsealedError):
        latest(plain, "nightly", key=KEY)
    assert latest(sealed, "nightly", key=KEY).image == image(number=2)


def test_checkpoints_that_are_pruned_while_they_are_looked_for_are_looked_for_again() -> None:
    store = saved(1, 2, 3)
    store.flip(name(3))
    # Meanwhile its runner has repaired nothing, but let 2 go: 1 is what is left.
    store.on_get = {name(2): name(2)}

    found = latest(store, "nightly")

    assert found.image.header.number == 1
    assert [problem.name for problem in found.problems] == [name(3)]


def test_a_certain_checkpoint_that_is_not_there_is_missing() -> None:
    with pytest.raises(MissingObjectError, match=name(7)):
        load(saved(1), "nightly", 1, 7)


def test_a_catalog_tells_of_all_jobs_by_their_headers_without_a_key() -> None:
    store = saved(1, 2, key=KEY)
    save(store, store.lease("weekly"), image(job_id="weekly", number=4))
    store.lease("empty")
    store.append(store.lease(), "history-000001", b"12345", durable=False)
    store.flip(name(2), 30)

    empty, nightly, weekly = catalog(store)

    assert (empty.job_id, empty.header, empty.checkpoints, empty.size_bytes, empty.problems) == (
        "empty",
        None,
        0,
        0,
        [],
    )
    assert nightly.header == image(number=1).header
    assert [problem.name for problem in nightly.problems] == [name(2)]
    assert nightly.size_bytes == sum(map(len, store.kept["nightly"].values())) + 5
    assert (weekly.header, weekly.checkpoints) == (image(job_id="weekly", number=4).header, 1)


def test_a_catalog_tells_of_a_checkpoint_of_a_newer_version() -> None:
    store = saved(1)
    make_newer(store, 1)

    (nightly,) = catalog(store)

    assert nightly.header is None
    assert "needs a reader of format 9" in nightly.problems[0].reason


def test_a_job_that_is_removed_while_the_catalog_is_made_is_left_out() -> None:
    store = saved(1)
    store.jobs = lambda: ["gone", "nightly"]  # type: ignore[method-assign]

    assert [summary.job_id for summary in catalog(store)] == ["nightly"]
