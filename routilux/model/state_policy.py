"""How a routine's declared state is kept from turn to turn (R5): the names, and what goes with what.

Owns the words and their rules. Never keeps a state (see `routilux.turn`).
"""

from __future__ import annotations

from typing import Any, Protocol

from routilux.errors import OptionError, StateError
from routilux.hints import did_you_mean

ENCODED = "encoded"
"""Each value that a turn touched is encoded at its commit."""
VALUE = "value"
"""The whole state is one immutable object, replaced by assignment."""
IN_PLACE = "in_place"
"""The live object stays, and is changed in place."""
EXTERNAL = "external"
"""A dict of plain scalars: where something outside has come to."""
NONE = "none"
"""There is no state."""

STATE_POLICIES = (ENCODED, VALUE, IN_PLACE, EXTERNAL, NONE)
_DICTS = frozenset({EXTERNAL, NONE})
"""Policies that have no class of their own for the state."""


class Declares(Protocol):
    """A routine, as far as its state goes."""

    @property
    def state_type(self) -> type | None:
        """Class of a state that is one object; None for a dict (of policy `value`: for anything)."""

    @property
    def state_policy(self) -> str:
        """One of `STATE_POLICIES`."""


def check_policy(routine: Declares, what: str) -> None:
    """Hold that the declaration of a state can be followed.

    Args:
        routine: whose it is.
        what: how the routine is called in an error.

    Raises:
        OptionError: its policy is none, or does not go with its `state_type`.
    """
    given: object = routine.state_policy
    if given not in STATE_POLICIES:
        raise OptionError(
            f"{what}: state_policy is one of {list(STATE_POLICIES)}, got {given!r}{did_you_mean(given, STATE_POLICIES)}"
        )
    if given in _DICTS and routine.state_type not in {None, dict}:
        raise OptionError(
            f"{what}: state_policy {given!r} goes without a state_type, got {routine.state_type!r}; "
            f"of a class are states of {VALUE!r}, {ENCODED!r} or {IN_PLACE!r}"
        )


def make_default(state_type: type | None, policy: str) -> Any:
    """Give the state that a routine has which sets none."""
    if state_type is not None:
        return state_type()
    # No set: what came may be anything, and is refused when its routine is added.
    return None if policy in (NONE, VALUE) else {}


def checked_default(routine: Declares, value: Any) -> Any:
    """Give `value`, if a job can begin with it.

    Raises:
        StateError: it is not of the declared kind, or there is no state.
    """
    name = type(routine).__name__
    if routine.state_policy == NONE:
        raise no_state(name)
    if routine.state_policy == VALUE and routine.state_type is None:
        return value
    expected = dict if routine.state_type is None else routine.state_type
    if not isinstance(value, expected):
        raise StateError(f"state of {name}: expected {expected.__name__}, got {type(value).__name__}")
    return value


def no_state(name: str) -> StateError:
    """Give the error for whoever uses the state of a routine that has none."""
    return StateError(
        f"{name} has no state: its state_policy is {NONE!r}, so nothing would be kept; "
        f"declare another one, or use plain attributes for what may get lost"
    )
