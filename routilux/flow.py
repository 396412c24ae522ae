"""`Flow`: a graph of routines that can be run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from routilux.errors import EntryError, FlowRunningError, UnknownRoutineError
from routilux.jobs.state import JobState
from routilux.model.graph import FlowGraph
from routilux.model.options import checked_shutdown
from routilux.model.routine import Routine
from routilux.runtime.job import Job
from routilux.runtime.running import running
from routilux.runtime.tree import start_job

SHUTDOWN_SECONDS = 5.0
"""What turns in hand get when a job ends early (OTP's default for a worker's shutdown)."""


class Flow(FlowGraph):
    """Routines wired by connections; run as often as you like, also at the same time.

    A flow holds no live resources: each run is a `Job` of its own, and two jobs of one flow share
    nothing but the routine objects themselves (their plain attributes, on threads). While a job of it
    runs, a flow cannot be changed (`FlowRunningError`), and what runs on threads cannot be started by another
    flow (`RoutineInUseError`), but for functions, which may be anywhere.

    Args:
        flow_id: its name; made up when None.
    """

    def execute(
        self,
        entry_routine_id: str | None = None,
        entry_params: dict[str, Any] | None = None,
        *,
        shutdown: float = SHUTDOWN_SECONDS,
    ) -> JobState:
        """Run the flow and wait until everything is handled.

        Results of declared outputs are collected into the state's `outputs`.

        Args:
            entry_routine_id: the routine that gets the first message, at its slot `trigger` if it
                has one, else at its `__call__`; None for the only one that has an entry and is fed by nobody.
            entry_params: that message's parameters; none when None.
            shutdown: seconds that turns in hand get if the job ends early.

        Returns:
            The job's final state, whatever its status: look at `status` and `error`.

        Raises:
            FlowCheckError: the flow cannot be run; it lists all that is wrong.
            UnknownRoutineError: there is no such entry.
            ValueEncodingError: the parameters cannot be carried to the entry's process.
            RoutineInUseError: a routine object runs on a thread for a job of another flow.
            OptionError: `shutdown` or `entry_params` cannot be that.
            KeyboardInterrupt: Ctrl-C; the job was cancelled and has ended. A second Ctrl-C cuts
                `shutdown` short.
        """
        started: list[Job] = []
        try:
            job = self._start(entry_routine_id, entry_params or {}, started.append, keep_open=False, shutdown=shutdown)
            job.collect()
            return job.wait()
        except BaseException:
            # Ctrl-C while waiting: the caller gets its prompt back with nothing left running.
            for job in started:
                job.cancel_and_wait("interrupted")
            raise

    def start(
        self,
        entry_routine_id: str | None = None,
        entry_params: dict[str, Any] | None = None,
        *,
        keep_open: bool = False,
        shutdown: float = SHUTDOWN_SECONDS,
    ) -> Job:
        """Start a job and return at once.

        Args:
            entry_routine_id: as for `execute`; with `keep_open`, None sends no first message.
            entry_params: that message's parameters.
            keep_open: go on taking messages by `Job.send` until `Job.close_entry`.
            shutdown: seconds that turns in hand get if the job ends early.

        Raises:
            As `execute`.
        """
        return self._start(entry_routine_id, entry_params or {}, lambda _: None, keep_open=keep_open, shutdown=shutdown)

    def wait_for(self, job_id: str, timeout: float | None = None) -> bool:
        """Wait until a job is over; True if it is, False if the time ran out; raises as `Job.wait`.

        Args:
            job_id: the job's id; one that does not run here is over.
            timeout: seconds to wait at most; None for no limit.
        """
        job = running.find(job_id)
        if job is None:
            return True
        try:
            job.wait(timeout)
        except TimeoutError:
            return False
        return True

    def _start(
        self,
        entry: str | None,
        params: dict[str, Any],
        hold: Callable[[Job], object],
        *,
        keep_open: bool,
        shutdown: float,
    ) -> Job:
        if entry is None and not keep_open:
            entry = self._only_entry()
        if entry is not None and entry not in tuple(self.routines):
            raise UnknownRoutineError(entry, self.routines, "entry_routine_id")
        return start_job(self, entry, params, hold, keep_open=keep_open, shutdown=checked_shutdown(shutdown))

    def _before_change(self, attempted: str) -> None:
        job_ids = running.of(self)
        if job_ids:
            raise FlowRunningError(self.flow_id, job_ids, attempted)

    def _only_entry(self) -> str:
        fed = {link.target_id for link in self.connections}
        starts = [
            routine_id for routine_id, routine in self.routines.items() if routine_id not in fed and _has_entry(routine)
        ]
        if len(starts) != 1:
            raise UnknownRoutineError(None, starts or self.routines, "entry_routine_id (say which)")
        return starts[0]


def _has_entry(routine: Routine) -> bool:
    try:
        routine.entry_slot()
    except EntryError:
        return False
    return True
