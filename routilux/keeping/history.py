"""The complete history of a job, over all its runners, read from the logs in a store.

Theory of operation. Each runner of a job writes a log of its own, whose header says how far the history had come in
the checkpoint that it began with: in which log, and up to where. So the history is a chain: the newest log, before it
the log it is based on up to that offset, and so on. What a log holds behind that offset, and logs that nobody is based
on, tell of turns that were rolled back when their runner was killed, and run again since: they are counted and no
part of the history.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from routilux.executions import ExecutionRecord, tell
from routilux.facts import JOB, Fact
from routilux.keeping.listing import Problem, history_name, list_histories, log_reading
from routilux.records.errors import KeptError
from routilux.records.history_log import LogHeader, read_facts, read_log_header
from routilux.records.log import LogReader
from routilux.stores.base import Store


class _Part(NamedTuple):
    """A part of a log: from behind its header, or from where the history left it, to `end`, or to its end."""

    header: LogHeader
    start: int
    end: int | None

    @property
    def name(self) -> str:
        return history_name(self.header.generation)


class StoredHistory:
    """The history of a job as a store has it: it may be read while the job runs.

    Holds the headers of the logs, and while it is iterated one batch of facts.

    Args:
        store: where it is.
        job_id: whose it is.

    Raises:
        UnknownJobError: the store has no such job.
    """

    def __init__(self, store: Store, job_id: str) -> None:
        self._store = store
        self._job_id = job_id
        self._problems: dict[str, str] = {}
        logs = {generation: log for generation in list_histories(store, job_id) if (log := self._open(generation))}
        self._parts = self._follow(logs)
        self._rolled_back = list(_find_rest(logs, self._parts))

    @property
    def problems(self) -> list[Problem]:
        """What of the history could not be read, as far as it was tried. A torn end of the newest log is none."""
        return [Problem(name, reason) for name, reason in self._problems.items()]

    def __iter__(self) -> Iterator[ExecutionRecord]:
        """Give all records, oldest first."""
        return self.records()

    def records(self, routine_id: str | None = None) -> Iterator[ExecutionRecord]:
        """Give the records of one routine, or of all and of the job as a whole, oldest first."""
        for part in self._parts:
            names = part.header.names
            for fact in self._read(part):
                if routine_id is None or (fact.routine != JOB and names.routines[fact.routine].id == routine_id):
                    yield from tell(fact, names, part.header.wall_offset)

    def count_rolled_back(self) -> int:
        """Count the records that tell of turns that were rolled back; reads the rest of the logs."""
        return sum(
            1
            for part in self._rolled_back
            for fact in self._read(part)
            for _record in tell(fact, part.header.names, part.header.wall_offset)
        )

    def check(self) -> list[Problem]:
        """Read all there is, and give what is wrong with it."""
        for part in (*self._parts, *self._rolled_back):
            for _fact in self._read(part):
                pass
        return self.problems

    def _open(self, generation: int) -> _Part | None:
        """Read the header of a log; None where there is none yet, or it cannot be read."""
        name = history_name(generation)
        reader = self._reader(name, 0, None)
        first = next(iter(reader), None)
        if first is None:
            # A runner that was killed at once leaves it empty or torn, and nothing that could be told.
            if not reader.is_torn and reader.problem is not None:
                self._problems[name] = reader.problem
            return None
        try:
            header = read_log_header(first.body)
        except KeptError as error:
            self._problems[name] = str(error)
            return None
        if header.generation != generation:
            self._problems[name] = f"it is that of generation {header.generation}, under another name"
            return None
        return _Part(header, first.end, None)

    def _follow(self, logs: dict[int, _Part]) -> list[_Part]:
        """Give the parts that make up the history, oldest first."""
        if not logs:
            return []
        parts = [logs[max(logs)]]
        while (base := parts[-1].header.base) is not None:
            log = logs.get(base.generation)
            if log is None or base.generation >= parts[-1].header.generation:
                self._problems.setdefault(history_name(base.generation), "it is missing, and the history before it")
                break
            parts.append(log._replace(end=max(base.offset, log.start)))
        return parts[::-1]

    def _read(self, part: _Part) -> Iterator[Fact]:
        reader = self._reader(part.name, part.start, part.end)
        for record in reader:
            try:
                yield from read_facts(record.body, part.header.names)
            except KeptError as error:
                self._problems[part.name] = f"{error}, before offset {record.end}"
        # Whoever was killed while it appended left the end torn; or somebody appends just now.
        if reader.problem is not None and not (reader.is_torn and part.end is None):
            self._problems[part.name] = reader.problem

    def _reader(self, name: str, offset: int, end: int | None) -> LogReader:
        return LogReader(log_reading(self._store, self._job_id, name), offset, end)


def _find_rest(logs: dict[int, _Part], parts: list[_Part]) -> Iterator[_Part]:
    """Give the parts of the logs that are not in the history."""
    ends = {part.header.generation: part.end for part in parts}
    for generation, log in logs.items():
        if generation not in ends:
            yield log
        elif (end := ends[generation]) is not None:
            yield log._replace(start=end)
