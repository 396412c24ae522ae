"""A dict state during turns, against a naive model that copies everything."""

from __future__ import annotations

import copy
import enum
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from routilux.errors import StateError
from routilux.messages import StateOp
from routilux.turn.state import apply_ops, decode_state, encode_initial
from routilux.turn.tracked import TrackedState, find_reserved
from supervisors.errors import ValueEncodingError


def started(state: dict[str, Any] | None = None) -> tuple[dict[str, Any], TrackedState]:
    committed = encode_initial(state or {})
    tracked = TrackedState(committed)
    tracked.begin()
    return committed, tracked


def commit(committed: dict[str, Any], tracked: TrackedState) -> list[StateOp]:
    ops = tracked.prepare()
    apply_ops(committed, ops)
    tracked.accept()
    tracked.begin()
    return ops


def test_it_behaves_as_the_dict_it_stands_for() -> None:
    _, state = started({"a": 1, "b": [1]})

    assert state == {"a": 1, "b": [1]}
    assert state != {"a": 1}
    assert state != {"a": 1, "b": [2]}
    assert state != 5
    assert (len(state), list(state), "a" in state, "c" in state, 7 in state) == (2, ["a", "b"], True, False, False)
    assert (state["a"], state.get("c"), state.get("c", 4), state.get("b")) == (1, None, 4, [1])
    assert repr(state) == "{'a': 1, 'b': [1]}"
    assert dict(state) == state.copy() == {"a": 1, "b": [1]}
    assert bool(state) is True
    assert list(reversed(state)) == ["b", "a"]


def test_it_changes_as_a_dict_does() -> None:
    _, state = started({"a": 1, "b": [1]})

    state |= {"c": 3}
    state.update(d=4)
    assert state.setdefault("e", []) == []
    state["e"].append(5)
    assert state.setdefault("a", 9) == 1
    assert state.pop("b") == [1]
    assert state.pop("b", None) is None
    del state["a"]

    assert state == {"c": 3, "d": 4, "e": [5]}
    assert state.popitem() == ("e", [5])
    assert (state | {"x": 1}, {"x": 1} | state) == ({"c": 3, "d": 4, "x": 1}, {"x": 1, "c": 3, "d": 4})
    state.clear()
    assert (state, len(state), list(state)) == ({}, 0, [])


@pytest.mark.parametrize(
    ("act", "error"),
    [
        pytest.param(lambda s: s["x"], KeyError, id="get"),
        pytest.param(lambda s: s.pop("x"), KeyError, id="pop"),
        pytest.param(lambda s: s.__delitem__("x"), KeyError, id="del"),
        pytest.param(lambda s: s.__delitem__("\0slot:in"), KeyError, id="del reserved"),
        pytest.param(lambda s: s["\0slot:in"], KeyError, id="get reserved"),
        pytest.param(lambda s: s[["x"]], TypeError, id="unhashable"),
        pytest.param(lambda s: ["x"] in s, TypeError, id="in unhashable"),
        pytest.param(hash, TypeError, id="hash"),
        pytest.param(lambda s: s | 5, TypeError, id="or"),
        pytest.param(lambda s: s.clear() or s.popitem(), KeyError, id="popitem"),
    ],
)
def test_it_fails_as_a_dict_does(act: Callable[[TrackedState], Any], error: type[Exception]) -> None:
    state = TrackedState({"a": 1, "\0slot:in": [b"x"]})

    with pytest.raises(error):
        act(state)


@pytest.mark.parametrize(
    ("key", "words"), [(1, "is text, got 1"), ("\0slot:in", "zero character"), ("\ud800", "valid Unicode")]
)
def test_a_key_that_cannot_be_one_is_refused(key: Any, words: str) -> None:
    _, state = started()

    with pytest.raises(StateError, match=words):
        state[key] = 1
    with pytest.raises(StateError, match=words):
        state.replace({"a": 1, key: 1})
    assert state == {}


def test_the_empty_key_and_keys_beyond_ascii_are_keys_as_any() -> None:
    committed, state = started()
    state[""] = 1
    state["é"] = [2]
    commit(committed, state)

    assert decode_state(committed) == {"": 1, "é": [2]} == state


def test_a_text_enumeration_is_kept_as_its_text() -> None:
    class Color(enum.StrEnum):
        RED = "red"

    committed, state = started()
    state[Color.RED] = 1
    commit(committed, state)

    assert [type(key) for key in committed] == [str]
    assert state[Color.RED] == state["red"] == 1


def test_a_size_that_changes_while_keys_are_iterated_is_an_error_as_of_a_dict() -> None:
    _, state = started({"a": 1, "b": 2})

    for key in state:
        state[key] = 3
    with pytest.raises(RuntimeError, match="changed size"):
        state.update((key + "x", 1) for key in state)


def test_reserved_keys_never_show() -> None:
    committed = {"a": 1, "\0slot:in": [b"x"]}
    state = TrackedState(committed, find_reserved(committed, "\0slot:other"))
    apply_ops(committed, [StateOp("append", "\0slot:other", b"y")])

    assert (state, len(state), list(state), list(reversed(state))) == ({"a": 1}, 1, ["a"], ["a"])
    assert "\0slot:in" not in state
    assert state.get("\0slot:in", 5) == 5


def test_only_what_was_touched_and_differs_gives_operations() -> None:
    committed, state = started({"n": 1, "same": 2, "list": [1], "read": [2], "other": [3], "gone": 4})
    state["n"] += 1
    state["same"] = 2
    state["list"].append(2)
    assert state["read"] == [2]
    del state["gone"]
    state["brief"] = 1
    del state["brief"]
    state["new"] = {"a": 1}

    ops = commit(committed, state)

    assert [(op.kind, op.key) for op in ops] == [("set", "n"), ("set", "list"), ("del", "gone"), ("set", "new")]
    assert decode_state(committed) == {"n": 2, "same": 2, "list": [1, 2], "read": [2], "other": [3], "new": {"a": 1}}


def test_keys_length_and_words_touch_nothing() -> None:
    committed, state = started({"a": [1]})
    committed["a"] = b"nothing that can be decoded"

    assert (list(state), len(state), "a" in state, list(state.keys())) == (["a"], 1, True, ["a"])
    assert state.prepare() == []


def test_values_and_items_touch_what_they_hand_out() -> None:
    committed, state = started({"a": [1], "b": [2]})
    next(iter(state.values())).append(9)
    for key, value in state.items():
        if key == "b":
            value.append(8)

    commit(committed, state)

    assert decode_state(committed) == {"a": [1, 9], "b": [2, 8]}


def test_a_failed_turn_keeps_no_nested_change() -> None:
    _, state = started({"a": [1], "n": 1})
    state["a"].append(2)
    state["n"] = 2
    state["new"] = 3
    state.rollback()

    assert state == {"a": [1], "n": 1}
    assert state.prepare() == []


def test_a_rollback_goes_back_to_the_last_accept() -> None:
    committed, state = started({"a": [1]})
    held = state["a"]
    held.append(2)
    apply_ops(committed, state.prepare())
    state.accept()
    held.append(3)
    state.rollback()

    assert state["a"] == [1, 2]


def test_what_a_generator_holds_across_its_commit_stays_touched() -> None:
    committed, state = started()
    held = state.setdefault("seen", [])
    for number in range(3):
        held.append(number)
        apply_ops(committed, state.prepare())
        state.accept()

    assert decode_state(committed) == {"seen": [0, 1, 2]}


def test_one_object_under_two_keys_is_two_in_the_next_turn() -> None:
    committed, state = started()
    shared: list[int] = []
    state["a"] = state["b"] = shared
    commit(committed, state)
    state["a"].append(1)
    commit(committed, state)
    shared.append(9)

    assert decode_state(committed) == state == {"a": [1], "b": []}


def test_a_whole_new_dict_replaces_everything() -> None:
    committed, state = started({"a": 1, "b": [2], "c": 3})
    state.replace({"b": [2], "c": 4, "d": 5})

    ops = commit(committed, state)

    assert sorted((op.kind, op.key) for op in ops) == [("del", "a"), ("set", "c"), ("set", "d")]
    assert decode_state(committed) == state == {"b": [2], "c": 4, "d": 5}


def test_assigning_the_state_to_itself_changes_nothing() -> None:
    _, state = started({"a": 1})
    state["b"] = 2
    state.replace(state)

    assert state == {"a": 1, "b": 2}


def test_what_is_no_mapping_is_refused_as_a_state() -> None:
    _, state = started({"a": 1})

    with pytest.raises(StateError, match="is a dict, got list"):
        state.replace([1])


def test_a_value_that_cannot_be_carried_is_named_by_its_path() -> None:
    _, state = started({"cart": {"items": [1]}})
    state["cart"]["items"].append(iter_nothing := (n for n in ()))

    with pytest.raises(ValueEncodingError) as caught:
        state.prepare()
    assert caught.value.path == "state['cart']['items'][1]"
    iter_nothing.close()


def test_a_copy_or_pickle_of_it_is_a_plain_dict() -> None:
    _, state = started({"a": [1]})

    for other in (copy.copy(state), copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
        assert type(other) is dict
        assert other == {"a": [1]}


def test_a_turn_looks_at_the_keys_it_touched_and_at_no_others() -> None:
    class Counting(dict[str, Any]):
        looks = 0

        def __iter__(self) -> Any:
            raise AssertionError("a turn went through all keys")

        items = values = keys = copy = __iter__

        def __getitem__(self, key: str) -> Any:
            self.looks += 1
            return super().__getitem__(key)

    committed = encode_initial({f"k{number}": number for number in range(1_000)})
    state = TrackedState(committed)
    state._committed = counting = Counting(committed)
    state.begin()
    state["k5"] += 1
    assert "k7" in state
    assert len(state) == 1_000

    assert state.prepare() == [StateOp("set", "k5", 6)]
    state.accept()
    state.rollback()
    assert counting.looks == 1


leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3) | st.binary(max_size=3)
)
contents = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(["a", "b", "c", "d", "é", ""])


class Turns(RuleBasedStateMachine):
    """Any turns on a tracked state and on a dict that is deep-copied at each commit."""

    def __init__(self) -> None:
        super().__init__()
        self.committed = encode_initial({"a": 1, "b": [1, {"x": []}]})
        self.tracked = TrackedState(self.committed)
        self.model_committed: dict[str, Any] = {"a": 1, "b": [1, {"x": []}]}
        self.model = copy.deepcopy(self.model_committed)

    held = Bundle("held")

    @rule(target=held, key=keys)
    def read(self, key: str) -> tuple[Any, Any]:
        assert (key in self.tracked) is (key in self.model)
        return self.tracked.get(key), self.model.get(key)

    @rule(pair=consumes(held), value=contents)
    def change_nested(self, pair: tuple[Any, Any], value: Any) -> None:
        # Whatever was read at any time, in this turn or before: a stale object must reach nothing.
        for part in pair:
            if isinstance(part, list):
                part.append(copy.deepcopy(value))
            elif isinstance(part, dict):
                part["n"] = copy.deepcopy(value)

    @rule(key=keys, value=contents)
    def write(self, key: str, value: Any) -> None:
        self.tracked[key] = copy.deepcopy(value)
        self.model[key] = copy.deepcopy(value)

    @rule(key=keys, other=keys)
    def share(self, key: str, other: str) -> None:
        if key in self.model:
            self.tracked[other] = self.tracked[key]
            self.model[other] = self.model[key]

    @rule(key=keys)
    def remove(self, key: str) -> None:
        assert self.tracked.pop(key, None) == self.model.pop(key, None)

    @rule(value=st.dictionaries(keys, contents, max_size=3))
    def replace(self, value: dict[str, Any]) -> None:
        self.tracked.replace(copy.deepcopy(value))
        self.model = copy.deepcopy(value)

    @rule()
    def commit_and_begin(self) -> None:
        apply_ops(self.committed, self.tracked.prepare())
        self.tracked.accept()
        self.tracked.begin()
        self.model_committed = _separate(self.model)
        self.model = _separate(self.model)

    @rule()
    def commit_and_go_on(self) -> None:
        apply_ops(self.committed, self.tracked.prepare())
        self.tracked.accept()
        self.model_committed = _separate(self.model)

    @rule()
    def fail(self) -> None:
        self.tracked.rollback()
        self.model = _separate(self.model_committed)

    @rule()
    def boot_again(self) -> None:
        self.tracked = TrackedState(dict(self.committed))
        self.tracked._committed = self.committed
        self.model = _separate(self.model_committed)

    @invariant()
    def is_equal(self) -> None:
        assert self.tracked == self.model
        assert len(self.tracked) == len(self.model)
        assert set(self.tracked) == set(self.model)
        assert decode_state(self.committed) == self.model_committed
        if not self.tracked._working:
            assert self.tracked.prepare() == []


def _separate(state: dict[str, Any]) -> dict[str, Any]:
    # Key by key: what two keys shared is two objects after a commit.
    return {key: copy.deepcopy(value) for key, value in state.items()}


TestTurns = Turns.TestCase
