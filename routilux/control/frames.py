"""Commands to a job and their answers, as bytes. Pure.

Owns the kinds, their strict decoding and the bound on their length: a header (magic, version, length) and a MessagePack
map whose `type` is the kind. Values of users are in them as text alone, cut: nothing unpickles.

A visitor says one command. Most have one answer; those who look on (`Look` with a time, `Tap`, `Logs` that follows) are
sent one after the other until they go, or until the job is over in its program, which the last one says: `Ended`.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from routilux.control.errors import ProtocolError
from routilux.figures import RoutineFigures
from routilux.jobs.recorder import CheckpointInfo
from routilux.observe import JobView
from routilux.tracking.tracker import ExecutionTracker
from supervisors.text import cut, printable

MAX_COMMAND_BYTES = 64 * 1024
"""A command at most (arbitrary: its reason is text of people)."""
MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""An answer at most (arbitrary: the figures of some 50,000 routines)."""
REASON_CHARACTERS = 10_000
"""What of a reason or an error's text is told (arbitrary; at most 40 kB)."""
LEAST_SECONDS = 0.1
"""Between two looks at a job, at least (arbitrary: a person sees no more)."""
MOST_IDS = 1_000
"""Ids of messages that a command names at most (arbitrary: what a command has room for)."""

_DETAIL_CHARACTERS = 200
"""Characters of what msgspec says that an error tells (arbitrary)."""
_HEADER = struct.Struct("<2sBxI")
_MAGIC = b"RC"
_VERSION = 1
HEADER_BYTES = _HEADER.size

_Seconds: TypeAlias = Annotated[float, Meta(ge=0, lt=1e9)]
_Pace: TypeAlias = Annotated[float, Meta(ge=LEAST_SECONDS, lt=1e9)]
_Ids: TypeAlias = Annotated[list[str], Meta(max_length=MOST_IDS)]


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


class Who(_Frame, frozen=True):
    """Tell which job takes commands here: the one command that does not name it."""


class Look(_Frame, frozen=True):
    """Tell how each routine and each of its processes does.

    Args:
        job_id: the job.
        seconds: between two looks, of which the second is the first that tells of rates; None for one look.
    """

    job_id: str
    seconds: _Pace | None = None


class Stacks(_Frame, frozen=True):
    """Tell where the handlers are in their code.

    Args:
        job_id: the job.
        routine: id of the routine; "" for all.
    """

    job_id: str
    routine: str = ""


class Letters(_Frame, frozen=True):
    """Tell which messages were given up. Fields as `Stacks`."""

    job_id: str
    routine: str = ""


class Redeliver(_Frame, frozen=True):
    """Put dead letters back into their mailboxes.

    Args:
        job_id: the job.
        ids: beginnings of the ids of their messages; none for all.
        routine: of this routine alone; "" for all.
    """

    job_id: str
    ids: _Ids = []
    routine: str = ""


class Discard(_Frame, frozen=True):
    """Let dead letters go for good. Fields as `Redeliver`."""

    job_id: str
    ids: _Ids = []
    routine: str = ""


class Tap(_Frame, frozen=True):
    """Tell what passes a routine, from now on: messages that it takes, and events that it emits.

    Args:
        job_id: the job.
        routine: its id.
    """

    job_id: str
    routine: str


class Logs(_Frame, frozen=True):
    """Tell what the job has logged, and what its workers have printed.

    Args:
        job_id: the job.
        routine: of this routine alone; "" for all.
        last: lines of those that are kept, the newest; None for all.
        follow: whether what comes is told too.
    """

    job_id: str
    routine: str = ""
    last: Annotated[int, Meta(ge=0)] | None = None
    follow: bool = False


Command: TypeAlias = (
    Pause
    | Resume
    | Cancel
    | Checkpoint
    | Leave
    | Status
    | Metrics
    | Who
    | Look
    | Stacks
    | Letters
    | Redeliver
    | Discard
    | Tap
    | Logs
)

CHANGES: TypeAlias = Pause | Resume | Cancel | Checkpoint | Leave | Redeliver | Discard
"""Those that change something."""


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


class Identity(_Frame, frozen=True):
    """Which job takes commands here.

    Args:
        job_id: its id.
        flow_id: the id of its flow.
        status: its word.
        created_at: when it was made, in seconds since the epoch.
        pid: the process that runs it.
        store: the path of its store; "" for none, or for one that has no path.
    """

    job_id: str
    flow_id: str
    status: str
    created_at: float
    pid: int
    store: str


class Seen(_Frame, frozen=True):
    """How each routine does."""

    view: JobView


class Stack(msgspec.Struct, frozen=True):
    """Where a handler is.

    Args:
        routine: id of its routine.
        worker: the worker's number; None for a thread of the program.
        where: the process, as `pid 4711`, or the name of the thread.
        message_id: the message that it is at; "" where it is at none, or where that is not known.
        seconds: for how long; None where that is not known.
        text: the stack, innermost frame last on a thread and first in a process; "" where nothing was told.
        held_by: what it waits for, because it is held back: routines, outputs or connections that have no room; empty
            where it is not held back.
    """

    routine: str
    worker: int | None
    where: str
    message_id: str
    seconds: float | None
    text: str
    held_by: tuple[str, ...] = ()


class StacksTold(_Frame, frozen=True):
    """Where the handlers are."""

    stacks: list[Stack]


class Letter(msgspec.Struct, frozen=True):
    """A message that was given up: its routine and id, how often it was tried, when it was given up, and why."""

    routine: str
    message_id: str
    attempts: int
    at: float
    cause: str


class LettersTold(_Frame, frozen=True):
    """The messages that were given up, oldest first; of too many the newest.

    Args:
        letters: they.
        count: how many were given up and are so still.
    """

    letters: list[Letter]
    count: int


class Settled(_Frame, frozen=True):
    """Dead letters were put back, or let go: how many."""

    count: int


class Passing(msgspec.Struct, frozen=True, array_like=True):
    """A message that a routine has taken, or an event that it has emitted.

    Args:
        is_in: whether it is a message.
        name: the connection by which it came, or the name of the event.
        message_id: the message's id; "" for an event.
        at: when, in seconds since the epoch.
        text: what it carries, as short text.
    """

    is_in: bool
    name: str
    message_id: str
    at: float
    text: str


class Passed(_Frame, frozen=True):
    """What has passed a routine since the last one of these.

    Args:
        passings: it, oldest first; none at first, which says that the tap is there.
        missed: how many more there were that the reader was too slow for, behind these.
    """

    passings: list[Passing]
    missed: int


class LogLine(msgspec.Struct, frozen=True, array_like=True):
    """A log record, or a line that a worker has printed.

    Args:
        at: when, in seconds since the epoch.
        level: the record's level by name, or `stdout` or `stderr` for a line.
        routine: id of the routine; "" for the job as a whole.
        worker: number of the worker; None for the program itself.
        message_id: the message that was handled; "" where that is not known.
        logger: name of the logger; "" for a line.
        text: the text, of several lines where it has a traceback.
    """

    at: float
    level: str
    routine: str
    worker: int | None
    message_id: str
    logger: str
    text: str


class Logged(_Frame, frozen=True):
    """What was logged since the last one of these.

    Args:
        lines: it, oldest first.
        missed: how many there were before these that are kept no more.
        is_all: whether nothing more will come.
    """

    lines: list[LogLine]
    missed: int
    is_all: bool = False


class Refused(_Frame, frozen=True):
    """The job does not do it: the name of the error, and its text."""

    kind: str
    text: str


Answer: TypeAlias = (
    Kept
    | Resumed
    | Ended
    | Now
    | Tracked
    | Identity
    | Seen
    | StacksTold
    | LettersTold
    | Settled
    | Passed
    | Logged
    | Refused
)

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
    return fit_to(text, REASON_CHARACTERS)


def fit_to(text: str, characters: int) -> str:
    """As `fit`, for at most so many characters."""
    return cut(text, characters).encode("utf-8", "replace").decode()


def _decode(decoder: msgspec.msgpack.Decoder[Any], body: bytes, what: str) -> Any:
    try:
        return decoder.decode(body)
    # All of these were seen from msgspec on bytes that are something else (`turn.codec`).
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError, MemoryError, TypeError) as error:
        raise ProtocolError(f"it is no {what}: {cut(printable(str(error)), _DETAIL_CHARACTERS)}") from error
