"""The control messages that every host and every supervisor understands. Plain values, no rules.

Control messages are for one incarnation of an actor: those it has not handled when it ends are
dropped, even where its mailbox lives on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from supervisors.behavior import Answer, Link, Monitor, Ref
from supervisors.reasons import Reason


class Down(NamedTuple):
    """An actor has ended: a child, whose parent is told exactly once, or one that is monitored.

    Args:
        ref: the actor, the very object that `Context.start` gave or that was monitored.
        reason: why it ended.
        monitor: what `Context.monitor` gave; None for the notice that a parent gets of its child.
    """

    ref: Ref
    reason: Reason
    monitor: Monitor | None = None


class Exit(NamedTuple):
    """An actor to which this one is linked has ended.

    Handed to a behaviour that declares `traps_exits`; any other actor ends by `reason` too,
    unless that is clean.

    Args:
        ref: the one that ended.
        reason: why.
        link: the tie between the two.
    """

    ref: Ref
    reason: Reason
    link: Link


class Linked(NamedTuple):
    """Another actor has linked itself to this one."""

    link: Link


class Unlinked(NamedTuple):
    """Another actor has untied itself from this one."""

    link: Link


class Started(NamedTuple):
    """A child is ready; told to a parent that started it with `wants_started`.

    Args:
        ref: the child.
        info: what it handed to `Context.acknowledge`.
    """

    ref: Ref
    info: Any


class HandedOver:
    """What a maker gave that is no behaviour, as the information of a start (`Started.info`).

    Args:
        result: what it gave.
    """

    __slots__ = ("result",)

    def __init__(self, result: object) -> None:
        self.result = result


class Terminate(NamedTuple):
    """An actor is asked to end, before it takes another message.

    The host ends the actor with `reason`, unless its behaviour declares `handles_terminate`:
    then the behaviour is handed this message, and ends the actor when it is ready.

    Args:
        reason: what is to be told as the actor's end.
    """

    reason: Reason


class Kill(NamedTuple):
    """What an actor runs elsewhere is to be ended now; for behaviours that declare `handles_kill`."""


class Suspend(NamedTuple):
    """An actor is to take no data and to fire no timer until `Resume`, or until it is asked to end.

    Control messages wait too, but those that the host itself handles. What its poller watches is
    served all the while: a descriptor that is ready and left alone would wake it without end.
    """


class Resume(NamedTuple):
    """A suspended actor is to go on with what has come meanwhile, in order."""


class GetState(NamedTuple):
    """Somebody wants to know what an actor's state is; suspended actors answer too."""

    answer: Answer
