from __future__ import annotations

import pytest

from routilux.errors import InvalidNameError
from routilux.model.event import Event


def test_parameters_are_kept_as_a_tuple_in_their_order() -> None:
    assert Event("parsed", ["path", "functions"]).params == ("path", "functions")
    assert Event("parsed").params == ()


def test_parameters_given_as_one_text_are_refused_and_the_event_is_named() -> None:
    with pytest.raises(InvalidNameError, match="the parameters of event 'parsed' are a list of names"):
        Event("parsed", "path")


def test_a_parameter_named_twice_is_refused() -> None:
    with pytest.raises(InvalidNameError, match="got 'path' twice"):
        Event("parsed", ["path", "path"])


def test_an_event_needs_a_name() -> None:
    with pytest.raises(InvalidNameError, match="the name of an event"):
        Event("")


def test_parameters_may_have_types() -> None:
    event = Event("parsed", {"n": int, "rows": list[str]})
    assert (event.params, event.types) == (("n", "rows"), {"n": int, "rows": list[str]})
    assert event == Event("parsed", ["n", "rows"])
    assert Event("again", event.declared).types == event.types
    read = Event.deserialize(event.serialize())
    assert (read.params, read.types) == (event.params, event.types)
    with pytest.raises(InvalidNameError):
        Event("parsed", {1: int})  # type: ignore[dict-item]
