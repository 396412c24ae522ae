"""Actors on Pykka threads.

Owns the threads of actors. Never lets an exception, a stop or a message through to Pykka's loop,
which would drop what is queued behind a failure and stop every actor of the program on a
`SystemExit` (seen on 4.5.0). What an actor does in which order is `life`'s; how Pykka's own refs
reach it is `inbox`'s. What the handling of an ask raises goes to its sender, and ends the actor as
any other exception does.

All threads are daemons: an actor that nobody ended does not keep the interpreter from exiting.
"""

from __future__ import annotations

import concurrent.futures
import math
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from supervisors.asking import FutureAnswer
from supervisors.behavior import Behavior, Maker
from supervisors.clock import Clock, MonotonicClock
from supervisors.endpoint import Endpoint
from supervisors.errors import ActorEndedError, AskTimeoutError, DeadlockError, StartError
from supervisors.inbox import Inbox, InboxActor, InboxRef
from supervisors.life import Life
from supervisors.mailbox import Mailbox
from supervisors.messages import Terminate
from supervisors.parking import NOTICE_SECONDS, LockParker, Poller
from supervisors.places.base import Listener, Place
from supervisors.places.process.launch import Launch
from supervisors.places.process.output import show_output
from supervisors.places.process.place import ProcessPlace
from supervisors.program_end import program_end
from supervisors.reasons import Abandoned, Killed, Shutdown
from supervisors.report import reporter
from supervisors.stacks import stack_of
from supervisors.telemetry import Telemetry, telemetry
from supervisors.waiting import enter_actor, present_actor, refuse_ring, waiting_for

EXIT_SECONDS = 10.0
"""What a root that nobody has ended gets to end when the program does: twice what most children get (arbitrary)."""

_LAUNCH = Launch(preload=("supervisors.preloaded",))
"""How processes of behaviours are started: with what they need, and what the modules that define them import beside."""
_log = reporter("supervisors")
_LEFT_RUNNING = "actor {!r} still ran when the program ended and was stopped; end it by its handle's stop()"

_LOOK_EVERY = 32
"""Turns that an actor with work makes before it looks at its file descriptors (arbitrary)."""

_SWEEP_FROM = 8
"""Children noted before those whose threads are gone are forgotten: few, since each holds an ended life
(`benchmarks.supervision restarts`: 64 cost 1 MiB)."""


class PykkaHost:
    """Runs behaviours on threads, one each.

    Args:
        clock: gives the time; None for the system's monotonic clock.
        seed: makes the actors' randomness repeatable; None for a different one each time.
        telemetry: who is told what happens; the program's own by default.
    """

    def __init__(
        self, clock: Clock | None = None, seed: int | None = None, *, telemetry: Telemetry = telemetry
    ) -> None:
        self._clock: Clock = MonotonicClock() if clock is None else clock
        self._seed = seed
        self.now = self._clock.now
        """Seconds on the host's clock."""
        self.note = telemetry.tell
        """Tells those who listen that something happened."""

    def start(self, behavior: Behavior | Maker, name: str, *, mailbox: Mailbox | None = None) -> PykkaRef:
        """Start a root actor: one whose end is told to nobody, but to who waits for it.

        Args:
            behavior: what it does; used by its thread alone from now on. Or what gives that, such
                as its class, called on that thread.
            name: its name, and that of its thread.
            mailbox: its mailbox. An `AskableMailbox` (a bounded one) becomes its own and ends with
                it; any other outlives it. None: one of its own, without bound.

        Raises:
            StartError: the system gave no thread.
        """
        life, ref = self._make_root(behavior, name, mailbox)
        self.launch(life)
        return ref

    def start_ready(self, behavior: Behavior | Maker, name: str, timeout: float | None = None) -> PykkaRef:
        """Start a root actor and wait until it is ready; one that is not in time is asked to end.

        It is asked to end too if it still runs when the program ends, and has `EXIT_SECONDS` for that (`program_end`).

        Args:
            behavior: as for `start`.
            name: as for `start`.
            timeout: seconds to wait at most; None for no end.

        Raises:
            StartError: it ended before it was ready, or the system gave no thread.
            TimeoutError: it was not ready within `timeout` seconds.
        """
        life, ref = self._make_root(behavior, name, None)
        life.is_start_awaited = True
        try:
            self.launch(life)  # Ctrl-C in here may come when the thread runs already
            program_end.watch_over(ref, _LEFT_RUNNING.format(name), _log, EXIT_SECONDS)
            ref.wait_started(timeout)
        except BaseException:
            ref.signal(Terminate(Shutdown("its start was given up")))
            raise
        return ref

    def start_child(self, parent: Life, behavior: Behavior | Maker, name: str, mailbox: Mailbox | None) -> Life:
        """Give a new actor below `parent`, which `launch` sets going."""
        return self._make(behavior, name, mailbox, parent)

    def launch(self, life: Life) -> None:
        """Start the actor's thread.

        Raises:
            StartError: the system gave none.
        """
        ref = _ref_of(life)
        ref.show()
        try:
            ref.start_thread()
        except RuntimeError as error:
            ref.inbox.bury()
            life.parker.close()
            raise StartError(f"actor {life.path} could not be started: {error}") from error
        if life.parent is not None and isinstance(life.parent.ref, PykkaRef):
            life.parent.ref.add_child(ref)

    def stack_of(self, life: Life) -> str:
        """Give the stack of the actor's thread; "" when it has none."""
        return life.ref.stack() if isinstance(life.ref, PykkaRef) else ""

    def may_wait(self) -> bool:
        """Whether this is no actor's thread."""
        return present_actor() is None

    def refuse_ring(self, life: Endpoint) -> None:
        """Raise `DeadlockError` if the actor of this thread must not wait for `life`."""
        refuse_ring(life)

    def wait_answered(self, life: Endpoint, future: concurrent.futures.Future[Any], timeout: float | None) -> Any:
        """Wait for what was asked of `life`; raises as `LifeRef.ask`."""
        try:
            with self.enter_wait(life, future.done, timeout):
                return future.result(timeout)
        except DeadlockError:
            future.cancel()
            raise
        except TimeoutError:
            # Unless the answer came in the last moment, or the actor has raised a TimeoutError of its own.
            if not future.cancel():
                return future.result()
            raise AskTimeoutError(f"actor {life.path} did not answer within {timeout:g} s") from None

    @contextmanager
    def enter_wait(self, life: Endpoint, is_over: Callable[[], bool], timeout: float | None) -> Iterator[float | None]:
        """Note, for the body, that the calling thread's actor waits for `life`."""
        if is_over():
            yield timeout
            return
        with waiting_for(life, is_over):
            yield timeout

    def open_place(self, life: Life, listener: Listener, name: str, service: bytes) -> Place:
        """Give a place for one worker in a process of its own."""
        if not isinstance(life.parker, Poller):
            raise TypeError(f"actor {life.path} was started without a poller")
        return ProcessPlace(
            name,
            service,
            1,
            poller=life.parker,
            clock=self.now,
            listener=listener,
            output=partial(show_output, name),
            start_timeout=math.inf,  # the supervisor's to say
            launch=_LAUNCH,
        )

    def _make_root(self, behavior: Behavior | Maker, name: str, mailbox: Mailbox | None) -> tuple[Life, PykkaRef]:
        life = self._make(behavior, name, mailbox, None)
        ref = _ref_of(life)
        ref.expect_start()
        return life, ref

    def _make(self, behavior: Behavior | Maker, name: str, mailbox: Mailbox | None, parent: Life | None) -> Life:
        life = Life(
            self,
            behavior,
            name,
            mailbox=mailbox,
            parker=Poller() if getattr(behavior, "uses_poller", False) else LockParker(),
            rng=self._make_random(name if parent is None else f"{parent.path}/{name}"),
            parent=parent,
        )
        inbox = Inbox(life)
        life.ref = PykkaRef(inbox, BehaviorActor(inbox))
        return life

    def _make_random(self, path: str) -> random.Random:
        # One stream an actor, so that what one draws does not shift what another does.
        return random.Random() if self._seed is None else random.Random(f"{self._seed}:{path}")  # noqa: S311


class PykkaRef(InboxRef):
    """The address of an actor on a thread."""

    __slots__ = ("_carrier", "_children", "_started", "_sweep_from", "_thread")

    def __init__(self, inbox: Inbox, actor: BehaviorActor) -> None:
        super().__init__(inbox)
        self._carrier = actor.actor_ref
        self._thread = actor.thread
        self._started: FutureAnswer | None = None
        self._children: list[PykkaRef] = []
        self._sweep_from = _SWEEP_FROM

    def wait_started(self, timeout: float | None = None) -> Any:
        """Wait until a root actor is ready; gives what it handed to `Context.acknowledge`.

        Raises:
            StartError: it ended before it was; the cause is told.
            TimeoutError: it was not ready within `timeout` seconds.
        """
        if self._started is None:
            return None
        try:
            return self._started.future.result(timeout)
        except ActorEndedError as ended:
            raise StartError(f"actor {self.path} {ended.reason}") from None

    def stop(self, timeout: float | None = None) -> bool:
        """Ask it to end, ahead of all data, and wait; tells whether its threads are gone.

        Args:
            timeout: seconds to wait at most; None for no end.
        """
        self.signal(Terminate(Shutdown("stopped")))
        return self.wait_terminated(timeout)

    def wait_terminated(self, timeout: float | None = None) -> bool:
        """Wait until the actor's thread and those of all below it are gone; tells whether they are.

        Children that were abandoned or killed are not waited for. Not to be called by these threads.

        Args:
            timeout: seconds to wait at most; None for no end.
        """
        clock = MonotonicClock()
        deadline = math.inf if timeout is None else clock.now() + timeout
        while self._thread.is_alive():
            left = deadline - clock.now()
            if left <= 0:
                return False
            self._thread.join(min(left, NOTICE_SECONDS))
        for child in tuple(self._children):
            if isinstance(child.reason, Abandoned | Killed):
                continue
            if not child.wait_terminated(deadline - clock.now()):
                return False
        return True

    def stack(self) -> str:
        """Where the actor's thread is at this moment, as text; "" when it has ended."""
        return stack_of(self._thread)

    def expect_start(self) -> None:
        """Keep what the start comes to, for `wait_started`; to be said before the thread starts."""
        self._started = FutureAnswer(self._life.path, self._life.watch)
        self._life.on_started(self._started.set_reply)

    def show(self) -> None:
        """Let Pykka know the actor."""
        self.inbox.show(self._carrier)

    def start_thread(self) -> None:
        """Set the actor going.

        Raises:
            RuntimeError: the system gave no thread.
        """
        self._thread.start()

    def add_child(self, ref: PykkaRef) -> None:
        """Note a child, whose thread is to be waited for; on the actor's own thread."""
        self._children.append(ref)
        if len(self._children) > self._sweep_from:
            self._children = [child for child in self._children if child.has_threads()]
            self._sweep_from = max(_SWEEP_FROM, 2 * len(self._children))

    def has_threads(self) -> bool:
        """Whether its thread, or one below it, is left."""
        return self._thread.is_alive() or any(child.has_threads() for child in self._children)


class BehaviorActor(InboxActor):
    """A life, as an actor of Pykka's.

    Args:
        inbox: its way in.
    """

    def __init__(self, inbox: Inbox) -> None:
        super().__init__(inbox)
        self.thread = threading.Thread(target=self._actor_loop, name=inbox.life.path, daemon=True)

    def _actor_loop(self) -> None:
        inbox, life = self._inbox, self._inbox.life
        enter_actor(life)
        try:
            life.begin()
            if life.uses_poller:
                self._run_polling(life)
            else:
                self._run(life)
        finally:
            inbox.bury()
            life.finish()

    def _run(self, life: Life) -> None:
        mailbox, turn = life.mailbox, life.turn
        while life.is_going_on:
            # Read before looking for work: a ring in between keeps the actor from falling asleep.
            seen = mailbox.rings
            if not turn():
                life.rest(seen)

    def _run_polling(self, life: Life) -> None:
        mailbox, turn = life.mailbox, life.turn
        turns = 0
        while life.is_going_on:
            seen = mailbox.rings
            if not turn():
                turns = 0
                life.rest(seen)
                continue
            turns += 1
            if turns == _LOOK_EVERY:
                turns = 0
                life.look_around()


def _ref_of(life: Life) -> PykkaRef:
    ref = life.ref
    if not isinstance(ref, PykkaRef):
        raise TypeError(f"actor {life.path} was made by another host")
    return ref
