"""What slots gather: commits, failures, restores, and hands that hold on to it."""

# ruff: noqa: ARG005 - handlers and merge functions take what they are given

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from routilux.errors import JoinError, ResultError
from routilux.messages import StateOp
from routilux.model.slot import Slot
from routilux.turn.gather import Gather, make_gather, slot_key
from routilux.turn.state import apply_ops, decode_state
from routilux.turn.tables import Incoming
from supervisors.errors import InternalError, ValueEncodingError
from supervisors.wire import values

WAYS = {
    1: Incoming("in", (), "a.out -> join.in"),
    2: Incoming("in", (), "b.out -> join.in"),
    3: Incoming("in", (), "entry -> join.in", from_outside=True),
    4: Incoming("other", (), "a.out -> join.other"),
}
ENTRIES = {3: WAYS[3], 5: Incoming("in", (), "entry -> join", from_outside=True)}


def made(
    strategy: Any, committed: dict[str, Any] | None = None, ways: Any = WAYS, *, keeps_references: bool = True
) -> Gather:
    slot = Slot("in", lambda data: None, strategy)
    gather = make_gather(slot, {} if committed is None else committed, ways, keeps_references=keeps_references)
    assert gather is not None
    return gather


def take(gather: Gather, committed: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    merged = gather.merge(0, data, None)
    op = gather.prepare()
    apply_ops(committed, [] if op is None else [op])
    gather.accept()
    return merged


def test_override_keeps_nothing() -> None:
    assert make_gather(Slot("in", lambda data: None), {}, {}, keeps_references=True) is None


def test_an_unknown_strategy_is_impossible() -> None:
    slot = Slot("in", lambda data: None)
    slot.merge_strategy = "add"

    with pytest.raises(InternalError, match=r"cannot merge by .add."):
        make_gather(slot, {}, {}, keeps_references=True)


@pytest.mark.parametrize("keeps_references", [True, False])
def test_append_gives_a_list_per_parameter_of_all_that_came(keeps_references: bool) -> None:
    committed: dict[str, Any] = {}
    gather = made("append", committed, keeps_references=keeps_references)

    assert take(gather, committed, {"x": 1}) == {"x": [1]}
    assert take(gather, committed, {"x": 2, "y": [3]}) == {"x": [1, 2], "y": [[3]]}
    assert take(gather, committed, {}) == {"x": [1, 2], "y": [[3]]}
    assert decode_state(committed) == {}


def test_an_appended_message_costs_one_chunk_whatever_was_gathered() -> None:
    committed: dict[str, Any] = {}
    gather = made("append", committed)
    data = {"x": object()}
    for _ in range(100):
        take(gather, committed, data)

    gather.merge(0, data, None)

    assert gather.prepare() == StateOp("append", slot_key("in"), data)
    assert len(committed[slot_key("in")]) == 100


def test_a_chunk_that_came_as_bytes_stays_as_it_is() -> None:
    gather = made("append", keeps_references=False)
    gather.merge(0, {"x": 1}, b"as it came")

    op = gather.prepare()

    assert op is not None
    assert op.value == b"as it came"


def test_a_chunk_that_cannot_be_carried_is_named() -> None:
    gather = made("append", keeps_references=False)
    bad = (n for n in ())
    gather.merge(0, {"x": bad}, None)

    with pytest.raises(ValueEncodingError, match=r"slot\['in'\]\['x'\]"):
        gather.prepare()
    bad.close()


def test_a_failed_turn_s_data_is_taken_off_again() -> None:
    committed: dict[str, Any] = {}
    gather = made("append", committed)
    take(gather, committed, {"x": 1})
    gather.merge(0, {"x": 2, "y": 3}, None)
    gather.rollback()
    gather.rollback()

    assert gather.prepare() is None
    assert take(gather, committed, {"x": 4}) == {"x": [1, 4]}


def test_a_turn_that_nobody_ended_is_taken_off_by_the_next() -> None:
    committed: dict[str, Any] = {}
    gather = made("append", committed)
    gather.merge(0, {"x": 1}, None)

    assert gather.merge(0, {"x": 2}, None) == {"x": [2]}


def test_a_list_that_somebody_holds_never_changes_under_their_hands() -> None:
    committed: dict[str, Any] = {}
    gather = made("append", committed)
    held = [take(gather, committed, {"x": number})["x"] for number in range(4)]
    failed = gather.merge(0, {"x": 9}, None)["x"]
    gather.rollback()

    assert held == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]
    assert failed == [0, 1, 2, 3, 9]
    assert take(gather, committed, {"x": 4}) == {"x": [0, 1, 2, 3, 4]}


def test_a_list_that_nobody_holds_is_not_copied() -> None:
    committed: dict[str, Any] = {}
    gather = made("append", committed)
    first = id(take(gather, committed, {"x": 0})["x"])

    assert id(take(gather, committed, {"x": 1})["x"]) == first
    gather.merge(0, {"x": 2}, None)
    gather.rollback()
    assert id(take(gather, committed, {"x": 3})["x"]) == first


def test_a_list_whose_length_a_handler_changed_is_restored() -> None:
    committed: dict[str, Any] = {}
    gather = made("append", committed)
    take(gather, committed, {"x": 0})["x"].clear()

    assert take(gather, committed, {"x": 1}) == {"x": [0, 1]}


@pytest.mark.parametrize("keeps_references", [True, False])
def test_what_was_gathered_is_restored_from_the_committed_state(keeps_references: bool) -> None:
    committed: dict[str, Any] = {slot_key("in"): [{"x": 1}, values.encode({"x": 2, "y": 3})]}

    merged = made("append", committed, keeps_references=keeps_references).merge(0, {"x": 4}, None)

    assert merged == {"x": [1, 2, 4], "y": [3]}


def test_a_commit_that_was_refused_leaves_nothing() -> None:
    committed: dict[str, Any] = {}
    gather = made("append", committed)
    gather.merge(0, {"x": 1}, None)
    gather.prepare()
    gather.accept()  # the ledger took no notice of it

    assert gather.merge(0, {"x": 2}, None) == {"x": [2]}


def add(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return {"n": old["n"] + new["n"]}


def test_a_function_merges_what_was_with_what_comes() -> None:
    committed: dict[str, Any] = {}
    gather = made(add, committed)

    assert [take(gather, committed, {"n": n}) for n in (1, 2, 3)] == [{"n": 1}, {"n": 3}, {"n": 6}]
    assert decode_state(committed) == {}
    assert made(add, committed).merge(0, {"n": 4}, None) == {"n": 10}


def test_a_function_s_merging_is_undone_by_a_failed_turn() -> None:
    committed: dict[str, Any] = {}
    gather = made(add, committed)
    take(gather, committed, {"n": 1})
    gather.merge(0, {"n": 5}, None)
    gather.rollback()

    assert gather.prepare() is None
    assert take(gather, committed, {"n": 2}) == {"n": 3}


def test_a_function_may_change_both_of_its_dicts() -> None:
    def extend(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        old["items"].extend(new.pop("items"))
        return old

    committed: dict[str, Any] = {}
    gather = made(extend, committed)
    first, second = {"items": [1]}, {"items": [2]}
    take(gather, committed, first)
    gather.merge(0, second, None)
    gather.rollback()

    assert take(gather, committed, second) == {"items": [1, 2]}
    assert (first, second) == ({"items": [1]}, {"items": [2]})


def test_a_merge_that_changes_nothing_gives_no_operation() -> None:
    committed: dict[str, Any] = {}
    gather = made(lambda old, new: old, committed)
    take(gather, committed, {"n": 1})
    gather.merge(0, {"n": 2}, None)

    assert gather.prepare() is None


@pytest.mark.parametrize("result", [None, [1], 5])
def test_a_function_that_gives_no_dict_is_named(result: Any) -> None:
    committed: dict[str, Any] = {}
    gather = made(lambda old, new: result, committed)
    take(gather, committed, {"n": 1})

    with pytest.raises(ResultError, match=f"of slot 'in' gives a dict, got {type(result).__name__}"):
        gather.merge(0, {"n": 2}, None)
    assert gather.prepare() is None


def _joined(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return {**old, **new, "count": old.get("count", 1) + 1}


def _appended(messages: list[dict[str, Any]]) -> dict[str, Any]:
    lists: dict[str, list[Any]] = {}
    for message in messages:
        for name, value in message.items():
            lists.setdefault(name, []).append(value)
    return lists


def _folded(messages: list[dict[str, Any]]) -> dict[str, Any]:
    merged = dict(messages[0])
    for message in messages[1:]:
        merged = _joined(merged, message)
    return merged


def give(gather: Gather, committed: dict[str, Any], edge: int, data: dict[str, Any]) -> dict[str, Any] | None:
    merged = gather.merge(edge, data, None)
    op = gather.prepare()
    apply_ops(committed, [] if op is None else [op])
    gather.accept()
    return merged


def test_the_latest_of_each_connection_is_given_once_there_is_one_of_each() -> None:
    committed: dict[str, Any] = {}
    gather = made("latest", committed)
    came = [(1, {"a": 1}), (1, {"a": 2}), (2, {"b": [3]}), (2, {"c": 4}), (1, {"a": 5})]

    assert [give(gather, committed, *one) for one in came] == [
        None,
        None,
        {"a": 2, "b": [3]},
        {"a": 2, "c": 4},
        {"a": 5, "c": 4},
    ]
    assert decode_state(committed) == {}
    assert made("latest", committed).merge(2, {"b": 6}, None) == {"a": 5, "b": 6}


def test_a_failed_turn_s_message_is_not_the_latest() -> None:
    committed: dict[str, Any] = {}
    gather = made("latest", committed)
    give(gather, committed, 1, {"a": 1})
    gather.merge(2, {"b": 2}, None)
    gather.rollback()

    assert gather.prepare() is None
    assert give(gather, committed, 1, {"a": 3}) is None
    assert give(gather, committed, 2, {"b": 4}) == {"a": 3, "b": 4}


def test_the_latest_of_connections_that_bring_different_values_of_a_parameter_is_refused() -> None:
    committed: dict[str, Any] = {}
    gather = made("latest", committed)
    give(gather, committed, 1, {"n": 1})
    with pytest.raises(JoinError, match=r"a.out -> join.in and b.out -> join.in bring different values of 'n'"):
        gather.merge(2, {"n": 2}, None)


def test_the_latest_of_a_connection_that_is_gone_is_let_go() -> None:
    committed: dict[str, Any] = {}
    gather = made("latest", committed)
    give(gather, committed, 1, {"a": 1})
    give(gather, committed, 2, {"b": 2})
    fewer = made("latest", committed, {2: WAYS[2]})

    assert give(fewer, committed, 2, {"b": 3}) == {"b": 3}
    more = made("latest", committed)
    assert give(more, committed, 2, {"b": 4}) is None


def test_what_comes_from_outside_alone_is_the_latest_by_itself() -> None:
    committed: dict[str, Any] = {}
    gather = made("latest", committed, ENTRIES)
    assert give(gather, committed, 3, {"n": 1}) == {"n": 1}
    assert give(gather, committed, 5, {"n": 2}) == {"n": 2}


@pytest.mark.parametrize("keeps_references", [True, False])
def test_the_latest_that_cannot_be_carried_is_named(keeps_references: bool) -> None:
    gather = made("latest", keeps_references=keeps_references)
    gather.merge(1, {"x": (n for n in ())}, None)
    with pytest.raises(ValueEncodingError, match=r"slot\['in'\]"):
        gather.prepare()


class Gathering(RuleBasedStateMachine):
    """Any messages, failures and restarts, against the list of the messages that were committed."""

    strategy: Any = "append"
    model: Callable[[list[dict[str, Any]]], dict[str, Any]] = staticmethod(_appended)
    keeps_references = True

    def __init__(self) -> None:
        super().__init__()
        self.committed: dict[str, Any] = {}
        self.accepted: list[dict[str, Any]] = []
        self.held: list[tuple[Any, Any]] = []
        self.restart()

    @rule()
    def restart(self) -> None:
        self.gather = made(self.strategy, self.committed, keeps_references=self.keeps_references)

    @rule(
        data=st.dictionaries(st.sampled_from("xyz"), st.integers(), max_size=3),
        fails=st.booleans(),
        is_held=st.booleans(),
    )
    def message(self, data: dict[str, Any], fails: bool, is_held: bool) -> None:
        merged = self.gather.merge(0, data, None)
        expected = self.model([*self.accepted, data])
        assert merged == expected
        if is_held:
            self.held.append((merged, expected))
        if fails:
            self.gather.rollback()
            return
        op = self.gather.prepare()
        apply_ops(self.committed, [] if op is None else [op])
        self.gather.accept()
        self.accepted.append(data)

    def teardown(self) -> None:
        for merged, expected in self.held:
            assert merged == expected


class GatheringEncoded(Gathering):
    keeps_references = False


class GatheringByFunction(Gathering):
    strategy = staticmethod(_joined)
    model = staticmethod(_folded)


TestAppend = Gathering.TestCase
TestAppendEncoded = GatheringEncoded.TestCase
TestByFunction = GatheringByFunction.TestCase
