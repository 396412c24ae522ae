"""Executors by the protocol of `concurrent.futures`: its own process pool, and loky's. One task a message.

A pool breaks whole when one worker dies, so they take no part where workers are killed.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.work import DEADLINE, TINY, Tally, WrongResultError, answer, burn, stage_a, stage_b


def open_executor(kind: str, workers: int) -> Executor:
    """Open a pool: `loky`, or one of `concurrent.futures` by `fork` or `spawn`."""
    if kind == "loky":
        import loky  # noqa: PLC0415  an option of the benchmarks

        executor: Executor = loky.ProcessPoolExecutor(workers)
        return executor
    return ProcessPoolExecutor(workers, multiprocessing.get_context(kind))


class _Pooled:
    """Owns a pool.

    Args:
        kind: as for `open_executor`.
    """

    _workers = 2

    def __init__(self, kind: str = "spawn") -> None:
        self._kind = kind

    def prepare(self) -> None:
        self._pool = open_executor(self._kind, self._workers)
        self.run(self._workers)

    def run(self, n: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._pool.shutdown()


class Pipeline(_Pooled):
    """Source -> A -> B -> sink, two workers."""

    def run(self, n: int) -> None:
        tally = Tally()
        tally.expect(n)
        after_a = [self._pool.submit(stage_a, {"n": number, "text": "tiny"}) for number in range(n)]
        after_b = [self._pool.submit(stage_b, future.result()) for future in after_a]
        for future in after_b:
            tally.take(future.result()["n"])
        tally.wait_done()


class Echo(_Pooled):
    """One task after another, one worker."""

    _workers = 1
    payload: Any = TINY
    answer: Any = None

    def run(self, n: int) -> None:
        for _ in range(n):
            self.answer = self._pool.submit(answer, self.payload).result(DEADLINE)


class Tasks(_Pooled):
    """CPU-heavy tasks, all submitted at once, two workers."""

    def run(self, n: int) -> None:
        for future in [self._pool.submit(burn) for _ in range(n)]:
            future.result(DEADLINE)


class Starter:
    """A pool for each run, with so many workers; ready when a task has been in each of them.

    Args:
        kind: as for `open_executor`.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._pools: list[Executor] = []
        self.pids: list[int] = []

    def prepare(self) -> None:
        self.run(1)

    def run(self, n: int) -> None:
        pool = open_executor(self._kind, n)
        self._pools.append(pool)
        with tempfile.TemporaryDirectory() as folder:
            futures = [pool.submit(_meet, folder, n) for _ in range(n)]
            self.pids = [future.result(DEADLINE) for future in futures]

    def close(self) -> None:
        for pool in self._pools:
            pool.shutdown()


def _meet(folder: str, workers: int) -> int:
    """Wait until so many workers are in this: one that is ready early takes no second task."""
    Path(folder, str(os.getpid())).touch()
    pause = threading.Event()
    deadline = time.monotonic() + DEADLINE
    while len(os.listdir(folder)) < workers:  # noqa: PTH208  the cheapest way to look
        if time.monotonic() > deadline:
            raise WrongResultError(f"fewer than {workers} workers started within {DEADLINE:g} s")
        pause.wait(0.001)
    return os.getpid()
