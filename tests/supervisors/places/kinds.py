"""Every kind of place under one driver, for the tests of what all of them promise."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from supervisors.places.scripted import ScriptedPlace
from supervisors.places.thread import ThreadPlace
from supervisors.places.timed import TimedThreadPlace
from tests.supervisors.places.bench import PATIENCE, Bench, Driver

KINDS = ("thread", "timed", "process", "scripted")


class AnyDriver(Driver):
    """A driver of a place with one worker, of any kind."""

    def __init__(self, kind: str, **options: Any) -> None:
        self.kind = kind
        self.inside: Callable[[], bool] = lambda: False
        """What a place on this thread does while a part waits."""
        super().__init__(**options)

    def make_place(self, workers: int, service: Any, **options: Any) -> Any:
        if self.kind == "process":
            return super().make_place(workers, service, **options)
        if self.kind == "scripted":
            return ScriptedPlace(Bench, self, random.Random(0), clock=time.monotonic)
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
        if not (self.place.tick() if self.kind == "scripted" else self.place.advance()) and self.kind != "thread":
            self.poller.park(0.0 if self.kind == "scripted" else patience)

    def rest(self) -> None:
        """Let pass what may happen, if anything does."""
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            self.move(0.002)

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
        driver.place.abort()
        driver.poller.close()
