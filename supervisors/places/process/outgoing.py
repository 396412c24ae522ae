"""What a parent sends to one worker: requests together, everything else at once.

Owns the sending side of the channel in the parent: what was submitted and not sent, what waits to be written, and the
orders about shared memory, which go ahead of the requests that they are for. Lives on its actor's thread; never waits.

Another thread that acts for the actor (`Life.run_here`) has what was submitted made ready by `flush_later`, and writes
it when the actor may go on: so the actor, which is woken by the answer, does not wait for who has asked. `_writing` is
held meanwhile, and by whoever else writes.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Raw

from supervisors.errors import RequestTooLongError
from supervisors.places.process.inbound import ATTACHED_AT_ONCE
from supervisors.places.process.link import Link
from supervisors.places.process.segment_pool import Party
from supervisors.places.process.segments import Segment
from supervisors.wire.frames import (
    FRAME_OVERHEAD_BYTES,
    SMALL_BYTES,
    Attach,
    Deliver,
    DeliverBatch,
    Detach,
    Full,
    Lend,
    Reclaim,
    ToWorker,
    Want,
    append_frame,
    encode_frame,
)
from supervisors.wire.outside import Holder, LeasedBody

_DELIVERED_BYTES = 1024 * 1024
"""Bytes of requests a frame carries before the next one begins, and that may wait to be written."""
_ITEM_BYTES = 32  # a request's number and lengths, rounded up
_NOTHING: list[int] = []
"""No segments; never changed."""
_MEASURED: frozenset[type[Any]] = frozenset({bytes, Raw, LeasedBody})
"""Classes of bodies that are encoded; all others are small."""


class Outgoing:
    """The sending side of a channel.

    Args:
        channel: a socket that does not block; kept, not closed.
        incarnation: the worker's.
        max_frame_bytes: the longest frame.
        link: what the worker has in hand.
        party: what it has of its owner's shared memory; None where that shares none.
        present: gives the worker what a request holds, and gives segments whose descriptors go with it.
        watch: called when what waits begins to wait for the channel (True), and when it does so no more.
    """

    def __init__(
        self,
        channel: socket.socket,
        incarnation: int,
        max_frame_bytes: int,
        link: Link,
        party: Party | None,
        present: Callable[[Sequence[Holder]], Sequence[Segment]],
        watch: Callable[[bool], None],
    ) -> None:
        self._channel = channel
        self._incarnation = incarnation
        self._max_frame_bytes = max_frame_bytes
        self._body_bound = max_frame_bytes - FRAME_OVERHEAD_BYTES
        self._delivered_bound = min(_DELIVERED_BYTES, max_frame_bytes // 2)
        self._link = link
        self._party = party
        self._present = present
        self._watch = watch
        self.want: Want | None = None
        """The shared memory that it waits for."""
        self._is_open = True
        # Guards what waits, and the channel's life while something is written to it. It may be taken twice: what goes
        # ahead of what is made ready is written at once.
        self._writing = threading.RLock()
        self._waiting: deque[tuple[memoryview, Sequence[Segment]]] = deque()
        """What is to be written, and the segments whose descriptors go with it."""
        self._waiting_bytes = 0
        self._is_blocked = False
        """Whether that waits for the channel."""
        self._batches = bytearray()
        """Frames of batches that were submitted and leave with the next flush, ahead of the requests below."""
        self._seqs: list[int] = []
        """What else was submitted and leaves then; its bodies likewise."""
        self._bodies: list[Any] = []
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be written that no more is to be submitted."""
        return self._waiting_bytes > _DELIVERED_BYTES

    def submit(self, requests: Iterable[tuple[int, Any]]) -> None:
        """Add requests to those that `flush` sends.

        Raises:
            RequestTooLongError: one is longer than a frame may be; those before it alone were added.
        """
        seqs, bodies, begin = self._seqs, self._bodies, len(self._seqs)
        try:
            for seq, body in requests:
                if body.__class__ in _MEASURED:
                    if body.__class__ is LeasedBody:
                        body = self._attach(body)  # noqa: PLW2901  what is left of it
                    self._bytes += self._measure(seq, body)
                else:
                    self._bytes += SMALL_BYTES
                seqs.append(seq)
                bodies.append(body)
        finally:
            self._link.send(seqs[begin:])

    def submit_batch(self, first: int, count: int, batch: Any) -> None:
        """Add a batch to what `flush` sends; it takes no more than half of what a frame may.

        Args:
            first: the number of its first request.
            count: how many there are.
            batch: the requests.
        """
        if self._seqs:
            self.flush()
        self._add(self._batches, DeliverBatch(self._link.epoch, first, batch))
        self._link.send(range(first, first + count))

    def flush(self) -> None:
        """Send what was submitted, and what is to be told ahead of it, in one write."""
        self._send_together(self._gather())

    def flush_later(self) -> Callable[[], bool]:
        """Make ready what was submitted; gives what has to be called once, on the same thread, to write it.

        That may be done while the actor goes on. It tells whether all is well: else the channel takes no more for now,
        and the actor is to call `write`.
        """
        self._writing.acquire()
        try:
            data = self._gather()
            if data and self._is_open:
                self._keep(data)
        except BaseException:
            self._writing.release()
            raise
        return self._write_late

    def _gather(self) -> bytearray:
        """Give the frames of what was submitted; none of what is so much that it goes in pieces, at once."""
        data, seqs, bodies, size = self._batches, self._seqs, self._bodies, self._bytes
        if not (seqs or data):
            return data
        self.drop()
        lent = _NOTHING
        if seqs and self._party is not None and self._party.has_orders:
            lent = self._add_orders(self._party, data)
        if size > self._delivered_bound:
            self._add_lent(lent, data)
            self._send_together(data)
            self._send_in_pieces(seqs, bodies)
            return bytearray()
        if seqs:
            self._add(data, Deliver(self._link.epoch, seqs, bodies, lent))
        return data

    def drop(self) -> None:
        """Forget what was submitted: it is back."""
        self._batches = bytearray()
        self._seqs, self._bodies, self._bytes = [], [], 0

    def send_orders(self) -> None:
        """Tell it what has changed about the segments that it has, or may have."""
        if self._party is not None:
            data = bytearray()
            self._add_lent(self._add_orders(self._party, data), data)
            self._send_together(data)

    def tell_full(self) -> None:
        """Tell it that what it waits for will not come."""
        if self.want is not None:
            self.send(Full(self.want.number))
            self.want = None

    def send(self, frame: ToWorker, segments: Sequence[Segment] = ()) -> None:
        """Send a frame, with the descriptors of segments."""
        if self._is_open:
            self.send_bytes(encode_frame(frame, self._incarnation, self._max_frame_bytes), segments)

    def send_bytes(self, data: bytearray, segments: Sequence[Segment] = ()) -> None:
        """Write at once if the channel is idle; what waits already goes first."""
        if not self._is_open:
            return
        with self._writing:
            self._keep(data, segments)
        if not self._is_blocked:
            self.write()

    def write(self) -> None:
        """Write what waits, as far as the channel takes it, and have the rest written when it takes more."""
        with self._writing:
            if not self._is_open:
                return
            self._write_out()
            is_blocked = bool(self._waiting)
        if self._is_blocked != is_blocked:
            self._is_blocked = is_blocked
            self._watch(is_blocked)

    def close(self) -> None:
        """Send nothing more."""
        with self._writing:
            self._is_open = False

    def _keep(self, data: bytearray, segments: Sequence[Segment] = ()) -> None:
        self._waiting.append((memoryview(data), segments))
        self._waiting_bytes += len(data)

    def _write_late(self) -> bool:
        """Write what `flush_later` has made ready, unless the actor does so anyway when the channel takes more."""
        try:
            if self._is_open and not self._is_blocked:
                self._write_out()
            return self._is_blocked or not self._waiting
        finally:
            self._writing.release()

    def _write_out(self) -> None:
        channel, waiting = self._channel, self._waiting
        try:
            while waiting:
                data, segments = waiting[0]
                if segments:
                    sent = socket.send_fds(channel, [data], [segment.fd for segment in segments])
                else:
                    sent = channel.send(data)
                self._waiting_bytes -= sent
                if sent == len(data):
                    waiting.popleft()
                else:
                    # The descriptors have gone with the first of it.
                    waiting[0] = data[sent:], ()
        except BlockingIOError:
            pass
        except OSError:
            # It is going: its death is noticed where deaths are, and the ledger has all that was sent.
            waiting.clear()
            self._waiting_bytes = 0

    def _add(self, data: bytearray, frame: ToWorker) -> None:
        append_frame(data, frame, self._incarnation, self._max_frame_bytes)

    def _send_together(self, data: bytearray) -> None:
        if data:
            self.send_bytes(data)

    def _add_orders(self, party: Party, data: bytearray) -> list[int]:
        """Add orders to what is about to be sent; those with descriptors go ahead of it.

        Returns:
            The segments that are lent by what is added next.
        """
        orders = party.take_orders()
        if orders.detach:
            self._add(data, Detach(orders.detach))
        self._send_segments(orders.attach)
        if orders.lend:
            self.want = None
        if not orders.is_reclaiming:
            return orders.lend
        self._add_lent(orders.lend, data)  # first: what it has no use for comes back too
        self._add(data, Reclaim())
        return _NOTHING

    def _add_lent(self, lent: list[int], data: bytearray) -> None:
        if lent:
            self._add(data, Lend(lent))

    def _measure(self, seq: int, body: bytes | Raw) -> int:
        size = memoryview(body).nbytes
        if size > self._body_bound:
            raise RequestTooLongError(seq, size, self._body_bound)
        return size + _ITEM_BYTES

    def _send_in_pieces(self, seqs: list[int], bodies: list[Any]) -> None:
        begin = size = 0
        for index, (seq, body) in enumerate(zip(seqs, bodies, strict=True)):
            weight = self._measure(seq, body) if body.__class__ in _MEASURED else SMALL_BYTES
            if index > begin and size + weight > self._delivered_bound:
                self.send(Deliver(self._link.epoch, seqs[begin:index], bodies[begin:index]))
                begin, size = index, 0
            size += weight
        self.send(Deliver(self._link.epoch, seqs[begin:], bodies[begin:]))

    def _attach(self, body: LeasedBody) -> bytes | Raw:
        """Have it given, ahead of a request, the segments that this names."""
        self._send_segments(self._present(body.leases))
        return body.body

    def _send_segments(self, segments: Sequence[Segment]) -> None:
        for at in range(0, len(segments), ATTACHED_AT_ONCE):
            some = segments[at : at + ATTACHED_AT_ONCE]
            items = [(segment.id, segment.size, segment.writer is self._party) for segment in some]
            self.send(Attach(items), some)
