"""An actor for tests that does as it is told, and the same few moves on threads and on the seeded host."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from supervisors.actor import PykkaHost, PykkaRef
from supervisors.behavior import Behavior, Context, Maker
from supervisors.mailbox import Mailbox
from supervisors.messages import Terminate
from supervisors.reasons import Reason, Shutdown
from supervisors.ref import LifeRef
from supervisors.telemetry import Telemetry
from supervisors.testing import ManualClock, StepHost

WAIT = 10.0
END = Terminate(Shutdown("end of test"))


class Recorder(Behavior):
    """Keeps what it is sent; does what a callable among it says."""

    def __init__(self, **declared: bool) -> None:
        self.got: list[object] = []
        self.ended: list[Reason] = []
        self._changed = threading.Condition()
        for name, value in declared.items():
            setattr(self, name, value)

    def on_message(self, message: object, ctx: Context) -> None:
        if callable(message):
            message(ctx)
            return
        with self._changed:
            self.got.append(message)
            self._changed.notify_all()

    def on_stop(self, reason: Reason, ctx: Context) -> None:
        self.ended.append(reason)

    def get_state(self) -> Any:
        return list(self.got)

    def wait_for(self, count: int) -> list[object]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.got) >= count, WAIT), self.got
            return list(self.got)


class World:
    """A host and the actors a test has started on it.

    Args:
        host: threads with a clock that stands still, or the seeded host.
    """

    def __init__(self, host: PykkaHost | StepHost, clock: ManualClock) -> None:
        self.host = host
        self.clock = clock
        self.refs: list[LifeRef] = []

    @property
    def is_threaded(self) -> bool:
        return isinstance(self.host, PykkaHost)

    def start(self, behavior: Behavior | Maker, name: str = "actor", *, mailbox: Mailbox | None = None) -> LifeRef:
        ref = self.host.start(behavior, name, mailbox=mailbox)
        self.refs.append(ref)
        return ref

    def settle(self, *refs: LifeRef) -> None:
        """Let what was sent to `refs` be handled: their control, then (none of them suspended) their data."""
        if isinstance(self.host, StepHost):
            self.host.run()
            return
        for ref in refs:
            assert do(ref, lambda _: "settled") == "settled"

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for ref in self.refs:
            ref.life.mailbox.ring()

    def close(self) -> None:
        for ref in self.refs:
            ref.signal(END)
        for ref in self.refs:
            assert ref.wait_ended(WAIT) is not None
            assert not isinstance(ref, PykkaRef) or ref.wait_terminated(WAIT)


@contextmanager
def open_world(kind: str, telemetry: Telemetry | None = None) -> Iterator[World]:
    """Give a world of `threads` or `steps`; its actors are ended after the body."""
    if kind == "threads":
        clock = ManualClock()
        world = World(PykkaHost(clock, telemetry=telemetry or Telemetry()), clock)
    else:
        host = StepHost(7)
        world = World(host, host.clock)
    try:
        yield world
    finally:
        world.close()


def do(ref: LifeRef, act: Callable[[Context], object]) -> Any:
    """Have a `Recorder` call `act` in its turn, and give what came of it."""
    return ref.ask(lambda ctx: ctx.reply(act(ctx)), WAIT)


def hold(ref: LifeRef) -> threading.Event:
    """Hold an actor on a thread inside a message until the event that is given back is set."""
    inside, release = threading.Event(), threading.Event()

    def wait(_: Context) -> None:
        inside.set()
        assert release.wait(WAIT)

    assert ref.tell(wait)
    assert inside.wait(WAIT)
    return release


def raiser(error: BaseException) -> Callable[[Context], None]:
    """Give what raises `error` when a `Recorder` is told it."""

    def act(_: Context) -> None:
        raise error

    return act
