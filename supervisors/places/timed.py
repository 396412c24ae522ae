"""The place that runs requests on a thread beside the actor's, and gives one up that takes too long.

Owns the deadlines, and the threads that were given up. A thread cannot be ended: one whose request takes
longer than it may is abandoned. Its request is lost as with a process that died, and whatever comes of
it later is dropped; a new start makes a new service on a new thread. The actor's own thread runs no
request here, so it answers at any time. Never decides whether a lost worker is replaced.

What one turn of a request costs more than at `thread.ThreadPlace` are two wake-ups, so this place is for
requests that have a deadline.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from supervisors.errors import InternalError
from supervisors.places.base import CLOSED, Listener, Lost, Service, Worker
from supervisors.places.helper import Ended, GivenBack, Helper, Report
from supervisors.places.reports import Done, Failed, Part, Ready
from supervisors.reasons import Abandoned, DeadlineExceeded, Reason, StartFailed, record_error

GOODBYE_SECONDS = 0.5
"""What an idle thread gets to end by itself (arbitrary); less than an actor gets beyond the time of its shutdown."""


class TimedThreadPlace:
    """Run requests on one thread of the place's own, each for `timeout` seconds at most.

    Args:
        name: what the threads are called; the number of the incarnation is added.
        make_service: makes the service, once for each start, on its thread.
        listener: who is told of the ends.
        clock: gives the time in seconds; called by several threads.
        wake: makes the actor call `advance`; called by several threads.
        timeout: seconds a request may take, waits for commits and grants left out.
        warn: called once a request with (seq, seconds, stack) when half of its time is over.
        note_abandoned: called with the stacks of the threads that were given up and still run, whenever
            these are others than before; each as it was when the thread was given up.
    """

    def __init__(
        self,
        name: str,
        make_service: Callable[[], Service],
        listener: Listener,
        clock: Callable[[], float],
        wake: Callable[[], None],
        *,
        timeout: float,
        warn: Callable[[int, float, str], None],
        note_abandoned: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._name = name
        self._make_service = make_service
        self._listener = listener
        self._clock = clock
        self._wake = wake
        self._timeout = timeout
        self._warn = warn
        self._note_abandoned = note_abandoned
        self._helper: Helper | None = None
        self._unborn: Reason | None = None
        self._incarnation = 0
        self._is_ready = False
        self._is_held = False
        self._seq: int | None = None
        self._is_refused = False
        """Whether the listener does not want the present request any more."""
        self._is_warned = False
        self._left: list[tuple[Helper, str]] = []
        """Those that were given up and had not come back at the last look, each with its stack of then."""
        self._end_at: float | None = None
        self._is_closing = False
        self._is_closed = False

    # -- Place

    def start(self, number: int, boot: Any) -> None:
        """Start a thread, which boots a service of its own."""
        if number != 0 or self._helper is not None:
            message = f"worker {number} of {self._name!r} cannot be started: there is one, and it runs"
            raise InternalError(message)
        self._incarnation += 1
        helper = Helper(f"{self._name}/handler {self._incarnation}", self._make_service, boot, self._clock, self._wake)
        try:
            helper.start()
        except RuntimeError as error:
            self._unborn = StartFailed(record_error(error))
            return
        if self._is_held:
            helper.hold()
        self._helper = helper

    def room(self, number: int) -> int:
        """One request when it has none."""
        return int(self._is_ready and self._seq is None and not self._is_closing and not self._is_held)

    def submit(self, number: int, requests: Iterable[tuple[int, Any]]) -> None:
        """Let the thread begin the request: one, as there is no room for more."""
        [(seq, request)] = requests
        if self._helper is None:
            message = f"worker {number} of {self._name!r} is not running"
            raise InternalError(message)
        self._seq = seq
        self._is_warned = self._is_refused = False
        self._helper.submit(seq, request)

    def flush(self) -> None:
        """Do nothing: what was submitted has been begun."""

    def advance(self) -> bool:
        """Tell one thing that has happened."""
        helper = self._helper
        report = helper.report if helper is not None else None
        if helper is not None and report is not None:
            self._take(helper, report)
            return True
        if self._unborn is not None:
            reason, self._unborn = self._unborn, None
            self._listener.on_lost(0, reason, Lost(None, (), ()))
            return True
        if any(left.is_over for left, _ in self._left):
            self._note_left()
        return self._is_closing and self._finish_closing()

    def grant(self, number: int, seq: int) -> None:
        """Let the request go on past its part; one that was given up meanwhile never does."""
        if self._helper is not None and seq == self._seq:
            self._helper.grant()

    def pass_by(self, number: int) -> None:
        """Do nothing: nothing stood behind it."""

    def hold(self) -> None:
        """Let the request not go on past its next part or stop; one that was not begun comes back inside this call."""
        if self._is_held:
            return
        self._is_held = True
        seq = self._seq
        if self._helper is not None and self._helper.hold() and seq is not None:
            self._end_request()
            self._listener.on_returned(0, (seq,))

    def release(self) -> None:
        """Let it go on past a part that is granted."""
        if self._is_held:
            self._is_held = False
            if self._helper is not None:
                self._helper.release()

    @property
    def is_still(self) -> bool:
        """Whether nothing is in hand, or the thread is parked; the actor is woken when it parks."""
        return self._helper is None or self._seq is None or self._helper.is_parked

    def kill(self, number: int, reason: Reason) -> None:
        """Give the thread up, and the request it is on with it."""
        helper = self._helper
        if number == 0 and helper is not None:
            stack = helper.stack()
            helper.abandon()
            self._lose(helper, reason, stack)

    def close(self, timeout: float, reason: Reason = CLOSED) -> None:
        """Ask the thread to end because of `reason`; it is given up when `timeout` seconds are over.

        An idle one gets `GOODBYE_SECONDS` at least; called again, it cuts the time that is left to `timeout`.
        """
        is_first, self._is_closing = not self._is_closing, True
        helper = self._helper
        if helper is None:
            return
        seconds = max(timeout, GOODBYE_SECONDS if is_first and self._seq is None else 0.0)
        if not math.isinf(seconds):
            end_at = self._clock() + seconds
            self._end_at = end_at if self._end_at is None else min(self._end_at, end_at)
        if is_first:
            helper.close(reason)

    def abort(self) -> None:
        """Give the thread up, telling nobody; it ends when it comes back from what it runs."""
        self._is_closing = self._is_closed = True
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.abandon()

    def next_deadline(self) -> float | None:
        """Clock reading at which a warning is due, or the request or the thread may have run out of time.

        For a request that waits, it is what that would be if it went on now.
        """
        deadlines = [] if self._end_at is None else [self._end_at]
        if self._helper is not None and self._seq is not None:
            deadlines.append(self._helper.time_of(self._timeout if self._is_warned else self._timeout / 2))
        return min(deadlines, default=None)

    def on_tick(self, now: float) -> None:
        """Give up what has run out of its time; warn of what has used half of it."""
        helper = self._helper
        if helper is None:
            return
        if self._seq is not None:
            self._look_at_request(helper, self._seq, now)
        # With a report in its cell it has come to a stop or an end, which is told first.
        if self._end_at is not None and self._end_at <= now and self._helper is helper and helper.report is None:
            stack = helper.stack()
            helper.abandon()
            self._lose(helper, Abandoned(stack), stack)

    def workers(self) -> tuple[Worker, ...]:
        """The one worker, while its thread was not given up."""
        helper, seq = self._helper, self._seq  # once: other threads may ask
        if helper is None:
            return ()
        since = None if seq is None else helper.since
        return (Worker(0, self._incarnation, None, self._is_ready, int(seq is not None), seq, since),)

    # -- Private

    def _look_at_request(self, helper: Helper, seq: int, now: float) -> None:
        seconds = helper.seconds_run(now)
        if seconds >= self._timeout:
            # Before it is given up, since it may be gone a moment after; in vain if it ends in this very moment.
            stack = helper.stack()
            if helper.abandon_late(self._timeout, now):
                self._lose(helper, DeadlineExceeded(self._timeout, stack=stack), stack)
        elif seconds >= self._timeout / 2 and not self._is_warned:
            self._is_warned = True
            self._warn(seq, seconds, helper.stack())

    def _take(self, helper: Helper, report: Report) -> None:
        accepted = True
        match report:
            case Ready():
                self._is_ready = True
                self._listener.on_ready(0)
            case Ended(reason):
                helper.join()
                self._forget(helper, reason)
            case _ if self._is_refused:
                accepted = False
                if not isinstance(report, Part):
                    self._end_request()
            case Part(seq, body):
                accepted = self._listener.on_part(0, seq, body)
                self._is_refused = not accepted
            case Done(seq, body, seconds):
                self._end_request()
                accepted = self._listener.on_done(0, ((seq, body, seconds, self._clock()),))
            case Failed(seq, body):
                self._end_request()
                self._listener.on_failed(0, seq, body, ())
            case GivenBack(seq):
                self._end_request()
                self._listener.on_lost(0, CLOSED, Lost(seq, (), ()))
        helper.answer(accepted=accepted)

    def _end_request(self) -> None:
        self._seq, self._is_refused = None, False
        if self._end_at is not None:
            self._end_at = self._clock() + GOODBYE_SECONDS

    def _forget(self, helper: Helper, reason: Reason | None) -> None:
        """Be done with a thread, which has ended or was given up."""
        seq, self._seq = None if self._is_refused else self._seq, None
        self._is_refused = False
        self._helper, self._is_ready = None, False
        if reason is not None:
            # What it had not begun, as it was still busy with the request before, is not what it hung on.
            lost = Lost(seq, (), ()) if seq is None or helper.has_begun else Lost(None, (), (seq,))
            self._listener.on_lost(0, reason, lost)

    def _lose(self, helper: Helper, reason: Reason, stack: str) -> None:
        """Be done with a thread that was given up."""
        self._left.append((helper, stack))
        self._note_left()
        self._forget(helper, reason)

    def _note_left(self) -> None:
        self._left = [(helper, stack) for helper, stack in self._left if not helper.is_over]
        self._note_abandoned(tuple(stack for _, stack in self._left))

    def _finish_closing(self) -> bool:
        if self._is_closed or self._helper is not None:
            return False
        self._is_closed = True
        if self._left:
            self._note_left()
        self._listener.on_closed()
        return True
