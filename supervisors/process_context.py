"""The context of a behaviour that runs in a process of its own.

Owns what the behaviour is given there (address, mailbox, clock, randomness, timers, answers) and
the tale of what it did, an `Outcome`, until that is sent to its proxy actor. Everything that somebody
else may wait for is sent at once, as on a thread; timers go with the end of the call. Never
handles a message: that is `behavior_service`'s.

What needs the actors of the parent (children, monitors, links, places) cannot be done from here,
and raises `NotInProcessError`. So does anything that is done from another thread of the process: it
could be told only when the next message comes, maybe never.
"""

from __future__ import annotations

import random
import reprlib
import threading
from collections.abc import Callable
from typing import Any, NoReturn, get_args

from supervisors.behavior import Behavior, Maker, Monitor, Ref
from supervisors.errors import (
    ActorEndedError,
    DeadlockError,
    NotInProcessError,
    ValueDecodingError,
    ValueEncodingError,
)
from supervisors.mailbox import Mailbox
from supervisors.places.base import Listener
from supervisors.reasons import ErrorRecord, Reason, record_error
from supervisors.wire.requests import NOTHING, Outcome, encode_outcome
from supervisors.wire.values import decode, encode, is_plain

_REASONS = get_args(Reason)


class OwnRef:
    """The behaviour's own address (`Ref`), for itself alone.

    Args:
        name: the actor's name.
        path: the actor's path.
        mailbox: what it sends to itself.
    """

    reason: Reason | None = None
    """None: who calls this lives."""

    def __init__(self, name: str, path: str, mailbox: Mailbox) -> None:
        self.name = name
        self.path = path
        self._mailbox = mailbox
        self._thread = threading.get_ident()

    def __repr__(self) -> str:
        return f"<OwnRef {self.path}>"

    def __getstate__(self) -> NoReturn:
        raise NotInProcessError("sending its own address", "whoever started the actor has its address")

    def tell(self, message: object) -> bool:
        """Put `message` into the data lane; it is handled after the present call."""
        self._check_thread()
        self._mailbox.put(message)
        return True

    def signal(self, message: object) -> bool:
        """Put `message` into the control lane, ahead of what it told itself."""
        self._check_thread()
        self._mailbox.put_control(message)
        return True

    def ask(self, message: object, timeout: float | None = None) -> NoReturn:
        """Refuse: it would wait for itself.

        Raises:
            DeadlockError: always.
        """
        raise DeadlockError((self.path, self.path))

    def watch(self, notify: Callable[[Reason], object]) -> NoReturn:
        """Refuse; see the module."""
        raise NotInProcessError("watching its own end", "override on_stop")

    def kill(self) -> NoReturn:
        """Refuse; see the module."""
        raise NotInProcessError("killing itself through its address", "call ctx.stop, or end the process")

    def _check_thread(self) -> None:
        if threading.get_ident() != self._thread:
            raise NotInProcessError(
                "a message from another thread of its process", "look for what threads did by a timer"
            )


class OwnTimer:
    """A timer that waits in the parent; its message stays here.

    Args:
        context: whose it is.
        number: names it.
        due: clock reading at which it is due.
        message: what is handled then.
    """

    __slots__ = ("_context", "due", "message", "number")

    def __init__(self, context: ProcessContext, number: int, due: float, message: object) -> None:
        self._context = context
        self.number = number
        self.due = due
        self.message = message

    def cancel(self) -> None:
        """Forget the timer; nothing happens if it has fired or was cancelled already."""
        self._context.cancel_timer(self)


class OwnAnswer:
    """Where the reply to an ask goes (`Answer`); for the calls of the behaviour alone.

    Args:
        context: whose it is.
        ask: the number of the ask.
        path: the actor's path, for errors.
    """

    is_wanted = True
    """Whether its sender still waits is known to the proxy alone."""

    def __init__(self, context: ProcessContext, ask: int, path: str) -> None:
        self._context = context
        self._ask = ask
        self._path = path
        self._thread = threading.get_ident()

    def set_reply(self, value: object) -> None:
        """Hand over the reply; nothing happens the second time."""
        ask = self._take()
        if ask:
            self._context.send_reply(ask, value)

    def set_error(self, error: BaseException) -> None:
        """Hand over what the handling raised."""
        ask = self._take()
        if ask:
            self._context.send_failure(ask, error)

    def set_dead(self, reason: Reason) -> None:
        """Tell that nobody will answer."""
        self.set_error(ActorEndedError(self._path, reason))

    def _take(self) -> int:
        if threading.get_ident() != self._thread:
            raise NotInProcessError("an answer from another thread of its process", "give it in a message or a timer")
        ask, self._ask = self._ask, 0
        return ask


class ProcessContext:
    """What a behaviour may do to the world (`Context`).

    Args:
        name: the actor's name.
        path: the actor's path.
        seed: what its randomness is drawn from.
        clock: gives the time in seconds.
    """

    def __init__(self, name: str, path: str, seed: int, clock: Callable[[], float]) -> None:
        self.now = clock
        """Seconds on a clock that never goes back."""
        self.mailbox = Mailbox()
        """What it sends to itself; looked into after each request."""
        self.random = random.Random(seed)  # noqa: S311
        self.ref = OwnRef(name, path, self.mailbox)
        self.ending: Reason | None = None
        """Why it ends; None while nothing has ended it."""
        self.is_acknowledged = False
        """Whether it has said that it is ready."""
        self.send: Callable[[bytes], None] | None = None
        """Sends an outcome ahead of the end of the request; None while there is no request."""
        self._ask = 0
        self._timers: dict[int, OwnTimer] = {}
        self._timer_count = 0
        self._new_timers: list[OwnTimer] = []
        self._fields: dict[str, Any] = {}

    # -- Context

    @property
    def parker(self) -> NoReturn:
        """Refuse; see the module."""
        raise NotInProcessError("waiting at a parker", "wait inside a call, or set a timer")

    def set_timer(self, delay: float, message: object) -> OwnTimer:
        """Have `message` handled after `delay` seconds, ahead of data that is not yet handed over."""
        self._timer_count += 1
        timer = OwnTimer(self, self._timer_count, self.now() + delay, message)
        self._timers[timer.number] = timer
        self._new_timers.append(timer)
        return timer

    def acknowledge(self, info: object = None) -> None:
        """Tell who started this actor that it is ready; nothing happens the second time.

        Raises:
            ValueEncodingError: `info` does not travel.
        """
        if not self.is_acknowledged:
            self._fields["acknowledged"] = encode(info, "info")
            self.is_acknowledged = True
            self._send_now()

    def reply(self, value: object) -> None:
        """Answer the ask that is being handled; one that does not travel is told to the asker as an error."""
        ask, self._ask = self._ask, 0
        if ask:
            self.send_reply(ask, value)

    def defer(self) -> OwnAnswer | None:
        """Take the ask that is being handled, to answer it from a later message or timer."""
        ask, self._ask = self._ask, 0
        return OwnAnswer(self, ask, self.ref.path) if ask else None

    def stop(self, reason: Reason) -> None:
        """End this actor, with `reason`, when the present call returns; the first call counts.

        Raises:
            TypeError: `reason` is none of `supervisors.reasons`.
        """
        if not isinstance(reason, _REASONS):
            raise TypeError(f"reason: expected one of supervisors.reasons, got {reason!r}")
        if self.ending is None:
            self.ending = reason

    def note(self, event: str, measurements: dict[str, float], metadata: dict[str, Any]) -> None:
        """Tell those who listen in the parent that something happened.

        Metadata that MessagePack does not give back as it is travels as the text of its `repr`.
        """
        plain = {str(key): value if is_plain(value) else reprlib.repr(value) for key, value in metadata.items()}
        self._list("notes").append((event, {key: float(value) for key, value in measurements.items()}, plain))
        self._send_now()

    def start(
        self, behavior: Behavior | Maker, name: str, *, mailbox: Mailbox | None = None, wants_started: bool = False
    ) -> NoReturn:
        """Refuse; see the module."""
        raise NotInProcessError("starting a child", "have its supervisor start it in the parent")

    def monitor(self, ref: Ref) -> NoReturn:
        """Refuse; see the module."""
        raise NotInProcessError("monitoring another actor", "have an actor of the parent do so and tell this one")

    def demonitor(self, monitor: Monitor, *, flush: bool = True) -> NoReturn:
        """Refuse; see the module."""
        raise NotInProcessError("taking a monitor back", "it has none")

    def link(self, ref: Ref) -> NoReturn:
        """Refuse; see the module."""
        raise NotInProcessError(
            "linking itself to another actor", "have an actor of the parent link itself to this one"
        )

    def unlink(self, ref: Ref) -> NoReturn:
        """Refuse; see the module."""
        raise NotInProcessError("untying a link", "have the actor that made it do so")

    def abandon(self, ref: Ref) -> NoReturn:
        """Refuse; see the module."""
        raise NotInProcessError("abandoning a child", "it has none")

    def run_here(self, work: Callable[[], Callable[[], bool] | None]) -> bool:
        """Leave all work to the actor's own thread."""
        return False

    def open_place(self, listener: Listener, name: str, service: bytes) -> NoReturn:
        """Refuse; see the module."""
        raise NotInProcessError("opening a place", "have an actor of the parent do so")

    # -- for the service

    def begin_ask(self, ask: int) -> None:
        """Make `ask` the one that is being handled; 0 for none."""
        self._ask = ask

    def fail_present_ask(self, error: BaseException) -> None:
        """Tell who asked what the handling raised; nothing happens when it was no ask, or is answered."""
        ask, self._ask = self._ask, 0
        if ask:
            self.send_failure(ask, error)

    def send_reply(self, ask: int, value: object) -> None:
        """Answer an ask."""
        try:
            body = encode(value, "reply")
        except ValueEncodingError as error:
            self.send_failure(ask, error)
            return
        self._list("replies").append((ask, body))
        self._send_now()

    def send_failure(self, ask: int, error: BaseException) -> None:
        """Answer an ask by an exception."""
        failure: tuple[int, ErrorRecord, bytes | None] = (ask, record_error(error), _encode_error(error))
        self._list("failures").append(failure)
        self._send_now()

    def tell_refused(self, text: str) -> None:
        """Say why the message of the present request cannot be handled."""
        self._fields["refused"] = text

    def tell_takes_terminate(self) -> None:
        """Say that `Terminate` is wanted as a message."""
        self._fields["takes_terminate"] = True

    def tell_more(self) -> None:
        """Say that messages to itself are left."""
        self._fields["has_more"] = True

    def take_timer(self, number: int) -> OwnTimer | None:
        """Take a timer that is due; None if it was cancelled meanwhile."""
        return self._timers.pop(number, None)

    def cancel_timer(self, timer: OwnTimer) -> None:
        """Forget a timer, here and in the parent."""
        if self._timers.pop(timer.number, None) is None:
            return
        if timer in self._new_timers:
            self._new_timers.remove(timer)
        else:
            self._list("cancelled").append(timer.number)

    def take_outcome(self) -> Outcome:
        """Give what was done since this was called before."""
        fields, self._fields = self._fields, {}
        timers, self._new_timers = self._new_timers, []
        if timers:
            now = self.now()
            fields["timers"] = [(timer.number, max(0.0, timer.due - now)) for timer in timers]
        return Outcome(**fields) if fields else NOTHING

    def _list(self, field: str) -> list[Any]:
        values: list[Any] = self._fields.setdefault(field, [])
        return values

    def _send_now(self) -> None:
        if self.send is not None:
            self.send(encode_outcome(self.take_outcome()))


def _encode_error(error: BaseException) -> bytes | None:
    """Encode an exception if it comes out as it went in; many take other arguments than they keep."""
    try:
        body = encode(error, "error")
        return body if isinstance(decode(body), BaseException) else None
    except (ValueEncodingError, ValueDecodingError):
        return None
