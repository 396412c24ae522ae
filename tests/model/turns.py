"""A turn that notes what is emitted, for tests of routines without a runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from routilux.context import enter_turn
from routilux.model.routine import Routine


class NotingTurn:
    """A `routilux.context.Turn` of one routine."""

    message_id = "0-1"
    attempt = 2
    redelivered = True

    def __init__(self, routine: Routine, routine_id: str = "it") -> None:
        self.routine = routine
        self.routine_id = routine_id
        self.state: Any = {}
        self.done: dict[str, Any] = {}
        self.emitted: list[tuple[str, dict[str, Any]]] = []

    def set_state(self, value: Any) -> None:
        self.state = value

    def once(self, key: str, fn: Callable[[], Any]) -> Any:
        self.done[key] = fn()
        return self.done[key]

    def emit(self, event: str, data: dict[str, Any]) -> None:
        self.emitted.append((event, data))


@contextmanager
def turn_of(routine: Routine) -> Iterator[NotingTurn]:
    """Make this thread run a turn of `routine`."""
    turn = NotingTurn(routine)
    before = enter_turn(turn)
    try:
        yield turn
    finally:
        enter_turn(before)
