"""Routines that flows of the tests are made of, found again by their names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from routilux import Routine, batch, routine
from routilux.serial.serializable import Serializable, register_serializable


def keep_newest(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return {**old, **new}


@register_serializable("tests.total")
def total(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return {"n": old["n"] + new["n"]}


class Adder(Routine):
    """Adds, and has attributes and settings of every kind."""

    step: int = 1

    def __init__(self, step: int = 1, notes: Any = None) -> None:
        super().__init__()
        self.step = step
        self.notes = notes
        self.define_slot("first", self.add)
        self.define_slot("second", self.add, "append")
        self.define_slot("third", self.add, keep_newest)
        self.define_slot("fourth", self.add, total)
        self.define_slot("fifth", self.add, batch(3, 2.0))
        self.define_slot("sixth", self.add, "all")
        self.define_slot("last", self.rest, at_end=True)
        self.define_event("sum", ["n", "text"])
        self.define_event("any")

    def add(self, n: Any) -> None:
        """Emit it, and what it makes."""
        self.emit("sum", n=n, text=str(n))

    def rest(self, n: Any = None) -> None:
        """Hear of the end, or of a number."""


class Counting(Routine):
    """Has a state."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", self.count)
        self.define_event("done", ["n"])
        self.state = {"seen": (1, 2)}

    def count(self, n: int = 1) -> None:
        """Count."""
        self.emit("done", n=n)


class Stateless(Routine):
    """Has no state at all."""

    state_policy = "none"

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", self.take)
        self.define_event("gone", {"n": int, "rows": list[str]})

    def take(self, n: int) -> None:
        """Let it be."""


class Merger(Routine):
    """Merges in the ways that are left, and waits in its handlers."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("newest", self.take, "latest")
        self.define_slot("rows", self.take_rows, batch(4, into="rows"))
        self.define_slot("end", self.hear, at_end=True)
        self.define_event("merged")
        self.set_stat("rows", 2)

    async def take(self, n: int = 0, text: str = "") -> None:
        """Take the newest of each."""

    async def take_rows(self, rows: list[dict[str, Any]]) -> None:
        """Take several."""

    async def hear(self) -> None:
        """Hear of the end."""


@routine(events={"number": ["n"]})
def numbers(n: int = 3) -> Iterator[int]:
    """Give numbers."""
    yield from range(n)


@routine
def square(n: int) -> dict[str, int]:
    """Give the square."""
    return {"n": n * n}


@register_serializable("tests.Helper")
class Helper(Serializable):
    """Part of a routine that belongs to several."""

    def __init__(self, friend: Any = None) -> None:
        self.friend = friend
        self.cache = object()
        self.remove_serializable_fields(["cache"])


def double_gate(n: int) -> bool:
    """Let even numbers through."""
    return n % 2 == 0
