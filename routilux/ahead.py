"""How far senders may be ahead of a routine in shared memory: its mailbox presses back by bytes too, beside messages.

Whoever is further ahead than keeps the receiver busy gains nothing, and needs new memory all the time instead of what
was used a moment ago: that is mapped, and in the processor's cache. What lies in a cluster's store is on its way for
longer, and nothing of it is used again at once: more of it may wait. Reads accounts, whose lock is held; changes none.
"""

from __future__ import annotations

from routilux.accounts import Account, Output
from routilux.blocks import Block
from routilux.messages import parts_of
from supervisors.wire.outside import Leased

AHEAD_BYTES = 16 * 1024 * 1024
"""Bytes in shared memory that wait for a routine until those who send are held back, if it is more than one message."""
AWAY = 4
"""How many times as much that may be of what is not this machine's memory (measured: arrays of 16 MB on Ray, four on
their way, go 1.07 times as fast)."""


def is_far_behind(receiver: Account | Output, last: Leased) -> bool:
    """Tell whether a receiver has come to hold so much that its senders are to wait.

    Args:
        receiver: the routine or output.
        last: the payload that was appended last.
    """
    # All are looked at only where it would be too much if they were like this one.
    return _weigh(last) * len(receiver.mailbox.data) >= AHEAD_BYTES and _holds(receiver, AHEAD_BYTES)


def is_behind(receiver: Account | Output) -> bool:
    """Tell whether it still holds more than a half of that."""
    return _holds(receiver, AHEAD_BYTES // 2 + 1)


def _holds(receiver: Account | Output, bound: int) -> bool:
    waiting = receiver.mailbox.data
    # Nobody says when results are taken, and what is to wait by a pace waits as long as that says.
    if len(waiting) < 2 or not isinstance(receiver, Account) or receiver.plan.pace is not None:  # noqa: PLR2004
        return False
    return bound <= sum(
        [
            _weigh(part.payload)
            for entry in waiting
            if not isinstance(entry, Block)  # these have none
            for part in parts_of(entry)
            if isinstance(part.payload, Leased)
        ]
    )


def _weigh(payload: Leased) -> int:
    held = payload.count_held()
    return held if all(lease.is_here for lease in payload.leases) else held // AWAY
