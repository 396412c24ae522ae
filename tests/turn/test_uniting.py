"""What a handler gets of several messages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.errors import JoinError
from routilux.messages import Message
from routilux.model.merging import batch
from routilux.turn.tables import Incoming
from routilux.turn.uniting import Uniting, rename, to_lists

WAYS = {
    1: Incoming("in", (("n", "left"),), "a.out -> join.in"),
    2: Incoming("in", (("n", "right"),), "b.out -> join.in"),
    3: Incoming("in", (), "c.out -> join.in"),
}


def unite(strategy: Any, *came: tuple[int, dict[str, Any]]) -> dict[str, Any]:
    members = [Message(edge, 1, data, edge) for edge, data in came]
    return Uniting("in", strategy, WAYS).unite(members, dict)  # type: ignore[arg-type]


def test_a_join_gives_the_parameters_of_all_under_their_new_names() -> None:
    assert unite("all", (1, {"n": 1, "x": 0}), (2, {"n": 2}), (3, {"n": 3})) == {
        "left": 1, "x": 0, "right": 2, "n": 3
    }  # fmt: skip


def test_a_parameter_that_two_connections_bring_is_refused_and_nothing_is_lost() -> None:
    with pytest.raises(JoinError) as caught:
        unite("all", (1, {"n": 1, "x": 0}), (2, {"n": 2}), (3, {"x": 3}))
    assert str(caught.value) == (
        "slot 'in' takes something of each of its connections, and both a.out -> join.in and c.out -> join.in "
        "bring 'x': map one of them to another name (param_mapping)"
    )


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
