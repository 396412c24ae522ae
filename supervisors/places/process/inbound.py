"""What a worker receives: requests for its main thread, grants for the request in hand.

Owns the receiving side of the channel in the worker, and the ends of the worker when its parent is gone or cannot hear
it. Never runs a request, never sends.

Theory of operation. Whoever holds the *ear* reads the channel and takes in what it has read; that is the same for all.
The main thread reads by itself whenever it has nothing to run, or waits inside of a request: so nothing is handed from
thread to thread on the way of a lone message. While its own code or that of a request runs for long, the deputy
(`deputy`) listens, so that a grant, a hold, a stop and the end of the parent are noticed all the same. It waits without
the ear, and has it only while it reads: so the main thread may look around at any time, and what had come by then is
taken in when it has looked.

Bound: the parent sends no more than a window of requests, so what is held here is bounded by it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
from array import array
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

from supervisors.errors import FrameError
from supervisors.places.base import CLOSED
from supervisors.places.process.attached import Attached
from supervisors.reasons import Reason
from supervisors.wire.frames import (
    Attach,
    Boot,
    Deliver,
    DeliverBatch,
    Detach,
    Full,
    Go,
    Grant,
    Hold,
    Lend,
    Reclaim,
    Stop,
    ToWorker,
    WorkerReader,
)

ATTACHED_AT_ONCE = 64
"""Segments of one `Attach` frame at most: the system passes 253 descriptors at a time (`SCM_MAX_FD`)."""
_ANCILLARY_BYTES = socket.CMSG_SPACE(ATTACHED_AT_ONCE * array("i").itemsize)
CHANNEL_BROKEN = 76
"""Exit code of a worker that cannot be heard any more: `EX_PROTOCOL` of sysexits."""


class Inbound:
    """The receiving side of a worker's channel.

    Only the main thread calls its methods, but for `listen`, which is the deputy's.

    Args:
        channel: a blocking stream socket; kept, not closed.
        reader: what makes frames of its bytes.
    """

    def __init__(self, channel: socket.socket, reader: WorkerReader) -> None:
        self._channel = channel
        self._reader = reader
        self._parent_pid = os.getppid()
        # Guards the reader: its holder reads the channel. The main thread alone waits while it has it.
        self._ear = threading.Lock()
        self._arrivals = select.poll()
        """Where the deputy waits."""
        self._arrivals.register(channel, select.POLLIN)
        # Made now: while a request runs there may be no descriptors left.
        self._called_off, self._calling_off = os.pipe()
        """By which the deputy is called off."""
        self._arrivals.register(self._called_off, select.POLLIN)
        self._arrived: deque[Deliver[Any] | DeliverBatch[Any]] = deque()
        self._epoch = 0
        self.is_stopping = False
        self.reason: Reason = CLOSED
        """Why the worker shall end; to be read once `is_stopping`."""
        self.hold = 0
        """The number of the hold that it is under; 0 if there is none."""
        self.is_listened_to = False
        """Whether the deputy listens, or is about to; it may do so for a while after it was needed."""
        self.calls: list[Hold | Stop] = []
        """Not empty while it is held or stopping: nothing new is to be begun."""
        # Guards the weights: parts sent and not granted, oldest first, of the request in hand.
        self._weighing = threading.Lock()
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
        """Wait for the first frame."""
        with self._ear:
            frames: list[ToWorker] = []
            while not frames:
                frames = self._receive()
            first = frames.pop(0)
            if not isinstance(first, Boot):
                raise FrameError(f"expected a Boot frame first, got {type(first).__name__}")
            for frame in frames:
                self._accept(frame)
        return first

    def expect(self, request_type: Any, batch_type: Any = None) -> None:
        """Take requests, and batches of them, as what these are from now on; none comes before the worker is ready."""
        self._reader.expect(request_type, batch_type)

    @property
    def has_more(self) -> bool:
        """Whether a request is there to be run now."""
        arrived = self._arrived
        while arrived and arrived[0].epoch < self._epoch:
            arrived.popleft()
        return bool(arrived)

    def look(self) -> None:
        """Take in what has come, without waiting."""
        with self._ear:
            self._hear(_DO_NOT_WAIT)

    def take(self) -> Deliver[Any] | DeliverBatch[Any] | None:
        """Take the oldest requests that have come together, waiting for some; None when the worker shall end."""
        while not (self.has_more or self.is_stopping):
            with self._ear:
                if not (self._arrived or self.is_stopping):  # else the deputy has heard it meanwhile
                    self._hear()
        if self.is_stopping:
            return None
        delivered = self._arrived.popleft()
        if delivered.epoch > self._epoch:
            end_now()  # the parent speaks of what was never dropped
        return delivered

    def has_dropped(self, delivered: Deliver[Any] | DeliverBatch[Any]) -> bool:
        """Whether requests that were taken are to be forgotten too, but for the one that runs."""
        return delivered.epoch != self._epoch

    def drop_all(self) -> None:
        """Forget every request not begun: the parent was told of what it has them back for."""
        self._epoch += 1

    def wait(self, bound: float, tell: Callable[[int], None]) -> bool:
        """Wait until the request may go on (`may_go_on`); False if the worker shall end.

        Args:
            bound: what the parts not granted must weigh less than.
            tell: called with the number of each hold by which it comes to wait.
        """
        told = 0
        while True:
            self._wait_for(lambda: self.is_stopping or self.hold not in (0, told) or self.may_go_on(bound))  # noqa: B023
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
        self._wants += 1
        self._answer = None
        return self._wants

    def wait_for_room(self, *, is_patient: bool) -> bool | None:
        """Wait for the answer; None if there is none, since the worker is held or shall end.

        Args:
            is_patient: whether it goes on waiting while it is held.
        """
        self._wait_for(
            lambda: self._answer is not None or self.is_stopping or (self.hold != 0 and not is_patient),
        )
        return self._answer

    def add_weight(self, seq: int, weight: int) -> None:
        """Count one part of request `seq` that is being sent."""
        with self._weighing:
            self._current = seq
            self._weights.append(weight)
            self._ungranted += weight

    def forget_parts(self) -> None:
        """Count no part that was sent so far any more: its request is over."""
        with self._weighing:
            self._weights.clear()
            self._ungranted = 0

    def listen(self, is_needed: Callable[[], bool]) -> None:
        """Read the channel until it is not needed any more, which is noticed when something has come, or called off."""
        self.is_listened_to = True  # before the first look: from here on the main thread lets no result wait
        while is_needed():
            if any(fd == self._called_off for fd, _events in self._arrivals.poll()):
                os.read(self._called_off, _CALLS)
                return
            if not self._ear.acquire(blocking=False):
                return  # the main thread reads
            try:
                self._hear(_DO_NOT_WAIT)
            finally:
                self._ear.release()

    def close(self) -> None:
        """Give back what it has made, where its process goes on without it; nobody listens any more."""
        os.close(self._called_off)
        os.close(self._calling_off)

    def call_off(self) -> None:
        """Have the deputy listen no more, where it does: it looks again, as ever, whether it is needed."""
        self.is_listened_to = False
        try:
            os.write(self._calling_off, b"\0")
        except OSError as error:  # a request has closed it: as the channel, see `leave_unheard`
            leave_unheard(error)

    def _wait_for(self, is_met: Callable[[], bool]) -> None:
        """Read the channel until something is so."""
        while not is_met():
            with self._ear:
                if not is_met():
                    self._hear()

    def _hear(self, flags: int = 0) -> None:
        try:
            for frame in self._receive(flags):
                self._accept(frame)
        except BlockingIOError:
            return
        except Exception as error:  # noqa: BLE001  what cannot be read now will never be
            leave_unheard(error)

    def _receive(self, flags: int = 0) -> list[ToWorker]:
        count, ancillary, told, _address = self._channel.recvmsg_into(
            [self._reader.space()], _ANCILLARY_BYTES, flags | _CLOSE_ON_EXEC
        )
        if ancillary or told & _DESCRIPTORS_LOST:
            self._fds.append(_descriptors_in(ancillary))
        if count == 0:
            if os.getppid() != self._parent_pid:
                end_now()
            raise EOFError("it was closed in here, or the program is ending")
        return self._reader.received(count)

    def _accept(self, frame: ToWorker) -> None:
        if isinstance(frame, Deliver):
            if frame.lent:
                self._take_lent(self._find_attached(frame), frame.lent)
            self._arrived.append(frame)
        elif isinstance(frame, DeliverBatch):
            self._arrived.append(frame)
        elif isinstance(frame, Grant):
            self._grant(frame.seq)
        elif isinstance(frame, Hold):
            self.hold = frame.number
            self.calls.append(frame)
        elif isinstance(frame, Go):
            self.hold = 0
            self.calls[:] = [call for call in self.calls if isinstance(call, Stop)]
        elif isinstance(frame, Stop):
            self.reason, self.is_stopping = frame.reason, True
            self.calls.append(frame)
        else:
            self._accept_memory(frame)

    def _accept_memory(self, frame: ToWorker) -> None:
        attached = self._find_attached(frame)
        match frame:
            case Attach(items):
                attached.attach(items, self._fds.popleft())
            case Lend(ids):
                self._take_lent(attached, ids)
            case Detach(ids):
                attached.detach(ids)
            case Reclaim():
                attached.give_back()
            case Full(number):
                if number == self._wants:
                    self._answer = False
            case _:
                raise FrameError("a second Boot frame")

    def _find_attached(self, frame: ToWorker) -> Attached:
        if self.attached is None:
            raise FrameError(f"a {type(frame).__name__} frame before there was anything to do")
        return self.attached

    def _take_lent(self, attached: Attached, ids: list[int]) -> None:
        attached.lend(ids)
        self._answer = True

    def _grant(self, seq: int) -> None:
        with self._weighing:
            # A grant for a request that is over finds nothing to let go.
            if seq == self._current and self._weights:
                self._ungranted -= self._weights.popleft()


# Plain numbers: operations of flags are Python code.
_CLOSE_ON_EXEC = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))
_DESCRIPTORS_LOST = int(socket.MSG_CTRUNC)
_DO_NOT_WAIT = int(socket.MSG_DONTWAIT)
_CALLS = 64
"""Calls that are read at once. One that comes too late ends the next listening, and the deputy looks once more before
it goes on."""


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
