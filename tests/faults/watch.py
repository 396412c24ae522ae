"""What is seen of a running job from outside: its processes, and what becomes true of it."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from routilux import Job
from tests.faults.deeds import FOREVER
from tests.faults.measure import SECONDS

PAUSE = 0.005


def wait_for(holds: Callable[[], bool]) -> None:
    """Look until it holds: what happens in other processes and on actors' threads rings nowhere here."""
    for _ in range(int(SECONDS / PAUSE)):
        if holds():
            return
        FOREVER.wait(PAUSE)
    raise TimeoutError(holds)


def pids(job: Job) -> list[int]:
    """Give the process ids of the job's workers."""
    return [pid for account in job.ledger.accounts for pid in account.pids if pid is not None]


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie has ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
