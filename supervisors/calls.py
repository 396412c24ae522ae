"""What a supervisor can be asked, and what it answers. Plain values, no rules."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from supervisors.behavior import Ref
from supervisors.policy import Intensity
from supervisors.reasons import Reason
from supervisors.spec import AutoShutdown, ChildSpec, ChildType


class ChildInfo(NamedTuple):
    """One child, as it was at one moment.

    Args:
        id: its id.
        state: `running`, `starting`, `stopping`, `restarting` (it waits to be started again), or `stopped`.
        ref: its address; None while it is stopped.
        pid: the process that does its work, if that is another one.
        type: `worker` or `supervisor`.
        restarts: how often it was started again.
        last_reason: its last end; None if it has never ended.
        info: what its start handed over beside its reference.
    """

    id: str
    state: str
    ref: Ref | None
    pid: int | None
    type: ChildType
    restarts: int
    last_reason: Reason | None
    info: Any


class ChildCounts(NamedTuple):
    """How many children there are.

    Args:
        specs: children, running or not.
        active: those that are up.
        supervisors: those that are supervisors, running or not.
        workers: those that are workers, running or not.
    """

    specs: int
    active: int
    supervisors: int
    workers: int


class StartChild(NamedTuple):
    """Add a child and start it."""

    spec: ChildSpec


class TerminateChild(NamedTuple):
    """End a child, and leave it ended."""

    id: str


class RestartChild(NamedTuple):
    """Start a child that is stopped."""

    id: str


class DeleteChild(NamedTuple):
    """Forget a child that is stopped."""

    id: str


class AwaitChild(NamedTuple):
    """Wait until a child runs."""

    id: str


class WhichChildren(NamedTuple):
    """List the children."""


class WhichChild(NamedTuple):
    """Tell one child."""

    id: str


class CountChildren(NamedTuple):
    """Count the children."""


class GetChildSpec(NamedTuple):
    """Give a child's spec."""

    id: str


class FindChild(NamedTuple):
    """Give the child itself, for a handle that follows it from incarnation to incarnation."""

    id: str


class Reconfigure(NamedTuple):
    """Change a running supervisor; None leaves a flag as it is.

    Args:
        strategy: the restart strategy's name.
        intensity: how many restarts are allowed.
        auto_shutdown: when it ends because of its children.
        children: specs that replace those of the same id, from their next start on, and new ones,
            which are added and not started.
    """

    strategy: str | None
    intensity: Intensity | None
    auto_shutdown: AutoShutdown | None
    children: tuple[ChildSpec, ...]


Call: TypeAlias = (
    StartChild
    | TerminateChild
    | RestartChild
    | DeleteChild
    | AwaitChild
    | WhichChildren
    | WhichChild
    | CountChildren
    | GetChildSpec
    | FindChild
    | Reconfigure
)
"""Everything a supervisor can be asked."""
