"""The status of a job: the words, and the one table of allowed transitions. Pure."""

from __future__ import annotations

from enum import StrEnum

from routilux.errors import TransitionError


class JobStatus(StrEnum):
    """What a job is doing; compares equal to its word."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.PENDING: frozenset({JobStatus.RUNNING, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.RUNNING: frozenset({JobStatus.PAUSED, JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.PAUSED: frozenset({JobStatus.RUNNING, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.COMPLETED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}


def move(current: JobStatus, to: JobStatus) -> JobStatus:
    """Give `to`, if a job may go there from `current`.

    Raises:
        TransitionError: the table does not allow it.
    """
    if to not in TRANSITIONS[current]:
        raise TransitionError("the job", current, to, sorted(TRANSITIONS[current]))
    return to


def is_final(status: JobStatus) -> bool:
    """Tell whether nothing follows `status`."""
    return not TRANSITIONS[status]
