"""What a job's owner asks of it as a whole: how it is, that it rest, go on, or end.

Everything here runs on the caller's threads. It asks, tells and waits; it decides nothing, and never shows a live
object of the job. What wakes an actor is a step that Ctrl-C does not cut short (`interrupts`); what waits is
interrupted at once, and the job goes on.

Two callers are refused at once, since they would wait for ever: one that waits for a job on a thread of that job (in
a handler of a routine, or in a log handler), and a forked copy of the program, which has the handle and none of
the threads behind it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any, NoReturn, TypeVar

from routilux.context import current_turn
from routilux.dead_letters import DeadLetter
from routilux.errors import (
    ForkedJobError,
    JobEndedError,
    JobTimeoutError,
    OptionError,
    WaitInsideHandlerError,
)
from routilux.jobs.actor import GetCut, JobCut, RoutineCut, StateActor, TakeCheckpoint, cut_again
from routilux.jobs.checkpoints import Pause
from routilux.jobs.errors import CheckpointFailedError, NoStoreError
from routilux.jobs.machine import JobStatus
from routilux.jobs.recorder import CheckpointInfo
from routilux.jobs.state import JobState
from routilux.jobs.state_form import PausePoint
from routilux.jobs.tracks import track_cut
from routilux.keeping.copying import pack_job
from routilux.keeping.history import StoredHistory
from routilux.ledger import Ledger
from routilux.model.options import checked_shutdown
from routilux.records.schema import PausePoint as KeptPoint
from routilux.routing import RoutinePlan
from routilux.runtime.commands import Cancel, Leave, PauseJob, ResumeJob
from routilux.runtime.defaults import PAUSE_SECONDS
from routilux.runtime.failure_log import FailureLog
from routilux.runtime.interrupts import Uninterrupted
from routilux.runtime.keeping import Kept
from routilux.runtime.results import Results
from routilux.runtime.waits import Arrival, End, countdown
from routilux.stores.single_file import write_parts
from routilux.tracking.trace import write_trace
from routilux.tracking.tracker import ExecutionTracker
from routilux.turn.keyed import decode_states
from routilux.turn.state import decode_for_reader, decode_state
from routilux.turn.stats import add_up
from supervisors.actor import PykkaRef
from supervisors.behavior import Ref
from supervisors.places.process.reap import Usage, read_usage
from supervisors.tracebacks import text_of
from supervisors.waiting import present_actor

_LAST_LINES_SECONDS = 0.2
"""How long Ctrl-C may be held back while the last threads of a job end (arbitrary: what nobody notices)."""
_WAIT_OUTSIDE = "wait where the job was started, or emit to a routine that goes on when this turn is committed"

_Reply = TypeVar("_Reply")


class JobHandle:
    """The owner's side of a job, but for what goes in and comes out (see `Job`).

    Args:
        ledger: the job's.
        state_actor: the owner of its status.
        state_ref: that one's address, once it has started.
        root: its supervisor.
        finished: resolved at its end with the last cut.
        created_at: when it was made, in seconds since the epoch.
        failures: told of results that cannot be read.
        kept: how it is kept; None for a job without a store.
    """

    def __init__(
        self,
        ledger: Ledger,
        state_actor: StateActor,
        state_ref: Future[Ref],
        root: PykkaRef,
        finished: Future[JobCut],
        created_at: float,
        failures: FailureLog,
        kept: Kept | None,
    ) -> None:
        self.id = ledger.job_id
        self._ledger = ledger
        self._state_actor = state_actor
        self._state_ref = state_ref
        self._root = root
        self._finished = finished
        self._end = End(finished, ledger.outside)
        self._created_at = created_at
        self._results = Results(ledger, failures, self._end.has_come)
        self._collected: dict[tuple[str, str], list[Any]] = {}
        self._kept = kept
        self._signals: ExitStack | None = None
        """Takes back, at the end of a `with`, what its beginning did to signals."""
        self._pid = os.getpid()

    def __repr__(self) -> str:
        told = f"status={str(self.status)!r}" if self._pid == os.getpid() else f"in process {self._pid}"
        return f"Job({self.id!r}, flow={self.flow_id!r}, {told})"

    def _repr_html_(self) -> str:
        """Give the job as it is now, as a picture with its numbers and a table, for notebooks."""
        from routilux.drawing.display import show_job  # noqa: PLC0415  nobody else pays for it

        cut = self._cut()
        routines = zip(self._ledger.plan.routines, cut.routines, strict=True)
        return show_job(self._track(cut), cut.error, {plan.id: routine.error for plan, routine in routines}, ())

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"job {self.id!r} cannot be pickled or copied: it runs in this program; hand on its id or its `state`"
        )

    @property
    def flow_id(self) -> str:
        """The id of the job's flow."""
        return self._ledger.plan.flow_id

    @property
    def created_at(self) -> float:
        """When the job was made, in seconds since the epoch."""
        return self._created_at

    def seconds(self, now: float) -> float:
        """Tell how long the job has run, in all its programs together, pauses not counted (`observe`).

        Args:
            now: reading of the clock that never goes back.
        """
        self.require_here()
        return self._state_actor.seconds(now)

    @property
    def ledger(self) -> Ledger:
        """The job's ledger, for those who look in (`observe`)."""
        self.require_here()
        return self._ledger

    @property
    def status(self) -> JobStatus:
        """What the job is doing, as a word."""
        self.require_here()
        over = self._end.cut
        return self._state_actor.status if over is None else over.status

    @property
    def is_over(self) -> bool:
        """Whether the job has ended and everything it held is given back."""
        self.require_here()
        return self._end.has_come()

    @property
    def state(self) -> JobState:
        """The job as it is now: a snapshot between two commits."""
        return self._tell_state(self._cut())

    @property
    def tracker(self) -> ExecutionTracker:
        """How the job does now: executions, flow of events and metrics, with what its workers use."""
        return self._track(self._cut())

    def write_trace(self, path: str | os.PathLike[str]) -> None:
        """Write how the job went as a trace file, which Perfetto's viewer and Chrome's `about:tracing` open.

        Each turn is a slice on the track of its routine, each failure and decision a mark. Of a job with a store it is
        the complete history, but for the last moments of one that runs; else the newest 10,000 records.

        Args:
            path: the file, which only this user may read; one that is there is replaced.

        Raises:
            StoreWriteError: it could not be written; what was there is as it was.
        """
        if self._kept is None:
            self.state.write_trace(path)
            return
        self.require_here()
        records = StoredHistory(self._kept.store, self.id).records()
        write_parts(path, write_trace(f"{self.flow_id}, job {self.id}", records, self._created_at))

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """The messages given up so far, oldest first."""
        return _tell_letters(self._cut())

    @property
    def last_checkpoint(self) -> CheckpointInfo | None:
        """The newest checkpoint that is durable; None where there is none since this program has the job."""
        return self._cut().checkpoint

    @property
    def store(self) -> str | None:
        """Where the job is kept, as its store describes itself; None for nowhere."""
        return None if self._kept is None else str(self._kept.store)

    def pack(self) -> Any:
        """Give all that is kept of the job, which is paused, as plain data: a flow that is serialized holds it.

        Raises:
            NoStoreError: it has no store.
            StoreError: what is kept could not be read.
        """
        if self._kept is None:
            raise NoStoreError(self.id, "writing it, paused as it is, with its flow")
        return pack_job(self._kept.store, self.id, self._kept.lease.generation)

    def wait(self, timeout: float | None = None) -> JobState:
        """Wait until the job is over.

        Args:
            timeout: seconds to wait at most; None for no limit.

        Returns:
            Its final state, whatever its status.

        Raises:
            JobTimeoutError: the time ran out; the job goes on.
            WaitInsideHandlerError: a handler of this job waits for it.
        """
        self.require_outside("job.wait()")
        cut = self._end.bell.wait_for(lambda: self._end.cut, countdown(timeout))
        if cut is None:
            raise JobTimeoutError(self.id, timeout or 0.0, self.status)
        self._wait_last_lines()
        return self.state

    def pause(
        self,
        reason: object = "",
        checkpoint: Any = None,
        *,
        timeout: float | None = PAUSE_SECONDS,
        on_timeout: str = "abort",
    ) -> CheckpointInfo | None:
        """Bring the job to rest between two turns, durably where it has a store, and return when it is.

        No handler runs then, nothing is taken, and messages from outside wait; `resume` lets it go on, and so does
        `Flow.resume` in another program, once this one has ended. A handler that emits much rests in the middle of an
        `emit`, a generator at its `yield`. A second pause, also one at the same time, is the first; what it says of
        `timeout` counts for itself.

        Args:
            reason: why, as text or as what has a text; told by the pause point.
            checkpoint: a value of the caller's to be kept with the pause point; None for nothing.
            timeout: seconds that turns in hand get to come to their end; None for as long as they take.
            on_timeout: what follows then: `abort` opens the gate again and raises; `requeue` ends the processes that
                are not at rest, gives up turns that are not on threads, and puts their messages back to be run again,
                uncounted; where one of them changes its state in place, which cannot be taken back, it is `abort`.

        Returns:
            The checkpoint; None for a job without a store.

        Raises:
            PauseTimeoutError: it did not come to rest in time; it goes on, and nothing was written.
            CheckpointFailedError: the store did not take it; the job goes on.
            PauseInterruptedError: somebody resumed it meanwhile.
            JobEndedError: it is over, or has come to its end instead.
            ValueEncodingError: `checkpoint` cannot be kept.
            WaitInsideHandlerError: a handler of this job would wait for itself.
        """
        self.require_outside("job.pause()")
        if on_timeout not in ("abort", "requeue"):
            raise OptionError(f"expected on_timeout to be 'abort' or 'requeue', got {on_timeout!r}")
        countdown(timeout)  # refuses what is no number of seconds
        kept = None if checkpoint is None else self._ledger.codec.encode(checkpoint, "checkpoint")
        told = "" if reason is None else text_of(reason)
        reply: Future[CheckpointInfo | None] = Future()
        return self._ask(self._root, PauseJob(Pause(told, kept), timeout, on_timeout, reply), reply, "a pause")

    def resume(self) -> bool:
        """Let a paused job go on; one that is coming to rest goes on as well, and its pause fails.

        Returns:
            Whether it was paused.

        Raises:
            JobEndedError: it is over; `Flow.resume` goes on with one that was kept.
        """
        self.require_outside("job.resume()")
        reply: Future[bool] = Future()
        return self._ask(self._root, ResumeJob(reply), reply, "a resume")

    def checkpoint(self, *, cause: str = "asked") -> CheckpointInfo:
        """Keep the job as it is now, while it runs, and return when that is durable; no handler is waited for.

        Args:
            cause: what the checkpoint's header says of why it was written.

        Raises:
            NoStoreError: the job has no store.
            CheckpointFailedError: the store did not take it, or a routine whose state is read in place did not come to
                the end of a turn in time; the checkpoints before are good.
            JobEndedError: the job is over; it was kept at its end.
        """
        self.require_outside("job.checkpoint()")
        if self._kept is None:
            raise NoStoreError(self.id, "a checkpoint")
        reply: Future[CheckpointInfo] = Future()
        return self._ask(self._state_ref.result(), TakeCheckpoint(cause, reply), reply, "a checkpoint")

    def leave(self, reason: object = "", *, shutdown: float | None = None) -> JobState:
        """End the job in this program, to be resumed elsewhere or later: its status is `paused`.

        What is in hand gets its time, as in a cancel, and goes back to be run again if that is over.

        Args:
            reason: why; told by the pause point.
            shutdown: seconds that turns in hand get; None for what the job was started with.

        Raises:
            NoStoreError: the job has no store.
            OptionError: `shutdown` is no number of seconds.
            CheckpointFailedError: the job has ended here, and the store did not take it: what is kept is older.
            As `wait`.
        """
        self.require_outside("job.leave()")
        if self._kept is None:
            raise NoStoreError(self.id, "leaving it")
        told = "" if reason is None else text_of(reason)
        seconds = None if shutdown is None else checked_shutdown(shutdown)
        with Uninterrupted():
            self._root.signal(Leave(told, seconds))
        try:
            state = self.wait()
        except BaseException:
            self.cancel(shutdown=0.0)  # it is ending already: this only takes what time is left
            self.wait()
            raise
        unkept = self._finished.result().unkept
        if unkept is not None:
            raise unkept
        return state

    def cancel(self, reason: object = "", *, shutdown: float | None = None) -> None:
        """End the job: nothing new starts, and turns in hand get some time to come to their end.

        Returns at once; `wait` tells when it is over. Nothing happens to a job that is over; one that is
        ending may get less time by a further call, and keeps its first reason.

        Args:
            reason: why, as text or as what has a text, such as an exception; told as the job's `error`.
            shutdown: seconds that turns in hand get at most, from now; then processes are killed, and threads
                left behind half a second later. 0 for no time at all, None for what the job was started with.

        Raises:
            OptionError: `shutdown` is no such number.
        """
        self.require_here()
        told = "" if reason is None else text_of(reason)
        seconds = None if shutdown is None else checked_shutdown(shutdown)
        with Uninterrupted():
            self._root.signal(Cancel(told, seconds))

    def cancel_and_wait(self, reason: str = "") -> JobState:
        """Cancel the job and wait for its end; interrupted, let turns in hand have no more time.

        So with one Ctrl-C they get their time, and with a second one the job is over within a second.

        Args:
            reason: why; told as the job's `error`.

        Returns:
            Its final state.

        Raises:
            As `wait`.
        """
        try:
            self.cancel(reason)
            return self.wait()
        except BaseException:
            self.cancel(shutdown=0.0)
            self.wait()
            raise

    def __await__(self) -> Generator[Any, None, JobState]:
        import asyncio  # noqa: PLC0415  # who awaits has it; all others start a tenth faster without

        self.require_outside("await job")
        # Shielded: a task that stops waiting must not end what others wait for.
        with Uninterrupted():
            finished = asyncio.shield(asyncio.wrap_future(self._finished))
        yield from finished.__await__()
        self._wait_last_lines()
        return self.state

    def end_early(self, reason: str, *, shutdown: float | None = None) -> JobState:
        """End a job whose owner cannot go on: one with a store is left, to be resumed, any other cancelled.

        Args:
            reason: why.
            shutdown: seconds that turns in hand get; None for what the job was started with.
        """
        if self._kept is not None:
            with contextlib.suppress(CheckpointFailedError):  # the log has been told, and its owner has other worries
                return self.leave(reason, shutdown=shutdown)
            return self.state
        if shutdown is not None:
            self.cancel(reason, shutdown=shutdown)
        return self.cancel_and_wait(reason)

    # -- For its streams, and private

    def require_outside(self, attempted: str, instead: str = _WAIT_OUTSIDE) -> None:
        """Refuse a wait that would have no end: on a thread of this job, or where it does not run.

        Raises:
            WaitInsideHandlerError, ForkedJobError: so it is.
        """
        self.require_here()
        turn = current_turn()
        if turn is not None and turn.job_id == self.id:
            raise WaitInsideHandlerError(self.id, turn.routine_id, attempted, instead)
        actor = present_actor()
        if actor is not None and actor.path.partition("/")[0] == self._root.path:
            raise WaitInsideHandlerError(self.id, None, attempted, "wait on a thread of your own")

    def require_here(self) -> None:
        """Refuse all use in a forked copy of the program; raises `ForkedJobError`."""
        if self._pid != os.getpid():
            raise ForkedJobError(self.id, self._pid)

    def _cut(self) -> JobCut:
        self.require_here()
        reply: Future[JobCut] = Future()
        with Uninterrupted():  # the state actor answers in its next turn
            if self._end.cut is None and self._state_ref.result().tell(GetCut(reply)):
                return reply.result()
            if not self._finished.done():
                self.require_outside("job.state, at the job's end,")
            return cut_again(self._finished.result(), self._ledger)

    def _tell_state(self, cut: JobCut) -> JobState:
        plan = self._ledger.plan
        routine_states = {}
        for routine, account in zip(plan.routines, cut.routines, strict=True):
            states = [self._decode_state(routine, committed, account) for committed in account.committed]
            figures = account.figures._asdict()
            routine_states[routine.id] = {
                "status": account.status,
                "state": states[0] if len(states) == 1 else states,
                "stats": {**add_up(account.committed), **figures},
                **{key: figures[key] for key in ("handled", "failed", "skipped", "dead", "retries", "restarts")},
                "error": account.error,
            }
        return JobState(
            job_id=self.id,
            flow_id=plan.flow_id,
            status=cut.status,
            routine_states=routine_states,
            connections=cut.connections,
            dead_letters=_tell_letters(cut),
            created_at=self._created_at,
            updated_at=cut.updated_at,
            error=cut.error,
            history=cut.history,
            outputs={output: list(items) for output, items in self._collected.items()},
            pause_points=[self._tell_point(point) for point in cut.pause_points],
            checkpoint=cut.checkpoint,
            tracker=self._track(cut),
        )

    def _track(self, cut: JobCut) -> ExecutionTracker:
        # What were the process ids of its workers may be those of others by now.
        return track_cut(cut, self._ledger.plan, self.id, _read_nothing if self._end.has_come() else read_usage)

    def _tell_point(self, kept: KeptPoint) -> PausePoint:
        value = None if kept.checkpoint is None else decode_for_reader(kept.checkpoint, self._ledger.codec)
        return PausePoint(kept.at, kept.reason, value, kept.generation, kept.number)

    def _decode_state(self, routine: RoutinePlan, committed: Mapping[str, Any], cut: RoutineCut) -> Any:
        if routine.options.partition_by is not None:
            return decode_states(committed, self._ledger.codec)
        return decode_state(
            committed,
            routine.routine.state_type,
            policy=routine.routine.state_policy,
            codec=self._ledger.codec,
            # Nobody changes a state in place any more but for a handler that was left behind.
            at_rest=self._end.has_come() and not cut.figures.abandoned,
        )

    def _wait_last_lines(self) -> None:
        """Let the threads of the job, which is over, go: no wait to speak of, unless a handler of the log hangs."""
        has_gone = False
        while not has_gone:
            with Uninterrupted():  # anew, or no Ctrl-C would ever end the wait for such a handler
                has_gone = self._root.wait_terminated(_LAST_LINES_SECONDS)

    def _ask(self, to: Ref, command: object, reply: Future[_Reply], attempted: str) -> _Reply:
        """Ask one of the job's actors, and wait for its answer or for the end of the job."""
        arrival = Arrival(reply, self._end)
        with Uninterrupted():
            to.signal(command)
        answered = arrival.wait()
        if answered is None:
            raise JobEndedError(self.id, self.status, attempted)
        return answered.result()


def _tell_letters(cut: JobCut) -> list[DeadLetter]:
    # As the history tells its times: a clock reading means nothing to who reads the state elsewhere.
    return [letter._replace(at=letter.at + cut.history.wall_offset) for letter in cut.dead_letters]


def _read_nothing(_pid: int) -> Usage | None:
    return None
