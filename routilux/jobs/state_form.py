"""A job's snapshot as plain fields, and back.

Owns the form. Values of users are written each by itself (`Apart`), so that one that cannot be read hides no other: it
is `Unreadable` then. Never opens a file, and looks nothing up by a name that is in the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from routilux.dead_letters import DeadLetter
from routilux.executions import ExecutionRecord, Names
from routilux.facts import Fact
from routilux.holdings import EdgeCount
from routilux.ids import to_id
from routilux.jobs.history import HistoryCut
from routilux.jobs.machine import JobStatus
from routilux.jobs.recorder import CheckpointInfo
from routilux.messages import Message
from routilux.records.history_log import is_named
from routilux.serial.errors import PlainDataError
from routilux.serial.naming import built_in
from routilux.serial.plain_reader import Unread
from routilux.serial.plain_writer import Apart, AsItIs, struct_as_it_is
from routilux.tracking.tracker import ExecutionTracker
from routilux.turn.state import InPlace, Unreadable
from routilux.turn.values import PICKLED
from supervisors.errors import ValueDecodingError
from supervisors.reasons import Reason, record_error

_SCALARS = frozenset({type(None), bool, int, float, str})


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


class _Plain(msgspec.Struct, frozen=True):
    """Those parts that hold no values of users."""

    job_id: str
    flow_id: str
    status: JobStatus
    connections: list[EdgeCount]
    created_at: float
    updated_at: float
    error: str | None
    names: Names
    facts: list[Fact]
    facts_total: int
    shortened: int
    wall_offset: float
    checkpoint: CheckpointInfo | None


class _Letter(msgspec.Struct, frozen=True):
    """A dead letter without what it carried."""

    routine_id: str
    edge: int
    seq: int
    key: str
    failures: int
    crashes: int
    redelivered: bool
    released: int
    stepped: int
    reason: Reason
    attempts: int
    at: float


def to_fields(parts: Parts, *, allow_pickle: bool) -> dict[str, Any]:
    """Give a snapshot as fields.

    Args:
        parts: the snapshot.
        allow_pickle: whether values that are neither plain nor of registered classes go as pickles.
    """

    def apart(value: Any) -> Any:
        if type(value) in _SCALARS:
            return value
        if type(value) is list:
            return [apart(item) for item in value]
        return Apart(value, allow_pickle=allow_pickle)

    cut = parts.history
    plain = _Plain(
        job_id=parts.job_id,
        flow_id=parts.flow_id,
        status=parts.status,
        connections=parts.connections,
        created_at=parts.created_at,
        updated_at=parts.updated_at,
        error=parts.error,
        names=cut.names,
        facts=cut.facts(),
        facts_total=cut.total,
        shortened=cut.shortened,
        wall_offset=cut.wall_offset,
        checkpoint=parts.checkpoint,
    )
    return {
        "job": AsItIs(struct_as_it_is(plain)),
        "routine_states": {
            routine_id: {key: apart(value) for key, value in told.items()}
            for routine_id, told in parts.routine_states.items()
        },
        "dead_letters": [
            {"letter": AsItIs(_to_letter(letter)), "data": apart(_data_of(letter))} for letter in parts.dead_letters
        ],
        "own_records": parts.own_records,
        "tracker": parts.tracker,
        "outputs": [[routine_id, event, apart(items)] for (routine_id, event), items in parts.outputs.items()],
        "pause_points": [[*point._replace(checkpoint=apart(point.checkpoint))] for point in parts.pause_points],
    }


def from_fields(fields: Mapping[str, Any], *, allow_pickle: bool) -> Parts:
    """Give the snapshot of which `to_fields` gave the fields.

    Args:
        fields: the fields.
        allow_pickle: whether pickles are read; else what is one is `Unreadable`.

    Raises:
        PlainDataError: they are not what was written.
    """
    try:
        return _read_parts(fields, allow_pickle=allow_pickle)
    except (msgspec.ValidationError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlainDataError("JobState", f"it is no snapshot of a job ({error})") from error


def _read_parts(fields: Mapping[str, Any], *, allow_pickle: bool) -> Parts:
    def see(value: Any) -> Any:
        if type(value) is list:
            return [see(item) for item in value]
        return _read_apart(value, allow_pickle=allow_pickle) if type(value) is Unread else value

    plain = msgspec.convert(fields["job"], _Plain)
    if not all(is_named(fact, plain.names) for fact in plain.facts):
        raise ValueError("its history speaks of a routine, event or connection without a name")
    if not all(isinstance(record, ExecutionRecord) for record in fields["own_records"]):
        raise TypeError("its own records are none")
    return Parts(
        job_id=plain.job_id,
        flow_id=plain.flow_id,
        status=plain.status,
        routine_states={
            routine_id: {key: see(value) for key, value in told.items()}
            for routine_id, told in fields["routine_states"].items()
        },
        connections=plain.connections,
        dead_letters=[_from_letter(letter["letter"], see(letter["data"])) for letter in fields["dead_letters"]],
        created_at=plain.created_at,
        updated_at=plain.updated_at,
        error=plain.error,
        history=HistoryCut(plain.names, tuple(plain.facts), plain.facts_total, plain.shortened, plain.wall_offset),
        own_records=fields["own_records"],
        outputs={(routine_id, event): see(items) for routine_id, event, items in fields["outputs"]},
        pause_points=[
            PausePoint(at, reason, see(checkpoint), generation, number)
            for at, reason, checkpoint, generation, number in fields["pause_points"]
        ],
        checkpoint=plain.checkpoint,
        tracker=_checked_tracker(fields["tracker"]),
    )


def _checked_tracker(tracker: object) -> ExecutionTracker:
    if not isinstance(tracker, ExecutionTracker):
        raise TypeError("its tracker is none")
    return tracker


def _read_apart(value: Unread, *, allow_pickle: bool) -> Any:
    try:
        return value.read(allow_pickle=allow_pickle)
    except ValueDecodingError as error:
        return Unreadable(record_error(error), len(msgspec.msgpack.encode(value.data)))


def _to_letter(letter: DeadLetter) -> Any:
    message = letter.message
    return struct_as_it_is(
        _Letter(
            letter.routine_id,
            message.edge,
            message.seq,
            to_id(message.key),
            message.failures,
            message.crashes,
            message.redelivered,
            message.released,
            message.stepped,
            letter.reason,
            letter.attempts,
            letter.at,
        )
    )


def _data_of(letter: DeadLetter) -> Any:
    try:
        return letter.data
    except ValueDecodingError as error:
        return Unreadable(record_error(error), len(letter.message.payload))


def _from_letter(told: Any, data: Any) -> DeadLetter:
    read = msgspec.convert(told, _Letter)
    is_lost = isinstance(data, Unreadable)
    message = Message(
        read.edge,
        read.seq,
        b"" if is_lost else dict(data),
        int(read.key, 16),
        failures=read.failures,
        crashes=read.crashes,
        redelivered=read.redelivered,
        released=read.released,
        stepped=read.stepped,
    )
    codec = _LostCodec(data) if is_lost else PICKLED
    return DeadLetter(read.routine_id, message, read.reason, read.attempts, read.at, codec)


class _LostCodec:
    """Stands for the codec of a payload that could not be read where the snapshot was taken."""

    def __init__(self, lost: Unreadable) -> None:
        self._lost = lost

    def decode(self, data: bytes) -> Any:
        raise ValueDecodingError(self._lost.error.text)


built_in.register("routilux.Unreadable")(Unreadable)
built_in.register("routilux.InPlace")(InPlace)
