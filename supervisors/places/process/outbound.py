"""What a worker sends: commits in batches while turns are short, everything else at once.

Owns the sending side of the channel in the worker, the batch of results not yet sent, and the
helper thread that sends a batch which has waited long enough. Keeps the order in which things
happened. Never receives, never runs a request.

A batch leaves when nothing is left to do, when it is full, when the turn that closed it took a
millisecond or more, before anything else is sent, and at the latest 2 ms after its first result:
so a long turn never holds back the commits of the short ones before it.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque

from supervisors.places.process.inbound import leave_unheard
from supervisors.wire.frames import FRAME_OVERHEAD_BYTES, MAX_FRAME_BYTES, Done, FromWorker, encode_frame

_BATCH_ITEMS = 256
_BATCH_BYTES = 256 * 1024
_LONG_TURN_SECONDS = 0.001
_LINGER_SECONDS = 0.002
_ITEM_BYTES = 32  # an item's numbers and lengths, rounded up


class Outbound:
    """The sending side of a worker's channel. Any thread may call its methods.

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
        # Guards the batch and the socket: what is taken from the batch is sent before anything else.
        self._lock = threading.Lock()
        self._batch: list[tuple[int, bytes, float]] = []
        self._batch_bytes = 0
        self._since = 0.0
        # A signal handler runs on the main thread, maybe while that thread is in here: what such a
        # handler logs is put aside until the main thread comes out.
        self._main_thread = threading.main_thread().ident
        self._main_is_inside = False
        self._aside: deque[FromWorker] = deque()
        self._is_muted = False
        self._lingering = threading.Event()
        self._never = threading.Event()
        threading.Thread(target=self._send_late, name="supervisors-flush", daemon=True).start()

    @property
    def body_bound(self) -> int:
        """Bytes that the body of one frame may have."""
        return self._max_bytes - FRAME_OVERHEAD_BYTES

    def done(self, seq: int, body: bytes, seconds: float, *, more: bool) -> None:
        """Send a result, or keep it for the batch if `more` requests are there to be run now.

        The main thread's call. `body` must be within `body_bound`.
        """
        self._main_is_inside = True
        with self._lock:
            size = len(body) + _ITEM_BYTES
            if self._batch_bytes + size > self._batch_bound:
                self._send_batch()
            if not self._batch:
                self._since = time.monotonic()
            self._batch.append((seq, body, seconds))
            self._batch_bytes += size
            if not more or seconds >= _LONG_TURN_SECONDS or len(self._batch) >= _BATCH_ITEMS:
                self._send_batch()
            elif not self._lingering.is_set():
                self._lingering.set()
        self._leave()

    def flush(self) -> None:
        """Send the batch, if there is one. The main thread's call."""
        if not self._batch:
            return
        self._main_is_inside = True
        with self._lock:
            self._send_batch()
        self._leave()

    def send(self, frame: FromWorker) -> None:
        """Send the batch, then `frame`.

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
        if self._batch:
            items, self._batch, self._batch_bytes = self._batch, [], 0
            self._send(encode_frame(Done(items), self._incarnation, self._max_bytes))

    def _send(self, data: bytearray) -> None:
        if self._is_muted:
            return
        try:
            self._channel.sendall(data)
        except OSError as error:
            leave_unheard(
                error
            )  # a handler has closed it: what has run and is not told would be waited for without end

    def _send_late(self) -> None:
        while True:
            self._lingering.wait()
            self._never.wait(max(0.0, self._since + _LINGER_SECONDS - time.monotonic()))
            with self._lock:
                if not self._batch:
                    self._lingering.clear()
                elif time.monotonic() - self._since >= _LINGER_SECONDS:
                    self._send_batch()
