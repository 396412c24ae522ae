from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.errors import OptionError
from routilux.routines import Deduplicate
from tests.routines.running import emitted, failure, flow_of, run, state_of

LETTERS = st.lists(st.sampled_from("abcdef"), max_size=25)


@given(LETTERS)
def test_without_a_bound_it_gives_what_a_plain_loop_gives(letters: list[str]) -> None:
    messages = [{"letter": letter, "at": at} for at, letter in enumerate(letters)]
    seen, expected = set(), []
    for message in messages:
        if message["letter"] not in seen:
            seen.add(message["letter"])
            expected.append(message)
    assert emitted(run(Deduplicate("letter"), messages)) == expected


@given(LETTERS, st.integers(1, 4))
def test_with_a_bound_it_gives_what_a_plain_loop_gives_and_remembers_no_more(letters: list[str], keep: int) -> None:
    newest: dict[str, None] = {}
    expected = []
    for letter in letters:
        if letter not in newest:
            expected.append({"letter": letter})
        newest.pop(letter, None)
        newest[letter] = None
        if len(newest) > keep:
            del newest[next(iter(newest))]
    state = run(Deduplicate(lambda letter: letter.upper(), keep=keep), [{"letter": letter} for letter in letters])
    assert emitted(state) == expected
    kept = state_of(state)
    assert sum(key.startswith("key ") for key in kept) == sum(key.startswith("at ") for key in kept) == len(newest)


def test_the_whole_message_is_the_key_where_none_is_given() -> None:
    messages = [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1}, {"a": 1, "b": 3}]
    assert emitted(run(Deduplicate(), messages)) == [messages[0], messages[2], messages[3]]


@pytest.mark.processes
def test_it_is_exact_in_a_process() -> None:
    state = run(Deduplicate("n", keep=10), [{"n": n % 7} for n in range(50)], placement="process")
    assert emitted(state) == [{"n": n} for n in range(7)]


def test_what_fails_is_told() -> None:
    assert "the key of Deduplicate: expected None, a bool" in failure(Deduplicate("n"), {"n": [1]})
    assert "slot 'input' of routine 'it' expected 'n', got 'm'" in failure(Deduplicate("n"), {"m": 1})


def test_what_cannot_be_is_refused() -> None:
    keep: Any
    for keep in (0, True, "3"):
        with pytest.raises(OptionError, match="expected keep to be a number of keys of at least 1, or None"):
            Deduplicate(keep=keep)


def test_several_workers_are_refused() -> None:
    [problem] = flow_of(Deduplicate(), placement="process", workers=3).check()[:1]
    assert str(problem) == (
        "error: routine 'it': Deduplicate keeps the keys it has seen in its state, and each of 3 workers would keep "
        "its own; leave workers out"
    )
