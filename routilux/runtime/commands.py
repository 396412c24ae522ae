"""The messages between the actors of a job: reports up, verdicts down. Plain values."""

from __future__ import annotations

from concurrent.futures import Future
from typing import NamedTuple

from routilux.jobs.checkpoints import Pause
from routilux.jobs.errors import CheckpointFailedError
from routilux.jobs.recorder import CheckpointInfo
from routilux.messages import Message
from routilux.stores.errors import FencedError
from supervisors.places.base import WorkerAt
from supervisors.policy import Strategy
from supervisors.reasons import Reason


class Case(NamedTuple):
    """A failure that waits for its verdict, as its routine's actor keeps it.

    Args:
        held: deliveries that stay in hand with the message, before it, oldest first.
        delivery: the message's own; None when a worker was lost without one.
        message: the message.
        reason: what happened.
        worker: number of the worker.
        holds: whether the routine takes nothing until it is settled.
    """

    held: tuple[int, ...]
    delivery: int | None
    message: Message | None
    reason: Reason
    worker: int
    holds: bool


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
        uptime: seconds that the routine's workers have been ready so far, all together.
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
    uptime: float
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


class FlushDue(NamedTuple):
    """The time of a batch is over, which is handed over as it is."""


class Tick(NamedTuple):
    """A deadline of the place has come."""


class PaceDue(NamedTuple):
    """The time has come at which a routine may take messages that it could not take before."""


class SizeDue(NamedTuple):
    """The time has come at which a pool may have to grow or to shrink."""


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


class Leave(NamedTuple):
    """The job's owner wants it to end in this program, to be resumed.

    Args:
        reason: why; told by the pause point.
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


class Hold(NamedTuple):
    """A routine is to come to rest: the gate is held.

    Args:
        number: the hold's, see `Ledger.hold_gate`.
    """

    number: int


class LetGo(NamedTuple):
    """A hold is over."""


class Requeue(NamedTuple):
    """What a routine's workers are at is to be given up and run again later, uncounted.

    Args:
        number: the hold that took too long.
    """

    number: int


class PauseJob(NamedTuple):
    """The job's owner wants it to rest.

    Args:
        pause: why, and what is to be kept with it.
        timeout: seconds that turns in hand get; None for no limit.
        on_timeout: what follows then: `abort` or `requeue`.
        reply: what came of it goes there: the checkpoint, or None for a job without a store.
    """

    pause: Pause
    timeout: float | None
    on_timeout: str
    reply: Future[CheckpointInfo | None]


class ResumeJob(NamedTuple):
    """The job's owner wants it to go on.

    Args:
        reply: told whether it rested.
    """

    reply: Future[bool]


class PauseDue(NamedTuple):
    """The time that turns in hand get before a pause is over, or half of it.

    Args:
        number: the hold's.
        is_half: whether it is half of it.
        later: whose time it is, of those who asked while the job was coming to rest; None for the first.
    """

    number: int
    is_half: bool
    later: PauseJob | None = None


class Rested(NamedTuple):
    """A routine has come to rest: none of its handlers runs, but for those that wait in the middle of an emission.

    Args:
        routine: its index.
        number: the hold's.
    """

    routine: int
    number: int


class GetStacks(NamedTuple):
    """Somebody wants to know where the workers of a routine are.

    Args:
        routine: its index.
        reply: told, once they have said so, or have had their time.
    """

    routine: int
    reply: Future[list[WorkerAt]]


class StacksDue(NamedTuple):
    """Workers may have told where they are.

    Args:
        asked: what was asked.
        until: clock reading from which on it is told as far as it is known.
    """

    asked: GetStacks
    until: float


class NotKept(NamedTuple):
    """A checkpoint could not be kept, and the job is not to go on without; or another runner has it."""

    error: CheckpointFailedError | FencedError


class Overflow(NamedTuple):
    """Something holds more messages than it may; told in a line."""

    told: str
