"""What a checkpoint holds, as plain structs: an image of a job between two commits.

Owns the shapes and what their fields mean. Knows nothing of files and of running jobs. All values of users are bytes
here, as their codec wrote them.

A field that is added later gets a default, at the end: then both directions can be read. Nothing is renamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from routilux.serial.shape import TypeShape
from routilux.tracking.meters import Measured, Spent
from supervisors.reasons import Reason

# The bounds are checked where an image is read.
Count: TypeAlias = Annotated[int, Meta(ge=0)]
"""How many, or which one from 0."""
Number: TypeAlias = Annotated[int, Meta(ge=1)]
"""Which one, from 1."""
Seconds: TypeAlias = Annotated[float, Meta(ge=0)]
"""A duration, or a time since the epoch; never NaN."""
MessageKey: TypeAlias = Annotated[bytes, Meta(min_length=16, max_length=16)]
Digest: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""BLAKE2b-256."""


class MessageImage(msgspec.Struct, frozen=True, array_like=True):
    """One message.

    Args:
        edge: number of its connection, see `EdgeImage`.
        seq: its number on that connection.
        key: its id, the same whenever it is emitted again: 16 bytes.
        payload: its data, encoded.
        failures: tries that ended badly.
        crashes: those of them that were deaths of the process.
        redelivered: whether it may have run before.
        released: emissions of its turn that went out since the turn last committed (R3).
        stepped: emissions of its turn that went out by commits of the turn (R4).
        once: what `Routine.once` has recorded for it, encoded, by key.
        waited: seconds since it came into its mailbox, those alone in which a program had the job; 0 where nobody asks.
        parts: of a set the messages in it, which one turn handles together; its own payload is empty.
        partition: the key by which its receiver is partitioned, as text; empty where it is not.
    """

    edge: Count
    seq: Count
    key: MessageKey
    payload: bytes
    failures: Count = 0
    crashes: Count = 0
    redelivered: bool = False
    released: Count = 0
    stepped: Count = 0
    once: dict[str, bytes] = {}
    waited: Seconds = 0.0
    parts: list[MessageImage] = []
    partition: str = ""

    def values(self) -> Iterator[bytes]:
        """Give all encoded values of users in it."""
        if not self.parts:
            yield self.payload
        yield from self.once.values()
        for part in self.parts:
            yield from part.values()

    def each(self) -> Iterator[MessageImage]:
        """Give the messages that it stands for: those in it, where it is a set, else itself."""
        yield from self.parts or (self,)


def count_each(messages: Iterable[MessageImage]) -> int:
    """Count messages, each in a set for one."""
    return sum(len(message.parts) or 1 for message in messages)


class RetryImage(msgspec.Struct, frozen=True, array_like=True):
    """Messages that wait for their next try.

    Args:
        messages: oldest first.
        seconds: what is left of the wait.
        holds: whether the routine takes nothing until it is over.
    """

    messages: list[MessageImage]
    seconds: Seconds
    holds: bool


class GivenUpSet(msgspec.Struct, frozen=True, array_like=True):
    """Messages that were given up together, which are dead letters now, as the one that their turn had.

    Args:
        key: its id.
        size: how many they are: where fewer are left, they are no set any more.
        released, stepped, once: as of a `MessageImage`.
    """

    key: MessageKey
    size: Number
    released: Count
    stepped: Count
    once: dict[str, bytes]


class DeadLetterImage(msgspec.Struct, frozen=True, array_like=True):
    """A message that was given up.

    Args:
        message: the message.
        reason: why.
        attempts: how often it was tried.
        at: when, in seconds since the epoch.
        given_up_with: the number of its set in `RoutineImage.given_up`; None for a message by itself.
    """

    message: MessageImage
    reason: Reason
    attempts: Count
    at: Seconds
    given_up_with: Count | None = None


class RoutineImage(msgspec.Struct, frozen=True):
    """One routine, but for its declared state.

    Args:
        id: its id in the flow.
        status: its word.
        error: its last failure in one line.
        is_skipped: whether it is skipped for the rest of the job.
        in_hand: messages that were being handled, oldest first.
        waiting: messages in its mailbox, oldest first.
        retries: messages that wait for their next try.
        dead_letters: the newest of those given up, oldest first.
        figures: its counts by name: handled, merged, failed, skipped, dead, retries, restarts, emitted, and the
            messages that waited at most (`peak_waiting`).
        measured: what its turns took; None where nothing is known.
        spent: what its processes have used that have ended, by worker.
        merging: messages that wait for others to be handled with, in an order in which they can be gathered again.
        given_up: the sets of which dead letters are.
    """

    id: str
    status: str
    error: str | None
    is_skipped: bool
    in_hand: list[MessageImage]
    waiting: list[MessageImage]
    retries: list[RetryImage]
    dead_letters: list[DeadLetterImage]
    figures: dict[str, Count]
    measured: Measured | None = None
    spent: list[Spent] = []
    merging: list[MessageImage] = []
    given_up: list[GivenUpSet] = []

    def held(self) -> Iterator[MessageImage]:
        """Give all messages that are still to be handled, as they are held: sets as such."""
        yield from self.in_hand
        yield from self.waiting
        yield from self.merging
        for wait in self.retries:
            yield from wait.messages

    def left(self) -> Iterator[MessageImage]:
        """Give all messages that are still to be handled, those of a set one by one."""
        for message in self.held():
            yield from message.each()

    def values(self) -> Iterator[bytes]:
        """Give all encoded values of users in it."""
        for message in (*self.held(), *(letter.message for letter in self.dead_letters)):
            yield from message.values()
        for whole in self.given_up:
            yield from whole.once.values()

    def messages(self) -> Iterator[MessageImage]:
        """Give all messages that it holds, those of a set one by one."""
        yield from self.left()
        for letter in self.dead_letters:
            yield letter.message


class OutputImage(msgspec.Struct, frozen=True):
    """A declared output: results that wait for a reader, and those that the job has collected, oldest first."""

    routine_id: str
    event: str
    waiting: list[MessageImage]
    collected: list[MessageImage]


class PausePoint(msgspec.Struct, frozen=True):
    """One pause of a job.

    Args:
        at: when, in seconds since the epoch.
        reason: why, as text.
        checkpoint: what the caller of `pause` wanted to be kept with it, encoded; None for nothing.
        generation: which runner of the job it was.
        number: number of the checkpoint that was written for it.
    """

    at: Seconds
    reason: str
    checkpoint: bytes | None
    generation: Number
    number: Number


class HistoryPosition(msgspec.Struct, frozen=True, array_like=True):
    """How far the history log had come: its generation, and its length in bytes then."""

    generation: Number
    offset: Count


class MemoImage(msgspec.Struct, frozen=True, array_like=True):
    """What was done once for a message that has not come again yet since its runner was killed: encoded, by key."""

    key: MessageKey
    once: dict[str, bytes]


class JobImage(msgspec.Struct, frozen=True):
    """What belongs to the job as a whole.

    Args:
        sent, handled, dead, skipped: counts by number of the connection (R7).
        is_entry_open: whether it takes messages from outside.
        pause_points: the newest pauses, oldest first.
        history: how far the history had come; None where none is kept.
        outputs: the declared outputs.
        once: how far the log had come of what was done once; None where there is none.
        memos: what was done once before that, for messages that will only come again.
        first_at, last_at: when a message was first and last sent, by number of the connection, in seconds since the
            epoch; None for never, or where that is not known.
        seconds: how long it has run, in all its programs together.
    """

    sent: list[Count]
    handled: list[Count]
    dead: list[Count]
    skipped: list[Count]
    is_entry_open: bool
    pause_points: list[PausePoint]
    history: HistoryPosition | None
    outputs: list[OutputImage]
    once: HistoryPosition | None = None
    memos: list[MemoImage] = []
    first_at: list[Seconds | None] = []
    last_at: list[Seconds | None] = []
    seconds: Seconds = 0.0


class EdgeImage(msgspec.Struct, frozen=True):
    """One connection, under the number by which messages name it.

    Args:
        source: id of the routine that emits; empty for messages from outside.
        event: the event; empty for messages from outside.
        target: id of the routine that receives; empty for an output.
        slot: its slot; empty for the routine's entry, and for an output.
        label: how people read it.
        mapping: pairs of (parameter that comes, parameter it becomes).
        born: what the ids of its messages are made of, where it was renamed: its label before; else empty.
    """

    source: str
    event: str
    target: str
    slot: str
    label: str
    mapping: list[tuple[str, str]]
    born: str = ""


class RoutineShape(msgspec.Struct, frozen=True):
    """One routine, as the flow had it.

    Args:
        id: its id.
        kind: name of its class, for people.
        placement: where its handlers ran.
        workers: how many there were.
        slots: names of its slots, each with its merge strategy: `override`, `append` or `callable`.
        events: names of its events.
        state: what its declared state is: `dict`, or the name of its class with those of its fields.
        state_policy: how its state is committed.
        partition_by: the parameter by which it was partitioned: then it has one state, with an entry for each key that
            holds the state of that; empty where it was not.
        source: digest of its class's source code, a note only; empty where there is none.
    """

    id: str
    kind: str
    placement: str
    workers: Number
    slots: dict[str, str]
    events: list[str]
    state: str
    state_policy: str
    source: str = ""
    partition_by: str = ""

    @property
    def states(self) -> int:
        """How many declared states it has."""
        return 1 if self.partition_by else self.workers


class Topology(msgspec.Struct, frozen=True):
    """The flow, as it was: its routines, and its connections by number; with the registered types in use."""

    flow_id: str
    routines: list[RoutineShape]
    edges: list[EdgeImage]
    types: dict[str, TypeShape]


class RoutineSummary(msgspec.Struct, frozen=True):
    """What a list shows of a routine.

    Args:
        id: its id.
        status: its word.
        error: its last failure in one line.
        waiting: messages in its mailbox, being handled and in retry, together.
        dead: messages given up.
        handled: messages whose turn committed.
    """

    id: str
    status: str
    error: str | None
    waiting: Count
    dead: Count
    handled: Count


class Header(msgspec.Struct, frozen=True):
    """What is known of a checkpoint without reading the rest; no code of users is needed for it.

    Args:
        job_id, flow_id: whose it is.
        generation: which runner of the job wrote it.
        number: which checkpoint of the job it is, from 1, over all generations.
        status: the job's, as a word.
        error: why the job ended badly.
        cause: why it was written: `start`, `interval`, `asked`, `pause`, `resume`, `end`, or `fork`.
        job_created_at, created_at: seconds since the epoch: the job and the checkpoint.
        forked_from: job id and checkpoint it began with, such as `nightly/1-12`; None for none.
        python: version of the interpreter, such as `3.11`.
        version: version of this package.
        needs: what loading it takes beyond plain data: `pickle`, `cpython-3.11`.
        routines: what a list shows.
        messages: messages in it.
    """

    job_id: str
    flow_id: str
    generation: Number
    number: Number
    status: str
    error: str | None
    cause: str
    job_created_at: Seconds
    created_at: Seconds
    forked_from: str | None
    python: str
    version: str
    needs: list[str]
    routines: list[RoutineSummary]
    messages: Count


class StateImage(msgspec.Struct, frozen=True):
    """The declared state of one worker of one routine, as committed.

    Args:
        routine_id: the routine.
        worker: the worker's number.
        body: its values, as `turn.codec.encode_boot` wrote them.
    """

    routine_id: str
    worker: Count
    body: bytes


class KeptState(msgspec.Struct, frozen=True):
    """A state as an earlier checkpoint has it: stands for it in the next one while it is unchanged.

    Args:
        routine_id: the routine.
        worker: the worker's number.
        size: its length in bytes.
        digest: its digest.
        body: itself; None where it is an object of its own, which is there.
    """

    routine_id: str
    worker: Count
    size: Count
    digest: Digest
    body: bytes | None


class Image(msgspec.Struct, frozen=True):
    """A job between two commits.

    Args:
        header: what is known of it without the rest.
        topology: the flow.
        job: what belongs to the job as a whole.
        routines: one for each of the flow's, in its order.
        states: of those that have any; of a worker one at most.
    """

    header: Header
    topology: Topology
    job: JobImage
    routines: list[RoutineImage]
    states: list[StateImage]
