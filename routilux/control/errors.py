"""What can go wrong with commands to a job that another program runs.

ControlError (RoutiluxError)
├── UnreachableError (ConnectionError)  nobody takes commands there, or the connection broke
├── CommandRefusedError (RuntimeError)  the job does not do it; `kind` names the error that it met
├── ProtocolError (ValueError)          what came is no command, or no answer
└── UnsafeControlError (PermissionError) the socket, or its folder, is not this user's alone
"""

from __future__ import annotations

from routilux.errors import RoutiluxError


class ControlError(RoutiluxError):
    """Base of what goes wrong with commands to a job."""


class UnreachableError(ControlError, ConnectionError):
    """Nobody takes commands there, or the connection broke before the answer.

    Args:
        job_id: the job.
        reason: why.
    """

    def __init__(self, job_id: str, reason: str) -> None:
        self.job_id, self.reason = job_id, reason
        super().__init__(f"job {job_id!r} cannot be reached: {reason}")


class CommandRefusedError(ControlError, RuntimeError):
    """The job does not do it.

    Args:
        kind: name of the error that it met there, such as `PauseTimeoutError`.
        text: that error's text.
    """

    def __init__(self, kind: str, text: str) -> None:
        self.kind, self.text = kind, text
        super().__init__(text)


class ProtocolError(ControlError, ValueError):
    """What came is no command, or no answer."""


class UnsafeControlError(ControlError, PermissionError):
    """A socket for commands, or the folder it is in, is not this user's alone."""
