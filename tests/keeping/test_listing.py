"""What a store holds of a job is told by names."""

from __future__ import annotations

from routilux.keeping.listing import (
    Problem,
    checkpoint_name,
    history_name,
    list_checkpoints,
    list_histories,
    list_states,
)
from routilux.stores.base import OBJECT_NAME
from tests.keeping.store import FakeStore


def test_checkpoints_are_listed_newest_first_beyond_six_digits_too() -> None:
    store = FakeStore()
    lease = store.lease()
    for generation, number in [(1, 999_999), (1, 1_000_000), (2, 5), (10, 3)]:
        store.put(lease, checkpoint_name(generation, number), [b"x"])
    store.put(lease, "state-" + "0" * 64, [b"state"])
    store.put(lease, "checkpoint-new", [b"of somebody else"])

    listed = list_checkpoints(store, "nightly")

    assert [(kept.generation, kept.number) for kept in listed] == [(10, 3), (2, 5), (1, 1_000_000), (1, 999_999)]
    assert [kept.name for kept in listed][-1] == "checkpoint-000001-999999"
    assert list_states(store, "nightly") == {"state-" + "0" * 64: 5}


def test_history_logs_are_listed_oldest_first() -> None:
    store = FakeStore()
    lease = store.lease()
    for log in (history_name(12), history_name(2), "other"):
        store.append(lease, log, b"x", durable=False)

    assert list_histories(store, "nightly") == [2, 12]


def test_names_can_be_names_of_objects() -> None:
    for name in (checkpoint_name(1, 1), checkpoint_name(10**9, 10**9), history_name(10**9), "state-" + "f" * 64):
        assert OBJECT_NAME.fullmatch(name)


def test_a_problem_reads_as_a_line() -> None:
    assert str(Problem("history-000001", "it is torn")) == "history-000001: it is torn"
