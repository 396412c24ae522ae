"""Commands to a job and their answers, as bytes. Pure.

Owns the kinds, their strict decoding and the bound on their length: a header (magic, version, length) and a MessagePack
map whose `type` is the kind. No values of users are in them, but for reasons and errors as text: nothing unpickles.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from routilux.control.errors import ProtocolError
from routilux.figures import RoutineFigures
from routilux.jobs.recorder import CheckpointInfo
from routilux.tracking.tracker import ExecutionTracker
from supervisors.text import cut, printable

MAX_COMMAND_BYTES = 64 * 1024
"""A command at most (arbitrary: its reason is text of people)."""
MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""An answer at most (arbitrary: the figures of some 50,000 routines)."""
REASON_CHARACTERS = 10_000
"""What of a reason or an error's text is told (arbitrary; at most 40 kB)."""

_DETAIL_CHARACTERS = 200
"""Characters of what msgspec says that an error tells (arbitrary)."""
_HEADER = struct.Struct("<2sBxI")
_MAGIC = b"RC"
_VERSION = 1
HEADER_BYTES = _HEADER.size

_Seconds: TypeAlias = Annotated[float, Meta(ge=0, lt=1e9)]


class _Frame(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=str.lower):
    """What all have in common."""


class Pause(_Frame, frozen=True):
    """Bring the job to rest, durably; the answer comes when it is.

    Args:
        job_id: the job, as in all commands: a socket may be another's by now.
        reason: why.
        timeout: seconds that turns in hand get; None for no limit.
        on_timeout: what follows then.
    """

    job_id: str
    reason: str = ""
    timeout: _Seconds | None = None
    on_timeout: str = "abort"


class Resume(_Frame, frozen=True):
    """Let it go on."""

    job_id: str


class Cancel(_Frame, frozen=True):
    """End it; the answer comes when it is over.

    Args:
        job_id: the job.
        reason: why.
        shutdown: seconds that turns in hand get; None for what it was started with.
    """

    job_id: str
    reason: str = ""
    shutdown: _Seconds | None = None


class Checkpoint(_Frame, frozen=True):
    """Keep it as it is now; the answer comes when that is durable."""

    job_id: str


class Leave(_Frame, frozen=True):
    """End it in its program, to be resumed; the answer comes when it is over there. Fields as `Cancel`."""

    job_id: str
    reason: str = ""
    shutdown: _Seconds | None = None


class Status(_Frame, frozen=True):
    """Tell how it is."""

    job_id: str


class Metrics(_Frame, frozen=True):
    """Tell all that is measured of it."""

    job_id: str


Command: TypeAlias = Pause | Resume | Cancel | Checkpoint | Leave | Status | Metrics


class Kept(_Frame, frozen=True):
    """A checkpoint is durable."""

    checkpoint: CheckpointInfo | None


class Resumed(_Frame, frozen=True):
    """The job goes on; it was paused, or it was not."""

    was_paused: bool


class Ended(_Frame, frozen=True):
    """The job is over in its program."""

    status: str
    error: str | None


class RoutineNow(msgspec.Struct, frozen=True):
    """One routine: its id, status and last failure, and its counts."""

    id: str
    status: str
    error: str | None
    figures: RoutineFigures


class Now(_Frame, frozen=True):
    """How the job is.

    Args:
        status: its word.
        error: why it ended badly.
        updated_at: when something last happened, in seconds since the epoch.
        routines: its routines, in the flow's order.
        checkpoint: the newest of its program.
    """

    status: str
    error: str | None
    updated_at: float
    routines: list[RoutineNow]
    checkpoint: CheckpointInfo | None


class Tracked(_Frame, frozen=True):
    """What is measured of the job."""

    tracker: ExecutionTracker


class Refused(_Frame, frozen=True):
    """The job does not do it: the name of the error, and its text."""

    kind: str
    text: str


Answer: TypeAlias = Kept | Resumed | Ended | Now | Tracked | Refused

_encoder = msgspec.msgpack.Encoder()
_read_command = msgspec.msgpack.Decoder(Command)
_read_answer = msgspec.msgpack.Decoder(Answer)


def to_frame(message: Command | Answer) -> bytes:
    """Give the bytes of a command or an answer."""
    body = _encoder.encode(message)
    return _HEADER.pack(_MAGIC, _VERSION, len(body)) + body


def read_length(header: bytes, limit: int) -> int:
    """Give the length of the body that follows a header.

    Raises:
        ProtocolError: it is none, of another version, or announces more than `limit` bytes.
    """
    magic, version, length = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise ProtocolError("it does not begin as a command or an answer does")
    if version != _VERSION:
        raise ProtocolError(f"it is of version {version}, and this program speaks version {_VERSION}")
    if length > limit:
        raise ProtocolError(f"{length:,} bytes are announced, of {limit:,} at most")
    return int(length)


def read_command(body: bytes) -> Command:
    """Read a command's body; raises `ProtocolError`."""
    command: Command = _decode(_read_command, body, "command")
    return command


def read_answer(body: bytes) -> Answer:
    """Read an answer's body; raises `ProtocolError`."""
    answer: Answer = _decode(_read_answer, body, "answer")
    return answer


def fit(text: str) -> str:
    """Make a text fit for a frame: cut, and without lone surrogates, which have no UTF-8 form."""
    return cut(text, REASON_CHARACTERS).encode("utf-8", "replace").decode()


def _decode(decoder: msgspec.msgpack.Decoder[Any], body: bytes, what: str) -> Any:
    try:
        return decoder.decode(body)
    # All of these were seen from msgspec on bytes that are something else (`turn.codec`).
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError, MemoryError, TypeError) as error:
        raise ProtocolError(f"it is no {what}: {cut(printable(str(error)), _DETAIL_CHARACTERS)}") from error
