"""xoscar: actors in a pool of processes, reached from an event loop; a message is a call, awaited or not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any

import xoscar

from benchmarks.work import DEADLINE, TINY, Tally, answer, burn, step_a, step_b


class _Peer:
    """Owns an event loop, and a pool of so many processes."""

    _workers = 2

    def prepare(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._await(self._open())
        self.run(1)

    async def _open(self) -> None:
        self._pool: Any = await xoscar.create_actor_pool("127.0.0.1", n_process=self._workers)
        self._addresses = list(self._pool.sub_processes)

    def run(self, n: int) -> None:
        self._await(self._run(n))

    async def _run(self, n: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._await(self._pool.stop())
        self._loop.close()

    def _await(self, task: Coroutine[Any, Any, None]) -> None:
        self._loop.run_until_complete(asyncio.wait_for(task, DEADLINE))


class _Stage(xoscar.Actor):  # type: ignore[misc]  # untyped
    """Works on the number of each message, and tells the next actor."""

    def __init__(self, is_first: bool, target: Any) -> None:  # noqa: FBT001  an actor's argument
        self._step = step_a if is_first else step_b
        self._target = target

    async def handle(self, item: dict[str, Any]) -> None:
        await self._target.handle.tell({"n": self._step(item["n"]), "text": item["text"]})


class _Sink(xoscar.StatelessActor):  # type: ignore[misc]  # untyped
    """Hands the number of each message to the tally, which is in its process; takes messages while somebody waits."""

    def __init__(self) -> None:
        self._tally = Tally()

    def expect(self, messages: int) -> None:
        self._tally.expect(messages)

    def handle(self, item: dict[str, Any]) -> None:
        self._tally.take(item["n"])

    async def wait(self) -> None:
        await asyncio.to_thread(self._tally.wait_done)


class Pipeline(_Peer):
    """Source -> A -> B -> sink, three actors and `tell`; the sink is in this process, the main one of the pool."""

    async def _open(self) -> None:
        await super()._open()
        one, other = self._addresses
        self._sink = await xoscar.create_actor(_Sink, address=self._pool.external_address)
        self._b = await xoscar.create_actor(_Stage, False, self._sink, address=other)
        self._a = await xoscar.create_actor(_Stage, True, self._b, address=one)

    async def _run(self, n: int) -> None:
        await self._sink.expect(n)
        for number in range(n):
            await self._a.handle.tell({"n": number, "text": "tiny"})
        await self._sink.wait()


class _Server(xoscar.Actor):  # type: ignore[misc]  # untyped
    """Answers."""

    def pid(self) -> int:
        return os.getpid()

    def answer(self, payload: Any) -> Any:
        return answer(payload)

    def burn(self) -> None:
        burn()


class Echo(_Peer):
    """One call after another."""

    _workers = 1
    payload: Any = TINY
    answer: Any = None

    async def _open(self) -> None:
        await super()._open()
        self._server = await xoscar.create_actor(_Server, address=self._addresses[0])

    async def _run(self, n: int) -> None:
        for _ in range(n):
            self.answer = await self._server.answer(self.payload)


class Tasks(_Peer):
    """CPU-heavy calls of two actors, half of them each."""

    async def _open(self) -> None:
        await super()._open()
        self._servers = [await xoscar.create_actor(_Server, address=address) for address in self._addresses]

    async def _run(self, n: int) -> None:
        await asyncio.gather(*(self._servers[number % 2].burn() for number in range(n)))


class Starter(_Peer):
    """Processes, added to the pool, with an actor each."""

    _workers = 1
    pids: list[int]

    async def _run(self, n: int) -> None:
        addresses = await asyncio.gather(*(self._pool.append_sub_pool() for _ in range(n)))
        servers = [await xoscar.create_actor(_Server, address=address) for address in addresses]
        self.pids = list(await asyncio.gather(*(server.pid() for server in servers)))
