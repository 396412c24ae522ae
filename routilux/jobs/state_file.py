"""A job's snapshot as bytes, and back.

Owns the form. Values of users go by the ladder (`records.carried`), each for itself; what stands for a value that could
not be shown (`Unreadable`, `InPlace`) comes back as that. Never opens a file, and looks nothing up by a name that is in
the data.

The bytes are a header (magic, format, oldest reader, BLAKE2b-256 of the rest) and MessagePack.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from routilux.dead_letters import DeadLetter
from routilux.executions import ExecutionRecord, Names
from routilux.facts import Fact
from routilux.holdings import EdgeCount
from routilux.jobs.history import HistoryCut
from routilux.jobs.imaging import image_message, read_message
from routilux.jobs.machine import JobStatus
from routilux.jobs.recorder import CheckpointInfo
from routilux.records.carried import Carried
from routilux.records.errors import DamagedError, UnsupportedFormatError
from routilux.records.history_log import is_named
from routilux.records.packing import Unpacker, pack
from routilux.records.registry import default as registry
from routilux.records.schema import MessageImage
from routilux.tracking.tracker import ExecutionTracker
from routilux.turn.state import InPlace, Unreadable, decode_for_reader
from supervisors.errors import ValueDecodingError, ValueEncodingError
from supervisors.reasons import ErrorRecord, Reason, record_error

FORMAT = 1
"""What is written here."""
MIN_READER = 1
"""The oldest format whose readers can read what is written here."""

_MAGIC = b"RTXSTATE"
_HEADER = struct.Struct("<8sHH32s")


class DamagedStateError(DamagedError):
    """A snapshot of a job is not what was written."""

    what = "the job's state"


class PausePoint(NamedTuple):
    """One pause of a job.

    Args:
        at: when, in seconds since the epoch.
        reason: why, as text.
        checkpoint: what the caller of `pause` wanted to be kept with it; None for nothing, `Unreadable` for what cannot
            be read here.
        generation: which runner of the job it was.
        number: number of the checkpoint that was written for it.
    """

    at: float
    reason: str
    checkpoint: Any
    generation: int
    number: int


class Parts(NamedTuple):
    """What a snapshot is made of; see `JobState`."""

    job_id: str
    flow_id: str
    status: JobStatus
    routine_states: dict[str, dict[str, Any]]
    connections: list[EdgeCount]
    dead_letters: list[DeadLetter]
    created_at: float
    updated_at: float
    error: str | None
    history: HistoryCut
    own_records: list[ExecutionRecord]
    outputs: dict[tuple[str, str], list[Any]]
    pause_points: list[PausePoint]
    checkpoint: CheckpointInfo | None
    tracker: ExecutionTracker | None


class _Lost(msgspec.Struct, frozen=True, tag="unreadable"):
    error: ErrorRecord
    size_bytes: int


class _Busy(msgspec.Struct, frozen=True, tag="in place"):
    pass


class _Value(msgspec.Struct, frozen=True, tag="value"):
    data: bytes


class _Items(msgspec.Struct, frozen=True, tag="dict"):
    """A dict with text keys, each value for itself: one that cannot be read hides no other."""

    items: dict[str, _Value | _Lost | _Busy]


class _List(msgspec.Struct, frozen=True, tag="list"):
    items: list[_Value | _Items | _Lost | _Busy]


_Shown = _Value | _Items | _List | _Lost | _Busy


class _Letter(msgspec.Struct, frozen=True):
    routine_id: str
    message: MessageImage
    lost: _Lost | None
    reason: Reason
    attempts: int
    at: float


class _Point(msgspec.Struct, frozen=True):
    at: float
    reason: str
    checkpoint: _Value | _Lost | _Busy
    generation: int
    number: int


class _Output(msgspec.Struct, frozen=True):
    routine_id: str
    event: str
    items: list[bytes]


class _State(msgspec.Struct, frozen=True):
    """All of it. A field that is added later gets a default, at the end; none is renamed."""

    job_id: str
    flow_id: str
    status: JobStatus
    routines: dict[str, dict[str, _Shown]]
    connections: list[EdgeCount]
    dead_letters: list[_Letter]
    created_at: float
    updated_at: float
    error: str | None
    names: Names
    facts: list[Fact]
    facts_total: int
    shortened: int
    wall_offset: float
    own_records: list[ExecutionRecord]
    outputs: list[_Output]
    pause_points: list[_Point]
    checkpoint: CheckpointInfo | None
    tracker: ExecutionTracker | None = None


_read = Unpacker(_State, DamagedStateError).unpack


def write_state(parts: Parts, *, allow_pickle: bool = False) -> bytes:
    """Give a snapshot as bytes.

    Args:
        parts: the snapshot.
        allow_pickle: whether values that are neither plain nor of registered classes go as pickles.

    Raises:
        ValueEncodingError: a value cannot be carried; the error's `path` names it.
    """
    body = pack(_to_struct(parts, Carried(registry, allow_pickle=allow_pickle)))
    return _HEADER.pack(_MAGIC, FORMAT, MIN_READER, _digest(body)) + body


def read_state(data: bytes, *, allow_pickle: bool = False) -> Parts:
    """Give the snapshot that `write_state` was given.

    Args:
        data: its bytes.
        allow_pickle: whether pickles are read, which runs code of whoever wrote them; else what is one is `Unreadable`.

    Raises:
        DamagedStateError: it is not what was written.
        UnsupportedFormatError: a newer version wrote it.
    """
    if len(data) < _HEADER.size:
        raise DamagedStateError(f"it has {len(data)} bytes, fewer than its header")
    magic, _format, min_reader, digest = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise DamagedStateError("it does not begin as one does")
    body = memoryview(data)[_HEADER.size :]
    # The version first: a newer one may check itself in another way.
    if min_reader > FORMAT:
        raise UnsupportedFormatError("the job's state", min_reader, FORMAT)
    if _digest(body) != digest:
        raise DamagedStateError("it is torn, or was changed")
    return _from_struct(_read(body, "it"), Carried(registry, allow_pickle=allow_pickle))


# ---- to bytes


def _to_struct(parts: Parts, codec: Carried) -> _State:
    cut = parts.history
    return _State(
        job_id=parts.job_id,
        flow_id=parts.flow_id,
        status=parts.status,
        routines={
            id_: {key: _show(value, f"routine_states[{id_!r}][{key!r}]", codec) for key, value in told.items()}
            for id_, told in parts.routine_states.items()
        },
        connections=parts.connections,
        dead_letters=[_write_letter(letter, index, codec) for index, letter in enumerate(parts.dead_letters)],
        created_at=parts.created_at,
        updated_at=parts.updated_at,
        error=parts.error,
        names=cut.names,
        facts=list(cut.facts),
        facts_total=cut.total,
        shortened=cut.shortened,
        wall_offset=cut.wall_offset,
        own_records=parts.own_records,
        outputs=[
            _Output(
                id_,
                event,
                [codec.encode(item, f"outputs[{id_!r}, {event!r}][{index}]") for index, item in enumerate(items)],
            )
            for (id_, event), items in parts.outputs.items()
        ],
        pause_points=[
            _Point(
                point.at,
                point.reason,
                _show_one(point.checkpoint, f"pause_points[{index}].checkpoint", codec),
                point.generation,
                point.number,
            )
            for index, point in enumerate(parts.pause_points)
        ],
        checkpoint=parts.checkpoint,
        tracker=parts.tracker,
    )


def _show(value: Any, path: str, codec: Carried) -> _Shown:
    if type(value) is list and any(_hides(item) for item in value):
        return _List([_show_item(item, f"{path}[{index}]", codec) for index, item in enumerate(value)])
    return _show_item(value, path, codec)


def _show_item(value: Any, path: str, codec: Carried) -> _Value | _Items | _Lost | _Busy:
    if type(value) is dict and _hides(value) and all(type(key) is str for key in value):
        return _Items({key: _show_one(item, f"{path}[{key!r}]", codec) for key, item in value.items()})
    return _show_one(value, path, codec)


def _show_one(value: Any, path: str, codec: Carried) -> _Value | _Lost | _Busy:
    if isinstance(value, Unreadable):
        return _Lost(value.error, value.size_bytes)
    return _Busy() if isinstance(value, InPlace) else _Value(codec.encode(value, path))


def _hides(value: Any) -> bool:
    """Tell whether something stands in it, at the top, for a value that could not be shown."""
    inside = value.values() if type(value) is dict else (value,)
    return any(isinstance(item, Unreadable | InPlace) for item in inside)


def _write_letter(letter: DeadLetter, index: int, codec: Carried) -> _Letter:
    payload, lost = b"", None
    try:
        data = letter.data
    except ValueDecodingError as error:
        lost = _Lost(record_error(error), len(letter.message.payload))
    else:
        payload = codec.encode(data, f"dead_letters[{index}].data")
    image = image_message(replace(letter.message, payload=payload), codec)
    return _Letter(letter.routine_id, image, lost, letter.reason, letter.attempts, letter.at)


# ---- and back


def _from_struct(state: _State, codec: Carried) -> Parts:
    return Parts(
        job_id=state.job_id,
        flow_id=state.flow_id,
        status=state.status,
        routine_states={
            id_: {key: _see(value, codec) for key, value in told.items()} for id_, told in state.routines.items()
        },
        connections=state.connections,
        dead_letters=[_read_letter(letter, codec) for letter in state.dead_letters],
        created_at=state.created_at,
        updated_at=state.updated_at,
        error=state.error,
        history=HistoryCut(state.names, tuple(_checked(state)), state.facts_total, state.shortened, state.wall_offset),
        own_records=state.own_records,
        outputs={
            (output.routine_id, output.event): [decode_for_reader(item, codec) for item in output.items]
            for output in state.outputs
        },
        pause_points=[
            PausePoint(point.at, point.reason, _see(point.checkpoint, codec), point.generation, point.number)
            for point in state.pause_points
        ],
        checkpoint=state.checkpoint,
        tracker=state.tracker,
    )


def _see(shown: _Shown, codec: Carried) -> Any:
    match shown:
        case _Value(data):
            return decode_for_reader(data, codec)
        case _Items(items):
            return {key: _see(item, codec) for key, item in items.items()}
        case _List(items):
            return [_see(item, codec) for item in items]
        case _Lost(error, size_bytes):
            return Unreadable(error, size_bytes)
        case _Busy():
            return InPlace()


class _LostCodec:
    """Stands for the codec of a payload that could not be read where the snapshot was taken."""

    def __init__(self, lost: _Lost) -> None:
        self._lost = lost

    def encode(self, value: Any, path: str) -> bytes:
        raise ValueEncodingError(path, "it could not be read where it was kept")

    def check(self, value: Any, path: str) -> None:
        self.encode(value, path)

    def decode(self, data: bytes) -> Any:
        raise ValueDecodingError(self._lost.error.text)


def _read_letter(letter: _Letter, codec: Carried) -> DeadLetter:
    reads = codec if letter.lost is None else _LostCodec(letter.lost)
    return DeadLetter(letter.routine_id, read_message(letter.message), letter.reason, letter.attempts, letter.at, reads)


def _checked(state: _State) -> list[Fact]:
    """Give the facts, if the names that go with them are there."""
    if not all(is_named(fact, state.names) for fact in state.facts):
        raise DamagedStateError("its history speaks of a routine, event or connection without a name")
    return state.facts


def _digest(body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=32).digest()
