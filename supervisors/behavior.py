"""What an actor does, apart from where it runs: the protocols between behaviours and hosts.

A behaviour is a plain object: a message comes in, effects go out through its context. It owns
no thread, reads no clock and opens no file, so that the same code runs on Pykka threads
(`actor`) and, one step at a time in a seeded order, on a single thread (`testing`).
"""

from __future__ import annotations

import random
from typing import Protocol

from supervisors.mailbox import Mailbox
from supervisors.parking import Parker
from supervisors.reasons import Reason


class Ref(Protocol):
    """The address of an actor; safe to keep after the actor has ended."""

    @property
    def name(self) -> str:
        """The actor's name, unique below its parent."""

    def tell(self, message: object) -> bool:
        """Put `message` into the data lane; False if the actor takes no more messages."""

    def signal(self, message: object) -> bool:
        """Put `message` into the control lane, ahead of all data; False after its end."""


class Timer(Protocol):
    """A pending timer of one actor."""

    def cancel(self) -> None:
        """Forget the timer; nothing happens if it has fired already."""


class Context(Protocol):
    """What a behaviour may do to the world. Valid only inside its own calls."""

    @property
    def ref(self) -> Ref:
        """This actor's own address."""

    @property
    def mailbox(self) -> Mailbox:
        """This actor's own mailbox."""

    @property
    def random(self) -> random.Random:
        """The source of randomness, seeded in tests."""

    @property
    def parker(self) -> Parker:
        """Where this actor's thread waits; a `Poller` if it was started with one."""

    def now(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""

    def set_timer(self, delay: float, message: object) -> Timer:
        """Deliver `message` to this actor's control lane after `delay` seconds."""

    def start(self, behavior: Behavior, name: str, *, mailbox: Mailbox | None = None) -> Ref:
        """Start a child actor; its end comes to this actor's control lane as one `Down`."""

    def abandon(self, ref: Ref) -> str:
        """Give up a child that does not end, and give its stack ("" where it cannot be known).

        Its `Down` with reason `Abandoned` comes at once, its real end later is told to nobody;
        it takes nothing more out of its mailbox once its present call returns. Nothing happens
        to a child that has ended.
        """

    def reply(self, value: object) -> None:
        """Answer the ask that is being handled; nothing happens when it was no ask.

        An ask that is not answered when its handling returns is answered with None.
        """

    def stop(self, reason: Reason) -> None:
        """End this actor, with `reason`, when the present call returns; the first call counts."""


class Behavior:
    """Base of everything that can be an actor. Its methods are called one at a time."""

    uses_poller = False
    """True for an actor that waits for file descriptors too (`Context.parker` is a `Poller`)."""

    handles_terminate = False
    """True for an actor that is handed `Terminate` as a message, and ends itself by `stop`."""

    def on_start(self, ctx: Context) -> None:
        """Prepare; the first call, on the actor's own thread."""

    def on_message(self, message: object, ctx: Context) -> None:
        """Handle one message, of either lane."""

    def step(self, ctx: Context) -> bool:
        """Do one bounded piece of work when no control message waits; False when there is none.

        The default takes one message from the data lane.
        """
        message = ctx.mailbox.try_take()
        if message is None:
            return False
        self.on_message(message, ctx)
        return True

    def on_stop(self, reason: Reason, ctx: Context) -> None:
        """Give back what it holds; the last call, whatever the end was."""
