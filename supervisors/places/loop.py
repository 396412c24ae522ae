"""The event loop that runs the requests of a `looped` place, on a thread of its own.

Owns the thread, its asyncio loop, and the two queues by which it and the place's actor meet. Imported only where there
is something to run on it: asyncio takes longer to import than all the rest of a program's start. Never decides how
long a request may take, nor in which order their ends are told.

Theory of operation. What the actor wants is put into one queue and carried out on the loop in that order; what happens
is put into the other, and wakes the actor when that was empty. So nothing but `confirm` ever waits for the other side,
and what the loop is told of commits comes in the order in which they were made. A request is a task; so is whatever its
handler starts. When the loop ends, those that are left are cancelled and waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from functools import partial
from typing import Any

from supervisors.places.base import LoopService, RequestAbandoned, tell_failure
from supervisors.places.copies import generation
from supervisors.places.drive import Drive, Driven
from supervisors.places.reports import Done, Failed, Ready
from supervisors.places.request import (
    CANCEL_SECONDS,
    Broken,
    Cancelled,
    Clock,
    Closed,
    Confirm,
    Late,
    Request,
)
from supervisors.reasons import Raised, Reason, StartFailed, record_error
from supervisors.stacks import stack_of, stack_of_coroutine

_STOPPING = (KeyboardInterrupt, SystemExit)
"""What asyncio lets out of its loop when a task raises it; the task has it too, and whoever awaits that."""
_request: ContextVar[Request | None] = ContextVar("supervisors.request", default=None)
"""The one that the present task runs for: its own, or one that it has started."""


class AsyncioLoop:
    """One incarnation of a service on an event loop of its own (a `Loop`, and the `Gate` of its requests).

    Args:
        name: the thread's name.
        make_service: makes the service, on the thread.
        boot: what it is booted with.
        clock: gives the time in seconds; called by several threads.
        wake: makes the actor look for reports; called by the thread.
        cancel_seconds: what a request that was cancelled gets before it is told of as late.
    """

    def __init__(
        self,
        name: str,
        make_service: Callable[[], LoopService],
        boot: Any,
        clock: Callable[[], float],
        wake: Callable[[], None],
        *,
        cancel_seconds: float = CANCEL_SECONDS,
    ) -> None:
        self._make_service = make_service
        self._boot = boot
        self.now = clock
        self._wake = wake
        self._cancel_seconds = cancel_seconds
        # A daemon: one that never comes back does not keep the program from exiting.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.generation = generation.number
        # Appended to by one side and taken from by the other: a deque needs no lock for that.
        self._orders: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._reports: deque[Any] = deque()
        # Guards the two that follow; told of what the actor does.
        self._changed = threading.Condition()
        self._answers: dict[int, bool] = {}
        """Whether what was to be confirmed was taken, by the identity of its report."""
        self._is_abandoned = False
        self._has_ended = False
        # The thread's own.
        self.current: Request | None = None
        self.steps = 0
        self.held_by = 0
        self._service: LoopService | None = None
        self._running: set[Request] = set()
        self._waiting: dict[Request, list[tuple[Callable[[], bool], asyncio.Future[None]]]] = {}
        """Those at the gate: what says of each of their coroutines that it may go on, and lets it."""
        self._is_ending = False
        self._ended: asyncio.Task[None] | None = None
        self._error: BaseException | None = None

    # -- Loop, for the actor

    def start(self) -> None:
        """Make the loop and start its thread."""
        self._loop = asyncio.new_event_loop()
        self._loop.set_task_factory(self._make_task)
        try:
            self._thread.start()
        except RuntimeError:
            self._loop.close()
            raise

    def make_request(self, seq: int, body: Any) -> Request:
        """Make a request for `submit`."""
        return Request(seq, body, self)

    def submit(self, requests: list[Request]) -> None:
        """Begin requests, in order."""
        self._order(self._begin, requests)

    def cancel(self, request: Request) -> None:
        """Cancel a request."""
        self._order(self._cancel, request)

    def take(self, request: Request) -> None:
        """Let it know that what it handed over at its stop was taken."""
        self._order(self._take, request)

    def answer(self, confirm: Confirm, *, is_taken: bool) -> None:
        """Let the request go on that waits for this."""
        with self._changed:
            self._answers[id(confirm)] = is_taken
            self._changed.notify()

    def settle(self, request: Request, *, accepted: bool) -> None:
        """Let it know that its result was taken, or was not."""
        self._order(partial(self._settle, request, accepted=accepted))

    def grant(self, request: Request) -> None:
        """Grant the oldest part that is not."""
        self._order(self._grant, request)

    def hold(self, number: int) -> None:
        """Let no request pass the gate."""
        self._order(self._hold, number)

    def release(self) -> None:
        """Let them pass."""
        self._order(self._hold, 0)

    def close(self, reason: Reason) -> None:
        """End it: no request is in it any more."""
        self._order(self._end, reason)

    def abandon(self) -> None:
        """Cancel all it runs, and let it end by itself when that has ended."""
        with self._changed:
            self._is_abandoned = True
            self._changed.notify()
        self._order(self._end, None)

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
        """Give where a request is, or for None the loop's thread."""
        current = self.current
        if request is None or current is request:
            return stack_of(self._thread)
        return stack_of_coroutine(request.work)

    def find_current(self) -> int | None:
        """Give the number of the request whose own code runs at this moment."""
        current = self.current
        return None if current is None else current.seq

    def count_steps(self) -> int:
        """Give how many steps its requests have made."""
        return self.steps

    def join(self) -> None:
        """Wait for its thread, which has told that it ended."""
        self._thread.join()

    # -- Gate, for its requests

    def tell(self, report: Any) -> None:
        """Hand a report to the actor, which is woken unless reports wait for it already."""
        self._reports.append(report)
        if len(self._reports) == 1:
            self._wake()

    def tell_parked(self) -> None:
        """Make the actor look whether all is still."""
        self._wake()

    def wait_at_gate(self, request: Request, is_open: Callable[[], bool]) -> Generator[Any, Any, Any]:
        """Wait until the gate is open for a coroutine of the request."""
        waiting = self._waiting.setdefault(request, [])
        entry = (is_open, self._loop.create_future())
        waiting.append(entry)
        try:
            yield from entry[1]
        finally:
            waiting.remove(entry)
            if not waiting:
                self._waiting.pop(request, None)

    def wait_answered(self, confirm: Confirm) -> bool:
        """Wait for the answer, the whole loop with it: the actor answers at once."""
        with self._changed:
            self._changed.wait_for(lambda: id(confirm) in self._answers or self._is_abandoned)
            return self._answers.pop(id(confirm), False)

    # -- Its thread

    def _run(self) -> None:
        reason: Reason | None = None
        try:
            service = self._make_service()
            service.boot(0, self._boot)
            self._service = service
            self.tell(Ready())
            self._run_loop()
        except RequestAbandoned:
            reason = None  # nobody reads it
        except BaseException as error:  # noqa: BLE001  it becomes the reason of the loss
            record = record_error(error)
            reason = StartFailed(record) if self._service is None else Raised(record)
        self._loop.close()
        self._has_ended = True
        self._reports.append(Closed(reason))
        self._wake()

    def _run_loop(self) -> None:
        loop = self._loop
        # Orders that came before the loop ran are in its queue.
        while self._error is None and not (self._ended is not None and self._ended.done()):
            with contextlib.suppress(*_STOPPING):
                loop.run_forever()
        if self._error is not None:
            raise self._error

    def _order(self, act: Callable[..., None], *args: Any) -> None:
        self._orders.append((act, args))
        if len(self._orders) == 1:
            # It has ended: nothing is left that this could be for.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._carry_out)

    def _carry_out(self) -> None:
        orders = self._orders
        while orders:
            act, args = orders[0]
            try:
                act(*args)
            except BaseException as error:  # noqa: BLE001  what it runs is not to suffer: it is cancelled, and ends
                self.tell(Broken(Raised(record_error(error))))
            orders.popleft()  # now: what came meanwhile need not have woken the loop

    def _begin(self, requests: list[Request]) -> None:
        if self._is_ending:
            return
        for request in requests:
            self._running.add(request)
            request.task = task = self._loop.create_task(self._run_request(request))
            task.add_done_callback(partial(self._note_done, request))

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[Any]:
        """Make a task; of a request's own tasks each step is passed on by `Drive`, as those of the request itself."""
        request = _request.get() if context is None else context.get(_request)
        if request is not None and inspect.iscoroutine(work):
            work = Driven(request, work, self)
        return asyncio.Task(work, loop=loop, context=context, **options)

    async def _run_request(self, request: Request) -> None:
        _request.set(request)
        service = self._service
        started = self.now()
        request.clock = Clock(started)
        try:
            if service is None:
                return
            execution = request.execution = service.begin(request.body, request)
            request.work = execution.run()
            await Drive(request, request.work, self)
            seconds = self.now() - started - request.clock.waited
            report: Any = Done(request.seq, execution.result, seconds)
        except BaseException as error:  # noqa: BLE001  whatever a request raises is its failure
            request.execution = None
            report = Failed(request.seq, None if service is None else self._describe(request, service, error))
        request.end()
        self._look(request)
        if request.is_cancel_heard:
            self._settle(request, accepted=False)
            report = Cancelled(request.seq)
        self.tell(report)

    def _note_done(self, request: Request, _task: asyncio.Task[None]) -> None:
        request.task = None
        self._running.discard(request)
        if request.clock.begun_at is None:
            self.tell(Cancelled(request.seq))  # before its first step

    @staticmethod
    def _describe(request: Request, service: LoopService, error: BaseException) -> Any:
        return None if request.is_cancel_heard else tell_failure(service.describe_failure, error)

    def _cancel(self, request: Request) -> None:
        request.is_cancel_heard = True
        if request.task is not None:
            request.task.cancel()
            # By the loop's own time, behind all that was to run before: under load, too, it has had its chance.
            self._loop.call_later(self._cancel_seconds, self._note_late, request)

    def _note_late(self, request: Request) -> None:
        if request.work is not None:
            self.tell(Late(request.seq))

    @staticmethod
    def _settle(request: Request, *, accepted: bool) -> None:
        execution, request.execution = request.execution, None
        if execution is not None:
            execution.conclude(accepted=accepted)

    def _take(self, request: Request) -> None:
        request.take_stop()
        self._look(request)

    def _grant(self, request: Request) -> None:
        request.take_grant()
        self._look(request)

    def _hold(self, number: int) -> None:
        self.held_by = number
        for request in tuple(self._waiting):
            if number:
                request.note_hold(number)
            else:
                self._look(request)

    def _look(self, request: Request) -> None:
        for is_open, opened in self._waiting.get(request, ()):
            if not opened.done() and is_open():
                opened.set_result(None)

    def _end(self, reason: Reason | None) -> None:
        for request in self._running:
            request.is_cancel_heard = True
        if not self._is_ending:
            self._is_ending = True
            self._ended = self._loop.create_task(self._end_all(reason))
            self._ended.add_done_callback(self._note_ended)
        elif reason is None:
            self._cancel_all()

    def _note_ended(self, ended: asyncio.Task[None]) -> None:
        self._error = ended.exception()
        self._loop.stop()

    async def _end_all(self, reason: Reason | None) -> None:
        while left := self._cancel_all():
            await asyncio.wait(left)
        if reason is not None and self._service is not None:
            self._service.close(reason)
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()

    def _cancel_all(self) -> set[asyncio.Task[Any]]:
        """Cancel all tasks but the one that ends the loop; gives them."""
        left = {task for task in asyncio.all_tasks(self._loop) if task is not self._ended}
        for task in left:
            task.cancel()
        return left
