"""How a job comes to rest, and goes on: the pause protocol.

Owns one pause at a time: the hold of the gate, which routines have still to come to rest, and who waits for it. Holds
no message and reads no state: what is written is the state actor's.

The steps. The gate is held: nothing is taken and nothing comes in. Every routine is told, and tells when none of its
handlers runs. When all rest, the state actor cuts the job, and has it written where it has a store; only when that is
durable is the job `paused` and its owner answered. What fails on the way opens the gate again: then nothing has
happened. Pausing twice is pausing once, and who asks again is answered with the first, unless its own time is over
before.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from routilux.errors import JobEndedError
from routilux.jobs.actor import GoOn, Paused, PauseNow
from routilux.jobs.errors import BusyRoutine, PauseInterruptedError, PauseTimeoutError
from routilux.jobs.recorder import CheckpointInfo
from routilux.ledger import Ledger
from routilux.runtime.commands import Hold, LetGo, PauseDue, PauseJob, Requeue, Rested, ResumeJob
from supervisors.behavior import Context, Timer
from supervisors.report import reporter

_log = reporter("routilux")


class _Stage(Enum):
    GOING = "going"
    RESTING = "resting"
    KEEPING = "keeping"
    PAUSED = "paused"


class Pausing:
    """The pauses of one job.

    Args:
        ledger: the job's.
        tell_routine: sends a command to the actor of a routine, by its index.
        tell_state: sends a command to the state actor.
        stack_of: gives the stack of the thread of a routine's actor, by its index.
    """

    def __init__(
        self,
        ledger: Ledger,
        tell_routine: Callable[[int, object], None],
        tell_state: Callable[[object], None],
        stack_of: Callable[[int], str],
    ) -> None:
        self._ledger = ledger
        self._tell_routine = tell_routine
        self._tell_state = tell_state
        self._stack_of = stack_of
        self._stage = _Stage.GOING
        self._number = 0
        self._since = 0.0
        self._waiting_for: set[int] = set()
        self._asked: list[PauseJob] = []
        self._resuming: list[ResumeJob] = []
        """Those who want the job to go on while it is being written."""
        self._outcome: CheckpointInfo | None = None
        self._timers: list[Timer] = []

    def handle(self, command: PauseJob | ResumeJob | PauseDue | Rested | Paused, ctx: Context) -> None:
        """Go on with the pause."""
        match command:
            case PauseJob():
                self._pause(command, ctx)
            case ResumeJob():
                self._resume(command)
            case Rested(routine, number):
                if number == self._number and self._stage is _Stage.RESTING:
                    self._waiting_for.discard(routine)
                    self._keep_if_all_rest()
            case Paused():
                self._end_keeping(command)
            case PauseDue(number, is_half, later):
                if number == self._number and self._stage is _Stage.RESTING:
                    self._look_at_the_busy(ctx.now(), later or self._asked[0], is_half=is_half)

    @property
    def is_kept(self) -> bool:
        """Whether all rests, and the job is written or is being written as it is now."""
        return self._stage in {_Stage.KEEPING, _Stage.PAUSED}

    def end(self) -> None:
        """Tell those who wait for a pause, or for its end, that the job is ending."""
        self._cancel_timers()
        waiting: list[PauseJob | ResumeJob] = [*self._take_asked(), *self._resuming]
        for asked in waiting:
            refuse(asked, self._ledger.job_id)
        self._resuming.clear()

    def _pause(self, asked: PauseJob, ctx: Context) -> None:
        if self._stage is _Stage.PAUSED:
            asked.reply.set_result(self._outcome)
            return
        self._asked.append(asked)
        if self._stage is not _Stage.GOING:
            if self._stage is _Stage.RESTING and asked.timeout is not None:
                due = PauseDue(self._number, is_half=False, later=asked)
                self._timers.append(ctx.set_timer(asked.timeout, due))
            return
        self._stage = _Stage.RESTING
        self._since = ctx.now()
        self._number = self._ledger.hold_gate()
        self._waiting_for = {account.index for account in self._ledger.accounts}
        for index in sorted(self._waiting_for):
            self._tell_routine(index, Hold(self._number))
        if asked.timeout is not None:
            for seconds, is_half in ((asked.timeout / 2, True), (asked.timeout, False)):
                self._timers.append(ctx.set_timer(seconds, PauseDue(self._number, is_half)))

    def _keep_if_all_rest(self) -> None:
        if not self._waiting_for:
            self._cancel_timers()
            self._stage = _Stage.KEEPING
            self._tell_state(PauseNow(self._asked[0].pause))

    def _end_keeping(self, paused: Paused) -> None:
        self._stage = _Stage.PAUSED
        self._outcome = paused.checkpoint
        if paused.error is not None:
            self._go_on(paused.error)
        for asked in self._take_asked():
            asked.reply.set_result(paused.checkpoint)
        resuming, self._resuming = self._resuming, []
        for resume in resuming:
            self._resume(resume)

    def _resume(self, asked: ResumeJob) -> None:
        if self._stage is _Stage.KEEPING:
            self._resuming.append(asked)  # it is paused first: that is on its way to the store
            return
        if self._stage is _Stage.PAUSED:
            self._tell_state(GoOn(asked.reply))
            self._go_on(None)
            return
        if self._stage is _Stage.RESTING:
            self._go_on(PauseInterruptedError(self._ledger.job_id))
        asked.reply.set_result(False)

    def _go_on(self, error: Exception | None) -> None:
        """Open the gate; those who wait for the pause are told of `error`, if that is why."""
        self._cancel_timers()
        self._stage = _Stage.GOING
        self._waiting_for.clear()
        self._ledger.open_gate()
        for account in self._ledger.accounts:
            self._tell_routine(account.index, LetGo())
        if error is not None:
            for asked in self._take_asked():
                asked.reply.set_exception(error)

    def _look_at_the_busy(self, now: float, whose: PauseJob, *, is_half: bool) -> None:
        busy = [self._describe(index, now) for index in sorted(self._waiting_for)]
        if is_half:
            for one in busy:
                _log.warning("job %r is to be paused: %s", self._ledger.job_id, one)
        elif whose.on_timeout == "requeue" and not self._is_changing_in_place():
            self._requeue(busy)
        elif whose is not self._asked[0]:
            # The time of the first, whose pause it is, goes on.
            self._asked.remove(whose)
            whose.reply.set_exception(PauseTimeoutError(self._ledger.job_id, busy))
        else:
            self._go_on(PauseTimeoutError(self._ledger.job_id, busy))

    def _requeue(self, busy: list[BusyRoutine]) -> None:
        for one in busy:
            _log.warning("job %r is paused; what runs is put back and run again: %s", self._ledger.job_id, one)
        for index in sorted(self._waiting_for):
            account = self._ledger.accounts[index]
            if account.plan.has_deadlines:
                self._tell_routine(index, Requeue(self._number))
            else:
                # Its thread hears nothing: its message is taken from it, and what it commits later is refused.
                self._ledger.fence(account)
                self._waiting_for.discard(index)
        self._keep_if_all_rest()

    def _is_changing_in_place(self) -> bool:
        # What it has done to its state by now cannot be taken back, and goes on.
        return any(self._ledger.accounts[index].is_in_place for index in self._waiting_for)

    def _describe(self, index: int, now: float) -> BusyRoutine:
        account = self._ledger.accounts[index]
        with self._ledger.lock:
            message = next(iter(account.in_hand.values()), None)
        # Elsewhere than on the actor's thread nothing is to be seen there.
        stack = "" if account.plan.runs_apart or account.plan.is_async else self._stack_of(index)
        return BusyRoutine(account.plan.id, "" if message is None else message.id, now - self._since, stack)

    def _take_asked(self) -> list[PauseJob]:
        asked, self._asked = self._asked, []
        return asked

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()


def refuse(asked: PauseJob | ResumeJob, job_id: str) -> None:
    """Tell who asked for it that the job is ending."""
    attempted = "a pause" if isinstance(asked, PauseJob) else "a resume"
    asked.reply.set_exception(JobEndedError(job_id, "ending", attempted))
