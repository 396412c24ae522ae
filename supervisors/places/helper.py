"""The thread that runs the requests of a `timed` place, and how it and the place's actor meet.

Owns the one cell by which the two exchange what happened, the time a request has taken, and the one
moment in which the thread is given up. Never decides how long a request may take.

Theory of operation. Everything shared is guarded by one lock. The helper puts a report into the cell, wakes
the actor and waits for its answer; the actor handles what it finds there, and answers by clearing the
cell. So a result is committed before the helper settles it, one report waits at most, and the actor never
waits. The clock of a request runs from its submission, and stands while a report, a grant or the end of a hold is
waited for: a
request that has told its end can no longer be late, and one that was given up can no longer tell anything.
That is how each of them ends as a commit or as a loss, and never as both.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from supervisors.errors import InternalError
from supervisors.places.base import Execution, RequestAbandoned, Service, tell_failure
from supervisors.places.copies import generation, leave_copy
from supervisors.places.reports import Done, Failed, Part, Ready
from supervisors.reasons import Raised, Reason, StartFailed, record_error
from supervisors.stacks import stack_of


class GivenBack(NamedTuple):
    """A request was left between two of its steps, since the place closes."""

    seq: int


class Ended(NamedTuple):
    """The thread has nothing more to do.

    Args:
        reason: what went wrong; None where it ended as asked.
    """

    reason: Reason | None


Report: TypeAlias = Ready | Part | Done | Failed | GivenBack | Ended
"""What a helper tells its actor."""


class Helper:
    """One incarnation of a service on a thread of its own (the `Port` of its requests).

    Args:
        name: the thread's name.
        make_service: makes the service, on the thread.
        boot: what it is booted with.
        clock: gives the time in seconds; called by both threads.
        wake: makes the actor look for a report; called by the thread.
    """

    def __init__(
        self,
        name: str,
        make_service: Callable[[], Service],
        boot: Any,
        clock: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self._make_service = make_service
        self._boot = boot
        self._clock = clock
        self._wake = wake
        # A daemon: one that never comes back does not keep the program from exiting.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._lock = threading.Lock()
        # Guarded by the lock, as all that follows; told of what the actor does. The thread alone waits.
        self._changed = threading.Condition(self._lock)
        self.report: Report | None = None
        """What waits for the actor's answer; the actor may look without the lock."""
        self._request: tuple[int, Any] | None = None
        self._is_granted = True
        self._is_accepted = True
        """Whether what was reported last was taken."""
        self._is_held = False
        self._is_stopped = False
        """Whether the request waits where a hold keeps it."""
        self._kept_at = 0.0
        """When the present hold, or the present stop, began: the later of both."""
        self._parked = 0.0
        """Seconds that the request was kept by holds."""
        self._closing: Reason | None = None
        self._is_abandoned = False
        self._spent = 0.0
        self._running_since: float | None = None
        self._generation = generation.number
        # The thread's own.
        self._seq: int | None = None
        self.is_over = False
        """Whether the thread has come back from everything it ran; set once."""

    # -- For the actor

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: the system gave none.
        """
        self._thread.start()

    def submit(self, seq: int, request: Any) -> None:
        """Let it run a request; the one before was answered."""
        now = self._clock()
        with self._changed:
            self._request = (seq, request)
            self._spent = self._parked = 0.0
            self._running_since = now
            self._changed.notify()

    def answer(self, *, accepted: bool = True) -> None:
        """Let it go on: its report was handled, and taken or refused."""
        with self._changed:
            self.report = None
            self._is_accepted = accepted
            self._changed.notify()

    def grant(self) -> None:
        """Let the request go on past its part."""
        with self._changed:
            self._is_granted = True
            self._changed.notify()

    def hold(self) -> bool:
        """Let its request not go on past its next part or stop; tells whether it takes back what was not begun."""
        now = self._clock()
        with self._changed:
            self._is_held = True
            self._kept_at = now
            is_unbegun = self._request is not None
            self._request = None
            if is_unbegun:
                self._running_since = None
            return is_unbegun

    def release(self) -> None:
        """Let it go on past parts that are granted."""
        now = self._clock()
        with self._changed:
            self._is_held = False
            if self._is_stopped:
                self._parked += now - self._kept_at
            self._changed.notify()

    @property
    def is_parked(self) -> bool:
        """Whether its request is held at a part or stop; it stays there until it is released, closed or abandoned."""
        with self._lock:
            return self._is_held and self._is_stopped and self._closing is None and not self._is_abandoned

    def close(self, reason: Reason) -> None:
        """Let it end after the request it is on, or at that one's next stop or wait for a grant."""
        with self._changed:
            self._closing = reason
            self._changed.notify()

    def abandon(self) -> None:
        """Take nothing from it any more: its thread ends as soon as it comes back from what it runs."""
        with self._changed:
            self._is_abandoned = True
            self._changed.notify()

    def abandon_late(self, limit: float, now: float) -> bool:
        """Abandon it if its request has run for `limit` seconds at clock reading `now`; tells whether."""
        with self._changed:
            if self._running_since is None or self._spent + now - self._running_since < limit:
                return False
            self._is_abandoned = True
            self._changed.notify()
        return True

    def time_of(self, seconds: float) -> float:
        """Clock reading at which its request will have run for `seconds`, unless its clock stands meanwhile."""
        now = self._clock()
        with self._lock:
            return (now if self._running_since is None else self._running_since) + seconds - self._spent

    def seconds_run(self, now: float) -> float:
        """Seconds that its request has run, waits left out; 0.0 while its clock stands."""
        with self._lock:
            return 0.0 if self._running_since is None else self._spent + now - self._running_since

    @property
    def since(self) -> float:
        """Clock reading when its request began, waits left out; infinite while its clock stands. Any thread may ask."""
        with self._lock:
            return math.inf if self._running_since is None else self._running_since - self._spent

    @property
    def has_begun(self) -> bool:
        """Whether it has taken up what was submitted; does not change once it was abandoned or has ended."""
        with self._lock:
            return self._request is None

    def stack(self) -> str:
        """Where the thread is at this moment; "" when it has ended."""
        return stack_of(self._thread)

    def join(self) -> None:
        """Wait for the thread, which has told that it ended."""
        self._thread.join()

    # -- Port, for the request

    def part(self, body: Any, weight: int) -> None:
        """Hand over a part of the request in progress, and wait for its grant.

        Raises:
            RequestAbandoned: the place closes, or has given this request up, or nobody wants it.
        """
        self.stop_with(body, weight)
        if self._is_copy:
            return
        if not self._wait_for_grant():
            raise RequestAbandoned
        self._run_clock()

    def confirm(self, body: Any) -> None:
        """Hand over a part, and wait for its grant (`Port`); raises as `part`."""
        self.part(body, 1)

    def check(self) -> None:
        """End a request that was given up (`Port`)."""
        if self._is_abandoned:
            raise RequestAbandoned

    def stop_with(self, body: Any, weight: int) -> None:
        """Hand over a part at a stop, and wait until it is committed.

        Raises:
            RequestAbandoned: the place has given this request up, or nobody wants it.
        """
        if self._seq is None:
            message = "a part without a request"
            raise InternalError(message)
        if self._is_copy:
            return  # nobody takes what a copy hands over
        self._is_granted = False  # nobody grants what was not reported yet
        if not self._tell(Part(self._seq, body)):
            self._is_granted = True
            self._run_clock()
            raise RequestAbandoned

    # -- The thread

    def _run(self) -> None:
        reason: Reason | None = None
        is_booted = False
        try:
            service = self._make_service()
            service.boot(0, self._boot)
            is_booted = True
            self._serve(service)
        except RequestAbandoned:
            reason = None  # nobody reads it
        except BaseException as error:  # noqa: BLE001  it becomes the reason of the loss
            record = record_error(error)
            reason = Raised(record) if is_booted else StartFailed(record)
        self.is_over = True
        self._put(Ended(reason))

    def _serve(self, service: Service) -> None:
        self._tell(Ready())
        while (taken := self._take()) is not None:
            self._run_request(service, *taken)
        if self._closing is not None:
            service.close(self._closing)

    def _take(self) -> tuple[int, Any] | None:
        """Wait for a request; None when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._request or self._closing is not None or self._is_abandoned)
            if self._is_abandoned:
                raise RequestAbandoned
            taken, self._request = self._request, None
            return taken

    def _run_request(self, service: Service, seq: int, request: Any) -> None:
        self._seq = seq
        is_committed = False
        try:
            report = self._handle(service, seq, request)
            is_committed = self._tell(report) and isinstance(report, Done)
        finally:
            self._seq = None
            service.settle(accepted=is_committed)

    def _handle(self, service: Service, seq: int, request: Any) -> Report:
        started = self._clock()
        try:
            execution = service.begin(request, self)
            while not self._advance(execution):
                if self._closing is not None or not self._wait_for_grant():
                    return GivenBack(seq)
                self._run_clock()
            return Done(seq, execution.result, self._clock() - started - self._parked)
        except BaseException as error:  # noqa: BLE001  whatever a request raises is its failure
            if self._is_copy:
                leave_copy(error)
            return Failed(seq, tell_failure(service.describe_failure, error))

    def _advance(self, execution: Execution) -> bool:
        is_done = execution.advance()
        if self._is_copy:
            leave_copy(None)
        return is_done

    @property
    def _is_copy(self) -> bool:
        """Whether this is a copy of the program that the request made by fork: none of its locks can be trusted."""
        return generation.number != self._generation

    def _tell(self, report: Report) -> bool:
        """Put a report and wait for the answer: whether it was taken.

        Raises:
            RequestAbandoned: nobody wants it any more.
        """
        self._put(report)
        with self._changed:
            self._changed.wait_for(lambda: self.report is None or self._is_abandoned)
            if self.report is not None:
                raise RequestAbandoned  # else it was answered before, and that counts
            return self._is_accepted

    def _put(self, report: Report) -> None:
        now = self._clock()
        with self._lock:
            self._stop_clock(now)
            self.report = report
        self._wake()

    def _wait_for_grant(self) -> bool:
        """Wait for the grant of the part that was reported, and while it is held; False when the place closes first.

        Raises:
            RequestAbandoned: nobody waits for this request any more.
        """
        now = self._clock()
        with self._changed:
            self._stop_clock(now)
            self._is_stopped, is_held = True, self._is_held
            self._kept_at = now
        if is_held:
            self._wake()  # it is parked from here on
        with self._changed:
            self._changed.wait_for(lambda: self._may_go_on or self._closing is not None or self._is_abandoned)
            self._is_stopped = False
            if self._is_abandoned:
                raise RequestAbandoned
            return self._may_go_on

    @property
    def _may_go_on(self) -> bool:
        return self._is_granted and not self._is_held

    def _stop_clock(self, now: float) -> None:
        if self._running_since is not None:
            self._spent += now - self._running_since
            self._running_since = None

    def _run_clock(self) -> None:
        now = self._clock()
        with self._lock:
            self._running_since = now
