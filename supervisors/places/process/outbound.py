"""What a worker sends: commits in batches while turns are short, everything else at once.

Owns the sending side of the channel in the worker, and the batch of results not yet sent. Keeps the order in which
things happened. Never receives, never runs a request.

A batch leaves when nothing is left to do, when it is full, when the turn that closed it took
a millisecond or more, before anything else is sent, and when a turn ends `LINGER_SECONDS` after the last one left.
Where the turn that would have to end first is a long one, the deputy sends what was there before (`deputy`): so a long
turn never holds back the commits of the short ones before it. While the deputy listens nothing waits for more.

Theory of operation. The main thread alone adds to the batch, by three calls of lists that no lock guards, since each
result costs that. Whoever sends it takes from their fronts, under the lock, what was there when it began; what is added
meanwhile stays for the next time.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from typing import Any

import msgspec

from supervisors.errors import FrameError
from supervisors.places.process.inbound import leave_unheard
from supervisors.wire.frames import FRAME_OVERHEAD_BYTES, MAX_FRAME_BYTES, Done, FromWorker, encode_frame

LINGER_SECONDS = 0.002
"""Seconds that a result waits for others, while others are run."""
LONG_TURN_SECONDS = 0.001
"""Seconds of a turn whose result waits for no others."""
BATCH_ITEMS = 256
"""Results in a batch that is full."""
_BATCH_BYTES = 256 * 1024
_ITEM_BYTES = 32  # an item's numbers and lengths, rounded up


class Outbound:
    """The sending side of a worker's channel.

    Args:
        channel: a blocking stream socket; kept, not closed.
        incarnation: carried by every frame.
        max_bytes: the longest frame the parent takes.
    """

    def __init__(self, channel: socket.socket, incarnation: int, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._channel = channel
        self._incarnation = incarnation
        self._max_bytes = max_bytes
        self._batch_bound = min(_BATCH_BYTES, max_bytes // 2)
        # Guards the socket, and the taking from the batch: what is taken is sent before anything else.
        self._lock = threading.Lock()
        self.seqs: list[int] = []
        """The batch, oldest first: the requests. The main thread appends here; what is taken out is not its affair."""
        self.bodies: list[Any] = []
        """Their results: each was weighed, or is small and can be encoded."""
        self.seconds: list[float] = []
        """How long each took; appended to last, by which the result is in the batch."""
        self._batch_bytes = 0
        """Bytes of those in the batch that were weighed since it was sent last."""
        # A signal handler runs on the main thread, maybe while that thread is in here: what such a
        # handler logs is put aside until the main thread comes out.
        self._main_thread = threading.main_thread().ident
        self._main_is_inside = False
        self._aside: deque[FromWorker] = deque()
        self._is_muted = False

    @property
    def body_bound(self) -> int:
        """Bytes that the body of one frame may have."""
        return self._max_bytes - FRAME_OVERHEAD_BYTES

    def weigh(self, body: Any) -> None:
        """Make room in the batch for a body that is not known to be small; the main thread's call.

        Raises:
            FrameError: it cannot be a body of a frame: it is neither bytes nor encoded, or too long.
        """
        size = measure_body(body, self.body_bound) + _ITEM_BYTES
        if self._batch_bytes + size > self._batch_bound:
            self.flush()
        self._batch_bytes += size

    def flush(self) -> None:
        """Send the batch, if there is one. The main thread's call."""
        if not self.seconds:
            return
        self._main_is_inside = True
        with self._lock:
            self._send_batch()
        self._batch_bytes = 0
        self._leave()

    def flush_late(self) -> None:
        """Send the batch, if there is one; any other thread's call."""
        if self.seconds:
            with self._lock:
                self._send_batch()

    def send(self, frame: FromWorker) -> None:
        """Send the batch, then `frame`; any thread's call.

        Raises:
            FrameError: the frame is over the bound; nothing was sent.
        """
        is_main = threading.get_ident() == self._main_thread
        if is_main:
            if self._main_is_inside:
                self._aside.append(frame)
                return
            self._main_is_inside = True
        try:
            data = encode_frame(frame, self._incarnation, self._max_bytes)
            with self._lock:
                self._send_batch()
                self._send(data)
        finally:
            if is_main:
                self._leave()

    def mute(self) -> None:
        """Send nothing from now on, and hold no lock: for a copy of the worker made by fork."""
        self._is_muted = True
        self._lock = threading.Lock()
        self._channel.close()

    def _leave(self) -> None:
        self._main_is_inside = False
        while self._aside:
            self.send(self._aside.popleft())

    def _send_batch(self) -> None:
        count = len(self.seconds)
        if count:
            frame: Done[Any] = Done(self.seqs[:count], self.bodies[:count], self.seconds[:count])
            for column in (self.seqs, self.bodies, self.seconds):
                del column[:count]
            self._send(encode_frame(frame, self._incarnation, self._max_bytes))

    def _send(self, data: bytearray) -> None:
        if self._is_muted:
            return
        try:
            self._channel.sendall(data)
        except OSError as error:
            leave_unheard(
                error
            )  # a handler has closed it: what has run and is not told would be waited for without end


def measure_body(body: object, bound: int) -> int:
    """Give the bytes of a body that is not known to be small.

    Raises:
        FrameError: it is neither a bytes object nor encoded, or longer than `bound`.
    """
    if isinstance(body, bytes):
        size = len(body)
    elif isinstance(body, msgspec.Raw):
        size = memoryview(body).nbytes
    else:
        raise FrameError(f"expected a result as bytes, got {type(body).__name__}")
    if size > bound:
        raise FrameError(f"a result of {size} bytes is over the bound of {bound} bytes")
    return size
