"""What the tests of batches run on: a service that takes many requests at once, and a flusher that tests call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import contextmanager
from types import GeneratorType
from typing import Any

from supervisors.places.base import Finished, Port, Ran, Watch
from supervisors.places.thread import ThreadPlace
from tests.supervisors.places.threads import PATIENCE, Calls, World, started

Request = Callable[[Port], Any]


class Together(list[Any]):
    """The results of requests that were told together."""


class Batch:
    """Requests that are run one behind the other, and the port of each; who uses it, or gives steps, ends apart."""

    def __init__(self, requests: list[Request], port: Port, now: float) -> None:
        self._requests = requests
        self._port = port
        self._began_at = now
        self._stop = len(requests)
        self._results: list[Any] = []
        self._ats: list[float] = []
        self._taken = 0
        self._steps: Any = None
        self._is_apart = False
        self.result: Any = None
        self.position = 0

    def run(self, watch: Watch, urgent: Sized, until: float) -> Ran:
        while self.position < self._stop:
            if self._steps is None:
                result = self._requests[self.position](self)
                if not watch.mark[0]:
                    return Ran.COPIED
                if isinstance(result, GeneratorType):
                    self._steps = result
            if self._steps is not None:
                return Ran.APART if self.advance() else Ran.STOPPED
            if self._is_apart:
                self.result = result
                return Ran.APART
            self._results.append(result)
            self._ats.append(watch.clock())
            self.position += 1
            if urgent or self._ats[-1] >= until:
                break
        return Ran.PLAIN

    def advance(self) -> bool:
        try:
            next(self._steps)
        except StopIteration as stop:
            self.result = stop.value
            return True
        return False

    # -- Port

    def part(self, body: Any, weight: int) -> None:
        self._is_apart = True
        self._port.part(body, weight)

    def confirm(self, body: Any) -> None:
        self._is_apart = True
        self._port.confirm(body)

    def check(self) -> None:
        self._port.check()

    def stop_with(self, body: Any, weight: int) -> None:
        self._port.stop_with(body, weight)

    # -- What came of them

    def take_results(self) -> tuple[int, Together, float, float] | None:
        first, stop = self._taken, len(self._ats)
        if first == stop:
            return None
        self._taken = stop
        began_at = self._ats[first - 1] if first else self._began_at
        return first, Together(self._results[first:stop]), self._ats[stop - 1] - began_at, self._ats[stop - 1]

    def take_rest(self, behind: bool) -> tuple[int, list[Request]]:
        start, stop = self.position + behind, self._stop
        self._stop = start
        return start, self._requests[start:stop]

    @property
    def since(self) -> float:
        return self._ats[-1] if self._ats else self._began_at

    def close(self) -> None:
        if self._steps is not None:
            self._steps.close()


class Batches(Calls):
    """`Calls` that takes lists of requests too."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._batch: Batch | None = None

    def begin_batch(self, batch: list[Request], port: Port, now: float) -> Batch:
        self._batch = Batch(batch, port, now)
        return self._batch

    def settle(self, *, accepted: bool) -> None:
        batch, self._batch = self._batch, None
        if batch is None:
            super().settle(accepted=accepted)
            return
        self._world.settled.append(accepted)
        if not accepted:
            batch.close()


class Flushes:
    """A flusher that calls back when the test says so."""

    def __init__(self) -> None:
        self.has_thread = True
        self.due: list[Callable[[], None]] = []

    def new_lock(self) -> threading.Lock:
        return threading.Lock()

    def watch(self, tell: Callable[[], None]) -> bool:
        if self.has_thread:
            self.due.append(tell)
        return self.has_thread

    def flush(self) -> None:
        """Call back, on another thread, and wait for its end."""
        with self.flushing():
            pass

    @contextmanager
    def flushing(self) -> Iterator[None]:
        """Call back on another thread meanwhile, and wait for its end."""
        due, self.due = self.due, []
        with elsewhere(lambda: [tell() for tell in due]):
            yield


class BatchWorld(World):
    """A world whose place takes batches, and in which what is told together is written down."""

    def __init__(self, *, flushes: bool = True) -> None:
        super().__init__("thread")
        self.urgent: list[object] = []
        self.flusher = Flushes()
        self.together: list[list[int]] = []
        """The numbers of each call that told of results."""
        self.told_by: list[threading.Thread] = []
        """The thread of each of these calls."""
        self.seconds: dict[int, float] = {}
        self.meets_done: Callable[[], None] = lambda: None
        """Called for each of them, before anything else."""
        self.meets_clock: Callable[[], None] = lambda: None
        """Called each time that the clock is read."""
        self.place: Any = ThreadPlace(
            lambda: Batches(self),
            self,
            self._clock,
            self._wait,
            urgent=self.urgent,
            flusher=self.flusher if flushes else None,  # type: ignore[arg-type]  # of the same shape
        )

    def ask_all(self, *requests: Request) -> list[int]:
        """Hand requests out as one batch, without running them; their numbers."""
        first, self._next = self._next + 1, self._next + len(requests)
        self.place.submit_batch(first, list(requests))
        return list(range(first, self._next + 1))

    def _clock(self) -> float:
        self.meets_clock()
        return self.now

    def on_done(self, number: int, finished: Sequence[Finished]) -> bool:
        self.meets_done()
        told: list[int] = []
        for seq, body, seconds, _at in finished:
            results = body if isinstance(body, Together) else [body]
            self.seconds[seq] = seconds
            for one, result in enumerate(results, seq):
                assert one not in self.done
                told.append(one)
                if not self.refuses:
                    self.done[one] = result
        self.together.append(told)
        self.told_by.append(threading.current_thread())
        return not self.refuses


@contextmanager
def batching(*, flushes: bool = True) -> Iterator[BatchWorld]:
    """Give such a world whose place has a service; close it at the end."""
    with started(BatchWorld(flushes=flushes)) as world:
        yield world


@contextmanager
def advancing(world: BatchWorld) -> Iterator[None]:
    """Let the place go on on a thread of its own, and wait for its end."""
    with elsewhere(world.place.advance):
        yield


@contextmanager
def elsewhere(do: Callable[[], object]) -> Iterator[None]:
    """Do something on a thread of its own meanwhile, and wait for its end; raises what that raised."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            do()
        except BaseException as error:  # noqa: BLE001  raised again below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    if errors:
        raise errors[0]
