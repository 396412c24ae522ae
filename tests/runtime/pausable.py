"""A flow whose jobs are paused, written with it, and gone on with by another program."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from routilux import Flow, Routine, batch, routine
from routilux.routines import (
    Aggregate,
    Batch,
    CollectSink,
    ConditionalRouter,
    Deduplicate,
    Delay,
    Filter,
    FlatMap,
    Join,
    Map,
    Split,
    Throttle,
)

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
    _add_built_in(flow)
    return flow


def is_even(n: int) -> bool:
    """Tell whether it is."""
    return n % 2 == 0


def third(n: int) -> int:
    """Give what remains of it."""
    return n % 3


def alone(item: dict[str, Any]) -> list[dict[str, Any]]:
    """Give it in a list."""
    return [item]


def _add_built_in(flow: Flow) -> None:
    """Add built-in routines of every kind that neither reads nor writes files, behind `both`."""
    chain: dict[str, Routine] = {
        "delay": Delay(0.01),
        "throttle": Throttle(5, seconds=0.01),
        "map": Map(third, into="third"),
        "batch": Batch(4),
        "split": Split("items", into="item"),
        "flat": FlatMap(alone),
        "dedup": Deduplicate("n"),
        "router": ConditionalRouter({"output": is_even}, default="odd"),
        "filter": Filter(is_even),
        "even": CollectSink("n"),
    }
    for routine_id, made in chain.items():
        flow.add_routine(made, routine_id)
    flow.connect("both", "both", "delay", "input")
    for source, target in pairwise(chain):
        flow.connect(source, "output", target, "input")
    flow.add_routine(Aggregate("sum", key="third", value="n"), "sums")
    flow.connect("router", "odd", "sums", "input")
    flow.add_routine(Join("n", sides=["early", "late"]), "join")
    flow.connect("delay", "output", "join", "early")
    flow.connect("filter", "output", "join", "late")
    flow.add_routine(CollectSink(), "ends")
    for routine_id, event in (("sums", "output"), ("join", "output"), ("join", "unmatched")):
        flow.connect(routine_id, event, "ends", "input")
