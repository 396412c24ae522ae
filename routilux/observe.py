"""A running job, seen from outside: figures of each routine and each worker. Read-only.

Owns the pictures of a job (`JobView`) and the sampling, in which two looks make a rate. Takes them
on the thread of whoever asks: it has no thread of its own, sends the job no message, and holds the
job's lock only while it copies counters. Never changes the job, never keeps it from ending.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from routilux.accounts import Account
from routilux.figures import RoutineFigures
from routilux.jobs.actor import count_held
from routilux.ledger import Ledger
from supervisors.places.base import Worker
from supervisors.places.process.reap import Usage, read_usage


class WorkerView(NamedTuple):
    """One process.

    Args:
        number: its number among the routine's workers, from 0.
        pid: its process id, on its machine; None while there is none: it starts, or has ended.
        cpu_percent: share of one core since the look before, 100.0 being all of it; None at the
            first look at this process. On another machine in the second before it last told of it, which it does about
            once a second while it is busy; None until then.
        rss_bytes: resident memory; None where there is no process. On another machine likewise.
        node: that machine, as it is called in its cluster; empty for this one.
    """

    number: int
    pid: int | None = None
    cpu_percent: float | None = None
    rss_bytes: int | None = None
    node: str = ""


class RoutineView(NamedTuple):
    """One routine at one moment.

    Args:
        id: its id in the flow.
        placement: `thread`, `process` or `ray`.
        status: its word, see `JobState`.
        capacity: messages its mailbox holds before those who send are held back.
        figures: its counts, exact since the job's start.
        rate: messages handled a second since the look before; None at the first look.
        error: its last failure in one line; None when there was none.
        workers: its processes, by number; empty on a thread. Of a pool between two bounds, those that run.
        is_async: whether its handlers run on an event loop.
        busy: share of the time since the look before that its handlers ran, 1.0 being all of it for each of its
            workers; tries that failed meanwhile count for nothing. None at the first look, and for one on an event
            loop, which runs several at once.
    """

    id: str
    placement: str
    status: str
    capacity: int
    figures: RoutineFigures
    rate: float | None
    error: str | None
    workers: tuple[WorkerView, ...]
    is_async: bool = False
    busy: float | None = None

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that run."""
        return tuple(worker.pid for worker in self.workers if worker.pid is not None)

    @property
    def cpu_percent(self) -> float | None:
        """What its workers use together, 100.0 being one core; None where nothing is known."""
        known = [worker.cpu_percent for worker in self.workers if worker.cpu_percent is not None]
        return sum(known) if known else None

    @property
    def rss_bytes(self) -> int | None:
        """What its workers hold together; None where nothing is known."""
        known = [worker.rss_bytes for worker in self.workers if worker.rss_bytes is not None]
        return sum(known) if known else None


class JobView(NamedTuple):
    """A job at one moment.

    Args:
        job_id: the job's id.
        flow_id: the id of its flow.
        status: its word, see `JobStatus`.
        seconds: how long the job has run, in all its programs together; pauses do not count.
        routines: its routines, in the order in which they were added.
        program: the process that runs the job, and in it every routine on a thread.
    """

    job_id: str
    flow_id: str
    status: str
    seconds: float
    routines: tuple[RoutineView, ...]
    program: WorkerView

    def routine(self, routine_id: str) -> RoutineView:
        """Give one routine; raises `KeyError` when there is none of that id."""
        for routine in self.routines:
            if routine.id == routine_id:
                return routine
        raise KeyError(routine_id)


class Observed(Protocol):
    """What is looked at of a job: its handle has it."""

    id: str

    @property
    def flow_id(self) -> str:
        """The id of its flow."""

    @property
    def status(self) -> str:
        """Its word."""

    def seconds(self, now: float) -> float:
        """How long it has run, pauses not counted, at a reading of the clock that never goes back."""

    @property
    def is_over(self) -> bool:
        """Whether its workers are gone."""

    @property
    def ledger(self) -> Ledger:
        """Its ledger."""


def observe(job: Observed) -> JobView:
    """Look at a job once: without the rates and CPU shares, which take two looks (see `Sampler`).

    Any thread may call it; the job may be over.
    """
    return Sampler(job).look()


class Sampler:
    """Looks at one job again and again, and tells what happened between two looks.

    For one thread at a time.

    Args:
        job: the job; it may be over.
        clock: gives seconds on a clock that never goes back.
        usage: tells what the process of an id uses; None if it has ended.
    """

    def __init__(
        self,
        job: Observed,
        *,
        clock: Callable[[], float] = time.monotonic,
        usage: Callable[[int], Usage | None] = read_usage,
    ) -> None:
        self._job = job
        self._clock = clock
        self._usage = usage
        self._looked_at: float | None = None
        self._handled: dict[str, int] = {}
        self._run: dict[str, float] = {}
        """Seconds that handlers of a routine had run at the last look, those that still run included."""
        self._spent: dict[tuple[int, float], float] = {}
        """Processor time at the last look, by process id and birth."""

    def look(self) -> JobView:
        """Give the job as it is now, with rates and CPU shares since the look before."""
        job, now = self._job, self._clock()
        elapsed = None if self._looked_at is None or now <= self._looked_at else now - self._looked_at
        self._looked_at = now
        accounts = job.ledger.accounts
        with job.ledger.outside:
            copied = [_copy(account) for account in accounts]
            committed = [account.seconds_before + account.seconds for account in accounts]
        at_work: list[tuple[Worker, ...]] = [() if job.is_over else account.list_workers() for account in accounts]
        if job.is_over:
            # What were their process ids may be those of others by now.
            copied = [routine._replace(workers=tuple(map(_without_process, routine.workers))) for routine in copied]
        spent_before, self._spent = self._spent, {}
        routines = tuple(
            self._complete(routine, workers, elapsed, spent_before)._replace(
                busy=self._measure_busy(routine, seconds, workers, now, elapsed)
            )
            for routine, seconds, workers in zip(copied, committed, at_work, strict=True)
        )
        return JobView(
            job_id=job.id,
            flow_id=job.flow_id,
            status=str(job.status),
            seconds=job.seconds(now),
            routines=routines,
            program=self._complete_worker(WorkerView(0, os.getpid()), elapsed, spent_before),
        )

    def _complete(
        self,
        routine: RoutineView,
        listed: tuple[Worker, ...],
        elapsed: float | None,
        spent_before: dict[tuple[int, float], float],
    ) -> RoutineView:
        handled = routine.figures.handled
        before, self._handled[routine.id] = self._handled.get(routine.id, handled), handled
        return routine._replace(
            rate=None if elapsed is None else (handled - before) / elapsed,
            workers=_complete_away(routine.workers, listed)
            if routine.placement == "ray"
            else tuple(self._complete_worker(worker, elapsed, spent_before) for worker in routine.workers),
        )

    def _measure_busy(
        self, routine: RoutineView, committed: float, workers: tuple[Worker, ...], now: float, elapsed: float | None
    ) -> float | None:
        """Give the share of time that handlers ran, those that still run included."""
        # A turn that waits for room downstream has begun at no time, and one that began just now may be ahead of `now`.
        running = sum(max(0.0, now - worker.since) for worker in workers if worker.since is not None)
        run = committed + running
        before, self._run[routine.id] = self._run.get(routine.id, run), run
        if elapsed is None or routine.is_async:
            return None
        return min(1.0, max(0.0, run - before) / elapsed / max(1, len(workers)))

    def _complete_worker(
        self, worker: WorkerView, elapsed: float | None, spent_before: dict[tuple[int, float], float]
    ) -> WorkerView:
        usage = None if worker.pid is None else self._usage(worker.pid)
        if worker.pid is None or usage is None:
            return WorkerView(worker.number)
        key = (worker.pid, usage.born_at)
        before, self._spent[key] = spent_before.get(key), usage.cpu_seconds
        percent = None
        if before is not None and elapsed is not None:
            percent = max(0.0, usage.cpu_seconds - before) / elapsed * 100.0
        return worker._replace(cpu_percent=percent, rss_bytes=usage.rss_bytes)


def _complete_away(workers: tuple[WorkerView, ...], listed: tuple[Worker, ...]) -> tuple[WorkerView, ...]:
    """Add what workers on other machines have told; a process id of theirs says nothing here."""
    told = {(worker.number, worker.pid): worker for worker in listed}
    completed = []
    for view in workers:
        worker = told.get((view.number, view.pid))
        if worker is not None and view.pid is not None:
            view = view._replace(node=worker.node)  # noqa: PLW2901  the same, with more
            if worker.used is not None:
                view = view._replace(cpu_percent=worker.used.cpu_percent, rss_bytes=worker.used.rss_bytes)  # noqa: PLW2901
        completed.append(view)
    return tuple(completed)


def _without_process(worker: WorkerView) -> WorkerView:
    return WorkerView(worker.number)


def _copy(account: Account) -> RoutineView:
    """Copy an account; the job's lock is held."""
    plan = account.plan
    return RoutineView(
        id=plan.id,
        placement=plan.options.placement,
        status=account.status,
        capacity=plan.options.capacity,
        figures=count_held(account),
        rate=None,
        error=account.error,
        workers=_copy_workers(account) if plan.runs_apart else (),
        is_async=plan.is_async and not plan.runs_apart,
    )


def _copy_workers(account: Account) -> tuple[WorkerView, ...]:
    least = account.plan.options.least
    return tuple(
        WorkerView(number, pid) for number, pid in enumerate(account.pids) if pid is not None or number < least
    )
