"""A place around a pool of workers that tells of their requests in the order in which they were submitted.

Either of all of them in one order, or of each worker's in an order of its own: then a failure, too, holds up its own
worker alone. What is said of the line below is said of each.

Owns what has come from the workers before its turn (`line`), and who has to run what once more. Lives on its actor's
thread, as the place of the workers does; starts nothing, and never decides what a failure means.

Theory of operation. Each request stays with the worker that it was submitted to until it has left the line, and each
worker gets its own in the order of the line. What a worker gives back, because one before it failed or because it is
held, waits here and is handed to it again by itself; the listener is told of none of that. So does what was assigned
to a worker before that has room for it. Behind a request that
failed its worker gets nothing before it is known what becomes of that one, so it is free when that is submitted once
more, at the head. From both follows that the head of the line never stands behind a request that waits for its turn.

A worker that dies takes along what it had handed over before its turn: the next incarnation begins with what was
committed, of which that is no part. It is told of at once, so that it can be replaced; the request that it died on
fails in its turn, as one that was overdue does.

What waits for its turn is bounded, in number (`limit`) and in bytes (`KEPT_BYTES`): over that nothing more is taken,
and whoever runs ahead waits. Parts are bounded by their grants, as anywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from supervisors.errors import FrameError, InternalError, RequestTooLongError
from supervisors.places.base import (
    CLOSED,
    Finished,
    Inspectable,
    Listener,
    LoopListener,
    Lost,
    Place,
    Worker,
    WorkerAt,
)
from supervisors.places.line import Line
from supervisors.reasons import DeadlineExceeded, ProtocolError, Raised, Reason, Shutdown, record_error

KEPT_BYTES = 16 * 1024 * 1024
"""Bytes of parts and results before their turn with which nothing more is taken (arbitrary)."""
WINDOW_LIMIT = 256
"""Requests that a worker holds at most, as `process.link` has it."""


class OrderedListener(LoopListener, Protocol):
    """Who hands requests to workers that are told of in order."""

    def request_for(self, number: int, seq: int, *, may_have_run: bool) -> Any:
        """Give a request that was assigned to a worker, or that it has to run again.

        Args:
            number: the worker.
            seq: the request.
            may_have_run: whether it was begun before.
        """

    def on_refused(self, number: int, seq: int, reason: Reason) -> None:
        """A request that was asked for by `request_for` is longer than the place carries."""

    def on_left(self, seq: int, *, is_done: bool) -> None:
        """A request has left the line: its worker has run it to the end, or it failed or came back."""

    def may_overtake(self, body: Any) -> bool:
        """Tell whether a part may be told before its turn; raises `FrameError` for what it cannot read."""

    def size_of(self, body: Any) -> int:
        """Give how many bytes a result holds."""


class PoolPlace(Place, Protocol):
    """A place with workers that can be ended one by one."""

    def retire(self, number: int, reason: Shutdown) -> None:
        """Ask a worker that has nothing in hand to end; `on_lost` follows with `reason`."""


class _Part(NamedTuple):
    seq: int
    body: Any
    size: int


class _Done(NamedTuple):
    """A request that was run, and how many bytes its result holds."""

    seq: int
    finished: Finished
    size: int


class _Failed(NamedTuple):
    seq: int
    body: Any


class _Refused(NamedTuple):
    seq: int
    reason: Reason


class _Fallen(NamedTuple):
    """It failed by no word of its own; with `is_loss` the loss of its worker is to be told with it."""

    seq: int
    reason: Reason
    is_loss: bool


class OrderedPlace:
    """Tell of the requests of a pool in order.

    Args:
        make_pool: makes the place of the workers, given who listens to it.
        listener: who is told in order.
        workers: how many there are.
        is_one: whether there is one order for all; False: each worker has its own.
        limit: requests in the line at most, no fewer than there are workers.
    """

    def __init__(
        self,
        make_pool: Callable[[Listener], PoolPlace],
        listener: OrderedListener,
        *,
        workers: int,
        limit: int,
        is_one: bool,
    ) -> None:
        self._listener = listener
        self._limit = limit
        self._lines = [Line(is_ordered=True)] * workers if is_one else [Line(is_ordered=True) for _ in range(workers)]
        """That of each worker."""
        self._all_lines = tuple(dict.fromkeys(self._lines))
        self._queues: list[deque[int]] = [deque() for _ in range(workers)]
        """Of each worker what it has in the line, in the order of that."""
        self._workers_of: dict[int, int] = {}
        """In whose hands each request in the line is."""
        self._pending: list[deque[int]] = [deque() for _ in range(workers)]
        """Of each worker what is to be handed to it, in the order of the line, with what has failed between."""
        self._again: dict[int, bool] = {}
        """What is to be handed out, and whether it may have been run."""
        self._failed: set[int] = set()
        """What has failed and was not told of yet."""
        self._killed: dict[int, list[int]] = {}
        """What workers had that were killed for the listener, and whose end was not told yet."""
        self._lost: set[int] = set()
        """Workers whose loss is to be told with the request they died on."""
        self._culprits: dict[int, int] = {}
        """Workers that are being ended for what a request handed over, with that request."""
        self._kept_bytes = 0
        self._is_closing = False
        self._has_pool_closed = False
        self._pool = make_pool(self)

    # -- Place

    def start(self, number: int, boot: Any) -> None:
        """Start a new incarnation of a worker."""
        self._pool.start(number, boot)

    def room(self, number: int) -> int:
        """How many more requests the worker takes now, where the line takes as many."""
        if self._lines[number].is_blocked:
            return self._pool.room(number)  # for what goes to the head: its own worker has nothing else
        if self._pending[number]:
            return 0
        # Its share, since each is asked before any of them is given something.
        return min(self._pool.room(number), self.free // len(self._queues))

    @property
    def free(self) -> int:
        """How many more requests the lines take now."""
        if self._kept_bytes >= KEPT_BYTES or self._is_closing:
            return 0
        return max(0, self._limit - len(self._workers_of))  # what is tried again comes in over the limit

    def submit(self, number: int, requests: Iterable[tuple[int, Any]]) -> None:
        """Hand requests to a worker; they come last in the line, or first where that waits for them."""
        line, queue = self._lines[number], self._queues[number]
        for seq, body in requests:
            self._pool.submit(number, ((seq, body),))
            if line.is_blocked:
                queue.appendleft(seq)
            else:
                queue.append(seq)
            line.enter([seq])
            self._workers_of[seq] = number

    def assign(self, number: int, seq: int) -> None:
        """Let a request come last in the line of a worker, which is handed to it when there is room (`request_for`)."""
        self._lines[number].append(seq)
        self._queues[number].append(seq)
        self._workers_of[seq] = number
        self._pending[number].append(seq)
        self._again[seq] = False

    def flush(self) -> None:
        """Send what was submitted."""
        self._pool.flush()

    def advance(self) -> bool:
        """Tell one thing whose turn has come."""
        if self._again and not self._is_closing:
            self._hand_out_pending()
        for line in self._all_lines:
            report = line.take()
            if report is not None:
                self._tell(report)
                return True
        if self._has_pool_closed:
            return self._finish_closing()
        return self._pool.advance()

    def grant(self, number: int, seq: int) -> None:
        """Let the request go on past its oldest part."""
        self._pool.grant(number, seq)

    def pass_by(self, number: int) -> None:
        """Go on without the request that failed."""
        self._lines[number].pass_by()

    def hold(self) -> None:
        """Let no request go on past its next part or stop."""
        self._pool.hold()

    def release(self) -> None:
        """Let them go on."""
        self._pool.release()

    @property
    def is_still(self) -> bool:
        """Whether no request's own code runs, and nothing is left to tell of."""
        return self._pool.is_still and not any(line.has_next() for line in self._all_lines)

    def kill(self, number: int, reason: Reason) -> None:
        """End a worker; all it has in the line comes back with it, and what it has handed over is dropped."""
        self._pending[number].clear()
        for seq in (held := tuple(self._queues[number])):
            self._leave(seq)
        if number in self._lost:
            self._lost.discard(number)
            self._listener.on_lost(number, reason, Lost(None, held, ()))
        elif any(worker.number == number for worker in self._pool.workers()):
            self._killed.setdefault(number, []).extend(held)
            self._pool.kill(number, reason)
        elif held:
            self._listener.on_returned(number, held)

    def retire(self, number: int, reason: Shutdown) -> None:
        """Ask a worker that has nothing in the line to end."""
        self._pool.retire(number, reason)

    def close(self, timeout: float, reason: Reason = CLOSED) -> None:
        """Ask all workers to end after the request they are on; what cannot be told then comes back, in order."""
        self._is_closing = True
        self._pool.close(timeout, reason)

    def abort(self) -> None:
        """End everything before returning, telling nobody."""
        self._pool.abort()

    def next_deadline(self) -> float | None:
        """Clock reading at which the pool is to be told the time."""
        return self._pool.next_deadline()

    def on_tick(self, now: float) -> None:
        """Tell the pool the time."""
        self._pool.on_tick(now)

    def workers(self) -> tuple[Worker, ...]:
        """The workers that run, and those that do not and are waited for; with all they have in the line."""
        running = {worker.number: worker for worker in self._pool.workers()}
        listed = []
        for number, queue in enumerate(self._queues):
            worker = running.get(number)
            if worker is not None or queue:
                worker = Worker(number, 0, None, False, 0, None, None) if worker is None else worker
                listed.append(worker._replace(in_hand=len(queue)))
        return tuple(listed)

    def ask_stacks(self) -> None:
        """Have the pool's workers tell where they are, if it is of such."""
        if isinstance(self._pool, Inspectable):
            self._pool.ask_stacks()

    def read_stacks(self) -> list[WorkerAt]:
        """Give what they have told so far."""
        return self._pool.read_stacks() if isinstance(self._pool, Inspectable) else []

    # -- Listener, of the pool

    def on_ready(self, number: int) -> None:
        """Pass it on."""
        self._listener.on_ready(number)

    def on_part(self, number: int, seq: int, body: Any) -> bool:
        """Keep a part for its turn, unless it may come before."""
        if self._workers_of.get(seq) != number:
            return False
        if self._listener.may_overtake(body):
            return self._listener.on_part(number, seq, body)
        self._keep(_Part(seq, body, len(body)))
        return True

    def on_done(self, number: int, finished: Sequence[Finished]) -> bool:
        """Keep results for their turn."""
        is_known = True
        for entry in finished:
            seq = entry[0]
            if self._workers_of.get(seq) == number:
                self._keep(_Done(seq, entry, self._listener.size_of(entry[1])))
            else:
                is_known = False
        return is_known

    def on_returned(self, number: int, seqs: tuple[int, ...]) -> None:
        """Hand them out again later."""
        self._put_back(number, seqs)

    def on_failed(self, number: int, seq: int, body: Any, returned: tuple[int, ...]) -> None:
        """Keep the failure for its turn, and hand out again later what stood behind it."""
        self._put_back(number, returned)
        if self._workers_of.get(seq) == number:
            self._keep_failed(_Failed(seq, body))
            self._pending[number].appendleft(seq)

    def on_lost(self, number: int, reason: Reason, lost: Lost) -> None:
        """Let everything of that worker be run again, but for what it died on."""
        killed = self._killed.pop(number, None)
        suspect = self._culprits.pop(number, lost.suspect)
        if self._is_closing:
            return  # what it had comes back with all the rest
        if killed is not None:
            is_known = suspect in killed
            others = tuple(seq for seq in killed if seq != suspect)
            self._listener.on_lost(number, reason, Lost(suspect if is_known else None, others, ()))
            return
        line = self._lines[number]
        is_at_head = suspect is not None and line.head == suspect and not line.is_blocked
        # From a word that made no sense, or a signal that asked it to end, to its end a worker may have gone on.
        may_have_run = isinstance(reason, ProtocolError | DeadlineExceeded)
        self._pending[number] = deque(self._queues[number])
        for seq in self._queues[number]:
            if seq in self._failed:
                self._keep(self._drop_kept(seq)[-1])  # how it failed; what it handed over before is gone as well
            elif seq == suspect:
                # What it handed over before is a part of what was tried, and of no other try.
                self._drop_kept(seq)
                self._again.pop(seq, None)
                self._keep_failed(_Fallen(seq, reason, is_loss=is_at_head))
            else:
                was_begun = may_have_run and seq not in self._again
                has_run = self._drop_kept(seq) or seq in lost.ran or seq == lost.suspect or self._again.get(seq)
                self._again[seq] = bool(has_run or was_begun)
        if is_at_head:
            self._lost.add(number)
        else:
            self._listener.on_lost(number, reason, Lost(None, (), ()))

    def on_closed(self) -> None:
        """Be done once all is told whose turn has come."""
        self._has_pool_closed = True

    # -- Private

    def _line_of(self, seq: int) -> Line:
        return self._lines[self._workers_of[seq]]

    def _put_back(self, number: int, seqs: tuple[int, ...]) -> None:
        known = [seq for seq in seqs if self._workers_of.get(seq) == number]
        self._again.update((seq, False) for seq in known)
        self._pending[number].extendleft(reversed(known))

    def _hand_out_pending(self) -> None:
        """Hand out what its worker has room for, in order, but nothing behind a request that failed."""
        has_some = False
        for number, pending in enumerate(self._pending):
            if not pending or self._lines[number].is_blocked:
                continue
            room = self._pool.room(number)
            while room > 0 and pending and pending[0] not in self._failed:
                room -= 1
                has_some = True
                seq = pending.popleft()
                self._hand_out_one(number, seq, may_have_run=self._again.pop(seq))
        if has_some:
            self._pool.flush()

    def _hand_out_one(self, number: int, seq: int, *, may_have_run: bool) -> None:
        request = self._listener.request_for(number, seq, may_have_run=may_have_run)
        try:
            self._pool.submit(number, ((seq, request),))
        except RequestTooLongError as error:
            self._keep_failed(_Refused(seq, Raised(record_error(error))))
            self._pending[number].appendleft(seq)

    def _keep_failed(self, report: _Failed | _Fallen | _Refused) -> None:
        self._failed.add(report.seq)
        self._keep(report)

    def _keep(self, report: _Part | _Done | _Failed | _Fallen | _Refused) -> None:
        self._kept_bytes += _size_of(report)
        self._line_of(report.seq).keep(report)

    def _drop_kept(self, seq: int) -> tuple[Any, ...]:
        """Forget and give what a request has handed over."""
        dropped = self._line_of(seq).drop_kept(seq)
        self._kept_bytes -= sum(map(_size_of, dropped))
        return dropped

    def _leave(self, seq: int, *, is_done: bool = False) -> None:
        self._drop_kept(seq)
        number = self._workers_of.pop(seq)
        self._lines[number].leave(seq)
        self._queues[number].remove(seq)
        if seq in self._failed or seq in self._again:
            self._failed.discard(seq)
            self._again.pop(seq, None)
            if seq in self._pending[number]:
                self._pending[number].remove(seq)
        self._listener.on_left(seq, is_done=is_done)

    def _tell(self, report: Any) -> None:
        self._kept_bytes -= _size_of(report)
        seq, listener = report.seq, self._listener
        number = self._workers_of[seq]
        try:
            match report:
                case _Part(_, body):
                    listener.on_part(number, seq, body)
                case _Done():
                    self._tell_done(number, report)
                case _Failed(_, body):
                    self._fail(seq)
                    listener.on_failed(number, seq, body, ())
                case _Refused(_, reason):
                    self._fail(seq)
                    listener.on_refused(number, seq, reason)
                case _Fallen(_, reason, is_loss):
                    self._fail(seq)
                    if is_loss:
                        self._lost.discard(number)
                        listener.on_lost(number, reason, Lost(seq, (), ()))
                    else:
                        listener.on_overdue(number, seq, reason)
                case _:
                    message = f"{report!r} was kept of a request"
                    raise InternalError(message)
        except FrameError as error:
            self._break_off(number, seq, error)

    def _tell_done(self, number: int, first: _Done) -> None:
        """Tell of the result at the head, and of those next in line that the same worker has handed over."""
        finished = [first.finished]
        for report in self._lines[number].list_behind():
            if not isinstance(report, _Done) or self._workers_of[report.seq] != number:
                break
            finished.append(report.finished)
        # First, since they may be read, refused, or end everything.
        try:
            self._listener.on_done(number, finished)
        except FrameError:
            if len(finished) == 1:
                raise
            # One of them cannot be read: each is told by itself.
            del finished[1:]
            self._listener.on_done(number, finished)
        for entry in finished:
            self._leave(entry[0], is_done=True)

    def _fail(self, seq: int) -> None:
        line = self._line_of(seq)
        self._leave(seq)
        line.fail(seq)

    def _break_off(self, number: int, seq: int, error: FrameError) -> None:
        """End the worker for a request that handed over what cannot be read, and fails by that, at the head."""
        if seq in self._workers_of:
            self._drop_kept(seq)
        else:
            self._lines[number].enter([seq])
            self._queues[number].appendleft(seq)
            self._workers_of[seq] = number
        running = [worker for worker in self._pool.workers() if worker.number == number]
        reason = ProtocolError(str(error), running[0].pid if running else None)
        if running and number not in self._culprits:
            self._culprits[number] = seq
            self._pool.kill(number, reason)
        else:  # it has ended since
            self._keep_failed(_Fallen(seq, reason, is_loss=False))

    def _finish_closing(self) -> bool:
        self._has_pool_closed = False
        left = tuple(seq for line in self._all_lines for seq in line.split(None)[0])
        for seq in left:
            self._leave(seq)
        if left:
            self._listener.on_lost(0, CLOSED, Lost(None, left, ()))
        self._listener.on_closed()
        return True


def line_limit(workers: int) -> int:
    """Give how many requests may be in the line of a pool: what its workers hold, and one window that has finished."""
    return WINDOW_LIMIT * (workers + 1)


def _size_of(report: Any) -> int:
    return report.size if isinstance(report, _Part | _Done) else 0
