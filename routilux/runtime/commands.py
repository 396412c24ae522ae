"""The messages between the actors of a job: reports up, verdicts down. Plain values."""

from __future__ import annotations

from typing import NamedTuple

from supervisors.policy import Strategy
from supervisors.reasons import Reason


class Failure(NamedTuple):
    """A routine's actor tells its supervisor that something ended badly.

    Args:
        routine: index of the routine.
        case: the actor's number for it, named by the verdict.
        worker: number of the worker.
        has_message: whether a message failed; False for a worker that was lost while idle.
        failures: tries of that message that ended badly, this one included.
        crashes: those of them in which the process died.
        is_retryable: whether the error handler covers what was raised; True for a death.
        reason: what happened.
        is_lost: whether the worker is gone and needs to be replaced.
        is_fruitless: whether that worker had committed nothing since it started.
        abandoned: threads of the routine that were given up and are still in their handlers.
        edge: index of the connection by which the message came; -1 where there is no message.
        message_id: the message's id; empty where there is none.
    """

    routine: int
    case: int
    worker: int
    has_message: bool
    failures: int
    crashes: int
    is_retryable: bool
    reason: Reason
    is_lost: bool
    is_fruitless: bool
    abandoned: int = 0
    edge: int = -1
    message_id: str = ""


class Verdict(NamedTuple):
    """The supervisor's answer to a `Failure`.

    Args:
        case: which one.
        strategy: what becomes of the message and the routine.
        delay: seconds until the next try; for RETRY alone.
        is_given_up: whether the message becomes a dead letter.
        restart_delay: seconds until the lost worker is replaced; None: it is not.
    """

    case: int
    strategy: Strategy
    delay: float
    is_given_up: bool
    restart_delay: float | None


class RetryDue(NamedTuple):
    """The wait of a message that is tried again is over."""

    ticket: int
    holds: bool


class WorkerDue(NamedTuple):
    """The wait before a worker is started again is over."""

    worker: int


class Tick(NamedTuple):
    """A deadline of the place has come."""


class Quiet(NamedTuple):
    """No message is left anywhere in the job, and none can come."""


class Cancel(NamedTuple):
    """The job's owner wants it to end now.

    Args:
        reason: why; told as the job's error, unless it is ending already.
        shutdown: seconds that turns in hand get at most from now on; None for the job's own.
    """

    reason: str
    shutdown: float | None = None


class Hurry(NamedTuple):
    """Turns in hand get less time than was said before.

    Args:
        shutdown: seconds from now.
    """

    shutdown: float


class Overflow(NamedTuple):
    """A cycle holds more messages than it may."""

    cycle: int
