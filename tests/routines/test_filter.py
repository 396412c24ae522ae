from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.errors import OptionError
from routilux.routines import Filter
from tests.routines.running import emitted, failure, run


@given(st.lists(st.integers(-9, 9), max_size=8))
def test_filter_gives_what_a_plain_loop_gives(numbers: list[int]) -> None:
    messages = [{"n": n, "at": at} for at, n in enumerate(numbers)]
    assert emitted(run(Filter(lambda n: n > 0), messages)) == [message for message in messages if message["n"] > 0]
    assert emitted(run(Filter("n"), messages)) == [message for message in messages if message["n"]]


@pytest.mark.processes
def test_a_predicate_travels_to_several_workers() -> None:
    state = run(Filter(lambda n: n % 2), [{"n": n} for n in range(20)], placement="process", workers=2)
    assert sorted(item["n"] for item in emitted(state)) == list(range(1, 20, 2))


def test_what_fails_is_told() -> None:
    assert "slot 'input' of routine 'it' expected 'n', got 'm'" in failure(Filter("n"), {"m": 1})
    assert "ZeroDivisionError" in failure(Filter(lambda n: 1 // n), {"n": 0})


def test_what_cannot_be_is_refused() -> None:
    neither: Any = 5
    with pytest.raises(OptionError, match="the predicate of Filter: expected a function or the name of a parameter"):
        Filter(neither)
