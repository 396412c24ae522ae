"""A flow whose jobs are paused, written with it, and gone on with by another program."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from routilux import Flow, Routine, routine

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


def make_flow(count: int) -> Flow:
    """Give the flow."""
    flow = Flow("pausable")
    flow.add_routine(Source(count), "source")
    flow.add_routine(double, "double", placement="process")
    flow.add_routine(Total(), "total")
    flow.connect("source", "number", "double", "input")
    flow.connect("double", "output", "total", "input")
    flow.output("total", "total")
    return flow
