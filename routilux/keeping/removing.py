"""Jobs in a store that nobody needs any more: which they are, and their removal with all that is kept of them.

Owns the two looks at a job: one to choose it, and one under its lease, since somebody may have gone on with it
meanwhile. Decodes no value, and never removes a job that somebody runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from routilux.keeping.finding import OVER, JobSummary, catalog, latest, summarize_job
from routilux.records.errors import KeptError, NoCheckpointError, UnsealedError
from routilux.stores.base import Store
from routilux.stores.errors import JobOwnedError, UnknownJobError
from routilux.stores.owners import this_process

FAILED, PAUSED = "failed", "paused"
RUNNING = "running"
"""Of a job that somebody runs: it is never removed."""
LOST = "lost"
"""Of one that is told to be running and that nobody runs: its program was killed."""
NOT_BEGUN = "not-begun"
"""Of one of which there is no checkpoint, and that nobody runs."""
UNREADABLE = "unreadable"
"""Of one of which nothing can be read."""
REMOVABLE = (*OVER, FAILED, PAUSED, LOST, NOT_BEGUN, UNREADABLE)


class Found(NamedTuple):
    """A job in a store.

    Args:
        job_id: the job.
        status: a word of this module.
        size_bytes: what all that is kept of it takes.
        kept_at: when it was kept last, in seconds since the epoch; None where that cannot be read.
    """

    job_id: str
    status: str
    size_bytes: int
    kept_at: float | None


def find_jobs(store: Store) -> Iterator[Found]:
    """Give all jobs of a store, sorted by id."""
    for summary in catalog(store):
        try:
            yield _look_at(store, summary)
        except UnknownJobError:
            continue  # it was removed since it was listed


def is_removable(found: Found, statuses: Collection[str], before: float) -> bool:
    """Tell whether a job is one of those that are to be removed.

    Args:
        found: the job.
        statuses: words of those; that of one which runs means nothing.
        before: when it was kept last, at the latest. One of which that is not known stays, but for infinity.
    """
    is_old = before == float("inf") or (found.kept_at is not None and found.kept_at <= before)
    return found.status != RUNNING and found.status in statuses and is_old


def count_letters(store: Store, job_id: str, key: bytes | None) -> int | None:
    """Count the dead letters of a job that nobody has tried again or let go; None where that cannot be known.

    Args:
        store: where it is kept.
        job_id: the job.
        key: what it was sealed with, if it was.

    Raises:
        UnknownJobError: there is no such job any more.
    """
    try:
        try:
            image = latest(store, job_id, key=key).image
        except UnsealedError:
            image = latest(store, job_id).image
    except NoCheckpointError:
        return 0
    except KeptError:  # the key is missing, or a newer version wrote it
        return None
    return sum(len(routine.dead_letters) for routine in image.routines)


def remove_job(
    store: Store, found: Found, statuses: Collection[str], before: float, is_spared: Callable[[str], bool]
) -> bool:
    """Remove a job if it is still one of those, under its lease; tells whether it is gone by this.

    Args:
        store: where it is kept.
        found: the job.
        statuses: words of those that go.
        before: when it was kept last, at the latest.
        is_spared: tells by its id that one stays all the same.

    Raises:
        StoreError: the store cannot take it, or cannot let it go.
    """
    try:
        lease = store.acquire(found.job_id, this_process(), create=False)
    except (JobOwnedError, UnknownJobError):
        return False
    try:
        summary = summarize_job(store, found.job_id)
        now = Found(found.job_id, _status_of(summary), summary.size_bytes, _kept_at(summary))
        if not is_removable(now, statuses, before) or is_spared(found.job_id):
            return False
        store.remove(lease)
    finally:
        lease.release()
    return True


def _look_at(store: Store, summary: JobSummary) -> Found:
    status = _status_of(summary) if store.owner(summary.job_id) is None else RUNNING
    return Found(summary.job_id, status, summary.size_bytes, _kept_at(summary))


def _status_of(summary: JobSummary) -> str:
    """Give the word for a job that nobody runs."""
    if summary.header is None:
        return UNREADABLE if summary.checkpoints or summary.problems else NOT_BEGUN
    return LOST if summary.header.status in {"pending", "running"} else summary.header.status


def _kept_at(summary: JobSummary) -> float | None:
    return None if summary.header is None else summary.header.created_at
