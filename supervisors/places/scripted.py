"""The place for tests: a pool of simulated processes, whose every move is drawn from a seed.

Owns the fiction of processes: what is on its way in either direction, what is lost when one
dies, what had run by then. Runs the real service object, and keeps to the contract of `base`.
Never starts a process, a thread or a timer: `tick` makes one move of one worker.

Theory of operation. A request goes `submit` -> (flush) -> inbox -> run -> unsent -> (the worker
flushes) -> pipe -> listener. A worker that dies loses its service, its inbox and what is unsent.
What is in the pipe was written before, and is read before its death is noticed. Until then its
owner may go on submitting to it. The word that it shall end is on its way too: a worker goes on until
that arrives, then begins nothing more, closes its service and leaves. The words that it is held and that it may go on
are on their way as well, and what it answers.

Unlike a real worker, one whose handler hands over parts by `Port.part` does not wait inside it
for grants, or because it is held, since nothing else could happen meanwhile; it waits before its next `advance`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sized
from functools import partial
from typing import Any, NamedTuple, cast

from supervisors.errors import InternalError, RequestTooLongError
from supervisors.places.base import (
    CLOSED,
    BatchExecution,
    BatchService,
    Execution,
    Listener,
    Lost,
    Ran,
    Service,
    Watch,
    Worker,
)
from supervisors.places.copies import generation
from supervisors.places.reports import Done, Failed, Parked, Part, Ready
from supervisors.places.simulated import Delivery, SimulatedPort, SimulatedWorker
from supervisors.reasons import Crashed, Reason, Shutdown, StartFailed, record_error
from supervisors.wire.frames import decode_body, encode_body

_FIRST_PID = 1_000
_SIGKILL = 9
_EXPIRY = 0.1
"""Probability of a move of a closing place by which the deadline of its close passes (arbitrary)."""


class Faults(NamedTuple):
    """What goes wrong, as probabilities from 0 to 1.

    Args:
        crash: of each move, that instead of it some worker dies: an idle one, one that has not
            begun its request, or one in the middle of it.
        crash_before_commit: of each result, that its worker dies before it is sent.
        start_failure: of each start, that the worker never becomes ready.
    """

    crash: float = 0.0
    crash_before_commit: float = 0.0
    start_failure: float = 0.0


class ScriptedPlace:
    """A pool of simulated worker processes.

    Args:
        make_service: makes the service, once for each incarnation.
        listener: who is told of the ends.
        rng: what every move is drawn from.
        workers: how many workers there are.
        window: requests that a worker takes ahead.
        faults: what goes wrong.
        clock: gives the time in seconds, for listings.
        max_request_bytes: the longest request it carries, as the bound on a frame makes it; None for no bound.
        result_type: what results are read as, as of a place of processes.
        results_type: what those of batches are read as, likewise.
    """

    def __init__(  # noqa: PLR0913  a place has that many sides
        self,
        make_service: Callable[[], Service],
        listener: Listener,
        rng: random.Random,
        *,
        workers: int = 1,
        window: int = 4,
        faults: Faults = Faults(),  # noqa: B008  frozen
        clock: Callable[[], float] = lambda: 0.0,
        max_request_bytes: int | None = None,
        result_type: Any = bytes,
        results_type: Any = None,
    ) -> None:
        self._make_service = make_service
        self._listener = listener
        self._random = rng
        self._window = window
        self._faults = faults
        self._clock = clock
        self._max_request_bytes = max_request_bytes
        self._result_type = result_type
        self._results_type = results_type
        self._workers = [SimulatedWorker(number) for number in range(workers)]
        self._pids = 0
        self._is_held = False
        self._is_closing = False
        self._is_closed = False
        self._closing_reason: Reason = CLOSED
        self._may_expire = True
        self.deaths = 0
        """Workers that died so far, by a fault or by `kill`."""

    # -- Place

    def start(self, number: int, boot: Any) -> None:
        """Start a new incarnation; it boots in one of the next moves."""
        worker = self._workers[number]
        if worker.is_known or self._is_closing:
            raise InternalError(f"worker {number} cannot be started: it runs, or its place is closing")
        self._pids += 1
        worker = SimulatedWorker(number, worker.incarnation + 1, _FIRST_PID + self._pids, boot, is_known=True)
        self._workers[number] = worker
        if self._is_held:
            worker.order_hold()

    def room(self, number: int) -> int:
        """How many more requests the worker takes now."""
        worker = self._workers[number]
        if not worker.is_ready or worker.doom is not None or self._is_closing or self._is_held:
            return 0
        return max(0, self._window - len(worker.in_hand))

    def submit(self, number: int, requests: Iterable[tuple[int, Any]]) -> None:
        """Keep the requests until `flush`.

        Raises:
            RequestTooLongError: one is longer than `max_request_bytes`; those before it are kept.
        """
        worker = self._workers[number]
        bound = self._max_request_bytes
        for seq, request in requests:
            if not self.room(number) or seq in worker.in_hand:
                raise InternalError(f"worker {number} has no room for request {seq}, or has it")
            data = encode_body(request)
            if bound is not None and len(data) > bound:
                raise RequestTooLongError(seq, len(data), bound)
            worker.in_hand.append(seq)
            worker.outgoing.append(Delivery(worker.epoch, seq, data))

    def submit_batch(self, first: int, batch: Sized) -> None:
        """Keep a batch for the first worker until `flush`."""
        worker, count = self._workers[0], len(batch)
        if self.room(0) < count or first in worker.in_hand:
            raise InternalError(f"worker 0 has no room for {count} requests from {first} on, or has them")
        worker.in_hand.extend(range(first, first + count))
        worker.outgoing.append(Delivery(worker.epoch, first, encode_body(batch), count))

    def flush(self) -> None:
        """Send what was submitted."""
        for worker in self._workers:
            worker.inbox.extend(worker.outgoing)
            worker.outgoing.clear()

    def advance(self) -> bool:
        """Do nothing: the workers run elsewhere, in `tick`."""
        return False

    def grant(self, number: int, seq: int) -> None:
        """Let the request go on past its oldest part; late grants are ignored."""
        worker = self._workers[number]
        if worker.ungranted and worker.seq == seq:
            worker.ungranted.popleft()

    def pass_by(self, number: int) -> None:
        """Do nothing: what stood behind it has come back."""

    def hold(self) -> None:
        """Send the word; each worker hears it in one of the next moves."""
        if not self._is_held:
            self._is_held = True
            for worker in self._workers:
                if worker.is_alive:
                    worker.order_hold()

    def release(self) -> None:
        """Send the word; each worker hears it in one of the next moves."""
        if self._is_held:
            self._is_held = False
            for worker in self._workers:
                if worker.is_alive:
                    worker.order_release()

    @property
    def is_still(self) -> bool:
        """Whether no worker runs anything, by what has come of them."""
        return all(worker.is_still for worker in self._workers)

    def kill(self, number: int, reason: Reason) -> None:
        """Let the worker die in one of the next moves."""
        worker = self._workers[number]
        if worker.is_known and worker.doom is None and not worker.is_dead:
            worker.doom = reason

    def retire(self, number: int, reason: Shutdown) -> None:
        """Let a worker that has nothing in hand end in one of the next moves."""
        if self._workers[number].in_hand:
            raise InternalError(f"worker {number} is to retire with requests in hand")
        self.kill(number, reason)

    def close(self, timeout: float, reason: Reason = CLOSED) -> None:
        """End all workers in the next moves; the deadline, if there is one, passes at a drawn one."""
        self._is_closing = True
        self._closing_reason = reason
        self._may_expire = timeout < math.inf

    def abort(self) -> None:
        """End everything before returning, telling nobody."""
        self._is_closing = self._is_closed = True
        for worker in self._workers:
            worker.pipe.clear()
            worker.in_hand.clear()
            worker.leave()

    def next_deadline(self) -> float | None:
        """None: nothing is timed."""
        return None

    def on_tick(self, now: float) -> None:
        """Do nothing."""

    def workers(self) -> tuple[Worker, ...]:
        """List the workers, by number."""
        return tuple(worker.describe() for worker in self._workers)

    # -- the simulation

    def tick(self) -> bool:
        """Make one move, drawn from all that are possible; False when there is none."""
        moves = self._moves()
        if not moves:
            return False
        alive = [worker for worker in self._workers if worker.is_alive]
        if alive and self._random.random() < self._faults.crash:
            worker = self._random.choice(alive)
            worker.die(Crashed(signal=_SIGKILL, pid=worker.pid))
            self.deaths += 1
        else:
            self._random.choice(moves)()
        return True

    def _moves(self) -> list[Callable[[], None]]:
        moves = [move for worker in self._workers for move in self._moves_of(worker)]
        if self._is_closing and not self._is_closed and not any(worker.is_known for worker in self._workers):
            moves.append(self._finish_closing)
        return moves

    def _moves_of(self, worker: SimulatedWorker) -> list[Callable[[], None]]:
        moves: list[Callable[[], None]] = []
        if worker.pipe:
            moves.append(lambda: self._deliver(worker))
        elif worker.is_dead and worker.is_known:
            moves.append(lambda: self._tell_lost(worker))
        if not worker.is_alive:
            return moves
        if worker.orders:
            moves.append(worker.hear)
        if worker.doom is not None:
            moves.append(lambda: self._let_die(worker))
        moves.extend(self._own_moves(worker))
        if self._is_closing:
            moves.extend(self._closing_moves(worker))
        return moves

    def _own_moves(self, worker: SimulatedWorker) -> list[Callable[[], None]]:
        moves: list[Callable[[], None]] = []
        if worker.service is None:
            moves.append(lambda: self._boot(worker))
        elif worker.can_run:
            moves.append(lambda: self._run(worker))
        elif worker.can_park:
            moves.append(worker.park)
        if worker.unsent:
            moves.append(worker.send_unsent)
        return moves

    def _closing_moves(self, worker: SimulatedWorker) -> list[Callable[[], None]]:
        moves: list[Callable[[], None]] = []
        if worker.has_closed:
            moves.append(lambda: worker.die(CLOSED))
        elif worker.is_stopping:
            # Also in the middle of a request that waits for a grant: it is cut short.
            if not worker.can_run:
                moves.append(lambda: self._close_service(worker))
        elif worker.service is not None:
            moves.append(worker.stop)
        if self._may_expire and self._random.random() < _EXPIRY:
            moves.append(lambda: worker.die(CLOSED))
        return moves

    def _close_service(self, worker: SimulatedWorker) -> None:
        service = worker.service
        if service is None:
            raise InternalError("a worker closes without a service")
        if worker.seq is not None:
            service.settle(accepted=False)
        worker.send_unsent()
        try:
            service.close(self._closing_reason)
        except BaseException:  # noqa: BLE001  as a program that ends by an exception
            worker.die(Crashed(exit_code=1, pid=worker.pid))
            return
        worker.has_closed = True

    def _boot(self, worker: SimulatedWorker) -> None:
        if self._random.random() < self._faults.start_failure:
            worker.die(StartFailed(record_error(OSError("a simulated failure of the start"))))
            return
        try:
            service = self._make_service()
            service.boot(worker.number, worker.boot)
        except BaseException as error:  # noqa: BLE001  it becomes the reason of the loss
            worker.die(StartFailed(record_error(error)))
            return
        worker.service = service
        worker.pipe.append(Ready())

    def _run(self, worker: SimulatedWorker) -> None:
        service = worker.service
        if service is None:
            raise InternalError("a worker runs without a service")
        if worker.seq is None and not worker.take_next():
            return
        if worker.batch is not None and not worker.is_started and (worker.hold or worker.is_stopping):
            worker.end_batch(service, is_apart=False)
            return
        seq, delivery = worker.seq, worker.request
        if seq is None or delivery is None:
            raise InternalError("a worker runs without a request")
        try:
            if worker.execution is None:
                self._begin(worker, service, delivery)
                if self._random.random() < 0.5:  # noqa: PLR2004  stop here, where a crash finds it begun, or go on
                    return
            if worker.batch is not None:
                is_done = self._run_one_of(worker, service, worker.batch)
            else:
                is_done = self._run_one(worker, service, seq, worker.execution)
        except BaseException as error:  # noqa: BLE001  whatever a request raises is its failure
            failed = seq if worker.batch is None else worker.first + worker.batch.position
            worker.report_failure(service, failed, error)
            return
        if is_done and self._random.random() < self._faults.crash_before_commit:
            worker.die(Crashed(signal=_SIGKILL, pid=worker.pid))
            self.deaths += 1

    def _begin(self, worker: SimulatedWorker, service: Service, delivery: Delivery) -> None:
        port = SimulatedPort(worker)
        if not delivery.length:
            worker.execution = service.begin(decode_body(delivery.request, service.request_type), port)
            return
        batch = delivery.request
        if isinstance(batch, bytes):
            batch = decode_body(batch, service.batch_type)
        worker.first = delivery.seq
        worker.execution = worker.batch = cast("BatchService", service).begin_batch(batch, port, self._clock())

    def _run_one(self, worker: SimulatedWorker, service: Service, seq: int, execution: Execution | None) -> bool:
        """Run a request to its next stop; tells whether that was its end."""
        if execution is None:
            raise InternalError("a worker runs a request that it has not begun")
        worker.is_started = True
        if not execution.advance():
            worker.is_cut_short = worker.is_stopping
            return False
        body = decode_body(encode_body(execution.result), self._result_type)
        if execution.touched:
            service.settle(accepted=True)
        worker.forget()
        worker.unsent.append(Done(seq, body, self._random.random()))
        return True

    def _run_one_of(self, worker: SimulatedWorker, service: Service, batch: BatchExecution) -> bool:
        """Run a batch's next request, or the present one, or some more, to a stop; tells whether that was an end."""
        worker.is_started = True
        until = math.inf if self._random.random() < 0.3 else -math.inf  # noqa: PLR2004  to the first that stands out
        watch = Watch(self._clock, generation.mark, partial(self._note, worker), 0, worker.first)
        ran = batch.run(watch, (), until)
        if ran is Ran.STOPPED:
            worker.is_cut_short = worker.is_stopping
            return False
        seq = worker.first + batch.position
        if ran is Ran.APART:
            body = decode_body(encode_body(batch.result), self._result_type)
            worker.end_batch(service, is_apart=True)
            worker.unsent.append(Done(seq, body, self._random.random()))
        elif seq == worker.last + 1:
            worker.end_batch(service, is_apart=False)
        else:
            worker.seq, worker.is_started = seq, False
            if self._random.random() < 0.5:  # noqa: PLR2004  as if some time had gone by, or not
                worker.collect()
        return True

    @staticmethod
    def _note(worker: SimulatedWorker, _ran: int, _since: float, seq: int) -> None:
        """Note that a worker is on one of its batch."""
        worker.seq = seq

    def _deliver(self, worker: SimulatedWorker) -> None:
        number, listener = worker.number, self._listener
        match worker.pipe.popleft():
            case Ready():
                worker.is_ready = True
                listener.on_ready(number)
            case Part(seq, body):
                listener.on_part(number, seq, body)
            case Done(seq, body, seconds) as done:
                for each in done.seqs:
                    worker.check_oldest(each)
                    worker.in_hand.popleft()
                if done.length:
                    body = decode_body(body, self._results_type)
                listener.on_done(number, ((seq, body, seconds, self._clock()),))
            case Failed(seq, body):
                worker.check_oldest(seq)
                worker.in_hand.popleft()
                listener.on_failed(number, seq, body, worker.take_back())
            case Parked(hold, seq):
                if seq is not None:
                    worker.check_oldest(seq)
                returned = worker.take_back(seq)
                worker.parked = hold
                if returned:
                    listener.on_returned(number, returned)

    def _let_die(self, worker: SimulatedWorker) -> None:
        if worker.doom is not None:
            worker.die(worker.doom)
            self.deaths += 1

    def _tell_lost(self, worker: SimulatedWorker) -> None:
        reason, suspect, ran = worker.leave_dead()
        begun = {suspect, *ran}
        unbegun = tuple(seq for seq in worker.in_hand if seq not in begun)
        worker.in_hand.clear()
        lost = Lost(suspect, ran, unbegun)
        if not self._is_closing or reason != CLOSED or lost != Lost(None, (), ()):
            self._listener.on_lost(worker.number, reason, lost)

    def _finish_closing(self) -> None:
        self._is_closed = True
        self._listener.on_closed()
