"""The place that runs several requests at once, on a loop beside the actor: coroutines, which wait most of their time.

Owns who may be told of next, the deadlines, and what was given up: single requests that were cancelled and went on all
the same, and whole loops that one of them has blocked. The actor's own thread runs no request here, so it answers at
any time. Never runs a coroutine (`loop` does), never decides whether a lost worker is replaced.

Theory of operation. A request that takes too long is cancelled. If it ends by that it alone is overdue, and the others
know nothing of it. If not, there are two cases. The loop tells that it went on in spite of the cancel (`Late`): it is
left behind alone, as a task whose result is dropped. Or the loop tells nothing, and makes no steps either: then some
request blocks it, and it is given up with its thread: the one whose code runs is the suspect, and all others come back.
Where one is run at a time the loop is given up in either case, and a new one shares nothing with what goes on there.

With `is_ordered` the ends of requests are told in the order in which they were submitted (`line`); one that comes to
its end sooner waits. It stays in hand meanwhile: `limit` bounds those as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from supervisors.errors import InternalError
from supervisors.places.base import CLOSED, LoopListener, Lost, Worker, WorkerAt
from supervisors.places.left import LeftBehind
from supervisors.places.line import Line, Reported
from supervisors.places.reports import Done, Failed, Part, Ready
from supervisors.places.request import (
    CANCEL_SECONDS,
    Broken,
    Cancelled,
    Closed,
    Confirm,
    Late,
    Loop,
    Overdue,
    Request,
    Stop,
)
from supervisors.reasons import Abandoned, DeadlineExceeded, Reason, StartFailed, record_error

BLOCKED_SECONDS = 2 * CANCEL_SECONDS
"""After which a loop counts as blocked that has made no step, nor told of a request that it was to cancel
(arbitrary)."""
GOODBYE_SECONDS = 0.3
"""What requests that are cancelled by a close or a kill get, and an idle loop to end by itself (arbitrary); less than
an actor gets beyond the time of its shutdown."""


class LoopPlace:
    """Run requests on one loop, `limit` of them at once at most.

    Args:
        make_loop: makes a loop of what it is booted with; once for each start.
        listener: who is told of the ends.
        clock: gives the time in seconds.
        limit: requests in hand at most.
        is_ordered: whether their ends are told in the order in which they were submitted.
        timeout: seconds a request may take, waits for grants left out; None for no limit.
        warn: called with (seq, seconds, stack) when half of a request's time is over; for the longest of several.
        note_abandoned: called with the stacks of what was given up and still runs, whenever these are others than
            before; each as it was when it was given up.
    """

    def __init__(
        self,
        make_loop: Callable[[Any], Loop],
        listener: LoopListener,
        clock: Callable[[], float],
        *,
        limit: int,
        is_ordered: bool,
        timeout: float | None,
        warn: Callable[[int, float, str], None],
        note_abandoned: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._make_loop = make_loop
        self._listener = listener
        self._clock = clock
        self._limit = limit
        self._timeout = math.inf if timeout is None else timeout
        self._warn = warn
        self._loop: Loop | None = None
        self._unborn: Reason | None = None
        self._incarnation = 0
        self._is_ready = False
        self._requests: dict[int, Request] = {}
        """All in hand, by number, in the order of their submission."""
        self._line = Line(is_ordered=is_ordered)
        self._dropped: dict[int, Request] = {}
        """Those that nobody wants any more, whose end was not reported."""
        self._left = LeftBehind(clock, note_abandoned)
        self._hold = 0
        self._is_held = False
        self._look_at = math.inf
        """Clock reading before which no request can have run out of its time."""
        self._end_at = math.inf
        self._is_closing = False
        self._is_closed = False
        self._is_cancelling = False
        """Whether what is in hand was cancelled as the place closes."""
        self._closing_reason: Reason | None = None

    # -- Place

    def start(self, number: int, boot: Any) -> None:
        """Start a loop, which boots a service of its own."""
        if number != 0 or self._loop is not None:
            message = f"worker {number} cannot be started on a loop: there is one, and it runs"
            raise InternalError(message)
        self._incarnation += 1
        loop = self._make_loop(boot)
        try:
            loop.start()
        except (RuntimeError, OSError) as error:
            self._unborn = StartFailed(record_error(error))
            return
        if self._is_held:
            loop.hold(self._hold)
        self._loop = loop

    def room(self, number: int) -> int:
        """How many more requests it takes, up to its limit."""
        if not self._is_ready or self._is_closing or self._is_held:
            return 0
        return self._limit - len(self._requests)

    def submit(self, number: int, requests: Iterable[tuple[int, Any]]) -> None:
        """Let the loop begin the requests; the line decides when they are told of."""
        loop = self._loop
        if loop is None:
            message = f"worker {number} is given a request and does not run"
            raise InternalError(message)
        begun = [loop.make_request(seq, body) for seq, body in requests]
        self._line.enter([request.seq for request in begun])
        self._requests.update((request.seq, request) for request in begun)
        if self._timeout < math.inf:
            self._look_at = min(self._look_at, self._clock() + self._timeout / 2)
        loop.submit(begun)

    def flush(self) -> None:
        """Do nothing: what was submitted has been begun."""

    def advance(self) -> bool:
        """Tell one thing that has happened."""
        has_sorted = self._sort_reports()
        if self._loop is not None:
            report = self._line.take()
            if report is not None:
                self._tell(self._loop, self._requests[report.seq], report)
                return True
        if self._unborn is not None:
            reason, self._unborn = self._unborn, None
            self._listener.on_lost(0, reason, Lost(None, (), ()))
            return True
        self._left.look()
        return (self._is_closing and self._go_on_closing()) or has_sorted

    def grant(self, number: int, seq: int) -> None:
        """Let the request go on past its oldest part; nothing if it is not in hand, or has none."""
        request = self._requests.get(seq)
        if request is not None and self._loop is not None and request.granted and request.granted.popleft():
            self._loop.grant(request)

    def pass_by(self, number: int) -> None:
        """Tell of those behind the request that failed."""
        self._line.pass_by()

    def hold(self) -> None:
        """Let no request go on past its next part or stop."""
        if not self._is_held:
            self._is_held = True
            self._hold += 1
            if self._loop is not None:
                self._loop.hold(self._hold)

    def release(self) -> None:
        """Let them go on past parts that are granted."""
        if self._is_held:
            self._is_held = False
            if self._loop is not None:
                self._loop.release()

    @property
    def is_still(self) -> bool:
        """Whether each request in hand has ended or is parked, and nothing is left to tell of that.

        The actor is woken when one is parked.
        """
        if not self._requests or self._loop is None:
            return True
        if not self._is_held or not all(request.is_still(self._hold) for request in self._requests.values()):
            return False
        # In this order: what it has handed over was reported before it was parked.
        return not self._loop.has_reports() and not self._line.has_next()

    def kill(self, number: int, reason: Reason) -> None:
        """Give the loop up, and what it runs with it."""
        if number == 0 and self._loop is not None:
            suspect = next(iter(self._requests)) if len(self._requests) == 1 else None
            self._lose(self._loop, reason, suspect, moment=GOODBYE_SECONDS)

    def close(self, timeout: float, reason: Reason = CLOSED) -> None:
        """Ask the loop to end because of `reason`; what is in hand is cancelled when `timeout` seconds are over.

        At once, where it waits for a grant or for what becomes of a request before it. Called again, it cuts the time
        that is left to `timeout`.
        """
        if not self._is_closing:
            self._is_closing = True
            self._closing_reason = reason
            if self._loop is not None:
                self._cancel_vain(self._loop)
        if not self._is_cancelling and self._closing_reason is not None:
            self._end_at = min(self._end_at, self._clock() + timeout)

    def abort(self) -> None:
        """Give the loop up, telling nobody; it ends when all it runs has."""
        self._is_closing = self._is_closed = True
        loop, self._loop = self._loop, None
        self._is_ready = False
        if loop is not None:
            self._abandon(loop)

    def next_deadline(self) -> float | None:
        """Clock reading at which a request, or the loop that ends, may have run out of its time."""
        at = min(self._look_at, self._end_at, self._left.next_at())
        return None if at == math.inf else at

    def on_tick(self, now: float) -> None:
        """Cancel what has run out of its time, and give up what was cancelled in vain."""
        self._sort_reports()  # what has ended is not late
        loop = self._loop
        self._left.tell()
        if loop is None:
            return
        if self._look_at <= now:
            self._look_at_requests(loop, now)
        if self._end_at <= now and self._loop is loop:
            if self._is_cancelling or not self._requests:
                stack = loop.find_stack(None)
                self._lose(loop, Abandoned(stack), None, stack)
            else:
                self._cancel_all(loop, now)

    def workers(self) -> tuple[Worker, ...]:
        """The one worker, while its loop was not given up."""
        if self._loop is None:
            return ()
        first = next(iter(tuple(self._requests.values())), None)  # copied at once: other threads may ask
        since = None if first is None else first.clock.begun_at
        current = None if first is None else first.seq
        return (Worker(0, self._incarnation, None, self._is_ready, len(self._requests), current, since),)

    def ask_stacks(self) -> None:
        """Do nothing: where a coroutine is can be seen from here."""

    def read_stacks(self) -> list[WorkerAt]:
        """Give where each request is, oldest first."""
        loop = self._loop
        if loop is None:
            return []
        return [
            WorkerAt(0, None, request.seq, request.clock.begun_at, loop.find_stack(request))
            for request in self._requests.values()
        ]

    # -- What is reported

    def _sort_reports(self) -> bool:
        """Take what has come from the loop; tells whether there was something."""
        loop, has_sorted = self._loop, False
        while loop is not None and loop is self._loop and (report := loop.next_report()) is not None:
            has_sorted = True
            self._sort(loop, report)
        return has_sorted

    def _sort(self, loop: Loop, report: Any) -> None:
        match report:
            case Ready():
                self._is_ready = True
                self._listener.on_ready(0)
            case Closed(reason):
                self._forget(loop, reason)
            case Broken(reason):
                self._lose(loop, reason, None, moment=GOODBYE_SECONDS)
            case Confirm(seq, body):
                self._take_confirmed(loop, seq, report, body)
            case Late(seq):
                self._give_up_late(loop, seq)
            case Part(seq) | Stop(seq):
                if seq in self._requests:
                    self._line.keep(report)
            case _:
                self._note_end(report)

    def _take_confirmed(self, loop: Loop, seq: int, confirm: Confirm, body: Any) -> None:
        request, is_taken = self._requests.get(seq), False
        if request is not None:
            request.granted.append(False)
            is_taken = self._listener.on_part(0, seq, body)
        loop.answer(confirm, is_taken=is_taken)

    def _note_end(self, report: Done | Failed | Cancelled) -> None:
        request = self._requests.get(report.seq)
        if request is None:
            request = self._dropped.pop(report.seq, None)
            if request is not None:
                request.has_ended = True
            return
        request.has_ended = True
        if self._is_cancelling:
            self._end_at = self._clock() + GOODBYE_SECONDS
        if request.is_expired:
            # However it has ended: its time was over, and it was cancelled.
            reason = DeadlineExceeded(self._timeout, stack=request.stack, is_cancelled=True)
            self._line.keep(Overdue(report.seq, reason))
        elif not isinstance(report, Cancelled):
            self._line.keep(report)

    def _tell(self, loop: Loop, request: Request, report: Reported) -> None:
        seq, listener = request.seq, self._listener
        match report:
            case Part(_, body) | Stop(_, body):
                request.granted.append(True)
                if not listener.on_part(0, seq, body):
                    self._drop(loop, request)
                    return
                if isinstance(report, Stop):
                    loop.take(request)
                if self._is_closing:
                    self._cancel(loop, request)  # nobody will grant it
            case Done(_, body, seconds):
                self._requests.pop(seq)
                self._line.leave(seq)
                accepted = listener.on_done(0, ((seq, body, seconds, self._clock()),))
                loop.settle(request, accepted=accepted)
            case Failed(_, body):
                self._requests.pop(seq)
                self._line.fail(seq)
                listener.on_failed(0, seq, body, ())
            case Overdue(_, reason):
                self._requests.pop(seq)
                self._line.fail(seq)
                loop.settle(request, accepted=False)
                listener.on_overdue(0, seq, reason)
            case _:
                message = f"{report!r} was kept of a request"
                raise InternalError(message)

    def _drop(self, loop: Loop, request: Request) -> None:
        """Be done with a request that its listener does not want."""
        self._requests.pop(request.seq)
        self._line.leave(request.seq)
        request.is_given_up = True
        if not request.has_ended:
            self._dropped[request.seq] = request
            self._cancel(loop, request)

    def _cancel(self, loop: Loop, request: Request) -> None:
        if not request.is_cancelled and not request.has_ended:
            request.is_cancelled = True
            loop.cancel(request)

    # -- Time

    def _look_at_requests(self, loop: Loop, now: float) -> None:
        self._look_at = math.inf
        slow: list[tuple[float, Request]] = []
        for request in list(self._requests.values()):
            if request.has_ended:
                continue
            if request.is_expired:
                if self._give_up_blocked(loop, request, now):
                    return
                continue
            due_at, is_running = request.due_at(self._timeout, now), request.is_running
            if is_running and due_at <= now:
                self._expire(loop, request, now)
                continue
            half_at = request.due_at(self._timeout / 2, now)
            if is_running and half_at <= now and not request.is_warned:
                request.is_warned = True
                slow.append((now - half_at, request))
            # One that waits may go on at any time, and may then have little left.
            self._look_by(max(due_at if request.is_warned else half_at, now if is_running else now + CANCEL_SECONDS))
        if slow:
            over, request = max(slow, key=lambda found: found[0])
            self._warn(request.seq, self._timeout / 2 + over, loop.find_stack(request))

    def _expire(self, loop: Loop, request: Request, now: float) -> None:
        request.is_expired = True
        # Before it is cancelled, and is there no more.
        request.stack = loop.find_stack(request)
        request.steps, request.judged_at = loop.count_steps(), now + BLOCKED_SECONDS
        self._look_by(request.judged_at)
        self._cancel(loop, request)

    def _give_up_blocked(self, loop: Loop, request: Request, now: float) -> bool:
        """Give the loop up if it has come to nothing since a request was to be cancelled; tells whether."""
        if request.judged_at <= now:
            if loop.count_steps() == request.steps:
                current = loop.find_current()
                stack = loop.find_stack(None)
                suspect = request if current is None else self._requests.get(current, request)
                # One that has time left is not given up for that, but for what it has kept others from.
                seconds = self._timeout if suspect.due_at(self._timeout, now) <= now else BLOCKED_SECONDS
                self._lose(loop, DeadlineExceeded(seconds, stack=stack), suspect.seq, stack)
                return True
            request.steps, request.judged_at = loop.count_steps(), now + BLOCKED_SECONDS
        self._look_by(request.judged_at)
        return False

    def _give_up_late(self, loop: Loop, seq: int) -> None:
        """Give up a request that went on though it was cancelled for its time."""
        request = self._requests.get(seq)
        if request is None or not request.is_expired or request.has_ended:
            return
        stack = loop.find_stack(request)
        if self._limit == 1:
            self._lose(loop, DeadlineExceeded(self._timeout, stack=stack), seq, stack)
            return
        request.has_ended = request.is_given_up = True
        self._line.keep(Overdue(seq, DeadlineExceeded(self._timeout, stack=stack, is_cancelled=True)))
        self._left.add(loop, request.is_over, stack)

    def _look_by(self, at: float) -> None:
        self._look_at = min(self._look_at, at)

    # -- The end

    def _lose(
        self, loop: Loop, reason: Reason, suspect: int | None, stack: str | None = None, *, moment: float = 0.0
    ) -> None:
        """Be done with a loop that is given up."""
        stack = loop.find_stack(None) if stack is None else stack
        self._abandon(loop)
        # One that does not end for the sake of requests that were given up before is told of by these.
        if not isinstance(reason, Abandoned) or not self._left.holds(loop):
            self._left.add(loop, loop.is_over, stack, moment)
        self._tell_lost(reason, suspect)

    def _abandon(self, loop: Loop) -> None:
        for request in (*self._requests.values(), *self._dropped.values()):
            request.is_given_up = True
        loop.abandon()

    def _forget(self, loop: Loop, reason: Reason | None) -> None:
        """Be done with a loop that has ended."""
        loop.join()
        if reason is None:
            self._loop, self._is_ready = None, False
        else:
            self._tell_lost(reason, loop.find_current())

    def _tell_lost(self, reason: Reason, suspect: int | None) -> None:
        self._loop, self._is_ready = None, False
        before, behind = self._line.split(suspect)
        lost = Lost(suspect if suspect in self._line else None, before, behind)
        self._line.clear()
        self._requests.clear()
        self._dropped.clear()
        self._look_at = math.inf
        self._listener.on_lost(0, reason, lost)

    def _cancel_vain(self, loop: Loop) -> None:
        """Cancel what can come to no end before the place has closed."""
        for request in self._requests.values():
            if self._line.is_blocked or request.clock.waiting_since is not None:
                self._cancel(loop, request)

    def _cancel_all(self, loop: Loop, now: float) -> None:
        self._is_cancelling = True
        self._end_at = now + GOODBYE_SECONDS
        for request in self._requests.values():
            self._cancel(loop, request)

    def _go_on_closing(self) -> bool:
        loop = self._loop
        if loop is None:
            return self._finish_closing()
        if self._closing_reason is None:
            return False  # it has been asked to end
        self._cancel_vain(loop)
        if any(not request.has_ended for request in self._requests.values()):
            return False
        # What is left has ended for nothing, or stands behind such a one.
        reason, self._closing_reason = self._closing_reason, None
        given_back, _ = self._line.split(None)
        for seq in given_back:
            loop.settle(self._requests[seq], accepted=False)
        self._line.clear()
        self._requests.clear()
        self._end_at = self._clock() + GOODBYE_SECONDS
        loop.close(reason)
        if given_back:
            self._listener.on_lost(0, CLOSED, Lost(None, given_back, ()))
        return True

    def _finish_closing(self) -> bool:
        if self._is_closed or self._left.is_any_ending():
            return False
        self._is_closed = True
        self._left.tell()
        self._listener.on_closed()
        return True
