"""Where the handlers of a job are in their code, for people.

Owns what is told of it. Never stops a thread, never asks a worker (its routine's actor does).
"""

from __future__ import annotations

from routilux.accounts import Account, Output
from routilux.control.frames import Stack, fit
from routilux.frames import ends_in_own, leave_out_own
from routilux.ledger import Ledger
from supervisors.places.base import WorkerAt
from supervisors.stacks import stacks_under


def tell_workers(account: Account, ledger: Ledger, found: list[WorkerAt], now: float) -> list[Stack]:
    """Tell where the workers of a routine are, or the tasks of its event loop.

    Args:
        account: the routine's.
        ledger: the job's.
        found: what they have told.
        now: clock reading.
    """
    stacks = []
    for worker in found:
        where = f"pid {worker.pid}" if worker.pid is not None else "a task"
        where += f" on {worker.node}" if worker.node else ""
        seconds = None if worker.since is None else max(0.0, now - worker.since)
        with ledger.outside:
            message_id = "" if worker.seq is None else account.find_id(worker.seq)
            is_waiting = ends_in_own(worker.text) if worker.seq is not None else bool(account.mailbox.data)
            held_by = _find_pressing(account) if is_waiting else ()
        number = None if worker.pid is None else worker.number
        stacks.append(Stack(account.plan.id, number, where, message_id, seconds, fit(worker.text), held_by))
    return stacks


def tell_threads(account: Account, ledger: Ledger) -> list[Stack]:
    """Tell where the threads of a routine are that are in handlers; of one that is in none, that it waits.

    A generator that is held back has no frame of its own on the thread: what it was called for is in hand.

    Args:
        account: the routine's.
        ledger: the job's.
    """
    found = stacks_under(f"job {ledger.job_id}/{account.plan.id}")
    busy = [(name, text) for name, text in found if leave_out_own(text)] or [(name, "") for name, _text in found[:1]]
    with ledger.outside:
        message_id = account.find_only_id()
        held_by = () if account.is_idle else _find_pressing(account)
    return [
        Stack(account.plan.id, None, name, message_id if text or held else "", None, fit(text), held)
        for name, text in busy
        for held in [held_by if not text or ends_in_own(text) else ()]
    ]


def _find_pressing(account: Account) -> tuple[str, ...]:
    """Name what is downstream of a routine and has no room; the job's lock is held."""
    names = []
    for receiver in account.presses_on:
        if receiver.is_pressing:
            if isinstance(receiver, Account):
                names.append(receiver.plan.id)
            elif isinstance(receiver, Output):
                names.append(f"output {receiver.plan.routine_id}.{receiver.plan.event}")
            else:
                names.append("a slot that merges")
    return tuple(map(fit, names))
