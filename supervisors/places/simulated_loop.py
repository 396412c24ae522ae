"""A simulated loop for tests: coroutines run one step at a time, in an order drawn from a seed.

Owns the fiction of an event loop on a thread of its own: what the actor has asked for and the loop has not heard, which
coroutine goes next, and what it waits for. Never starts a thread or a timer: `tick` makes one move. A coroutine that
yields None goes on at any time; one that yields a function, once that gives True.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from typing import Any

from supervisors.errors import InternalError
from supervisors.places.base import LoopService, tell_failure
from supervisors.places.copies import generation
from supervisors.places.drive import Drive
from supervisors.places.reports import Done, Failed, Ready
from supervisors.places.request import Cancelled, Clock, Closed, Confirm, Late, Request
from supervisors.reasons import Raised, Reason, StartFailed, record_error


class SimulatedCancel(BaseException):
    """Raised inside a request that is cancelled."""


class SimulatedLoop:
    """One incarnation of a service on a loop whose every move is drawn (a `Loop`, and the `Gate` of its requests).

    Args:
        make_service: makes the service.
        boot: what it is booted with.
        rng: what every move is drawn from.
        clock: gives the time in seconds.
        start_failure: probability that it never becomes ready.
    """

    def __init__(
        self,
        make_service: Callable[[], LoopService],
        boot: Any,
        rng: random.Random,
        clock: Callable[[], float] = lambda: 0.0,
        *,
        start_failure: float = 0.0,
    ) -> None:
        self._make_service = make_service
        self._boot = boot
        self._random = rng
        self.now = clock
        self._start_failure = start_failure
        self.generation = generation.number
        self.current: Request | None = None
        self.steps = 0
        self.held_by = 0
        self._service: LoopService | None = None
        self._orders: deque[Callable[[], None]] = deque()
        self._reports: deque[Any] = deque()
        self._waiting: dict[Request, None] = {}
        self._running: dict[Request, _Coroutine] = {}
        self._closing: Reason | None = None
        self._is_started = False
        self._is_ending = False
        self._has_ended = False

    # -- Loop

    def start(self) -> None:
        """Boot in one of the next moves."""
        self._is_started = True

    def make_request(self, seq: int, body: Any) -> Request:
        """Make a request for `submit`."""
        return Request(seq, body, self)

    def submit(self, requests: list[Request]) -> None:
        """Send the order."""
        for request in requests:
            self._orders.append(lambda request=request: self._begin(request))  # type: ignore[misc]

    def cancel(self, request: Request) -> None:
        """Send the order."""
        self._orders.append(lambda: self._cancel(request))

    def take(self, request: Request) -> None:
        """Send the word."""
        self._orders.append(request.take_stop)

    def answer(self, confirm: Confirm, *, is_taken: bool) -> None:
        """Do nothing: whoever confirmed did not wait."""

    def settle(self, request: Request, *, accepted: bool) -> None:
        """Send the word."""
        self._orders.append(lambda: self._settle(request, accepted=accepted))

    def grant(self, request: Request) -> None:
        """Send the word."""
        self._orders.append(lambda: self._grant(request))

    def hold(self, number: int) -> None:
        """Send the order."""
        self._orders.append(lambda: self._hold(number))

    def release(self) -> None:
        """Send the order."""
        self._orders.append(lambda: self._hold(0))

    def close(self, reason: Reason) -> None:
        """Send the order."""
        self._orders.append(lambda: self._end(reason))

    def abandon(self) -> None:
        """Send the order."""
        self._orders.append(lambda: self._end(None))

    def next_report(self) -> Any | None:
        """Take the oldest report; None where there is none."""
        return self._reports.popleft() if self._reports else None

    def has_reports(self) -> bool:
        """Whether a report waits."""
        return bool(self._reports)

    def is_over(self) -> bool:
        """Whether everything it ran has ended."""
        return self._has_ended

    def find_stack(self, request: Request | None) -> str:
        """Give "": all is on the one stack of the test."""
        return ""

    def find_current(self) -> int | None:
        """Give the number of the request whose own code runs."""
        return None if self.current is None else self.current.seq

    def count_steps(self) -> int:
        """Give how many steps its requests have made."""
        return self.steps

    def join(self) -> None:
        """Do nothing."""

    # -- Gate

    def tell(self, report: Any) -> None:
        """Hand a report to the actor."""
        self._reports.append(report)

    def tell_parked(self) -> None:
        """Do nothing: the actor looks after each move."""

    def wait_at_gate(self, request: Request, is_open: Callable[[], bool]) -> Generator[Any, Any, Any]:
        """Wait until the gate is open."""
        self._waiting[request] = None
        try:
            yield is_open
        finally:
            self._waiting.pop(request, None)

    def wait_answered(self, confirm: Confirm) -> bool:
        """Go on."""
        return True

    # -- The simulation

    def drop(self) -> None:
        """End where it is, as its program: what runs is closed where it waits, and nothing more is told.

        For whoever makes no move of it any more. A coroutine that is left to the garbage collector is closed whenever
        that comes by, in the middle of something else.
        """
        self._has_ended = True
        self._orders.clear()
        while self._running:
            _, work = self._running.popitem()
            work.close()
        self._reports.clear()

    def tick(self) -> bool:
        """Make one move, drawn from all that are possible; False when there is none."""
        moves: list[Callable[[], None]] = []
        if self._is_started:
            moves.append(self._start)
        elif self._orders:
            moves.append(self._hear)
        moves += [lambda work=work: self._step(work) for work in self._running.values() if work.can_run()]  # type: ignore[misc]
        moves += [lambda work=work: self._tell_late(work) for work in self._running.values() if work.is_late]  # type: ignore[misc]
        if self._is_ending and not self._running and not self._has_ended:
            moves.append(self._finish)
        if not moves:
            return False
        self._random.choice(moves)()
        return True

    def _hear(self) -> None:
        self._orders.popleft()()

    def _start(self) -> None:
        self._is_started = False
        try:
            if self._random.random() < self._start_failure:
                raise OSError("a simulated failure of the start")  # noqa: TRY301
            service = self._make_service()
            service.boot(0, self._boot)
        except BaseException as error:  # noqa: BLE001  it becomes the reason of the loss
            self._has_ended = True
            self.tell(Closed(StartFailed(record_error(error))))
            return
        self._service = service
        self.tell(Ready())

    def _begin(self, request: Request) -> None:
        if not self._is_ending:
            self._running[request] = _Coroutine(request, self._run_request)

    async def _run_request(self, request: Request) -> None:
        service = self._service
        if service is None:
            raise InternalError("a loop runs without a service")
        request.clock = Clock(self.now())
        try:
            execution = request.execution = service.begin(request.body, request)
            request.work = execution.run()
            await Drive(request, request.work, self)
            report: Any = Done(request.seq, execution.result, self._random.random())
        except BaseException as error:  # noqa: BLE001  whatever a request raises is its failure
            request.execution = None
            heard = request.is_cancel_heard
            report = Failed(request.seq, None if heard else tell_failure(service.describe_failure, error))
        request.end()
        if request.is_cancel_heard:
            self._settle(request, accepted=False)
            report = Cancelled(request.seq)
        self.tell(report)

    def _tell_late(self, work: _Coroutine) -> None:
        work.is_late = False
        self.tell(Late(work.request.seq))

    def _step(self, work: _Coroutine) -> None:
        if work.step():
            del self._running[work.request]
            if work.request.clock.begun_at is None:
                self.tell(Cancelled(work.request.seq))

    def _cancel(self, request: Request) -> None:
        request.is_cancel_heard = True
        if request in self._running:
            self._running[request].is_cancelled = True

    @staticmethod
    def _settle(request: Request, *, accepted: bool) -> None:
        execution, request.execution = request.execution, None
        if execution is not None:
            execution.conclude(accepted=accepted)

    @staticmethod
    def _grant(request: Request) -> None:
        request.take_grant()

    def _hold(self, number: int) -> None:
        self.held_by = number
        if number:
            for request in tuple(self._waiting):
                request.note_hold(number)

    def _end(self, reason: Reason | None) -> None:
        self._is_ending = True
        self._closing = self._closing or reason
        for request, work in self._running.items():
            request.is_cancel_heard = work.is_cancelled = True

    def _finish(self) -> None:
        self._has_ended = True
        failed: Reason | None = None
        try:
            if self._closing is not None and self._service is not None:
                self._service.close(self._closing)
        except BaseException as error:  # noqa: BLE001  it becomes the reason of the loss
            failed = Raised(record_error(error))
        self.tell(Closed(failed))


class _Coroutine:
    """A request's coroutine, which is made by its first step, and what it waits for."""

    def __init__(self, request: Request, run: Callable[[Request], Coroutine[Any, Any, None]]) -> None:
        self.request = request
        self.is_cancelled = False
        self.is_late = False
        """Whether it has gone on though it was cancelled, and that was not told."""
        self._run = run
        self._work: Coroutine[Any, Any, None] | None = None
        # As a task has it: what is kept by context does not mix.
        self._context = copy_context()
        self._is_ready: Callable[[], bool] | None = None

    def can_run(self) -> bool:
        """Tell whether it can make a step."""
        return self.is_cancelled or self._is_ready is None or self._is_ready()

    def step(self) -> bool:
        """Make a step; tells whether it has ended."""
        is_cancelled, self.is_cancelled = self.is_cancelled, False
        if self._work is None:
            if is_cancelled:
                return True
            self._work = self._context.run(self._run, self.request)
        try:
            if is_cancelled:
                self._is_ready = self._context.run(self._work.throw, SimulatedCancel())
                self.is_late = True
            else:
                self._is_ready = self._context.run(self._work.send, None)
        except StopIteration:
            return True
        return False

    def close(self) -> None:
        """End it where it waits."""
        if self._work is not None:
            self._context.run(self._work.close)
