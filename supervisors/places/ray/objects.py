"""Large buffers in the cluster's own store: put there once where they come to be, and read where they are wanted.

Owns both sides: what a worker puts and reads (`ObjectSpace`), and what its parent holds (`ObjectTable`, `ObjectLease`)
and puts itself (`StoreSpace`).
In the parent there is but the reference. It belongs to the parent's program, which was given it by the worker's call;
so it outlives the worker. Whoever of the cluster needs the bytes has them from the node where they are, and a program's
own thread, process or checkpoint has them fetched.

A worker's name of what it has put travels as any value does that names its buffers (`wire.outside`): the segment is the
object, the offset which of its buffers. It is told of an object ahead of the frame that names it. What a turn has put
and did not send is told to be dropped; and what was told and not claimed ends with its worker.
"""

from __future__ import annotations

import contextlib
import queue
import secrets
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence

from supervisors.errors import FrameError, ValueDecodingError
from supervisors.places.process.attached import Attached
from supervisors.places.ray.engine import Engine, Group, Reference
from supervisors.wire.memory import address_of
from supervisors.wire.outside import Leased, Name, Space, find_held, pack_outside, read_names

LEAST_OBJECT_BYTES = 1024 * 1024
"""Size of all buffers of a value from which on they are an object: smaller ones come sooner with the value (measured:
an object costs some 2 ms by itself)."""
_ID_BITS = 63


class ObjectSpace(Attached):
    """A worker's side: a `Space`, for its main thread.

    Args:
        put: has buffers put into the store, under a number, and returns when they are there.
        drop: tells that nobody will name these.
        fetch: gives the buffers of an object that a group carries, to be read; raises `OSError` if they are lost.
    """

    def __init__(
        self,
        put: Callable[[int, Sequence[memoryview]], None],
        drop: Callable[[Sequence[int]], None],
        fetch: Callable[[bytes], Sequence[memoryview]],
    ) -> None:
        super().__init__()
        self._put = put
        self._drop = drop
        self._fetch = fetch
        self._given: queue.SimpleQueue[Group] = queue.SimpleQueue()
        """What requests name that are in hand, in their order; of those too that were given back, until a later one is
        run. It comes ahead of the request."""
        self._named: dict[int, bytes] = {}
        """What the request names that the turn in hand is of."""
        self._held: dict[int, Sequence[memoryview]] = {}
        """What the turn in hand has looked at."""
        self._put_by_turn: list[int] = []

    def give(self, groups: Iterable[Group]) -> None:
        """Take in what requests name; the call of who delivers."""
        for group in groups:
            self._given.put(group)

    def share(self, inner: bytes, buffers: Sequence[memoryview]) -> bytes | None:
        """Give a value that names its buffers; None where they are better with the value."""
        known = self._find_known(buffers)
        if known is not None:
            return pack_outside(known, inner)
        if sum(buffer.nbytes for buffer in buffers) < LEAST_OBJECT_BYTES:
            return None
        number = secrets.randbits(_ID_BITS)
        self._put(number, buffers)
        self._put_by_turn.append(number)
        for buffer in buffers:
            self.heap.keep(buffer.nbytes)
        self.used[number] = None  # type: ignore[assignment]  # asked only whether it is empty
        return pack_outside([Name(number, at, buffer.nbytes) for at, buffer in enumerate(buffers)], inner)

    def empty(self, size: int) -> None:
        """Give none: what is in the store is there as a whole, and never changed."""

    def find(self, data: bytes | memoryview, names: Sequence[Name]) -> list[memoryview]:
        """Give the buffers that a payload names; raises `ValueDecodingError` where one was not given, or is lost."""
        try:
            return [_part(self._look(name.segment), name) for name in names]
        except (LookupError, OSError) as error:
            raise ValueDecodingError(f"{len(data)} bytes name an object that is not to be had: {error}") from error

    def withdraw(self, data: bytes) -> None:
        """Do nothing: what is not sent is dropped when the turn ends."""

    def tell_kept(self) -> None:
        """Do nothing: what a handler looks at, the store keeps."""

    def sent(self) -> None:
        """Note that what was put so far is named by what was handed to the channel."""
        self._put_by_turn.clear()

    def end_turn(self) -> None:
        """Let go of what the turn has looked at, and tell what it put and nobody will name."""
        if self._put_by_turn:
            self._drop(tuple(self._put_by_turn))
            self._put_by_turn.clear()
        self._held.clear()
        self._named.clear()
        self.used.clear()

    def _look(self, number: int) -> Sequence[memoryview]:
        if number not in self._held:
            while number not in self._named:
                self._named = dict(self._next_group())
            self._held[number] = self._fetch(self._named[number])
            self.used[number] = None  # type: ignore[assignment]  # as above
        return self._held[number]

    def _next_group(self) -> Group:
        try:
            return self._given.get_nowait()
        except queue.Empty as error:
            message = "its reference did not come"
            raise LookupError(message) from error

    def _find_known(self, buffers: Sequence[memoryview]) -> list[Name] | None:
        """Give the names of buffers that are those of an object in hand, each as a whole; None unless all are."""
        names = {
            (address_of(part), part.nbytes): Name(number, at, part.nbytes)
            for number, parts in self._held.items()
            for at, part in enumerate(parts)
        }
        found = [names.get((address_of(buffer), buffer.nbytes)) for buffer in buffers] if names else [None]
        return None if None in found else [name for name in found if name is not None]


class ObjectLease:
    """Keeps one object in the store (`Holder`).

    Args:
        number: by which it is named.
        reference: the store's.
        fetch: gives its buffers.
    """

    __slots__ = ("__weakref__", "_buffers", "_fetch", "id", "reference", "size")

    is_here = False

    def __init__(self, number: int, reference: Reference, fetch: Callable[[Reference], Sequence[memoryview]]) -> None:
        self.id = number
        self.reference = reference
        self.size = 0
        """Bytes of it that were named."""
        self._fetch = fetch
        self._buffers: Sequence[memoryview] | None = None

    def bring(self) -> None:
        """Have its buffers in this program's own memory, whatever becomes of the store. Raises `OSError` if lost."""
        self._buffers = [memoryview(bytes(part)) for part in self._buffers or self._fetch(self.reference)]

    def view(self, name: Name) -> memoryview:
        """Give one of its buffers, fetched to this machine. Raises `OSError` if it is lost."""
        if self._buffers is None:
            self._buffers = self._fetch(self.reference)
        try:
            return _part(self._buffers, name)
        except LookupError as error:
            raise OSError(str(error)) from error


class ObjectTable:
    """The parent's side, for all workers of one job: what one has put, another may name. Any thread may call it.

    It takes part in the cluster from the first object on until `close`, since what a message names may be wanted when
    the last worker has ended: by the last checkpoint, or by whoever reads results.

    Args:
        engine: has the store.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # Guards all below: workers' threads tell, the actor's thread claims.
        self._lock = threading.Lock()
        self._is_entered = False
        self._is_closed = False
        self._told: dict[object, dict[int, ObjectLease]] = {}
        """What each worker has told of and nobody claimed so far."""
        self._leases: weakref.WeakValueDictionary[int, ObjectLease] = weakref.WeakValueDictionary()

    def note(self, teller: object, number: int, reference: Reference) -> None:
        """Note an object that a worker has put."""
        lease = ObjectLease(number, reference, self.engine.fetch)
        with self._lock:
            if self._is_closed:
                return
            self._enter()
            self._told.setdefault(teller, {})[number] = lease
            self._leases[number] = lease

    def drop(self, teller: object, numbers: Iterable[int]) -> None:
        """Let objects go that nobody will name."""
        with self._lock:
            told = self._told.get(teller, {})
            dropped = [told.pop(number, None) for number in numbers]
        del dropped

    def leave(self, teller: object) -> None:
        """Let all go that a worker has told of and that nobody claimed: it is gone."""
        with self._lock:
            told = self._told.pop(teller, None)
        del told

    def lease(self, _number: int, data: bytes) -> Leased:
        """Give bytes that a worker reported with what keeps the objects that they name.

        Raises:
            FrameError: they name what no worker has told of.
        """
        try:
            names, _inner = read_names(data)
        except ValueDecodingError as error:
            raise FrameError(str(error)) from error
        leases: dict[int, ObjectLease] = {}
        with self._lock:
            for name in names:
                lease = self._leases.get(name.segment)
                if lease is None:
                    raise FrameError(f"a worker names {name.length} bytes of an object that it has not told of")
                leases[name.segment] = lease
            for told in self._told.values():
                for number in leases:
                    told.pop(number, None)
        for number, lease in leases.items():
            lease.size = max(lease.size, sum(name.length for name in names if name.segment == number))
        return Leased.of(data, tuple(leases.values()))

    def export(self, data: Leased) -> Leased | None:
        """Give a value that names this machine's memory as one that names an object, put for it; None: too small.

        Raises:
            ValueDecodingError: it does not hold what it names.
        """
        names, inner = read_names(data)
        return self.share(bytes(inner), find_held(data, names))

    def share(self, inner: bytes, buffers: Sequence[memoryview]) -> Leased | None:
        """Give a value that names an object, put for it, of these buffers; None: too small, or closed.

        Raises:
            OSError: the store takes nothing.
        """
        size = sum(buffer.nbytes for buffer in buffers)
        if size < LEAST_OBJECT_BYTES or self._is_closed:
            return None
        lease = ObjectLease(secrets.randbits(_ID_BITS), self.engine.put(buffers), self.engine.fetch)
        lease.size = size
        with self._lock:
            if self._is_closed:
                return None  # meanwhile
            self._enter()
            self._leases[lease.id] = lease  # who is given it may name it too
        own = [Name(lease.id, at, buffer.nbytes) for at, buffer in enumerate(buffers)]
        return Leased.of(pack_outside(own, inner), (lease,))

    def close(self, kept: Iterable[bytes]) -> None:
        """Need the store no more, but for these payloads: what they hold is brought here, as far as it is not lost.

        Who tells of an object after that, or has one to put, comes too late: a thread that was given up, a last word.
        """
        with self._lock:
            self._is_closed = True
            is_entered, self._is_entered = self._is_entered, False
        if not is_entered:
            return
        held = {lease.id: lease for payload in kept if isinstance(payload, Leased) for lease in payload.leases}
        for lease in held.values():
            if isinstance(lease, ObjectLease):
                with contextlib.suppress(OSError):  # told to whoever reads it
                    lease.bring()
        self.engine.leave()

    def _enter(self) -> None:
        if not self._is_entered:
            self.engine.enter()  # at once: it has been begun
            self._is_entered = True


class StoreSpace:
    """The cluster's store for threads of the program whose values go to remote workers: a `Space`.

    Args:
        table: what the job has in the store.
        near: this machine's memory, while there is no cluster, or no room in it.
    """

    def __init__(self, table: ObjectTable, near: Space) -> None:
        self._table = table
        self._near = near

    def share(self, inner: bytes, buffers: Sequence[memoryview]) -> bytes | None:
        """Give a value that names its buffers; None where they are better with the value, or there is no room."""
        try:
            return self._table.share(inner, buffers)
        except OSError:
            return self._near.share(inner, buffers)

    def empty(self, size: int) -> memoryview | None:
        """Give room for so many bytes to be written, on this machine."""
        return self._near.empty(size)

    def find(self, data: bytes | memoryview, names: Sequence[Name]) -> list[memoryview]:
        """Give the buffers that a payload names; raises `ValueDecodingError` where it does not hold them."""
        return self._near.find(data, names)

    def withdraw(self, data: bytes) -> None:
        """Do nothing: what `share` gave has leases, which end with it."""


def _part(buffers: Sequence[memoryview], name: Name) -> memoryview:
    """Give the buffer of a name. Raises `LookupError` if there is none of that length."""
    part = memoryview(buffers[name.offset])
    if part.nbytes != name.length:
        raise LookupError(f"a buffer of {part.nbytes} bytes was named as one of {name.length}")
    return part
