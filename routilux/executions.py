"""Facts told in words: the execution records of a history. Pure.

Owns the record, and the names that the indexes in a fact stand for. Never keeps anything (see `jobs.history` for what
is kept in memory, `records.history_log` for what is kept in a store).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from routilux.causes import tell_cause
from routilux.facts import JOB, Fact
from routilux.serial.naming import built_in
from routilux.serial.serializable import SerializableStruct
from supervisors.reasons import Reason


class RoutineNames(msgspec.Struct, frozen=True, array_like=True):
    """A routine's id, and its events by index."""

    id: str
    events: tuple[str, ...]


class Names(msgspec.Struct, frozen=True):
    """What the indexes in a fact stand for.

    Args:
        routines: by index.
        edges: labels of the connections, by number.
    """

    routines: tuple[RoutineNames, ...]
    edges: tuple[str, ...]


@built_in.register("routilux.ExecutionRecord")
class ExecutionRecord(SerializableStruct, frozen=True):
    """One thing that happened in a job.

    Args:
        routine_id: where; empty for what happened to the job as a whole: `node_lost`.
        kind: `start`, `emit`, `completed`, `error`, or what was decided after an error:
            `stop`, `continue`, `retry`, `skip`; `skipped` counts what a skipped routine passed over,
            `redelivered` is a dead letter that was put back, `discarded` one that was let go, `given_up` a message of
            several that were given up together, `unjoined` one whose partner can never come, `node_lost` a machine of a
            cluster that was lost, with which of the job's workers.
        at: when, in seconds since the epoch.
        message_id: the message's id, empty where there is none.
        source: the connection it came by, such as `read.file -> parse.source`.
        attempt: which try of the message, from 1; 0 where that means nothing.
        event: the event emitted, for `emit`.
        seconds: how long the turn took, for `completed`.
        detail: the error or cause in one line.
        reason: what went wrong, for `error` and what was decided: with traceback, notes, signal or
            exit code and last output; of an old one only what fits in a line (`REASONS_BYTES`).
    """

    routine_id: str
    kind: str
    at: float
    message_id: str = ""
    source: str = ""
    attempt: int = 0
    event: str = ""
    seconds: float = 0.0
    detail: str = ""
    reason: Reason | None = None


def tell(fact: Fact, names: Names, wall_offset: float) -> Iterator[ExecutionRecord]:
    """Give the records that a fact makes, oldest first: one at least, but for a release none.

    Args:
        fact: the fact.
        names: the names of its job.
        wall_offset: what to add to its clock reading to get seconds since the epoch.
    """
    at = fact.at + wall_offset
    if fact.routine == JOB:
        yield ExecutionRecord("", fact.kind, at, detail=fact.detail)
        return
    routine = names.routines[fact.routine]
    source = names.edges[fact.edge] if fact.edge >= 0 else ""
    message_id = fact.key.hex()

    def record(kind: str, when: float, **more: object) -> ExecutionRecord:
        base = {"message_id": message_id, "source": source, "attempt": fact.attempt}
        return ExecutionRecord(routine.id, kind, when, **{**base, **more})  # type: ignore[arg-type]  # checked by the tests

    if fact.kind == "committed":
        yield record("start", at - fact.seconds)
    for event in fact.events:
        yield record("emit", at, event=routine.events[event])
    if fact.kind == "committed":
        yield record("completed", at, seconds=fact.seconds)
    elif fact.kind == "skipped":
        yield record("skipped", at, detail=f"{fact.count} messages that waited were skipped")
    elif fact.kind != "released":
        kind = "error" if fact.kind == "failed" else fact.kind
        detail = "" if fact.reason is None else tell_cause(fact.reason)
        yield record(kind, at, detail=detail, reason=fact.reason)
