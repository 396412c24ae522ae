"""Messages whose sender waits for an answer, and the pill that ends an actor after all before it.

Owns the form in which they wait in a data lane, in order with plain messages. Never handles one.
"""

from __future__ import annotations

from typing import Protocol

from supervisors.mailbox import Mailbox
from supervisors.messages import Terminate
from supervisors.reasons import Shutdown


class Answer(Protocol):
    """Where the reply to an ask goes."""

    def set_reply(self, value: object) -> None:
        """Hand over the reply."""

    def set_error(self, error: BaseException) -> None:
        """Hand over what the handling raised."""

    def set_dead(self) -> None:
        """Tell that the actor ended without handling the message."""


class Ask:
    """A message whose sender waits for an answer."""

    __slots__ = ("answer", "message")

    def __init__(self, message: object, answer: Answer) -> None:
        self.message = message
        self.answer = answer


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
        message = super().try_take()
        if type(message) is Ask:
            return self.owner.take_up(message)
        if type(message) is PoisonPill:
            self.put_control(Terminate(Shutdown(message.info)))
            return None
        return message
