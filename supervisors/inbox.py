"""The way into an actor from Pykka's own refs: its inbox, the answers to asks, and their futures.

Owns what Pykka knows of an actor of ours: the ref it goes by, its one entry in the registry, its
stopped flag. Never handles a message, never starts a thread, never reads a mailbox.

Pykka's `ActorRef.tell`, `ask` and `stop`, and the proxies that are made of them, work from
anywhere: their messages go into the data lane of a mailbox of the actor's own, so that their order
is kept, and into the control lane of one that was handed in, whose data lane is its giver's. A stop
through a ref ends the actor after what was queued before, with `Shutdown(STOPPED)`: a clean end,
whoever asked for it.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any, Protocol

import pykka
from pykka.messages import _ActorStop

from supervisors.asking import Ask, AskableMailbox, PoisonPill, Sealed
from supervisors.errors import MailboxClosedError
from supervisors.life import Life
from supervisors.messages import Terminate
from supervisors.reasons import Reason, Shutdown
from supervisors.ref import LifeRef
from supervisors.renewals import renewals

STOPPED = "stopped through its Pykka ref"
"""What is told as the end of an actor that `ActorRef.stop`, or its own `stop`, ended."""


class Inbox:
    """What Pykka's refs put their envelopes into; the mailbox behind it is read elsewhere.

    Args:
        life: the actor.
    """

    def __init__(self, life: Life) -> None:
        self.life = life
        """The actor."""
        # Guards the stops that wait for the actor's end, and the entry in the registry.
        self._lock = threading.Lock()
        self._stops: list[Future] | None = []
        self._refs: list[pykka.ActorRef[Any]] = []
        self._registered: pykka.ActorRef[Any] | None = None
        # One that is given up is dead for Pykka too, from that moment on.
        life.watch(self._on_end)

    @property
    def actor_ref(self) -> pykka.ActorRef[Any]:
        """The ref by which Pykka knows the actor."""
        return self._refs[-1]

    def show(self, actor_ref: pykka.ActorRef[Any]) -> None:
        """Let Pykka know the actor by `actor_ref`, and by no other ref, until it ends."""
        self._unregister()
        self._refs.append(actor_ref)
        pykka.ActorRegistry.register(actor_ref)
        with self._lock:
            self._registered = actor_ref
        if self.life.reason is not None:  # given up on another thread meanwhile
            self.bury()

    def bury(self) -> None:
        """Let Pykka know that the actor takes no more; nothing happens the second time."""
        self._unregister()
        for actor_ref in tuple(self._refs):
            actor_ref.actor_stopped.set()

    def put(self, envelope: Any) -> None:
        """Pass an envelope on into the actor's mailbox.

        Raises:
            ActorDeadError: the actor has ended, and the sender waits for no answer.
            MailboxFullError: the data lane is at its bound.
        """
        message, future = envelope.message, envelope.reply_to
        if isinstance(message, _ActorStop):
            self._put_stop(future)
            return
        if future is not None:
            self._put_ask(message, future)
        elif not self._pass_on(message):
            raise pykka.ActorDeadError(f"actor {self.life.path} has ended")

    def get(self) -> Any:
        """Give nothing: the mailbox is read by the actor's life."""
        raise LookupError("this inbox is a way in alone")

    def empty(self) -> bool:
        """Whether the actor's mailbox holds no message."""
        mailbox = self.life.mailbox
        return len(mailbox) == 0 and not mailbox.has_control

    def _put_ask(self, message: object, future: Future) -> None:
        ActorFuture.adopt(future, self.life)
        answer = PykkaAnswer(future, self.life)  # of an actor that has ended, it is answered by now
        try:
            self.life.put_ask(Ask(message, answer))
        except BaseException:
            answer.withdraw()
            raise

    def _put_stop(self, future: Future | None) -> None:
        with self._lock:
            is_late = self._stops is None
            if future is not None and self._stops is not None:
                ActorFuture.adopt(future, self.life)
                self._stops.append(future)
        if is_late:
            if future is not None:
                PykkaAnswer(future, self.life)
            return
        mailbox = self.life.mailbox
        if isinstance(mailbox, AskableMailbox):
            with suppress(MailboxClosedError):
                mailbox.put_pill(PoisonPill(STOPPED))  # also into a full one
        else:
            self.life.put_control(Terminate(Shutdown(STOPPED)))

    def _pass_on(self, message: object) -> bool:
        life = self.life
        if life.is_given:
            return life.put_control(message)
        try:
            life.put_data(message, None)
        except MailboxClosedError:
            return False
        return True

    def _unregister(self) -> None:
        with self._lock:
            registered, self._registered = self._registered, None
        if registered is not None:
            pykka.ActorRegistry.unregister(registered)

    def _on_end(self, _reason: Reason) -> None:
        self.bury()
        with self._lock:
            stops, self._stops = self._stops or [], None
        for future in stops:
            future.set(None)


class InboxRef(LifeRef):
    """The address of an actor that Pykka knows.

    Args:
        inbox: where its Pykka refs lead.
    """

    __slots__ = ("inbox",)

    def __init__(self, inbox: Inbox) -> None:
        super().__init__(inbox.life)
        self.inbox = inbox

    @property
    def actor_ref(self) -> pykka.ActorRef[Any]:
        """The actor as Pykka knows it; of a plain actor, its own ref from its start on."""
        return self.inbox.actor_ref


class InboxActor(pykka.ThreadingActor):
    """An actor of ours, as Pykka sees it: it never runs Pykka's loop.

    Args:
        inbox: where its refs lead.
    """

    use_daemon_thread = True

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        super().__init__()

    def _create_actor_inbox(self) -> Inbox:  # type: ignore[override]  # Pykka calls it on the instance
        return self._inbox


class Future(Protocol):
    """The part of Pykka's future that a reply needs."""

    def set(self, value: Any | None = None) -> None:
        """Hand over the value."""

    def set_exception(self, exc_info: Any | None = None) -> None:
        """Hand over an exception."""


class ActorFuture(pykka.ThreadingFuture[Any]):
    """A future of Pykka's whose `get` waits as `LifeRef.ask` does: it knows whom it waits for.

    On an actor's thread, a `get` that would never return, since the one that is to answer is that
    actor or waits for it, raises `DeadlockError`. On the step host it lets the others go on.
    """

    _life: Life | None = None
    """Who is to answer; None once that is done, and for what `map` and its like make of a future."""

    @staticmethod
    def adopt(future: Future, life: Life) -> None:
        """Turn a future that nobody has seen yet into one of these, if it is Pykka's own.

        Pykka makes it by a method of the asked actor's class. That class may be a user's, and
        stays as it is: so it cannot give this one itself.
        """
        if type(future) is pykka.ThreadingFuture:
            future.__class__ = ActorFuture
            future._life = life  # type: ignore[attr-defined]  # noqa: SLF001  it is one of these now

    def get(self, *, timeout: float | None = None) -> Any:
        """Give the value, or raise the exception, once it is there.

        Raises:
            Timeout: it was not there within `timeout` seconds.
            DeadlockError: it would never be there.
        """
        life = self._life
        if life is None:
            return _open(super().get(timeout=timeout))
        with life.enter_wait(self._is_set, timeout) as left:
            value = super().get(timeout=left)
        return _open(value)

    def set(self, value: Any | None = None) -> None:
        """Hand over the value."""
        super().set(value)
        self._life = None  # a result that is kept does not keep who gave it

    def set_exception(self, exc_info: Any | None = None) -> None:
        """Hand over an exception."""
        super().set_exception(exc_info)
        self._life = None

    def _is_set(self) -> bool:
        return self._result is not None


class PykkaAnswer:
    """Answers an ask by a future of Pykka's, which can be set only once.

    Args:
        future: what the sender has.
        life: the actor that is asked; its end answers, also if it is given up.
    """

    __slots__ = ("_first", "_future", "_unwatch")

    is_wanted = True
    """Pykka's futures cannot be given up."""

    def __init__(self, future: Future, life: Life) -> None:
        self._future = future
        # Taken by the first who answers, and never let go: the actor, or whoever gave it up.
        self._first = threading.Lock()
        self._unwatch = life.watch(self.set_dead)

    def set_reply(self, value: object) -> None:
        """Hand over the reply; sealed only to a future that opens it."""
        if not self._is_first():
            return
        try:
            self._future.set(value if isinstance(self._future, ActorFuture) else _open(value))
        except Exception as error:  # noqa: BLE001  it is the asker's
            self._set_exception(error)

    def set_error(self, error: BaseException) -> None:
        """Hand over what the handling raised; of an exit, that the actor ended by it."""
        if self._is_first():
            self._set_exception(_without_exit(error))

    def set_dead(self, reason: Reason) -> None:
        """Tell that the actor ended without answering."""
        if self._first.acquire(blocking=False):
            error = pykka.ActorDeadError(f"the actor ended before it handled the message: {reason}")
            self._future.set_exception((pykka.ActorDeadError, error, None))

    def withdraw(self) -> None:
        """Forget the ask: it was never put."""
        self._unwatch()

    def _set_exception(self, error: BaseException) -> None:
        self._future.set_exception((type(error), error, error.__traceback__))

    def _is_first(self) -> bool:
        is_first = self._first.acquire(blocking=False)
        if is_first:
            self._unwatch()
        return is_first


def _open(value: Any) -> Any:
    return value.open(_without_exit) if type(value) is Sealed else value


def _without_exit(error: BaseException) -> Exception:
    if isinstance(error, Exception):
        return error
    # Raised by `get` in an actor on Pykka's own loop, it would stop every actor of the program.
    dead = pykka.ActorDeadError(f"the actor ended while it handled the message: {error!r}")
    dead.__cause__ = error
    return dead


def _forget_actors() -> None:
    """Let Pykka know of no actor, in a forked copy of the program: none of their threads is there."""
    pykka.ActorRegistry._actor_refs_lock = threading.RLock()  # noqa: SLF001  it may have been held
    pykka.ActorRegistry._actor_refs.clear()  # noqa: SLF001  to stop them all would wait for ever


renewals.add(_forget_actors)
