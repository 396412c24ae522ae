"""Dask's distributed scheduler, on this machine: worker processes with one thread each; a message is a task."""

from __future__ import annotations

import os
from typing import Any

import dask
from distributed import Client, LocalCluster

from benchmarks.work import DEADLINE, TINY, Tally, answer, burn, die_once, stage_a, stage_b


class _Peer:
    """Owns a cluster of so many workers."""

    _workers = 2

    def prepare(self) -> None:
        dask.config.set({"distributed.scheduler.allowed-failures": 1_000_000})
        self._cluster: Any = LocalCluster(
            n_workers=self._workers, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        )
        self._client: Any = Client(self._cluster)
        self._client.wait_for_workers(self._workers, timeout=DEADLINE)
        self.run(1)

    def run(self, n: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._client.close()
        self._cluster.close()


class Pipeline(_Peer):
    """Source -> A -> B -> sink, one task a message and stage."""

    def run(self, n: int) -> None:
        tally = Tally()
        tally.expect(n)
        after_a = [self._client.submit(stage_a, {"n": number, "text": "tiny"}, pure=False) for number in range(n)]
        after_b = [self._client.submit(stage_b, future, pure=False) for future in after_a]
        for item in self._client.gather(after_b):
            tally.take(item["n"])
        tally.wait_done()


class Echo(_Peer):
    """One call of an actor after another."""

    _workers = 1
    _server: Any = None
    payload: Any = TINY
    answer: Any = None

    def run(self, n: int) -> None:
        if self._server is None:
            self._server = self._client.submit(_Server, actor=True).result(timeout=DEADLINE)
        for _ in range(n):
            self.answer = self._server.answer(self.payload).result()


class _Server:
    """Answers."""

    def answer(self, payload: Any) -> Any:
        return answer(payload)


class Tasks(_Peer):
    """CPU-heavy tasks, two workers."""

    def run(self, n: int) -> None:
        for future in [self._client.submit(burn, pure=False) for _ in range(n)]:
            future.result(timeout=DEADLINE)


class Starter(_Peer):
    """Workers, added to a cluster; ready when the scheduler knows them and each has run a task."""

    _workers = 1
    pids: list[int]

    def prepare(self) -> None:
        self.pids = []
        self._count = 0
        super().prepare()

    def run(self, n: int) -> None:
        known = set(self._client.run(os.getpid).values()) if self._count else set()
        self._count += n
        self._cluster.scale(self._count)
        self._client.wait_for_workers(self._count, timeout=DEADLINE)
        self.pids = [pid for pid in self._client.run(os.getpid).values() if pid not in known]


class Deaths(_Peer):
    """A task whose worker is killed, with one worker, which its nanny starts again."""

    _workers = 1

    def prepare(self) -> None:
        self._is_ready = False
        super().prepare()
        self._is_ready = True

    def run(self, n: int) -> None:
        for _ in range(n):
            self._client.submit(die_once if self._is_ready else os.getpid, pure=False).result(timeout=DEADLINE)
