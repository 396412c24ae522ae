"""Messages whose sender waits for an answer, and the pill that ends an actor after all before it.

Owns the form in which they wait in a data lane, in order with plain messages, and the answer that
a future brings. Never handles a message, never waits.

A reply that comes from another process is `Sealed`: whoever takes it out of its future opens it,
since that may run code, which is no business of the actor it came through.

Theory of operation. An answer is given by the first who gives one: the actor, whoever it passed
the answer on to, an overflow policy that dropped the ask, or the end of the actor, for which each
answer watches by itself. So nobody has to remember which asks an actor owes at its end, whether
they still wait, are being handled or were deferred, and no sender waits longer than the actor lives.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol, TypeAlias

from supervisors.behavior import Answer
from supervisors.errors import ActorEndedError, MailboxClosedError, MailboxFullError, SpecError
from supervisors.mailbox import EMPTY, Mailbox
from supervisors.messages import Terminate
from supervisors.reasons import Raised, Reason, Shutdown, record_error

Watch: TypeAlias = Callable[[Callable[[Reason], object]], Callable[[], bool]]
"""Has something called at an actor's end, and gives what takes that back (`LifeRef.watch`)."""


class Ask:
    """A message whose sender waits for an answer.

    Args:
        message: what is asked.
        answer: where the reply goes; it watches the actor's end by itself.
    """

    __slots__ = ("answer", "message")

    def __init__(self, message: object, answer: Answer) -> None:
        self.message = message
        self.answer = answer


Opened: TypeAlias = tuple[Any, BaseException | None]
"""The reply and None, or None and what is to be raised."""


class Sealed:
    """A reply that is still to be opened. Any thread may do so.

    Args:
        unseal: opens it; called once, or more often by threads that come at the same moment.
    """

    __slots__ = ("_opened", "_unseal")

    def __init__(self, unseal: Callable[[], Opened]) -> None:
        self._unseal = unseal
        self._opened: Opened | None = None

    def open(self, without_exit: Callable[[BaseException], Exception]) -> Any:
        """Give the reply, or raise what the handling of the ask has raised.

        Args:
            without_exit: gives what is raised in place of an exit, which must not become the end of who asked.
        """
        opened = self._opened
        if opened is None:
            opened = self._opened = self._unseal()
        value, error = opened
        if error is not None:
            raise error if isinstance(error, Exception) else without_exit(error)
        return value


class ReplyFuture(Future[Any]):
    """A future that opens what is sealed for those who take it.

    Args:
        path: the actor that is asked, for errors.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def result(self, timeout: float | None = None) -> Any:
        """Give the reply, as the base class does."""
        value = super().result(timeout)
        return value.open(partial(_without_exit, self._path)) if type(value) is Sealed else value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Give what `result` raises, as the base class does."""
        error = super().exception(timeout)
        if error is not None or type(super().result(0)) is not Sealed:
            return error
        try:
            self.result(0)
        except BaseException as sealed:  # noqa: BLE001  it is given, not swallowed
            return sealed
        return None


class FutureAnswer:
    """Answers by a future, which its sender may cancel: then the message is never handled.

    Args:
        path: the actor that is asked, for errors.
        watch: the actor's; at its end the future raises `ActorEndedError`.
    """

    __slots__ = ("_first", "_path", "future")

    def __init__(self, path: str, watch: Watch) -> None:
        self._path = path
        # Taken by the first who answers, and never let go: the actor, or whoever gave it up.
        self._first = first = threading.Lock()
        self.future: Future[Any] = ReplyFuture(path)
        unwatch = watch(self.set_dead)

        def settle(future: Future[Any]) -> None:
            unwatch()
            # Who waits by `concurrent.futures.wait` hears of a cancelled future by this alone.
            if future.cancelled() and first.acquire(blocking=False):
                future.set_running_or_notify_cancel()

        # Without a reference to this answer: a ring would wait for the garbage collector at each ask.
        self.future.add_done_callback(settle)

    @property
    def is_wanted(self) -> bool:
        """Whether the future was not cancelled."""
        return not self.future.cancelled()

    def set_reply(self, value: object) -> None:
        """Resolve the future; nothing happens the second time, or when it was cancelled."""
        if self._is_first():
            self.future.set_result(value)

    def set_error(self, error: BaseException) -> None:
        """Let the future raise; of an exit, that the actor ended by it. As `set_reply`."""
        if self._is_first():
            self.future.set_exception(error if isinstance(error, Exception) else _without_exit(self._path, error))

    def set_dead(self, reason: Reason) -> None:
        """Let the future raise `ActorEndedError`."""
        if self._is_first():
            self.future.set_exception(ActorEndedError(self._path, reason))

    def _is_first(self) -> bool:
        return self._first.acquire(blocking=False) and self.future.set_running_or_notify_cancel()


class Owner(Protocol):
    """The actor that answers."""

    def take_up(self, ask: Ask) -> object:
        """Make `ask` the one that is being handled; gives its message."""


class PoisonPill:
    """Ends an actor when it comes to it, after all messages before.

    Args:
        info: what is told as the reason.
    """

    __slots__ = ("info",)

    def __init__(self, info: str) -> None:
        self.info = info


class AskableMailbox(Mailbox):
    """A mailbox of an actor's own, whose data lane may hold asks and a pill among the messages."""

    __slots__ = ("_owner",)

    _owner: Owner

    def own(self, owner: Owner) -> None:
        """Say whose it is, before anything is taken out of it.

        Raises:
            SpecError: it is, or was, somebody else's.
        """
        if hasattr(self, "_owner"):
            raise SpecError("mailbox: an AskableMailbox ends with its actor; expected a new one, got another's own")
        self._owner = owner

    def try_take(self, empty: object = None) -> object:
        """Take the oldest data message, `empty` when there is none; of an ask, the message asked."""
        while True:
            message = super().try_take(empty)
            if type(message) is Ask:
                if not message.answer.is_wanted:
                    continue  # its sender has given up: it is never handled
                return self._owner.take_up(message)
            if type(message) is PoisonPill:
                self.put_control(Terminate(Shutdown(message.info)))
                return empty
            return message

    def put_pill(self, pill: PoisonPill) -> None:
        """Put a pill behind all data, whether the lane is full or not.

        Raises:
            MailboxClosedError: the actor has ended.
        """
        with self.lock:
            if self._closed:
                raise MailboxClosedError
            wake = self.append_held(pill)
        if wake:
            self.unpark()

    def on_dropped(self, message: object) -> None:
        """Tell the sender of an ask that there was no room for it."""
        if type(message) is Ask:
            message.answer.set_error(MailboxFullError(self.capacity))

    def _drop_oldest(self) -> object:
        # Pills stay: who has sent one waits for the end that it brings.
        message: object
        for index, message in enumerate(self.data):
            if type(message) is not PoisonPill:
                del self.data[index]
                self._dropped += 1
                return message
        return EMPTY


def _without_exit(path: str, error: BaseException) -> Exception:
    # A SystemExit is the actor's own end, and must not become that of whoever asked.
    ended = ActorEndedError(path, Raised(record_error(error)))
    ended.__cause__ = error
    return ended
