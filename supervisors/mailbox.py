"""The mailbox of an actor: two lanes, control before data, bounded, closed once.

Theory of operation. Everything is guarded by one lock. Several mailboxes may share a lock, so
that one owner can change many of them in a single step (a commit that takes here and appends
there): it takes the lock itself, calls the `*_held` methods, and calls `unpark` on each mailbox
that was rung after it has let the lock go. A reader that finds nothing to do sleeps by
`sleep(seen)`: it does not fall asleep if the mailbox was rung since it read `rings`, so that no
wake-up is lost. Never runs a message.

The data lane is bounded by `capacity`. What `put` does with a message over it is the mailbox's
overflow policy: refuse it, drop it or the oldest one (counted, and shown to `on_dropped`), or let
its sender wait, which is for threads that are no actors. `append_held` does not look at the bound,
since a commit cannot be refused half-way: its caller asks `is_full` before it takes the message
that leads to the commit.

Senders that wait stand in a queue, each at a parker of its own. Whenever there is room and
somebody waits, the first has been woken: by whoever made the room, or by the one that stood
before it. One that leaves the queue, by its message, its timeout or an exception, wakes the next.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, get_args

from supervisors.clock import MonotonicClock
from supervisors.errors import MailboxClosedError, MailboxFullError, SpecError
from supervisors.parking import LockParker, Parker

Lock = AbstractContextManager[Any]

EMPTY = object()
"""What takers who must tell None, which is a message like any other, from no message hand in as `empty`."""
Overflow = Literal["reject", "drop_oldest", "drop_newest", "wait"]
"""What becomes of a message over the bound."""
_OVERFLOWS: tuple[Overflow, ...] = get_args(Overflow)


class MailboxStats(NamedTuple):
    """What a mailbox has seen of its data lane.

    Args:
        waiting: messages in it now.
        capacity: its bound; None for none.
        received: messages that `put` took in. What a lock's holder appended is counted by its ledger.
        dropped: those that an overflow policy dropped.
        rejected: those that were refused: never taken in.
        peak: most messages that waited after a `put`.
    """

    waiting: int
    capacity: int | None
    received: int
    dropped: int
    rejected: int
    peak: int


class Mailbox:
    """Two lanes of messages for one actor.

    Args:
        capacity: messages the data lane holds before it is full; None for no bound.
        lock: the lock to use; None for one of its own.
        overflow: what `put` does when it is full: `reject` raises, `drop_oldest` and `drop_newest`
            drop one and count it, `wait` lets its sender wait for room.

    Raises:
        SpecError: the capacity is no positive number, or the policy is none.
    """

    __slots__ = (
        "_closed",
        "_dropped",
        "_parker",
        "_peak",
        "_received",
        "_rejected",
        "_senders",
        "_sleeping",
        "capacity",
        "control",
        "data",
        "lock",
        "overflow",
        "rings",
        "surplus",
    )

    def __init__(self, capacity: int | None = None, lock: Lock | None = None, *, overflow: Overflow = "reject") -> None:
        if capacity is not None and not capacity >= 1:
            raise SpecError(f"capacity: expected 1 or more, or None, got {capacity!r}")
        if overflow not in _OVERFLOWS:
            raise SpecError(f"overflow: expected one of {_OVERFLOWS}, got {overflow!r}")
        self.capacity = capacity
        self.overflow: Overflow = overflow
        self.lock: Lock = threading.Lock() if lock is None else lock
        self.control: deque[object] = deque()
        """The control lane, oldest first: for others to see whether it is empty, and no more."""
        self.data: deque[Any] = deque()
        """The data lane, oldest first: for those who hold the lock, to be looked at and taken from."""
        self.surplus = 0
        """Messages in it that are part of another one's entry: kept by the lock's holder who puts in such entries."""
        self.rings = 0
        """How often the mailbox was rung; to be read before looking for work."""
        self._parker: Parker = LockParker()
        self._sleeping = False
        self._closed = False
        self._received = 0
        self._dropped = 0
        self._rejected = 0
        self._peak = 0
        self._senders: deque[LockParker] = deque()
        """Those that wait for room, each at a parker of its own; the first is woken when there is some."""

    def __len__(self) -> int:
        """Messages in the data lane."""
        return len(self.data) + self.surplus

    @property
    def is_full(self) -> bool:
        """Whether the data lane holds `capacity` messages or more."""
        return self.capacity is not None and len(self.data) + self.surplus >= self.capacity

    @property
    def has_control(self) -> bool:
        """Whether a control message waits."""
        return bool(self.control)

    def stats(self) -> MailboxStats:
        """What the data lane has seen, in one cut."""
        with self.lock:
            return MailboxStats(len(self), self.capacity, self._received, self._dropped, self._rejected, self._peak)

    def put(
        self, message: object, timeout: float | None = None, *, is_over: Callable[[], bool] = lambda: False
    ) -> None:
        """Append `message` to the data lane, by the overflow policy.

        Any thread may call it; an actor's, under `wait`, with a timeout of 0 alone, since whom it
        waits for may wait for it.

        Args:
            message: what to put.
            timeout: seconds to wait for room under `wait`, 0 for not at all, None for no end; a
                mailbox that is closed meanwhile ends the wait.
            is_over: whether whom it was meant for takes no more; ends the wait too. Asked with the
                lock held, after each wake-up (`wake_senders_held`).

        Raises:
            MailboxFullError: the data lane is at its bound (`reject`), or was for all of `timeout` (`wait`).
            MailboxClosedError: the mailbox takes no more messages, or `is_over` holds.
        """
        with self.lock:
            if self._closed:
                raise MailboxClosedError
            if self.overflow == "reject" and self.is_full:
                self._rejected += 1
                raise MailboxFullError(self.capacity)
            # Those that wait already were there before.
            has_to_wait = self.overflow == "wait" and (self.is_full or bool(self._senders))
            wake, dropped = (False, EMPTY) if has_to_wait else self._receive(message)
        if wake:
            self.unpark()
        if dropped is not EMPTY:
            self.on_dropped(dropped)
        if has_to_wait:
            self._wait_and_put(message, timeout, is_over)

    def put_control(self, message: object) -> None:
        """Append `message` to the control lane, which has no bound.

        Raises:
            MailboxClosedError: the mailbox takes no more messages.
        """
        with self.lock:
            if self._closed:
                raise MailboxClosedError
            wake = self.append_control_held(message)
        if wake:
            self.unpark()

    def try_take_control(self, empty: object = None) -> object:
        """Take the oldest control message; `empty` when there is none."""
        if not self.control:  # a look without the lock: only this reader takes
            return empty
        with self.lock:
            return self.control.popleft() if self.control else empty

    def try_take(self, empty: object = None) -> object:
        """Take the oldest data message; `empty` when there is none."""
        if not self.data:
            return empty
        with self.lock:
            return self.take_held() if self.data else empty

    def put_control_first(self, messages: Iterable[object]) -> None:
        """Put `messages`, oldest first, before all others of the control lane; for its reader."""
        with self.lock:
            self.control.extendleft(reversed(list(messages)))

    def ring(self) -> None:
        """Make the reader look for work again, without a message."""
        with self.lock:
            wake = self.ring_held()
        if wake:
            self.unpark()

    def sleep(self, seen: int, timeout: float | None) -> None:
        """Wait until the mailbox is rung, or not at all if it was since `seen`.

        For the reader's thread only. File descriptors that its parker watches are looked at in
        either case, so that a mailbox rung without end cannot keep them from being served.
        """
        with self.lock:
            parker = self._parker
            if self.rings == seen:
                self._sleeping = True
            else:
                timeout = 0.0
        parker.park(timeout)
        if self._parker is parker:  # else the flag is that of another reader, which may sleep
            self._sleeping = False

    def fall_asleep(self, seen: int) -> bool:
        """Note that the reader goes to sleep by means of its own: it is unparked when the mailbox is rung.

        Returns:
            False if it was rung since `seen`: then the reader is to look again.
        """
        with self.lock:
            if self.rings != seen:
                return False
            self._sleeping = True
            return True

    def unpark(self) -> None:
        """Wake the reader; for those who were told so by a `*_held` method."""
        self._parker.unpark()

    def attach(self, parker: Parker) -> None:
        """Let the next reader wait at `parker`; called before that reader's first `sleep`."""
        with self.lock:
            self._parker = parker
            self._sleeping = False

    def close(self) -> tuple[list[object], list[object]]:
        """Take no more messages; give back what was left, as (control, data)."""
        with self.lock:
            return self.close_held()

    def on_dropped(self, message: object) -> None:
        """Take note of a message that an overflow policy has dropped, on its sender's thread, without the lock."""

    # What follows is for those who hold the lock.

    def append_held(self, message: object) -> bool:
        """Append to the data lane; True if the caller must `unpark` after it lets the lock go."""
        self.data.append(message)
        # As `ring_held`, whose call every message would pay.
        self.rings += 1
        if self._sleeping:
            self._sleeping = False
            return True
        return False

    def append_control_held(self, message: object) -> bool:
        """Append to the control lane; as `append_held`."""
        self.control.append(message)
        return self.ring_held()

    def prepend_held(self, messages: Iterable[object]) -> bool:
        """Put `messages`, oldest first, before all others of the data lane; as `append_held`."""
        self.data.extendleft(reversed(list(messages)))
        return self.ring_held()

    def take_held(self) -> Any:
        """Take the oldest data message; the lane must not be empty."""
        message = self.data.popleft()
        if self._senders:
            self._wake_sender()
        return message

    def waiting_held(self) -> tuple[Any, ...]:
        """Copy the references of the data lane, oldest first."""
        return tuple(self.data)

    def drain_held(self) -> list[Any]:
        """Take every data message, oldest first."""
        drained = list(self.data)
        self.data.clear()
        self.surplus = 0
        self._wake_sender()
        return drained

    def drain_control_held(self) -> list[object]:
        """Take every control message, oldest first."""
        drained = list(self.control)
        self.control.clear()
        return drained

    def close_held(self) -> tuple[list[object], list[object]]:
        """Take no more messages, as `close`."""
        self._closed = True
        control, data = self.drain_control_held(), list(self.data)
        self.data.clear()
        self.surplus = 0
        while self._senders:
            self._senders.popleft().unpark()
        return control, data

    def wake_senders_held(self) -> None:
        """Let those who wait for room look whether they still should."""
        for turn in self._senders:
            turn.unpark()

    def ring_held(self) -> bool:
        """Note a wake-up; True if the reader sleeps and the caller must `unpark` it."""
        self.rings += 1
        if self._sleeping:
            self._sleeping = False
            return True
        return False

    # -- Private; the lock is held, where nothing else is said

    def _receive(self, message: object) -> tuple[bool, object]:
        """Take in a message that need not wait; gives whether to unpark the reader, and what was dropped or `EMPTY`."""
        self._received += 1
        dropped = EMPTY
        if self.is_full:
            if self.overflow == "drop_newest":
                self._dropped += 1
                return False, message
            dropped = self._drop_oldest()
        wake = self.append_held(message)
        self._peak = max(self._peak, len(self))
        return wake, dropped

    def _drop_oldest(self) -> object:
        self._dropped += 1
        dropped: object = self.data.popleft()
        return dropped

    def _wait_and_put(self, message: object, timeout: float | None, is_over: Callable[[], bool]) -> None:
        """Wait for room and a turn, then put. Takes the lock."""
        now = MonotonicClock.now
        deadline = None if timeout is None else now() + timeout
        turn = LockParker()
        try:
            with self.lock:
                self._senders.append(turn)
            while not self._put_in_turn(message, turn, is_over, is_late=deadline is not None and now() >= deadline):
                turn.park(None if deadline is None else deadline - now())
        except BaseException:
            # Also Ctrl-C: a turn that nobody stands at would keep all behind it waiting for ever.
            self._leave_queue(turn)
            raise

    def _put_in_turn(self, message: object, turn: LockParker, is_over: Callable[[], bool], *, is_late: bool) -> bool:
        """Put for a sender that waits; False if it has to go on waiting. Takes the lock."""
        with self.lock:
            if self._closed or is_over():
                raise MailboxClosedError
            if self.is_full or self._senders[0] is not turn:
                if is_late:
                    self._rejected += 1
                    raise MailboxFullError(self.capacity)
                return False
            self._senders.popleft()
            wake, _ = self._receive(message)
            self._wake_sender()
        if wake:
            self.unpark()
        return True

    def _leave_queue(self, turn: LockParker) -> None:
        """Leave the queue of senders, wherever in it; takes the lock."""
        with self.lock:
            if turn in self._senders:
                self._senders.remove(turn)
                self._wake_sender()

    def _wake_sender(self) -> None:
        # A parker of our own, woken by the release of one lock: nothing that could call back.
        if self._senders and not self.is_full:
            self._senders[0].unpark()
