"""What the tests of places on threads run on: requests that are functions, and an actor's loop around a place."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import GeneratorType
from typing import Any, Literal, TypeVar

from supervisors.parking import LockParker
from supervisors.places.base import Finished, Lost, Port
from supervisors.places.thread import ThreadPlace
from supervisors.places.timed import TimedThreadPlace
from supervisors.reasons import Reason

Kind = Literal["thread", "timed"]
W = TypeVar("W", bound="World")
PATIENCE = 30.0
"""Seconds that anything may take before a test gives up (arbitrary, generous on a busy machine)."""
TIMEOUT = 10.0
"""Seconds a request may take on the tests' own clock, which goes on when they say so."""


class Calls:
    """A service whose requests are functions of the port; what they give is the result, or a generator of steps."""

    def __init__(self, world: World) -> None:
        self._world = world

    def boot(self, number: int, boot: Any) -> None:
        if boot is not None:
            raise boot
        self._world.booted += 1

    def begin(self, request: Callable[[Port], Any], port: Port) -> Call:
        self.call = Call(request, port)
        return self.call

    def settle(self, *, accepted: bool) -> None:
        self._world.settled.append(accepted)
        if not accepted and isinstance(self.call.result, GeneratorType):
            self.call.result.close()
        self._world.settles_at()

    def describe_failure(self, error: BaseException) -> str:
        return repr(error)

    def close(self, reason: Reason) -> None:
        self._world.ended.append(reason)


class Call:
    """One request that is run."""

    def __init__(self, request: Callable[[Port], Any], port: Port) -> None:
        self._request = request
        self._port = port
        self._is_begun = False
        self.result: Any = None

    def advance(self) -> bool:
        if not self._is_begun:
            self._is_begun = True
            self.result = self._request(self._port)
        if not isinstance(self.result, GeneratorType):
            return True
        try:
            next(self.result)
        except StopIteration as stop:
            self.result = stop.value
            return True
        return False


class World:
    """An actor's loop reduced to what a place needs, a clock, and a listener that writes everything down."""

    def __init__(self, kind: Kind) -> None:
        self.now = 100.0
        self.grants = True
        self.settles_at: Callable[[], None] = lambda: None
        self.meets_part: Callable[[], None] = lambda: None
        """Called for each part, before anything else."""
        self.waits_by: Callable[[], bool] = self.grant
        """What a place on this thread does while a part waits."""
        self.booted = 0
        self.settled: list[bool] = []
        self.ended: list[Reason] = []
        self.ready = 0
        self.done: dict[int, Any] = {}
        self.parts: list[tuple[int, Any]] = []
        self.failed: list[tuple[int, str, tuple[int, ...]]] = []
        self.returned: list[int] = []
        self.refuses = False
        """Whether nothing is taken of what is handed over."""
        self.lost: list[tuple[Reason, Lost]] = []
        self.closed = 0
        self.warned: list[tuple[int, float, str]] = []
        self.abandoned: list[tuple[str, ...]] = []
        self.ungranted: list[int] = []
        self.waiting: deque[tuple[int, Any]] = deque()
        self.woken = threading.Event()
        """Set when the place's thread has something to tell; nothing was done about it yet."""
        self._parker = LockParker()
        self._next = 0
        self.place = (
            ThreadPlace(lambda: Calls(self), self, self._clock, self._wait)
            if kind == "thread"
            else TimedThreadPlace(
                "bench",
                lambda: Calls(self),
                self,
                self._clock,
                self._wake,
                timeout=TIMEOUT,
                warn=lambda *told: self.warned.append(told),
                note_abandoned=self.abandoned.append,
            )
        )

    def ask(self, request: Callable[[Port], Any]) -> int:
        """Line a request up; its number."""
        self._next += 1
        self.waiting.append((self._next, request))
        return self._next

    def begin(self, request: Callable[[Port], Any]) -> int:
        """Hand a request out without looking what comes of it; its number."""
        seq = self.ask(request)
        self.run(lambda: self.place.room(0))
        self.hand_out()
        return seq

    def hand_out(self) -> None:
        """Give out what there is room for."""
        room = self.place.room(0)
        if room and self.waiting:
            self.place.submit(0, [self.waiting.popleft() for _ in range(min(room, len(self.waiting)))])
            self.place.flush()

    def run(self, until: Callable[[], object]) -> None:
        """Drive the place until `until()`."""
        end = time.monotonic() + PATIENCE
        while not until():
            if not self.place.advance():
                self.hand_out()
                if until():
                    return
                assert time.monotonic() < end, vars(self)
                if not self.place.advance():
                    self._parker.park(PATIENCE)

    def tick(self, seconds: float) -> None:
        """Let the clock go on, and the place look at it."""
        self.now += seconds
        self.place.on_tick(self.now)

    def close(self) -> None:
        self.place.close(PATIENCE)
        self.run(lambda: self.closed)

    def _wake(self) -> None:
        self.woken.set()
        self._parker.unpark()

    def _wait(self) -> bool:
        return self.waits_by()

    def _clock(self) -> float:
        return self.now

    def grant(self) -> bool:
        """Grant what was not; whether grants come at all."""
        for seq in self.ungranted:
            self.place.grant(0, seq)
        self.ungranted.clear()
        return self.grants

    # -- Listener

    def on_ready(self, number: int) -> None:
        assert number == 0
        self.ready += 1

    def on_part(self, number: int, seq: int, body: Any) -> bool:
        self.meets_part()
        if self.refuses:
            return False
        self.parts.append((seq, body))
        if self.grants:
            self.place.grant(number, seq)
        else:
            self.ungranted.append(seq)
        return True

    def on_done(self, number: int, finished: Sequence[Finished]) -> bool:
        for seq, body, seconds, at in finished:
            assert (number, at) == (0, self.now)
            assert seconds >= 0.0
            assert seq not in self.done
            if not self.refuses:
                self.done[seq] = body
        return not self.refuses

    def on_returned(self, number: int, seqs: tuple[int, ...]) -> None:
        self.returned.extend(seqs)

    def on_failed(self, number: int, seq: int, body: Any, returned: tuple[int, ...]) -> None:
        self.failed.append((seq, body, returned))

    def on_lost(self, number: int, reason: Reason, lost: Lost) -> None:
        assert self.place.room(0) == 0
        self.lost.append((reason, lost))

    def on_closed(self) -> None:
        self.closed += 1


class Gate:
    """Where a request stays until the test lets it go on."""

    def __init__(self) -> None:
        self._reached, self._opened = threading.Event(), threading.Event()

    def pass_through(self) -> None:
        """Stay here; for the request."""
        self._reached.set()
        assert self._opened.wait(PATIENCE)

    def wait_reached(self) -> None:
        """Wait until the request is here."""
        assert self._reached.wait(PATIENCE)

    def open(self) -> None:
        """Let it go on."""
        self._opened.set()


@contextmanager
def running(kind: Kind = "timed") -> Iterator[World]:
    """Give a world whose place has a service; close it at the end."""
    with started(World(kind)) as world:
        yield world


@contextmanager
def started(world: W) -> Iterator[W]:
    """Give `world` when its place has a service; close it at the end."""
    world.place.start(0, None)
    world.run(lambda: world.ready)
    try:
        yield world
        if not world.closed:
            world.close()
            assert world.closed == 1
    finally:
        world.place.abort()
