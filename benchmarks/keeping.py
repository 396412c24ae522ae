"""What keeping a job costs while it runs: the cut, the writing, and the rate of its messages.

The command `python -m benchmarks.keeping`. Owns its two flows and what it prints.

First a job of 100 routines with 1,000 pending messages and 10,000 history records is asked for checkpoints, on files
and on SQLite: how long its lock is held, how long encoding and writing take, and how large a checkpoint is. Then
messages go from a source over two routines to a sink, without a store, with one, and with a checkpoint a second; rounds
are interleaved, and ratios taken within a round: of what came through in a second, and of the processor time that it
took, which tells more on a machine that others use too.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from routilux import Flow, Job, Routine, __version__
from routilux.jobs.recorder import CheckpointInfo

ROUTINES = 100
PENDING = 1_000
TURNS = 3_334
"""Turns before the checkpoints: each makes three history records."""


class Stage(Routine):
    """Counts what it handles, and holds up what says so until it is let go."""

    gate = threading.Event()

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("done", ["path", "row"])

    def handle(self, path: str, row: int, hold: bool = False) -> None:  # noqa: FBT001, FBT002  parameters by name
        """Count, and emit to nobody."""
        if hold:
            self.gate.wait()
        self.state["count"] = self.state.get("count", 0) + 1
        self.state["last"] = path
        self.emit("done", path=path, row=row)


class Source(Routine):
    """Emits numbered messages."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("item", ["n", "text"])

    def handle(self, count: int) -> Iterator[None]:
        """Emit them, with a commit for every hundred."""
        for n in range(self.state.get("next", 0), count):
            self.emit("item", n=n, text="a few words of text")
            if n % 100 == 0:
                self.state["next"] = n + 1
                yield


class Pass(Routine):
    """Hands messages on."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("item", ["n", "text"])

    def handle(self, n: int, text: str) -> None:
        """Hand on."""
        self.emit("item", n=n, text=text)


class Sink(Routine):
    """Counts what arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int) -> None:
        """Count."""
        self.state["last"] = n


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a result is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keeping", description=__doc__)
    parser.add_argument("--checkpoints", type=int, default=20, help="checkpoints for each store (default: %(default)s)")
    parser.add_argument("--messages", type=int, default=150_000, help="messages of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--placement", choices=("thread", "process"), default="thread", help="of the two routines")
    parser.add_argument("--folder", type=Path, help="where the stores are made (default: a temporary folder)")
    options = parser.parse_args(argv)
    print(f"Python {platform.python_version()}, routilux {__version__}, {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for name in ("files", "jobs.sqlite"):
            print_checkpoints(name, measure_checkpoints(Path(folder) / name, options.checkpoints))
        return measure_rates(Path(folder), options.messages, options.rounds, options.placement)


def measure_checkpoints(store: Path, count: int) -> list[CheckpointInfo]:
    """Take checkpoints of a job with many routines and pending messages."""
    flow = Flow("stages")
    ids = [flow.add_routine(Stage(), f"stage{number:03}") for number in range(ROUTINES)]
    Stage.gate.clear()
    job = flow.start(keep_open=True, store=store)
    for turn in range(TURNS):
        job.send(ids[turn % ROUTINES], "input", path=f"src/module_{turn}.py", row=turn)
    while sum(routine["handled"] for routine in job.state.routine_states.values()) < TURNS:
        time.sleep(0.01)  # noqa: TID251  there is nothing to wait on from outside
    for message in range(PENDING):
        job.send(ids[message % ROUTINES], "input", path=f"src/module_{message}.py", row=message, hold=True)
    taken = [job.checkpoint() for _ in range(count)]
    Stage.gate.set()
    job.close_entry()
    job.wait()
    return taken[1:]


def print_checkpoints(name: str, taken: list[CheckpointInfo]) -> None:
    """Print medians."""

    def median(of: Callable[[CheckpointInfo], float]) -> float:
        return statistics.median(map(of, taken))

    print(
        f"{name}: {ROUTINES} routines, {taken[0].messages:,} messages, {TURNS * 3:,} history records: "
        f"{median(lambda info: info.size_bytes):,.0f} bytes; cut {median(lambda info: info.cut_seconds) * 1e6:.0f} us, "
        f"encode {median(lambda info: info.encode_seconds) * 1e3:.1f} ms, "
        f"write {median(lambda info: info.write_seconds) * 1e3:.1f} ms (medians of {len(taken)})"
    )


def measure_rates(folder: Path, messages: int, rounds: int, placement: str) -> int:
    """Compare the rates without a store, with one, and with a checkpoint a second."""
    ways: dict[str, dict[str, Any]] = {
        "no store": {},
        "store": {"store": folder / "rates"},
        "a checkpoint a second": {"store": folder / "rates", "checkpoint_every": 1.0},
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    costs: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        order = list(ways)
        for way in order[number % len(order) :] + order[: number % len(order)]:
            job = relay(placement).start("source", {"count": messages}, **ways[way])
            start, cpu_start = time.perf_counter(), sum(os.times()[:4])
            state = job.wait()
            rates[way].append(messages / (time.perf_counter() - start))
            costs[way].append((sum(os.times()[:4]) - cpu_start) / messages)
            if not is_right(job, state.routine_states["sink"]["state"], messages):
                return 1
    for way, found in rates.items():
        cpu = statistics.median(costs[way]) * 1e6
        print(f"{placement}s, {way}: {statistics.median(found):,.0f} messages/s over 3 hops, {cpu:.1f} us of CPU each")
    for one, other in (
        ("a checkpoint a second", "store"),
        ("store", "no store"),
        ("a checkpoint a second", "no store"),
    ):
        print(f"{one} / {other}: rate {_compare(rates[one], rates[other])}, CPU {_compare(costs[one], costs[other])}")
    return 0


def _compare(some: list[float], others: list[float]) -> str:
    ratios = [one / other for one, other in zip(some, others, strict=True)]
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def relay(placement: str) -> Flow:
    """Give source -> pass -> pass -> sink."""
    flow = Flow("relay")
    flow.add_routine(Source(), "source")
    flow.add_routine(Pass(), "one", placement=placement)
    flow.add_routine(Pass(), "two", placement=placement)
    flow.add_routine(Sink(), "sink")
    flow.connect("source", "item", "one", "input")
    flow.connect("one", "item", "two", "input")
    flow.connect("two", "item", "sink", "input")
    return flow


def is_right(job: Job, state: dict[str, int], messages: int) -> bool:
    """Tell whether all messages arrived; says so if not."""
    if job.status == "completed" and state.get("last") == messages - 1:
        return True
    print(f"wrong result: {job.state.error}, the sink has {state}", file=sys.stderr)
    return False


if __name__ == "__main__":
    sys.exit(main())
