"""Flows for jobs that are kept, left and resumed, and what their tests wait for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from routilux import Flow, Job, JobState, Routine
from routilux.stores.base import Store
from routilux.stores.files import FileStore
from routilux.stores.memory import MemoryStore

STORES: dict[str, Callable[[Path], Store]] = {"memory": lambda _: MemoryStore(), "files": FileStore}


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


class Numbers(Routine):
    """Counts up to a number, one each step, and goes on where it was."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.count)
        self.define_event("number", ["n"])

    def count(self, upto: int) -> Iterator[None]:
        for n in range(self.state.get("next", 0), upto):
            self.state["next"] = n + 1
            self.emit("number", n=n)
            yield


def at_gate(file: Path) -> Path:
    """Give the file that is there once a handler waits for `file`."""
    return file.with_suffix(".waits")


def leave_at_gate(job: Job, file: Path, reason: str = "") -> JobState:
    """Leave a job whose handler waits for `file`: that is there once nothing else is begun any more."""

    def open_gate() -> None:
        wait_until(lambda: job.ledger.is_ending)
        file.touch()

    wait_until(at_gate(file).exists)
    opener = threading.Thread(target=open_gate)
    opener.start()
    try:
        return job.leave(reason)
    finally:
        opener.join()


class Gate(Routine):
    """Handles numbers up to one, and waits at it for a file."""

    def __init__(self, file: Path, at: int = 3) -> None:
        super().__init__()
        self.file = file
        self.at = at
        self.define_slot("input", handler=self.handle)
        self.define_event("done", ["n", "attempt", "redelivered"])

    def handle(self, n: int) -> None:
        self.state["seen"] = [*self.state.get("seen", []), n]
        if n == self.at:
            at_gate(self.file).touch()
            wait_until(self.file.exists)
        self.emit("done", n=n, attempt=self.attempt, redelivered=self.redelivered)


class Failing(Gate):
    """Raises at a number while a file is not there."""

    def handle(self, n: int) -> None:
        if n == self.at and not self.file.exists():
            raise FileNotFoundError(self.file)
        super().handle(n)


def numbers(worker: Routine, **options: Any) -> Flow:
    """Give a flow of numbers that go to `worker`, whose results are an output."""
    flow = Flow("numbers")
    flow.add_routine(Numbers(), "numbers")
    flow.add_routine(worker, "worker", **options)
    flow.connect("numbers", "number", "worker", "input")
    flow.output("worker", "done")
    return flow


def finish(job: Job) -> Any:
    """Wait for the job's end with all results, and check its books."""
    with job:
        pass
    state = job.state
    job.ledger.check()
    assert all(count.is_conserved for count in state.connections), state.connections
    return state
