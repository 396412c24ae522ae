"""Where the handlers of a job are in their code, for people.

Owns what is told of it. Never stops a thread, never asks a worker (its routine's actor does).
"""

from __future__ import annotations

from routilux.accounts import Account
from routilux.control.frames import Stack, fit
from routilux.frames import leave_out_own
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
        seconds = None if worker.since is None else max(0.0, now - worker.since)
        with ledger.outside:
            message_id = "" if worker.seq is None else account.find_id(worker.seq)
        number = None if worker.pid is None else worker.number
        stacks.append(Stack(account.plan.id, number, where, message_id, seconds, fit(worker.text)))
    return stacks


def tell_threads(account: Account, ledger: Ledger) -> list[Stack]:
    """Tell where the threads of a routine are that are in handlers; of one that is in none, that it waits.

    Args:
        account: the routine's.
        ledger: the job's.
    """
    found = stacks_under(f"job {ledger.job_id}/{account.plan.id}")
    busy = [(name, text) for name, text in found if leave_out_own(text)] or [(name, "") for name, _text in found[:1]]
    with ledger.outside:
        message_id = account.find_only_id()
    return [Stack(account.plan.id, None, name, message_id if text else "", None, fit(text)) for name, text in busy]
