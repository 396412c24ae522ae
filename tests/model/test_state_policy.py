from __future__ import annotations

from typing import Any

import msgspec
import pytest

from routilux import Flow
from routilux.errors import FlowCheckError, OptionError, StateError
from routilux.model.routine import Routine
from routilux.model.state_policy import STATE_POLICIES


class Point(msgspec.Struct, frozen=True):
    x: int = 0


def of(policy: Any, of_type: type | None = None) -> Routine:
    class Declared(Routine):
        state_policy = policy
        state_type = of_type

        def __init__(self) -> None:
            super().__init__()
            self.define_slot("trigger", lambda: None)

    return Declared()


@pytest.mark.parametrize("policy", STATE_POLICIES)
def test_every_policy_can_be_added(policy: str) -> None:
    flow = Flow("f")
    flow.add_routine(of(policy), "r")
    assert flow.check() == []


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("inplace", r"routine 'r': state_policy is one of \[.*\], got 'inplace'; did you mean 'in_place'\?"),
        ("", r"got ''"),
        (None, r"got None$"),
        ([], r"got \[\]$"),
    ],
)
def test_an_unknown_policy_is_refused_when_its_routine_is_added(policy: Any, told: str) -> None:
    flow = Flow("f")
    with pytest.raises(OptionError, match=told):
        flow.add_routine(of(policy), "r")
    assert not flow.routines


@pytest.mark.parametrize("policy", ["external", "none"])
def test_a_policy_of_plain_values_has_no_class(policy: str) -> None:
    with pytest.raises(OptionError, match=f"state_policy '{policy}' goes without a state_type, got .*Point"):
        Flow("f").add_routine(of(policy, Point))
    if policy == "external":
        Flow("f").add_routine(of(policy, dict))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"placement": "process"}, "is for threads: a worker that is killed takes such a state along; use placement="),
        ({"timeout": 3.0}, "goes without a timeout: a handler that was given up would go on changing the state"),
    ],
)
def test_a_state_in_place_is_for_threads_that_are_not_given_up(options: dict[str, Any], told: str) -> None:
    flow = Flow("f")
    flow.add_routine(of("in_place"), "r", **options)
    with pytest.raises(FlowCheckError, match=told):
        flow.execute("r")


@pytest.mark.parametrize(
    ("policy", "of_type", "default"),
    [
        ("encoded", None, {}),
        ("encoded", Point, Point()),
        ("value", None, None),
        ("value", Point, Point()),
        ("in_place", None, {}),
        ("in_place", Point, Point()),
        ("external", None, {}),
    ],
)
def test_a_state_begins_as_its_policy_has_it(policy: str, of_type: type | None, default: Any) -> None:
    assert of(policy, of_type).state == default


def test_a_value_may_begin_as_anything_but_another_class() -> None:
    routine = of("value")
    routine.state = (1, 2)
    assert routine.state == (1, 2)
    with pytest.raises(StateError, match="state of Declared: expected Point, got tuple"):
        of("value", Point).state = (1, 2)
    for policy in ("in_place", "external"):
        with pytest.raises(StateError, match="expected dict, got tuple"):
            of(policy).state = (1, 2)


def test_a_routine_without_a_state_has_none_outside_of_jobs_either() -> None:
    routine = of("none")
    with pytest.raises(StateError, match="Declared has no state: its state_policy is 'none'"):
        _ = routine.state
    with pytest.raises(StateError, match="Declared has no state"):
        routine.state = {}
