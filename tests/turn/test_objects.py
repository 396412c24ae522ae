from __future__ import annotations

from typing import Any

import msgspec
import pytest

from routilux.errors import StateError
from routilux.turn.objects import InPlaceState, NoState, ValueState
from routilux.turn.state import Held, Live, apply_ops, decode_state, encode_initial
from routilux.turn.values import PICKLED
from supervisors.errors import ValueDecodingError, ValueEncodingError
from tests.turn.strict import STRICT


class Point(msgspec.Struct, frozen=True):
    x: int = 0


class Counting:
    """A codec that counts."""

    def __init__(self) -> None:
        self.encoded = self.decoded = self.checked = 0

    def encode(self, value: Any, path: str) -> bytes:
        self.encoded += 1
        return PICKLED.encode(value, path)

    def decode(self, data: bytes) -> Any:
        self.decoded += 1
        return PICKLED.decode(data)

    def check(self, value: Any, path: str) -> None:
        self.checked += 1


# -- One immutable value


def test_a_value_on_a_thread_is_the_very_object_and_never_encoded() -> None:
    codec, first, second = Counting(), Point(1), Point(2)
    committed = encode_initial(first, "value", codec, by_reference=True)
    state = ValueState(committed, Point, codec, keeps_references=True)
    assert state.value is first
    state.replace(second)
    assert state.value is second
    apply_ops(committed, state.prepare())
    state.accept()

    assert state.value is second
    assert decode_state(committed, Point, policy="value") is second
    assert (codec.encoded, codec.decoded, codec.checked) == (0, 0, 2)


def test_a_value_in_a_process_is_encoded_when_it_is_another_and_decoded_once() -> None:
    codec = Counting()
    committed = encode_initial(Point(1), "value", codec)
    state = ValueState(committed, Point, codec, keeps_references=False)
    first = state.value
    state.begin()
    assert state.value is first
    state.replace(first)
    assert state.prepare() == []

    second = Point(2)
    state.replace(second)
    apply_ops(committed, state.prepare())
    state.begin()
    assert state.value is second
    assert (codec.encoded, codec.decoded) == (2, 1)


@pytest.mark.parametrize("keeps_references", [True, False])
def test_a_value_is_rolled_back_to_the_object_before(keeps_references: bool) -> None:
    committed = encode_initial(Point(1), "value", by_reference=keeps_references)
    state = ValueState(committed, Point, keeps_references=keeps_references)
    before = state.value
    state.replace(Point(2))
    state.prepare()
    state.rollback()
    assert state.value is before


def test_an_equal_value_in_a_process_is_no_change() -> None:
    state = ValueState(encode_initial(Point(1), "value"), Point, keeps_references=False)
    state.replace(Point(1))
    assert state.prepare() == []


@pytest.mark.parametrize("keeps_references", [True, False])
def test_a_value_without_a_class_may_be_anything_and_begins_with_none(keeps_references: bool) -> None:
    committed: dict[str, Any] = {}
    state = ValueState(committed, keeps_references=keeps_references)
    assert state.value is None
    assert decode_state(committed, policy="value") is None
    for value in (3, (1, 2), frozenset({"a"})):
        state.replace(value)
        apply_ops(committed, state.prepare())
        state.begin()
        assert state.value == value == decode_state(committed, policy="value")


def test_a_value_of_another_class_is_refused() -> None:
    state = ValueState({}, Point, keeps_references=True)
    with pytest.raises(StateError, match="the state of this routine is a Point, got int"):
        state.replace(3)
    with pytest.raises(StateError, match="got str"):
        _ = ValueState({"": Held("x")}, Point, keeps_references=True).value
    with pytest.raises(StateError, match="got str"):
        _ = ValueState({"": PICKLED.encode("x", "")}, Point, keeps_references=False).value
    with pytest.raises(ValueDecodingError):
        _ = ValueState({"": b"nothing"}, Point, keeps_references=False).value


def test_a_value_by_reference_is_checked_at_the_commit() -> None:
    state = ValueState({}, None, STRICT, keeps_references=True)
    state.replace({"a": {1}})
    with pytest.raises(ValueEncodingError, match=r"^state\['a'\]"):
        state.prepare()


# -- In place


def test_a_state_in_place_is_neither_copied_nor_encoded_by_a_turn() -> None:
    codec = Counting()
    committed = encode_initial({"rows": []}, "in_place", codec)
    live = committed[""].value
    state = InPlaceState(committed, None, codec)
    encoded = codec.encoded
    for n in range(3):
        state.begin()
        state.value["rows"].append(n)
        assert state.prepare() == []
    state.rollback()

    assert state.value is live
    assert live == {"rows": [0, 1, 2]}, "a roll-back leaves what was changed in place"
    assert (codec.encoded, codec.checked) == (encoded, 0)


def test_each_job_changes_a_copy_of_its_own_in_place() -> None:
    initial: dict[str, Any] = {"rows": []}
    committed = encode_initial(initial, "in_place")
    InPlaceState(committed).value["rows"].append(1)
    assert initial == {"rows": []}
    assert encode_initial(initial, "in_place")[""].value == {"rows": []}


def test_a_state_in_place_that_is_replaced_waits_for_the_commit() -> None:
    committed = encode_initial({"a": 1}, "in_place")
    state = InPlaceState(committed)
    state.replace({"b": 2})
    state.rollback()
    assert state.value == {"a": 1}
    state.replace({"c": 3})
    apply_ops(committed, state.prepare())
    state.accept()
    assert state.prepare() == []
    assert decode_state(committed, policy="in_place", at_rest=True) == {"c": 3}


def test_a_state_in_place_that_is_replaced_is_checked() -> None:
    state = InPlaceState({}, None, STRICT)
    state.replace({"a": {1}})
    with pytest.raises(ValueEncodingError, match=r"^state\['a'\]"):
        state.prepare()


def test_a_state_in_place_is_of_its_class() -> None:
    with pytest.raises(StateError, match="is a dict, got int"):
        InPlaceState({}).replace(3)
    with pytest.raises(StateError, match="is a Point, got int"):
        _ = InPlaceState({"": Live(3)}, Point).value
    assert InPlaceState({}, Point).value == Point(0)


def test_a_state_in_place_that_may_be_changed_is_not_handed_out() -> None:
    committed = encode_initial({"a": 1}, "in_place")
    told = repr(decode_state(committed, policy="in_place"))
    assert told == "<changed in place: read it in a handler, or when the job is over>"


# -- None


def test_a_routine_without_a_state_says_so() -> None:
    state = NoState({}, "r")
    state.begin()
    with pytest.raises(StateError, match="r has no state: its state_policy is 'none'"):
        _ = state.value
    with pytest.raises(StateError, match="has no state"):
        state.replace({})
    assert state.prepare() == []
    state.accept()
    state.rollback()
    assert decode_state({}, policy="none") is None
