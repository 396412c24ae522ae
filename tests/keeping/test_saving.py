"""A checkpoint is saved with its large states before it, each once."""

from __future__ import annotations

import pytest

from routilux.errors import InternalError
from routilux.keeping.finding import latest, load
from routilux.keeping.saving import save
from routilux.records.format import OBJECT_BYTES
from routilux.records.schema import StateImage
from routilux.stores.errors import StoreWriteError
from tests.keeping.store import FakeStore
from tests.records.images import KEY, image

LARGE = StateImage("parse", 0, b"x" * OBJECT_BYTES)
SMALL = StateImage("read", 0, b"small")


def test_what_was_saved_is_loaded_again() -> None:
    store = FakeStore()
    saved = save(store, store.lease(), image([LARGE, SMALL]), key=KEY)

    assert load(store, "nightly", 1, 12, key=KEY) == image([LARGE, SMALL])
    assert saved.name == "checkpoint-000001-000012"
    assert saved.size_bytes == sum(info.size_bytes for info in store.objects("nightly"))


def test_states_are_durable_before_the_checkpoint_that_refers_to_them() -> None:
    store = FakeStore()
    saved = save(store, store.lease(), image([LARGE, SMALL]))

    state, checkpoint = store.did("put")
    assert state.startswith("state-")
    assert checkpoint == saved.name


def test_an_unchanged_state_is_not_written_again() -> None:
    store = FakeStore()
    lease = store.lease()
    first = save(store, lease, image([LARGE, SMALL]))
    store.calls.clear()

    second = save(store, lease, image([], number=13), kept=first.states)

    assert store.calls == [("put", second.name)]
    assert second.size_bytes < OBJECT_BYTES
    assert latest(store, "nightly").image == image([LARGE, SMALL], number=13)


def test_a_state_that_an_earlier_runner_wrote_is_not_written_again() -> None:
    store = FakeStore()
    save(store, store.lease(), image([LARGE]))
    saved = save(store, store.lease(generation=2), image([LARGE], generation=2, number=13))

    assert saved.size_bytes < OBJECT_BYTES
    assert len(store.did("put")) == 3


@pytest.mark.parametrize("at", [0, None], ids=["flipped", "shorter"])
def test_a_damaged_state_object_is_replaced(at: int | None) -> None:
    store = FakeStore()
    save(store, store.lease(), image([LARGE]))
    (state,) = [name for name in store.names() if name.startswith("state-")]
    if at is None:
        store.kept["nightly"][state] = LARGE.body[:-1]
    else:
        store.flip(state, at)

    save(store, store.lease(generation=2), image([LARGE], generation=2, number=13))

    assert latest(store, "nightly").problems == []
    assert load(store, "nightly", 1, 12) == image([LARGE]), "the earlier one is good again too"


@pytest.mark.parametrize("full", ["state-", "checkpoint-"])
def test_a_save_that_fails_leaves_the_checkpoint_before_it_and_can_be_tried_again(full: str) -> None:
    store = FakeStore()
    lease = store.lease()
    first = save(store, lease, image([SMALL]))
    store.full = {full}

    with pytest.raises(StoreWriteError):
        save(store, lease, image([LARGE], number=13), kept=first.states)
    assert latest(store, "nightly").image == image([SMALL])

    store.full = set()
    save(store, lease, image([LARGE], number=13), kept=first.states)
    assert latest(store, "nightly").image == image([LARGE, SMALL], number=13)


@pytest.mark.parametrize("parts", [{"job_id": "other"}, {"generation": 2}])
def test_an_image_of_another_job_or_generation_is_not_saved(parts: dict[str, object]) -> None:
    store = FakeStore()

    with pytest.raises(InternalError, match="is not for the lease of job 'nightly', generation 1"):
        save(store, store.lease(), image(**parts))
    assert store.calls == []
