"""What the log says of handlers that take long.

Owns these words, for threads and processes alike. Never decides what follows.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from routilux.accounts import Account
from routilux.frames import for_people
from supervisors.report import reporter
from supervisors.text import printable

_TOLD_OF_THREADS = (
    "is still in its handler on a thread, which cannot be ended",
    " (placement='process' can be ended)",
)
_TOLD_OF_PROCESSES = ("has not ended its processes in time: its thread in this program is still at that", "")

_TOLD_OF_TASKS = ("has a handler that was cancelled and went on", "")

_log = reporter("routilux")


def warn_slow(account: Account, origin: Mapping[str, str], delivery: int, seconds: float, stack: str) -> None:
    """Warn that a message has used half of the time it may take; on the thread of its routine's actor.

    Args:
        account: the routine's.
        origin: what the record says beside the line (`failure_log.tell_origin`).
        delivery: the number under which the message is in hand.
        seconds: for how long its handler has run.
        stack: where the handler is.
    """
    with account.mailbox.lock:  # the job's, as one who looks for a single message needs it
        message = account.in_hand.get(delivery)
    if message is None:
        return  # the routine was fenced off meanwhile, and that was told
    _log.warning(
        "routine %r has been on message %s for %.3g s (timeout %g s)\n%s",
        account.plan.id,
        message.id,
        seconds,
        account.plan.options.timeout,
        _printable_lines(stack),
        extra=origin,
    )


def warn_left_behind(account: Account, origin: Mapping[str, str], stack: str) -> None:
    """Warn at a job's end of a thread that did not come to its end; arguments as for `warn_slow`."""
    if account.plan.runs_apart:
        told = _TOLD_OF_PROCESSES
    else:
        told = _TOLD_OF_TASKS if account.plan.is_async else _TOLD_OF_THREADS
    _log.warning(
        "job's end: routine %r %s; it is left behind and what it commits is refused%s\n%s",
        account.plan.id,
        *told,
        _printable_lines(stack),
        extra=origin,
    )


def _printable_lines(stack: str) -> str:
    return "\n".join(map(printable, for_people(stack, os.environ).splitlines()))
