"""Flows of the shapes that the delivery tests run, and what must come out of them.

Each sink keeps, per sender, the last number it saw and how many came; so a lost, doubled or
reordered message shows in its declared state, which travels with the commits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from routilux import ErrorHandler, Flow, Routine, batch

PLACEMENTS = {
    "thread": ("thread", "thread", "thread", "thread"),
    "process": ("process", "process", "process", "process"),
    "mixed": ("thread", "process", "thread", "process"),
}

SLOTS = {
    "chain": ("input",),
    "fan": ("x", "y", "z"),
    "diamond": ("x", "y"),
    "relays": ("x", "y"),
    "loop": ("input",),
    "join": ("input",),
    "batches": ("input",),
}
"""The slots of the sink, by shape: the names of the functions below."""

RETRY = ErrorHandler("retry", max_retries=1_000, retry_delay=0.0)


class Source(Routine):
    """Emits the numbers below `count`, committing every `batch` of them (R4)."""

    def __init__(self, batch: int = 100) -> None:
        super().__init__()
        self.batch = batch
        self.define_slot("trigger", handler=self.produce)
        self.define_event("number", ["n"])

    def produce(self, count: int) -> Any:
        for n in range(self.state.get("next", 0), count):
            self.emit("number", n=n)
            self.state["next"] = n + 1
            if n % self.batch == self.batch - 1:
                yield


class Stage(Routine):
    """Hands every number on, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        self.state["count"] = self.state.get("count", 0) + 1
        self.emit("number", n=n)


class Sink(Routine):
    """Checks the order of what comes in by each of its slots, and counts."""

    def __init__(self, slots: tuple[str, ...] = ("input",)) -> None:
        super().__init__()
        self.define_event("done", ["n"])
        for slot in slots:
            self.define_slot(slot, handler=self._checker(slot))

    def _checker(self, slot: str) -> Callable[[int], None]:
        return _Check(self, slot)


class _Check:
    def __init__(self, sink: Routine, slot: str) -> None:
        self.sink = sink
        self.slot = slot

    def __call__(self, n: int) -> None:
        state = self.sink.state
        if n <= state.get(f"{self.slot}.last", -1):
            state["disorder"] = state.get("disorder", 0) + 1
        state[f"{self.slot}.last"] = n
        state[f"{self.slot}.count"] = state.get(f"{self.slot}.count", 0) + 1
        state[f"{self.slot}.sum"] = state.get(f"{self.slot}.sum", 0) + n


class Looper(Routine):
    """Sends a number round until it has made its rounds; then hands it out."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds
        self.define_slot("input", handler=self.handle)
        self.define_slot("again", handler=self.handle)
        self.define_event("around", ["n", "lap"])
        self.define_event("number", ["n"])

    def handle(self, n: int, lap: int = 0) -> None:
        self.state["turns"] = self.state.get("turns", 0) + 1
        if lap + 1 < self.rounds:
            self.emit("around", n=n, lap=lap + 1)
        else:
            self.emit("number", n=n)


def chain(where: tuple[str, str, str, str], handler: ErrorHandler = RETRY, **options: Any) -> Flow:
    """Source, two stages, sink."""
    flow = Flow("chain")
    flow.add_routine(Source(), "source", placement=where[0], error_handler=handler, **options)
    flow.add_routine(Stage(), "a", placement=where[1], error_handler=handler, **options)
    flow.add_routine(Stage(), "b", placement=where[2], error_handler=handler, **options)
    flow.add_routine(Sink(), "sink", placement=where[3], error_handler=handler, **options)
    flow.connect("source", "number", "a", "input")
    flow.connect("a", "number", "b", "input")
    flow.connect("b", "number", "sink", "input")
    return flow


def fan(where: tuple[str, str, str, str], handler: ErrorHandler = RETRY, **options: Any) -> Flow:
    """A source into three stages, and all of them into one sink."""
    flow = Flow("fan")
    flow.add_routine(Source(), "source", placement=where[0], error_handler=handler, **options)
    flow.add_routine(Sink(("x", "y", "z")), "sink", placement=where[3], error_handler=handler, **options)
    for slot, placement in zip(("x", "y", "z"), where[1:], strict=True):
        flow.add_routine(Stage(), f"stage-{slot}", placement=placement, error_handler=handler, **options)
        flow.connect("source", "number", f"stage-{slot}", "input")
        flow.connect(f"stage-{slot}", "number", "sink", slot)
    return flow


class Left(Routine):
    """One arm of the diamond: speaks of `value` where the source says `n`."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("out", ["value"])

    def handle(self, value: int) -> None:
        self.emit("out", value=value)


def diamond(where: tuple[str, str, str, str], handler: ErrorHandler = RETRY, **options: Any) -> Flow:
    """A source into two arms with their own names for things, and back into one sink."""
    flow = Flow("diamond")
    flow.add_routine(Source(), "source", placement=where[0], error_handler=handler, **options)
    flow.add_routine(Left(), "left", placement=where[1], error_handler=handler, **options)
    flow.add_routine(Left(), "right", placement=where[2], error_handler=handler, **options)
    flow.add_routine(Sink(("x", "y")), "sink", placement=where[3], error_handler=handler, **options)
    for arm, slot in (("left", "x"), ("right", "y")):
        flow.connect("source", "number", arm, "input", param_mapping={"n": "value"})
        flow.connect(arm, "out", "sink", slot, param_mapping={"value": "n"})
    return flow


class Relay(Routine):
    """Hands every number on, with no state to keep; fails on one of them, the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        self.emit("number", n=n)
        if n == 8 and self.attempt == 1:
            raise ValueError(n)


def relays(where: tuple[str, str, str, str], handler: ErrorHandler = RETRY, **options: Any) -> Flow:
    """A source, two relays, and a sink that hears each number of the last one twice."""
    flow = Flow("relays")
    flow.add_routine(Source(), "source", placement=where[0], error_handler=handler, **options)
    flow.add_routine(Relay(), "a", placement=where[1], error_handler=handler, **options)
    flow.add_routine(Relay(), "b", placement=where[2], error_handler=handler, **options)
    flow.add_routine(Sink(("x", "y")), "sink", placement=where[3], error_handler=handler, **options)
    flow.connect("source", "number", "a", "input")
    flow.connect("a", "number", "b", "input")
    flow.connect("b", "number", "sink", "x")
    flow.connect("b", "number", "sink", "y")
    return flow


def loop(where: tuple[str, str, str, str], handler: ErrorHandler = RETRY, rounds: int = 3, **options: Any) -> Flow:
    """A source into a routine that sends each number round through another one."""
    flow = Flow("loop")
    flow.add_routine(Source(), "source", placement=where[0], error_handler=handler, **options)
    flow.add_routine(Looper(rounds), "looper", placement=where[1], error_handler=handler, **options)
    flow.add_routine(_Relay(), "relay", placement=where[2], error_handler=handler, **options)
    flow.add_routine(Sink(), "sink", placement=where[3], error_handler=handler, **options)
    flow.connect("source", "number", "looper", "input")
    flow.connect("looper", "around", "relay", "input")
    flow.connect("relay", "back", "looper", "again")
    flow.connect("looper", "number", "sink", "input")
    return flow


class _Relay(Routine):
    """Hands on what goes round."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("back", ["n", "lap"])

    def handle(self, n: int, lap: int) -> None:
        self.emit("back", n=n, lap=lap)


class Pairs(Routine):
    """Takes a number from each of two arms, in step, and hands it on; -1 where the two are not the same."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle, merge_strategy="all")
        self.define_event("number", ["n"])

    def handle(self, left: int, right: int) -> None:
        self.state["pairs"] = self.state.get("pairs", 0) + 1
        self.emit("number", n=left if left == right else -1)


def join(where: tuple[str, str, str, str], handler: ErrorHandler = RETRY, **options: Any) -> Flow:
    """A source into two arms, and a routine that takes one number of each arm together."""
    flow = Flow("join")
    flow.add_routine(Source(), "source", placement=where[0], error_handler=handler, **options)
    flow.add_routine(Left(), "left", placement=where[1], error_handler=handler, **options)
    flow.add_routine(Left(), "right", placement=where[2], error_handler=handler, **options)
    flow.add_routine(Pairs(), "pairs", placement=where[1], error_handler=handler, **options)
    flow.add_routine(Sink(), "sink", placement=where[3], error_handler=handler, **options)
    for arm in ("left", "right"):
        flow.connect("source", "number", arm, "input", param_mapping={"n": "value"})
        flow.connect(arm, "out", "pairs", "input", param_mapping={"value": arm})
    flow.connect("pairs", "number", "sink", "input")
    return flow


class Bundles(Routine):
    """Takes several numbers together, and hands each on; at the end it says how many there were."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle, merge_strategy=batch(5, 0.05))
        self.define_slot("end", handler=self.finish, at_end=True)
        self.define_event("number", ["n"])
        self.define_event("total", ["n"])

    def handle(self, n: list[int]) -> None:
        self.state["count"] = self.state.get("count", 0) + len(n)
        for number in n:
            self.emit("number", n=number)

    def finish(self) -> None:
        self.emit("total", n=self.state.get("count", 0))


def batches(where: tuple[str, str, str, str], handler: ErrorHandler = RETRY, **options: Any) -> Flow:
    """A source, two routines that take several numbers together, and a sink, which hears in the end how many."""
    flow = Flow("batches")
    flow.add_routine(Source(), "source", placement=where[0], error_handler=handler, **options)
    flow.add_routine(Bundles(), "a", placement=where[1], error_handler=handler, **options)
    flow.add_routine(Bundles(), "b", placement=where[2], error_handler=handler, **options)
    flow.add_routine(Sink(("input", "totals")), "sink", placement=where[3], error_handler=handler, **options)
    flow.connect("source", "number", "a", "input")
    flow.connect("a", "number", "b", "input")
    flow.connect("b", "number", "sink", "input")
    flow.connect("b", "total", "sink", "totals")
    return flow


def sums(count: int) -> dict[str, int]:
    """What one slot of the sink must hold after the numbers below `count`."""
    return {"last": count - 1, "count": count, "sum": count * (count - 1) // 2}
