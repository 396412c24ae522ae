"""A flow to be tracked, and a tracker made by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from routilux import ErrorHandler, ExecutionTracker, Flow, Job, Routine
from routilux.tracking.meters import Measured
from routilux.tracking.performance import EventFlow, WorkerUsage
from routilux.tracking.sketch import Histogram, Sketch
from routilux.tracking.tracker import RoutineTrack


class Pair(Routine):
    """Emits two for each; raises for 13, and waits at 7 until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("item", ["n"])

    def handle(self, n: int) -> None:
        if n == 13:
            raise ValueError(n)
        if n == 7:
            assert self.gate.wait(30)
        self.emit("item", n=n)
        self.emit("item", n=-n)


class Sum(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int) -> None:
        self.state["total"] = self.state.get("total", 0) + n


def pairs(placement: str = "thread") -> tuple[Flow, Pair]:
    flow, pair = Flow("pairs"), Pair()
    flow.add_routine(pair, "pair", error_handler=ErrorHandler("continue"))
    flow.add_routine(Sum(), "sum", placement=placement)
    flow.connect("pair", "item", "sum", "input")
    return flow, pair


def one(tracker: ExecutionTracker, routine_id: str) -> Any:
    found = tracker.get_routine_performance(routine_id)
    assert found is not None
    return found


def wait_until(job: Job, is_so: Callable[[ExecutionTracker], bool]) -> ExecutionTracker:
    """Look until it is so; each look waits for the state actor's answer."""
    end = time.monotonic() + 60.0
    while not is_so(tracker := job.tracker):
        assert time.monotonic() < end, tracker
    return tracker


def count(histogram: Histogram, values: Sequence[float]) -> None:
    """Count values that are all known."""
    if values:
        histogram.add(values, len(values), sum(values), max(values))


def sketch_of(values: Sequence[float], at_once: int = 64) -> Sketch:
    histogram = Histogram()
    for start in range(0, len(values), at_once):
        count(histogram, values[start : start + at_once])
    return histogram.sketch()


def tracker(routine_id: str = "parse") -> ExecutionTracker:
    turns = sketch_of([0.5, 0.5, 1.0])
    figures = {"handled": 3, "failed": 1, "waiting": 2, "peak_waiting": 7, "retries": 1, "restarts": 1}
    worker = WorkerUsage(0, 12.5, 4242, 1 << 20, 2 << 20)
    track = RoutineTrack(routine_id, "running", figures, Measured(turns, Sketch(), 3, 60.0), (worker,))
    flow = EventFlow("read", "file", routine_id, "source", 5, 3, 2, 0, 0, 1.0, 2.0, f"read.file -> {routine_id}.source")
    return ExecutionTracker("nightly", "census", "running", 100.0, 30.0, (track,), (flow,))
