"""How `Aggregate` makes one value of many: the named ways, and a user's own. Pure.

Owns what is kept between two values. Never keeps it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any


class Fold:
    """One value of many, taken in one by one."""

    asks_value = True
    """Whether it looks at the values."""

    def begin(self, value: Any) -> Any:
        """Give what is kept after the first value."""
        return value

    def add(self, kept: Any, value: Any) -> Any:
        """Give what is kept after one more."""
        raise NotImplementedError

    def result(self, kept: Any, count: int) -> Any:
        """Give the value for what is kept of so many."""
        return kept


class Count(Fold):
    """How many there were."""

    asks_value = False

    def add(self, kept: Any, value: Any) -> Any:
        return kept

    def result(self, kept: Any, count: int) -> Any:
        return count


class Sum(Fold):
    """The sum, of whatever can be added to its like."""

    def add(self, kept: Any, value: Any) -> Any:
        return kept + value


class Mean(Sum):
    """The sum divided by how many there were."""

    def result(self, kept: Any, count: int) -> Any:
        return kept / count


class Min(Fold):
    """The least; of equal ones the first."""

    def add(self, kept: Any, value: Any) -> Any:
        return min(kept, value)


class Max(Fold):
    """The greatest; of equal ones the first."""

    def add(self, kept: Any, value: Any) -> Any:
        return max(kept, value)


class Listing(Fold):
    """All of them, in the order in which they came."""

    def begin(self, value: Any) -> Any:
        return [value]

    def add(self, kept: Any, value: Any) -> Any:
        kept.append(value)  # nobody else has it: a failed turn is rolled back to what is encoded
        return kept


class Reduce(Fold):
    """What a function makes, as by `functools.reduce`.

    Args:
        function: called with what it gave last and the next value.
        initial: a tuple with what it is called with first, of which each beginning gets a copy; empty to begin with the
            first value.
    """

    def __init__(self, function: Callable[[Any, Any], Any], initial: tuple[Any, ...]) -> None:
        self._function = function
        self._initial = initial

    def begin(self, value: Any) -> Any:
        return self._function(copy.deepcopy(self._initial[0]), value) if self._initial else value

    def add(self, kept: Any, value: Any) -> Any:
        return self._function(kept, value)


FOLDS: Mapping[str, Fold] = MappingProxyType(
    {"count": Count(), "sum": Sum(), "mean": Mean(), "min": Min(), "max": Max(), "list": Listing()}
)
"""The named ways."""
