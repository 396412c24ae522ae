"""Checkpoints are found in a store again: a certain one, the newest good one, or what there is of all jobs."""

from __future__ import annotations

from typing import NamedTuple

from routilux.keeping.listing import KeptCheckpoint, Problem, checkpoint_name, list_checkpoints
from routilux.records.errors import DamagedCheckpointError, DamagedError, KeptError, NoCheckpointError
from routilux.records.format import PRELUDE_BYTES, Contents, header_bytes, read_checkpoint, read_contents
from routilux.records.schema import Header, Image
from routilux.stores.base import Store
from routilux.stores.errors import MissingObjectError, StoreError, UnknownJobError

LISTINGS = 10
"""How often the checkpoints are listed again because one was pruned before it could be read (arbitrary)."""
OVER = ("completed", "cancelled")
"""Statuses of jobs that nobody can go on with; one that has failed may be resumed."""


class Found(NamedTuple):
    """The newest good checkpoint of a job.

    Args:
        image: the job, as it was.
        problems: those that are newer and damaged, newest first: what they held is lost.
    """

    image: Image
    problems: list[Problem]


class JobSummary(NamedTuple):
    """What a list shows of a job.

    Args:
        job_id: the job.
        header: that of its newest checkpoint of which it can be read; None where there is none.
        checkpoints: how many there are.
        size_bytes: what all that is kept of it takes.
        problems: the newer ones whose header cannot be read.
    """

    job_id: str
    header: Header | None
    checkpoints: int
    size_bytes: int
    problems: list[Problem]


def load(store: Store, job_id: str, generation: int, number: int, *, key: bytes | None = None) -> Image:
    """Read a certain checkpoint.

    Raises:
        MissingObjectError: there is no such checkpoint.
        UnknownJobError: there is no such job.
        KeptError: it cannot be read: it is damaged, of a newer version, or does not go with the key.
    """
    name = checkpoint_name(generation, number)

    def fetch(state: str, limit: int) -> bytes:
        try:
            return store.get(job_id, state, limit)
        except MissingObjectError as missing:
            raise DamagedCheckpointError(f"object {state!r}, which it refers to, is not there") from missing

    image = read_checkpoint(store.get(job_id, name), fetch, key=key)
    _check_whose(image.header, job_id, generation, number)
    return image


def latest(store: Store, job_id: str, *, key: bytes | None = None) -> Found:
    """Read the newest checkpoint of a job that is not damaged.

    One that a newer version wrote, or that does not go with the key, is not passed over: an older one would take
    its place without need.

    Raises:
        NoCheckpointError: there is none, or all are damaged.
        UnsupportedFormatError: a newer version wrote it.
        SealError: it does not go with the key.
        UnknownJobError: there is no such job.
    """
    problems: list[Problem] = []
    for _listing in range(LISTINGS):
        problems = []
        try:
            for kept in list_checkpoints(store, job_id):
                try:
                    image = load(store, job_id, kept.generation, kept.number, key=key)
                except DamagedError as damage:
                    problems.append(Problem(kept.name, str(damage)))
                else:
                    return Found(image, problems)
        except MissingObjectError:
            continue  # Its runner has pruned it since it was listed, and has written newer ones.
        break
    raise NoCheckpointError(job_id, problems)


def catalog(store: Store) -> list[JobSummary]:
    """Tell what there is of each job, sorted by id, from the beginnings of checkpoints alone.

    Nothing of users is decoded, and no key is needed: the headers of sealed checkpoints are not proved. A job that
    the store refuses to read, such as one that others may write, is a problem of its own and hides no other one.
    """
    summaries = []
    for job_id in store.jobs():
        try:
            summaries.append(summarize_job(store, job_id))
        except UnknownJobError:
            continue  # It was removed since it was listed.
        except StoreError as error:
            summaries.append(JobSummary(job_id, None, 0, 0, [Problem("what is kept of it", str(error))]))
    return summaries


def summarize_job(store: Store, job_id: str) -> JobSummary:
    """Tell what there is of a job, as `catalog`. Raises `UnknownJobError`."""
    checkpoints = list_checkpoints(store, job_id)
    size = sum(info.size_bytes for info in (*store.objects(job_id), *store.logs(job_id)))
    problems: list[Problem] = []
    for kept in checkpoints:
        try:
            header = start_of(store, job_id, kept).header
        except MissingObjectError:
            continue
        except KeptError as error:
            problems.append(Problem(kept.name, str(error)))
        else:
            return JobSummary(job_id, header, len(checkpoints), size, problems)
    return JobSummary(job_id, None, len(checkpoints), size, problems)


def start_of(store: Store, job_id: str, kept: KeptCheckpoint) -> Contents:
    """Read the header of a checkpoint and the table of what it holds, not proved by a key.

    Raises:
        MissingObjectError: there is no such checkpoint any more.
        UnknownJobError: there is no such job any more.
        DamagedCheckpointError: its beginning is damaged.
        UnsupportedFormatError: a newer version wrote it.
    """
    needed = header_bytes(store.get(job_id, kept.name, PRELUDE_BYTES))
    contents = read_contents(store.get(job_id, kept.name, needed))
    _check_whose(contents.header, job_id, kept.generation, kept.number)
    return contents


def _check_whose(header: Header, job_id: str, generation: int, number: int) -> None:
    """Refuse a checkpoint under another's name: a sealed one, put in another's place, is right in all else."""
    if (header.job_id, header.generation, header.number) != (job_id, generation, number):
        raise DamagedCheckpointError(
            f"it is {checkpoint_name(header.generation, header.number)!r} of job {header.job_id!r}, under another name"
        )
