"""One SIGKILL among 20 queued calls: how many of the others are handled, and whether there are more to come.

The command `python -m benchmarks.one_kill`. Owns the calls, the contenders and what it prints. Each contender has
one worker process; all calls are queued before the fatal one begins. Exit status 1 if routilux loses one.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

from routilux import ErrorHandler, Flow, Routine

CALLS = 20
FATAL = 3
"""The call that is killed, the first time it is made."""
SECONDS = 60.0


class Kept(NamedTuple):
    """What one contender kept.

    Args:
        name: what it is called.
        others: calls handled, of those that were not killed.
        killed: whether the killed call was handled in the end.
        serves_on: whether a call that is made afterwards is handled.
        seconds: from the first call to the last answer.
    """

    name: str
    others: int
    killed: bool
    serves_on: bool
    seconds: float


class Square(Routine):
    """Squares numbers, and is killed at one of them the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.square)
        self.define_event("square", ["n", "square"])

    def square(self, n: int) -> None:
        """Emit the square."""
        if n == FATAL and self.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        self.emit("square", n=n, square=n * n)


def run_routilux(strategy: str) -> Kept:
    """Make the calls by a routine with that error strategy."""
    flow = Flow("one-kill")
    handler = ErrorHandler(strategy, retry_delay=0.0)
    flow.add_routine(Square(), "square", placement="process", error_handler=handler)
    flow.output("square", "square")
    started_at = time.perf_counter()
    with flow.start(keep_open=True) as job:
        for n in range(CALLS):
            job.send("square", "input", n=n)
        results = job.results()
        expected = CALLS if strategy == "retry" else CALLS - 1
        handled = {next(results)["n"] for _ in range(expected)}
        seconds = time.perf_counter() - started_at
        job.send("square", "input", n=CALLS)
        serves_on = next(results)["n"] == CALLS
    return Kept(f"routilux, {strategy}", len(handled - {FATAL}), FATAL in handled, serves_on, seconds)


def run_process_pool() -> Kept:
    """Make the calls by `concurrent.futures`."""
    started_at = time.perf_counter()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_square, n) for n in range(CALLS)]
        handled = {n for n, future in enumerate(futures) if future.exception(SECONDS) is None}
        seconds = time.perf_counter() - started_at
        try:
            serves_on = pool.submit(_square, CALLS).result(SECONDS) == CALLS**2
        except BrokenProcessPool:
            serves_on = False
    return Kept("ProcessPoolExecutor", len(handled - {FATAL}), FATAL in handled, serves_on, seconds)


def _square(n: int) -> int:
    if n == FATAL:
        os.kill(os.getpid(), signal.SIGKILL)
    return n * n


def main() -> int:
    """Run all contenders and print what they kept."""
    contenders: list[Callable[[], Kept]] = [
        lambda: run_routilux("continue"),
        lambda: run_routilux("retry"),
        run_process_pool,
    ]
    print(f"{CALLS} calls queued, the process killed in one of them")
    print(f"{'':20} {'others handled':>15} {'killed one too':>15} {'serves on':>10} {'seconds':>8}")
    kept = []
    for contender in contenders:
        row = contender()
        kept.append(row)
        print(
            f"{row.name:20} {f'{row.others} of {CALLS - 1}':>15} {'yes' if row.killed else 'no':>15} "
            f"{'yes' if row.serves_on else 'no':>10} {row.seconds:8.2f}",
            flush=True,
        )
    return int(any(row.others < CALLS - 1 or not row.serves_on for row in kept if row.name.startswith("routilux")))


if __name__ == "__main__":
    sys.exit(main())
