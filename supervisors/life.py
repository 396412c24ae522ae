"""One actor's life, from its start to its end, apart from where it runs.

Owns the order in which an actor looks for work, its timers, its children, what it watches, and the
order of its end. What others do to it from outside, and how they are told of its end, is
`endpoint`'s. The hosts (`actor`, `testing`) own threads and waiting, and call `begin`, `turn` and
`finish`, one at a time, on the actor's own thread. Nothing that a behaviour raises comes out of a
life: it ends it.

Theory of operation. Control messages come before timers that are due, and these before
`Behavior.step`. A suspended actor takes control messages alone: those for the life itself are
handled, the others are held, and go back to the front of the lane when it is resumed.

An actor that was given up from outside (`give_up`) has ended for the world while its thread may
still be inside a call of its behaviour. Then nothing it does reaches anybody as this actor's: its
children are asked to end, and when the call returns, if ever, `finish` gives back what it holds.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

from supervisors.asking import Ask, AskableMailbox
from supervisors.behavior import Answer, Behavior, Maker, Monitor, Ref
from supervisors.endpoint import Endpoint, EndpointHost
from supervisors.mailbox import EMPTY, Mailbox
from supervisors.messages import (
    Down,
    Exit,
    GetState,
    HandedOver,
    Kill,
    Linked,
    Resume,
    Started,
    Suspend,
    Terminate,
    Unlinked,
)
from supervisors.parking import Parker, Poller
from supervisors.places.base import Listener, Place
from supervisors.reasons import Abandoned, Killed, Normal, Raised, Reason, Shutdown, StartFailed, is_clean, record_error
from supervisors.ref import LifeRef
from supervisors.report import reporter
from supervisors.ties import Ties
from supervisors.timers import PendingTimer, TimerQueue

MAX_WAIT = 86_400.0
"""Seconds that an actor sleeps at most before it looks again; keeps absurd delays off the system calls."""

_log = reporter("supervisors")


class Host(EndpointHost, Protocol):
    """What a life needs of where it runs."""

    def start_child(self, parent: Life, behavior: Behavior | Maker, name: str, mailbox: Mailbox | None) -> Life:
        """Give a new actor below `parent`, which `launch` sets going."""

    def launch(self, life: Life) -> None:
        """Let an actor run.

        Raises:
            StartError: the system gave no thread.
        """

    def stack_of(self, life: Life) -> str:
        """Where the actor is in its code at this moment, as text; "" where unknown."""

    def open_place(self, life: Life, listener: Listener, name: str, service: bytes) -> Place:
        """Give a place for one worker in a process of its own."""


class Life(Endpoint):
    """One actor (its `Context`).

    Args:
        host: where it runs.
        behavior: what it does, or what gives that on the actor's own thread.
        name: its name below its parent.
        mailbox: its mailbox; None for one of its own, without bound.
        parker: where it waits; closed at its end.
        rng: its source of randomness.
        parent: who is told of its end before all others; None for a root.

    Raises:
        SpecError: the mailbox is another actor's own.
    """

    _host: Host
    parent: Life | None

    def __init__(
        self,
        host: Host,
        behavior: Behavior | Maker,
        name: str,
        *,
        mailbox: Mailbox | None,
        parker: Parker,
        rng: random.Random,
        parent: Life | None,
    ) -> None:
        mailbox = AskableMailbox() if mailbox is None else mailbox
        super().__init__(host, name, mailbox=mailbox, parent=parent)
        self.is_suspended = False
        """Whether it takes nothing until it is resumed or asked to end."""
        self.is_finished = False
        """Whether its last call has returned: set after its end, and much later for one that was given up."""
        self.uses_poller: bool = getattr(behavior, "uses_poller", False)
        """Whether it waits for file descriptors too."""
        self._made: Behavior | Maker = behavior
        self._behavior: Behavior = behavior if isinstance(behavior, Behavior) else _UNBORN
        self._parker = parker
        self._seat = parker.seat if isinstance(parker, Poller) else None
        self._random = rng
        self._timers = TimerQueue()
        self._children: set[Ref] = set()
        self._ending: Reason | None = None
        self._ask: Ask | None = None
        self._held: list[object] = []
        self._ties = Ties()
        self._is_started = False
        self._ref = LifeRef(self)
        if isinstance(mailbox, AskableMailbox):
            mailbox.own(self)
        mailbox.attach(parker)

    # -- Context

    @property
    def ref(self) -> LifeRef:
        """This actor's own address."""
        return self._ref

    @ref.setter
    def ref(self, ref: LifeRef) -> None:
        self._ref = ref

    @property
    def random(self) -> random.Random:
        """The source of randomness, seeded in tests."""
        return self._random

    @property
    def parker(self) -> Parker:
        """Where this actor's thread waits."""
        return self._parker

    @property
    def behavior(self) -> Behavior:
        """What it does; for listings."""
        return self._behavior

    def set_timer(self, delay: float, message: object) -> PendingTimer:
        """Deliver `message` to this actor ahead of all data after `delay` seconds."""
        return self._timers.add(self._host.now() + delay, message)

    def start(
        self, behavior: Behavior | Maker, name: str, *, mailbox: Mailbox | None = None, wants_started: bool = False
    ) -> LifeRef:
        """Start a child actor.

        Raises:
            StartError: the system gave no thread.
        """
        life = self._host.start_child(self, behavior, name, mailbox)
        ref = life.ref
        life.watch(lambda reason: self.put_control(Down(ref, reason)))
        if wants_started:
            life.on_started(lambda info: self.put_control(Started(ref, info)))
        self._host.launch(life)
        self._children.add(ref)
        if self.reason is not None:
            self._end_child(ref)  # given up from outside, by one that did not see this child
        return ref

    def acknowledge(self, info: object = None) -> None:
        """Tell who started this actor that it is ready; nothing happens the second time."""
        if self._is_started or self.reason is not None:
            return
        self._is_started = True
        self._host.note("actor.started", {}, {"path": self.path, "pid": self.pid})
        if self._on_started is not None:
            self._on_started(info)

    def monitor(self, ref: Ref) -> Monitor:
        """Have exactly one `Down` come when `ref` ends."""
        return self._ties.monitor(self._ref, ref)

    def demonitor(self, monitor: Monitor, *, flush: bool = True) -> None:
        """Take a monitor back; with `flush` also a notice that is on its way."""
        self._ties.demonitor(monitor, flush=flush)

    def link(self, ref: Ref) -> None:
        """Tie this actor and `ref` together."""
        self._ties.link(self._ref, ref)

    def unlink(self, ref: Ref) -> None:
        """Untie this actor and `ref`."""
        self._ties.unlink(ref)

    def abandon(self, ref: Ref) -> str:
        """Give up a child that does not end, and give its stack."""
        if ref not in self._children or not isinstance(ref, LifeRef):
            return ""
        life = ref.life
        stack = self._host.stack_of(life) if isinstance(life, Life) else ""
        if isinstance(life, Life) and life.give_up(Abandoned(stack)):
            self._host.note("actor.abandoned", {}, {"path": life.path, "stack": stack})
        return stack

    def reply(self, value: object) -> None:
        """Answer the ask that is being handled."""
        ask, self._ask = self._ask, None
        if ask is not None:
            ask.answer.set_reply(value)

    def defer(self) -> Answer | None:
        """Take the ask that is being handled, to answer it later."""
        ask, self._ask = self._ask, None
        return None if ask is None else ask.answer

    def stop(self, reason: Reason) -> None:
        """End this actor, with `reason`, when the present call returns; the first call counts."""
        if self._ending is None:
            self._ending = reason

    def note(self, event: str, measurements: dict[str, float], metadata: dict[str, Any]) -> None:
        """Tell those who listen that something happened."""
        self._host.note(event, measurements, metadata)

    def open_place(self, listener: Listener, name: str, service: bytes) -> Place:
        """Give a place for one worker in a process of its own."""
        return self._host.open_place(self, listener, name, service)

    # -- for hosts, on the actor's thread

    @property
    def is_going_on(self) -> bool:
        """Whether `turn` is to be called again."""
        return self._ending is None and self.reason is None

    def begin(self) -> None:
        """Make the first call of the behaviour."""
        if self.reason is not None:
            return  # given up before it began
        try:
            if not isinstance(self._made, Behavior):
                made = self._made()
                if isinstance(made, Behavior) and self.reason is not None:
                    return  # given up while it was made
                self._behavior = made if isinstance(made, Behavior) else _Starter(made)
            behavior = self._behavior
            if behavior.uses_poller and not self.uses_poller:
                name = type(behavior).__name__
                raise TypeError(f"{name} uses a poller: what makes it must say so by an attribute `uses_poller`")  # noqa: TRY301
            behavior.on_start(self)
        except BaseException as error:  # noqa: BLE001  whatever it raises is its end
            self.fail(error)
            return
        if self._ending is None and not behavior.acknowledges:
            self.acknowledge()

    def turn(self) -> bool:
        """Do one piece of work; False when there is none, and the actor may sleep."""
        try:
            mailbox = self._mailbox
            if mailbox.control:
                message = mailbox.try_take_control(EMPTY)
                if message is not EMPTY:
                    self._handle_control(message)
                    return True
            if self.is_suspended:
                return False
            if self._timers:
                timer = self._timers.take_due(self._host.now())
                if timer is not None:
                    self._handle_control(timer.fire())
                    return True
            worked = self._behavior.step(self)
            if self._ask is not None:
                self.reply(None)
                worked = True  # an ask of None looks like no message, and there may be more behind it
        except BaseException as error:  # noqa: BLE001  whatever it raises is its end
            self.fail(error)
            return True
        return worked or self._ending is not None

    def rest(self, seen: int) -> None:
        """Sleep until there may be work: a ring since `seen`, a timer, or what the parker watches."""
        try:
            self._mailbox.sleep(seen, self._seconds_to_timer() if self._timers else None)
        except BaseException as error:  # noqa: BLE001  a callback of a poller is the behaviour's
            self.fail(error)

    def look_around(self) -> None:
        """Serve what the parker watches, without sleeping."""
        try:
            self._parker.park(0.0)
        except BaseException as error:  # noqa: BLE001  as in `rest`
            self.fail(error)

    def next_timer(self) -> float | None:
        """Clock reading at which the earliest timer is due; None without one that could fire."""
        return None if self.is_suspended else self._timers.next_due()

    def fail(self, error: BaseException) -> None:
        """Let the actor end by `error`, whatever end was asked for before."""
        record = record_error(error)
        self._ending = Raised(record) if self._is_started else StartFailed(record)
        ask, self._ask = self._ask, None
        if ask is not None:
            ask.answer.set_error(error)

    def finish(self) -> None:
        """End it: give back what it holds, then tell those who watch."""
        # One that was given up is told to nobody again, yet gives back what it holds.
        reason = self.reason or self._ending or Normal()
        try:
            self._behavior.on_stop(reason, self)
        except BaseException:  # noqa: BLE001  there is nobody left whom it could end
            _log.exception("actor %s raised at its end, after it %s", self.path, reason)
        finally:
            self._timers.clear()
            for child in self._children:
                self._end_child(child)
            self._children.clear()
            self._held.clear()
            self._ties.clear()
            end = self.claim_end(reason)
            self._parker.close()
            self.is_finished = True
            if end is not None:
                self.tell_end(end)

    def take_up(self, ask: Ask) -> object:
        """Make `ask` the one that is being handled; gives its message."""
        if self._ask is not None:
            self.reply(None)
        self._ask = ask
        return ask.message

    # -- for refs, on any thread

    @property
    def pid(self) -> int | None:
        """The process in which it does its work, if that is another one."""
        return getattr(self._behavior, "pid", None)

    @property
    def can_be_killed(self) -> bool:
        """Whether what it runs can be ended by force."""
        return self._behavior.handles_kill

    def give_up(self, reason: Abandoned | Killed) -> bool:
        """Fence the actor off; False if it has ended."""
        end = self.claim_end(reason)
        if end is None:
            return False
        self._parker.unpark()
        for child in tuple(self._children):
            self._end_child(child)  # its own thread may never come to that
        self.tell_end(end)
        return True

    def run_here(self, work: Callable[[], Callable[[], bool] | None]) -> bool:
        """Do a piece of work of this actor's on the calling thread, if its own one sleeps."""
        seat, mailbox = self._seat, self._mailbox
        if seat is None or not seat.acquire(blocking=False):
            return False
        try:
            # Read before looking for work, as the actor does itself.
            seen = mailbox.rings
            if mailbox.control or self.is_suspended or self._ending is not None or self.reason is not None:
                return False
            try:
                finish = work()
            except BaseException as error:  # noqa: BLE001  as in `turn`: it is the actor's end, and nobody else's
                self.fail(error)
                return False
            may_sleep = finish is not None and mailbox.fall_asleep(seen)
        finally:
            seat.release()
        return (finish is None or finish()) and may_sleep

    def kill(self) -> None:
        """End it now: what it runs elsewhere by force, itself by fencing it off."""
        if self._behavior.handles_kill:
            self.put_control(Kill())
        else:
            self.give_up(Killed())

    # -- private

    def _handle_control(self, message: object) -> None:
        if isinstance(message, _SYSTEM):
            self._handle_system(message)
        elif isinstance(message, Terminate):
            self._resume()
            if self._behavior.handles_terminate:
                self._hand_over(message)
            else:
                self.stop(message.reason)
        elif isinstance(message, Kill) and self._behavior.handles_kill:
            self._resume()
            self._hand_over(message)
        elif self.is_suspended:
            self._held.append(message)
        elif isinstance(message, Down | Exit):
            self._take_notice(message)
        elif isinstance(message, Started):
            if message.ref in self._children:  # else it was given up before it was ready, and its Down has come
                self._hand_over(message)
        elif isinstance(message, Ask):
            self._take_ask(message)
        else:
            self._hand_over(message)

    def _handle_system(self, message: Suspend | Resume | GetState | Linked | Unlinked) -> None:
        match message:
            case Suspend():
                self.is_suspended = True
            case Resume():
                self._resume()
            case GetState(answer):
                self._report_state(answer)
            case Linked() | Unlinked():
                self._ties.accept(self._ref, message)

    def _take_notice(self, notice: Down | Exit) -> None:
        if not self._ties.is_current(notice):
            return
        self._children.discard(notice.ref)
        if isinstance(notice, Exit) and not self._behavior.traps_exits:
            if not is_clean(notice.reason):
                self.stop(notice.reason)
            return
        self._hand_over(notice)

    def _take_ask(self, ask: Ask) -> None:
        if ask.answer.is_wanted:  # else its sender has given up: it is never handled
            self._hand_over(self.take_up(ask))

    def _hand_over(self, message: object) -> None:
        self._behavior.on_message(message, self)
        if self._ask is not None:
            self.reply(None)

    def _resume(self) -> None:
        self.is_suspended = False
        held, self._held = self._held, []
        if held:
            self._mailbox.put_control_first(held)

    def _report_state(self, answer: Answer) -> None:
        # A behaviour that cannot tell its state is no reason to end it: somebody was curious.
        try:
            self._behavior.report_state(answer)
        except Exception as error:  # noqa: BLE001  it is told to who asked
            answer.set_error(error)

    def _seconds_to_timer(self) -> float | None:
        due = None if self.is_suspended else self._timers.next_due()
        return None if due is None else min(max(0.0, due - self._host.now()), MAX_WAIT)

    def _end_child(self, child: Ref) -> None:
        child.signal(Terminate(Shutdown(f"{self.path} ended")))


class _Starter(Behavior):
    """Hands over what a maker gave, and ends."""

    acknowledges = True

    def __init__(self, result: object) -> None:
        self._result = result

    def on_start(self, ctx: Any) -> None:
        ctx.acknowledge(HandedOver(self._result))
        ctx.stop(Normal())


_SYSTEM = (Suspend, Resume, GetState, Linked, Unlinked)
"""Messages that the life itself handles, also while it is suspended."""
_UNBORN = Behavior()
"""Stands in until the actor's own thread has made its behaviour."""
