from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.errors import DuplicateEventError, InvalidNameError, OptionError
from routilux.routines import ConditionalRouter
from supervisors.reasons import Raised
from tests.routines.running import emitted, failure, run

ROUTES: dict[str, Any] = {"small": lambda n: n < 10, "even": lambda n: n % 2 == 0, "flagged": "flag"}


@given(
    st.lists(st.fixed_dictionaries({"n": st.integers(0, 20), "flag": st.booleans()}), max_size=8),
    st.sampled_from(["first", "all"]),
    st.sampled_from(["rest", None]),
)
def test_the_router_gives_what_a_plain_loop_gives(messages: list[Any], match: str, default: str | None) -> None:
    conditions = [
        ("small", lambda message: message["n"] < 10),
        ("even", lambda message: message["n"] % 2 == 0),
        ("flagged", lambda message: message["flag"]),
    ]
    expected: dict[str, list[Any]] = {name: [] for name in [*ROUTES, "rest"]}
    for message in messages:
        fitting = [name for name, condition in conditions if condition(message)] or ["rest"]
        for name in fitting[:1] if match == "first" else fitting:
            expected[name].append(message)
    state = run(ConditionalRouter(ROUTES, default=default, match=match), messages)
    for name in ROUTES if default is None else expected:
        assert emitted(state, name) == expected[name]


@pytest.mark.processes
def test_conditions_travel_to_several_workers() -> None:
    router = ConditionalRouter({"even": lambda n: n % 2 == 0}, default="odd")
    state = run(router, [{"n": n} for n in range(20)], placement="process", workers=2)
    assert sorted(item["n"] for item in emitted(state, "even")) == list(range(0, 20, 2))
    assert sorted(item["n"] for item in emitted(state, "odd")) == list(range(1, 20, 2))


def test_a_condition_that_raises_fails_the_message_and_its_route_is_told() -> None:
    state = run(ConditionalRouter({"a": lambda n: n < 0, "inverse": lambda n: 1 / n}), [{"n": 0}])
    assert state.status == "failed"
    [record] = [record for record in state.get_execution_history("it") if record.kind == "error"]
    assert "ZeroDivisionError" in record.detail
    assert isinstance(record.reason, Raised)
    assert record.reason.error.notes == ("It was raised by the condition of route 'inverse'.",)


def test_a_condition_that_is_not_asked_needs_nothing() -> None:
    router = ConditionalRouter({"a": lambda n: n, "b": lambda m: m})
    assert emitted(run(router, [{"n": 1}]), "a") == [{"n": 1}]
    assert "slot 'input' of routine 'it' expected 'm', got 'n', 'k'" in failure(
        ConditionalRouter({"a": lambda n: n, "b": "m"}), {"n": 0, "k": 1}
    )


def test_what_cannot_be_is_refused() -> None:
    empty: Any
    for empty in ({}, ["n"], None):
        with pytest.raises(OptionError, match="expected routes to be conditions by their events"):
            ConditionalRouter(empty)
    with pytest.raises(OptionError, match="expected match to be 'first' or 'all', got 'any'"):
        ConditionalRouter(ROUTES, match="any")
    with pytest.raises(DuplicateEventError):
        ConditionalRouter(ROUTES, default="small")
    with pytest.raises(InvalidNameError):
        ConditionalRouter({"": lambda n: n})
    code: Any = 5
    with pytest.raises(OptionError, match="the condition of route 'a': expected a function or the name"):
        ConditionalRouter({"a": code})
