"""The committed form of a state, and the view on a state that is one object."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from routilux.errors import StateError
from routilux.messages import StateOp
from routilux.turn.objects import ObjectState
from routilux.turn.state import Unreadable, apply_ops, decode_state, encode_initial, is_same
from routilux.turn.tracked import TrackedState
from supervisors.errors import InternalError, ValueDecodingError, ValueEncodingError
from supervisors.wire import values


class Cursor(msgspec.Struct):
    position: int = 0
    seen: list[str] = []


class Fixed(msgspec.Struct, frozen=True):
    position: int = 0


@dataclasses.dataclass
class Tally:
    counts: dict[str, int] = dataclasses.field(default_factory=dict)


def test_apply_ops_sets_deletes_and_appends_in_order() -> None:
    committed: dict[str, Any] = {"a": 1, "b": 2}

    apply_ops(
        committed,
        [
            StateOp("set", "a", 3),
            StateOp("del", "b", None),
            StateOp("del", "gone", None),
            StateOp("append", "\0slot:in", b"1"),
            StateOp("append", "\0slot:in", b"2"),
        ],
    )

    assert committed == {"a": 3, "\0slot:in": [b"1", b"2"]}


def test_apply_ops_refuses_an_unknown_kind() -> None:
    with pytest.raises(InternalError, match="'append' or 'add', got 'grow'"):
        apply_ops({}, [StateOp("grow", "a", 1)])


def test_an_initial_state_keeps_immutable_values_and_encodes_the_others() -> None:
    state = {"n": 1, "f": 1.5, "t": "x", "b": True, "none": None, "raw": b"x", "list": [1], "tuple": (1,)}

    committed = encode_initial(state)

    assert {key for key, value in committed.items() if isinstance(value, bytes)} == {"raw", "list", "tuple"}
    assert decode_state(committed, None) == state


def test_a_reader_gets_fresh_copies_without_reserved_keys() -> None:
    committed = {**encode_initial({"list": [1]}), "\0slot:in": [b"x"]}

    decode_state(committed)["list"].append(2)

    assert decode_state(committed) == {"list": [1]}


class Gone:
    """Comes back in no other place."""

    def __reduce__(self) -> Any:
        return fail_to_load, ("gone\x1b[31m",)


def fail_to_load(text: str) -> None:
    raise SystemExit(text)


def test_a_value_that_cannot_be_decoded_hides_no_other() -> None:
    committed = encode_initial({"good": [1], "bad": Gone(), "n": 3})

    state = decode_state(committed)

    assert (state["good"], state["n"]) == ([1], 3)
    assert isinstance(state["bad"], Unreadable)
    assert state["bad"].size_bytes == len(committed["bad"])
    assert state["bad"].error.chain == ("SystemExit: gone\x1b[31m",)
    assert repr(state["bad"]).startswith(f"<unreadable, {len(committed['bad']):,} bytes: ")
    assert "SystemExit: gone\\x1b[31m" in repr(state["bad"])


class Refusing(msgspec.Struct):
    def __post_init__(self) -> None:
        raise SystemExit("not now")


def test_an_object_state_that_cannot_be_decoded_or_made_is_unreadable() -> None:
    bad, unmade = decode_state(encode_initial(Gone()), Cursor), decode_state({}, Refusing)

    assert isinstance(bad, Unreadable)
    assert isinstance(unmade, Unreadable)
    assert (str(unmade.error), unmade.size_bytes) == ("SystemExit: not now", 0)


def test_a_turn_that_reads_what_cannot_be_decoded_is_told() -> None:
    with pytest.raises(ValueDecodingError, match="gone"):
        ObjectState(encode_initial(Gone()), Cursor).value  # noqa: B018  reading is the test
    with pytest.raises(ValueDecodingError, match="gone"):
        TrackedState(encode_initial({"bad": Gone()}))["bad"]


@pytest.mark.parametrize("state", [Cursor(3, ["a"]), Fixed(4), Tally({"x": 1})])
def test_an_object_state_comes_back_equal(state: Any) -> None:
    assert decode_state(encode_initial(state), type(state)) == state


def test_an_object_state_that_was_never_committed_is_the_class_s_default() -> None:
    assert decode_state({}, Cursor) == Cursor()


@pytest.mark.parametrize(
    ("state", "words"),
    [({1: 2}, "is text, got 1 of type int"), ({"\0x": 1}, "zero character"), ({"\ud800": 1}, "valid Unicode")],
)
def test_a_key_that_cannot_be_one_is_refused(state: dict[Any, Any], words: str) -> None:
    with pytest.raises(StateError, match=words):
        encode_initial(state)


def test_a_value_that_cannot_be_carried_is_named_by_its_path() -> None:
    with pytest.raises(ValueEncodingError) as caught:
        encode_initial({"cart": {"items": [1, (n for n in ())]}})

    assert caught.value.path == "state['cart']['items'][1]"


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        (1, 1, True),
        (1, True, False),
        (1, 1.0, False),
        (0.0, -0.0, False),
        (float("nan"), float("nan"), True),
        ("a", "a", True),
        (b"b", b"b", True),
        (None, 0, False),
    ],
)
def test_values_are_the_same_only_if_their_types_are(before: Any, after: Any, same: bool) -> None:
    assert is_same(before, after) is same


def test_an_object_state_that_was_only_read_gives_no_operation() -> None:
    state = ObjectState(encode_initial(Cursor(1)), Cursor)
    state.begin()

    assert state.value.position == 1
    assert state.prepare() == []


def test_an_object_state_that_was_not_read_is_not_encoded() -> None:
    state = ObjectState({"": b"not an encoded value"}, Cursor)
    state.begin()

    assert state.prepare() == []


def test_a_nested_change_of_an_object_state_is_found() -> None:
    committed = encode_initial(Cursor(1))
    state = ObjectState(committed, Cursor)
    state.begin()
    state.value.seen.append("a")

    apply_ops(committed, state.prepare())

    assert decode_state(committed, Cursor) == Cursor(1, ["a"])


def test_a_frozen_object_state_is_replaced() -> None:
    committed = encode_initial(Fixed(1))
    state = ObjectState(committed, Fixed)
    state.begin()
    state.replace(Fixed(2))

    apply_ops(committed, state.prepare())

    assert decode_state(committed, Fixed) == Fixed(2)
    assert values.decode(committed[""]) == Fixed(2)


def test_an_object_state_is_rolled_back() -> None:
    state = ObjectState(encode_initial(Cursor(1)), Cursor)
    state.begin()
    state.value.position = 9
    state.rollback()

    assert state.value == Cursor(1)


def test_an_object_state_goes_on_with_the_same_object_after_an_accept() -> None:
    committed = encode_initial(Cursor(1))
    state = ObjectState(committed, Cursor)
    state.begin()
    cursor = state.value
    cursor.position = 2
    apply_ops(committed, state.prepare())
    state.accept()
    cursor.position = 3

    apply_ops(committed, state.prepare())

    assert decode_state(committed, Cursor).position == 3


def test_an_object_state_refuses_another_class() -> None:
    state = ObjectState({}, Cursor)

    with pytest.raises(StateError, match="is a Cursor, got dict"):
        state.replace({})


def test_a_committed_object_of_another_class_is_refused_when_it_is_read() -> None:
    state = ObjectState(encode_initial(Tally()), Cursor)

    with pytest.raises(StateError, match="is a Cursor, got Tally"):
        _ = state.value


def test_an_object_state_that_cannot_be_carried_is_named() -> None:
    state = ObjectState({}, Tally)
    state.begin()
    state.value.counts["bad"] = n = (n for n in ())

    with pytest.raises(ValueEncodingError, match=r"state\.counts\['bad'\]"):
        state.prepare()
    n.close()
