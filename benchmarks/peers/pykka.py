"""Pykka as it is: actors on threads, without bounds; each hop is a `tell`, each request an `ask`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pykka

from benchmarks.work import Tally, step_a, step_b


class _Stage(pykka.ThreadingActor):
    """Works on the number of each message, and tells the next actor."""

    def __init__(self, step: Callable[[int], int], target: pykka.ActorRef[Any]) -> None:
        super().__init__()
        self._step = step
        self._target = target

    def on_receive(self, message: dict[str, Any]) -> None:
        self._target.tell({"n": self._step(message["n"]), "text": message["text"]})


class _Sink(pykka.ThreadingActor):
    """Hands the number of each message to the tally."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    def on_receive(self, message: dict[str, Any]) -> None:
        self._tally.take(message["n"])


class Pipeline:
    """Source -> A -> B -> sink, three actors."""

    def __init__(self) -> None:
        self._tally = Tally()

    def prepare(self) -> None:
        sink = _Sink.start(self._tally)
        stage_b = _Stage.start(step_b, sink)
        self._first = _Stage.start(step_a, stage_b)
        self.run(1)

    def run(self, n: int) -> None:
        self._tally.expect(n)
        for number in range(n):
            self._first.tell({"n": number, "text": "tiny"})
        self._tally.wait_done()

    def close(self) -> None:
        pykka.ActorRegistry.stop_all()
