"""Messages whose sender waits for an answer, and the pill that ends an actor after all before it.

Owns the form in which they wait in a data lane, in order with plain messages, and the answer that
a future brings. Never handles a message, never waits.

A reply that comes from another process is `Sealed`: whoever takes it out of its future opens it,
since that may run code, which is no business of the actor it came through.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeAlias

from supervisors.behavior import Answer
from supervisors.errors import ActorEndedError
from supervisors.mailbox import Mailbox
from supervisors.messages import Terminate
from supervisors.reasons import Reason, Shutdown


class Ask:
    """A message whose sender waits for an answer."""

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

    def open(self) -> Any:
        """Give the reply, or raise what the handling of the ask has raised."""
        opened = self._opened
        if opened is None:
            opened = self._opened = self._unseal()
        value, error = opened
        if error is not None:
            raise error
        return value


class ReplyFuture(Future[Any]):
    """A future that opens what is sealed for those who take it."""

    def result(self, timeout: float | None = None) -> Any:
        """Give the reply, as the base class does."""
        value = super().result(timeout)
        return value.open() if type(value) is Sealed else value

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
    """

    __slots__ = ("_first", "_path", "future")

    def __init__(self, path: str) -> None:
        self._path = path
        # Taken by the first who answers, and never let go: the actor, or whoever gave it up.
        self._first = threading.Lock()
        self.future: Future[Any] = ReplyFuture()

    @property
    def is_wanted(self) -> bool:
        """Whether the future was not cancelled."""
        return not self.future.cancelled()

    def set_reply(self, value: object) -> None:
        """Resolve the future; nothing happens the second time, or when it was cancelled."""
        if self._is_first():
            self.future.set_result(value)

    def set_error(self, error: BaseException) -> None:
        """Let the future raise; as `set_reply`."""
        if self._is_first():
            self.future.set_exception(error)

    def set_dead(self, reason: Reason) -> None:
        """Let the future raise `ActorEndedError`."""
        if self._is_first():
            self.future.set_exception(ActorEndedError(self._path, reason))

    def _is_first(self) -> bool:
        return self._first.acquire(blocking=False) and self.future.set_running_or_notify_cancel()


class DeferredAnswer:
    """An answer that its actor owes, forgotten by it once it is given.

    Args:
        answer: where the reply goes.
        owed: what the actor owes; this is added to it.
    """

    __slots__ = ("_answer", "_owed")

    def __init__(self, answer: Answer, owed: set[Answer]) -> None:
        self._answer = answer
        self._owed = owed
        owed.add(self)

    @property
    def is_wanted(self) -> bool:
        """Whether its sender still waits."""
        return self._answer.is_wanted

    def set_reply(self, value: object) -> None:
        """Hand over the reply."""
        self._owed.discard(self)
        self._answer.set_reply(value)

    def set_error(self, error: BaseException) -> None:
        """Hand over what went wrong."""
        self._owed.discard(self)
        self._answer.set_error(error)

    def set_dead(self, reason: Reason) -> None:
        """Tell that the actor ended without answering."""
        self._owed.discard(self)
        self._answer.set_dead(reason)


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
    """A mailbox of an actor's own, whose data lane may hold asks and pills among the messages."""

    __slots__ = ("owner",)

    owner: Owner
    """Its actor; set before anything is taken."""

    def try_take(self) -> object | None:
        """Take the oldest data message; of an ask, the message asked."""
        while True:
            message = super().try_take()
            if type(message) is Ask:
                if not message.answer.is_wanted:
                    continue  # its sender has given up: it is never handled
                return self.owner.take_up(message)
            if type(message) is PoisonPill:
                self.put_control(Terminate(Shutdown(message.info)))
                return None
            return message
