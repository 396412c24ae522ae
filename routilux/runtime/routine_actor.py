"""The actor of one routine: it pulls messages, hands them to its place, and commits.

Theory of operation. The actor takes a message only when its place has room for it, so that what
waits stays in the mailbox. Everything its place tells comes on the actor's own thread. What
fails is reported to the supervisor, and until the verdict arrives the message stays in hand.
A routine with one worker takes nothing meanwhile, nor while a message waits for its retry:
that is how order is kept. A pool goes on with its other messages: it gave up order.
Where turns run at once and commit in their order, those behind one that failed wait in the place, run but not
committed; what is tried again goes there ahead of them. What ends that order gives all of them back.
A message that its place cannot carry fails as if its handler had raised, and no sooner: first
those before it are settled, since one of them may yet come back to be handled ahead of it (`dispatch`).

Owns the routine's place and the cases that wait for a verdict. Never decides what a failure
leads to, and never touches another routine's messages but by the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from routilux.accounts import Account, leave_to_actor
from routilux.ledger import Ledger
from routilux.messages import Message, Once
from routilux.runtime.alarm import Alarm
from routilux.runtime.carriers import Carrier
from routilux.runtime.commands import (
    Case,
    Failure,
    FlushDue,
    GetStacks,
    Hold,
    Hurry,
    LetGo,
    PaceDue,
    Requeue,
    Rested,
    RetryDue,
    SizeDue,
    StacksDue,
    Tick,
    Verdict,
    WorkerDue,
)
from routilux.runtime.dispatch import Dispatch
from routilux.runtime.lives import Lives
from routilux.runtime.makers import Journal, PlaceMaker
from routilux.runtime.rest import DROPPED, REQUEUED, Rest
from routilux.runtime.sizer import RETIRED, Retires, Sizer
from routilux.runtime.turnstile import Turnstile
from supervisors.behavior import Behavior, Context
from supervisors.errors import InternalError
from supervisors.messages import Terminate
from supervisors.places.base import Finished, Inspectable, LatePlace, Lost, RequestAbandoned
from supervisors.places.process.overdue import STACK_PATIENCE, STACK_SECONDS
from supervisors.policy import Strategy
from supervisors.reasons import (
    DeadlineExceeded,
    Normal,
    ProtocolError,
    Raised,
    Reason,
    is_clean,
)


class RoutineActor(Behavior):
    """The actor of one routine.

    Args:
        account: what the routine holds.
        ledger: the job's.
        carrier: how messages look to the place.
        make_place: makes the place.
        report: hands a `Failure` to the supervisor, and tells it when the routine has come to rest.
        shutdown: seconds that turns in hand get when the job ends early.
        uses_poller: whether the place waits for file descriptors.
        has_deadlines: whether the place is told when its deadlines have come.
        journal: where what is done once is written down; None for a job without a store.
    """

    handles_terminate = True

    def __init__(  # noqa: PLR0913  what a routine's actor stands between
        self,
        account: Account,
        ledger: Ledger,
        carrier: Carrier,
        make_place: PlaceMaker,
        report: Callable[[Failure | Rested], None],
        *,
        shutdown: float = 5.0,
        uses_poller: bool = False,
        has_deadlines: bool = False,
        journal: Journal | None = None,
    ) -> None:
        self.uses_poller = uses_poller
        self._has_deadlines = has_deadlines
        self._account = account
        self._ledger = ledger
        self._carrier = carrier
        self._is_local = carrier.keeps_references
        self._make_place = make_place
        self._report = report
        self._shutdown = shutdown
        self._workers = account.plan.options.pool
        options = account.plan.options
        self._keeps_order = options.keeps_order
        self._has_line = options.has_line
        """Whether turns run at once and commit in their order."""
        self._runs_at_once = options.concurrency > 1
        self._state_of = range(self._workers) if options.partition_by is None else (0,) * self._workers
        """By worker, which of the declared states its turns change."""
        self._cases: dict[int, Case] = {}
        self._next_case = 0
        self._fruitful = [False] * self._workers
        self._lives = Lives(self._workers)
        self._ungranted: list[tuple[int, int]] = []
        self._is_closing = False
        self._journal = journal
        self._dispatch = Dispatch(account, ledger, carrier, self._refuse)
        self._rest = Rest(account, ledger, report, self._put_back_all if self._has_line else None)

    # -- Behavior

    def on_start(self, ctx: Context) -> None:
        """Start the workers, and the clocks of what waits for another try since the job was resumed."""
        self._ctx = ctx
        self._ticks, self._flushes = Alarm(ctx, Tick()), Alarm(ctx, FlushDue())
        pace = self._account.plan.pace
        self._place = self._make_place(self, ctx, self._wait_inside_turn)
        self._account.list_workers = self._place.workers
        self._dispatch.begin(self._place, self._ledger if pace is None else Turnstile(pace, self._ledger, ctx))
        options = self._account.plan.options
        self._sizer: Sizer | None = None
        if options.least < options.pool:
            self._sizer = Sizer(options.least, options.pool, ctx, self._start_worker, self._dispatch.use)
        for number in range(options.least):
            self._start_worker(number)
        for ticket, wait in self._account.in_retry.items():
            ctx.set_timer(max(0.0, wait.due_at - ctx.now()), RetryDue(ticket, wait.holds))
        if self._account.takes_blocks and isinstance(self._place, LatePlace):
            self._account.hand_out_here = partial(ctx.run_here, self._hand_out_here)

    def on_message(self, message: object, ctx: Context) -> None:
        """Carry out a verdict, or what a timer brought, or the end."""
        match message:
            case Verdict():
                self._carry_out(message)
            case RetryDue() | WorkerDue() | FlushDue() | Tick():
                self._on_due(message, ctx.now())
            case PaceDue():
                pass  # the step that follows takes what may be taken now
            case SizeDue():
                if self._sizer is not None:
                    self._sizer.reset()
            case Hold() | Requeue() | LetGo():
                self._rest.handle(message, self._place)
            case Terminate():
                self._close()
            case Hurry(shutdown):
                self._place.close(shutdown)
            case GetStacks() | StacksDue():
                self._tell_stacks(message, ctx)
            case _:
                detail = f"the actor of routine {self._account.plan.id!r} was sent {message!r}"
                raise InternalError(detail)

    def _on_due(self, due: RetryDue | WorkerDue | FlushDue | Tick, now: float) -> None:
        match due:
            case RetryDue(ticket, holds):
                self._dispatch.try_again(ticket, holds=holds)
            case WorkerDue(worker):
                if self._is_wanted(worker):
                    self._account.restarts += 1
                    self._start_worker(worker)
            case FlushDue():
                self._flushes.reset()
                self._ledger.flush_due(self._account, now)
            case Tick():
                self._ticks.reset()
                self._place.on_tick(now)

    def step(self, ctx: Context) -> bool:
        """Hand out what there is room for, and run what is to be run here."""
        if self._ungranted:
            self._grant_parts()
        worked = not self._is_closing and self._dispatch.hand_out()
        advance = self._place.advance
        if advance():
            worked, control = True, ctx.mailbox.control
            # What was handed out here is run without another look for more, but never past a control message.
            while not control and advance():
                pass
        if self._has_deadlines and (deadline := self._place.next_deadline()) is not None:
            self._ticks.set(deadline)
        if self._account.joins:
            self._flushes.set(self._account.flush_at)
        if self._sizer is not None:
            self._look_at_size(self._sizer)
        if self._rest.is_held:
            self._rest.note(self._place, is_settled=not self._cases)
        return worked

    def on_stop(self, reason: Reason, ctx: Context) -> None:
        """End what is left of the place: nothing, unless this actor failed."""
        self._account.hand_out_here = leave_to_actor
        if hasattr(self, "_place"):
            self._place.abort()
        if not is_clean(reason):
            self._account.status = "failed"
            self._account.error = str(reason)

    # -- Listener. What comes of a message that is not in hand any more is from an actor that was fenced
    # off inside a handler: it ends there, or it would go on with all that it had taken.

    def on_ready(self, number: int) -> None:
        """A worker takes messages: the next `step` hands some out."""
        self._lives.note_ready(number, self._ctx.now())
        self._publish_pids()

    def on_part(self, number: int, seq: int, body: Any) -> bool:
        """Let a part out, and let its turn go on when there is room downstream; what is recorded needs none."""
        part = self._carrier.part(body, number)
        if part.once is not None:
            return self._record_once(number, seq, part.once)
        if not self._ledger.release(self._account, self._state_of[number], seq, part, self._ctx.now()):
            return self._come_late()
        # What was released stays released: that is work done, whether or not state went with it.
        self._fruitful[number] = True
        self._ungranted.append((number, seq))
        self._grant_parts()
        return True

    def on_done(self, number: int, finished: Sequence[Finished]) -> bool:
        """Commit finished turns; False where one was put back, and will be run again."""
        if not self._is_local:
            self._carrier.check(finished, number)
        self._fruitful[number] = True
        if self._sizer is not None:
            for _seq, _result, seconds, _at in finished:
                self._sizer.note_done(seconds)
        return self._ledger.commit(self._account, self._state_of[number], finished) or self._come_late()

    def on_returned(self, number: int, seqs: tuple[int, ...]) -> None:
        """The place is held, or a turn before these was refused: nothing of them has begun."""
        self._ledger.put_back(self._account, seqs)

    def on_failed(self, number: int, seq: int, body: Any, returned: tuple[int, ...]) -> None:
        """A turn raised."""
        failure = self._carrier.failure(body)
        reason, lost = Raised(failure.error), Lost(seq, (), returned)
        self._fail(number, reason, lost, is_retryable=failure.is_retryable, is_lost=False)

    def on_lost(self, number: int, reason: Reason, lost: Lost) -> None:
        """A worker ended: with a message in hand that message failed, else only the worker did."""
        self._lives.note_gone(number, self._ctx.now())
        self._ungranted = [entry for entry in self._ungranted if entry[0] != number]
        self._publish_pids()
        suspect, ran, unbegun = lost
        if self._sizer is not None:
            self._sizer.note_gone(number)
        if reason == RETIRED:
            if self._is_wanted(number):
                self._start_worker(number)
            return
        if reason == DROPPED:
            return
        if self._rest.is_requeueing and not self._is_closing and (suspect is not None or ran or reason == REQUEUED):
            self._ledger.put_back(self._account, unbegun)
            self._ledger.put_back(self._account, (*ran, *(() if suspect is None else (suspect,))), redelivered=True)
            self._start_worker(number)
            return
        if self._runs_at_once and self._dispatch.is_holding and suspect is not None:
            # Ahead of it is one that failed; it is run again after that, and what it does then will count.
            lost = Lost(None, (*ran, suspect, *unbegun), ())
        self._fail(number, reason, lost, is_retryable=True, is_lost=True)

    def on_overdue(self, number: int, seq: int, reason: Reason) -> None:
        """A turn took too long; the others of its worker go on."""
        self._fail(number, reason, Lost(seq, (), ()), is_retryable=True, is_lost=False, is_crash=True)

    def on_closed(self) -> None:
        """All workers have ended: so does this actor. Their process ids are nobody's from here on."""
        self._publish_pids()
        self._account.list_workers = tuple
        self._ctx.stop(Normal())

    def request_for(self, number: int, seq: int, *, may_have_run: bool) -> Any:
        """A turn is to be run, or run again, whose message has its place among those in hand."""
        return self._dispatch.request_for(seq, may_have_run=may_have_run)

    def on_refused(self, number: int, seq: int, reason: Reason) -> None:
        """A message cannot be carried."""
        self._refuse(number, seq, reason)

    def on_left(self, seq: int, *, is_done: bool) -> None:
        """A message stands in line no more."""
        self._dispatch.leave(seq, is_done=is_done)

    def may_overtake(self, body: Any) -> bool:
        """What is recorded once is recorded at once: nothing in the flow comes out of order by that."""
        return self._carrier.is_record(body)

    def size_of(self, body: Any) -> int:
        """Give what a result holds."""
        size: int = body.count_bytes()
        return size

    # -- Private

    def _hand_out_here(self) -> Callable[[], bool] | None:
        """Hand out, on its sender's thread, a message that came while nothing was in hand (`Context.run_here`)."""
        return None if self._is_closing or self._rest.is_held else self._dispatch.hand_out_alone()

    def _tell_stacks(self, message: GetStacks | StacksDue, ctx: Context) -> None:
        place, now = self._place, ctx.now()
        if not isinstance(place, Inspectable):
            asked = message if isinstance(message, GetStacks) else message.asked
            asked.reply.set_result([])
            return
        if isinstance(message, GetStacks):
            place.ask_stacks()
            message = StacksDue(message, now + STACK_PATIENCE)
        found = place.read_stacks()
        if now < message.until and not all(worker.text for worker in found):
            ctx.set_timer(STACK_SECONDS, message)
        else:
            message.asked.reply.set_result(found)

    def _is_wanted(self, number: int) -> bool:
        """Whether a worker that has ended is to be started again."""
        if self._is_closing or self._account.is_skipped:
            return False
        return self._sizer is None or self._sizer.wants(number)

    def _look_at_size(self, sizer: Sizer) -> None:
        account = self._account
        if self._is_closing or self._rest.is_held or account.is_skipped or not isinstance(self._place, Retires):
            return
        backlog = len(account.mailbox) + len(account.in_hand)
        sizer.look(self._place, backlog, is_settled=not self._cases and not account.in_retry)

    def _start_worker(self, number: int) -> None:
        if self._sizer is not None:
            self._sizer.note_started(number)
        self._fruitful[number] = False
        self._dispatch.restart(number)
        self._place.start(number, self._carrier.boot(self._account.boot_state(number)))

    def _publish_pids(self) -> None:
        pids = {worker.number: worker.pid for worker in self._place.workers()}
        self._account.pids = tuple(pids.get(number) for number in range(self._workers))

    def _refuse(self, number: int, delivery: int, reason: Reason) -> None:
        self._fail(number, reason, Lost(delivery, (), ()), is_retryable=False, is_lost=False)

    def _grant_parts(self) -> None:
        if self._ungranted and self._ledger.has_room(self._account):
            granted, self._ungranted = self._ungranted, []
            for number, seq in granted:
                self._place.grant(number, seq)

    def _come_late(self) -> bool:
        """Refuse a turn whose message was put back; at the job's end this actor was fenced off, and ends."""
        if self._ledger.is_ending:
            raise RequestAbandoned
        return False

    def _record_once(self, number: int, seq: int, once: Once) -> bool:
        # In this order: what a checkpoint's cut finds in the log is in the ledger too.
        message = self._ledger.record_once(self._account, seq, once)
        if message is None:
            return self._come_late()
        if self._journal is not None:
            self._journal.record(message, once)
        self._fruitful[number] = True
        if (number, seq) in self._ungranted:
            # Grants come in the order of the parts: what was emitted before waits for room.
            self._ungranted.append((number, seq))
        else:
            self._place.grant(number, seq)
        return True

    def _wait_inside_turn(self) -> bool:
        # The turn runs on this thread and waits in an `emit`: no control message is handled
        # until it goes on, so the gate itself is watched.
        if self._ledger.is_ending:
            return False
        seen = self._ctx.mailbox.rings
        self._grant_parts()
        if self._ungranted and not self._ledger.is_ending:
            self._rest.tell()
            self._ctx.mailbox.sleep(seen, None)
        return True

    def _fail(
        self, number: int, reason: Reason, lost: Lost, *, is_retryable: bool, is_lost: bool, is_crash: bool = False
    ) -> None:
        suspect, ran, unbegun = lost
        account, ledger = self._account, self._ledger
        # From a word that made no sense, or a signal that asked it to end, to its end a worker may have gone on.
        may_have_run = isinstance(reason, ProtocolError | DeadlineExceeded)
        if self._is_closing or ledger.is_ending:
            # The job is ending: nobody will decide, and what was cut short counts as no try.
            if self._has_line and not is_lost:
                self._give_back_all()
                return
            ledger.put_back(account, unbegun, redelivered=may_have_run)
            ledger.put_back(account, (*ran, *(() if suspect is None else (suspect,))), redelivered=True)
            return
        ledger.put_back(account, unbegun, redelivered=may_have_run)
        holds = self._keeps_order and suspect is not None
        if not holds:
            ledger.put_back(account, ran, redelivered=True)
            ran = ()
        message = None
        if suspect is not None:
            message = ledger.count_failure(account, suspect, reason, self._ctx.now(), is_crash=is_lost or is_crash)
            if message is None:
                # Given up while it ran, and put back (`Pausing`): how that try ended is nobody's any more.
                ledger.put_back(account, ran, redelivered=True)
                if not is_lost:
                    return
                suspect, ran, holds = None, (), False
            else:
                self._dispatch.pin(message, number)
        self._next_case += 1
        self._cases[self._next_case] = Case(ran, suspect, message, reason, number, holds)
        self._dispatch.hold(holds)
        self._report(
            Failure(
                routine=account.plan.index,
                case=self._next_case,
                worker=number,
                has_message=message is not None,
                failures=message.failures if message else 0,
                crashes=message.crashes if message else 0,
                is_retryable=is_retryable,
                reason=reason,
                is_lost=is_lost,
                is_fruitless=not self._fruitful[number],
                uptime=self._lives.uptime(self._ctx.now()),
                abandoned=len(account.abandoned),
                edge=message.edge if message else -1,
                message_id=message.id if message else "",
            )
        )

    def _carry_out(self, verdict: Verdict) -> None:
        case = self._cases.pop(verdict.case)
        now = self._ctx.now()
        if case.message is not None and case.delivery is not None:
            self._settle(case, case.message, case.delivery, verdict, now)
        elif verdict.strategy is Strategy.SKIP:
            self._ledger.skip_routine(self._account, now)
        if verdict.restart_delay is not None and not self._is_closing:
            self._ctx.set_timer(verdict.restart_delay, WorkerDue(case.worker))

    def _settle(self, case: Case, message: Message, delivery: int, verdict: Verdict, now: float) -> None:
        ledger, account = self._ledger, self._account
        is_crash = message.crashes > 0
        ledger.note_decision(account, message, verdict.strategy.value, now, case.reason)
        if verdict.is_given_up:
            ledger.bury(account, delivery, case.reason, now)
        match verdict.strategy:
            case Strategy.RETRY:
                if not account.is_skipped:
                    account.status = "retrying"
                ticket = ledger.set_aside(
                    account,
                    (*case.held, delivery),
                    redelivered=is_crash,
                    due_at=now + verdict.delay,
                    holds=case.holds,
                )
                self._dispatch.note_retry(ticket, case.worker)
                self._ctx.set_timer(verdict.delay, RetryDue(ticket, case.holds))
                return  # what it holds is let go when the retry is due
            case Strategy.CONTINUE:
                if not account.is_skipped:
                    account.status = "error_continued"
                ledger.put_back(account, case.held, redelivered=True)
                self._place.pass_by(case.worker)
            case Strategy.SKIP:
                account.status = "skipped"
                ledger.skip_routine(account, now)
                ledger.put_back(account, case.held, redelivered=True)
                if self._has_line:
                    self._give_back_all()
            case Strategy.STOP:
                account.status = "failed"
                if self._has_line:
                    self._give_back_all(but=(*case.held, delivery))
                ledger.put_back(account, (*case.held, delivery), redelivered=is_crash)
        self._dispatch.unpin(message)
        self._dispatch.hold(-case.holds)

    def _give_back_all(self, but: tuple[int, ...] = ()) -> None:
        """Put back all that is in hand, in its order: what its turns come to is nobody's any more."""
        self._put_back(but)
        for worker in self._place.workers():
            if worker.in_hand:
                self._place.kill(worker.number, DROPPED)

    def _put_back_all(self) -> None:
        """Put back all that is in hand, in its order, but for what waits for its verdict."""
        self._put_back(tuple(case.delivery for case in self._cases.values() if case.delivery is not None))

    def _put_back(self, but: tuple[int, ...]) -> None:
        in_hand = [delivery for delivery in self._account.in_hand if delivery not in but]
        self._ledger.put_back(self._account, in_hand, redelivered=True)

    def _close(self) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        if self._cases and self._has_line:
            self._give_back_all()
        for case in self._cases.values():
            if case.delivery is not None:
                self._ledger.put_back(self._account, (*case.held, case.delivery), redelivered=True)
        self._cases.clear()
        self._place.close(self._shutdown)
