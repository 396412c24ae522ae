"""What a user may know of a job: `JobState`, a snapshot that never changes under its reader."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, Self

from routilux.dead_letters import DeadLetter
from routilux.executions import ExecutionRecord
from routilux.holdings import EdgeCount
from routilux.jobs.history import HistoryCut
from routilux.jobs.machine import JobStatus
from routilux.jobs.recorder import CheckpointInfo
from routilux.jobs.state_file import seal, unseal
from routilux.jobs.state_form import Parts, PausePoint, from_fields, to_fields
from routilux.serial.naming import built_in
from routilux.serial.serializable import (
    Serializable,
    from_document,
    pack_document,
    to_document,
    unpack_document,
)
from routilux.stores.single_file import read_file, write_file, write_parts
from routilux.tracking.trace import write_trace
from routilux.tracking.tracker import ExecutionTracker


class Starter(Protocol):
    """What starts jobs and can wait for them: a `Flow`."""

    def wait_for(self, job_id: str, timeout: float | None = None) -> bool:
        """Wait until a job is over; True if it is."""


@built_in.register("routilux.JobState")
class JobState(Serializable):
    """A job as it was at one moment.

    Args:
        job_id: the job's id.
        flow_id: the id of its flow.
        status: one of `JobStatus`; compares equal to its word.
        routine_states: by routine id, a dict with `status`, `state` (the declared state; a list by
            worker number where there are several; `Unreadable` for a value that cannot be decoded here,
            `InPlace` for one that is changed in place while the job runs),
            `stats` (a dict of `RoutineFigures`, and of the numbers that it set itself, see `Routine.stats`: the sum of
            each over its workers), `handled`, `failed`, `skipped`, `dead`, `retries`,
            `restarts` and `error` (the last failure in one line, control characters escaped, or None).
        connections: what became of the messages of each connection.
        dead_letters: messages given up, oldest first; the newest of each routine (see `dead_letters`).
        created_at, updated_at: seconds since the epoch.
        error: why the job failed, in one line with control characters escaped, or the reason it was cancelled for; None
            otherwise.
        outputs: results collected of the declared outputs, by (routine id, event).
        history: the history at that moment.
        pause_points: the newest 1,000 pauses it had, oldest first, also those before it was resumed.
        checkpoint: the newest that the program which runs it has made durable; None for none.
        tracker: executions, flow of events and metrics at that moment; None makes one that knows of nothing.
    """

    def __init__(  # noqa: PLR0913  a snapshot has as many parts as it has
        self,
        *,
        job_id: str,
        flow_id: str,
        status: JobStatus,
        routine_states: dict[str, dict[str, Any]],
        connections: list[EdgeCount],
        dead_letters: list[DeadLetter],
        created_at: float,
        updated_at: float,
        error: str | None,
        history: HistoryCut,
        outputs: dict[tuple[str, str], list[Any]] | None = None,
        pause_points: Sequence[PausePoint] = (),
        checkpoint: CheckpointInfo | None = None,
        tracker: ExecutionTracker | None = None,
    ) -> None:
        self.job_id = job_id
        self.flow_id = flow_id
        self.status = status
        self.routine_states = routine_states
        self.connections = connections
        self.dead_letters = dead_letters
        self.created_at = created_at
        self.updated_at = updated_at
        self.error = error
        self.outputs = outputs if outputs is not None else {}
        self.pause_points = list(pause_points)
        self.checkpoint = checkpoint
        self.tracker = tracker or ExecutionTracker(job_id, flow_id, str(status), updated_at, 0.0, (), ())
        self._cut = history
        self._records: list[ExecutionRecord] | None = None
        self._own_records: list[ExecutionRecord] = []

    def __repr__(self) -> str:
        return f"JobState(job_id={self.job_id!r}, flow_id={self.flow_id!r}, status={str(self.status)!r})"

    def _repr_html_(self) -> str:
        """Give the job as it was, as a picture with its numbers and a table, for notebooks."""
        from routilux.drawing.display import show_job  # noqa: PLC0415  nobody else pays for it

        errors = {routine_id: told.get("error") for routine_id, told in self.routine_states.items()}
        notes = [f"{len(items):,} results of {owner}.{event}" for (owner, event), items in self.outputs.items()]
        return show_job(self.tracker, self.error, errors, notes)

    @property
    def history(self) -> list[ExecutionRecord]:
        """The newest records, oldest first; at most `HISTORY_LIMIT`."""
        if self._records is None:
            self._records = self._cut.records()
        return [*self._records, *self._own_records]

    @property
    def shortened(self) -> int:
        """Failures and decisions of which the history had no room to keep the whole reason."""
        return self._cut.shortened

    @property
    def current_routine_id(self) -> str | None:
        """The routine that something last happened to; None before anything did."""
        return next((record.routine_id for record in reversed(self.history) if record.routine_id), None)

    def get_execution_history(
        self,
        routine_id: str | None = None,
        *,
        kind: str | Collection[str] | None = None,
        message_id: str | None = None,
        event: str | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> list[ExecutionRecord]:
        """Give the history, oldest first: the records for which all that is given holds.

        Args:
            routine_id: of this routine.
            kind: of this kind, or of one of these, see `ExecutionRecord`.
            message_id: about this message.
            event: an emission of this event.
            since: from this time on, in seconds since the epoch.
            until: before this time.
        """
        kinds = None if kind is None else {kind} if isinstance(kind, str) else set(kind)
        wanted = {
            name: value
            for name, value in (("routine_id", routine_id), ("message_id", message_id), ("event", event))
            if value is not None
        }
        return [
            record
            for record in self.history
            if all(getattr(record, name) == value for name, value in wanted.items())
            and (kinds is None or record.kind in kinds)
            and (since is None or record.at >= since)
            and (until is None or record.at < until)
        ]

    def record_execution(self, routine_id: str, kind: str, detail: str = "") -> None:
        """Add a record of one's own to this snapshot."""
        self._own_records.append(ExecutionRecord(routine_id, kind, time.time(), detail=detail))

    def get_routine_state(self, routine_id: str) -> dict[str, Any] | None:
        """Give what is known of a routine; None for an unknown id."""
        return self.routine_states.get(routine_id)

    def update_routine_state(self, routine_id: str, **values: Any) -> None:
        """Change what this snapshot says of a routine; the job is not touched."""
        self.routine_states.setdefault(routine_id, {}).update(values)

    def results(self, routine_id: str | None = None, event: str | None = None) -> list[Any]:
        """Give the collected results of the declared outputs, of all or of one.

        Those that `Flow.execute`, leaving the `with` of a job, or `Job.collect` have gathered. What nobody has is not
        here: `Job.results` hands it over, also when the job is over.

        Args:
            routine_id: only those of this routine; None for all.
            event: only those of this event; None for all.
        """
        return [
            item
            for (owner, name), items in self.outputs.items()
            if routine_id in {None, owner} and event in {None, name}
            for item in items
        ]

    def serialize(self, *, allow_pickle: bool = False) -> dict[str, Any]:
        """Give this snapshot as plain data that `json.dump` takes as it is.

        Args:
            allow_pickle: whether values that are neither plain nor of registered classes (`routilux.register`) go as
                pickles.

        Raises:
            ValueEncodingError: a value cannot be carried; the error's `path` says where it is.
        """
        return to_document(self, to_fields(self._parts(), allow_pickle=allow_pickle))

    @classmethod
    def deserialize(
        cls, data: Mapping[str, Any], *, allow_modules: Collection[str] = (), allow_pickle: bool = False
    ) -> Self:
        """Give the snapshot of which `data` was made; whatever may be asked of the one may be asked of the other.

        A value that cannot be read here, such as one of a class that is not registered, is `Unreadable`.

        Args:
            data: what `serialize` gave.
            allow_modules: modules whose classes and functions the data may name.
            allow_pickle: whether pickles are read, which runs code of whoever wrote them.

        Raises:
            PlainDataError: it is not what was written.
        """
        return cls._of(from_fields(from_document(cls, data, allow_modules), allow_pickle=allow_pickle))

    def to_bytes(self, *, allow_pickle: bool = False) -> bytes:
        """Give what `serialize` gives as MessagePack; raises as that."""
        return pack_document(self.serialize(allow_pickle=allow_pickle))

    @classmethod
    def from_bytes(cls, data: bytes, *, allow_modules: Collection[str] = (), allow_pickle: bool = False) -> Self:
        """Give the snapshot of which `to_bytes` made `data`; arguments and errors as those of `deserialize`."""
        plain = unpack_document(cls, data)
        return cls.deserialize(plain, allow_modules=allow_modules, allow_pickle=allow_pickle)

    def save(self, path: str | os.PathLike[str], *, allow_pickle: bool = False) -> None:
        """Write this snapshot into a file that only this user may read, in the place of the one there.

        Raises:
            ValueEncodingError: as `serialize`; nothing is written.
            StoreWriteError: it could not be written; what was there is as it was.
        """
        write_file(path, seal(self.to_bytes(allow_pickle=allow_pickle)))

    def write_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the history that is in memory as a trace file, as `Job.write_trace`.

        Raises:
            StoreWriteError: it could not be written; what was there is as it was.
        """
        write_parts(path, write_trace(f"{self.flow_id}, job {self.job_id}", self.history, self.created_at))

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, allow_modules: Collection[str] = (), allow_pickle: bool = False
    ) -> Self:
        """Read a snapshot that `save` wrote, as `deserialize` does.

        Raises:
            UnsafeStoreError: others than this user could have written the file, or it is a link.
            StoreReadError: it is not there, or cannot be read.
            DamagedStateError: it is not what was written.
            UnsupportedFormatError: a newer version wrote it.
        """
        return cls.from_bytes(unseal(read_file(path)), allow_modules=allow_modules, allow_pickle=allow_pickle)

    def _take_fields(self) -> dict[str, Any]:
        return to_fields(self._parts(), allow_pickle=False)

    def _fill_fields(self, fields: dict[str, Any]) -> None:
        vars(self).update(vars(self._of(from_fields(fields, allow_pickle=False))))

    @classmethod
    def _of(cls, parts: Parts) -> Self:
        named = parts._asdict()
        own_records = named.pop("own_records")
        state = cls(**named)
        state._own_records = own_records
        return state

    def _parts(self) -> Parts:
        return Parts(
            job_id=self.job_id,
            flow_id=self.flow_id,
            status=self.status,
            routine_states=self.routine_states,
            connections=self.connections,
            dead_letters=self.dead_letters,
            created_at=self.created_at,
            updated_at=self.updated_at,
            error=self.error,
            history=self._cut,
            own_records=self._own_records,
            outputs=self.outputs,
            pause_points=self.pause_points,
            checkpoint=self.checkpoint,
            tracker=self.tracker,
        )

    @staticmethod
    def wait_for_completion(flow: Starter, job_state: JobState, timeout: float | None = None) -> bool:
        """Wait until the job that `job_state` was taken of is over.

        Args:
            flow: the flow that started it.
            job_state: any snapshot of it.
            timeout: seconds to wait at most; None for no limit.

        Returns:
            True if it is over, False if the time ran out first.
        """
        return flow.wait_for(job_state.job_id, timeout)
