"""A flow whose jobs are paused, written with it, and gone on with by another program."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from routilux import Flow, Routine, batch, routine

HALF = 30
"""The number that is not emitted before the gate is open."""
GATE = threading.Event()


class Source(Routine):
    """Emits numbers, and goes on where it was."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.define_slot("trigger", self.run)
        self.define_event("number", ["n"])

    def run(self) -> Iterator[None]:
        """Emit them, a commit each."""
        for n in range(self.state.get("next", 0), self.count):
            while n == HALF and not GATE.wait(0.002):
                yield
            self.emit("number", n=n)
            self.state["next"] = n + 1
            yield


class Total(Routine):
    """Adds up, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", self.add)
        self.define_event("total", ["n", "total"])

    def add(self, n: int) -> None:
        """Add one."""
        self.state["total"] = self.state.get("total", 0) + n
        self.state["order"] = (*self.state.get("order", ()), n)[-3:]
        self.emit("total", n=n, total=self.state["total"])


@routine
def double(n: int) -> dict[str, Any]:
    """Give the double."""
    return {"n": 2 * n}


class Both(Routine):
    """Takes a number and its double together."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", self.take, "all")
        self.define_event("both", ["n", "doubled"])

    def take(self, n: int, doubled: int) -> None:
        """Count those that do not belong together, which are none."""
        self.state["wrong"] = self.state.get("wrong", 0) + (doubled != 2 * n)
        self.emit("both", n=n, doubled=doubled)


class Groups(Routine):
    """Takes seven at a time, and hears of the end."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", self.take, batch(7))
        self.define_slot("end", self.finish, at_end=True)

    def take(self, n: list[int], doubled: list[int]) -> None:
        """Keep how many there were each time."""
        self.state["sizes"] = (*self.state.get("sizes", ()), len(n))
        self.state["sum"] = self.state.get("sum", 0) + sum(n) + sum(doubled)

    def finish(self) -> None:
        """Note the end."""
        self.state["ends"] = self.state.get("ends", 0) + 1


def make_flow(count: int) -> Flow:
    """Give the flow."""
    flow = Flow("pausable")
    flow.add_routine(Source(count), "source")
    flow.add_routine(double, "double", placement="process")
    flow.add_routine(Total(), "total")
    flow.connect("source", "number", "double", "input")
    flow.connect("double", "output", "total", "input")
    flow.output("total", "total")
    flow.add_routine(Both(), "both")
    flow.add_routine(Groups(), "groups")
    flow.connect("source", "number", "both", "input")
    flow.connect("double", "output", "both", "input", {"n": "doubled"})
    flow.connect("both", "both", "groups", "input")
    return flow
