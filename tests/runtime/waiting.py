"""What the tests of async handlers run on: a room in which they wait, and flows around one of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from routilux import Flow, Job, Routine

PATIENCE = 30.0


class Numbers(Routine):
    """Emits the numbers below `count`."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.produce)
        self.define_event("number", ["n"])

    def produce(self, count: int) -> None:
        for n in range(count):
            self.emit("number", n=n)


class Room:
    """Where handlers wait until a test lets them out; on whatever loops."""

    def __init__(self) -> None:
        self.inside = 0
        self.peak = 0
        self.cancelled = 0
        self.is_open = False
        self._changed = threading.Condition()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    async def wait(self) -> None:
        loop = asyncio.get_running_loop()
        let_out = loop.create_future()
        with self._changed:
            if self.is_open:
                return
            self._waiting.append((loop, let_out))
            self.inside += 1
            self.peak = max(self.peak, self.inside)
            self._changed.notify_all()
        try:
            await let_out
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            with self._changed:
                self.inside -= 1
                self._changed.notify_all()

    def wait_for(self, inside: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.inside == inside, PATIENCE), self.inside

    def open(self) -> None:
        with self._changed:
            self.is_open = True
            waiting, self._waiting = self._waiting, []
        for loop, let_out in waiting:
            with contextlib.suppress(RuntimeError):  # the loop is over
                loop.call_soon_threadsafe(lambda let_out=let_out: let_out.done() or let_out.set_result(None))


class Waiting(Routine):
    """Waits in a room with each number, and hands it on."""

    def __init__(self, room: Room) -> None:
        super().__init__()
        self.room = room
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    async def handle(self, n: int) -> None:
        await self.room.wait()
        self.state[f"{n}"] = n
        self.emit("number", n=n)


def waiting_flow(added: Routine, *, capacity: int | None = None, **options: Any) -> Flow:
    flow = Flow("waiting")
    flow.add_routine(Numbers(), "numbers")
    flow.add_routine(added, "waiting", **options)
    flow.connect("numbers", "number", "waiting", "input")
    flow.output("waiting", "number", capacity=capacity)
    return flow


def wait_until(is_so: Callable[[], object]) -> None:
    """Wait for what tells nobody."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end
        threading.Event().wait(0.001)


def join_loops() -> None:
    """Wait for loops that were left behind."""
    for thread in threading.enumerate():
        if "/loop " in thread.name:
            thread.join(PATIENCE)


def numbers_of(job: Job) -> list[int]:
    return [item["n"] for item in job.results()]


class Deed(Routine):
    """Does what it is told to with each number."""

    def __init__(self, do: Callable[[Any, int], Any]) -> None:
        super().__init__()
        self.do = do
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    async def handle(self, n: int) -> None:
        await self.do(self, n)


def run_deed(do: Callable[[Any, int], Any], count: int = 3, **options: Any) -> Any:
    return waiting_flow(Deed(do), **options).execute("numbers", {"count": count})
