"""Ray, on this machine alone: actors as processes; a message is a call, whose result is waited for or passed on."""

from __future__ import annotations

import os
from collections import deque
from typing import Any

import ray

from benchmarks.work import AHEAD, DEADLINE, TINY, Tally, answer, burn, die_once, step_a, step_b


def begin_cluster(processors: int) -> None:
    """Begin a cluster of this machine alone."""
    # An address, since `init` without one joins another Ray of this machine without a word.
    ray.init(
        address="local",
        num_cpus=processors,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=1_000_000_000,
    )


def end_cluster() -> None:
    """End it."""
    ray.shutdown()


class _Peer:
    """Ends Ray."""

    def close(self) -> None:
        end_cluster()


class Pipeline(_Peer):
    """Source -> A -> B -> sink: two actors, whose results are passed on by reference; the sink gets them."""

    def prepare(self) -> None:
        begin_cluster(2)
        self._a, self._b = ray.remote(_StageA).remote(), ray.remote(_StageB).remote()
        self.run(1)

    def run(self, n: int) -> None:
        tally = Tally()
        tally.expect(n)
        after_a = [self._a.handle.remote({"n": number, "text": "tiny"}) for number in range(n)]
        for item in ray.get([self._b.handle.remote(reference) for reference in after_a], timeout=DEADLINE):
            tally.take(item["n"])
        tally.wait_done()


class _StageA:
    """The first stage."""

    def handle(self, item: dict[str, Any]) -> dict[str, Any]:
        return {"n": step_a(item["n"]), "text": item["text"]}


class _StageB:
    """The second stage."""

    def handle(self, item: dict[str, Any]) -> dict[str, Any]:
        return {"n": step_b(item["n"]), "text": item["text"]}


class _Server:
    """Answers."""

    def pid(self) -> int:
        return os.getpid()

    def answer(self, payload: Any) -> Any:
        return answer(payload)

    def burn(self) -> None:
        burn()

    def die_once(self) -> None:
        die_once()


class Echo(_Peer):
    """One call after another."""

    payload: Any = TINY
    answer: Any = None

    def prepare(self) -> None:
        begin_cluster(1)
        self._server = ray.remote(_Server).remote()
        self.run(1)

    def run(self, n: int) -> None:
        for _ in range(n):
            self.answer = ray.get(self._server.answer.remote(self.payload), timeout=DEADLINE)


class EchoAhead(Echo):
    """Calls of which several are on their way at a time."""

    def run(self, n: int) -> None:
        references: deque[Any] = deque()
        for _ in range(n):
            references.append(self._server.answer.remote(self.payload))
            if len(references) > AHEAD:
                self.answer = ray.get(references.popleft(), timeout=DEADLINE)
        for reference in references:
            self.answer = ray.get(reference, timeout=DEADLINE)


class Tasks(_Peer):
    """CPU-heavy remote functions on two processors."""

    def prepare(self) -> None:
        begin_cluster(2)
        self._burn = ray.remote(burn)
        self.run(2)

    def run(self, n: int) -> None:
        ray.get([self._burn.remote() for _ in range(n)], timeout=DEADLINE)


class Starter(_Peer):
    """Actors, each of which is a process; the first is ready when Ray is."""

    def __init__(self) -> None:
        self._actors: list[Any] = []
        self.pids: list[int] = []

    def prepare(self) -> None:
        begin_cluster(20)
        self.run(1)

    def run(self, n: int) -> None:
        started = [ray.remote(_Server).remote() for _ in range(n)]
        self.pids = ray.get([actor.pid.remote() for actor in started], timeout=DEADLINE)
        self._actors += started


class Deaths(_Peer):
    """An actor that is started again, and whose calls are tried again."""

    def prepare(self) -> None:
        begin_cluster(1)
        self._server = ray.remote(_Server).options(max_restarts=-1, max_task_retries=-1).remote()
        ray.get(self._server.pid.remote(), timeout=DEADLINE)

    def run(self, n: int) -> None:
        for _ in range(n):
            ray.get(self._server.die_once.remote(), timeout=DEADLINE)
