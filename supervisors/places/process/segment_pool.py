"""The shared memory of one owner and its workers: what there is, who may write it, who may still read it.

Owns the segments, the bound on all of them together, and the count of who uses each. Any thread may call its methods.
Never reads or writes a value.

Theory of operation. The parent makes every segment, for one *party* that writes it: a worker, or itself. It is *lent*
to that party, which writes a value into it and names it in what it reports. From then on the segment has a `Lease`,
one for all who name it: the payloads that do, wherever they are kept in the parent, the views that were made of them
in the parent, and the claims of workers that still have views when the turn is over that received them. A worker has
no claim of its own while its turn is running: the message is in hand until the turn's end has been taken in, and the
worker tells what it keeps before. When the lease is gone, nobody has the segment: it is lent again to the party that
wrote it, for which it is warm, or given up for somebody else's room.

Who is near the source of a flow must not take all there is, or those behind could not hand on what they make of it, and
nobody would free anything. So each asks with a *bound* on what is held by all together (`lend`), lower for those in
front: a buffer pool with classes (Raubold and Haenle 1976, for networks that store and forward).

A lease may end on any thread, wherever its last reference is dropped, under whatever lock and inside of a garbage
collection too. So its end takes no lock: it is put into a queue, which whoever takes the lock next looks at first, and
those who wait for room are woken.

Lock: `lock` guards everything of the pool and of its parties; it is a leaf.
"""

from __future__ import annotations

import contextlib
import resource
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from supervisors.errors import FrameError, ValueDecodingError
from supervisors.places.process.segments import Lease, Loan, Segment, round_size
from supervisors.wire.copying import Copier
from supervisors.wire.memory import AddressMap, Mapping, Stock
from supervisors.wire.outside import LEAST_BYTES, Leased, read_names

_FIT = 2
"""A warm segment serves a buffer that fills more than one part of so many."""
_MOST_SEGMENTS = 4_096
"""Segments of one pool, however many descriptors there are (arbitrary)."""


def _most_segments() -> int:
    """Give how many segments there may be: each takes a descriptor, and others want some too."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST_SEGMENTS if soft == resource.RLIM_INFINITY else min(_MOST_SEGMENTS, soft // 2)


def _wake_nobody() -> None:
    """Do nothing: for those who have ended."""


class Orders(NamedTuple):
    """What a worker is to be told.

    Args:
        attach: segments that it has not got yet, which it writes.
        lend: those it may write.
        detach: ids of those that are given up.
        is_reclaiming: whether what it does not use is wanted back.
    """

    attach: list[Segment]
    lend: list[int]
    detach: list[int]
    is_reclaiming: bool


class Party:
    """One process that writes and reads segments: a worker's incarnation, or the parent.

    Args:
        pool: whose segments these are.
        wake: called, from any thread, when there is something to tell it, or room it may have waited for.
        is_own: whether it is the parent.
    """

    def __init__(self, pool: SegmentPool, wake: Callable[[], None], *, is_own: bool = False) -> None:
        self.pool = pool
        self.wake = wake
        self.is_own = is_own
        self.is_gone = False
        self.lent: dict[int, Segment] = {}
        """Those it may write, or has written and not named so far."""
        self.spare: Stock[Segment] = Stock()
        """Those it wrote that nobody has."""
        self.known: dict[int, weakref.ref[Segment]] = {}
        """Those it has a descriptor of."""
        self.claims: dict[int, Lease] = {}
        """Those it keeps views of beyond the turn."""
        self.fresh: list[Segment] = []
        """Those lent since it was told last."""
        self.detached: list[int] = []
        self.is_reclaiming = False
        """Whether it is to be asked for what it does not use."""
        self.was_asked = False
        """Whether it was, since something was lent to it: what it uses now it gives back by itself later."""
        self.is_awaited = False
        """Whether its answer is still to come."""

    @property
    def has_orders(self) -> bool:
        """Whether `take_orders` may give any."""
        return bool(self.fresh or self.spare or self.detached or self.is_reclaiming or self.pool.has_ended)

    @property
    def is_called(self) -> bool:
        """Whether it is to be told something at once."""
        return bool(self.fresh or self.detached or self.is_reclaiming)

    def map(self, segment: Segment) -> Mapping:
        """Give the parent's mapping of a segment. Raises `OSError` if there can be none."""
        return self.pool.map(segment)

    def count_known_bytes(self) -> int:
        """Tell how long all segments are together that it has a descriptor of."""
        with self.pool.lock:
            return sum(segment.size for known in self.known.values() if (segment := known()) is not None)

    def take_orders(self) -> Orders:
        """Give what it is to be told now; all that is warm for it is lent to it, unless somebody waits for room."""
        with self.pool.lock:
            self.pool.settle_held()
            warm = [] if self.pool.is_pressed else self.pool.take_all_held(self)
            self.lent.update([(segment.id, segment) for segment in warm])
            lent = [*self.fresh, *warm]
            attach = [segment for segment in lent if segment.id not in self.known]
            for segment in attach:
                self.known[segment.id] = weakref.ref(segment)
            orders = Orders(attach, [segment.id for segment in lent], self.detached, self.is_reclaiming)
            self.was_asked = self.was_asked and not lent
            self.fresh, self.detached, self.is_reclaiming = [], [], False
        return orders

    def present(self, leases: Iterable[object]) -> list[Segment]:
        """Give the segments of these leases that it has no descriptor of: it is given one now."""
        new = []
        with self.pool.lock:
            for lease in leases:
                if isinstance(lease, Lease) and lease.segment.id not in self.known:
                    self.known[lease.segment.id] = weakref.ref(lease.segment)
                    new.append(lease.segment)
        return new

    def lease(self, data: bytes) -> Leased:
        """Give bytes that it reported with the leases of what they name.

        Raises:
            FrameError: they name what it was not given, or more than there is.
        """
        try:
            names, _inner = read_names(data)
        except ValueDecodingError as error:
            raise FrameError(str(error)) from error
        leases: dict[int, Lease] = {}
        with self.pool.lock:
            for name in names:
                lease = leases.get(name.segment) or self._lease_held(name.segment)
                if lease is None or name.offset + name.length > lease.segment.size:
                    raise FrameError(f"a worker names {name.length} bytes of shared memory that it was not given")
                leases[name.segment] = lease
        return Leased.of(data, tuple(leases.values()))

    def keep(self, ids: Iterable[int]) -> None:
        """Note that it has views of these beyond its turn; raises as `lease`."""
        with self.pool.lock:
            for segment in ids:
                lease = self._lease_held(segment)
                if lease is None:
                    raise FrameError("a worker keeps shared memory that it was not given")
                self.claims[segment] = lease

    def let_go(self, ids: Iterable[int]) -> None:
        """Note that it has no views of these any more, or gives them back unused."""
        with self.pool.lock:
            self.is_awaited = False
            for segment in ids:
                # A lease that ends by this takes no lock.
                self.claims.pop(segment, None)
                lent = self.lent.pop(segment, None)
                if lent is not None:
                    self.pool.put_aside_held(lent)
        self.pool.ring()

    def leave(self) -> None:
        """Note that the process has ended; what others still read of it stays until they have done."""
        with self.pool.lock:
            self.is_gone, self.is_awaited = True, False
            self.wake = _wake_nobody
            self.claims.clear()
            for segment in (*self.pool.take_all_held(self), *self.lent.values()):
                self.pool.discard_held(segment)
            self.lent, self.fresh, self.known = {}, [], {}
            self.pool.parties.discard(self)
        self.pool.ring()

    def _lease_held(self, id_: int) -> Lease | None:
        segment = self.lent.pop(id_, None)
        if segment is not None:
            return self.pool.lease_held(segment)
        claimed = self.claims.get(id_)
        if claimed is not None:
            return claimed
        known = self.known.get(id_)
        segment = None if known is None else known()
        return None if segment is None else segment.live_lease


class SegmentPool:
    """All segments of one owner.

    Args:
        limit: bytes of all of them together at most.
        most_segments: how many there may be; None for what descriptors allow.
    """

    def __init__(self, limit: int, most_segments: int | None = None) -> None:
        self.limit = limit
        self.lock = threading.Lock()
        self.copier = Copier()
        """Copies what the parent writes."""
        self.used = 0
        """Bytes of all segments."""
        self.held = 0
        """Bytes of those that are lent or leased: all but the spare ones."""
        self.parties: set[Party] = set()
        self._most = _most_segments() if most_segments is None else most_segments
        self._segments: dict[int, Segment] = {}
        self._making = 0
        """Segments that are being made: counted in `used`, and not known so far."""
        self._addresses: AddressMap[Segment] = AddressMap()
        self._ended: deque[int] = deque()
        self._waiting: tuple[Callable[[], None], ...] = ()
        self._is_closed = False
        self._own = Party(self, _wake_nobody, is_own=True)

    def __len__(self) -> int:
        return len(self._segments)

    @property
    def has_ended(self) -> bool:
        """Whether leases have ended that nobody has looked at so far."""
        return bool(self._ended)

    @property
    def is_pressed(self) -> bool:
        """Whether somebody waits for room."""
        return bool(self._waiting)

    def enter(self, wake: Callable[[], None]) -> Party:
        """Take in a worker that is about to start; `wake` as of `Party`."""
        party = Party(self, wake)
        with self.lock:
            self.parties.add(party)
        return party

    def lend(self, party: Party, size: int, bound: int | None = None) -> bool:
        """Lend a segment for `size` bytes to a worker, which its next orders tell; False where there is no room now.

        Args:
            party: the worker.
            size: how many bytes.
            bound: what may be held by all together, with this; one that nobody else holds anything beside may be
                larger. None for the limit.
        """
        segment = self._find(party, size, self.limit if bound is None else bound)
        if segment is None:
            return False
        with self.lock:
            if party.is_gone:
                self.discard_held(segment)
            else:
                party.lent[segment.id] = segment
                party.fresh.append(segment)
        return True

    def lend_own(self, size: int, bound: int | None = None) -> Loan | None:
        """Lend a segment for `size` bytes to the parent; None where there is no room now. As `lend`."""
        found = self._find(self._own, size, self.limit if bound is None else bound)
        if found is None:
            return None
        with self.lock:
            try:
                loan = Loan(found, self._map_held(found).export())
            except OSError:  # too many mappings
                self.discard_held(found)
                return None
            self._own.lent[found.id] = found
        return loan

    def find_own(self, buffer: memoryview) -> tuple[Segment, int] | None:
        """Give the segment that all of a buffer of the parent's lies in, and where in it; None for none."""
        with self.lock:
            return self._addresses.find(buffer)

    def lease_own(self, segment: Segment) -> Lease:
        """Give the lease of a segment that the parent has written, or looks at."""
        with self.lock:
            self._own.lent.pop(segment.id, None)
            lease = self.lease_held(segment)
            if segment.is_used:
                segment.mapping.export(lease)  # whoever has written it may still look at it
        return lease

    def map(self, segment: Segment) -> Mapping:
        """Give the parent's mapping of a segment. Raises `OSError` if there can be none."""
        with self.lock:
            return self._map_held(segment)

    def may_hold(self, size: int) -> bool:
        """Tell whether there could ever be room for so much."""
        return round_size(size) <= self.limit and not self._is_closed

    @property
    def may_regain(self) -> bool:
        """Whether some worker was asked for what it does not use, and has not answered."""
        return any(party.is_awaited for party in tuple(self.parties))

    def add_waiting(self, wake: Callable[[], None]) -> None:
        """Have `wake` called whenever there may be room, until `remove_waiting`; it must take no lock but a leaf."""
        with self.lock:
            self._waiting = (*self._waiting, wake)

    def remove_waiting(self, wake: Callable[[], None]) -> None:
        """Call it no more."""
        with self.lock:
            self._waiting = tuple([other for other in self._waiting if other != wake])

    def ring(self) -> None:
        """Wake those who wait for room."""
        for wake in self._waiting:
            wake()

    def close(self) -> None:
        """Give up all that nobody has; the rest is given up when its leases end."""
        with self.lock:
            self._is_closed = True
            for segment in self._segments.values():
                if segment.live_lease is not None:
                    self._map_held(segment)
                    segment.close()
            for party in (self._own, *self.parties):
                party.lent, party.spare, party.fresh = {}, Stock(), []
                # A lease that outlives this leads to who has written, and must not lead on to who has messages: these
                # hold leases, and no collection of garbage sees them (`routilux.messages`).
                party.wake = _wake_nobody
            self._segments.clear()
        self.copier.close()
        self.ring()

    # -- For those who hold the lock

    def lease_held(self, segment: Segment) -> Lease:
        """Give a segment's lease, made anew where it has none."""
        lease = segment.live_lease
        if lease is None:
            lease = Lease(segment)
            segment.lease = weakref.ref(lease, partial(self._on_end, segment.id))
        return lease

    def settle_held(self) -> None:
        """Let those segments be spare whose leases have ended, and those that the parent had no use for."""
        lent = self._own.lent
        for unused in [segment for segment in lent.values() if not segment.is_used]:
            self.put_aside_held(lent.pop(unused.id))
        while self._ended:
            segment = self._segments.get(self._ended.popleft())
            if segment is None or segment.lease is None or segment.live_lease is not None:
                continue
            segment.lease = None
            if segment.writer.is_gone:
                self.discard_held(segment)
            else:
                self.put_aside_held(segment)

    def put_aside_held(self, segment: Segment) -> None:
        """Let a segment be spare that nobody has any more."""
        segment.writer.spare.put(segment)
        self.held -= segment.size

    def take_all_held(self, party: Party) -> list[Segment]:
        """Let all spare segments of a party's be held by somebody."""
        segments = party.spare.clear()
        self.held += sum([segment.size for segment in segments])
        return segments

    def discard_held(self, segment: Segment) -> None:
        """Give a segment up that somebody has held, and have those told that know it."""
        if self._segments.pop(segment.id, None) is None:
            return
        self.used -= segment.size
        self.held -= segment.size
        for party in self.parties:
            if party.known.pop(segment.id, None) is not None:
                party.detached.append(segment.id)
                party.wake()

    def _map_held(self, segment: Segment) -> Mapping:
        mapping = segment.own_mapping
        if mapping is None:
            mapping = segment.own_mapping = Mapping(segment.fd, segment.size, is_writable=segment.writer.is_own)
            self._addresses.add(segment)
        return mapping

    def _on_end(self, id_: int, _lease: object) -> None:
        self._ended.append(id_)
        self.ring()

    def _find(self, party: Party, size: int, bound: int) -> Segment | None:
        """Give a spare segment of a party's, or a new one; it is held, and nobody has it so far."""
        with self.lock:
            self.settle_held()
            if party.is_gone or self._is_closed:
                return None
            is_allowed = not self.held or self.held + size <= bound
            found = self._take_spare(party, size) if is_allowed else None
            if found is not None:
                return found
            size = round_size(size)
            has_room = is_allowed and self._make_room(size)
            idle = [] if has_room else [other for other in self.parties if other.lent and not other.was_asked]
            for other in idle:
                other.is_reclaiming = other.was_asked = other.is_awaited = True
            if has_room:
                self.used += size
                self.held += size
                self._making += 1
        for other in idle:
            other.wake()
        return self._make(party, size) if has_room else None

    def _take_spare(self, party: Party, size: int) -> Segment | None:
        segment = party.spare.take(size, _FIT * max(size, LEAST_BYTES))
        if segment is not None:
            self.held += segment.size
        return segment

    def _make_room(self, size: int) -> bool:
        if size > self.limit:
            return False
        for party in (self._own, *self.parties):
            while party.spare and not self._has_room(size):
                segment = party.spare.take_any()
                self.held += segment.size
                self.discard_held(segment)
        return self._has_room(size)

    def _has_room(self, size: int) -> bool:
        return self.used + size <= self.limit and len(self._segments) + self._making < self._most

    def _make(self, party: Party, size: int) -> Segment | None:
        """Make a segment, whose size is counted already: without the lock, since the system clears all of it."""
        segment: Segment | None = None
        with contextlib.suppress(OSError):  # the system has less than the limit: it is as if that were lower
            segment = Segment(size, party)
        with self.lock:
            self._making -= 1
            if segment is None or self._is_closed:
                self.used -= size
                self.held -= size
                return None
            self._segments[segment.id] = segment
        return segment
