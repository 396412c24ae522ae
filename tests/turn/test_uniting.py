"""What a handler gets of several messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.errors import JoinError
from routilux.messages import Message
from routilux.model.merging import batch
from routilux.model.slot import Slot
from routilux.turn.tables import Incoming
from routilux.turn.uniting import Uniting, rename, to_lists

WAYS = {
    1: Incoming("in", (("n", "left"),), "a.out -> join.in"),
    2: Incoming("in", (("n", "right"),), "b.out -> join.in"),
    3: Incoming("in", (), "c.out -> join.in"),
}


def unite(strategy: Any, *came: tuple[int, dict[str, Any]], handler: Any = lambda **data: data) -> dict[str, Any]:
    members = [Message(edge, 1, data, edge) for edge, data in came]
    return Uniting(Slot("in", handler, strategy), WAYS).unite(members, dict)  # type: ignore[arg-type]


def test_a_join_gives_the_parameters_of_all_under_their_new_names() -> None:
    assert unite("all", (1, {"n": 1, "x": 0}), (2, {"n": 2}), (3, {"n": 3})) == {
        "left": 1, "x": 0, "right": 2, "n": 3
    }  # fmt: skip


def test_a_parameter_of_which_two_connections_bring_different_values_is_refused_and_nothing_is_lost() -> None:
    with pytest.raises(JoinError) as caught:
        unite("all", (1, {"n": 1, "x": 0}), (2, {"n": 2}), (3, {"x": 3}))
    assert str(caught.value) == (
        "slot 'in' takes something of each of its connections, and a.out -> join.in and c.out -> join.in bring "
        "different values of 'x': map one of them to another name (param_mapping)"
    )


@pytest.mark.parametrize("same", [5, "text", [1, {}], None, np.arange(3)])
def test_a_parameter_that_is_the_same_in_all_is_one(same: Any) -> None:
    joined = unite("all", (1, {"n": 1, "x": same}), (2, {"n": 2}), (3, {"x": same}))
    assert joined["x"] is same


@pytest.mark.parametrize(
    ("one", "other"), [(1, 2), (float("nan"), float("nan")), (np.arange(3), np.arange(3)), ([], ())]
)
def test_what_cannot_be_told_to_be_the_same_is_not(one: Any, other: Any) -> None:
    with pytest.raises(JoinError):
        unite("all", (1, {"x": one}), (2, {}), (3, {"x": other}))


def test_what_the_handler_does_not_take_may_differ() -> None:
    came = ((1, {"n": 1, "path": "a"}), (2, {"n": 2, "path": "b"}))
    assert unite("all", *came, handler=lambda left, right: (left, right)) == {"left": 1, "right": 2}
    with pytest.raises(JoinError):
        unite("all", *came, handler=lambda left, right, path="": (left, right, path))


def test_a_batch_gives_a_list_for_each_parameter_or_the_messages() -> None:
    came = [(1, {"n": 1, "x": 0}), (2, {"n": 2}), (1, {"n": 3})]
    assert unite(batch(3), *came) == {"left": [1, None, 3], "x": [0, None, None], "right": [None, 2, None]}
    assert unite(batch(3, into="rows"), *came) == {"rows": [{"left": 1, "x": 0}, {"right": 2}, {"left": 3}]}


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers()), min_size=1, max_size=8))
def test_the_lists_of_a_batch_are_of_one_length_and_say_what_was_in_each_message(
    messages: list[dict[str, int]],
) -> None:
    lists = to_lists(messages)
    assert lists.keys() == {name for message in messages for name in message}
    assert all(len(values) == len(messages) for values in lists.values())
    for at, message in enumerate(messages):
        row = {name: values[at] for name, values in lists.items() if values[at] is not None}
        assert row == message


def test_of_several_that_become_one_parameter_the_last_wins() -> None:
    assert rename({"a": 1, "b": 2, "c": 3}, (("a", "x"), ("b", "x"))) == {"c": 3, "x": 2}
    assert rename({"a": 1, "b": 2}, (("a", "b"), ("b", "a"))) == {"a": 2, "b": 1}
    assert rename({"a": 1}, ()) == {"a": 1}
