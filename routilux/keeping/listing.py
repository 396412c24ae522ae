"""What a store holds of a job: the names of checkpoints, state objects and history logs, and what is wrong with one."""

from __future__ import annotations

import re
from typing import NamedTuple

from routilux.records.log import Read
from routilux.stores.base import Store

_CHECKPOINT = re.compile(r"checkpoint-(\d{6,12})-(\d{6,12})")
_JOURNAL = re.compile(r"once-(\d{6,})")
_HISTORY = re.compile(r"history-(\d{6,12})")
_STATE = re.compile(r"state-[0-9a-f]{64}")


class KeptCheckpoint(NamedTuple):
    """A checkpoint in a store.

    Args:
        generation: which runner of the job wrote it.
        number: which of the job's it is.
        size_bytes: its size, without the state objects it refers to.
        written_at: when, in seconds since the epoch.
    """

    generation: int
    number: int
    size_bytes: int
    written_at: float

    @property
    def name(self) -> str:
        """What its object is called."""
        return checkpoint_name(self.generation, self.number)


class Problem(NamedTuple):
    """What is wrong with something that is kept: the name of the object or log, and the reason."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def checkpoint_name(generation: int, number: int) -> str:
    """Give the name of a checkpoint's object."""
    return f"checkpoint-{generation:06}-{number:06}"


def history_name(generation: int) -> str:
    """Give the name of a runner's history log."""
    return f"history-{generation:06}"


def journal_name(generation: int) -> str:
    """Give the name of the log in which a runner keeps what was done once."""
    return f"once-{generation:06}"


def list_checkpoints(store: Store, job_id: str) -> list[KeptCheckpoint]:
    """List a job's checkpoints, newest first. Raises `UnknownJobError`."""
    found = [
        KeptCheckpoint(int(name[1]), int(name[2]), info.size_bytes, info.written_at)
        for info in store.objects(job_id)
        if (name := _CHECKPOINT.fullmatch(info.name))
    ]
    # A name may have grown beyond six digits: by number, not by name.
    return sorted(found, reverse=True)


def is_checkpoint(name: str) -> bool:
    """Tell whether an object of this name is a checkpoint."""
    return _CHECKPOINT.fullmatch(name) is not None


def list_states(store: Store, job_id: str) -> dict[str, int]:
    """Give the sizes of a job's state objects by name. Raises `UnknownJobError`."""
    return {info.name: info.size_bytes for info in store.objects(job_id) if _STATE.fullmatch(info.name)}


def list_histories(store: Store, job_id: str) -> list[int]:
    """Give the generations of which there is a history log, oldest first. Raises `UnknownJobError`."""
    return sorted(int(name[1]) for info in store.logs(job_id) if (name := _HISTORY.fullmatch(info.name)))


def list_journals(store: Store, job_id: str) -> list[int]:
    """Give the generations of which there is a log of what was done once, oldest first. Raises `UnknownJobError`."""
    return sorted(int(name[1]) for info in store.logs(job_id) if (name := _JOURNAL.fullmatch(info.name)))


def log_reading(store: Store, job_id: str, log: str) -> Read:
    """Give what a `LogReader` reads a log by."""
    return lambda offset, limit: store.read(job_id, log, offset, limit)
