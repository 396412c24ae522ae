"""A routine's numbers during a turn (`Routine.stats`): part of its committed state, each under a key of its own.

Owns these keys, and the changes of one turn. A turn that touches no number has no part of this.

Theory of operation. An increment is an operation of its own (`add`): it is added to what is committed when it is
applied. So of turns that run at once, which do not see one another's, none is lost. A turn sees what was committed when
it began, with what it did itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from routilux.messages import StateOp
from routilux.model.stats import Number, add
from routilux.turn.state import STAT_PREFIX, StateTurn

_D = TypeVar("_D")


def stat_key(name: str) -> str:
    """Give the reserved key of the state under which the number `name` is kept."""
    return f"{STAT_PREFIX}{name}"


def add_up(states: Iterable[Mapping[str, Any]]) -> dict[str, Number]:
    """Give the numbers in the committed states of a routine's workers, by name: the sum of each."""
    totals: dict[str, Number] = {}
    for committed in states:
        for key, value in committed.items():
            if key.startswith(STAT_PREFIX):
                name = key.removeprefix(STAT_PREFIX)
                totals[name] = totals.get(name, 0) + value
    return totals


class TurnStats:
    """The numbers of one worker, as one turn sees and changes them.

    Args:
        committed: the committed state; kept, never changed.
        known: keys of it that are the runtime's; those that come are added, where they are counted (`TrackedState`).
    """

    __slots__ = ("_changes", "_committed", "_known")

    def __init__(self, committed: Mapping[str, Any], known: dict[str, None]) -> None:
        self._committed = committed
        self._known = known
        self._changes: dict[str, StateOp] = {}

    # As the handler sees it (`routilux.context.Stats`).

    def read(self) -> dict[str, Number]:
        """Give all, by name."""
        names = [key.removeprefix(STAT_PREFIX) for key in self._known if key.startswith(STAT_PREFIX)]
        found = {name: self.get(name, None) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    def get(self, name: str, default: _D) -> Number | _D:
        """Give one, or `default`."""
        key = stat_key(name)
        op = self._changes.get(key)
        if op is None:
            kept: Number | _D = self._committed.get(key, default)
            return kept
        if op.kind == "del":
            return default
        value: Number = op.value
        return value if op.kind == "set" else add(self._committed.get(key, 0), value)

    def set(self, name: str, value: Number) -> None:
        """Make it `value`."""
        self._note(StateOp("set", stat_key(name), value))

    def add(self, name: str, amount: Number) -> None:
        """Add to it, from 0."""
        key = stat_key(name)
        op = self._changes.get(key)
        if op is None:
            self._note(StateOp("add", key, amount))
        elif op.kind == "del":
            self._note(StateOp("set", key, amount))
        else:
            self._note(StateOp(op.kind, key, add(op.value, amount)))

    def reset(self) -> None:
        """Forget all that this turn sees."""
        self._changes = {
            key: StateOp("del", key, None)
            for key in self._known
            if key.startswith(STAT_PREFIX) and key in self._committed
        }

    # As a transaction.

    def prepare(self) -> list[StateOp]:
        """List what this turn changes."""
        return list(self._changes.values())

    def begin(self) -> None:
        """Go on without changes: they were applied, or are forgotten."""
        self._changes = {}

    def follow(self, committed: Mapping[str, Any]) -> None:
        """Go on from another committed state."""
        self._committed = committed

    def _note(self, op: StateOp) -> None:
        self._known[op.key] = None
        self._changes[op.key] = op


class StateAndStats:
    """A `StateTurn` of a turn that touches numbers too: the declared state's, and the numbers beside it.

    Args:
        state: the declared state.
        known: see `TurnStats`.
    """

    __slots__ = ("_state", "stats")

    def __init__(self, state: StateTurn, known: dict[str, None]) -> None:
        self._state = state
        self.stats = TurnStats(state.committed, known)
        """The numbers."""

    @property
    def committed(self) -> Mapping[str, Any]:
        """The committed state."""
        return self._state.committed

    @property
    def value(self) -> Any:
        """What the handler sees as `self.state`."""
        return self._state.value

    def begin(self) -> None:
        """Start a turn from the committed state."""
        self._state.begin()
        self.stats.begin()

    def replace(self, value: Any) -> None:
        """Make `value` the whole declared state."""
        self._state.replace(value)

    def prepare(self) -> list[StateOp]:
        """List what differs from the committed state."""
        return [*self._state.prepare(), *self.stats.prepare()]

    def accept(self) -> None:
        """Go on from what was prepared."""
        self._state.accept()
        self.stats.begin()

    def follow(self, committed: Mapping[str, Any]) -> None:
        """Go on from another committed state."""
        self._state.follow(committed)
        self.stats.follow(committed)

    def rollback(self) -> None:
        """Go back to the committed state."""
        self._state.rollback()
        self.stats.begin()
