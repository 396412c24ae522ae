"""An actor as all others see it: where they put messages, and the one moment of its end.

Owns the way into the actor's mailbox, why it ended, and who is told of that. Any thread may call
what is here. Never handles a message: that is `life`'s, on the actor's own thread.

Theory of operation. An actor is over for the world in one step, under its mailbox's lock
(`claim_end`): from then on nothing is taken in, what its mailbox held is taken out, and senders that
wait for room are let go. Whoever made that step, the actor itself or the one that gave it up, tells
everybody who watches (`tell_end`), each exactly once: the parent first. A watch that comes later is
answered at once; since it is entered under the same lock, none falls in between.

An `AskableMailbox` is the actor's own and is closed with it. Any other that was handed in belongs
to its giver: its data outlives the actor. What is in its control lane at the end is for the actor
that has ended and is dropped, in the same step, so that a successor neither misses what is meant
for it nor ends by what was not.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from supervisors.asking import Ask, AskableMailbox, PoisonPill
from supervisors.errors import MailboxClosedError
from supervisors.mailbox import Mailbox
from supervisors.reasons import ErrorRecord, Reason, StartFailed, is_clean
from supervisors.report import reporter

_log = reporter("supervisors")


class EndpointHost(Protocol):
    """What an endpoint needs of where its actor runs."""

    def now(self) -> float:
        """Seconds on the host's clock."""

    def may_wait(self) -> bool:
        """Whether the calling thread may wait for room in a mailbox: no actor's may."""

    def refuse_ring(self, life: Endpoint) -> None:
        """Raise `DeadlockError` if the calling actor must not wait for `life`."""

    def wait_answered(self, life: Endpoint, future: Future[Any], timeout: float | None) -> Any:
        """Wait for what was asked of `life`; raises as `LifeRef.ask`."""

    def enter_wait(
        self, life: Endpoint, is_over: Callable[[], bool], timeout: float | None
    ) -> AbstractContextManager[float | None]:
        """Give what the calling thread waits in, for at most the seconds that entering it gives.

        Args:
            life: who alone can end the wait.
            is_over: whether what is waited for is there.
            timeout: seconds to wait at most; None for no end.

        Raises:
            DeadlockError: on entering: `life` is the caller's own actor, or waits for it.
        """

    def note(self, event: str, measurements: dict[str, float], metadata: dict[str, Any]) -> None:
        """Tell those who listen that something happened."""


class End(NamedTuple):
    """What the step in which an actor ended has left to be told.

    Args:
        reason: why it ended.
        watchers: who is told, in order.
        undelivered: data that it had not taken.
    """

    reason: Reason
    watchers: tuple[Callable[[Reason], object], ...]
    undelivered: tuple[object, ...]


class Endpoint:
    """The outside of one actor.

    Args:
        host: where it runs.
        name: its name below its parent.
        mailbox: its own if it is an `AskableMailbox`, or one that was handed in.
        parent: the actor that has started it; None for a root.
    """

    def __init__(self, host: EndpointHost, name: str, *, mailbox: Mailbox, parent: Endpoint | None) -> None:
        self.name = name
        self.path: str = name if parent is None else f"{parent.path}/{name}"
        self.parent = parent
        self.reason: Reason | None = None
        """Why it ended; written once, under the mailbox's lock. Set means closed and fenced off."""
        self.is_given = not isinstance(mailbox, AskableMailbox)
        """Whether the mailbox belongs to somebody else and outlives the actor."""
        self.is_start_awaited = False
        """Whether somebody waits for a root's start, and is told how it went."""
        self.now = host.now
        """Seconds on the host's clock."""
        self._host = host
        self._mailbox = mailbox
        self._born_at = host.now()
        # Both guarded by the mailbox's lock. In the order in which they came, which a dict keeps.
        self._watchers: dict[int, Callable[[Reason], object]] = {}
        self._watches = 0
        self._on_started: Callable[[object], object] | None = None

    @property
    def mailbox(self) -> Mailbox:
        """Its mailbox."""
        return self._mailbox

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

    def put_data(self, message: object, timeout: float | None) -> None:
        """Put `message` into the data lane, by its overflow policy; raises as `Mailbox.put`."""
        self._mailbox.put(message, timeout if self._host.may_wait() else 0.0, is_over=self._is_over)

    def put_ask(self, ask: Ask, timeout: float | None = None) -> bool:
        """Put an ask in order with the data; into the control lane where that is its giver's.

        Returns:
            False if the actor has ended.

        Raises:
            MailboxFullError: as `Mailbox.put`.
        """
        if self.is_given:
            return self.put_control(ask)
        if self.reason is not None:
            return False
        try:
            self.put_data(ask, timeout)
        except MailboxClosedError:
            return False
        return True

    def refuse_ring(self) -> None:
        """Raise `DeadlockError` if the calling actor must not wait for this one."""
        if self.reason is None:
            self._host.refuse_ring(self)

    def wait_answered(self, future: Future[Any], timeout: float | None) -> Any:
        """Wait for what was asked of this actor; raises as `LifeRef.ask`."""
        return self._host.wait_answered(self, future, timeout)

    def enter_wait(self, is_over: Callable[[], bool], timeout: float | None) -> AbstractContextManager[float | None]:
        """Give what a thread waits in for what only this actor can do; raises as `EndpointHost.enter_wait`."""
        return self._host.enter_wait(self, is_over, timeout)

    def watch(self, notify: Callable[[Reason], object]) -> Callable[[], bool]:
        """Call `notify` once with the reason of the end, at once if it has ended; gives what takes that back."""
        with self._mailbox.lock:
            reason = self.reason
            if reason is None:
                self._watches = key = self._watches + 1
                self._watchers[key] = notify
        if reason is not None:
            notify(reason)
            return _never

        def unwatch() -> bool:
            with self._mailbox.lock:
                return self._watchers.pop(key, None) is not None

        return unwatch

    def on_started(self, notify: Callable[[object], object]) -> None:
        """Call `notify` when it is ready; to be said before it is launched."""
        self._on_started = notify

    def claim_end(self, reason: Reason) -> End | None:
        """End it, for the world; None if it has ended before."""
        mailbox = self._mailbox
        with mailbox.lock:
            if self.reason is not None:
                return None
            self.reason = reason
            watchers = tuple(self._watchers.values())
            self._watchers.clear()
            if self.is_given:
                mailbox.drain_control_held()
                mailbox.wake_senders_held()  # those that wait by a ref are told that it takes no more
                return End(reason, watchers, ())
            _, data = mailbox.close_held()
        return End(reason, watchers, _undelivered(data))

    def tell_end(self, end: End) -> None:
        """Tell of an end that `claim_end` gave."""
        reason = end.reason
        count = len(end.undelivered)
        if count:
            self._host.note("actor.undelivered", {"count": count}, {"path": self.path, "messages": end.undelivered})
            _log.info("actor %s %s; %d messages it had not taken are lost with it", self.path, reason, count)
        seconds = self.now() - self._born_at
        self._host.note("actor.ended", {"seconds": seconds}, {"path": self.path, "reason": reason})
        is_told = self.is_start_awaited and isinstance(reason, StartFailed)
        if self.parent is None and not is_clean(reason) and not is_told:
            # A root has nobody above it: the log is the last to hear of it.
            _log.error("actor %s %s%s", self.path, reason, _traceback_of(reason))
        for notify in end.watchers:
            try:
                notify(reason)
            except BaseException:  # noqa: BLE001  the others are to be told all the same
                _log.exception("what watched actor %s raised when it was told of the end", self.path)

    def _is_over(self) -> bool:
        return self.reason is not None


def _never() -> bool:
    """Say that the watch cannot be taken back any more."""
    return False


def _undelivered(data: list[object]) -> tuple[object, ...]:
    """Give the messages as they were sent, without asks that were given up."""
    wanted = [message for message in data if type(message) is not PoisonPill]
    return tuple(
        message.message if type(message) is Ask else message
        for message in wanted
        if type(message) is not Ask or message.answer.is_wanted
    )


def _traceback_of(reason: Reason) -> str:
    error: ErrorRecord | None = getattr(reason, "error", None)
    return f"\n{error.traceback}" if error is not None else ""
