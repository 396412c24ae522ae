"""Actors on Pykka threads: the one door to Pykka.

Owns the threads of actors and the way in from Pykka's own refs. Never lets an exception, a stop
or a message through to Pykka's loop, which would drop what is queued behind a failure and stop
every actor of the program on a `SystemExit` (seen on 4.5.0). What an actor does in which order
is `life`'s.

Pykka's `ActorRef.tell`, `ask` and `stop` work from outside: their messages go into the data lane
of a mailbox of the actor's own, so that their order is kept, and into the control lane of one
that was handed in, whose data lane is its giver's. What the handling of an ask raises goes to
its sender, and ends the actor as any other exception does.

All threads are daemons: an actor that nobody ended does not keep the interpreter from exiting.
"""

from __future__ import annotations

import concurrent.futures
import random
import sys
import threading
import traceback
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import pykka
from pykka.messages import _ActorStop

from supervisors.asking import Ask, AskableMailbox, FutureAnswer, PoisonPill
from supervisors.behavior import Behavior, Maker
from supervisors.clock import Clock, MonotonicClock
from supervisors.endpoint import Endpoint
from supervisors.errors import ActorEndedError, AskTimeoutError, DeadlockError, MailboxClosedError, StartError
from supervisors.life import Life
from supervisors.mailbox import Mailbox
from supervisors.messages import Terminate
from supervisors.parking import LockParker, Poller
from supervisors.places.base import Listener, Place
from supervisors.places.process.output import show_output
from supervisors.places.process.place import ProcessPlace
from supervisors.reasons import Abandoned, Killed, Reason, Shutdown
from supervisors.ref import LifeRef
from supervisors.telemetry import Telemetry, telemetry
from supervisors.waiting import enter_actor, present_actor, refuse_ring, waiting_for

_LOOK_EVERY = 32
"""Turns that an actor with work makes before it looks at its file descriptors (arbitrary)."""

_SWEEP_FROM = 64
"""Children noted before those whose threads are gone are forgotten (arbitrary)."""

STOPPED = "stopped through its Pykka ref"
"""What is told as the end of an actor that `ActorRef.stop` ended."""


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
        life = self._make(behavior, name, mailbox, None)
        ref = life.ref
        if not isinstance(ref, PykkaRef):
            raise TypeError
        ref.expect_start()
        self.launch(life)
        return ref

    def start_child(self, parent: Life, behavior: Behavior | Maker, name: str, mailbox: Mailbox | None) -> Life:
        """Give a new actor below `parent`, which `launch` sets going."""
        return self._make(behavior, name, mailbox, parent)

    def launch(self, life: Life) -> None:
        """Start the actor's thread.

        Raises:
            StartError: the system gave none.
        """
        ref = life.ref
        if not isinstance(ref, PykkaRef):
            raise TypeError
        pykka.ActorRegistry.register(ref.actor_ref)
        try:
            ref.start_thread()
        except RuntimeError as error:
            pykka.ActorRegistry.unregister(ref.actor_ref)
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
        if future.done():
            return future.result()
        try:
            with waiting_for(life, future.done):
                return future.result(timeout)
        except DeadlockError:
            future.cancel()
            raise
        except TimeoutError:
            # Unless the answer came in the last moment, or the actor has raised a TimeoutError of its own.
            if not future.cancel():
                return future.result()
            raise AskTimeoutError(f"actor {life.path} did not answer within {timeout:g} s") from None

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
        )

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
        actor = BehaviorActor(life)
        life.ref = PykkaRef(life, actor)
        # The first that is told of the end: who is told later may look whether Pykka still knows the actor.
        life.watch(lambda _: actor.retire())
        return life

    def _make_random(self, path: str) -> random.Random:
        # One stream an actor, so that what one draws does not shift what another does.
        return random.Random() if self._seed is None else random.Random(f"{self._seed}:{path}")  # noqa: S311


class PykkaRef(LifeRef):
    """The address of an actor on a thread."""

    __slots__ = ("_children", "_started", "_sweep_from", "_thread", "actor_ref")

    def __init__(self, life: Life, actor: BehaviorActor) -> None:
        super().__init__(life)
        self.actor_ref = actor.actor_ref
        """The actor as Pykka knows it."""
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
        deadline = None if timeout is None else clock.now() + timeout
        self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        for child in tuple(self._children):
            if isinstance(child.reason, Abandoned | Killed):
                continue
            if not child.wait_terminated(None if deadline is None else max(0.0, deadline - clock.now())):
                return False
        return True

    def stack(self) -> str:
        """Where the actor's thread is at this moment, as text; "" when it has ended."""
        frame = sys._current_frames().get(self._thread.ident or 0)  # noqa: SLF001  the documented way to it
        return "".join(traceback.format_stack(frame)) if frame is not None else ""

    def expect_start(self) -> None:
        """Keep what the start comes to, for `wait_started`; to be said before the thread starts."""
        self._started = FutureAnswer(self._life.path, self._life.watch)
        self._life.on_started(self._started.set_reply)

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


class BehaviorActor(pykka.ThreadingActor):
    """A life, as an actor of Pykka's."""

    use_daemon_thread = True

    def __init__(self, life: Life) -> None:
        self._life = life
        self._inbox = Inbox(life)
        super().__init__()
        self.thread = threading.Thread(target=self._actor_loop, name=life.path, daemon=True)

    def _create_actor_inbox(self) -> Inbox:  # type: ignore[override]  # Pykka calls it on the instance
        return self._inbox

    def _start_actor_loop(self) -> None:
        self.thread.start()

    def _actor_loop(self) -> None:
        life = self._life
        enter_actor(life)
        try:
            life.begin()
            if life.uses_poller:
                self._run_polling(life)
            else:
                self._run(life)
        finally:
            life.finish()

    def retire(self) -> None:
        """Let Pykka hold the actor for stopped, once it has ended for the world."""
        pykka.ActorRegistry.unregister(self.actor_ref)
        self.actor_stopped.set()

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


class Future(Protocol):
    """The part of Pykka's future that a reply needs."""

    def set(self, value: Any | None = None) -> None:
        """Hand over the value."""

    def set_exception(self, exc_info: Any | None = None) -> None:
        """Hand over an exception."""


class PykkaAnswer:
    """Answers an ask by a future of Pykka's, which can be set only once."""

    __slots__ = ("_first", "_future", "_unwatch")

    is_wanted = True
    """Pykka's futures cannot be given up."""

    def __init__(self, future: Future, life: Life) -> None:
        self._future = future
        # Taken by the first who answers, and never let go: the actor, or whoever gave it up.
        self._first = threading.Lock()
        self._unwatch = life.watch(self.set_dead)

    def set_reply(self, value: object) -> None:
        """Hand over the reply."""
        if self._is_first():
            self._future.set(value)

    def set_error(self, error: BaseException) -> None:
        """Hand over what the handling raised."""
        if self._is_first():
            self._future.set_exception((type(error), error, error.__traceback__))

    def set_dead(self, reason: Reason) -> None:
        """Tell that the actor ended without answering."""
        if self._first.acquire(blocking=False):
            error = pykka.ActorDeadError(f"the actor ended before it handled the message: {reason}")
            self._future.set_exception((pykka.ActorDeadError, error, None))

    def forget(self) -> None:
        """Watch the actor no more: nothing was sent."""
        self._unwatch()

    def _is_first(self) -> bool:
        is_first = self._first.acquire(blocking=False)
        if is_first:
            self._unwatch()
        return is_first


class Inbox:
    """What Pykka's refs put their envelopes into; `get` and `empty` are for its loop, which never runs."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def put(self, envelope: Any) -> None:
        """Pass an envelope on into the actor's mailbox.

        Raises:
            ActorDeadError: the actor has ended, and the sender waits for no answer.
        """
        message, future = envelope.message, envelope.reply_to
        if isinstance(message, _ActorStop):
            self._put_stop(future)
        elif future is not None:
            self._put_ask(message, future)
        elif not self._pass_on(message):
            raise pykka.ActorDeadError(f"actor {self._life.path} has ended")

    def get(self) -> Any:
        """Give nothing: the mailbox is read elsewhere."""
        raise LookupError("this inbox is a way in alone")

    def empty(self) -> bool:
        """True: nothing is ever kept here."""
        return True

    def _put_stop(self, future: Future | None) -> None:
        life = self._life
        if life.reason is not None:
            if future is not None:
                PykkaAnswer(future, life)
            return
        if future is not None:
            life.watch(lambda _: future.set(None))
        if isinstance(life.mailbox, AskableMailbox):
            with suppress(MailboxClosedError):
                life.mailbox.put_pill(PoisonPill(STOPPED))
        else:
            life.put_control(Terminate(Shutdown(STOPPED)))

    def _put_ask(self, message: object, future: Future) -> None:
        answer = PykkaAnswer(future, self._life)  # of one that has ended, it is given by now
        try:
            self._pass_on(Ask(message, answer))
        except BaseException:
            answer.forget()
            raise

    def _pass_on(self, message: object) -> bool:
        life = self._life
        if life.is_given:
            return life.put_control(message)
        try:
            life.put_data(message, None)
        except MailboxClosedError:
            return False
        return True
