"""The host for tests: many actors on one thread, one step at a time, in an order drawn from a seed.

Owns the schedule: who goes next, and when time passes. The same seed gives the same schedule, as
long as behaviours take time and randomness from their context alone. Never starts a thread,
never sleeps: when nothing can run, the clock jumps to the next timer.

A step is what an actor does between two looks at its mailbox: its first call, one control
message, one timer, one `Behavior.step`, or its end. An actor whose step found no work is left
alone until its mailbox is rung, a timer of its is due or, for one that uses a poller, a source
has acted. Anything outside the actors, such as a scripted place, takes part as a source.

A behaviour that waits inside its step (`Mailbox.sleep`) is waited for by running the others
meanwhile, on top of it: of two that wait so, only the later one can go on first.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from supervisors.behavior import Behavior, Maker
from supervisors.behavior_service import BehaviorService
from supervisors.endpoint import Endpoint
from supervisors.errors import AskTimeoutError, DeadlockError
from supervisors.life import Life
from supervisors.mailbox import Mailbox
from supervisors.messages import Down, Terminate
from supervisors.places.base import Listener, Place, Service
from supervisors.places.scripted import Faults, ScriptedPlace
from supervisors.ref import LifeRef
from supervisors.waiting import enter_actor, present_actor, refuse_ring, waiting_for
from supervisors.wire.values import decode_code

TOLD_LINES = 50
"""Lines of the schedule in a failure's text."""
KEPT_LINES = 10_000
"""Newest lines of the schedule that are kept."""

__all__ = ["Faults", "ManualClock", "ScheduleError", "ScriptedPlace", "StepHost"]


class ScheduleError(AssertionError):
    """A schedule did not end, or came to a point where nobody could ever go on."""


class ManualClock:
    """A clock that stands still until it is told to go on.

    Args:
        start: its first reading, in seconds.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        """Seconds since some fixed moment."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.advance_to(self._now + seconds)

    def advance_to(self, reading: float) -> None:
        """Let time pass until `reading`; nothing happens if that is over."""
        self._now = max(self._now, reading)


class StepHost:
    """Runs behaviours on the calling thread.

    Args:
        seed: what the order and all randomness are drawn from.
        hurry: probability of a step by which the clock goes on to the next timer although actors
            could run: the simulated machine is slow. 0: time passes only when nothing can run.
        faults: what goes wrong with simulated processes (`Context.open_place`).
    """

    def __init__(self, seed: int, *, hurry: float = 0.0, faults: Faults = Faults()) -> None:  # noqa: B008  frozen
        self.seed = seed
        self.clock = ManualClock()
        self.random = random.Random(seed)  # noqa: S311
        self.trace: deque[str] = deque(maxlen=KEPT_LINES)
        """The schedule so far, one line a step: number, time, actor, what it did."""
        self.steps = 0
        self.told: list[tuple[str, dict[str, float], dict[str, Any]]] = []
        """What telemetry would have been told, in order."""
        self._hurry = hurry
        self._faults = faults
        self._started = 0
        self._actors: list[_Actor] = []
        self._sources: list[_Source] = []
        self._limit: int | None = None
        self._failure: ScheduleError | None = None

    def now(self) -> float:
        """Seconds on the host's clock."""
        return self.clock.now()

    def start(self, behavior: Behavior | Maker, name: str, *, mailbox: Mailbox | None = None) -> LifeRef:
        """Start a root actor; its first call comes with one of the next steps."""
        life = self._make(behavior, name, mailbox, None)
        self.launch(life)
        return life.ref

    def start_child(self, parent: Life, behavior: Behavior | Maker, name: str, mailbox: Mailbox | None) -> Life:
        """Give a new actor below `parent`, which `launch` sets going."""
        return self._make(behavior, name, mailbox, parent)

    def launch(self, life: Life) -> None:
        """Let the actor take part in the draw."""
        if not isinstance(life, _StepLife):
            raise TypeError
        self._actors.append(_Actor(life))

    def stack_of(self, life: Life) -> str:
        """Give "": all actors are on this one stack."""
        return ""

    def may_wait(self) -> bool:
        """False: whoever waited would keep all others from going on."""
        return False

    def refuse_ring(self, life: Endpoint) -> None:
        """Raise `DeadlockError` if the actor that makes a step must not wait for `life`."""
        refuse_ring(life)

    def wait_answered(self, life: Endpoint, future: Future[Any], timeout: float | None) -> Any:
        """Let the others go on until the answer has come; raises as `LifeRef.ask`."""
        try:
            with self.enter_wait(life, future.done, timeout):
                pass
        except DeadlockError:
            future.cancel()
            raise
        if not future.done():
            future.cancel()
            raise AskTimeoutError(f"actor {life.path} did not answer within {timeout:g} s")
        return future.result(0)

    @contextmanager
    def enter_wait(self, life: Endpoint, is_over: Callable[[], bool], timeout: float | None) -> Iterator[float]:
        """Let the others go on until `is_over`, or `timeout` seconds have passed; nothing is left to wait for then."""
        if not is_over():
            with waiting_for(life, is_over):
                self.wait_inside(is_over, timeout, f"an ask of {life.path}")
        yield 0.0

    def open_place(self, life: Life, listener: Listener, name: str, service: bytes) -> Place:
        """Give a simulated process, which takes part in the draw."""
        place = ScriptedPlace(
            lambda: self._make_service(service),
            listener,
            random.Random(f"{self.seed}:{life.path}:{len(self._sources)}"),  # noqa: S311
            faults=self._faults,
            clock=self.now,
        )

        def act() -> bool:
            # As a poller's callbacks do on threads: whoever was called back looks for work again.
            if not place.tick():
                return False
            life.mailbox.ring()
            return True

        self.add_source(act, f"place {life.path}")
        return place

    def _make_service(self, service: bytes) -> Service:
        made: Service = decode_code(service)
        if isinstance(made, BehaviorService):
            made.clock = self.now
        return made

    def note(self, event: str, measurements: dict[str, float], metadata: dict[str, Any]) -> None:
        """Keep what telemetry would have been told."""
        self.told.append((event, measurements, metadata))

    def add_source(self, act: Callable[[], bool], name: str = "source") -> None:
        """Let `act` take part in the draw: one bounded action of the world around the actors.

        Args:
            act: does something and returns True, or finds nothing to do and returns False; then it
                is left alone until somebody else has done something. What it raises comes out of `run`.
            name: its name in the trace.
        """
        self._sources.append(_Source(act, name))

    def step(self) -> bool:
        """Make one step; False when nothing can happen any more.

        Raises:
            ScheduleError: an actor waits inside its step for what cannot come.
        """
        return self._step(None)

    def run(self, max_steps: int = 100_000) -> int:
        """Make steps until nothing can happen any more; gives their number.

        Raises:
            ScheduleError: it did not end after `max_steps`, or as `step`; tells the seed and the
                last lines of the schedule.
        """
        return self.run_until(lambda: False, max_steps)

    def run_until(self, is_enough: Callable[[], bool], max_steps: int = 100_000) -> int:
        """Make steps until `is_enough` or nothing can happen; gives their number; raises as `run`."""
        before = self.steps
        self._limit = before + max_steps
        while not is_enough() and self.step():
            pass
        self._limit = None
        return self.steps - before

    def wait_inside(self, is_over: Callable[[], bool], timeout: float | None, name: str) -> None:
        """Run the others until `is_over`, or `timeout` seconds have passed; for parkers."""
        deadline = None if timeout is None else self.now() + timeout
        while not is_over() and (deadline is None or self.now() < deadline):
            if not self._step(deadline):
                self._fail(f"{name} waits inside its step, and nothing can wake it")

    def _make(self, behavior: Behavior | Maker, name: str, mailbox: Mailbox | None, parent: Life | None) -> Life:
        self._started += 1
        stream = f"{self.seed}:{self._started}:{name}"
        return _StepLife(
            self,
            behavior,
            name,
            mailbox=mailbox,
            parker=_StepParker(self, name),
            rng=random.Random(stream),  # noqa: S311
            parent=parent,
        )

    def _step(self, deadline: float | None) -> bool:
        if self._failure is not None:
            raise self._failure
        ready = self._ready()
        if not ready or (self._hurry and self.random.random() < self._hurry):
            moved = self._pass_time(deadline)
            if moved or not ready:
                return moved
        self.steps += 1
        if self._limit is not None and self.steps > self._limit:
            self._fail("the schedule did not end")
        entry = self.random.choice(ready)
        entry.is_inside = True
        try:
            told = self._act(entry) if isinstance(entry, _Source) else self._turn(entry)
        finally:
            entry.is_inside = False
        self._note(entry.name, told)
        if self._failure is not None:
            raise self._failure
        return True

    def _ready(self) -> list[_Actor | _Source]:
        now = self.now()
        actors = [actor for actor in self._actors if actor.is_ready(now)]
        sources = [source for source in self._sources if not source.is_quiet and not source.is_inside]
        return [*actors, *sources]

    def _act(self, source: _Source) -> str:
        acted = source.act()
        source.is_quiet = not acted
        if acted:
            self._wake_sources()
            for actor in self._actors:
                # What a source does stands for a callback of a poller, after which its actor looks for work.
                if actor.life.uses_poller:
                    actor.idle_since = None
        return "acted" if acted else "idle"

    def _turn(self, actor: _Actor) -> str:
        self._wake_sources()
        outer = present_actor()
        enter_actor(actor.life)
        try:
            told = actor.turn()
        finally:
            enter_actor(outer)
        if actor.is_over:
            self._actors.remove(actor)
        return told

    def _pass_time(self, deadline: float | None) -> bool:
        timers = [due for actor in self._actors if (due := actor.next_timer()) is not None]
        if deadline is not None:
            timers.append(deadline)
        due = min(timers, default=None)
        if due is None or due <= self.now():
            return False
        self.clock.advance_to(due)
        self._wake_sources()
        self._note("clock", "went on")
        return True

    def _wake_sources(self) -> None:
        for source in self._sources:
            source.is_quiet = False

    def _note(self, name: str, told: str) -> None:
        self.trace.append(f"{self.steps:6d} {self.now():10.4f}  {name}: {told}")

    def _fail(self, text: str) -> None:
        lines = "\n".join(list(self.trace)[-TOLD_LINES:])
        # Kept, since the life of the actor that waits catches what is raised inside it.
        told = f"{text} (seed {self.seed}, step {self.steps}); the last of its schedule:\n{lines}"
        self._failure = ScheduleError(told)
        raise self._failure


class _StepLife(Life):
    """A life that remembers what it handled, for the trace."""

    handled = ""

    def take_handled(self) -> str:
        """Give the control message or timer of the last turn; "" if it was a step."""
        handled, self.handled = self.handled, ""
        return handled

    def _handle_control(self, message: object) -> None:
        self.handled = _describe(message)
        super()._handle_control(message)


class _StepParker:
    """Waits by letting the others go on."""

    def __init__(self, host: StepHost, name: str) -> None:
        self._host = host
        self._name = name
        self._is_unparked = False

    def park(self, timeout: float | None) -> None:
        self._host.wait_inside(lambda: self._is_unparked, timeout, self._name)
        self._is_unparked = False

    def unpark(self) -> None:
        self._is_unparked = True

    def close(self) -> None:
        return


class _Source:
    def __init__(self, act: Callable[[], bool], name: str) -> None:
        self.act = act
        self.name = name
        self.is_quiet = False
        self.is_inside = False


class _Actor:
    def __init__(self, life: _StepLife) -> None:
        self.life = life
        self.name = life.path
        self.is_begun = False
        self.is_over = False
        self.is_inside = False
        self.idle_since: int | None = None
        """What `rings` was when it found no work; None while there may be some."""

    def is_ready(self, now: float) -> bool:
        life = self.life
        if self.is_inside:
            return False
        if self.idle_since is None or life.mailbox.rings != self.idle_since or not life.is_going_on:
            return True
        due = life.next_timer()
        return due is not None and due <= now

    def next_timer(self) -> float | None:
        return None if self.is_inside else self.life.next_timer()

    def turn(self) -> str:
        life = self.life
        if not self.is_begun:
            self.is_begun = True
            life.begin()
            return "began"
        if not life.is_going_on:
            self.is_over = True
            life.finish()
            return f"ended: {life.reason}"
        seen = life.mailbox.rings
        worked = life.turn()
        self.idle_since = None if worked else seen
        return life.take_handled() or ("worked" if worked else "idle")


def _describe(message: object) -> str:
    match message:
        case Down(ref, reason):
            return f"Down({ref.name}, {reason})"
        case Terminate(reason):
            return f"Terminate({reason})"
        case _:
            return type(message).__name__
