"""A flow that counts and adds up, and goes on from its state wherever it was cut."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from routilux import Flow, Routine


class Counting(Routine):
    """Emits the numbers from 1 on, a part for each.

    Args:
        upto: the last one.
    """

    def __init__(self, upto: int) -> None:
        super().__init__()
        self.upto = upto
        self.define_slot("trigger", self.go)
        self.define_event("out", ["n"])

    def go(self) -> Iterator[None]:
        for n in range(self.state.get("next", 1), self.upto + 1):
            self.state["next"] = n + 1
            self.emit("out", n=n)
            yield


class Adding(Routine):
    """Adds up numbers that come one after the other.

    Args:
        seconds: what each takes.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.define_slot("input", self.take)

    def take(self, n: int) -> None:
        if n != self.state.get("last", 0) + 1:
            raise ValueError(f"{n} after {self.state.get('last')}")
        self.state["last"] = n
        self.state["sum"] = self.state.get("sum", 0) + n
        threading.Event().wait(self.seconds)


def make_flow(flow_id: str, upto: int, adding: Adding) -> Flow:
    """Give source -> sink."""
    flow = Flow(flow_id)
    flow.add_routine(Counting(upto), "source")
    flow.add_routine(adding, "sink")
    flow.connect("source", "out", "sink", "input")
    return flow
