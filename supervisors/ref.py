"""The address of an actor: what anybody may do to it, from any thread.

Owns nothing: each call goes to the actor's life. Never keeps an actor from ending.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol

from supervisors.asking import Ask, FutureAnswer
from supervisors.errors import ActorEndedError, AskTimeoutError, MailboxClosedError
from supervisors.mailbox import Mailbox, MailboxStats
from supervisors.messages import GetState, Resume, Suspend
from supervisors.reasons import Reason


class Addressed(Protocol):
    """What a ref needs of a life."""

    name: str
    path: str
    reason: Reason | None

    @property
    def mailbox(self) -> Mailbox:
        """Its mailbox."""

    @property
    def pid(self) -> int | None:
        """The process in which it does its work, if that is another one."""

    @property
    def is_suspended(self) -> bool:
        """Whether it takes nothing until it is resumed."""

    @property
    def is_finished(self) -> bool:
        """Whether its last call has returned."""

    @property
    def can_be_killed(self) -> bool:
        """Whether what it runs can be ended by force."""

    @property
    def behavior(self) -> object:
        """What it does."""

    def put_control(self, message: object) -> bool:
        """Put into the control lane; False after its end."""

    def put_data(self, message: object, timeout: float | None) -> None:
        """Put into the data lane, by its overflow policy; raises as `Mailbox.put`."""

    def now(self) -> float:
        """Seconds on the clock of where it runs."""

    def put_ask(self, ask: Ask, timeout: float | None = None) -> bool:
        """Put an ask where it is handled in order; False after its end."""

    def refuse_ring(self) -> None:
        """Raise `DeadlockError` if the calling actor must not wait for it."""

    def watch(self, notify: Callable[[Reason], object]) -> Callable[[], bool]:
        """Call `notify` once at its end."""

    def on_started(self, notify: Callable[[object], object]) -> None:
        """Call `notify` when it is ready."""

    def kill(self) -> None:
        """End it now."""

    def wait_answered(self, future: Future[Any], timeout: float | None) -> Any:
        """Wait for what was asked of it."""


class LifeRef:
    """The address of an actor (`Ref`), and what is known of its end. Any thread may use it."""

    __slots__ = ("_life",)

    def __init__(self, life: Addressed) -> None:
        self._life = life

    @property
    def life(self) -> Addressed:
        """The actor itself; for hosts."""
        return self._life

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

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._life.reason is None

    @property
    def pid(self) -> int | None:
        """The process that does its work, for a process-backed actor; None while it has none."""
        return self._life.pid

    @property
    def is_suspended(self) -> bool:
        """Whether it takes nothing until it is resumed."""
        return self._life.is_suspended

    @property
    def is_finished(self) -> bool:
        """Whether its last call has returned: after its end, and much later for one that was given up."""
        return self._life.is_finished

    @property
    def can_be_killed(self) -> bool:
        """Whether `kill` ends what it runs: a process can be, a thread is only fenced off."""
        return self._life.can_be_killed

    @property
    def mailbox_stats(self) -> MailboxStats:
        """What its mailbox has taken in and holds."""
        return self._life.mailbox.stats()

    def tell(self, message: object, timeout: float | None = None) -> bool:
        """Put `message` into the data lane; False if the actor takes no more messages.

        Args:
            message: what to put.
            timeout: seconds to wait for room where the mailbox lets its senders wait; None: no end
                but the actor's. An actor never waits here: for it a full mailbox is full.

        Raises:
            MailboxFullError: the data lane is at its bound, and was for `timeout` seconds where it
                lets its senders wait.
        """
        if self._life.reason is not None:
            return False
        try:
            self._life.put_data(message, timeout)
        except MailboxClosedError:
            return False
        return True

    def signal(self, message: object) -> bool:
        """Put `message` into the control lane, ahead of all data; False after its end."""
        return self._life.put_control(message)

    def ask(self, message: object, timeout: float | None = None) -> Any:
        """Send `message` and wait for the reply, which comes after all data before it.

        Args:
            message: what to ask.
            timeout: seconds to wait at most, for room and for the reply; None for no end but the
                actor's. For room alone, an actor never waits.

        Returns:
            What the actor gave to `Context.reply` (or to the deferred answer); None if it gave nothing.

        Raises:
            ActorEndedError: it ended without answering.
            AskTimeoutError: it did not answer in time; a message it had not begun is never handled.
            DeadlockError: it is the asker itself, or waits for it, directly or around a ring of asks;
                then nothing was sent.
            MailboxFullError: the data lane is at its bound, as for `tell`; or the message was dropped
                out of it, by its overflow policy.
            Exception: what the handling raised; it ended the actor.
        """
        self._life.refuse_ring()
        before = self._life.now()
        future = self.ask_future(message, timeout)
        if timeout is not None and self._life.mailbox.overflow == "wait":
            timeout = max(0.0, before + timeout - self._life.now())  # some went by until there was room
        return self._life.wait_answered(future, timeout)

    def ask_future(self, message: object, timeout: float | None = None) -> Future[Any]:
        """Send `message`; the future brings what `ask` would. Cancelled in time, it is never handled.

        Nobody looks whether an actor that waits for the future waits for itself.

        Args:
            message: what to ask.
            timeout: seconds to wait for room, as `tell`.

        Raises:
            MailboxFullError: the data lane is at its bound, as for `tell`.
        """
        answer = FutureAnswer(self._life.path, self._life.watch)
        try:
            self._life.put_ask(Ask(message, answer), timeout)
        except BaseException:
            answer.future.cancel()
            raise
        return answer.future

    def watch(self, notify: Callable[[Reason], object]) -> Callable[[], bool]:
        """Call `notify` exactly once with the reason of its end, at once if it has ended.

        The call comes on the thread that ends the actor; it must be short and raise nothing.

        Returns:
            What takes the watch back: True if `notify` was not called and never will be.
        """
        return self._life.watch(notify)

    def wait_ended(self, timeout: float | None = None) -> Reason | None:
        """Wait until it has ended, and give the reason; None if it did not in time.

        For people outside of actors; an actor has `Context.monitor`. One that was abandoned or
        killed has ended although its thread may go on.

        Args:
            timeout: seconds to wait at most; None for no end.

        Raises:
            DeadlockError: as `ask`.
        """
        answer = FutureAnswer(self._life.path, self._life.watch)
        with suppress(ActorEndedError, AskTimeoutError):
            self._life.wait_answered(answer.future, timeout)
        return self._life.reason

    def suspend(self) -> bool:
        """Let it take no data and fire no timer until `resume`, or until it is asked to end; False after its end."""
        return self._life.put_control(Suspend())

    def resume(self) -> bool:
        """Let it go on with what has come meanwhile; False after its end."""
        return self._life.put_control(Resume())

    def get_state(self, timeout: float | None = 5.0) -> Any:
        """Ask, ahead of all data and also while it is suspended, what its state is (`Behavior.get_state`).

        Raises:
            ActorEndedError: it has ended.
            AskTimeoutError: it did not answer in time.
            DeadlockError: as `ask`.
        """
        self._life.refuse_ring()
        answer = FutureAnswer(self._life.path, self._life.watch)
        self._life.put_control(GetState(answer))
        return self._life.wait_answered(answer.future, timeout)

    def stack(self) -> str:
        """Where the actor's thread is at this moment, as text; "" where that cannot be known."""
        return ""

    def kill(self) -> None:
        """End it now: a process with all it has started; a thread is fenced off (`Killed`)."""
        self._life.kill()
