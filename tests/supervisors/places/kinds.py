"""Every kind of place under one driver, for the tests of what all of them promise."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from supervisors.places.loop import AsyncioLoop
from supervisors.places.looped import LoopPlace
from supervisors.places.scripted import ScriptedPlace
from supervisors.places.simulated_loop import SimulatedLoop
from supervisors.places.thread import ThreadPlace
from supervisors.places.timed import TimedThreadPlace
from supervisors.wire.values import decode, encode
from tests.supervisors.places.bench import PATIENCE, Bench, Driver

KINDS = ("thread", "timed", "process", "scripted", "looped", "simulated")
LOOPED = ("looped", "simulated")
"""Places that run several requests at once."""


class Turnover:
    """Lets others go on."""

    def __await__(self) -> Iterator[None]:
        yield


class LoopBench(Bench):
    """A bench whose verbs may wait."""

    def begin(self, request: bytes, port: Any) -> Any:
        verb, *arguments = decode(request)
        return Waiting(self, getattr(self, verb)(port, *arguments))

    async def stream(self, port: Any, count: int, weight: int) -> Any:
        for index in range(count):
            port.part(encode(index), weight)
            await Turnover()
        return count

    async def steps(self, port: Any, count: int, weight: int) -> Any:
        for index in range(count):
            await port.stop(encode(index), weight, lambda: None)
        return count


class Waiting:
    """The execution of one verb on a loop."""

    def __init__(self, bench: Bench, outcome: Any) -> None:
        self._bench = bench
        self._outcome = outcome

    async def run(self) -> None:
        if hasattr(self._outcome, "__await__"):
            self._outcome = await self._outcome

    @property
    def result(self) -> Any:
        return encode(self._outcome)

    def conclude(self, *, accepted: bool) -> None:
        self._bench.settle(accepted=accepted)


class AnyDriver(Driver):
    """A driver of a place with one worker, of any kind."""

    def __init__(self, kind: str, **options: Any) -> None:
        self.kind = kind
        self.inside: Callable[[], bool] = lambda: False
        """What a place on this thread does while a part waits."""
        self._loops: list[SimulatedLoop] = []
        super().__init__(**options)

    def make_place(self, workers: int, service: Any, **options: Any) -> Any:
        if self.kind == "process":
            return super().make_place(workers, service, **options)
        if self.kind == "scripted":
            return ScriptedPlace(Bench, self, random.Random(0), clock=time.monotonic)
        if self.kind in LOOPED:
            return self._make_looped(options)
        if self.kind == "thread":
            return ThreadPlace(Bench, self, time.monotonic, self._wait)
        return TimedThreadPlace(
            "bench",
            Bench,
            self,
            time.monotonic,
            self.poller.unpark,
            timeout=options.get("timeout", PATIENCE),
            warn=lambda *told: self.warned.append(told),
            note_abandoned=lambda _stacks: None,
        )

    def _make_looped(self, options: dict[str, Any]) -> LoopPlace:
        def make_loop(boot: Any) -> Any:
            if self.kind == "looped":
                return AsyncioLoop("bench", LoopBench, boot, time.monotonic, self.poller.unpark)
            loop = SimulatedLoop(LoopBench, boot, random.Random(0), time.monotonic)
            self._loops.append(loop)
            return loop

        return LoopPlace(
            make_loop,
            self,
            time.monotonic,
            limit=options.get("limit", 1),
            is_ordered=True,
            timeout=options.get("timeout", PATIENCE),
            warn=lambda *told: self.warned.append(told),
            note_abandoned=lambda _stacks: None,
        )

    def _wait(self) -> bool:
        return self.inside()

    def run(self, until: Callable[[], object], look_every: float = 0.05) -> None:
        end = time.monotonic() + PATIENCE
        while not until():
            assert time.monotonic() < end, self
            self.move(look_every)

    def hand_out(self) -> None:
        room = self.place.room(0)
        if room and self.waiting:
            self.place.submit(0, [self.waiting.popleft() for _ in range(min(room, len(self.waiting)))])
        self.place.flush()

    def move(self, patience: float) -> None:
        """Let one thing happen, if it does within `patience` seconds."""
        self.place.on_tick(time.monotonic())
        self.hand_out()
        if not self._advance() and self.kind != "thread":
            self.poller.park(0.0 if self.kind in ("scripted", "simulated") else patience)

    def _advance(self) -> bool:
        if self.kind == "scripted":
            moved: bool = self.place.tick()
            return moved
        if self.kind == "simulated":
            moved = any(loop.tick() for loop in self._loops)
            return self.place.advance() or moved
        return bool(self.place.advance())

    def rest(self) -> None:
        """Let pass what may happen, if anything does."""
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            self.move(0.002)

    def abort(self) -> None:
        self.place.abort()
        for loop in self._loops:
            loop.drop()
        self.poller.close()

    def close(self, timeout: float = 0.0) -> None:
        self.place.close(timeout)
        self.run(lambda: self.closed)
        assert self.closed == 1
        assert self.place.is_still


@contextmanager
def driven(
    kind: str, *, before: Callable[[AnyDriver], object] = lambda _driver: None, **options: Any
) -> Iterator[AnyDriver]:
    """Give a driver whose worker has started, after what comes before that; close it at the end."""
    driver = AnyDriver(kind, **options)
    try:
        before(driver)
        driver.start()
        yield driver
        if not driver.closed:
            driver.place.release()
            driver.close(PATIENCE)
    finally:
        driver.abort()
