"""The place that runs requests in child processes: a pool of numbered workers.

Owns the children and who of them gets what; a request's numbers are kept by each child's `link`.
Lives on its actor's thread: everything that happens to a child comes out of that thread's
`Poller`, so there is no lock here. Never decides whether a lost worker is replaced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sized
from functools import partial
from itertools import repeat
from typing import Any

from supervisors.errors import FrameError, InternalError, StartError
from supervisors.parking import Poller
from supervisors.places.base import CLOSED, Listener, Lost, Worker, WorkerAt
from supervisors.places.process.birth import Starter
from supervisors.places.process.child import GOODBYE_SECONDS, Child, make_boot
from supervisors.places.process.exchange import LOOK_SECONDS, Exchange
from supervisors.places.process.launch import BY_DEFAULT, Launch
from supervisors.places.process.limits import Limits
from supervisors.places.process.spawn import ProcessStarter
from supervisors.reasons import ProtocolError, Reason, Shutdown, StartFailed, record_error
from supervisors.wire.frames import MAX_FRAME_BYTES, Log, encode_frame

START_SECONDS = 30.0
"""What a worker gets to become ready (DESIGN: notes on failure)."""


class ProcessPlace:
    """Run requests in child processes.

    Args:
        name: what the workers are called, in listings and log records.
        service: the service, encoded by `supervisors.wire.values.encode_code`.
        workers: how many there may be, numbered from 0.
        poller: where their descriptors are watched; the actor's own.
        clock: gives the time in seconds; the system's monotonic clock, which the workers read too.
        listener: who is told of the ends.
        output: called with (worker, `stdout` or `stderr`, line) for each line a worker prints.
        timeout: seconds a request may take, waits for grants and while it is held left out; None for no limit.
        warn: called once a request with (seq, seconds, stack) when half of its time is over; None: nobody is.
        memory_limit: bytes that a worker, with all it has started, may hold; None for no limit.
        max_frame_bytes: the longest frame in either direction.
        start_timeout: seconds a worker gets to become ready.
        inherited: descriptors that each worker keeps open until it ends, and passes to nothing it starts: a file that
            is locked by them stays so while any worker lives, also one that outlives the program. They are the
            caller's, to be open whenever a worker is started, and none of the first three.
        result_type: what results are read as: bytes, or the type that a `result_type` of the service stands for.
        results_type: what those of batches are read as, a type of `BatchResults`; None: none are submitted.
        launch: how workers are started, and what of the machine they get.
        starter: starts them where `launch` and `inherited` do not say all; None: processes of this machine.
        exchange: gives the workers a part in their owner's shared memory; None for none.
        note_log: called with (worker, record) for each record that a worker has logged, once it is logged here.
        note_ended: called with (worker, processor seconds, peak memory in bytes or None) when a process has ended.
    """

    def __init__(  # noqa: PLR0913  a place has that many sides
        self,
        name: str,
        service: bytes,
        workers: int,
        *,
        poller: Poller,
        clock: Callable[[], float],
        listener: Listener,
        output: Callable[[int, str, str], None],
        timeout: float | None = None,
        warn: Callable[[int, float, str], None] | None = None,
        memory_limit: int | None = None,
        max_frame_bytes: int = MAX_FRAME_BYTES,
        start_timeout: float = START_SECONDS,
        inherited: tuple[int, ...] = (),
        result_type: Any = bytes,
        results_type: Any = None,
        launch: Launch = BY_DEFAULT,
        starter: Starter | None = None,
        exchange: Exchange | None = None,
        note_log: Callable[[int, Log], None] = lambda _number, _record: None,
        note_ended: Callable[[int, float, int | None], None] = lambda _number, _cpu_seconds, _peak_bytes: None,
    ) -> None:
        self._name = name
        self._service = service
        self._poller = poller
        self._clock = clock
        self._listener = listener
        self._output = output
        self._timeout = timeout
        self._warn = warn
        self._memory_limit = memory_limit
        self._max_frame_bytes = max_frame_bytes
        self._start_timeout = start_timeout
        self._result_type = result_type
        self._results_type = results_type
        self._launch = launch
        self._starter = ProcessStarter(launch, inherited) if starter is None else starter
        self._exchange = exchange
        if exchange is not None:
            exchange.begin(poller.unpark)
        self._note_log = note_log
        self._note_ended = note_ended
        self._children: list[Child | None] = [None] * workers
        self._limits: dict[int, Limits] = {}
        self._incarnations = [0] * workers
        self._doubted = [0] * workers
        """How many requests the next incarnation of a worker gets one at a time."""
        self._unborn: list[tuple[int, Reason]] = []
        self._has_limits = timeout is not None or memory_limit is not None
        self._retiring: dict[int, Reason] = {}
        """Workers that were asked to end one by one, and why."""
        self._wanting: list[Child] = []
        """Those that wait for shared memory, in the order in which they came."""
        self._look_at = math.inf
        self._unwritten: Child | None = None
        """The one to which something waits to be written that another thread could not write."""
        self._is_held = False
        self._is_closing = False
        self._is_closed = False

    # -- Place

    def start(self, number: int, boot: bytes) -> None:
        """Start a new incarnation; it becomes ready, or is lost, later."""
        if self._children[number] is not None:
            message = f"worker {number} of {self._name!r} is running"
            raise InternalError(message)
        self._incarnations[number] += 1
        incarnation = self._incarnations[number]
        try:
            frame = make_boot(number, self._name, self._service, boot, self._memory_limit, self._launch)
            data = encode_frame(frame, incarnation, self._max_frame_bytes)
            self._starter.begin()
            child = Child(
                self,
                number,
                incarnation,
                self._poller,
                self._max_frame_bytes,
                self._starter.make_birth(number, incarnation, self._max_frame_bytes),
                doubted=self._doubted[number],
                result_type=self._result_type,
                results_type=self._results_type,
                party=None if self._exchange is None else self._exchange.enter(number),
            )
        except (OSError, RuntimeError, FrameError) as error:
            self._unborn.append((number, StartFailed(record_error(error))))
            return
        child.end_at = self._clock() + self._start_timeout
        late = StartError(f"worker {number} of {self._name!r} was not ready within {self._start_timeout:g} s")
        child.end_reason = StartFailed(record_error(late))
        self._children[number] = child
        self._limits[number] = Limits(child, self._timeout, self._warn, self._memory_limit)
        if self._is_held:
            child.hold()
        child.begin(data, f"{self._name}-{number}")

    def room(self, number: int) -> int:
        """How many more requests the worker takes now."""
        child = self._children[number]
        return child.room if child is not None and not self._is_closing and not self._is_held else 0

    def submit(self, number: int, requests: Iterable[tuple[int, Any]]) -> None:
        """Hand requests to a worker that has room for them; they leave with the next `flush`.

        Raises:
            RequestTooLongError: one is longer than a frame may be; the worker was given those before it alone.
        """
        child = self._children[number]
        if child is None:
            message = f"worker {number} of {self._name!r} is not running"
            raise InternalError(message)
        child.submit(requests)

    def submit_batch(self, first: int, batch: Sized) -> None:
        """Hand a batch to the first worker, which has room for it; it leaves with the next `flush`.

        Encoded, it takes no more than half of what a frame may.
        """
        child = self._children[0]
        if child is None:
            message = f"worker 0 of {self._name!r} is not running"
            raise InternalError(message)
        child.submit_batch(first, batch)

    def flush(self) -> None:
        """Send what was submitted."""
        for child in self._children:
            if child is not None:
                child.flush()

    def flush_later(self) -> Callable[[], bool]:
        """Make ready what was submitted to the only worker, on the thread of who acts for the actor (`LatePlace`)."""
        (child,) = self._children
        return _write_nothing if child is None else partial(self._write_late, child, child.flush_later())

    def advance(self) -> bool:
        """Tell what could not be told inside the call that caused it."""
        if self._unwritten is not None:
            child, self._unwritten = self._unwritten, None
            child.write()
        if self._unborn:
            number, reason = self._unborn.pop(0)
            self._listener.on_lost(number, reason, Lost(None, (), ()))
            return True
        if self._exchange is not None and self._exchange.is_called:
            self._share(self._exchange)
        return self._is_closing and self._finish_closing()

    def grant(self, number: int, seq: int) -> None:
        """Let the request go on past its oldest part."""
        child = self._children[number]
        if child is not None:
            child.grant(seq)

    def pass_by(self, number: int) -> None:
        """Do nothing: what stood behind it has come back."""

    def hold(self) -> None:
        """Tell all workers to stay at their next part or stop; what they had not begun comes back when they do."""
        if not self._is_held:
            self._is_held = True
            for child in self._children:
                if child is not None:
                    child.hold()

    def release(self) -> None:
        """Tell all workers to go on."""
        if self._is_held:
            self._is_held = False
            for child in self._children:
                if child is not None:
                    child.release()

    @property
    def is_still(self) -> bool:
        """Whether no worker has a request but such as it is parked on, by what they have told."""
        return all(child is None or child.is_still for child in self._children)

    def kill(self, number: int, reason: Reason) -> None:
        """End a worker and all it has started, now."""
        child = self._children[number]
        if child is not None:
            child.kill(reason)

    def retire(self, number: int, reason: Shutdown) -> None:
        """Ask a worker that has nothing in hand to end; `on_lost` follows with `reason`."""
        child = self._children[number]
        if child is not None and not self._is_closing:
            self._retiring[number] = reason
            child.stop(reason)
            child.end_at, child.end_reason = self._clock() + GOODBYE_SECONDS, CLOSED

    def close(self, timeout: float, reason: Reason = CLOSED) -> None:
        """Ask all workers to end because of `reason`; they get `timeout` seconds, then they are killed.

        Idle ones get `GOODBYE_SECONDS` at least; called again, it cuts the time that is left to `timeout`.
        """
        now = self._clock()
        is_first, self._is_closing = not self._is_closing, True
        for child in self._children:
            if child is None:
                continue
            end_at = now + (max(timeout, GOODBYE_SECONDS) if is_first and not len(child.link) else timeout)
            if is_first:
                child.stop(reason)
                if not child.is_ending:
                    child.end_at = None
            if not math.isinf(end_at):
                child.end_at = end_at if child.end_at is None else min(child.end_at, end_at)
            child.end_reason = CLOSED

    def abort(self) -> None:
        """End everything before returning, telling nobody; nothing when all is closed."""
        self._is_closing = self._is_closed = True
        for number, child in enumerate(self._children):
            if child is not None:
                child.abort()
                self._children[number] = None
        self._starter.close()

    def next_deadline(self) -> float | None:
        """Clock reading at which a worker may have run out of time."""
        deadline = self._look_at if self._wanting else math.inf
        for child in self._children:
            if child is None:
                continue
            if child.end_at is not None and child.end_at < deadline:
                deadline = child.end_at
            if self._has_limits:
                deadline = min(deadline, self._limits[child.number].next_look(self._clock()))
        return deadline if deadline < math.inf else None

    def on_tick(self, now: float) -> None:
        """End the workers whose time is over, hold the others to their limits, and see who waits in vain."""
        if self._exchange is not None and self._look_at <= now and self._wanting:
            self._share(self._exchange)
        for child in self._children:
            if child is None:
                continue
            if child.end_at is not None and child.end_at <= now:
                child.end_at = None
                child.kill(child.end_reason)
            elif self._has_limits:
                self._limits[child.number].look(now)

    def workers(self) -> tuple[Worker, ...]:
        """The workers that are running, by number."""
        listed = []
        for child in self._children:
            if child is not None:
                page = child.page()
                since = page.since if page.seq is not None else None
                listed.append(
                    Worker(
                        child.number,
                        child.incarnation,
                        child.pid,
                        child.is_ready,
                        len(child.link),
                        page.seq,
                        since,
                        child.node,
                        child.used,
                    )
                )
        return tuple(listed)

    def ask_stacks(self) -> None:
        """Have all workers that are ready tell where they are."""
        for child in self._children:
            if child is not None and child.is_ready:
                child.ask_stack()

    def read_stacks(self) -> list[WorkerAt]:
        """Give what they have told so far, by number."""
        listed = []
        for child in self._children:
            if child is not None and child.is_ready:
                page = child.page()
                since = page.since if page.seq is not None and page.since < math.inf else None
                listed.append(WorkerAt(child.number, child.pid, page.seq, since, child.read_stack(), child.node))
        return listed

    # -- What the children tell

    def on_child_ready(self, child: Child) -> None:
        """It takes requests."""
        if not self._is_closing:
            child.end_at = None
        self._listener.on_ready(child.number)

    def on_child_part(self, child: Child, seq: int, body: bytes) -> None:
        """Pass a part on."""
        self._listener.on_part(child.number, seq, body)

    def on_child_done(self, child: Child, seqs: list[int], bodies: list[Any], seconds: list[float]) -> None:
        """Pass results on."""
        self._listener.on_done(child.number, list(zip(seqs, bodies, seconds, repeat(self._clock()))))

    def on_child_failed(self, child: Child, seq: int, body: bytes, returned: tuple[int, ...]) -> None:
        """Pass a failure on."""
        self._listener.on_failed(child.number, seq, body, returned)

    def on_child_log(self, child: Child, frame: Log) -> None:
        """Pass a record on."""
        self._note_log(child.number, frame)

    def on_child_returned(self, child: Child, seqs: tuple[int, ...]) -> None:
        """Pass on what was not begun."""
        self._listener.on_returned(child.number, seqs)

    def on_child_wants(self, child: Child) -> None:
        """Let it have room as soon as there is some."""
        if child in self._wanting:
            self._wanting.remove(child)
        if child.want is not None:
            self._wanting.append(child)
        if self._exchange is not None:
            self._exchange.note_waiting(len(self._wanting))
            self._share(self._exchange)

    def on_child_output(self, child: Child, stream: str, line: str) -> None:
        """Pass a line on."""
        self._output(child.number, stream, line)

    def on_child_silent(self, child: Child) -> None:
        """Give it a moment to end by itself."""
        child.end_at = self._clock() + GOODBYE_SECONDS
        child.end_reason = ProtocolError("it closed its channel", child.pid)

    def on_child_leaving(self, child: Child) -> None:
        """Give it a moment, whatever time a close allows those who work."""
        soon = self._clock() + GOODBYE_SECONDS
        child.end_at = soon if child.end_at is None else min(child.end_at, soon)

    def on_child_gone(self, child: Child, reason: Reason, lost: Lost) -> None:
        """Pass a loss on; when closing, only if something was in its hands or it did not end as asked."""
        if child.ended is not None:
            self._note_ended(child.number, child.ended.cpu_seconds, child.ended.peak_bytes)
        if not self._is_closing and lost == Lost(None, (), ()):
            reason = self._retiring.pop(child.number, reason)
        self._children[child.number] = None
        if child in self._wanting:
            self.on_child_wants(child)
        self._doubted[child.number] = child.link.doubted
        if len(self._doubted) > 1:
            self._doubt_all(child.link.doubted)
        if not self._is_closing or reason != CLOSED or lost != Lost(None, (), ()):
            self._listener.on_lost(child.number, reason, lost)
        if self._is_closing:
            self._finish_closing()

    # -- Private

    def _share(self, exchange: Exchange) -> None:
        """Let those who wait for shared memory have it, and tell all what they have to know of theirs."""
        exchange.is_called = False
        for waiting in tuple(self._wanting):
            party, want = waiting.party, waiting.want
            served = True if party is None or want is None else exchange.serve(party, want.size)
            if served is None:
                continue
            self._wanting.remove(waiting)
            if not served:
                waiting.tell_full()
        exchange.note_waiting(len(self._wanting))
        self._look_at = self._clock() + LOOK_SECONDS
        for child in self._children:
            if child is not None and child.is_ready and child.party is not None and child.party.is_called:
                child.send_orders()

    def _write_late(self, child: Child, write: Callable[[], bool]) -> bool:
        if write():
            return True
        self._unwritten = child
        return False

    def _doubt_all(self, count: int) -> None:
        """Let every worker get `count` requests one at a time: whichever gets those of the lost one."""
        for number, child in enumerate(self._children):
            if child is None:
                self._doubted[number] = max(self._doubted[number], count)
            else:
                child.link.doubted = max(child.link.doubted, count)

    def _finish_closing(self) -> bool:
        if self._is_closed or any(child is not None for child in self._children):
            return False
        self._is_closed = True
        self._starter.close()
        self._listener.on_closed()
        return True


def _write_nothing() -> bool:
    """Write nothing, to a worker that is not there."""
    return True
