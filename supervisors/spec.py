"""What a supervisor needs to know of a child. Values, checked when they are made; no rules.

The words are OTP's: a `permanent` child is always started again, a `transient` one when its end
was not clean, a `temporary` one never.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from supervisors.behavior import Behavior
from supervisors.errors import SpecError
from supervisors.mailbox import Mailbox
from supervisors.policy import Backoff

RestartType = Literal["permanent", "transient", "temporary"]
"""When a child that ended is started again."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How one child is started, ended and started again.

    Args:
        id: its name, unique below its supervisor; no slash.
        start: makes its behaviour, anew for each start; what it raises is a failed start.
        restart: when it is started again.
        shutdown: seconds it gets to end when it is asked to, before it is abandoned; None: no
            end of waiting, as is right for supervisors.
        backoff: waits before it is started again.
        mailbox: gives its mailbox at each start; the same one each time for data that outlives
            the child. None: a new one of its own, whose data ends with it.

    Raises:
        SpecError: a field has a value it cannot have.
    """

    id: str
    start: Callable[[], Behavior]
    restart: RestartType = "permanent"
    shutdown: float | None = 5.0
    backoff: Backoff = Backoff()  # noqa: RUF009  frozen
    mailbox: Callable[[], Mailbox] | None = None

    def __post_init__(self) -> None:
        child = f"child {self.id!r}"
        if not self.id or "/" in self.id:
            raise SpecError(f"id: expected a name without a slash, got {self.id!r}")
        if not callable(self.start):
            raise SpecError(f"{child}: start: expected a callable that makes a behaviour, got {self.start!r}")
        if self.restart not in get_args(RestartType):
            raise SpecError(f"{child}: restart: expected one of {get_args(RestartType)}, got {self.restart!r}")
        # Written so that a NaN is refused as well.
        if self.shutdown is not None and not self.shutdown >= 0:
            raise SpecError(f"{child}: shutdown: expected seconds, 0 or more, or None, got {self.shutdown!r}")
        if not isinstance(self.backoff, Backoff):
            raise SpecError(f"{child}: backoff: expected a Backoff, got {self.backoff!r}")
        if self.mailbox is not None and not callable(self.mailbox):
            raise SpecError(f"{child}: mailbox: expected a callable that gives a mailbox, got {self.mailbox!r}")
