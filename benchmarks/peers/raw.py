"""The limits: what the machine allows to those who do nothing but carry.

No ledger, no acknowledgement, no bound, nothing that survives a death. Threads with `SimpleQueue`, batches of pickled
messages over pipes, one pipe there and back, raw shared memory, and two processes that have divided their tasks before.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from queue import SimpleQueue
from typing import Any

import numpy as np

from benchmarks.measures import ARRAY_SIZES_MB
from benchmarks.peers.multiprocessing import PipePipeline
from benchmarks.work import DEADLINE, TINY, Tally, burn, step_a, step_b

_SPAWN = multiprocessing.get_context("spawn")
_BATCH = 256
_LARGEST = max(ARRAY_SIZES_MB) * 1_000_000


class Threads:
    """Source -> A -> B -> sink on threads with a `SimpleQueue` before each."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._queues: list[SimpleQueue[Any]] = [SimpleQueue() for _ in range(3)]

    def prepare(self) -> None:
        into_a, into_b, into_sink = self._queues
        self._threads = [
            threading.Thread(target=self._stage, args=(step_a, into_a, into_b)),
            threading.Thread(target=self._stage, args=(step_b, into_b, into_sink)),
            threading.Thread(target=self._sink, args=(into_sink,)),
        ]
        for thread in self._threads:
            thread.start()
        self.run(1)

    def run(self, n: int) -> None:
        self._tally.expect(n)
        into_a = self._queues[0]
        for number in range(n):
            into_a.put({"n": number, "text": "tiny"})
        self._tally.wait_done()

    def close(self) -> None:
        self._queues[0].put(None)
        for thread in self._threads:
            thread.join(DEADLINE)

    def _stage(self, step: Callable[[int], int], source: SimpleQueue[Any], target: SimpleQueue[Any]) -> None:
        while (item := source.get()) is not None:
            target.put({"n": step(item["n"]), "text": item["text"]})
        target.put(None)

    def _sink(self, source: SimpleQueue[Any]) -> None:
        while (item := source.get()) is not None:
            self._tally.take(item["n"])


def _run_batches(step: Callable[[int], int], source: Connection, target: Connection) -> None:
    while (batch := pickle.loads(source.recv_bytes())) is not None:  # noqa: S301  our own
        target.send_bytes(pickle.dumps([{"n": step(item["n"]), "text": item["text"]} for item in batch], 5))
    target.send_bytes(pickle.dumps(None, 5))


class Batches(PipePipeline):
    """Source -> A -> B -> sink, A and B processes, with lists of 256 messages as one pickle over a pipe."""

    stage = staticmethod(_run_batches)

    def run(self, n: int) -> None:
        self._tally.expect(n)
        for first in range(0, n, _BATCH):
            batch = [{"n": number, "text": "tiny"} for number in range(first, min(n, first + _BATCH))]
            self._into_a.send_bytes(pickle.dumps(batch, 5))
        self._tally.wait_done()

    def _end(self) -> None:
        self._into_a.send_bytes(pickle.dumps(None, 5))

    def _drain(self) -> None:
        while (batch := pickle.loads(self._out_sink.recv_bytes())) is not None:  # noqa: S301  our own
            for item in batch:
                self._tally.take(item["n"])


class PingPong:
    """Bytes over one pipe to a process, and over another one back: a write, a wake-up, a write, a wake-up."""

    payload: Any = TINY
    answer: Any = None

    def prepare(self) -> None:
        out_child, self._into_child = _SPAWN.Pipe(duplex=False)
        self._out_parent, into_parent = _SPAWN.Pipe(duplex=False)
        self._child = _SPAWN.Process(target=_run_ping_pong, args=(out_child, into_parent), daemon=True)
        self._child.start()
        out_child.close()
        into_parent.close()
        self.run(1)

    def run(self, n: int) -> None:
        reader, writer = self._out_parent.fileno(), self._into_child.fileno()
        request = pickle.dumps(self.payload, 5)
        reply = b""
        for _ in range(n):
            os.write(writer, request)
            reply = os.read(reader, 4096)
        self.answer = pickle.loads(reply)  # noqa: S301  our own

    def close(self) -> None:
        self._into_child.close()
        self._child.join(DEADLINE)
        self._out_parent.close()


def _run_ping_pong(source: Connection, target: Connection) -> None:
    while request := os.read(source.fileno(), 4096):
        os.write(target.fileno(), request)


class SharedArrays:
    """Pairs of blocks of shared memory, mapped once: the array is copied into one, its answer is made in the other.

    Args:
        ahead: pairs, and thus how many arrays may be on their way.
    """

    payload: Any = TINY
    answer: Any = None

    def __init__(self, ahead: int = 1) -> None:
        self._pairs = ahead

    def prepare(self) -> None:
        self._blocks = [
            tuple(SharedMemory(create=True, size=_LARGEST) for _ in range(2)) for _pair in range(self._pairs)
        ]
        self._pipe, end = _SPAWN.Pipe()
        names = [(there.name, back.name) for there, back in self._blocks]
        self._child = _SPAWN.Process(target=_run_arrays, args=(end, names), daemon=True)
        self._child.start()
        end.close()
        self.run(self._pairs)

    def run(self, n: int) -> None:
        size = len(self.payload)
        there = [_view(block, size) for block, _back in self._blocks]
        for number in range(n):
            if number >= self._pairs:
                self._pipe.recv_bytes()
            there[number % self._pairs][:] = self.payload
            self._pipe.send_bytes(bytes([number % self._pairs]) + size.to_bytes(8, "big"))
        for _ in range(min(n, self._pairs)):
            self._pipe.recv_bytes()
        self.answer = _view(self._blocks[(n - 1) % self._pairs][1], size)

    def close(self) -> None:
        self.answer = None  # a view, without which the blocks can be closed
        self._pipe.send_bytes(b"")
        self._child.join(DEADLINE)
        self._pipe.close()
        for pair in self._blocks:
            for block in pair:
                block.close()
                block.unlink()


def _view(block: SharedMemory, size: int) -> Any:
    return np.ndarray(size, np.uint8, buffer=block.buf)


def _run_arrays(pipe: Connection, names: list[tuple[str, str]]) -> None:
    blocks = [(SharedMemory(there), SharedMemory(back)) for there, back in names]
    while request := pipe.recv_bytes():
        (there, back), size = blocks[request[0]], int.from_bytes(request[1:], "big")
        np.add(_view(there, size), 1, out=_view(back, size))
        pipe.send_bytes(b"done")
    for pair in blocks:
        for block in pair:
            block.close()


class Tasks:
    """Two processes, each of which does its half of the tasks, and tells when it is done."""

    def prepare(self) -> None:
        self._pipes = []
        self._children = []
        for _ in range(2):
            pipe, end = _SPAWN.Pipe()
            child = _SPAWN.Process(target=_run_tasks, args=(end,), daemon=True)
            child.start()
            end.close()
            self._pipes.append(pipe)
            self._children.append(child)
        self.run(2)

    def run(self, n: int) -> None:
        for index, pipe in enumerate(self._pipes):
            pipe.send((n + index) // 2)
        for pipe in self._pipes:
            pipe.recv()

    def close(self) -> None:
        for pipe, child in zip(self._pipes, self._children, strict=True):
            pipe.send(None)
            child.join(DEADLINE)
            pipe.close()


def _run_tasks(pipe: Connection) -> None:
    while (tasks := pipe.recv()) is not None:
        for _ in range(tasks):
            burn()
        pipe.send("done")
