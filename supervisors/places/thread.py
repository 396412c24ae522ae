"""The place that runs requests on the actor's own thread, one at a time.

Owns the one execution that is in progress, which may stop between two of its steps (a
generator): `advance` then returns to the actor's loop, so that control messages are seen. A
request that hands over a part while it runs waits inside `part` for its grant, and while the place is held, by the
wait it was given; in there `hold` and `release` may be called, as in every call of the listener. A copy of the
program that a request makes by fork ends where that request comes back. Never starts a thread, never ends a request
that does not return.

What short requests come to is told together: when none is left to be run, when the actor has something else to do,
after one that the service has to hear of, before anything else is told, and after 2 ms. If the next one goes on for
longer than that, the flusher's thread tells of those before: `Listener.on_done` may be called on that thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sized
from typing import Any

from supervisors.errors import InternalError
from supervisors.places.base import (
    CLOSED,
    Execution,
    Finished,
    Listener,
    Lost,
    RequestAbandoned,
    Service,
    Worker,
    tell_failure,
)
from supervisors.places.copies import generation, leave_copy
from supervisors.places.flusher import Flusher
from supervisors.reasons import Reason, StartFailed, record_error

WINDOW = 128
"""Short requests taken at once: what taking costs is shared, and control is looked at between any two."""
HELD_SECONDS = 0.002
"""Requests are run for so long before what they came to is told (as in a worker process, `outbound.py`)."""
SHORT_SECONDS = 0.001
"""A request that took less is short (arbitrary: a hundred times what taking costs)."""


class ThreadPlace:
    """Run requests here, on the thread that calls `advance`.

    Args:
        make_service: makes the service, once for each start.
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
        # Guards the telling of results, by the actor's thread or the flusher's, which has to be in order: so it is
        # held while the listener takes them.
        self._telling = threading.Lock()
        self._finished: deque[Finished] = deque()
        """What was not told so far; appended to on the actor's thread alone."""
        self._is_accepted = True
        """Whether what was told last was."""
        self._is_watched = False
        """Whether the flusher is going to look."""
        self._service: Service | None = None
        self._boot: Any = None
        self._is_booting = False
        self._is_closing = False
        self._is_closed = False
        self._closing_reason: Reason = CLOSED
        self._incarnation = 0
        self._waiting: deque[tuple[int, Any]] = deque()
        self._window = 1
        self._seq: int | None = None
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
        self._ungranted = 0
        self._since = 0.0
        self._generation = generation.number

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
        if self._service is None or self._is_closing or self._is_held or self._waiting or self._seq is not None:
            return 0
        return self._window

    def submit(self, number: int, requests: Iterable[tuple[int, Any]]) -> None:
        """Keep the requests, each for an `advance` to come."""
        self._waiting.extend(requests)

    def flush(self) -> None:
        """Do nothing: there is nobody to send to."""

    def advance(self) -> bool:
        """Run the request in progress to its end, or to its next stop, and short ones behind it."""
        if self._is_booting:
            self._boot_service()
            return True
        if self._is_closing:
            return self._finish_closing()
        if self._ungranted or self._is_held or (self._seq is None and not self._waiting):
            return False
        service = self._service
        if service is None:
            message = "a request without a service"
            raise InternalError(message)
        self._is_inside = True
        try:
            self._run(service)
        finally:
            self._is_inside = False
        return True

    def _run(self, service: Service) -> None:
        # What every short request costs here: no function is called that need not be.
        waiting, finished, urgent = self._waiting, self._finished, self._urgent
        begin, clock = service.begin, self._clock
        seq, now, home = self._seq or 0, clock(), self._generation
        tell_at = now if self._flusher is None else now + HELD_SECONDS
        while True:
            try:
                execution = self._execution
                if execution is None:
                    seq, request = waiting.popleft()
                    self._seq, self._since = seq, now
                    execution = self._execution = begin(request, self)
                is_done = execution.advance()
            except BaseException as error:  # noqa: BLE001  whatever a request raises is its failure
                self._fail(service, error)
                return
            if generation.number != home:
                leave_copy(None)
            if self._is_refused:
                self._drop_refused(service)
                return
            if not is_done:
                return
            now = clock()
            seconds = now - self._since
            finished.append((seq, execution.result, seconds, now))
            self._seq = self._execution = None
            if not waiting or urgent or now >= tell_at or execution.touched:
                self._window = WINDOW if seconds < SHORT_SECONDS else 1
                if not self._tell_and_settle(service) or not waiting or urgent:
                    return
                tell_at = now if self._flusher is None else now + HELD_SECONDS
            elif not self._is_watched and self._flusher is not None:
                self._is_watched = True
                self._flusher.watch(self._tell_late)

    def grant(self, number: int, seq: int) -> None:
        """Let the request go on past its oldest part; nothing if it is not that one, or has none."""
        if seq == self._seq and self._ungranted:
            self._ungranted -= 1

    def part(self, body: Any, weight: int) -> None:
        """Hand over a part of the request in progress (`Port`)."""
        self.stop_with(body, weight)
        self._is_waiting = True
        try:
            while self._ungranted or self._is_held:
                if not self._wait():
                    raise RequestAbandoned
        finally:
            self._is_waiting = False

    def confirm(self, body: Any) -> None:
        """Hand over a part, and wait for its grant (`Port`)."""
        self.part(body, 1)

    def check(self) -> None:
        """End a request that was refused (`Port`); whoever could give it up otherwise waits for it."""
        if self._is_refused:
            raise RequestAbandoned

    def stop_with(self, body: Any, weight: int) -> None:
        """Hand over a part at a stop; the next step comes after its grant (`Port`)."""
        if self._seq is None:
            message = "a part without a request"
            raise InternalError(message)
        if generation.number != self._generation:
            return  # nobody takes what a copy hands over
        self.check()
        self._tell()
        self._ungranted += 1
        try:
            self._is_refused = not self._listener.on_part(0, self._seq, body)
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
            self._since += self._clock() - self._held_at

    @property
    def is_still(self) -> bool:
        """Whether nothing is in hand, or it is held between two of its steps or inside of a part."""
        if self._seq is None:
            return not self._waiting
        return self._is_held and (self._is_waiting or not self._is_inside) and not self._waiting

    def kill(self, number: int, reason: Reason) -> None:
        """Give up the request in progress between two of its steps; one that runs cannot be."""
        if number != 0 or self._service is None or self._is_inside:
            return
        lost = Lost(self._seq, (), self._take_back())
        if self._execution is not None:
            self._service.settle(accepted=False)
        self._forget()
        self._service = None
        self._listener.on_lost(0, reason, lost)

    def close(self, timeout: float, reason: Reason = CLOSED) -> None:
        """End; a request that is between two steps is given back as the suspect."""
        self._is_closing = True
        self._closing_reason = reason

    def abort(self) -> None:
        """Forget everything."""
        self._is_closing = self._is_closed = True
        self._take_back()
        self._forget()
        self._service = None

    def next_deadline(self) -> float | None:
        """None: a thread cannot be ended."""
        return None

    def on_tick(self, now: float) -> None:
        """Do nothing."""

    def workers(self) -> tuple[Worker, ...]:
        """The one worker."""
        busy = self._seq is not None
        since = self._since if busy else None
        held = len(self._waiting) + busy
        return (Worker(0, self._incarnation, None, self._service is not None, held, self._seq, since),)

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

    def _tell(self) -> bool:
        """Tell what has to be told; gives whether what was told last was accepted."""
        finished = self._finished
        with self._telling:
            if finished:
                told = list(finished)
                finished.clear()
                self._is_accepted = self._listener.on_done(0, told)
            if self._listener_error is not None:
                raise self._listener_error
            return self._is_accepted

    def _tell_late(self) -> None:
        """Tell it on the flusher's thread."""
        finished = self._finished
        with self._telling:
            self._is_watched = False
            told = [finished.popleft() for _ in range(len(finished))]  # more may come meanwhile
            if not told:
                return
            try:
                self._is_accepted = self._listener.on_done(0, told)
            except BaseException as error:  # noqa: BLE001  of the actor, which ends by it when the request has ended
                self._is_refused, self._listener_error = True, error

    def _tell_and_settle(self, service: Service) -> bool:
        self._is_inside = False
        is_accepted = self._tell()
        service.settle(accepted=is_accepted)
        if not is_accepted:
            self._return_unbegun()
        self._is_inside = True
        return is_accepted and self._service is service

    def _fail(self, service: Service, error: BaseException) -> None:
        if generation.number != self._generation:
            leave_copy(error)
        if self._is_refused or self._seq is None:
            self._drop_refused(service)
            return
        seq, body = self._seq, tell_failure(service.describe_failure, error)
        self._forget()
        service.settle(accepted=False)
        self._tell()
        self._listener.on_failed(0, seq, body, self._take_back())

    def _drop_refused(self, service: Service) -> None:
        """Be done with a request that the listener does not want; nobody is told how it ended."""
        error = self._listener_error
        self._forget()
        service.settle(accepted=False)
        if error is not None:
            raise error
        self._return_unbegun()

    def _return_unbegun(self) -> None:
        returned = self._take_back()
        if returned:
            self._listener.on_returned(0, returned)

    def _take_back(self) -> tuple[int, ...]:
        unbegun = tuple(seq for seq, _ in self._waiting)
        self._waiting.clear()
        return unbegun

    def _forget(self) -> None:
        self._seq = None
        self._execution = None
        self._ungranted = 0
        self._is_refused = False
        self._listener_error = None

    def _finish_closing(self) -> bool:
        if self._is_closed:
            return False
        self._is_closed = True
        service = self._service
        if self._seq is not None or self._waiting:
            self.kill(0, CLOSED)
        self._service = None
        if service is not None:
            service.close(self._closing_reason)
        self._listener.on_closed()
        return True
