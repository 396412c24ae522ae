"""The mailbox of an actor: two lanes, control before data, bounded, closed once.

Theory of operation. Everything is guarded by one lock. Several mailboxes may share a lock, so
that one owner can change many of them in a single step (a commit that takes here and appends
there): it takes the lock itself, calls the `*_held` methods, and calls `unpark` on each mailbox
that was rung after it has let the lock go. A reader that finds nothing to do sleeps by
`sleep(seen)`: it does not fall asleep if the mailbox was rung since it read `rings`, so that no
wake-up is lost. Never runs a message, never drops one.

The data lane is bounded by `capacity`: `put` refuses what is over it. `append_held` does not
look at the bound, since a commit cannot be refused half-way: its caller asks `is_full` before
it takes the message that leads to the commit.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

from supervisors.errors import MailboxClosedError, MailboxFullError
from supervisors.parking import LockParker, Parker

Lock = AbstractContextManager[Any]


class Mailbox:
    """Two lanes of messages for one actor.

    Args:
        capacity: messages the data lane holds before it is full; None for no bound.
        lock: the lock to use; None for one of its own.
    """

    __slots__ = ("_closed", "_parker", "_rings", "_sleeping", "capacity", "control", "data", "lock")

    def __init__(self, capacity: int | None = None, lock: Lock | None = None) -> None:
        self.capacity = capacity
        self.lock: Lock = threading.Lock() if lock is None else lock
        self.control: deque[object] = deque()
        """The control lane, oldest first: for others to see whether it is empty, and no more."""
        self.data: deque[Any] = deque()
        """The data lane, oldest first: for those who hold the lock, to be looked at and taken from."""
        self._parker: Parker = LockParker()
        self._rings = 0
        self._sleeping = False
        self._closed = False

    def __len__(self) -> int:
        """Messages in the data lane."""
        return len(self.data)

    @property
    def is_full(self) -> bool:
        """Whether the data lane holds `capacity` messages or more."""
        return self.capacity is not None and len(self.data) >= self.capacity

    @property
    def has_control(self) -> bool:
        """Whether a control message waits."""
        return bool(self.control)

    @property
    def rings(self) -> int:
        """How often the mailbox was rung; to be read before looking for work."""
        return self._rings

    def put(self, message: object) -> None:
        """Append `message` to the data lane.

        Raises:
            MailboxFullError: the data lane is at its bound.
            MailboxClosedError: the mailbox takes no more messages.
        """
        with self.lock:
            if self._closed:
                raise MailboxClosedError
            if self.is_full:
                raise MailboxFullError(self.capacity)
            wake = self.append_held(message)
        if wake:
            self.unpark()

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

    def try_take_control(self) -> object | None:
        """Take the oldest control message; None when there is none."""
        if not self.control:  # a look without the lock: only this reader takes
            return None
        with self.lock:
            return self.control.popleft() if self.control else None

    def try_take(self) -> object | None:
        """Take the oldest data message; None when there is none."""
        if not self.data:
            return None
        with self.lock:
            return self.data.popleft() if self.data else None

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
            if self._rings == seen:
                self._sleeping = True
            else:
                timeout = 0.0
        parker.park(timeout)
        if self._parker is parker:  # else the flag is that of another reader, which may sleep
            self._sleeping = False

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
            self._closed = True
            control, data = list(self.control), list(self.data)
            self.control.clear()
            self.data.clear()
            return control, data

    # What follows is for those who hold the lock.

    def append_held(self, message: object) -> bool:
        """Append to the data lane; True if the caller must `unpark` after it lets the lock go."""
        self.data.append(message)
        # As `ring_held`, whose call every message would pay.
        self._rings += 1
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
        return self.data.popleft()

    def waiting_held(self) -> tuple[Any, ...]:
        """Copy the references of the data lane, oldest first."""
        return tuple(self.data)

    def drain_held(self) -> list[Any]:
        """Take every data message, oldest first."""
        drained = list(self.data)
        self.data.clear()
        return drained

    def ring_held(self) -> bool:
        """Note a wake-up; True if the reader sleeps and the caller must `unpark` it."""
        self._rings += 1
        if self._sleeping:
            self._sleeping = False
            return True
        return False
