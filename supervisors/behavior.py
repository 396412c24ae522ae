"""What an actor does, apart from where it runs: the protocols between behaviours and hosts.

A behaviour is a plain object: a message comes in, effects go out through its context. It owns
no thread, reads no clock and opens no file, so that the same code runs on Pykka threads
(`actor`) and, one step at a time in a seeded order, on a single thread (`testing`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from supervisors.mailbox import EMPTY, Mailbox
from supervisors.parking import Parker
from supervisors.places.base import Listener, Place
from supervisors.reasons import Reason


class Ref(Protocol):
    """The address of an actor; safe to keep after the actor has ended. Any thread may use it."""

    @property
    def name(self) -> str:
        """The actor's name, unique below its parent."""

    @property
    def path(self) -> str:
        """The names of its ancestors and its own, joined by slashes."""

    @property
    def reason(self) -> Reason | None:
        """Why it ended; None while it lives."""

    def tell(self, message: object) -> bool:
        """Put `message` into the data lane; False if the actor takes no more messages."""

    def signal(self, message: object) -> bool:
        """Put `message` into the control lane, ahead of all data; False after its end."""

    def watch(self, notify: Callable[[Reason], object]) -> Callable[[], bool]:
        """Call `notify` exactly once with the reason of its end, at once if it has ended.

        The call comes on the thread that ends the actor; it must be short and raise nothing.

        Returns:
            What takes the watch back: True if `notify` was not called and never will be.
        """

    def kill(self) -> None:
        """End it now: a process with all it has started; a thread is fenced off (`Killed`)."""


class Monitor:
    """One watch of an actor over another, as `Context.monitor` gives it.

    Args:
        ref: who is watched.
    """

    __slots__ = ("cancel", "ref")

    cancel: Callable[[], bool]

    def __init__(self, ref: Ref) -> None:
        self.ref = ref


class Link:
    """A tie between two actors; it ends with either, or when either unties it.

    Args:
        refs: the two.
    """

    __slots__ = ("cancels", "is_tied", "refs")

    def __init__(self, refs: tuple[Ref, Ref]) -> None:
        self.refs = refs
        self.is_tied = True
        self.cancels: tuple[Callable[[], bool], ...] = ()
        """What takes back the watches of each over the other."""

    def other(self, ref: Ref) -> Ref:
        """The one that is not `ref`."""
        first, second = self.refs
        return second if first is ref else first

    def untie(self) -> None:
        """Let neither be told of the other's end; notices on their way count no more. Any thread may call it."""
        self.is_tied = False
        for cancel in self.cancels:
            cancel()


class Timer(Protocol):
    """A pending timer of one actor."""

    def cancel(self) -> None:
        """Forget the timer; nothing happens if it has fired already."""


class Answer(Protocol):
    """Where the reply to an ask goes. Any thread may call it; the first call counts.

    It watches the end of the actor that was asked by itself.
    """

    @property
    def is_wanted(self) -> bool:
        """Whether its sender still waits."""

    def set_reply(self, value: object) -> None:
        """Hand over the reply; one that is `supervisors.asking.Sealed` is opened by who takes it."""

    def set_error(self, error: BaseException) -> None:
        """Hand over what the handling raised."""

    def set_dead(self, reason: Reason) -> None:
        """Tell that the actor ended without answering."""


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

    def start(
        self, behavior: Behavior | Maker, name: str, *, mailbox: Mailbox | None = None, wants_started: bool = False
    ) -> Ref:
        """Start a child actor; its end comes to this actor's control lane as one `Down`.

        Args:
            behavior: what it does, or what gives that, called on the child's own thread: a class
                for one. What is no behaviour and comes of it is handed over by `Started`, and that
                child ends at once.
            name: its name.
            mailbox: its mailbox. A `supervisors.asking.AskableMailbox` (a bounded one) becomes its
                own and ends with it; any other outlives it. None: one of its own, without bound.
            wants_started: whether `Started` is to come when it is ready.

        Raises:
            StartError: the system gave no thread.
        """

    def acknowledge(self, info: object = None) -> None:
        """Tell who started this actor that it is ready; for behaviours that declare `acknowledges`."""

    def monitor(self, ref: Ref) -> Monitor:
        """Have exactly one `Down` come when `ref` ends; at once if it has."""

    def demonitor(self, monitor: Monitor, *, flush: bool = True) -> None:
        """Take a monitor back; with `flush` its `Down` will not come even if it is on its way."""

    def link(self, ref: Ref) -> None:
        """Tie this actor and `ref` together: when one ends, the other is told by `Exit`."""

    def unlink(self, ref: Ref) -> None:
        """Untie them; no `Exit` comes after this."""

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

    def defer(self) -> Answer | None:
        """Take the ask that is being handled, to answer it later; None when it was no ask.

        Any thread may answer it. What is still owed when this actor ends is answered with its end.
        """

    def stop(self, reason: Reason) -> None:
        """End this actor, with `reason`, when the present call returns; the first call counts."""

    def run_here(self, work: Callable[[], Callable[[], bool] | None]) -> bool:
        """Do a piece of work of this actor's on the calling thread, which may be any, if its own one sleeps.

        So a message that comes alone need not wait until the actor's thread has woken up. While `work` runs, the actor
        does nothing else: it is as if its own thread ran that. For actors that were started with a poller; others do
        all on their threads.

        Args:
            work: some microseconds of work, without a wait; what it raises ends the actor. It gives what is called when
                the actor may go on, and must not raise: that finishes the work, and tells whether the actor may sleep
                on. None: it may not.

        Returns:
            Whether the actor may sleep on; False: it is to be woken (`Mailbox.unpark`), by whoever has rung it.
        """

    def note(self, event: str, measurements: dict[str, float], metadata: dict[str, Any]) -> None:
        """Tell those who listen that something happened (`telemetry`)."""

    def open_place(self, listener: Listener, name: str, service: bytes) -> Place:
        """Give a place for one worker in a process of its own; for actors that were started with a poller.

        Args:
            listener: who is told what the worker does.
            name: what it is called, in listings and log records.
            service: what it runs, encoded by `supervisors.wire.values.encode_code`.
        """


class Behavior:
    """Base of everything that can be an actor. Its methods are called one at a time."""

    uses_poller = False
    """True for an actor that waits for file descriptors too (`Context.parker` is a `Poller`)."""

    handles_terminate = False
    """True for an actor that is handed `Terminate` as a message, and ends itself by `stop`."""

    handles_kill = False
    """True for one that runs something which can be ended from outside: it is handed `Kill`."""

    traps_exits = False
    """True for one that is handed `Exit` as a message, instead of ending with those it is linked to."""

    acknowledges = False
    """True for one that calls `Context.acknowledge` when it is ready; others are when `on_start` returns."""

    def on_start(self, ctx: Context) -> None:
        """Prepare; the first call, on the actor's own thread.

        One that calls `ctx.stop(Normal())` here is not needed: its supervisor ignores it.
        """

    def on_message(self, message: object, ctx: Context) -> None:
        """Handle one message, of either lane."""

    def step(self, ctx: Context) -> bool:
        """Do one bounded piece of work when no control message waits; False when there is none.

        The default takes one message from the data lane.
        """
        message = ctx.mailbox.try_take(EMPTY)
        if message is EMPTY:
            return False
        self.on_message(message, ctx)
        return True

    def on_stop(self, reason: Reason, ctx: Context) -> None:
        """Give back what it holds; the last call, whatever the end was."""

    def get_state(self) -> Any:
        """Give what people may want to see of its state: a copy of its attributes, unless overridden."""
        return dict(vars(self))

    def report_state(self, answer: Answer) -> None:
        """Answer with `get_state`; overridden where the state is elsewhere."""
        answer.set_reply(self.get_state())


Maker: TypeAlias = Callable[[], object]
"""Gives a behaviour, on the thread of the actor that will have it."""
