"""The pipeline as a flow of routilux: on threads, and with its two stages in processes.

The source and the sink are on threads of this process in both, as they are in every baseline.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.measure import DEADLINE, Feed, Tally, WrongResultError, step_a, step_b
from routilux import Flow, Routine


class Source(Routine):
    """Emit as many messages as it is told, in one turn."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.run)
        self.define_event("item", ["n", "text"])

    def run(self, messages: int) -> None:
        for number in range(messages):
            self.emit("item", n=number, text="tiny")


class StageA(Routine):
    """Work on the number of each message."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("item", ["n", "text"])

    def handle(self, n: int, text: str) -> None:
        self.emit("item", n=step_a(n), text=text)


class StageB(Routine):
    """Work on the number of each message once more."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("item", ["n", "text"])

    def handle(self, n: int, text: str) -> None:
        self.emit("item", n=step_b(n), text=text)


class Sink(Routine):
    """Hand the number of each message to the tally.

    Args:
        tally: kept as a plain attribute: a routine on a thread runs on this very object.
    """

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int, text: str) -> None:
        del text
        self._tally.take(n)


def build_flow(tally: Tally, placement: str) -> Flow:
    """Build source -> a -> b -> sink, with a and b placed on `thread` or `process`."""
    flow = Flow("pipeline")
    flow.add_routine(Source(), "source")
    flow.add_routine(StageA(), "a", placement=placement)
    flow.add_routine(StageB(), "b", placement=placement)
    flow.add_routine(Sink(tally), "sink")
    flow.connect("source", "item", "a", "input")
    flow.connect("a", "item", "b", "input")
    flow.connect("b", "item", "sink", "input")
    return flow


@contextmanager
def _open_flow(tally: Tally, placement: str) -> Iterator[Feed]:
    job = build_flow(tally, placement).start("source", {"messages": 0}, keep_open=True)
    try:
        yield lambda messages: job.send("source", "trigger", messages=messages)
    except BaseException:
        job.cancel(reason="the measurement was given up")
        raise
    job.close_entry()
    state = job.wait(timeout=DEADLINE)
    if str(state.status) != "completed":
        raise WrongResultError(f"the job ended as {state.status}")


open_threads = partial(_open_flow, placement="thread")
open_processes = partial(_open_flow, placement="process")
