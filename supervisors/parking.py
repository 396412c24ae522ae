"""How an actor's thread waits: for its mailbox alone, or for file descriptors as well.

Owns the one place where an actor sleeps. A parker belongs to one thread, which alone may
call `park`; any thread may call `unpark`. An `unpark` before the `park` is remembered, so a
wake-up is never lost. Never touches a mailbox or a message.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Protocol

Callback = Callable[[int], None]
"""Called on the parked thread with the ready events (`selectors.EVENT_READ` and so on)."""


NOTICE_SECONDS = 0.25
"""A wait of a thread that is no actor's, before it looks for signals again: the interpreter looks before it waits for
a lock, and one that comes in the instant between is noticed no sooner than the wait is over (arbitrary)."""


give_way: Callable[[], object] = getattr(os, "sched_yield", lambda: None)
"""Let others run first who are ready to, where there is a way to: for who is about to wait for one of them. On a single
processor that one has most often done its part afterwards, and nobody is put to sleep and woken; where nobody is ready
it costs a third of a microsecond."""


class Parker(Protocol):
    """Where one thread sleeps until something happens."""

    def park(self, timeout: float | None) -> None:
        """Sleep until `unpark`, for `timeout` seconds at most (None: without end)."""

    def unpark(self) -> None:
        """Wake the sleeper, or make its next `park` return at once."""

    def close(self) -> None:
        """Give back what it holds; `park` is not called again."""


class LockParker:
    """Wait for `unpark` alone, at the cost of one lock."""

    def __init__(self) -> None:
        # Held while nobody has called unpark: a binary semaphore, the cheapest wait there is.
        self._token = threading.Lock()
        self._token.acquire()

    def park(self, timeout: float | None) -> None:
        self._token.acquire(timeout=-1 if timeout is None else max(0.0, timeout))

    def unpark(self) -> None:
        try:
            self._token.release()
        except RuntimeError:
            return  # already unparked: the wake-up is remembered once, which is enough

    def close(self) -> None:
        return


class Poller:
    """Wait for `unpark` and for file descriptors, and call back for those that are ready.

    Raises:
        OSError: no descriptors are left.
    """

    def __init__(self) -> None:
        self.seat = threading.Lock()
        """Held by whoever acts for the actor: by its thread, but while that sleeps; then another one may take it for
        some microseconds (`Life.run_here`)."""
        self.seat.acquire()
        self._selector = selectors.DefaultSelector()
        # A socket pair and not a pipe: Windows can select sockets only.
        try:
            self._wake_out, self._wake_in = socket.socketpair()
        except OSError:
            self._selector.close()  # now: the traceback of this error may keep it for long
            raise
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        # What is watched, beside the selector: its own map is slow to ask, which each event would pay.
        self._callbacks: dict[int, Callback] = {}
        self.watch(self._wake_out.fileno(), selectors.EVENT_READ, self._swallow)
        # Guards _armed and the wake pair's life. It may be taken twice: a collection of garbage may run in here, and
        # end what wakes somebody by its end.
        self._lock = threading.RLock()
        self._armed = False
        self._closed = False

    def watch(self, fd: int, events: int, callback: Callback) -> None:
        """Call `callback` whenever `fd` is ready for `events`, until `unwatch`.

        Watching an `fd` that is watched already replaces its events and callback.
        """
        if fd in self._callbacks:
            self._selector.modify(fd, events, callback)
        else:
            self._selector.register(fd, events, callback)
        self._callbacks[fd] = callback

    def unwatch(self, fd: int) -> None:
        """Forget `fd`; nothing happens when it is not watched. Call it before closing `fd`."""
        if self._callbacks.pop(fd, None) is not None:
            self._selector.unregister(fd)

    def park(self, timeout: float | None) -> None:
        callbacks, seat = self._callbacks, self.seat
        seat.release()
        try:
            ready = self._selector.select(timeout)
        finally:
            seat.acquire()
        for key, events in ready:
            # An earlier callback of this round may have unwatched a later descriptor.
            callback = callbacks.get(key.fd)
            if callback is not None and callback is key.data:
                callback(events)

    def unpark(self) -> None:
        # Who was woken and has not taken that looks for work after it does.
        if not self._armed:
            self._ring()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._selector.close()
            self._wake_out.close()
            self._wake_in.close()

    def _swallow(self, _events: int) -> None:
        with self._lock:
            self._wake_out.recv(16)
            self._armed = False

    def _ring(self) -> None:
        with self._lock:
            if not (self._armed or self._closed):
                self._armed = True
                self._wake_in.send(b"\0")
