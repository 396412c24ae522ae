"""All that is kept of a job is read, and what is wrong with it told."""

from __future__ import annotations

from collections.abc import Iterator

from routilux.keeping.finding import load
from routilux.keeping.history import StoredHistory
from routilux.keeping.listing import Problem, history_name, journal_name, list_checkpoints, list_journals, log_reading
from routilux.records.errors import KeptError
from routilux.records.log import LogReader
from routilux.records.schema import HistoryPosition
from routilux.stores.base import Store
from routilux.stores.errors import MissingObjectError


def verify(store: Store, job_id: str, *, key: bytes | None = None) -> list[Problem]:
    """Read every checkpoint of a job with its state objects, its history and the logs of what was done once.

    Nothing of users is decoded, and the seals in those last logs are not looked at. What is read is let go at once: it
    takes the memory of one checkpoint.

    Returns:
        What is wrong, with checkpoints first, newest first; empty where all is well. A torn end of a log is nothing
        wrong: its runner was killed, or appends just now.

    Raises:
        UnknownJobError: the store has no such job.
        OptionError: the key cannot be one.
    """
    problems = []
    positions: list[tuple[str, HistoryPosition]] = []
    for kept in list_checkpoints(store, job_id):
        try:
            image = load(store, job_id, kept.generation, kept.number, key=key)
        except KeptError as error:
            problems.append(Problem(kept.name, str(error)))
        except MissingObjectError:
            continue  # Its runner has pruned it since it was listed.
        else:
            if image.job.history is not None:
                positions.append((kept.name, image.job.history))
    problems += StoredHistory(store, job_id).check()
    for name, position in positions:
        log = history_name(position.generation)
        reader = LogReader(log_reading(store, job_id, log), 0, position.offset)
        try:
            for _record in reader:
                pass
        except MissingObjectError:
            problems.append(Problem(log, f"it is not there, and {name} has seen {position.offset:,} bytes of it"))
        if reader.problem is not None:
            problems.append(Problem(log, f"{reader.problem}, and {name} has seen {position.offset:,} bytes of it"))
    return [*problems, *_verify_journals(store, job_id)]


def _verify_journals(store: Store, job_id: str) -> Iterator[Problem]:
    for log in map(journal_name, list_journals(store, job_id)):
        reader = LogReader(log_reading(store, job_id, log))
        for _record in reader:
            pass
        if reader.problem is not None and not reader.is_torn:
            yield Problem(log, reader.problem)
