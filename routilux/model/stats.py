"""A routine's numbers (`Routine.stats`): what they may be, how they add up, and those that its jobs begin with.

Owns the rules. Never knows a turn's numbers: these are changes of its committed state, see `routilux.turn.stats`.
"""

from __future__ import annotations

import numbers
from typing import Any, Protocol, TypeVar

from routilux.context import Stats
from routilux.errors import StatError
from routilux.figures import RoutineFigures

Number = int | float
"""What a stat is: a float, or an int of 64 bits."""

_D = TypeVar("_D")
_END = 2**63
"""Integers are of 64 bits, as MessagePack has them: whatever holds a committed state can hold them as they are."""
_FIGURES = frozenset(RoutineFigures._fields)


class InitialStats:
    """The numbers that each job of a routine begins with."""

    def __init__(self) -> None:
        self._numbers: dict[str, Number] = {}

    def read(self) -> dict[str, Number]:
        """Give them, by name."""
        return dict(self._numbers)

    def get(self, name: str, default: _D) -> Number | _D:
        """Give one, or `default`."""
        return self._numbers.get(name, default)

    def set(self, name: str, value: Number) -> None:
        """Make it `value`."""
        self._numbers[name] = value

    def add(self, name: str, amount: Number) -> None:
        """Add to it, from 0."""
        self._numbers[name] = add(self._numbers.get(name, 0), amount)

    def reset(self) -> None:
        """Forget all."""
        self._numbers.clear()


class FindsStats(Protocol):
    """A routine, as far as its numbers go."""

    def _find_stats(self, attempted: str | None) -> Stats:
        """Give those of the present turn, or the initial ones.

        Args:
            attempted: the change that is wanted; None: only to be read.
        """


class HasStats:
    """What a routine can do with its numbers; a part of `Routine`."""

    def stats(self: FindsStats) -> dict[str, Number]:
        """Give all numbers of this routine, by name: in a handler this worker's own, with what this turn did.

        Outside of a handler they are what each job begins with, as with `state`; those of a job are in
        `JobState.routine_states[id]["stats"]`.
        """
        return self._find_stats(None).read()

    def get_stat(self: FindsStats, name: str, default: Any = None) -> Any:
        """Give the number of that name, `default` where there is none; whose it is, see `stats`.

        Raises:
            StatError: the name cannot be one.
        """
        return self._find_stats(None).get(checked_stat_name(name), default)

    def set_stat(self: FindsStats, name: str, value: float) -> None:
        """Set a number. In a handler it is a part of its turn, as state: committed with it, gone if it fails.

        Each worker has numbers of its own, and `JobState` shows their sum: of a number that four workers have set to 5
        it shows 20. Of turns that run at once (`async def`), which do not see what the others do, the last to commit
        has set it.

        Args:
            name: text; not that of a figure which the runtime counts itself, such as `handled`.
            value: an int of 64 bits, or a float.

        Raises:
            StatError: the name or the value cannot be one.
            OutsideTurnError: a job has the routine, and none of its handlers runs on this thread, or for this task.
        """
        stats = self._find_stats("set_stat")
        stats.set(checked_stat_name(name), checked_number("set_stat", name, value))

    def increment_stat(self: FindsStats, name: str, amount: float = 1) -> None:
        """Add to a number, which begins at 0; as `set_stat`, but that turns which run at once all add to it.

        An int that would grow beyond 64 bits goes on as a float.

        Args:
            name: as in `set_stat`.
            amount: what is added; may be negative.

        Raises:
            StatError, OutsideTurnError: as `set_stat`.
        """
        stats = self._find_stats("increment_stat")
        stats.add(checked_stat_name(name), checked_number("increment_stat", name, amount))

    def reset_stats(self: FindsStats) -> None:
        """Forget all numbers that `stats` gives; in a handler when its turn commits.

        Raises:
            OutsideTurnError: as `set_stat`.
        """
        self._find_stats("reset_stats").reset()


def add(before: Number, amount: Number) -> Number:
    """Give the sum: of integers an int as long as it has 64 bits, then a float."""
    total = before + amount
    return total if total.__class__ is float or -_END <= total < _END else float(total)


def checked_stat_name(name: object) -> str:
    """Give `name` as exact text.

    Raises:
        StatError: it is no text, empty, cannot be written as UTF-8, or is a figure of the runtime.
    """
    if not isinstance(name, str) or not name:
        raise StatError(f"the name of a stat is a text of a character or more, got {name!r}")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise StatError(f"the name of a stat must be valid Unicode, got {name!r}") from error
    if name in _FIGURES:
        raise StatError(
            f"a stat cannot be called {name!r}: the runtime counts that itself, as it does {sorted(_FIGURES - {name})}"
        )
    return str.__str__(name)


def checked_number(attempted: str, name: str, value: object) -> Number:
    """Give `value` as exact int or float; numbers of other libraries (NumPy) become one.

    Raises:
        StatError: it is no number, or does not fit.
    """
    number: Number
    if value.__class__ is float:
        return value
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        number = int(value)
        if -_END <= number < _END:
            return number
        raise StatError(f"{attempted}({name!r}): {number:,} has more than 64 bits; give it as a float")
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Rational):
        return float(value)
    raise StatError(f"{attempted}({name!r}): a stat is an int or a float, got {value!r} of {type(value).__qualname__}")
