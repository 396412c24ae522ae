"""What can go wrong with what was kept of a job.

KeptError (RoutiluxError)
├── DamagedError (ValueError)           it is not what was written: torn, changed, or nothing of ours
│   ├── DamagedCheckpointError          a checkpoint, or a state object it refers to
│   └── DamagedHistoryError             a record of a history log
├── UnsupportedFormatError (ValueError) a newer version wrote it
├── SealError (ValueError)              it and the key that was given do not go together
│   ├── KeyMissingError                 it was sealed with a key, and none was given
│   ├── UnsealedError                   a key was given, and it was written without one
│   └── WrongKeyError                   it was sealed with another key, or changed by somebody
└── NoCheckpointError (LookupError)     the job has none that can be read; `problems` says why
"""

from __future__ import annotations

from collections.abc import Sequence

from routilux.errors import RoutiluxError

# ---- what was kept of a job


class KeptError(RoutiluxError):
    """Base of what goes wrong with what was kept of a job."""


class DamagedError(KeptError, ValueError):
    """What was kept is not what was written.

    Args:
        reason: what is wrong with it.
    """

    what = "what was kept"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{self.what} is damaged: {reason}")


class DamagedCheckpointError(DamagedError):
    """A checkpoint, or a state object that it refers to, is not what was written."""

    what = "the checkpoint"


class DamagedHistoryError(DamagedError):
    """A record of a history log is not what was written."""

    what = "the history"


class UnsupportedFormatError(KeptError, ValueError):
    """A newer version wrote it.

    Args:
        what: what it is, such as `the checkpoint`.
        needed: the format that has to be known to read it.
        known: the newest one known here.
    """

    def __init__(self, what: str, needed: int, known: int) -> None:
        self.needed, self.known = needed, known
        super().__init__(f"{what} needs a reader of format {needed}, and this version reads format {known}: update it")


class SealError(KeptError, ValueError):
    """A checkpoint and the key that was given do not go together."""


class KeyMissingError(SealError):
    """It was sealed with a key, and none was given."""

    def __init__(self) -> None:
        super().__init__("the checkpoint is sealed with a key: give it to read it")


class UnsealedError(SealError):
    """A key was given, and it was written without one."""

    def __init__(self) -> None:
        super().__init__(
            "the checkpoint was written without a key, so anybody may have written it: read it without one"
        )


class WrongKeyError(SealError):
    """It was sealed with another key, or somebody has changed it.

    Args:
        what: what it is.
    """

    def __init__(self, what: str = "the checkpoint") -> None:
        super().__init__(f"{what} was sealed with another key, or was changed by somebody who has not got the key")


class NoCheckpointError(KeptError, LookupError):
    """The job has no checkpoint that can be read.

    Args:
        job_id: the job.
        problems: what is wrong with those there are, newest first.
    """

    def __init__(self, job_id: str, problems: Sequence[object]) -> None:
        self.job_id, self.problems = job_id, list(problems)
        told = "; ".join(map(str, self.problems)) or "nothing of it was kept; start it again, under the same id too"
        super().__init__(f"job {job_id!r} has no checkpoint that can be read: {told}")
