"""Keys of messages, and who has them."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.errors import PartitionKeyError
from routilux.partitioning import decode_key, encode_key, find_key, find_keys, find_owner, is_key, names_of

PLAIN = st.one_of(st.text(), st.integers(), st.binary(), st.booleans(), st.none())
KEYS = st.recursive(PLAIN, lambda parts: st.lists(parts, max_size=4).map(tuple), max_leaves=8)


def typed(value: Any) -> Any:
    """A key with its types: 1 and True are two."""
    return tuple(map(typed, value)) if isinstance(value, tuple) else (type(value), value)


@given(KEYS)
def test_a_key_comes_back_from_its_text(key: Any) -> None:
    text = encode_key(key)
    assert typed(decode_key(text)) == typed(key)
    assert is_key(text)
    text.encode()


@given(KEYS, KEYS)
def test_only_equal_keys_of_one_type_have_one_text(one: Any, other: Any) -> None:
    assert (encode_key(one) == encode_key(other)) == (typed(one) == typed(other))


class Color(StrEnum):
    RED = "red"


class Size(IntEnum):
    BIG = 1


@pytest.mark.parametrize(
    "value", [1.0, [1], {}, object(), Color.RED, Size.BIG, bytearray(b"x"), (1, 2.0), ("a", [1]), "\ud800"]
)
def test_what_is_no_key_is_refused(value: Any) -> None:
    with pytest.raises(PartitionKeyError):
        encode_key(value)


def test_a_key_of_more_digits_than_python_writes_is_refused() -> None:
    with pytest.raises(PartitionKeyError, match="digits"):
        encode_key(10**5_000)


def test_a_key_of_too_many_tuples_within_tuples_is_refused() -> None:
    deep: Any = ()
    for _ in range(100):
        deep = (deep,)
    with pytest.raises(PartitionKeyError, match="tuple"):
        encode_key(deep)


@pytest.mark.parametrize(
    "text",
    ["", "q", "ix", "xzz", "t3:i1", "tx:i1", "t2:", "b2", "t-1:n", "t1:t3:", "i05", "i+5", "xAB", "s\ud800"],
)
def test_what_is_no_text_of_a_key_is_known(text: str) -> None:
    assert not is_key(text)


@given(st.text())
def test_any_text_is_a_key_or_not(text: str) -> None:
    is_key(text)


@pytest.mark.parametrize(
    ("mapping", "names"),
    [
        ([], ("user",)),
        ([("who", "user")], ("who", "user")),
        ([("user", "name")], ()),
        ([("a", "user"), ("b", "user")], ("b", "a", "user")),
        ([("user", "x"), ("a", "user")], ("a",)),
        ([("user", "user")], ("user",)),
    ],
)
def test_a_mapping_says_under_which_names_a_parameter_comes(mapping: Any, names: tuple[str, ...]) -> None:
    assert names_of("user", mapping) == names


def test_the_first_name_that_is_there_wins_and_none_is_an_error() -> None:
    assert find_key({"a": 1, "b": 2}, ("b", "a"), "emit('x')") == "i2"
    assert find_key({"a": 1}, ("b", "a"), "emit('x')") == "i1"
    assert find_keys({"a": 1}, (("a",), ()), "emit('x')") == ("i1", "")
    with pytest.raises(PartitionKeyError, match=r"emit\('x'\): expected parameter 'b' or 'c', got \['a'\]"):
        find_key({"a": 1}, ("b", "c"), "emit('x')")
    with pytest.raises(PartitionKeyError, match=r"emit\('x'\): parameter 'a': expected a key .* got a float"):
        find_key({"a": 1.5}, ("a",), "emit('x')")


@given(KEYS, st.sets(st.integers(0, 40), min_size=2, max_size=12))
def test_a_worker_that_goes_takes_its_own_keys_along_and_moves_no_other(key: Any, workers: set[int]) -> None:
    text = encode_key(key)
    owner = find_owner(text, workers)
    assert owner in workers
    for gone in workers - {owner}:
        assert find_owner(text, workers - {gone}) == owner
    # One that comes gets some, and no other does.
    assert find_owner(text, {*workers, 99}) in {owner, 99}


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_keys_are_spread_evenly(workers: int) -> None:
    count = 4_000
    hands = Counter(find_owner(encode_key(f"user-{n}"), range(workers)) for n in range(count))
    assert all(0.85 < hands[number] * workers / count < 1.15 for number in range(workers))


def test_the_owner_of_a_key_is_the_same_in_every_process() -> None:
    keys = ["a", 5, b"x", ("a", None, True)]
    code = f"""
from routilux.partitioning import encode_key, find_owner
print([find_owner(encode_key(key), range(7)) for key in {keys!r}])
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert told.strip() == str([find_owner(encode_key(key), range(7)) for key in keys])
