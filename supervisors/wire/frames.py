"""The protocol between a process place and its workers: typed frames, and their bytes.

Owns the kinds of frames, their strict decoding and the bound on their length. A frame is a
header (magic, version, incarnation, length) and a MessagePack array whose first element is the
kind. Pure: never reads a socket, never decides what a frame leads to, and nothing unpickles.

What the bodies of requests and results are is their sender's and receiver's affair. They are bytes, opaque in here,
unless the receiver names a type: then they are part of the frame's own MessagePack, so that a frame with hundreds of
them is written and read by one call each, and checked as strictly as the frame itself. Who sends such a body hands over
either an object that msgspec encodes for sure and that is small (`SMALL_BYTES`), or, of what may be neither, its
encoding as `msgspec.Raw`: so one that cannot be encoded, or is too long, is found out by itself.

What can go wrong on the other side (a worker that was taken over or has gone mad) ends in one
`FrameError`: a wrong header, an unknown kind or version, a frame of another incarnation, a
length over the bound (seen before any memory is taken), a field of another type.
"""

from __future__ import annotations

import functools
import struct
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

import msgspec

from supervisors.errors import FrameError
from supervisors.reasons import ErrorRecord, Reason

MAX_FRAME_BYTES = 256 * 1024 * 1024
"""Default bound on a frame's length (DESIGN: security)."""
FRAME_OVERHEAD_BYTES = 128
"""What a frame with one body may need besides the body (header, numbers, lengths), rounded up."""
SMALL_BYTES = 1_024
"""Bytes that a body which comes as an object takes at most: hundreds of them make no large frame (arbitrary)."""

_HEADER = struct.Struct("<2sBxII")
_NO_HEADER = bytes(_HEADER.size)
_MAGIC = b"SV"
_VERSION = 1
_FIRST_BYTES = 16 * 1024
"""Size of the buffer that a reader begins with: a process has to write all of it, before it has received anything."""
_KEPT_BYTES = 256 * 1024
"""Size of the buffer that a reader keeps once it was full: large enough to take many frames in one call."""


class Boot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """Parent to worker, first: what to become.

    Args:
        number: the worker's place in its pool.
        name: what the place is called, for log records.
        argv0: the program's `sys.argv[0]` as UTF-8, lone surrogates included: a path is not always text.
        log_level: the root logger's level; log_levels: those of loggers that have one of their own.
        service: the service, encoded with its code.
        boot: what the service is booted with, opaque.
        memory_limit: bytes of data that it may take over those it starts with; None for no limit.
        preload: modules that it imports before its service is decoded.
        cpus: processors that it keeps to; None for all that it may use.
        niceness: its own; None for the one it starts with.
    """

    number: int
    name: str
    argv0: bytes
    log_level: int
    log_levels: dict[str, int]
    service: bytes
    boot: bytes
    memory_limit: int | None = None
    preload: tuple[str, ...] = ()
    cpus: tuple[int, ...] | None = None
    niceness: int | None = None


Body = TypeVar("Body")
Batch = TypeVar("Batch")


class Deliver(msgspec.Struct, Generic[Body], frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """Parent to worker: requests, oldest first, in columns.

    Args:
        epoch: how often the parent knew, when it sent this, that the worker had dropped what it had not begun: at a
            failure, or as it was held. The worker drops what is of an older epoch, which came back with that.
        seqs: their numbers.
        bodies: as many bodies.
        lent: segments that the worker may write from now on, as by `Lend`: what it has written for the requests before
            comes back to it with the next ones, and is no frame of its own.
    """

    epoch: int
    seqs: list[int]
    bodies: list[Body]
    lent: list[int] = []

    def __post_init__(self) -> None:
        if len(self.seqs) != len(self.bodies):
            raise ValueError("columns of different lengths")


class Grant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """Parent to worker: the oldest part of request `seq` that is not yet granted is."""

    seq: int


class Stop(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """Parent to worker: finish the request in hand, begin no other, and end, because of `reason`."""

    reason: Reason


class Hold(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=5):
    """Parent to worker: begin nothing, and stop at the next part or stop, until `Go`.

    Args:
        number: counts the holds of this worker, from 1.
    """

    number: int


class Go(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=6):
    """Parent to worker: the hold is over."""


class Attach(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=7):
    """Parent to worker, with their descriptors: segments of shared memory (`attached`).

    Args:
        items: id, size, and whether the worker writes it, of each.
    """

    items: list[tuple[int, int, bool]]


class Lend(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=8):
    """Parent to worker: it may write these segments."""

    ids: list[int]


class Detach(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=9):
    """Parent to worker: these segments are given up."""

    ids: list[int]


class Reclaim(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=10):
    """Parent to worker: it is to give back what it may write and does not."""


class Full(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=11):
    """Parent to worker: there will be no room for what it wanted by `Want` of that number."""

    number: int


class DeliverBatch(msgspec.Struct, Generic[Batch], frozen=True, array_like=True, forbid_unknown_fields=True, tag=12):
    """Parent to worker: requests in one body, one behind the other.

    Args:
        epoch: as of `Deliver`.
        first: the number of the first; those of the others follow.
        batch: the requests.
    """

    epoch: int
    first: int
    batch: Batch


class Spawned(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=16):
    """Spawner to parent, on the worker's side of the channel, before the worker says anything."""


class Ready(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=17):
    """Worker to parent: the service has booted."""

    pid: int


class BootFailed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=18):
    """Worker to parent, last: the service could not be made or booted."""

    error: ErrorRecord


class Done(msgspec.Struct, Generic[Body], frozen=True, array_like=True, forbid_unknown_fields=True, tag=19):
    """Worker to parent: requests that were run, in that order, in columns.

    Args:
        seqs: their numbers; one at least.
        bodies: their results.
        seconds: how long each took.
    """

    seqs: list[int]
    bodies: list[Body]
    seconds: list[float]

    def __post_init__(self) -> None:
        if not 0 < len(self.seqs) == len(self.bodies) == len(self.seconds):
            raise ValueError("columns of different lengths, or empty ones")


class Part(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=20):
    """Worker to parent: a part of the result of the request it is on."""

    seq: int
    weight: int
    body: bytes


class Failed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=21):
    """Worker to parent: a request raised. All requests behind it were dropped, unbegun."""

    seq: int
    body: bytes
    seconds: float


class Log(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=22):
    """Worker to parent: a log record, its text made in the worker.

    Args:
        logger: name of the logger; level: number of the level; text: the finished message.
        created: seconds since the epoch; path, line, function: where it was logged.
        trace: formatted traceback, or None.
        thread: name of the thread.
        seq: the request that ran, or ran last; None for none.
    """

    logger: str
    level: int
    text: str
    created: float
    path: str
    line: int
    function: str
    trace: str | None
    thread: str
    seq: int | None = None


class Bye(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=23):
    """Worker to parent, last: it begins nothing any more and ends by itself."""


class Parked(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=24):
    """Worker to parent: its main thread is held. All requests behind the one it is on were dropped, unbegun.

    Sent once a hold at most; never where the worker has nothing to stop and nothing to drop.

    Args:
        hold: the number of the hold; it may be over by the time this arrives.
        seq: the request that stays where it is; None if the worker is on none.
    """

    hold: int
    seq: int | None


class Want(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=25):
    """Worker to parent: it waits for a segment to write.

    Args:
        number: counts these, from 1.
        size: bytes; 0: it waits no more.
        returned: ids of those it may write and has no use for.
    """

    number: int
    size: Annotated[int, msgspec.Meta(ge=0)]
    returned: list[int]


class Kept(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=26):
    """Worker to parent, before the end of the request it is on: it looks at these segments beyond that."""

    ids: list[int]


class Gone(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=27):
    """Worker to parent: it looks no more at these segments that it has kept, or does not write these after all."""

    ids: list[int]


class DoneBatch(msgspec.Struct, Generic[Batch], frozen=True, array_like=True, forbid_unknown_fields=True, tag=28):
    """Worker to parent: requests of a batch that were run, one behind the other.

    Args:
        first: the number of the first.
        results: what they came to; there are as many as it is long, one at least.
        seconds: how long all of them took.
    """

    first: int
    results: Batch
    seconds: float


ToWorker: TypeAlias = (
    Boot | Deliver[Any] | Grant | Stop | Hold | Go | Attach | Lend | Detach | Reclaim | Full | DeliverBatch[Any]
)
FromWorker: TypeAlias = (
    Spawned | Ready | BootFailed | Done[Any] | Part | Failed | Log | Bye | Parked | Want | Kept | Gone | DoneBatch[Any]
)

Frame = TypeVar("Frame")

_encoder = msgspec.msgpack.Encoder()
_NO_FRAME = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError, MemoryError)
"""What msgspec raises for bytes that are no frame (all of these were seen)."""


@functools.cache
def _to_worker(body: Any, batch: Any) -> msgspec.msgpack.Decoder[ToWorker]:
    kinds = Boot | Deliver[body] | Grant | Stop | Hold | Go | Attach | Lend | Detach | Reclaim | Full
    return msgspec.msgpack.Decoder(kinds if batch is None else kinds | DeliverBatch[batch])


@functools.cache
def _from_worker(body: Any, batch: Any) -> msgspec.msgpack.Decoder[FromWorker]:
    kinds = Spawned | Ready | BootFailed | Done[body] | Part | Failed | Log | Bye | Parked | Want | Kept | Gone
    return msgspec.msgpack.Decoder(kinds if batch is None else kinds | DoneBatch[batch])


def prepare_reader(body: Any, batch: Any = None) -> None:
    """Make ahead what a `WorkerReader` needs that is to `expect` these, which takes milliseconds.

    It is kept, for this process and those that it forks.
    """
    _to_worker(body, batch)


def encode_frame(frame: ToWorker | FromWorker, incarnation: int, max_bytes: int = MAX_FRAME_BYTES) -> bytearray:
    """Give the bytes of `frame`, header included.

    Raises:
        FrameError: the frame is longer than `max_bytes`; the receiver would end the channel.
    """
    data = bytearray()
    append_frame(data, frame, incarnation, max_bytes)
    return data


def append_frame(
    data: bytearray, frame: ToWorker | FromWorker, incarnation: int, max_bytes: int = MAX_FRAME_BYTES
) -> None:
    """Append the bytes of `frame`, header included, to those of others; nothing where it raises, as `encode_frame`."""
    start = len(data)
    data += _NO_HEADER
    _encoder.encode_into(frame, data, -1)
    length = len(data) - start - _HEADER.size
    if length > max_bytes:
        del data[start:]
        raise FrameError(f"a {type(frame).__name__} frame of {length} bytes is over the bound of {max_bytes}")
    _HEADER.pack_into(data, start, _MAGIC, _VERSION, incarnation, length)


class FrameReader(Generic[Frame]):
    """Turns a stream of bytes, cut anywhere, into frames.

    Either `feed` it, or receive into `space()` and say how much by `received`. After a
    `FrameError` it takes nothing more: what follows on the stream has no meaning.
    """

    def __init__(self, decoder: msgspec.msgpack.Decoder[Frame], incarnation: int, max_bytes: int) -> None:
        self._decoder = decoder
        self._incarnation = incarnation
        self._max_bytes = max_bytes
        self._kept = _FIRST_BYTES
        self._buffer = bytearray(self._kept)
        self._start = 0
        self._end = 0

    @property
    def is_empty(self) -> bool:
        """Whether no begun frame waits for its rest."""
        return self._start == self._end

    def space(self) -> memoryview:
        """Where to receive into; never empty. It is valid until the next call of this reader."""
        return memoryview(self._buffer)[self._end :]

    def received(self, count: int) -> list[Frame]:
        """Take the `count` bytes that were put into `space()`; give the frames now complete.

        Raises:
            FrameError: the stream is not the protocol.
        """
        self._end = end = self._end + count
        start, size = self._start, _HEADER.size
        frames: list[Frame] = []
        with memoryview(self._buffer) as view:
            while end - start >= size:
                stop = start + size + self._check_header()
                if stop > end:
                    break
                frames.append(self._decode(view[start + size : stop]))
                self._start = start = stop
        if start == end and end < len(self._buffer) == self._kept:
            self._start = self._end = 0  # most times: all that came is read, and left some room
        else:
            self._make_space()
        return frames

    def feed(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        """Take `data` whole; as `received`."""
        frames: list[Frame] = []
        rest = memoryview(data)
        while rest:
            space = self.space()
            count = min(len(space), len(rest))
            space[:count] = rest[:count]
            frames += self.received(count)
            rest = rest[count:]
        return frames

    def _check_header(self) -> int:
        magic, version, incarnation, length = _HEADER.unpack_from(self._buffer, self._start)
        if magic != _MAGIC or version != _VERSION:
            raise FrameError(f"expected a frame of version {_VERSION}, got {magic!r} version {version}")
        if incarnation != self._incarnation:
            raise FrameError(f"expected a frame of incarnation {self._incarnation}, got one of {incarnation}")
        if length > self._max_bytes:
            raise FrameError(f"a frame of {length} bytes is over the bound of {self._max_bytes}")
        return int(length)

    def _decode(self, body: memoryview) -> Frame:
        try:
            return self._decoder.decode(body)
        except _NO_FRAME as error:
            raise FrameError(f"a frame of {len(body)} bytes is not the protocol: {error}") from error

    def _make_space(self) -> None:
        """Leave room for what is known to come; take more memory only for a length that was checked."""
        pending = self._end - self._start
        if self._end == len(self._buffer):
            self._kept = _KEPT_BYTES  # more came than it took
        if pending == 0:
            self._start = self._end = 0
        needed = _HEADER.size
        if pending >= _HEADER.size:
            needed += self._check_header()
        size = max(self._kept, needed)
        if size != len(self._buffer):
            self._move_to(bytearray(size), pending)
        elif self._start + needed > size:
            self._move_to(self._buffer, pending)

    def _move_to(self, buffer: bytearray, pending: int) -> None:
        buffer[:pending] = self._buffer[self._start : self._end]
        self._buffer, self._start, self._end = buffer, 0, pending


class WorkerReader(FrameReader[ToWorker]):
    """The reader of a worker, which takes the parent's frames; bodies are bytes until it is told otherwise."""

    def __init__(self, incarnation: int, max_bytes: int = MAX_FRAME_BYTES) -> None:
        super().__init__(_to_worker(bytes, None), incarnation, max_bytes)

    def expect(self, body: Any, batch: Any = None) -> None:
        """Take bodies of requests as what `body` is from now on, a type that msgspec decodes.

        Batches are taken as what `batch` is; None: there are to be none.
        """
        self._decoder = _to_worker(body, batch)


class ParentReader(FrameReader[FromWorker]):
    """The reader of a parent, which takes one worker's frames.

    Args:
        incarnation: the worker's.
        max_bytes: the longest frame.
        body: the type that results are of, one that msgspec decodes.
        batch: the type that those of batches are of; None: there are to be none.
    """

    def __init__(
        self, incarnation: int, max_bytes: int = MAX_FRAME_BYTES, body: Any = bytes, batch: Any = None
    ) -> None:
        super().__init__(_from_worker(body, batch), incarnation, max_bytes)


def encode_body(body: Any) -> bytes:
    """Give the bytes of a body by itself, for places that have no wire."""
    return _encoder.encode(body)


def decode_body(data: bytes, kind: Any) -> Any:
    """Read a body of type `kind` by itself, as a reader of frames would.

    Raises:
        FrameError: the bytes are none.
    """
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except _NO_FRAME as error:
        raise FrameError(f"a body of {len(data)} bytes is not the protocol: {error}") from error
