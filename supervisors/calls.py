"""What a supervisor can be asked, what it answers, and how a call is answered at once or later.

Owns no rules: whether a call can be carried out is the supervisor's to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from supervisors.behavior import Answer, Context, Ref
from supervisors.errors import ChildError, SpecError
from supervisors.policy import Intensity
from supervisors.reasons import Reason
from supervisors.report import reporter
from supervisors.spec import AutoShutdown, ChildSpec, ChildType

_log = reporter("supervisors")


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


def answer_call(handle: Callable[[Any, Context], None], call: object, ctx: Context) -> None:
    """Carry out a call by `handle`; what cannot be done is told to who asked, else to the log."""
    try:
        handle(call, ctx)
    except (ChildError, SpecError) as error:
        answer = ctx.defer()
        if answer is None:
            _log.warning("supervisor %s was told what it cannot do, and dropped it: %s", ctx.ref.path, error)
        else:
            answer.set_error(error)


def defer_to(answers: list[Answer], ctx: Context) -> None:
    """Have who asks wait for what is told to `answers`; nothing happens when it was no ask."""
    answer = ctx.defer()
    if answer is not None:
        answers.append(answer)


def answer_all(answers: list[Answer], give: Callable[[Answer], None]) -> None:
    """Answer all who wait, and forget them."""
    waiting = answers.copy()
    answers.clear()
    for answer in waiting:
        give(answer)
