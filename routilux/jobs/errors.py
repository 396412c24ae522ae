"""What can go wrong with pausing, keeping and resuming a job.

RoutiluxError
├── CallerError
│   ├── MomentError (RuntimeError)
│   │   ├── NoStoreError              a checkpoint was asked of a job without a store
│   │   ├── PauseInterruptedError     the job was resumed before it was paused
│   │   └── NotResumableError         the job is cancelled, or completed
│   └── WiringError (ValueError)
│       └── ResumeRefusedError        something would be lost, or is lacking: `losses` lists what
├── PauseTimeoutError (TimeoutError)  the job did not come to rest in time; `busy` tells where; it goes on
└── CheckpointFailedError (OSError)   a checkpoint could not be kept; those before it are good
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from routilux.errors import MomentError, RoutiluxError, WiringError
from supervisors.text import cut, printable

_TOLD = 3
"""Busy routines that an error's text names (arbitrary); the attribute has all."""
_LISTED = 50
"""Losses that an error's text lists (arbitrary); the attribute has all."""


class BusyRoutine(NamedTuple):
    """A routine that did not come to rest.

    Args:
        routine_id: the routine.
        message_id: the message it is at; empty where it holds none, such as one whose worker is being replaced.
        seconds: how long it was waited for.
        stack: where its thread is, as text of several lines; empty for one in a process.
    """

    routine_id: str
    message_id: str
    seconds: float
    stack: str

    def __str__(self) -> str:
        message = f"message {self.message_id}" if self.message_id else "no message"
        told = f"routine {self.routine_id!r} is still at {message} after {self.seconds:.3g} s"
        frames = [line.strip() for line in self.stack.splitlines() if line.strip().startswith("File ")]
        return f"{told}, in {cut(printable(frames[-1]), 200)}" if frames else told


class PauseTimeoutError(RoutiluxError, TimeoutError):
    """The job did not come to rest in time, and goes on as if nothing had been.

    Args:
        job_id: the job.
        busy: which routines did not, and where they are.
    """

    def __init__(self, job_id: str, busy: Sequence[BusyRoutine]) -> None:
        self.job_id, self.busy = job_id, tuple(busy)
        told = "; ".join(map(str, self.busy[:_TOLD]))
        more = f"; and {len(self.busy) - _TOLD} more" if len(self.busy) > _TOLD else ""
        super().__init__(
            f"job {job_id!r} was not paused and goes on: {told}{more} "
            "(give it more time, or on_timeout='requeue' to run these messages again)"
        )


class PauseInterruptedError(MomentError):
    """The job was resumed before it was paused.

    Args:
        job_id: the job.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"job {job_id!r} was not paused: it was resumed before all its routines had come to rest")


class NoStoreError(MomentError):
    """A checkpoint was asked of a job that has no store.

    Args:
        job_id: the job.
        attempted: what was tried.
    """

    def __init__(self, job_id: str, attempted: str) -> None:
        self.job_id = job_id
        super().__init__(f"job {job_id!r} has no store, which {attempted} needs: start it with store=...")


class CheckpointFailedError(RoutiluxError, OSError):
    """A checkpoint could not be kept. Nothing of it is there, and those before it are as they were.

    Args:
        job_id: the job.
        number: which checkpoint it was to be.
        reason: why.
    """

    def __init__(self, job_id: str, number: int, reason: str) -> None:
        self.job_id, self.number, self.reason = job_id, number, reason
        super().__init__(f"checkpoint {number} of job {job_id!r} could not be kept: {reason}")


class NotResumableError(MomentError):
    """The job is over for good.

    Args:
        job_id: the job.
        status: its status word.
    """

    def __init__(self, job_id: str, status: str) -> None:
        self.job_id, self.status = job_id, status
        what_to_do = (
            "there is nothing left to go on with: to run it anew, start it with another id"
            if status == "completed"
            else "it cannot be resumed: fork it to run what it had left as a new job"
        )
        super().__init__(f"job {job_id!r} is {status}; {what_to_do}")


class ResumeRefusedError(WiringError):
    """The job cannot be resumed so: the flow is another one, and something would be lost; or something is lacking.

    Args:
        job_id: the job.
        losses: what stands in the way, each in a line that tells what to do about it.
    """

    def __init__(self, job_id: str, losses: Sequence[str]) -> None:
        self.job_id, self.losses = job_id, tuple(losses)
        shown = [f"\n  - {printable(loss)}" for loss in self.losses[:_LISTED]]
        more = f"\n  and {len(self.losses) - _LISTED} more" if len(self.losses) > _LISTED else ""
        listed = "".join(shown) + more
        super().__init__(
            f"job {job_id!r} was not resumed, and nothing of it was changed; what stands in the way:{listed}"
        )
