"""The pipeline as one would write it without routilux, with each tool's ordinary means.

Owns nothing but these pipelines. None is tuned, none is held back: Pykka and the queues have no
bound, a pipe carries one message a send, and the process pool gets one task a message and stage.
None of them keeps what is on its way when a process dies.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import pykka

from benchmarks.measure import DEADLINE, Feed, Tally, step_a, step_b

Item = dict[str, Any]

# A fresh interpreter a process, as routilux starts its own; it costs nothing once the messages flow.
_SPAWN = multiprocessing.get_context("spawn")


class _Stage(pykka.ThreadingActor):
    """Work on the number of each message and tell the next actor."""

    def __init__(self, step: Callable[[int], int], target: pykka.ActorRef[Any]) -> None:
        super().__init__()
        self._step = step
        self._target = target

    def on_receive(self, message: Item) -> None:
        self._target.tell({"n": self._step(message["n"]), "text": message["text"]})


class _Sink(pykka.ThreadingActor):
    """Hand the number of each message to the tally."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    def on_receive(self, message: Item) -> None:
        self._tally.take(message["n"])


@contextmanager
def open_pykka(tally: Tally) -> Iterator[Feed]:
    """Three Pykka actors on threads; every hop is a `tell`."""
    sink = _Sink.start(tally)
    stage_b = _Stage.start(step_b, sink)
    stage_a = _Stage.start(step_a, stage_b)

    def feed(messages: int) -> None:
        for number in range(messages):
            stage_a.tell({"n": number, "text": "tiny"})

    try:
        yield feed
    finally:
        for actor in (stage_a, stage_b, sink):
            actor.stop()


def _run_pipe_stage(step: Callable[[int], int], source: Connection, target: Connection) -> None:
    while (item := source.recv()) is not None:
        target.send({"n": step(item["n"]), "text": item["text"]})
    target.send(None)


def _drain_pipe(source: Connection, tally: Tally) -> None:
    while (item := source.recv()) is not None:
        tally.take(item["n"])


@contextmanager
def open_pipe(tally: Tally) -> Iterator[Feed]:
    """Two processes with a `multiprocessing.Pipe` before, between and behind them; one send a message."""
    (out_a, into_a), (out_b, into_b), (out_sink, into_sink) = (_SPAWN.Pipe(duplex=False) for _ in range(3))
    stages = [
        _SPAWN.Process(target=_run_pipe_stage, args=(step_a, out_a, into_b), daemon=True),
        _SPAWN.Process(target=_run_pipe_stage, args=(step_b, out_b, into_sink), daemon=True),
    ]
    for stage in stages:
        stage.start()
    # The children's ends: with copies open here, nobody would notice that a child has died.
    for end in (out_a, into_b, out_b, into_sink):
        end.close()
    sink = threading.Thread(target=_drain_pipe, args=(out_sink, tally), name="sink", daemon=True)
    sink.start()

    def feed(messages: int) -> None:
        for number in range(messages):
            into_a.send({"n": number, "text": "tiny"})

    try:
        yield feed
    finally:
        into_a.send(None)
        sink.join(DEADLINE)
        for stage in stages:
            stage.join(DEADLINE)
        into_a.close()
        out_sink.close()


def _run_queue_stage(step: Callable[[int], int], source: Any, target: Any) -> None:
    while (item := source.get()) is not None:
        target.put({"n": step(item["n"]), "text": item["text"]})
    target.put(None)


def _drain_queue(source: Any, tally: Tally) -> None:
    while (item := source.get()) is not None:
        tally.take(item["n"])


@contextmanager
def open_queue(tally: Tally) -> Iterator[Feed]:
    """Two processes with a `multiprocessing.Queue` before, between and behind them."""
    into_a, into_b, into_sink = (_SPAWN.Queue() for _ in range(3))
    stages = [
        _SPAWN.Process(target=_run_queue_stage, args=(step_a, into_a, into_b), daemon=True),
        _SPAWN.Process(target=_run_queue_stage, args=(step_b, into_b, into_sink), daemon=True),
    ]
    for stage in stages:
        stage.start()
    sink = threading.Thread(target=_drain_queue, args=(into_sink, tally), name="sink", daemon=True)
    sink.start()

    def feed(messages: int) -> None:
        for number in range(messages):
            into_a.put({"n": number, "text": "tiny"})

    try:
        yield feed
    finally:
        into_a.put(None)
        sink.join(DEADLINE)
        for stage in stages:
            stage.join(DEADLINE)
        for channel in (into_a, into_b, into_sink):
            channel.close()
            channel.join_thread()


def _pool_step_a(item: Item) -> Item:
    return {"n": step_a(item["n"]), "text": item["text"]}


def _pool_step_b(item: Item) -> Item:
    return {"n": step_b(item["n"]), "text": item["text"]}


@contextmanager
def open_pool(tally: Tally) -> Iterator[Feed]:
    """A `ProcessPoolExecutor` of two workers; one task a message and stage."""
    with ProcessPoolExecutor(max_workers=2, mp_context=_SPAWN) as pool:

        def feed(messages: int) -> None:
            after_a = [pool.submit(_pool_step_a, {"n": number, "text": "tiny"}) for number in range(messages)]
            after_b = [pool.submit(_pool_step_b, future.result()) for future in after_a]
            for future in after_b:
                tally.take(future.result()["n"])

        yield feed
