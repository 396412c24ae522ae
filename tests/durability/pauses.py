"""How long a pause takes with much that waits, from the end of the last turn to what is durable.

The command `python -m tests.durability.pauses [--messages 100000] [--times 5]` prints it for a store in files and one
in SQLite; exit status 1 if one took longer than a second.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from routilux import Flow, Routine
from routilux.stores.opening import open_store

BOUND_SECONDS = 1.0


class Held(Routine):
    """Holds its first message until it may go on, and tells when its turn ended."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go_on = threading.Event()
        self.ended_at = self.cpu_at = 0.0
        self.define_slot("input", self.take)

    def take(self, n: int, text: str) -> None:
        self.may_go_on.wait()
        self.ended_at, self.cpu_at = time.perf_counter(), time.process_time()


def measure(path: Path, messages: int) -> tuple[float, str]:
    """Pause a job with so many messages; give the seconds from the last turn's end to the return, and a line."""
    routine, store = Held(), open_store(path)
    flow = Flow("much")
    flow.add_routine(routine, "held", capacity=messages + 1)
    job = flow.start(keep_open=True, store=store, job_id="job")
    for n in range(messages):
        job.send("held", "input", n=n, text=f"message {n}")
    threading.Timer(0.05, routine.may_go_on.set).start()
    info = job.pause("measured", timeout=None)
    seconds, cpu_seconds = time.perf_counter() - routine.ended_at, time.process_time() - routine.cpu_at
    job.cancel("measured", shutdown=0.0)
    job.wait()
    store.close()
    if info is None:
        raise RuntimeError("a job with a store was paused without a checkpoint")
    told = (
        f"{seconds:.3f} s ({cpu_seconds:.3f} s of CPU): cut {info.cut_seconds * 1_000:.1f} ms, "
        f"encoded {info.encode_seconds:.3f} s, written {info.write_seconds:.3f} s; "
        f"{info.messages:,} messages, {info.size_bytes:,} bytes"
    )
    return seconds, told


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0 if all pauses were within the bound."""
    parser = argparse.ArgumentParser(prog="python -m tests.durability.pauses", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000, help="messages that wait (default: %(default)s)")
    parser.add_argument("--times", type=int, default=5, help="pauses of each store (default: %(default)s)")
    options = parser.parse_args(argv)
    slow = 0
    for name in ("jobs", "jobs.sqlite"):
        for _ in range(options.times):
            with tempfile.TemporaryDirectory(prefix="routilux-pauses-") as folder:
                seconds, told = measure(Path(folder) / name, options.messages)
                slow += seconds > BOUND_SECONDS
                print(f"{name:12} {told}", flush=True)
    return int(slow > 0)


if __name__ == "__main__":
    sys.exit(main())
