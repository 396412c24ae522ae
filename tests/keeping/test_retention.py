"""What is not needed is let go, and never the last good checkpoint."""

from __future__ import annotations

from typing import Any

import pytest

from routilux.errors import InternalError, OptionError
from routilux.keeping.finding import latest, load
from routilux.keeping.retention import Retention
from routilux.keeping.saving import save
from routilux.records.errors import WrongKeyError
from routilux.records.format import OBJECT_BYTES
from routilux.records.schema import KeptState, StateImage
from tests.keeping.store import FakeStore
from tests.keeping.test_finding import make_newer, name
from tests.records.images import KEY, image


def filled(count: int, pauses: tuple[int, ...] = (), key: bytes | None = None) -> FakeStore:
    """Give a store with checkpoints of which each has a large state of its own, and all have one more."""
    store = FakeStore()
    kept: list[KeptState] = []
    for number in range(1, count + 1):
        states = [StateImage("parse", 1, b"%8d" % number * (OBJECT_BYTES // 8))]
        if not kept:
            states.append(StateImage("read", 0, b"x" * OBJECT_BYTES))
        given = image(states, number=number, cause="pause" if number in pauses else "interval")
        saved = save(store, store.lease(), given, kept=kept, key=key)
        kept = [state for state in saved.states if state.routine_id == "read"]
    return store


def numbers(store: FakeStore) -> list[int]:
    return [int(kept[-6:]) for kept in store.names() if kept.startswith("checkpoint-")]


def retention(store: FakeStore, **options: Any) -> Retention:
    return Retention(store, store.lease(), **options)


def states(store: FakeStore) -> int:
    return sum(kept.startswith("state-") for kept in store.names())


@pytest.mark.parametrize("newest", [None, name(5)], ids=["looked for", "told"])
def test_the_newest_checkpoints_and_those_of_pauses_are_kept(newest: str | None) -> None:
    store = filled(5, pauses=(1,))

    gone = retention(store, keep_last=2).prune(newest)

    assert numbers(store) == [1, 4, 5]
    assert gone[:2] == [name(2), name(3)]
    assert states(store) == 4
    assert len(gone) == 4
    for number in numbers(store):
        assert load(store, "nightly", 1, number).header.number == number
    assert retention(store, keep_last=2).prune() == []


def test_the_newest_pauses_alone_are_kept_beside_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routilux.keeping.retention.KEEP_PAUSES", 2)
    store = filled(7, pauses=(1, 2, 4, 5))

    retention(store, keep_last=2).prune(name(7))

    assert numbers(store) == [4, 5, 6, 7]
    assert states(store) == 5


def test_what_was_just_saved_is_not_read_again() -> None:
    store = filled(3)
    store.calls.clear()

    retention(store, keep_last=3).prune(name(3))

    assert not [kept for kept in store.did("get") if kept.startswith("state-")]


def test_damaged_ones_do_not_count_and_the_last_good_one_stays() -> None:
    store = filled(5)
    for number in (3, 4, 5):
        store.flip(name(number))

    retention(store, keep_last=1).prune()

    assert numbers(store) == [2, 3, 4, 5], "newer ones stay as they are"
    assert latest(store, "nightly").image.header.number == 2


def test_an_older_one_that_cannot_be_read_is_let_go() -> None:
    store = filled(4)
    store.flip(name(3), 30)

    retention(store, keep_last=2).prune()

    assert numbers(store) == [2, 4]
    assert states(store) == 3


@pytest.mark.parametrize("key", [None, KEY])
def test_without_a_good_one_nothing_is_let_go(key: bytes | None) -> None:
    store = filled(2, key=key)
    for number in (1, 2):
        store.flip(name(number))
    before = store.names()

    assert retention(store, keep_last=1, key=key).prune() == []
    assert store.names() == before


def test_with_a_wrong_key_nothing_is_let_go() -> None:
    store = filled(3, key=KEY)
    before = store.names()

    with pytest.raises(WrongKeyError):
        retention(store, keep_last=1, key=KEY[::-1]).prune()
    assert store.names() == before


def test_sealed_ones_are_pruned_as_others() -> None:
    store = filled(3, key=KEY)

    retention(store, keep_last=1, key=KEY).prune()

    assert (numbers(store), states(store)) == ([3], 2)


def test_what_a_newer_version_wrote_is_kept_with_all_states() -> None:
    store = filled(3)
    make_newer(store, 1)

    retention(store, keep_last=1).prune()

    assert (numbers(store), states(store)) == ([1, 3], 4)


def test_states_of_a_save_that_failed_are_let_go_and_history_is_not() -> None:
    store = filled(1)
    lease = store.lease()
    store.append(lease, "history-000001", b"facts", durable=True)
    store.put(lease, "state-" + "0" * 64, [b"of nobody"])
    store.put(lease, "something-else", [b"of somebody"])

    assert retention(store).prune() == ["state-" + "0" * 64]
    assert store.appended["nightly"] == {"history-000001": b"facts"}
    assert "something-else" in store.names()


def test_checkpoints_go_before_their_states_so_that_it_may_be_stopped_at_any_moment() -> None:
    store = filled(4)
    everything = dict(store.kept["nightly"])
    retention(store, keep_last=1).prune()
    deleted = store.did("delete")

    for stopped_after in range(len(deleted) + 1):
        store.kept["nightly"] = {k: v for k, v in everything.items() if k not in deleted[:stopped_after]}
        assert latest(store, "nightly").problems == []
        for number in numbers(store):
            load(store, "nightly", 1, number)
        retention(store, keep_last=1).prune()
        assert (numbers(store), states(store)) == ([4], 2)


@pytest.mark.parametrize("keep_last", [0, -1])
def test_one_checkpoint_at_least_is_kept(keep_last: int) -> None:
    store = filled(2)

    with pytest.raises(OptionError, match="keep_last is 1 or more"):
        retention(store, keep_last=keep_last).prune()


def test_the_newest_one_has_to_be_there() -> None:
    store = filled(2)

    with pytest.raises(InternalError, match="has no checkpoint 'checkpoint-000001-000009'"):
        retention(store).prune(name(9))
    assert numbers(store) == [1, 2]


def test_each_checkpoint_is_looked_into_once_however_many_pauses_there_are() -> None:
    store = filled(9, pauses=(1, 2, 3, 4, 5, 6))
    kept = retention(store, keep_last=1)
    kept.prune(name(9))
    store.calls.clear()

    assert kept.prune(name(9)) == []
    assert store.calls == []
    save(store, store.lease(), image(number=10, cause="interval"))
    store.calls.clear()

    assert name(9) in kept.prune(name(10))
    assert {*store.did("get")} == {name(10)}
