"""The place that runs requests on the actor's own thread, one at a time.

Owns the one execution that is in progress, which may stop between two of its steps (a
generator): `advance` then returns to the actor's loop, so that control messages are seen. A
request that hands over a part while it runs waits inside `part` for its grant, and while the place is held, by the
wait it was given; in there `hold` and `release` may be called, as in every call of the listener. A copy of the
program that a request makes by fork ends where that request comes back. Never starts a thread, never ends a request
that does not return.

Of a batch the requests are run in one go, and what they came to is told together: when none is left, when the actor has
something else to do, when one wants more than to be run, and after 2 ms. If one goes on for longer than that, the
flusher's thread tells of those before it: `Listener.on_done` may be called on that thread.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sized
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

from supervisors.errors import InternalError
from supervisors.places.base import (
    CLOSED,
    BatchExecution,
    BatchService,
    Execution,
    Finished,
    Listener,
    Lost,
    Ran,
    RequestAbandoned,
    Service,
    Watch,
    Worker,
    tell_failure,
)
from supervisors.places.copies import generation, leave_copy
from supervisors.places.flusher import Flusher
from supervisors.reasons import Reason, StartFailed, record_error

WINDOW = 1_000
"""Short requests taken at once, as many as a block may have: what taking costs is shared; control is looked at between
any two."""
HELD_SECONDS = 0.002
"""Of a batch, requests are run for so long before what they came to is told (as in a process, `outbound.py`)."""
SHORT_SECONDS = 0.001
"""A request that took less is short (arbitrary: a hundred times what taking costs)."""


class ThreadPlace:
    """Run requests here, on the thread that calls `advance`.

    Args:
        make_service: makes the service, once for each start; one that takes batches, if some are submitted.
        listener: who is told of the ends.
        clock: gives the time in seconds, for durations.
        wait: called while a part is not granted or the place is held; False when the request shall not go on.
        urgent: what is looked at before the next request is begun, if it is not empty: the actor's control lane.
        flusher: tells of what was run while the next request goes on for long; None: each result is told at once.
    """

    def __init__(
        self,
        make_service: Callable[[], Service],
        listener: Listener,
        clock: Callable[[], float],
        wait: Callable[[], bool],
        *,
        urgent: Sized = (),
        flusher: Flusher | None = None,
    ) -> None:
        self._make_service = make_service
        self._listener = listener
        self._clock = clock
        self._wait = wait
        self._urgent = urgent
        self._flusher = flusher
        # Guards the batch in progress, and whether it is wanted, so that what it came to is told in order, by the
        # actor's thread or the flusher's: it is held while the listener takes that, and while a batch is forgotten.
        self._telling: AbstractContextManager[object] = nullcontext() if flusher is None else flusher.new_lock()
        self._batch: BatchExecution | None = None
        """The batch in progress."""
        self._first = 0
        """The number of its first request."""
        self._until = 0.0
        """Clock reading from which on none of it is begun."""
        self._parked = 0.0
        """Seconds that its present request was held."""
        self._waits_since: float | None = None
        """Clock reading since when the request in progress waits for a grant."""
        self._waited = 0.0
        """Seconds that it did so before."""
        self._is_watched = False
        """Whether the flusher is going to look."""
        self._service: Service | None = None
        self._boot: Any = None
        self._is_booting = False
        self._is_closing = False
        self._is_closed = False
        self._closing_reason: Reason = CLOSED
        self._incarnation = 0
        self._waiting: deque[tuple[int, Any, int]] = deque()
        """What was not begun: a number, a request, and 0; or of a batch the first number, the batch, and its length."""
        self._window = 1
        self._seq: int | None = None
        """The request in progress, unless it is one of a batch."""
        self._request: Any = None
        self._execution: Execution | None = None
        self._is_inside = False
        self._is_held = False
        self._held_at = 0.0
        self._is_waiting = False
        """Whether the request in progress waits inside of `part`."""
        self._is_refused = False
        """Whether the listener does not want the request in progress any more."""
        self._listener_error: BaseException | None = None
        """What the listener raised inside the request in progress; raised again when that has ended."""
        self._is_disowned = False
        """Whether something that the service has gone on from was refused."""
        self._ungranted = 0
        self._since = 0.0
        self._generation = generation.number
        self._watch = Watch(clock, generation.mark)

    def start(self, number: int, boot: Any) -> None:
        """Boot the service at the next `advance`."""
        if number != 0 or self._service is not None:
            message = f"worker {number} cannot be started on a thread that has one"
            raise InternalError(message)
        self._boot = boot
        self._is_booting = True
        self._incarnation += 1

    def room(self, number: int) -> int:
        """How many it takes at once when it has none: several while they are short, else one."""
        if self._service is None or self._is_closing or self._is_held or self._waiting or self._current is not None:
            return 0
        return self._window

    def submit(self, number: int, requests: Iterable[tuple[int, Any]]) -> None:
        """Keep the requests, each for an `advance` to come."""
        self._waiting.extend([(seq, request, 0) for seq, request in requests])

    def submit_batch(self, first: int, batch: Sized) -> None:
        """Keep as many requests as `batch` is long, numbered from `first`, which the service takes together."""
        self._waiting.append((first, batch, len(batch)))

    def flush(self) -> None:
        """Do nothing: there is nobody to send to."""

    def advance(self) -> bool:
        """Run the request in progress to its end, or to its next stop; of a batch, those behind it too."""
        if self._is_booting:
            self._boot_service()
            return True
        if self._is_closing:
            return self._finish_closing()
        if self._ungranted or self._is_held:
            if self._ungranted:
                self._begin_wait()
            return False
        if self._waits_since is not None:
            self._end_wait()
        service = self._service
        if self._seq is None and self._batch is None:
            if not self._waiting:
                return False
            self._begin_next()
        if service is None:
            message = "a request without a service"
            raise InternalError(message)
        self._is_inside = True
        try:
            if self._batch is None:
                self._run(service)
            else:
                self._run_batch(service, self._batch)
        finally:
            self._is_inside = False
        return True

    def _begin_next(self) -> None:
        first, request, count = self._waiting.popleft()
        self._since = now = self._clock()
        self._waited = 0.0
        if not count:
            self._seq, self._request = first, request
            return
        self._first, self._parked = first, 0.0
        # First this: a flusher that looks from here on is to look again.
        self._until = now + HELD_SECONDS
        self._batch = cast("BatchService", self._service).begin_batch(request, self, now)
        if count > 1 and not self._is_watched:
            self._ask_for_a_look()

    def _ask_for_a_look(self) -> None:
        if self._flusher is not None:
            self._is_watched = True
            if not self._flusher.watch(self._tell_late):
                self._flusher, self._is_watched = None, False

    def _run(self, service: Service) -> None:
        try:
            execution = self._execution
            if execution is None:
                execution = self._execution = service.begin(self._request, self)
            is_done = execution.advance()
        except BaseException as error:  # noqa: BLE001  whatever a request raises is its failure
            self._fail(service, error)
            return
        if generation.number != self._generation:
            leave_copy(None)
        if self._is_refused:
            self._drop_refused(service)
        elif is_done:
            now = self._clock()
            seconds = now - self._since
            self._window = WINDOW if seconds < SHORT_SECONDS else 1
            told = ((self._seq or 0, execution.result, seconds, now),)
            self._forget()
            self._is_inside = False
            self._settle(service, accepted=self._listener.on_done(0, told))

    def _run_batch(self, service: Service, batch: BatchExecution) -> None:
        position = batch.position
        self._until = self._clock() + (0.0 if self._flusher is None else HELD_SECONDS)
        try:
            ran = batch.run(self._watch, self._urgent, self._until)
        except BaseException as error:  # noqa: BLE001  whatever a request raises is its failure
            self._fail(service, error)
            return
        if ran is Ran.COPIED or generation.number != self._generation:
            leave_copy(None)
        if ran is Ran.STOPPED and not self._is_refused:
            return
        now = self._clock()
        with self._telling:
            # What the flusher told just now may have come too late.
            accepted = None if self._is_refused else self._finish(batch, position, now, is_apart=ran is Ran.APART)
        if accepted is None:
            self._drop_refused(service)
        else:
            self._settle(service, accepted=accepted)

    def _finish(self, batch: BatchExecution, position: int, now: float, *, is_apart: bool) -> bool:
        """Tell of what a batch came to, which was run from `position` on; whether that was accepted."""
        self._is_inside = False
        told = self._collect(batch)
        if is_apart:
            told.append((self._first + batch.position, batch.result, now - batch.since - self._parked, now))
        self._put_off(batch.take_rest(is_apart))
        count = batch.position + is_apart - position
        self._window = WINDOW if (now - self._since) / count < SHORT_SECONDS else 1
        self._forget()
        return self._tell(told) and not self._is_disowned

    def _tell(self, told: list[Finished]) -> bool:
        """Tell of what was run of a batch; whether that was accepted."""
        accepted = not told or self._listener.on_done(0, told)
        self._is_disowned |= not accepted
        return accepted

    def _end_turn(self, service: Service, *, accepted: bool) -> None:
        service.settle(accepted=accepted)
        if self._is_disowned:
            # What it ran behind that began with what has not happened.
            self._is_disowned = False
            service.boot(0, self._boot)

    def _settle(self, service: Service, *, accepted: bool) -> None:
        self._end_turn(service, accepted=accepted)
        if self._listener_error is not None:
            raise self._listener_error
        if not accepted:
            self._return_unbegun()

    def grant(self, number: int, seq: int) -> None:
        """Let the request go on past its oldest part; nothing if it is not that one, or has none."""
        if seq == self._current and self._ungranted:
            self._ungranted -= 1

    def part(self, body: Any, weight: int) -> None:
        """Hand over a part of the request in progress (`Port`)."""
        self.stop_with(body, weight)
        self._is_waiting = True
        if self._ungranted:
            self._begin_wait()
        try:
            while self._ungranted or self._is_held:
                if not self._wait():
                    raise RequestAbandoned
        finally:
            self._is_waiting = False
            self._end_wait()

    def confirm(self, body: Any) -> None:
        """Hand over a part, and wait for its grant (`Port`)."""
        self.part(body, 1)

    def check(self) -> None:
        """End a request that was refused (`Port`); whoever could give it up otherwise waits for it."""
        if self._is_refused:
            raise RequestAbandoned

    def stop_with(self, body: Any, weight: int) -> None:
        """Hand over a part at a stop; the next step comes after its grant (`Port`)."""
        seq = self._current
        if seq is None:
            message = "a part without a request"
            raise InternalError(message)
        if generation.number != self._generation:
            return  # nobody takes what a copy hands over
        self.check()
        try:
            self._tell_before()
            if not self._is_refused:  # for what the flusher told just now
                self._ungranted += 1
                self._is_refused = not self._listener.on_part(0, seq, body)
        except BaseException as error:
            # Of the actor and not of the request, which ends by it all the same.
            self._is_refused, self._listener_error = True, error
            raise
        self.check()

    def pass_by(self, number: int) -> None:
        """Do nothing: what stood behind it has come back."""

    def hold(self) -> None:
        """Take no further step; what was not begun comes back inside this call."""
        if not self._is_held:
            self._is_held = True
            self._held_at = self._clock()
            self._return_unbegun()

    def release(self) -> None:
        """Go on at the next `advance`, or when the wait of a part returns."""
        if self._is_held:
            self._is_held = False
            held = self._clock() - self._held_at
            self._since += held
            self._parked += held
            if self._waits_since is not None:
                self._waits_since += held

    @property
    def is_still(self) -> bool:
        """Whether nothing is in hand, or it is held between two of its steps or inside of a part."""
        if self._current is None:
            return not self._waiting
        return self._is_held and (self._is_waiting or not self._is_inside) and not self._waiting

    def kill(self, number: int, reason: Reason) -> None:
        """Give up the request in progress between two of its steps; one that runs cannot be."""
        if number != 0 or self._service is None or self._is_inside:
            return
        is_begun = self._batch is not None or self._execution is not None
        lost = Lost(self._current, (), self._take_back())
        service, self._service, self._is_disowned = self._service, None, False
        self._forget_all()
        if is_begun:
            service.settle(accepted=False)
        self._listener.on_lost(0, reason, lost)

    def close(self, timeout: float, reason: Reason = CLOSED) -> None:
        """End; a request that is between two steps is given back as the suspect."""
        self._is_closing = True
        self._closing_reason = reason

    def abort(self) -> None:
        """Forget everything."""
        self._is_closing = self._is_closed = True
        self._take_back()
        self._forget_all()
        self._service = None

    def next_deadline(self) -> float | None:
        """None: a thread cannot be ended."""
        return None

    def on_tick(self, now: float) -> None:
        """Do nothing."""

    def workers(self) -> tuple[Worker, ...]:
        """The one worker."""
        batch, waiting = self._batch, tuple(self._waiting)  # once: other threads may ask
        current = self._seq if batch is None else self._first + batch.position
        held = sum(count or 1 for _, _, count in waiting) + (current is not None)
        since = None if current is None else (self._since if batch is None else batch.since + self._parked)
        if since is not None:
            since = since + self._waited if self._waits_since is None else math.inf
        return (Worker(0, self._incarnation, None, self._service is not None, held, current, since),)

    @property
    def _current(self) -> int | None:
        """The request in progress."""
        batch = self._batch
        return self._seq if batch is None else self._first + batch.position

    def _boot_service(self) -> None:
        self._is_booting = False
        try:
            service = self._make_service()
            service.boot(0, self._boot)
        except BaseException as error:  # noqa: BLE001  it becomes the reason of the loss
            self._listener.on_lost(0, StartFailed(record_error(error)), Lost(None, (), ()))
            return
        self._service = service
        self._listener.on_ready(0)

    def _fail(self, service: Service, error: BaseException) -> None:
        if generation.number != self._generation:
            leave_copy(error)
        seq = self._current
        self._tell_before()
        if self._is_refused or seq is None:
            self._drop_refused(service)
            return
        body = tell_failure(service.describe_failure, error)
        returned = self._take_back()
        self._forget_all()
        self._end_turn(service, accepted=False)
        self._listener.on_failed(0, seq, body, returned)

    def _tell_before(self) -> None:
        """Tell of what was run in the batch before its present request."""
        if self._batch is not None:
            with self._telling:
                if not self._is_refused:
                    self._tell(self._collect(self._batch))

    def _tell_late(self) -> None:
        """As `_tell_before`, on the flusher's thread."""
        with self._telling:
            self._is_watched = False
            if self._batch is None or self._is_refused:
                return
            try:
                self._tell(self._collect(self._batch))
            except BaseException as error:  # noqa: BLE001  of the actor, which ends by it when the request has ended
                self._is_refused, self._listener_error = True, error
            if self._clock() < self._until:
                self._ask_for_a_look()  # others may end, and the one behind them go on for long

    def _collect(self, batch: BatchExecution) -> list[Finished]:
        results = batch.take_results()
        if results is None:
            return []
        position, body, seconds, at = results
        return [(self._first + position, body, seconds, at)]

    def _put_off(self, rest: tuple[int, Sized]) -> None:
        position, batch = rest
        if len(batch):
            self._waiting.appendleft((self._first + position, batch, len(batch)))

    def _drop_refused(self, service: Service) -> None:
        """Be done with a request that the listener does not want; nobody is told how it ended."""
        error = self._listener_error
        if self._batch is not None:
            self._put_off(self._batch.take_rest(True))
        self._forget_all()
        self._end_turn(service, accepted=False)
        if error is not None:
            raise error
        self._return_unbegun()

    def _return_unbegun(self) -> None:
        returned = self._take_back()
        if returned:
            self._listener.on_returned(0, returned)

    def _take_back(self) -> tuple[int, ...]:
        if self._batch is not None:
            self._put_off(self._batch.take_rest(True))
        unbegun = tuple(seq for first, _, count in self._waiting for seq in range(first, first + (count or 1)))
        self._waiting.clear()
        return unbegun

    def _forget_all(self) -> None:
        """Forget a batch too, of which the flusher may be telling at this moment."""
        with self._telling:
            self._forget()

    def _forget(self) -> None:
        self._seq = self._batch = None
        self._request = None
        self._execution = None
        self._ungranted = 0
        self._waits_since = None
        self._is_refused = False
        self._listener_error = None

    def _begin_wait(self) -> None:
        if self._waits_since is None:
            self._waits_since = self._clock()

    def _end_wait(self) -> None:
        if self._waits_since is not None:
            self._waited += max(0.0, self._clock() - self._waits_since)
            self._waits_since = None

    def _finish_closing(self) -> bool:
        if self._is_closed:
            return False
        self._is_closed = True
        service = self._service
        if self._current is not None or self._waiting:
            self.kill(0, CLOSED)
        self._service = None
        if service is not None:
            service.close(self._closing_reason)
        self._listener.on_closed()
        return True
