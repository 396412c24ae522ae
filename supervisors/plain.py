"""Ordinary Pykka actor classes as behaviours: supervised, and otherwise unchanged.

Owns what Pykka's loop would do around such an actor: making it, calling its hooks, handing it
its messages, and what follows from what it raises. Never changes the class: the object is of the
very class that was given, so that `type(self)`, class attributes and `__init_subclass__` are what
they are without us. It alone is told, as it is made, what its inbox is.

What is Pykka's, and stays so: an exception in the handling of an ask goes to the asker, and the
actor lives on; one in the handling of a told message ends it, by `on_failure` in place of
`on_stop`; an `on_start` that raises ends it without either; `stop`, from inside and through a ref,
ends it after what was queued before. What is not: `__init__` runs on the actor's own thread, so
that its failure is a failed start; a `SystemExit`, or whatever else is no `Exception`, ends this
actor alone (`on_stop` is called, as by Pykka), where Pykka stops every actor of the program; its
thread is a daemon, whatever `use_daemon_thread` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

import pykka
from pykka.messages import _ActorStop

from supervisors.behavior import Behavior, Context, Ref
from supervisors.errors import DeadlockError, SpecError
from supervisors.inbox import STOPPED, Inbox, InboxActor, InboxRef
from supervisors.life import Life
from supervisors.reasons import Normal, Reason, Shutdown
from supervisors.report import reporter

_PYKKAS_OWN = frozenset({"_actor_ref", "actor_inbox", "actor_stopped", "actor_urn"})
"""Attributes of every actor that are no state of its."""

_log = reporter("supervisors")


class PlainActor(Behavior):
    """Runs an actor of an ordinary Pykka class. A start hands over its `pykka.ActorRef` (`Started.info`).

    Args:
        actor_class: its class.
        args: what the class is called with, at each start, on the actor's own thread.
        kwargs: as `args`.

    Raises:
        SpecError: the class is none of Pykka's actors, or one of this package.
    """

    acknowledges = True

    def __init__(self, actor_class: Callable[..., pykka.Actor], /, *args: Any, **kwargs: Any) -> None:
        if not is_plain_actor(actor_class):
            raise SpecError(f"actor_class: expected a class derived from pykka.Actor, got {actor_class!r}")
        self.actor_class = actor_class
        self.args = args
        self.kwargs = kwargs
        self.actor_ref: pykka.ActorRef[Any] | None = None
        """The actor as Pykka knows it; None before its start."""
        self._actor: pykka.Actor | None = None
        self._inbox: Inbox | OwnInbox | None = None
        self._is_started = False
        self._failure: Exception | None = None

    def on_start(self, ctx: Context) -> None:
        """Make the actor, let Pykka know it, and call its `on_start`."""
        self._inbox = inbox = _inbox_of(ctx)
        self._actor = actor = self._make(inbox)
        self.actor_ref = actor.actor_ref
        inbox.show(actor.actor_ref)
        actor.on_start()
        self._is_started = True
        ctx.acknowledge(actor.actor_ref if isinstance(inbox, Inbox) else None)

    def on_message(self, message: object, ctx: Context) -> None:
        """Hand a message to the actor; what it returns is the reply to an ask."""
        actor = self._actor
        if actor is None:
            return
        if isinstance(message, _ActorStop):
            ctx.stop(Shutdown(STOPPED))
            return
        try:
            reply = actor._handle_receive(message)  # noqa: SLF001  knows Pykka's proxies
        except Exception as error:
            answer = ctx.defer()
            if answer is None:
                self._failure = error
                raise
            _log.info("actor %s raised in an ask, and goes on", ctx.ref.path, exc_info=True)
            answer.set_error(error)
        else:
            ctx.reply(reply)
        if actor.actor_stopped.is_set():  # an actor may set it by itself: Pykka's loop looks at it here
            ctx.stop(Normal())

    def on_stop(self, reason: Reason, ctx: Context) -> None:
        """Call the actor's last hook; for Pykka it is dead by then, as in Pykka's own order."""
        actor, self._actor = self._actor, None  # what it holds is let go with it, whoever keeps its address
        failure, self._failure = self._failure, None
        if actor is None or self._inbox is None:
            return
        self._inbox.bury()
        if failure is not None:
            actor.on_failure(type(failure), failure, failure.__traceback__)
        elif self._is_started:
            actor.on_stop()

    def get_state(self) -> Any:
        """Give a copy of the actor's own attributes."""
        if self._actor is None:
            return {}
        return {name: value for name, value in vars(self._actor).items() if name not in _PYKKAS_OWN}

    def _make(self, inbox: Inbox | OwnInbox) -> pykka.Actor:
        # As `type` calls a class, with one thing in between: Pykka asks the instance for its inbox.
        cls = self.actor_class
        actor = cls.__new__(cls, *self.args, **self.kwargs)
        vars(actor)["_create_actor_inbox"] = lambda: inbox
        cls.__init__(actor, *self.args, **self.kwargs)
        del vars(actor)["_create_actor_inbox"]
        if vars(actor).get("actor_inbox") is not inbox:
            raise TypeError(f"{cls.__qualname__}.__init__ did not call super().__init__()")
        return actor


def is_plain_actor(start: object) -> TypeGuard[type[pykka.Actor]]:
    """Tell whether `start` is a class derived from `pykka.Actor`, and none of this package's own."""
    return (
        isinstance(start, type)
        and issubclass(start, pykka.Actor)
        and start is not pykka.Actor
        and not issubclass(start, InboxActor)
    )


class OwnInbox:
    """What an actor's refs put into where it has a process of its own: what it tells itself.

    Args:
        ref: its address there, for itself alone.
    """

    def __init__(self, ref: Ref) -> None:
        self._ref = ref
        self._actor_ref: pykka.ActorRef[Any] | None = None

    def show(self, actor_ref: pykka.ActorRef[Any]) -> None:
        """Let Pykka know the actor."""
        self._actor_ref = actor_ref
        pykka.ActorRegistry.register(actor_ref)

    def bury(self) -> None:
        """Let Pykka know that the actor takes no more."""
        if self._actor_ref is not None:
            pykka.ActorRegistry.unregister(self._actor_ref)
            self._actor_ref.actor_stopped.set()

    def put(self, envelope: Any) -> None:
        """Pass on what the actor tells itself; it is handled after the present call.

        Raises:
            NotInProcessError: it comes from another thread of the process.
        """
        if envelope.reply_to is None:
            self._ref.tell(envelope.message)
            return
        error = DeadlockError((self._ref.path, self._ref.path))
        envelope.reply_to.set_exception((DeadlockError, error, None))

    def get(self) -> Any:
        """Give nothing: what comes in is handled by the process's service."""
        raise LookupError("this inbox is a way in alone")

    def empty(self) -> bool:
        """True: nothing is kept here."""
        return True


def _inbox_of(ctx: Context) -> Inbox | OwnInbox:
    ref = ctx.ref
    if isinstance(ref, InboxRef):
        return ref.inbox
    return Inbox(ctx) if isinstance(ctx, Life) else OwnInbox(ref)
