"""One actor's life, from its start to its end, apart from where it runs.

Owns the order in which an actor looks for work, its timers, its children, and the order of its
end. The hosts (`actor`, `testing`) own threads and waiting, and call `begin`, `turn` and
`finish`, one at a time. Nothing that a behaviour raises comes out of a life: it ends it.

Theory of operation. Control messages come before timers that are due, and these before
`Behavior.step`. A life is over for the world in one step, under its mailbox's lock (`_claim_end`):
from then on its refs take nothing, and whoever made that step, the actor itself or the parent
that gave it up, puts the one `Down` into the parent's control lane.

A mailbox that was handed in belongs to its giver: its data outlives the actor. What is left in
its control lane is for the actor that has ended and is dropped.
"""

from __future__ import annotations

import logging
import random
from typing import Any, Protocol

from supervisors.asking import Ask, AskableMailbox
from supervisors.behavior import Behavior, Ref
from supervisors.errors import MailboxClosedError
from supervisors.mailbox import Mailbox
from supervisors.messages import Down, Terminate
from supervisors.parking import Parker
from supervisors.reasons import Abandoned, ErrorRecord, Normal, Raised, Reason, Shutdown, is_clean, record_error
from supervisors.timers import PendingTimer, TimerQueue

MAX_WAIT = 86_400.0
"""Seconds that an actor sleeps at most before it looks again; keeps absurd delays off the system calls."""

_log = logging.getLogger("supervisors")


class Host(Protocol):
    """What a life needs of where it runs."""

    def now(self) -> float:
        """Seconds on the host's clock."""

    def start_child(self, parent: Life, behavior: Behavior, name: str, mailbox: Mailbox | None) -> LifeRef:
        """Start an actor below `parent`."""

    def stack_of(self, ref: LifeRef) -> str:
        """Where the actor is in its code at this moment, as text; "" where unknown."""


class LifeRef:
    """The address of an actor (`Ref`), and what is known of its end. Any thread may use it."""

    __slots__ = ("_life",)

    def __init__(self, life: Life) -> None:
        self._life = life

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}>"

    @property
    def name(self) -> str:
        """The actor's name, unique below its parent."""
        return self._life.name

    @property
    def path(self) -> str:
        """The names of its ancestors and its own, joined by slashes."""
        return self._life.path

    @property
    def reason(self) -> Reason | None:
        """Why it ended; None while it lives."""
        return self._life.reason

    def tell(self, message: object) -> bool:
        """Put `message` into the data lane; False if the actor takes no more messages.

        Raises:
            MailboxFullError: the data lane is at its bound.
        """
        if self._life.reason is not None:
            return False
        try:
            self._life.mailbox.put(message)
        except MailboxClosedError:
            return False
        return True

    def signal(self, message: object) -> bool:
        """Put `message` into the control lane, ahead of all data; False after its end."""
        return self._life.put_control(message)


class Life:
    """One actor (its `Context`).

    Args:
        host: where it runs.
        behavior: what it does.
        name: its name below its parent.
        mailbox: its mailbox.
        is_given: whether the mailbox belongs to somebody else and outlives the actor.
        parker: where it waits; closed at its end.
        rng: its source of randomness.
        parent: who is told of its end; None for a root.
    """

    def __init__(
        self,
        host: Host,
        behavior: Behavior,
        name: str,
        *,
        mailbox: Mailbox,
        is_given: bool,
        parker: Parker,
        rng: random.Random,
        parent: Life | None,
    ) -> None:
        self.name = name
        self.path: str = name if parent is None else f"{parent.path}/{name}"
        self.reason: Reason | None = None
        """Why it ended; written once, under the mailbox's lock. Set means closed and fenced off."""
        self.is_given = is_given
        self._host = host
        self.now = host.now
        """Seconds on the host's clock."""
        self._behavior = behavior
        self._mailbox = mailbox
        self._parker = parker
        self._random = rng
        self._parent = parent
        self._timers = TimerQueue()
        self._children: set[Ref] = set()
        self._ending: Reason | None = None
        self._ask: Ask | None = None
        self._ref = LifeRef(self)
        if isinstance(mailbox, AskableMailbox):
            mailbox.owner = self
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
    def mailbox(self) -> Mailbox:
        """This actor's own mailbox."""
        return self._mailbox

    @property
    def random(self) -> random.Random:
        """The source of randomness, seeded in tests."""
        return self._random

    @property
    def parker(self) -> Parker:
        """Where this actor's thread waits."""
        return self._parker

    def set_timer(self, delay: float, message: object) -> PendingTimer:
        """Deliver `message` to this actor ahead of all data after `delay` seconds."""
        return self._timers.add(self._host.now() + delay, message)

    def start(self, behavior: Behavior, name: str, *, mailbox: Mailbox | None = None) -> LifeRef:
        """Start a child actor.

        Raises:
            StartError: the system gave no thread.
        """
        ref = self._host.start_child(self, behavior, name, mailbox)
        self._children.add(ref)
        return ref

    def abandon(self, ref: Ref) -> str:
        """Give up a child that does not end, and give its stack."""
        if ref not in self._children or not isinstance(ref, LifeRef):
            return ""
        stack = self._host.stack_of(ref)
        ref._life.give_up(Abandoned(stack))  # noqa: SLF001  a ref is the life's own door
        return stack

    def reply(self, value: object) -> None:
        """Answer the ask that is being handled."""
        ask, self._ask = self._ask, None
        if ask is not None:
            ask.answer.set_reply(value)

    def stop(self, reason: Reason) -> None:
        """End this actor, with `reason`, when the present call returns; the first call counts."""
        if self._ending is None:
            self._ending = reason

    # -- for hosts, on the actor's thread

    @property
    def uses_poller(self) -> bool:
        """Whether its behaviour waits for file descriptors too."""
        return self._behavior.uses_poller

    @property
    def is_going_on(self) -> bool:
        """Whether `turn` is to be called again."""
        return self._ending is None and self.reason is None

    def begin(self) -> None:
        """Make the first call of the behaviour."""
        try:
            self._behavior.on_start(self)
        except BaseException as error:  # noqa: BLE001  whatever it raises is its end
            self.fail(error)

    def turn(self) -> bool:
        """Do one piece of work; False when there is none, and the actor may sleep."""
        try:
            message = self._mailbox.try_take_control()
            if message is not None:
                self._handle_control(message)
                return True
            if self._timers:
                timer = self._timers.take_due(self._host.now())
                if timer is not None:
                    self._handle_control(timer.fire())
                    return True
            worked = self._behavior.step(self)
            if self._ask is not None:
                self.reply(None)
        except BaseException as error:  # noqa: BLE001  whatever it raises is its end
            self.fail(error)
            return True
        return worked or self._ending is not None

    def rest(self, seen: int) -> None:
        """Sleep until there may be work: a ring since `seen`, a timer, or what the parker watches."""
        try:
            self._mailbox.sleep(seen, self._seconds_to_timer())
        except BaseException as error:  # noqa: BLE001  a callback of a poller is the behaviour's
            self.fail(error)

    def look_around(self) -> None:
        """Serve what the parker watches, without sleeping."""
        try:
            self._parker.park(0.0)
        except BaseException as error:  # noqa: BLE001  as in `rest`
            self.fail(error)

    def next_timer(self) -> float | None:
        """Clock reading at which the earliest timer is due; None without timers."""
        return self._timers.next_due()

    def fail(self, error: BaseException) -> None:
        """Let the actor end by `error`, whatever end was asked for before."""
        ask, self._ask = self._ask, None
        if ask is not None:
            ask.answer.set_error(error)
        self._ending = Raised(record_error(error))

    def finish(self) -> None:
        """End it: give back what it holds, then tell its parent."""
        # One that was given up is told to nobody again, yet gives back what it holds.
        reason = self.reason or self._ending or Normal()
        try:
            self._behavior.on_stop(reason, self)
        except BaseException:  # noqa: BLE001  there is nobody left whom it could end
            _log.exception("actor %s raised at its end, after it %s", self.path, reason)
        finally:
            self._timers.clear()
            for child in self._children:
                child.signal(Terminate(Shutdown(f"{self.path} ended")))
            self._children.clear()
            told = self._claim_end(reason)
            if not self.is_given:
                control, data = self._mailbox.close()
                _tell_dead([*control, *data])
            elif told:
                _tell_dead(self._drain_control())
            self._parker.close()
            if told:
                self._tell_parent(reason)

    def take_up(self, ask: Ask) -> object:
        """Make `ask` the one that is being handled; gives its message."""
        if self._ask is not None:
            self.reply(None)
        self._ask = ask
        return ask.message

    # -- for refs, on any thread

    def put_control(self, message: object) -> bool:
        """Put `message` into the control lane unless the actor has ended; tells whether."""
        mailbox = self._mailbox
        with mailbox.lock:
            if self.reason is not None:
                return False
            wake = mailbox.append_control_held(message)
        if wake:
            mailbox.unpark()
        return True

    def give_up(self, reason: Abandoned) -> None:
        """Fence the actor off, from its parent's thread; nothing happens if it has ended."""
        if self._claim_end(reason):
            self._tell_parent(reason)
            self._parker.unpark()

    # -- private

    def _handle_control(self, message: object) -> None:
        if type(message) is Terminate and not self._behavior.handles_terminate:
            self.stop(message.reason)
            return
        if type(message) is Down:
            self._children.discard(message.ref)
        if type(message) is Ask:
            message = self.take_up(message)
        self._behavior.on_message(message, self)
        if self._ask is not None:
            self.reply(None)

    def _seconds_to_timer(self) -> float | None:
        due = self._timers.next_due()
        return None if due is None else min(max(0.0, due - self._host.now()), MAX_WAIT)

    def _claim_end(self, reason: Reason) -> bool:
        with self._mailbox.lock:
            if self.reason is not None:
                return False
            self.reason = reason
            return True

    def _drain_control(self) -> list[object]:
        drained: list[object] = []
        while (message := self._mailbox.try_take_control()) is not None:
            drained.append(message)
        return drained

    def _tell_parent(self, reason: Reason) -> None:
        if self._parent is not None:
            self._parent.put_control(Down(self._ref, reason))
        elif not is_clean(reason):
            # A root has nobody to tell: the log is the last to hear of it.
            _log.error("actor %s %s%s", self.path, reason, _traceback_of(reason))


def _tell_dead(left: list[Any]) -> None:
    for message in left:
        if type(message) is Ask:
            message.answer.set_dead()


def _traceback_of(reason: Reason) -> str:
    error: ErrorRecord | None = getattr(reason, "error", None)
    return f"\n{error.traceback}" if error is not None else ""
