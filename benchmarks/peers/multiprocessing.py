"""multiprocessing by its ordinary means: a pipe or a queue, one message a send; a pool, one message a task.

None is tuned, none held back. The queues have no bound, and nothing survives the death of a process.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.work import DEADLINE, TINY, Tally, WrongResultError, answer, burn, stage_a, stage_b, step_a, step_b

# A fresh interpreter a process; it costs nothing once the messages flow.
_SPAWN = multiprocessing.get_context("spawn")


def _run_pipe_stage(step: Callable[[int], int], source: Connection, target: Connection) -> None:
    while (item := source.recv()) is not None:
        target.send({"n": step(item["n"]), "text": item["text"]})
    target.send(None)


class PipePipeline:
    """Source -> A -> B -> sink with a pipe before each."""

    stage: Callable[[Callable[[int], int], Connection, Connection], None] = staticmethod(_run_pipe_stage)
    """What A and B run."""

    def __init__(self) -> None:
        self._tally = Tally()

    def prepare(self) -> None:
        (out_a, self._into_a), (out_b, into_b), (self._out_sink, into_sink) = (
            _SPAWN.Pipe(duplex=False) for _ in range(3)
        )
        self._stages = [
            _SPAWN.Process(target=self.stage, args=(step_a, out_a, into_b), daemon=True),
            _SPAWN.Process(target=self.stage, args=(step_b, out_b, into_sink), daemon=True),
        ]
        for stage in self._stages:
            stage.start()
        # The children's ends: with copies open here, nobody would notice that a child has died.
        for end in (out_a, into_b, out_b, into_sink):
            end.close()
        self._sink = threading.Thread(target=self._drain)
        self._sink.start()
        self.run(1)

    def run(self, n: int) -> None:
        self._tally.expect(n)
        for number in range(n):
            self._into_a.send({"n": number, "text": "tiny"})
        self._tally.wait_done()

    def close(self) -> None:
        self._end()
        self._sink.join(DEADLINE)
        for stage in self._stages:
            stage.join(DEADLINE)
        self._into_a.close()
        self._out_sink.close()

    def _end(self) -> None:
        self._into_a.send(None)

    def _drain(self) -> None:
        while (item := self._out_sink.recv()) is not None:
            self._tally.take(item["n"])


class QueuePipeline:
    """Source -> A -> B -> sink with a `multiprocessing.Queue` before each."""

    def __init__(self) -> None:
        self._tally = Tally()

    def prepare(self) -> None:
        self._queues = [_SPAWN.Queue() for _ in range(3)]
        into_a, into_b, into_sink = self._queues
        self._stages = [
            _SPAWN.Process(target=_run_queue_stage, args=(step_a, into_a, into_b), daemon=True),
            _SPAWN.Process(target=_run_queue_stage, args=(step_b, into_b, into_sink), daemon=True),
        ]
        for stage in self._stages:
            stage.start()
        self._sink = threading.Thread(target=self._drain)
        self._sink.start()
        self.run(1)

    def run(self, n: int) -> None:
        self._tally.expect(n)
        for number in range(n):
            self._queues[0].put({"n": number, "text": "tiny"})
        self._tally.wait_done()

    def close(self) -> None:
        self._queues[0].put(None)
        self._sink.join(DEADLINE)
        for stage in self._stages:
            stage.join(DEADLINE)
        for queue in self._queues:
            queue.close()
            queue.join_thread()

    def _drain(self) -> None:
        while (item := self._queues[-1].get()) is not None:
            self._tally.take(item["n"])


def _run_queue_stage(step: Callable[[int], int], source: Any, target: Any) -> None:
    while (item := source.get()) is not None:
        target.put({"n": step(item["n"]), "text": item["text"]})
    target.put(None)


class _Pooled:
    """A `Pool` of so many processes."""

    _workers = 2

    def prepare(self) -> None:
        self._pool = _SPAWN.Pool(self._workers)
        self.run(self._workers)

    def run(self, n: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._pool.close()
        self._pool.join()


class PoolPipeline(_Pooled):
    """Source -> A -> B -> sink by a `Pool` of two, with `imap`, one task a message and stage."""

    def __init__(self) -> None:
        self._tally = Tally()

    def run(self, n: int) -> None:
        self._tally.expect(n)
        after_a = self._pool.imap(stage_a, ({"n": number, "text": "tiny"} for number in range(n)))
        for item in self._pool.imap(stage_b, after_a):
            self._tally.take(item["n"])
        self._tally.wait_done()


class PoolTasks(_Pooled):
    """CPU-heavy tasks by a `Pool` of two, with `imap_unordered`."""

    def run(self, n: int) -> None:
        for _ in self._pool.imap_unordered(_burn, range(n)):
            pass


def _burn(_number: int) -> None:
    burn()


class PipeEcho:
    """One request after another over a pipe, with `send` and `recv`."""

    payload: Any = TINY
    answer: Any = None

    def prepare(self) -> None:
        self._pipe, end = _SPAWN.Pipe()
        self._child = _SPAWN.Process(target=_run_echo, args=(end,), daemon=True)
        self._child.start()
        end.close()
        self.run(1)

    def run(self, n: int) -> None:
        for _ in range(n):
            self._pipe.send(self.payload)
            self.answer = self._pipe.recv()

    def close(self) -> None:
        self._pipe.send(None)
        self._child.join(DEADLINE)
        self._pipe.close()


def _run_echo(pipe: Connection) -> None:
    while (payload := pipe.recv()) is not None:
        pipe.send(answer(payload))


class Starter:
    """Processes with a pipe each, over which they tell their pids.

    Args:
        method: how they are started: `fork`, `forkserver` or `spawn`.
    """

    def __init__(self, method: str) -> None:
        self._context: Any = multiprocessing.get_context(method)
        self._running: list[tuple[Any, Connection]] = []
        self.pids: list[int] = []

    def prepare(self) -> None:
        self.run(1)

    def run(self, n: int) -> None:
        started = [self._start() for _ in range(n)]
        self.pids = [self._ask(pipe) for _, pipe in started]
        self._running += started

    def close(self) -> None:
        for process, pipe in self._running:
            pipe.send(None)
            process.join(DEADLINE)
            pipe.close()

    def _start(self) -> tuple[Any, Connection]:
        pipe, end = self._context.Pipe()
        process = self._context.Process(target=_run_process, args=(end,), daemon=True)
        process.start()
        end.close()
        return process, pipe

    def _ask(self, pipe: Connection) -> int:
        pipe.send("pid")
        if not pipe.poll(DEADLINE):
            raise WrongResultError(f"a process did not answer within {DEADLINE:g} s")
        return int(pipe.recv())


def _run_process(pipe: Connection) -> None:
    while pipe.recv() is not None:
        pipe.send(os.getpid())
