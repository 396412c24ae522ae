from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.errors import OptionError
from routilux.routines import CollectSink
from tests.routines.running import failure, flow_of, run, state_of

VALUES = st.lists(st.one_of(st.integers(), st.text(), st.lists(st.integers(), max_size=2)), max_size=12)


@given(VALUES, st.one_of(st.none(), st.integers(1, 5)))
def test_it_has_what_a_list_has(values: list[Any], keep: int | None) -> None:
    state = state_of(run(CollectSink("value", keep=keep), [{"value": value} for value in values]))
    assert CollectSink.items(state) == (values if keep is None else values[-keep:])


@pytest.mark.processes
def test_it_has_whole_messages_in_a_process() -> None:
    messages = [{"a": n, "b": [n]} for n in range(30)]
    assert CollectSink.items(state_of(run(CollectSink(), messages, placement="process"))) == messages


def test_a_state_without_anything_has_no_items() -> None:
    assert CollectSink.items({}) == []


def test_what_fails_and_what_cannot_be_is_told() -> None:
    assert "slot 'input' of routine 'it' expected 'a', got 'b'" in failure(CollectSink("a"), {"b": 1})
    keep: Any = 0
    with pytest.raises(OptionError, match="expected keep to be a number of at least 1, or None, got 0"):
        CollectSink(keep=keep)
    [problem] = flow_of(CollectSink(), placement="process", workers=2).check()[:1]
    assert "CollectSink keeps what it collects in its state" in problem.message
