"""The control messages that every host and every supervisor understands. Plain values, no rules.

Control messages are for one incarnation of an actor: those it has not handled when it ends are
dropped, even where its mailbox lives on.
"""

from __future__ import annotations

from typing import NamedTuple

from supervisors.behavior import Ref
from supervisors.reasons import Reason


class Down(NamedTuple):
    """A child has ended; its parent is told exactly once, in its control lane.

    Args:
        ref: the child, the very object that `Context.start` gave.
        reason: why it ended.
    """

    ref: Ref
    reason: Reason


class Terminate(NamedTuple):
    """An actor is asked to end, before it takes another message.

    The host ends the actor with `reason`, unless its behaviour declares `handles_terminate`:
    then the behaviour is handed this message, and ends the actor when it is ready.

    Args:
        reason: what is to be told as the actor's end.
    """

    reason: Reason
