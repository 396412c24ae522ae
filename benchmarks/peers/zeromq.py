"""ZeroMQ's sockets by hand, over Unix sockets: one pickled message a send, no bound but its own high-water marks."""

from __future__ import annotations

import multiprocessing
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import zmq

from benchmarks.work import DEADLINE, TINY, Tally, answer, step_a, step_b

_SPAWN = multiprocessing.get_context("spawn")


class Pipeline:
    """Source -> A -> B -> sink with PUSH and PULL sockets."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._folder = tempfile.TemporaryDirectory()

    def prepare(self) -> None:
        into_a, into_b, into_sink = (f"ipc://{self._folder.name}/{name}" for name in ("a", "b", "sink"))
        self._context = zmq.Context()
        self._push = self._context.socket(zmq.PUSH)
        self._push.bind(into_a)
        self._pull = self._context.socket(zmq.PULL)
        self._pull.bind(into_sink)
        self._stages = [
            _SPAWN.Process(target=_run_stage, args=(step_b, into_b, into_sink, True), daemon=True),
            _SPAWN.Process(target=_run_stage, args=(step_a, into_a, into_b, False), daemon=True),
        ]
        for stage in self._stages:
            stage.start()
        self._sink = threading.Thread(target=self._drain)
        self._sink.start()
        self.run(1)

    def run(self, n: int) -> None:
        self._tally.expect(n)
        for number in range(n):
            self._push.send_pyobj({"n": number, "text": "tiny"})
        self._tally.wait_done()

    def close(self) -> None:
        self._push.send_pyobj(None)
        self._sink.join(DEADLINE)
        for stage in self._stages:
            stage.join(DEADLINE)
        self._context.destroy()
        self._folder.cleanup()

    def _drain(self) -> None:
        while (item := self._pull.recv_pyobj()) is not None:
            self._tally.take(item["n"])


def _run_stage(step: Callable[[int], int], source: str, target: str, is_last: bool) -> None:  # noqa: FBT001  a process's
    with zmq.Context() as context, context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
        # Each address is bound by one side: the first and the last by the parent, the one between by the last stage.
        if is_last:
            pull.bind(source)
        else:
            pull.connect(source)
        push.connect(target)
        while (item := pull.recv_pyobj()) is not None:
            push.send_pyobj({"n": step(item["n"]), "text": item["text"]})
        push.send_pyobj(None)


class Echo:
    """One request after another with REQ and REP sockets."""

    payload: Any = TINY
    answer: Any = None

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()

    def prepare(self) -> None:
        address = f"ipc://{self._folder.name}/echo"
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REQ)
        self._socket.bind(address)
        self._child = _SPAWN.Process(target=_run_echo, args=(address,), daemon=True)
        self._child.start()
        self.run(1)

    def run(self, n: int) -> None:
        for _ in range(n):
            self._socket.send_pyobj(self.payload)
            self.answer = self._socket.recv_pyobj()

    def close(self) -> None:
        self._socket.send_pyobj(None)
        self._child.join(DEADLINE)
        self._context.destroy()
        self._folder.cleanup()


def _run_echo(address: str) -> None:
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.connect(address)
        while (payload := socket.recv_pyobj()) is not None:
            socket.send_pyobj(answer(payload))
