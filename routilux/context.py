"""The turn that the present thread, or the present task of its event loop, is in.

Owns one thread-local cell: set around a handler's run by whoever runs it, read by
`Routine.emit` and `Routine.state`. Never decides anything.

Of turns that share a thread, since they wait by `await`, each runs in a context of its own (`contextvars`), which holds
its `Scope`. Tasks that a handler starts get a copy of that context, and so the same scope: they are in the turn while
that goes on, and in none when it is over. What is in the cell goes before: it is set while a plain function runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

_D = TypeVar("_D")


class Stats(Protocol):
    """Numbers of a routine, by name; the names and numbers that come in are checked already."""

    def read(self) -> dict[str, int | float]:
        """Give all."""

    def get(self, name: str, default: _D) -> int | float | _D:
        """Give one, or `default`."""

    def set(self, name: str, value: float) -> None:
        """Make it `value`."""

    def add(self, name: str, amount: float) -> None:
        """Add to it, from 0."""

    def reset(self) -> None:
        """Forget all."""


class Turn(Protocol):
    """What a handler can reach while it handles one message."""

    @property
    def routine(self) -> object:
        """The routine object whose handler runs."""

    @property
    def routine_id(self) -> str:
        """Its id in the flow."""

    @property
    def job_id(self) -> str:
        """The id of the job that it is a turn of."""

    @property
    def logbook(self) -> object:
        """What keeps the log of that job; None where nothing does, as in workers."""

    @property
    def message_id(self) -> str:
        """The id of the message, the same each time it is run."""

    @property
    def attempt(self) -> int:
        """Which try of this message it is, from 1."""

    @property
    def redelivered(self) -> bool:
        """Whether this message may have been run before without its commit having arrived."""

    @property
    def state(self) -> Any:
        """The routine's declared state, as last committed plus what this turn did."""

    @property
    def stats(self) -> Stats:
        """The routine's numbers, as last committed plus what this turn did."""

    def set_state(self, value: Any) -> None:
        """Replace the whole declared state."""

    def once(self, key: str, fn: Callable[[], Any]) -> Any:
        """Give what `fn` gave for this message and key, running it if that was never recorded."""

    def empty_memory(self, size: int) -> memoryview | None:
        """Give shared memory to be written, which is not copied when it is emitted; None where there is no room."""

    def emit(self, event: str, data: dict[str, Any]) -> None:
        """Hold one emission until the commit (R3); raises what `Routine.emit` tells of the event and its data.

        For the thread that runs the turn, while it does: who calls has found the turn in its `cell`.
        """


class Cell(threading.local):
    """What a thread keeps: the turn it is in."""

    turn: Turn | None = None


cell = Cell()
"""Each thread's own. Its `turn` is set, and set back, by whoever runs a handler.

`Routine.emit` and the run of a turn use the attribute itself, which costs less than the functions below.
"""


class Scope:
    """A turn as the tasks see it that run for it.

    Args:
        turn: the turn; None once it is over, and where its own thread finds it in its cell.
        routine: the routine object that it is a turn of.
    """

    __slots__ = ("_thread", "routine", "turn")

    def __init__(self, turn: Turn | None, routine: object) -> None:
        self.turn: Turn | None = turn
        self.routine = routine
        self._thread = threading.get_ident()

    @property
    def is_here(self) -> bool:
        """Whether this is the thread that the turn runs on: a context may have been carried to another."""
        return self._thread == threading.get_ident()


scope: ContextVar[Scope | None] = ContextVar("routilux.turn", default=None)
"""That of the turn which the present task runs for."""


def current_turn() -> Turn | None:
    """Give the turn this thread, or the present task on it, is in, or None outside of any."""
    turn = cell.turn
    if turn is not None:
        return turn
    found = scope.get()
    return found.turn if found is not None and found.is_here else None


def is_astray(routine: object) -> bool:
    """Tell whether an async handler of `routine` has begun this, which runs after its turn or on another thread."""
    found = scope.get()
    return found is not None and found.routine is routine and current_turn() is None


def enter_turn(turn: Turn | None) -> Turn | None:
    """Make `turn` the current one (None: none) and give back the one before, to be restored."""
    before = cell.turn
    cell.turn = turn
    return before
