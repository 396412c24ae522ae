"""A running job, seen from outside: figures per routine and per worker. Read-only.

Owns the sampling: two looks make a rate. Never changes the job, never keeps it from ending.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import psutil

from routilux.accounts import Account
from routilux.runtime.job import Job


class WorkerView(NamedTuple):
    """One worker process.

    Args:
        pid: its process id.
        cpu: share of one core since the look before, 1.0 being all of it; 0.0 at the first look.
        rss_bytes: resident memory.
    """

    pid: int
    cpu: float
    rss_bytes: int


class RoutineView(NamedTuple):
    """One routine at one moment; counts are those of `RoutineFigures`.

    Args:
        rate: messages handled a second since the look before; 0.0 at the first look.
        error: its last failure in one line, or None.
    """

    id: str
    placement: str
    status: str
    waiting: int
    in_hand: int
    in_retry: int
    handled: int
    failed: int
    skipped: int
    dead: int
    restarts: int
    rate: float
    error: str | None
    workers: tuple[WorkerView, ...]


class JobView(NamedTuple):
    """A job at one moment; `seconds` since the first look."""

    job_id: str
    flow_id: str
    status: str
    seconds: float
    routines: tuple[RoutineView, ...]


class Sampler:
    """Looks at one job again and again.

    Args:
        job: the job; may be over.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._began = time.monotonic()
        self._before = self._began
        self._handled: dict[str, int] = {}
        self._cpu: dict[int, float] = {}

    def look(self) -> JobView:
        """Give the job as it is now, with rates since the look before."""
        now = time.monotonic()
        elapsed = now - self._before
        self._before = now
        cpu_before, self._cpu = self._cpu, {}
        ledger = self._job.ledger
        with ledger.lock:
            rows = [
                (account, len(account.in_hand), sum(map(len, account.in_retry.values()))) for account in ledger.accounts
            ]
        routines = tuple(
            self._view(account, in_hand, in_retry, elapsed, cpu_before) for account, in_hand, in_retry in rows
        )
        return JobView(self._job.id, self._job.flow_id, str(self._job.status), now - self._began, routines)

    def _view(
        self, account: Account, in_hand: int, in_retry: int, elapsed: float, cpu_before: dict[int, float]
    ) -> RoutineView:
        routine_id, handled = account.plan.id, account.handled
        known = self._handled.get(routine_id)
        self._handled[routine_id] = handled
        rate = (handled - known) / elapsed if known is not None and elapsed > 0 else 0.0
        workers = [self._worker(pid, elapsed, cpu_before) for pid in account.pids if pid is not None]
        return RoutineView(
            id=routine_id,
            placement=account.plan.options.placement,
            status=account.status,
            waiting=len(account.mailbox),
            in_hand=in_hand,
            in_retry=in_retry,
            handled=handled,
            failed=account.failed,
            skipped=account.skipped,
            dead=account.dead,
            restarts=account.restarts,
            rate=rate,
            error=account.error,
            workers=tuple(worker for worker in workers if worker is not None),
        )

    def _worker(self, pid: int, elapsed: float, cpu_before: dict[int, float]) -> WorkerView | None:
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                times, rss = process.cpu_times(), process.memory_info().rss
        except psutil.Error:
            return None  # it has just ended
        self._cpu[pid] = spent = times.user + times.system
        cpu = (spent - cpu_before[pid]) / elapsed if pid in cpu_before and elapsed > 0 else 0.0
        return WorkerView(pid, max(0.0, cpu), rss)
