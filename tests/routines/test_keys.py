from __future__ import annotations

import math
from enum import Enum, IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.routines import RecordError
from routilux.routines.keys import DIGEST_FROM, key_text

SIMPLE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(), st.just("i1"),
    st.integers(-2, 2), st.sampled_from([0.0, -0.0, 1.0, -1.0, math.inf]), st.text("a1:,();tsi", max_size=4),
)  # fmt: skip
KEYS = st.recursive(SIMPLE, lambda parts: st.lists(parts, max_size=3).map(tuple), max_leaves=6)


@given(KEYS, KEYS)
def test_two_keys_have_one_text_where_they_are_equal_and_only_there(one: Any, other: Any) -> None:
    assert (key_text(one, "it") == key_text(other, "it")) == (one == other)


@given(KEYS)
def test_a_text_is_short_and_can_be_a_key_of_a_state(key: Any) -> None:
    text = key_text(key, "it")
    assert 0 < len(text) <= DIGEST_FROM
    assert text.isprintable()


def test_long_and_broken_texts_are_told_apart() -> None:
    keys = ["a" * 100, "a" * 101, "\ud800", "\ud801", "\0", "\n", 10**5000, math.nan, "nan", "none", None]
    assert len({key_text(key, "it") for key in keys}) == len(keys)


@pytest.mark.parametrize("key", [[1], {"a": 1}, {1}, object(), (1, [2]), 1j])
def test_what_cannot_be_a_key_is_refused(key: Any) -> None:
    with pytest.raises(RecordError, match="it: expected None, a bool, number, text, bytes or a tuple of such, got "):
        key_text(key, "it")


class Color(str, Enum):  # noqa: UP042  whose own text is another
    RED = "red"


class Size(IntEnum):
    ONE = 1


def test_a_member_of_an_enum_has_the_text_of_what_it_is_equal_to() -> None:
    for key, equal in ((Color.RED, "red"), (Size.ONE, 1)):
        assert key == equal
        assert key_text(key, "it") == key_text(equal, "it")
