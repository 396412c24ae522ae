"""What a worker receives: requests for its main thread, grants for the request in hand.

Owns the receiving side of the channel in the worker, the thread that reads it, and the ends of
the worker when its parent is gone or cannot hear it. Never runs a request, never sends.

Bound: the parent sends no more than a window of requests, so what is held here is bounded by it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import threading
from array import array
from collections import deque
from collections.abc import Callable
from typing import NoReturn

from supervisors.errors import FrameError
from supervisors.places.base import CLOSED
from supervisors.places.process.attached import Attached
from supervisors.reasons import Reason
from supervisors.wire.frames import (
    Attach,
    Boot,
    Deliver,
    Detach,
    FrameReader,
    Full,
    Go,
    Grant,
    Hold,
    Lend,
    Reclaim,
    Stop,
    ToWorker,
)

ATTACHED_AT_ONCE = 64
"""Segments of one `Attach` frame at most: the system passes 253 descriptors at a time (`SCM_MAX_FD`)."""
_ANCILLARY_BYTES = socket.CMSG_SPACE(ATTACHED_AT_ONCE * array("i").itemsize)
CHANNEL_BROKEN = 76
"""Exit code of a worker that cannot be heard any more: `EX_PROTOCOL` of sysexits."""


class Inbound:
    """The receiving side of a worker's channel. Only the main thread calls its methods.

    Args:
        channel: a blocking stream socket; kept, not closed.
        reader: what makes frames of its bytes.
    """

    def __init__(self, channel: socket.socket, reader: FrameReader[ToWorker]) -> None:
        self._channel = channel
        self._reader = reader
        self._parent_pid = os.getppid()
        self._arrived: queue.SimpleQueue[Deliver | None] = queue.SimpleQueue()
        self._held: deque[tuple[int, bytes]] = deque()
        self._epoch = 0
        self.is_stopping = False
        self.reason: Reason = CLOSED
        """Why the worker shall end; to be read once `is_stopping`."""
        self.hold = 0
        """The number of the hold that it is under; 0 if there is none."""
        # Guards the weights: parts sent and not granted, oldest first, of the request in hand.
        # Told of whatever ends a wait.
        self._granted = threading.Condition()
        self._weights: deque[int] = deque()
        self._ungranted = 0
        self._current = -1
        self._fds: deque[list[int]] = deque()
        """The descriptors that have come, for each `Attach` frame."""
        self._wants = 0
        self._answer: bool | None = None
        """Whether there is room for what was wanted last; None while that is open."""
        self.attached: Attached | None = None
        """Where shared memory goes; set before the first request is taken."""

    def receive_boot(self) -> Boot:
        """Wait for the first frame, then leave the reading to a thread."""
        frames: list[ToWorker] = []
        while not frames:
            frames = self._receive()
        first = frames.pop(0)
        if not isinstance(first, Boot):
            raise FrameError(f"expected a Boot frame first, got {type(first).__name__}")
        threading.Thread(target=self._serve, args=(frames,), name="supervisors-channel", daemon=True).start()
        return first

    @property
    def has_more(self) -> bool:
        """Whether a request is there to be run now."""
        return bool(self._held) or not self._arrived.empty()

    def take(self) -> tuple[int, bytes] | None:
        """Take the oldest request, waiting for one; None when the worker shall end."""
        while not self.is_stopping:
            if self._held:
                return self._held.popleft()
            delivered = self._arrived.get()
            if delivered is None:
                break
            if delivered.epoch > self._epoch:
                end_now()  # the parent speaks of what was never dropped
            if delivered.epoch == self._epoch:
                self._held.extend(delivered.items)
        return None

    def drop_all(self) -> None:
        """Forget every request not begun: the parent was told of what it has them back for."""
        self._held.clear()
        self._epoch += 1

    def begin(self, seq: int) -> None:
        """Count the parts of `seq` from now on."""
        self._current = seq
        if self._weights:
            with self._granted:
                self._weights.clear()
                self._ungranted = 0

    def wait(self, bound: float, tell: Callable[[int], None]) -> bool:
        """Wait until the request may go on (`may_go_on`); False if the worker shall end.

        Args:
            bound: what the parts not granted must weigh less than.
            tell: called with the number of each hold by which it comes to wait.
        """
        told = 0
        while True:
            with self._granted:
                self._granted.wait_for(
                    lambda: self.is_stopping or self.hold not in (0, told) or self.may_go_on(bound)  # noqa: B023
                )
                hold = self.hold
                if self.is_stopping or hold in (0, told):
                    return self.may_go_on(bound)
            told = hold
            tell(hold)

    def may_go_on(self, bound: float) -> bool:
        """Whether the parts not granted weigh less than `bound`, and the worker is not held."""
        return self._ungranted < bound and not self.hold

    def ask_for_room(self) -> int:
        """Begin to wait for shared memory; give the number of that wait."""
        with self._granted:
            self._wants += 1
            self._answer = None
            return self._wants

    def wait_for_room(self, *, is_patient: bool) -> bool | None:
        """Wait for the answer; None if there is none, since the worker is held or shall end.

        Args:
            is_patient: whether it goes on waiting while it is held.
        """
        with self._granted:
            self._granted.wait_for(
                lambda: self._answer is not None or self.is_stopping or (bool(self.hold) and not is_patient)
            )
            return self._answer

    def add_weight(self, weight: int) -> None:
        """Count one part that is being sent."""
        with self._granted:
            self._weights.append(weight)
            self._ungranted += weight

    def _serve(self, frames: list[ToWorker]) -> None:
        try:
            while True:
                for frame in frames:
                    self._accept(frame)
                frames = self._receive()
        except BaseException as error:  # noqa: BLE001  without this thread the worker hears nothing any more
            leave_unheard(error)

    def _receive(self) -> list[ToWorker]:
        count, ancillary, flags, _address = self._channel.recvmsg_into(
            [self._reader.space()], _ANCILLARY_BYTES, _CLOSE_ON_EXEC
        )
        if ancillary or flags & socket.MSG_CTRUNC:
            self._fds.append(_descriptors_in(ancillary))
        if count == 0:
            if os.getppid() != self._parent_pid:
                end_now()
            raise EOFError("it was closed in here, or the program is ending")
        return self._reader.received(count)

    def _accept(self, frame: ToWorker) -> None:
        if isinstance(frame, Deliver):
            self._arrived.put(frame)
        elif isinstance(frame, Grant):
            self._grant(frame.seq)
        elif isinstance(frame, Hold | Go):
            with self._granted:
                self.hold = frame.number if isinstance(frame, Hold) else 0
                self._granted.notify_all()
        elif isinstance(frame, Stop):
            with self._granted:
                self.reason = frame.reason
                self.is_stopping = True
                self._granted.notify_all()
            self._arrived.put(None)
        else:
            self._accept_memory(frame)

    def _accept_memory(self, frame: ToWorker) -> None:
        attached = self.attached
        if attached is None:
            raise FrameError(f"a {type(frame).__name__} frame before there was anything to do")
        match frame:
            case Attach(items):
                attached.attach(items, self._fds.popleft())
            case Lend(ids):
                attached.lend(ids)
                self._tell_room(is_there=True)
            case Detach(ids):
                attached.detach(ids)
            case Reclaim():
                attached.give_back()
            case Full(number):
                if number == self._wants:
                    self._tell_room(is_there=False)
            case _:
                raise FrameError("a second Boot frame")

    def _tell_room(self, *, is_there: bool) -> None:
        with self._granted:
            self._answer = is_there
            self._granted.notify_all()

    def _grant(self, seq: int) -> None:
        with self._granted:
            # A grant for a request that is over finds nothing to let go.
            if seq == self._current and self._weights:
                self._ungranted -= self._weights.popleft()
                self._granted.notify_all()


_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def _descriptors_in(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """Give the descriptors that came with some bytes; where the system had no room for one, those before it."""
    found = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    for fd in found:
        os.set_inheritable(fd, False)
    return found.tolist()


def leave_unheard(error: BaseException) -> NoReturn:
    """End this worker at once, since its channel is of no use any more while its parent lives."""
    with contextlib.suppress(OSError):
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    os._exit(CHANNEL_BROKEN)


def end_now() -> NoReturn:
    """End this worker and all it has started, at once: nobody is there to work for."""
    with contextlib.suppress(OSError):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)
