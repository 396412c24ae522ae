"""What a worker sends: commits together while turns are short, everything else at once.

Owns the sending side of the channel in the worker, and the results not yet sent. Keeps the order in which
things happened. Never receives, never runs a request.

Results leave when nothing is left to do, when there are many, before anything else is sent, and when a turn ends
`LINGER_SECONDS` after the last ones left: so that of a turn that took as long waits for no others.
Where the turn that would have to end first is a long one, the deputy sends what was there before (`deputy`): so a long
turn never holds back the commits of the short ones before it. While the deputy listens nothing waits for more.

Theory of operation. The main thread alone adds results, by three calls of lists that no lock guards, since each
result costs that. Whoever sends them takes from the fronts, under the lock, what was there when it began; what is added
meanwhile stays for the next time. What a batch of requests has come to is likewise taken out of its execution, which
collects it, by whoever sends. Of three kinds of results the older ones are sent first: frames made already, those of
single requests, those of the batch that runs.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Protocol

import msgspec

from supervisors.errors import FrameError
from supervisors.places.base import BatchExecution
from supervisors.places.process.inbound import leave_unheard
from supervisors.wire.frames import (
    FRAME_OVERHEAD_BYTES,
    MAX_FRAME_BYTES,
    Done,
    DoneBatch,
    FromWorker,
    append_frame,
    encode_frame,
)

LINGER_SECONDS = 0.002
"""Seconds that a result waits for others, while others are run: what a report costs the program, beside its results, is
a tenth of that, so that several workers do not take all of its time (arbitrary)."""
RESULTS_TOGETHER = 256
"""Results that are sent together at most."""
_RESULTS_BYTES = 256 * 1024
_ITEM_BYTES = 32  # an item's numbers and lengths, rounded up


class Outlet(Protocol):
    """Where the bytes of frames go: a blocking stream socket, or what does for one."""

    def sendall(self, data: bytearray, /) -> None:
        """Send all of `data`, which is the receiver's from then on. Raises `OSError` if nobody takes it."""

    def close(self) -> None:
        """Send nothing more."""


class Outbound:
    """The sending side of a worker's channel.

    Args:
        channel: where frames go; kept, not closed.
        incarnation: carried by every frame.
        max_bytes: the longest frame the parent takes.
    """

    def __init__(self, channel: Outlet, incarnation: int, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._channel = channel
        self._incarnation = incarnation
        self._max_bytes = max_bytes
        self._bytes_bound = min(_RESULTS_BYTES, max_bytes // 2)
        # Guards the socket, and the taking of results: what is taken is sent before anything else.
        self._lock = threading.Lock()
        self._encoded = bytearray()
        """Frames of results, to be sent first."""
        self.seqs: list[int] = []
        """Requests that were run, oldest first. The main thread appends here; what is taken out is not its affair."""
        self.bodies: list[Any] = []
        """Their results: each was weighed, or is small and can be encoded."""
        self.seconds: list[float] = []
        """How long each took; appended to last, by which the result is there to be sent."""
        self._result_bytes = 0
        """Bytes of those results that were weighed since they were sent last."""
        self._first = 0
        self._batch: BatchExecution | None = None
        """The batch that is run, and the number of its first request."""
        # A signal handler runs on the main thread, maybe while that thread is in here: what such a
        # handler logs is put aside until the main thread comes out.
        self._main_thread = threading.get_ident()  # it is made there
        self._main_is_inside = False
        self._aside: deque[FromWorker] = deque()
        self._is_muted = False

    @property
    def body_bound(self) -> int:
        """Bytes that the body of one frame may have."""
        return self._max_bytes - FRAME_OVERHEAD_BYTES

    def weigh(self, body: Any) -> None:
        """Make room for a body that is not known to be small; the main thread's call.

        Raises:
            FrameError: it cannot be a body of a frame: it is neither bytes nor encoded, or too long.
        """
        size = measure_body(body, self.body_bound) + _ITEM_BYTES
        if self._result_bytes + size > self._bytes_bound:
            self.flush()
        self._result_bytes += size

    def begin_batch(self, first: int, batch: BatchExecution) -> None:
        """From now on send what `batch` comes to, numbered from `first`; the main thread's call."""
        self._main_is_inside = True
        with self._lock:
            self._encode_results()
            self._first, self._batch = first, batch
        self._leave()

    def end_batch(self) -> None:
        """Keep what the batch has come to, to be sent, and take nothing from it any more; the main thread's call."""
        self._main_is_inside = True
        with self._lock:
            self._encode_results()
            self._batch = None
        self._leave()

    @property
    def has_results(self) -> bool:
        """Whether there may be any."""
        return bool(self.seconds or self._encoded) or self._batch is not None

    def flush(self) -> None:
        """Send the results, if there are some. The main thread's call."""
        if not (self.seconds or self._encoded or self._batch is not None):
            return
        self._main_is_inside = True
        with self._lock:
            self._send_results()
        self._result_bytes = 0
        self._main_is_inside = False
        if self._aside:
            self._leave()

    def flush_late(self) -> None:
        """Send the results, if there are some; any other thread's call."""
        if self.has_results:
            with self._lock:
                self._send_results()

    def send(self, frame: FromWorker) -> None:
        """Send the results, then `frame`; any thread's call.

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
                self._send_results()
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

    def _send_results(self) -> None:
        self._encode_results()
        if self._encoded:
            encoded, self._encoded = self._encoded, bytearray()
            self._send(encoded)

    def _encode_results(self) -> None:
        count = len(self.seconds)
        if count:
            frame: Done[Any] = Done(self.seqs[:count], self.bodies[:count], self.seconds[:count])
            for column in (self.seqs, self.bodies, self.seconds):
                del column[:count]
            append_frame(self._encoded, frame, self._incarnation, self._max_bytes)
        collected = None if self._batch is None else self._batch.take_results()
        if collected is not None:
            position, results, seconds, _at = collected
            append_frame(
                self._encoded,
                DoneBatch(self._first + position, results, seconds),
                self._incarnation,
                self._max_bytes,
            )

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
