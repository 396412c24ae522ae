"""The supervisor of one job: it carries out STOP, CONTINUE, RETRY and SKIP, and ends the job.

Theory of operation. Its children are the state actor and one actor a routine. A routine's actor
reports what failed and waits; the supervisor decides by `supervisors.policy` and answers with a
verdict. The job ends when the ledger is quiet, when a verdict is STOP, when its owner cancels,
or when an actor ends by itself, which none should: first the gate is closed, so that nothing
new starts; then all routines are asked to end; when the last is gone the state actor checks the
books and takes the final status; then the supervisor ends, and whoever waits is told.

A lost worker that had committed something is replaced at once. One that had not waits before it is,
longer each time it happens to that worker in a row; and it counts in its routine's window of restarts,
where more than `max_restarts` for each of the routine's workers are a crash loop: STOP. The window's clock is the time
that workers were up (`lives.py`), so that no start that takes long, and no wait, hides a loop.

Pure behaviour: it runs on threads and on the seeded host alike. It never touches a message.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial

from routilux.causes import tell_cause
from routilux.jobs.actor import JobCut, KeepWith, Left, Move, Paused, StateActor
from routilux.jobs.machine import JobStatus, is_final
from routilux.jobs.recorder import Recorder
from routilux.ledger import Ledger
from routilux.runtime.commands import (
    Cancel,
    Failure,
    GetStacks,
    Hurry,
    Leave,
    NotKept,
    Overflow,
    PauseDue,
    PauseJob,
    Quiet,
    Rested,
    ResumeJob,
    Verdict,
)
from routilux.runtime.failure_log import FailureLog, tell_origin
from routilux.runtime.hangs import warn_left_behind
from routilux.runtime.pausing import Pausing, refuse
from routilux.runtime.reports import Outcome
from routilux.runtime.routine_actor import RoutineActor
from supervisors.behavior import Behavior, Context, Ref
from supervisors.calls import ChildInfo
from supervisors.children import Child, Children, ChildState
from supervisors.errors import InternalError
from supervisors.mailbox import Mailbox
from supervisors.messages import Terminate
from supervisors.places.process.child import GOODBYE_SECONDS
from supervisors.policy import (
    Backoff,
    Intensity,
    IntensityWindow,
    Strategy,
    decide_failed_message,
    decide_lost_child,
)
from supervisors.reasons import Reason, Shutdown
from supervisors.ref import LifeRef
from supervisors.report import reporter
from supervisors.spec import ChildSpec

RESTART_BACKOFF = Backoff(delay=0.01, factor=2.0, max_delay=5.0, jitter=0.5)
"""Waits before a worker is replaced that had committed nothing; a fruitful one is replaced at once. A crash loop is the
intensity's to end: a longer wait than 5 s (arbitrary) would only let workers stand still that others kill."""
ABANDON_SECONDS = 1.0
"""What an actor gets beyond the shutdown time, of which its idle processes get `GOODBYE_SECONDS` at least, before its
thread is left behind (arbitrary)."""
RECORDER_SECONDS = 60.0
"""What the last checkpoint gets to be written, before a store that hangs is left behind (arbitrary)."""
HURRIED_SECONDS = 0.5
"""What a thread gets instead when its owner cut the time short: he waits, for a second at most (arbitrary)."""

_log = reporter("routilux")

MakeActor = Callable[[Callable[[Failure | Rested], None]], RoutineActor]


class JobSupervisor(Behavior):
    """The root of a job's tree.

    Args:
        ledger: the job's.
        state_actor: the owner of its status.
        make_actors: makes the actor of each routine, in the order of the plan; each is given the
            way to report to this supervisor.
        finished: resolved at the end with the job's last cut.
        job_id: the job's id.
        shutdown: seconds that turns in hand get when the job ends early.
        recorder: keeps the job; None for a job without a store.
        control: takes commands from other programs; None where none come.
    """

    handles_terminate = True
    is_supervisor = True

    def __init__(
        self,
        ledger: Ledger,
        state_actor: StateActor,
        make_actors: Sequence[MakeActor],
        finished: Future[JobCut],
        *,
        job_id: str,
        shutdown: float,
        recorder: Recorder | None = None,
        control: Behavior | None = None,
    ) -> None:
        self._ledger = ledger
        self._job_id = job_id
        self._state_actor = state_actor
        self._finished = finished
        self._keeper = Children(self)
        self._state = Child(_spec("state", lambda: state_actor, shutdown=math.inf))
        self._keeps = recorder
        self._recorder: Child | None = None
        if recorder is not None:
            self._recorder = Child(_spec("recorder", lambda: recorder, shutdown=RECORDER_SECONDS))
        self._control: Child | None = None
        if control is not None:
            self._control = Child(_spec("control", lambda: control, shutdown=ABANDON_SECONDS, uses_poller=True))
        self._routines = [
            Child(
                _spec(
                    account.plan.id,
                    partial(make, self.tell),
                    shutdown=(max(shutdown, GOODBYE_SECONDS) if account.plan.runs_apart else shutdown)
                    + ABANDON_SECONDS,
                    mailbox=partial(getattr, account, "mailbox"),
                    uses_poller=account.plan.runs_apart,
                )
            )
            for account, make in zip(ledger.accounts, make_actors, strict=True)
        ]
        self._accounts = dict(zip(self._routines, ledger.accounts, strict=True))
        self._up = 0
        """Routines whose actors are up: each of them tells of its end, and none is looked at for that of another."""
        # One window a routine, as wide as its pool: workers that die of one cause die at about the same time. In it
        # as many seconds pass at a time as workers are up.
        self._restarts = [
            IntensityWindow(Intensity(options.max_restarts * options.pool, options.restart_period * options.pool))
            for options in (routine.options for routine in ledger.plan.routines)
        ]
        # One streak a worker: how often the others died is no reason to let this one wait.
        self._streaks = [[0] * routine.options.pool for routine in ledger.plan.routines]
        # Made once: a handler is its author's object, and deciding runs no code of anybody else.
        self._policies = [routine.error_handler.policy() for routine in ledger.plan.routines]
        self.failures = FailureLog(ledger.plan, job_id)
        """Where the job's failures are told; for whoever reads its results too."""
        self._told: str | None = None
        """The error that a line on the log has told of already."""
        self.state_ref: Future[Ref] = Future()
        """Resolved with the state actor's address once it has started."""
        self._pausing = Pausing(ledger, self._tell_routine, self._tell_state, self._stack_of)
        self._is_quiet = False
        """Whether the job has become quiet while it was paused, and ends when it goes on."""
        self._ending: Move | Left | None = None
        self._shutdown = shutdown
        self._end_by = math.inf
        """Clock reading up to which turns in hand have time; infinite before the job ends."""

    def tell(self, message: object) -> None:
        """Send it a message; any thread may call it, once it has started: none of the job's actors is there before."""
        self._own.signal(message)

    def list_children(self) -> tuple[ChildInfo, ...]:
        """List the actors of the job; any thread may call it."""
        keepers = [child for child in (self._state, self._recorder, self._control) if child is not None]
        return tuple(child.to_info(child.state.value) for child in (*keepers, *self._routines))

    def on_start(self, ctx: Context) -> None:
        """Start the state actor, then the routines, in the order in which they were added."""
        self._own = ctx.ref
        self._keeper.start(self._state, ctx)
        if self._state.ref is not None:
            self._state.ref.signal(Move(JobStatus.RUNNING))
            self.state_ref.set_result(self._state.ref)
            if self._recorder is not None:
                self._keeper.start(self._recorder, ctx)
                if self._recorder.ref is not None:
                    self._state.ref.signal(KeepWith(self._recorder.ref))
            if self._control is not None:
                self._keeper.start(self._control, ctx)
            for routine in self._routines:
                self._keeper.start(routine, ctx)
            self._up = len(self._routines)

    def on_message(self, message: object, ctx: Context) -> None:
        """Decide, or end the job."""
        if self._keeper.handle(message, ctx):
            return
        match message:
            case Failure():
                self._decide(message, ctx)
            case PauseJob() | ResumeJob() | PauseDue() | Rested() | Paused():
                if self._ending is None:
                    self._pausing.handle(message, ctx)
                    if self._is_quiet:
                        self._come_to_end(ctx)
                elif isinstance(message, PauseJob | ResumeJob):
                    refuse(message, self._job_id)
            case Quiet():
                self._come_to_end(ctx)
            case GetStacks():
                self._pass_on(message)
            case Cancel() | Leave() | NotKept() | Overflow() | Terminate():
                self._end_for(message, ctx)
            case _:
                detail = f"a job's supervisor was sent {message!r}"
                raise InternalError(detail)

    def on_stop(self, reason: Reason, ctx: Context) -> None:
        """Tell whoever waits, after the log has been told whose threads are left behind."""
        for account in self._ledger.accounts:
            origin = tell_origin(self._ledger.plan, self._job_id, account.plan.id)
            for stack in account.abandoned:
                warn_left_behind(account, origin, stack)
        cut = self._kept(self._concluded(self._state_actor.cut(ctx.now()), reason))
        self._ledger.close_gate()
        if not self.state_ref.done():
            self.state_ref.set_exception(InternalError("the job's supervisor could not start"))
        self._finished.set_result(cut)
        self._ledger.ring_outside()
        if cut.status is JobStatus.FAILED and cut.error is not None and cut.error != self._told:
            self.failures.tell_end(cut.error)
        self.failures.tell_left_out()

    def _concluded(self, cut: JobCut, reason: Reason) -> JobCut:
        """Give the last cut a final status where the state actor did not come to it: it, or this actor, is no more."""
        if is_final(cut.status) or isinstance(self._ending, Left):
            return cut
        if self._ending is None or self._ending.to is JobStatus.COMPLETED:
            return cut._replace(status=JobStatus.FAILED, error=f"the job's supervisor ended: {reason}")
        return cut._replace(status=self._ending.to, error=self._ending.error)

    def _kept(self, cut: JobCut) -> JobCut:
        """Add how the job was kept at last, of which the state actor has not heard any more."""
        recorder = self._keeps
        if recorder is None:
            return cut
        # One that hangs in its store, or is no more, may never have come to the last checkpoint.
        newest = recorder.last
        unkept = recorder.unkept or self._state_actor.find_unwritten(newest)
        if unkept is not None:
            _log.error("%s; resumed, the job goes on from the checkpoint before", unkept)
            if isinstance(self._ending, Left) and cut.error is None:
                cut = cut._replace(error=str(unkept))
        return cut._replace(checkpoint=newest, unkept=unkept)

    # -- Failures

    def _decide(self, failure: Failure, ctx: Context) -> None:
        routine = self._ledger.plan.routines[failure.routine]
        account = self._ledger.accounts[failure.routine]
        account.error = cause = tell_cause(failure.reason)
        policy = self._policies[failure.routine]
        if self._ending is not None:
            # Its actor was asked to end before it could hear of a verdict, and keeps the message as pending.
            self.failures.tell_failure(failure, None, policy, ctx.now())
            return
        strategy, delay, gives_up, loop = Strategy.CONTINUE, 0.0, False, ""
        if failure.has_message:
            decision = decide_failed_message(
                policy,
                failures=failure.failures,
                crashes=failure.crashes,
                is_retryable=failure.is_retryable,
                random=ctx.random,
            )
            strategy, delay, gives_up = decision.strategy, decision.delay, decision.gives_up
        restart_delay: float | None = None
        error = f"routine {routine.id!r}: {cause}"
        if strategy not in {Strategy.STOP, Strategy.SKIP}:
            too_many = self._describe_abandoned(failure)
            if failure.is_lost:
                restart_delay = self._restart_delay(failure, ctx)
            if too_many or (failure.is_lost and restart_delay is None):
                loop = too_many or self._describe_loop(failure.routine)
                error += f" ({loop})"
                strategy, delay, gives_up, restart_delay = Strategy.STOP, 0.0, False, None
        if strategy is Strategy.STOP:
            # Before the routine hears of it: it would take the message again that is to be kept.
            self._ledger.close_gate()
        actor = self._routines[failure.routine].ref
        if actor is not None:
            actor.signal(Verdict(failure.case, strategy, delay, gives_up, restart_delay))
        outcome = Outcome(strategy, delay, gives_up, restart_delay, loop)
        self.failures.tell_failure(failure, outcome, policy, ctx.now())
        if strategy is Strategy.STOP:
            self._told = error
            self._end(Move(JobStatus.FAILED, error), ctx)

    def _restart_delay(self, failure: Failure, ctx: Context) -> float | None:
        """Seconds until the worker is replaced; None if it dies too often for that."""
        streaks = self._streaks[failure.routine]
        lost = decide_lost_child(
            self._restarts[failure.routine],
            RESTART_BACKOFF,
            streak=streaks[failure.worker],
            is_fruitful=not failure.is_fruitless,
            now=failure.uptime,
            random=ctx.random,
        )
        streaks[failure.worker] = lost.streak
        return None if lost.escalates else lost.delay

    def _describe_loop(self, routine: int) -> str:
        options, workers = self._ledger.plan.routines[routine].options, len(self._streaks[routine])
        among = f" among {workers} workers" if workers > 1 else ""
        count = options.max_restarts * workers
        restarts = "restart" if count == 1 else "restarts"
        return f"more than {count} fruitless {restarts} in {options.restart_period:g} s{among}"

    def _describe_abandoned(self, failure: Failure) -> str:
        """Say that the routine has given up more threads than it may; "" if it has not."""
        routine = self._ledger.plan.routines[failure.routine]
        limit = routine.options.max_abandoned
        if failure.abandoned <= limit:
            return ""
        advice = (
            "a handler that is cancelled has to let CancelledError pass"
            if routine.is_async
            else "a thread cannot be ended, a process can: use placement='process'"
        )
        what = "tasks" if routine.is_async else "threads"
        return (
            f"{what} of it that were abandoned and are still in their handlers: {failure.abandoned}, "
            f"max_abandoned is {limit}; {advice}"
        )

    # -- The end

    def _come_to_end(self, ctx: Context) -> None:
        """End the job, which is quiet: once it is not paused, and unless what waited for others goes on without."""
        self._is_quiet = self._pausing.is_kept
        if self._ending is not None or self._is_quiet:
            return
        given_up = self._ledger.drain(ctx.now())
        if given_up is not None:
            for unjoined in given_up:
                self.failures.tell_unjoined(unjoined, ctx.now())
            self._end(Move(JobStatus.COMPLETED), ctx)

    def _end_for(self, cause: Cancel | Leave | NotKept | Overflow | Terminate, ctx: Context) -> None:
        match cause:
            case Cancel(reason, shutdown):
                self._end(Move(JobStatus.CANCELLED, reason or "cancelled"), ctx)
                self._hurry(shutdown, ctx)
            case Leave(reason, shutdown):
                self._end(Left(reason), ctx)
                self._hurry(shutdown, ctx)
            case NotKept(error):
                self._end(Move(JobStatus.FAILED, str(error)), ctx)
            case Overflow(told):
                self._end(Move(JobStatus.FAILED, told), ctx)
            case Terminate(reason):
                # The program ends; what is kept can be gone on with.
                self._end(Move(JobStatus.CANCELLED, str(reason)) if self._recorder is None else Left(str(reason)), ctx)

    def _end(self, move: Move | Left, ctx: Context) -> None:
        if self._ending is not None:
            return
        self._ending = move
        self._pausing.end()
        self._end_by = ctx.now() + self._shutdown
        self._ledger.close_gate()
        for routine in self._routines:
            if routine.is_up:
                self._keeper.stop(routine, ctx)
        self._go_on_ending(ctx)

    def _hurry(self, seconds: float | None, ctx: Context) -> None:
        end_by = math.inf if seconds is None else ctx.now() + seconds
        if seconds is None or end_by >= self._end_by:
            return
        self._end_by = end_by
        for routine, account in zip(self._routines, self._ledger.accounts, strict=True):
            if routine.ref is not None:
                routine.ref.signal(Hurry(seconds))
                # A process is killed by then, and has to be gone; a thread alone is left behind.
                spare = ABANDON_SECONDS if account.plan.runs_apart else HURRIED_SECONDS
                self._keeper.shorten(routine, seconds + spare, ctx)

    def _go_on_ending(self, ctx: Context) -> None:
        if self._ending is None or self._up:
            return
        if not self._state.is_up:
            self._end_keeping(ctx, self._ending)
        elif self._state.state is not ChildState.STOPPING and self._state.ref is not None:
            if self._ending == Move(JobStatus.COMPLETED):
                for account in self._ledger.accounts:
                    account.note_completed()
            self._state.ref.signal(self._ending)
            self._keeper.stop(self._state, ctx)

    def _end_keeping(self, ctx: Context, ending: Move | Left) -> None:
        """End the recorder, which has been sent all it is to write, then who tells of that, and with it the job."""
        for child in (self._recorder, self._control):
            if child is not None and child.is_up:
                self._keeper.stop(child, ctx)
                return
        ctx.stop(Shutdown("left" if isinstance(ending, Left) else str(ending.to)))

    # -- Its children, as their keeper tells of them

    def on_child_started(self, child: Child, ctx: Context) -> None:
        """Do nothing: what is sent to it meanwhile waits in its mailbox."""

    def on_child_ended(self, child: Child, before: ChildState, reason: Reason, ctx: Context) -> None:
        """End the job, unless it is ending: none of its actors ends by itself."""
        account = self._accounts.get(child)
        who = f"the {child.name} actor" if account is None else f"the actor of routine {child.name!r}"
        if account is not None:
            self._up -= 1
            # Nothing to put back, unless its own code failed: then its messages are in nobody's hands.
            self._ledger.fence(account)
        if child is self._control and self._ending is None:
            _log.error("job %r takes no more commands from other programs: %s", self._job_id, reason)
        elif self._ending is None:
            self._end(Move(JobStatus.FAILED, f"{who} ended: {reason}"), ctx)
        self._go_on_ending(ctx)

    def on_child_abandoned(self, child: Child, stack: str, ctx: Context) -> None:
        """Fence off what the routine has in hand: its thread goes on."""
        account = self._accounts.get(child)
        if account is not None:
            self._ledger.fence(account)
            account.note_abandoned((*account.abandoned, stack))

    # -- Private

    def _tell_routine(self, index: int, command: object) -> None:
        ref = self._routines[index].ref
        if ref is not None:
            ref.signal(command)

    def _pass_on(self, message: GetStacks) -> None:
        actor = self._routines[message.routine].ref
        if actor is None or not actor.signal(message):
            message.reply.set_result([])

    def _tell_state(self, command: object) -> None:
        if self._state.ref is not None:
            self._state.ref.signal(command)

    def _stack_of(self, index: int) -> str:
        ref = self._routines[index].ref
        return ref.stack() if isinstance(ref, LifeRef) else ""


def _spec(
    id_: str,
    start: Callable[[], Behavior],
    *,
    shutdown: float,
    mailbox: Callable[[], Mailbox] | None = None,
    uses_poller: bool = False,
) -> ChildSpec:
    """Give the spec of one of the job's actors: none is started again, the job ends with it."""
    start = partial(start)
    start.uses_poller = uses_poller  # type: ignore[attr-defined]  # a partial takes attributes
    return ChildSpec(id_, start, restart="temporary", shutdown=shutdown, start_timeout=math.inf, mailbox=mailbox)
