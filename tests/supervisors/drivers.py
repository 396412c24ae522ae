"""Drivers of supervision trees: one way to do things to a tree, whatever host it runs on.

A scenario (`otp`) is a function of a driver. What happened is seen from telemetry alone, which all
hosts tell: the children themselves may be anywhere.
"""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from supervisors.actor import PykkaHost, PykkaRef
from supervisors.behavior import Behavior, Context
from supervisors.calls import ChildInfo, CountChildren, FindChild, WhichChildren
from supervisors.children import Child
from supervisors.errors import StartError
from supervisors.messages import Terminate
from supervisors.policy import Backoff, Intensity
from supervisors.reasons import Normal, Reason, Shutdown
from supervisors.ref import LifeRef
from supervisors.spec import Backing, ChildSpec
from supervisors.telemetry import Telemetry
from supervisors.testing import ManualClock, StepHost

WAIT = 20.0
LOOSE = Intensity(10_000, 1.0)
NO_WAIT = Backoff(delay=0.0)
SEEN = ("child.started", "child.start_failed", "child.ended", "child.restarting", "supervisor.escalated")


class Event(NamedTuple):
    """Something that telemetry told of a child."""

    kind: str
    supervisor: str
    id: str
    reason: Reason | None
    data: dict[str, Any]


# -- children


class Worker(Behavior):
    """Does what it is told."""

    def on_message(self, message: object, ctx: Context) -> None:
        match message:
            case "raise":
                raise ValueError("told to")
            case "leave":
                ctx.stop(Normal())
            case "shut down":
                ctx.stop(Shutdown("of its own"))
            case _:
                ctx.reply(message)


class Numbered(Worker):
    """Tells what it was started with."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._started_with = (args, kwargs)

    def on_message(self, message: object, ctx: Context) -> None:
        if message == "arguments":
            ctx.reply(self._started_with)
        else:
            super().on_message(message, ctx)


class Stubborn(Worker):
    """Does not end when it is asked to."""

    handles_terminate = True


class Slow(Worker):
    """Is ready when it is told so."""

    acknowledges = True

    def on_message(self, message: object, ctx: Context) -> None:
        if message == "be ready":
            ctx.acknowledge("info of its own")
        else:
            super().on_message(message, ctx)


class Unneeded(Worker):
    """Finds that it is not needed."""

    def on_start(self, ctx: Context) -> None:
        ctx.stop(Normal())


_failures: dict[str, int] = {}


class Failures:
    """Starts that are still to fail; the same in every process.

    Args:
        path: a folder with a file for each, or a key of this process where nothing runs elsewhere.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = path

    def add(self, count: int) -> None:
        if isinstance(self._path, str):
            _failures[self._path] = count
            return
        self._path.mkdir(exist_ok=True)
        for number in range(count):
            (self._path / str(number)).touch()

    def take(self) -> bool:
        """Have one fewer; tells whether there was one."""
        if isinstance(self._path, str):
            left = _failures.get(self._path, 0)
            _failures[self._path] = max(0, left - 1)
            return left > 0
        if not self._path.is_dir():
            return False
        for file in self._path.iterdir():
            file.unlink()
            return True
        return False


def start_unless(failures: Failures) -> Worker:
    """Give a worker, unless its start is to fail."""
    if failures.take():
        raise StartError("not yet")
    return Worker()


# -- drivers


@dataclass
class Driver(ABC):
    """Starts a tree and does things to it.

    Args:
        backing: what its workers run on.
    """

    backing: Backing = "thread"
    log: list[Event] = field(default_factory=list)
    ref: LifeRef = field(init=False)

    # -- making

    def spec(self, id: str, start: Callable[..., object] = Worker, **fields: Any) -> ChildSpec:  # noqa: A002
        """Give a child that is waited for without end, and started again at once, unless it is said otherwise."""
        is_supervisor = isinstance(start, type) and getattr(start, "is_supervisor", False)
        defaults: dict[str, Any] = {"backoff": NO_WAIT, "shutdown": math.inf, "start_timeout": math.inf}
        if not is_supervisor and fields.get("type") != "supervisor":
            defaults["backing"] = self.backing
        return ChildSpec(id, start, **{**defaults, **fields})

    def specs(self, ids: str, **fields: Any) -> list[ChildSpec]:
        """Give one plain child for each letter."""
        return [self.spec(id_, **fields) for id_ in ids]

    @abstractmethod
    def failures(self) -> Failures:
        """Give failures of starts that this driver's children know of."""

    # -- doing

    @abstractmethod
    def start(self, supervisor: Behavior) -> None:
        """Start a tree as `top`, and wait until all has happened that happens by itself, or it is ready."""

    @abstractmethod
    def send(self, message: object, *at: str) -> Future[Any]:
        """Ask the supervisor, or one below it, without waiting."""

    @abstractmethod
    def answer(self, future: Future[Any]) -> Any:
        """Wait for an answer."""

    @abstractmethod
    def wait(self, is_enough: Callable[[], bool]) -> None:
        """Let things happen until `is_enough`."""

    @abstractmethod
    def let_pass(self, seconds: float, *at: str) -> None:
        """Let time pass, and what is due happen in the supervisor or in one below it."""

    @abstractmethod
    def close(self) -> None:
        """End the tree, and see that nothing is left."""

    def call(self, message: object, *at: str) -> Any:
        """Ask the supervisor, or one below it; what it knew before is done by then."""
        return self.answer(self.send(message, *at))

    def child(self, *at: str) -> Child:
        """Give a child, by the ids on the way to it."""
        child = self.call(FindChild(at[-1]), *at[:-1])
        assert isinstance(child, Child)
        return child

    def child_ref(self, *at: str) -> LifeRef:
        """Give the address of a child's live incarnation."""
        ref = self.child(*at).ref
        assert isinstance(ref, LifeRef)
        return ref

    def tell(self, message: object, *at: str) -> None:
        """Tell a child something."""
        assert self.child_ref(*at).tell(message)

    def end(self, how: str, *at: str) -> None:
        """Let a child end by itself, and wait until its supervisor knows."""
        ref, seen = self.child_ref(*at), len(self.ended(at[-1]))
        if how == "kill":
            ref.kill()
        else:
            assert ref.tell(how)
        self.wait(lambda: len(self.ended(at[-1])) > seen)

    def lose(self, id: str, how: str = "raise") -> None:  # noqa: A002
        """Let a child end by itself, and wait until all that were up are up again."""
        seen = len(self.started(id))
        self.end(how, id)
        self.wait(lambda: len(self.started(id)) > seen)
        self.wait(lambda: all(info.state in {"running", "stopped"} for info in self.peek()))

    def ask_until(self, ask: Callable[[], bool]) -> None:
        """Ask again and again, until the answer is yes."""
        assert any(ask() for _ in range(10_000))

    def wait_running(self, ids: str) -> None:
        """Wait until those children of the root run, and no others."""
        self.wait(lambda: "".join(info.id for info in self.peek() if info.state == "running") == ids)

    def stop(self, reason: Reason = Shutdown("over")) -> None:  # noqa: B008  frozen
        """End the tree as a supervisor above it would, and wait for that."""
        self.ref.signal(Terminate(reason))
        self.wait_end()

    def wait_end(self) -> Reason:
        """Wait until the tree has ended; gives why."""
        self.wait(lambda: self.ref.reason is not None)
        assert self.ref.reason is not None
        return self.ref.reason

    # -- seeing

    def take(self, event: str, measurements: dict[str, float], metadata: dict[str, Any]) -> None:
        """Take note of an event."""
        self.log.append(
            Event(event, metadata["supervisor"], metadata["id"], metadata.get("reason"), {**measurements, **metadata})
        )

    def forget(self) -> None:
        """Look at what happens from now on alone."""
        self.log.clear()

    def started(self, id: str | None = None) -> list[str]:  # noqa: A002
        """The ids of those that became ready, in order; those of one child."""
        return [event.id for event in self.log if event.kind == "child.started" and id in {None, event.id}]

    def ended(self, id: str | None = None) -> list[str]:  # noqa: A002
        """The ids of those that had been ready and ended, in order; those of one child."""
        return [event.id for event in self.log if event.kind == "child.ended" and id in {None, event.id}]

    def told(self, kind: str) -> list[Event]:
        """What was told of one kind, in order."""
        return [event for event in self.log if event.kind == kind]

    def reason_of(self, id: str) -> Reason | None:  # noqa: A002
        """Why the child ended last."""
        return next(event.reason for event in reversed(self.log) if event.kind == "child.ended" and event.id == id)

    def states(self, *at: str) -> dict[str, str]:
        """The states of all children, when what the supervisor knew before is done."""
        return {info.id: info.state for info in self.call(WhichChildren(), *at)}

    def peek(self) -> tuple[ChildInfo, ...]:
        """The children of the root, read from outside."""
        children: tuple[ChildInfo, ...] = self.ref.life.behavior.list_children()  # type: ignore[attr-defined]
        return children

    def running(self, *at: str) -> str:
        """The ids of the children that run, in order, in one word."""
        return "".join(id_ for id_, state in self.states(*at).items() if state == "running")


class StepDriver(Driver):
    """Drives a tree on the seeded host, where time passes when nothing else can happen."""

    def __init__(self, seed: int, backing: Backing = "thread", hurry: float = 0.0) -> None:
        super().__init__(backing)
        self.host = StepHost(seed, hurry=hurry)
        self.host.note = self._note  # type: ignore[method-assign]

    def _note(self, event: str, measurements: dict[str, float], metadata: dict[str, Any]) -> None:
        if event in SEEN:
            self.take(event, measurements, metadata)

    def failures(self) -> Failures:
        name = f"step {id(self)}"
        _failures[name] = 0
        return Failures(name)

    def start(self, supervisor: Behavior) -> None:
        self.ref = self.host.start(supervisor, "top")
        ref = self.ref
        self.host.run_until(lambda: ref.life._is_started or ref.reason is not None)  # type: ignore[attr-defined]

    def send(self, message: object, *at: str) -> Future[Any]:
        ref = self.child_ref(*at) if at else self.ref
        return ref.ask_future(message)

    def answer(self, future: Future[Any]) -> Any:
        self.wait(future.done)
        return future.result(0)

    def wait(self, is_enough: Callable[[], bool]) -> None:
        self.host.run_until(is_enough)
        assert is_enough(), self.log

    def let_pass(self, seconds: float, *at: str) -> None:
        self.host.wait_inside(lambda: False, seconds, "the test")

    def close(self) -> None:
        if self.ref.reason is None:
            self.stop()
        self.host.run()
        assert self.host._actors == []


class ThreadDriver(Driver):
    """Drives a tree on threads, by a clock of its own for them, and by the system's for processes."""

    def __init__(self, folder: Path, backing: Backing = "thread") -> None:
        super().__init__(backing)
        self._folder = folder
        self._changed = threading.Condition()
        self._clock = ManualClock() if backing == "thread" else LeapingClock()
        telemetry = Telemetry()
        telemetry.attach("driver", (*SEEN, "actor.ended"), self._note)
        self._host = PykkaHost(self._clock, seed=1, telemetry=telemetry)

    def _note(self, event: str, measurements: dict[str, float], metadata: dict[str, Any]) -> None:
        with self._changed:
            if event in SEEN:
                self.take(event, measurements, metadata)
            self._changed.notify_all()

    def failures(self) -> Failures:
        return Failures(self._folder / "failures")

    def start(self, supervisor: Behavior) -> None:
        ref = self._host.start(supervisor, "top")
        self.ref = ref
        try:
            ref.wait_started(WAIT)
        except StartError:
            assert ref.wait_terminated(WAIT)

    def send(self, message: object, *at: str) -> Future[Any]:
        ref = self.child_ref(*at) if at else self.ref
        return ref.ask_future(message)

    def answer(self, future: Future[Any]) -> Any:
        return future.result(WAIT)

    def wait(self, is_enough: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(is_enough, WAIT), self.log

    def let_pass(self, seconds: float, *at: str) -> None:
        self.call(CountChildren())  # what it was told before has set its timers by now
        self._clock.advance(seconds)
        # Whoever is asked looks at its timers first.
        self.send(CountChildren(), *at)

    def close(self) -> None:
        assert isinstance(self.ref, PykkaRef)
        assert self.ref.stop(WAIT)


class LeapingClock:
    """The system's clock, which can be made to leap."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        return time.monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += seconds
