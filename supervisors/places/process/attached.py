"""The shared memory that a worker was given: what it reads, what it may write, what it still looks at.

Owns the segments mapped in a worker, and what is told to the parent about them. Never makes a segment, never decides
who gets one.

Theory of operation. A request's payload names segments that were attached before it arrived, and that stay as they are
while the request is in hand. When its turn is over, whatever of them is still looked at (a view that the handler kept)
is told as *kept*, ahead of the turn's result; and as *gone* when the last view is. What the worker writes was *lent* to
it: a value that is emitted names it, and it is *pinned* here until the frame with that was handed to the channel, since
nobody else knows of it until then. What nobody looks at and no frame has named may be written again.

That a view is gone is told by the end of a segment's export (`memory`), on whatever thread and at whatever moment. It
is put into a queue, and a thread, started with the first view that is kept, tells the parent.

Lock: `_lock` guards all tables. It is held while `kept` and `gone` are sent, so that these come in their order.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from supervisors.errors import InternalError, ValueDecodingError
from supervisors.places.process.heap import Heap
from supervisors.wire.copying import Copier
from supervisors.wire.frames import FromWorker, Gone, Kept
from supervisors.wire.memory import AddressMap, Mapping, Stock, view_of, writable_view_of
from supervisors.wire.outside import LEAST_BYTES, Name, lay_out, pack_outside, read_names

_FIT = 2
"""As that of `segments`."""


class AsksForRoom(Protocol):
    """Asks the parent for a segment to write, and waits (`worker.RequestPort`)."""

    def want(self, size: int, returned: list[int]) -> bool:
        """Give back `returned`, and ask for `size` bytes; False if there will be no more room."""


class Attached:
    """A worker's segments: a `Space`, for its main thread.

    Args:
        send: sends a frame, behind all that was handed over before; to be set before there is anything to do.
    """

    def __init__(self, send: Callable[[FromWorker], None] | None = None) -> None:
        self.send = send or _tell_nobody
        self.heap = Heap(may_keep=False)
        """Where the buffers come from that are copied into segments."""
        self._copier = Copier()
        self._lock = threading.Lock()
        self._segments: dict[int, _Segment] = {}
        self._addresses: AddressMap[_Segment] = AddressMap()
        self._idle: Stock[_Segment] = Stock()
        """Those it may write that nobody looks at."""
        self._taken: dict[int, _Segment] = {}
        """Those it may write that were taken for that, and that no frame has named; maybe nobody looks at them now."""
        self._pins: dict[int, tuple[Any, int]] = {}
        """Of each segment that values name which are not sent: its export, and how many values do."""
        self.used: dict[int, _Segment] = {}
        """Those that the turn in hand has looked at, written or shared: not empty where `tell_kept` and `end_turn` are
        to be called. It is always this dict: whoever runs turns asks it after each."""
        self._told: set[int] = set()
        """Those of which the parent knows that they are looked at."""
        self._owes = False
        """Whether the parent has asked for what the turn in hand uses."""
        self._unused: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.port: AsksForRoom | None = None
        """Of the request in hand."""

    # -- What the parent tells; the channel's thread

    def attach(self, items: Sequence[tuple[int, int, bool]], fds: Sequence[int]) -> None:
        """Map segments, given as id, size and whether this process writes them; the descriptors are closed."""
        for (id_, size, is_writable), fd in zip(items, fds, strict=False):
            # One that cannot be mapped is missed by the turn that is given it.
            with contextlib.suppress(OSError):
                mapping = Mapping(fd, size, is_writable=is_writable, on_unused=partial(self._unused.put, id_))
                segment = _Segment(id_, mapping)
                with self._lock:
                    self._segments[id_] = segment
                    self._addresses.add(segment)
        for fd in fds:
            os.close(fd)

    def lend(self, ids: Sequence[int]) -> None:
        """Take segments to be written."""
        with self._lock:
            for id_ in ids:
                if id_ in self._segments:
                    self._idle.put(self._segments[id_])

    def detach(self, ids: Sequence[int]) -> None:
        """Forget segments that were given up."""
        with self._lock:
            for id_ in ids:
                self._segments.pop(id_, None)

    def give_back(self) -> None:
        """Give back what it may write and does not; the rest of that when the turn is over, if it is not sent."""
        with self._lock:
            self.send(Gone(self._take_idle()))
            self._owes = bool(self._taken)

    # -- What a handler does

    def share(self, inner: bytes, buffers: Sequence[memoryview]) -> bytes | None:
        """Give a value that names its buffers; None where there is no room for them."""
        places: dict[int, tuple[_Segment, Any, int]] = {}
        others = []
        for at, buffer in enumerate(buffers):
            with self._lock:
                found = self._addresses.find(buffer)
            if found is None:
                others.append(at)
            else:
                segment, offset = found
                places[at] = segment, segment.mapping.export(), offset
        if others:
            offsets, size = lay_out([buffers[at] for at in others])
            lent = self._find_room(size)
            if lent is None:
                return None
            segment, export = lent
            for at, offset in zip(others, offsets, strict=True):
                self._copier.write(export, offset, buffers[at])
                self.heap.keep(buffers[at].nbytes)
                places[at] = segment, export, offset
        names = []
        for at, buffer in enumerate(buffers):
            segment, export, offset = places[at]
            names.append(Name(segment.id, offset, buffer.nbytes))
        for id_, export in {segment.id: export for segment, export, _offset in places.values()}.items():
            self._pins[id_] = export, self._pins.get(id_, (None, 0))[1] + 1
        self.used.update({segment.id: segment for segment, _export, _offset in places.values()})
        return pack_outside(names, inner)

    def empty(self, size: int) -> memoryview | None:
        """Give room for so many bytes to be written."""
        lent = self._find_room(size)
        return None if lent is None else writable_view_of(lent[1], 0, size)

    def find(self, data: bytes | memoryview, names: Sequence[Name]) -> list[memoryview]:
        """Give the buffers that a payload names; raises `ValueDecodingError` where one was not given, or is lost."""
        views = []
        with self._lock:
            for name in names:
                segment = self._segments.get(name.segment)
                if segment is None or name.offset + name.length > segment.mapping.size:
                    raise ValueDecodingError(f"{len(data)} bytes name memory that was not given here, or is lost")
                views.append(view_of(segment.mapping.export(), name.offset, name.length))
                self.used[segment.id] = segment
        return views

    def withdraw(self, data: bytes) -> None:
        """Take back what `share` gave: it goes into no frame."""
        for id_ in {name.segment for name in read_names(data)[0]}:
            export, count = self._pins.pop(id_, (None, 0))
            if count > 1:
                self._pins[id_] = export, count - 1

    # -- The course of a turn; the main thread

    def tell_kept(self) -> None:
        """Tell the parent what is looked at beyond the turn; before the frame that ends it."""
        with self._lock:
            kept = [
                id_
                for id_, segment in self.used.items()
                if id_ not in self._told and segment.mapping.is_viewed(id_ in self._pins)
            ]
            if not kept:
                return
            self.send(Kept(kept))
            self._told.update(kept)
            for id_ in kept:
                self._taken.pop(id_, None)
        if self._thread is None:
            self._thread = threading.Thread(target=self._tell_gone, name="supervisors-buffers", daemon=True)
            self._thread.start()
        for id_ in kept:
            self._unused.put(id_)  # its end may have come before anybody looked for it

    def sent(self) -> None:
        """Note that the values shared so far were handed to the channel."""
        with self._lock:
            for id_ in self._pins:
                self._taken.pop(id_, None)
        self._pins.clear()

    def end_turn(self) -> None:
        """Note that the turn is over: what it shared and did not send is sent by nobody."""
        self._pins.clear()
        self.used.clear()
        if self._taken:
            with self._lock:
                self._put_back()
        if self._owes:
            self.give_back()

    def close(self) -> None:
        """Tell nothing any more, and wait for the threads of this."""
        self._copier.close()
        if self._thread is not None:
            self._unused.put(None)
            self._thread.join()

    def _find_room(self, size: int) -> tuple[_Segment, Any] | None:
        while True:
            with self._lock:
                segment = self._take(size)
                if segment is not None:
                    self._taken[segment.id] = self.used[segment.id] = segment
                    return segment, segment.mapping.export()
                idle = self._take_idle()
            if self.port is None or not self.port.want(size, idle):
                return None

    def _take(self, size: int) -> _Segment | None:
        most = _FIT * max(size, LEAST_BYTES)
        segment = self._idle.take(size, most)
        if segment is None and self._taken:
            self._put_back()
            segment = self._idle.take(size, most)
        return segment

    def _put_back(self) -> None:
        """Let those be idle that were taken, and that nobody looks at any more."""
        for id_ in [id_ for id_, segment in self._taken.items() if not segment.mapping.is_used]:
            self._idle.put(self._taken.pop(id_))

    def _take_idle(self) -> list[int]:
        self._put_back()
        return [segment.id for segment in self._idle.clear()]

    def _tell_gone(self) -> None:
        while (id_ := self._unused.get()) is not None:
            self._tell_if_gone(id_)

    def _tell_if_gone(self, id_: int) -> None:
        with self._lock:
            segment = self._segments.get(id_)
            if id_ in self._told and (segment is None or not segment.mapping.is_used):
                self._told.discard(id_)
                self.send(Gone([id_]))


class _Segment:
    """A segment, mapped here."""

    __slots__ = ("__weakref__", "id", "mapping", "size")

    def __init__(self, id_: int, mapping: Mapping) -> None:
        self.id = id_
        self.mapping = mapping
        self.size = mapping.size


def _tell_nobody(frame: FromWorker) -> None:
    raise InternalError(f"a {type(frame).__name__} frame before there was a channel")
