"""One simulated worker process of the scripted place: what is true of it, and what is known.

Owns what is on its way in either direction, and what is lost when it dies. Never decides what
happens next: that is drawn by `scripted`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from supervisors.errors import InternalError
from supervisors.places.base import PART_BOUND, BatchExecution, Execution, Service, Worker, tell_failure
from supervisors.places.reports import Done, Failed, Parked, Part, Ready
from supervisors.reasons import Reason
from supervisors.wire.frames import encode_body

Frame = Ready | Part | Done | Failed | Parked


class Delivery(NamedTuple):
    """A request on its way.

    Args:
        epoch: how often its owner knew, when it was sent, that the worker had dropped what it had not begun.
        seq: its number; of a batch that of the first.
        request: the request, or the batch; its bytes, but for what is left of a batch.
        length: how many requests are in the batch; 0 for one by itself.
    """

    epoch: int
    seq: int
    request: Any
    length: int = 0


@dataclass
class SimulatedWorker:
    """One incarnation: what its owner knows, what is on the way, and what it is in truth."""

    number: int
    incarnation: int = 0
    pid: int | None = None
    boot: Any = None
    is_known: bool = False
    """Whether its owner takes it to exist: from `start` until its end was told."""
    is_ready: bool = False
    """Whether its owner knows that it has booted."""
    in_hand: deque[int] = field(default_factory=deque)
    epoch: int = 0
    holds: int = 0
    """How often it was held, as its owner knows."""
    is_held: bool = False
    """Whether its owner holds it."""
    parked: int = 0
    """The number of the last hold that its owner knows it to be parked by."""
    doom: Reason | None = None
    outgoing: list[Delivery] = field(default_factory=list)
    inbox: deque[Delivery] = field(default_factory=deque)
    orders: deque[int] = field(default_factory=deque)
    """What it is told of holds and has not heard: the number of each hold, 0 for its end."""
    pipe: deque[Frame] = field(default_factory=deque)
    unsent: list[Done] = field(default_factory=list)
    service: Service | None = None
    own_epoch: int = 0
    seq: int | None = None
    request: Delivery | None = None
    execution: Execution | None = None
    batch: BatchExecution | None = None
    """The execution of the batch that its request is one of."""
    first: int = 0
    """The number of the first request of that."""
    is_started: bool = False
    """Whether its request has come to a first stop."""
    ungranted: deque[int] = field(default_factory=deque)
    hold: int = 0
    """The number of the hold that it has heard of; 0 if there is none."""
    told: int = 0
    """The number of the last hold by which it has told to be parked."""
    is_stopping: bool = False
    """Whether it has been told to end."""
    is_cut_short: bool = False
    """Whether its request came to a stop after that, and will not go on."""
    has_closed: bool = False
    """Whether its service has closed."""
    death: tuple[Reason, int | None, tuple[int, ...]] | None = None

    @property
    def is_dead(self) -> bool:
        """Whether it has died; its owner may not know yet."""
        return self.death is not None

    @property
    def is_alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self.is_known and self.death is None

    @property
    def can_run(self) -> bool:
        """Whether it has a request to begin or to go on with."""
        if self.seq is not None:
            is_kept = self.is_started and self.hold != 0
            return sum(self.ungranted) < PART_BOUND and not self.is_cut_short and not is_kept
        return bool(self.inbox) and not self.is_stopping

    @property
    def can_park(self) -> bool:
        """Whether its request is at a part or stop, and it has not told that it is held there."""
        return self.seq is not None and self.is_started and not self.is_stopping and self.hold not in {0, self.told}

    @property
    def is_still(self) -> bool:
        """Whether it runs nothing, as far as its owner knows."""
        is_parked = self.is_held and self.parked == self.holds and self.doom is None
        return not self.in_hand or (is_parked and len(self.in_hand) == 1)

    def order_hold(self) -> None:
        """Send the word that it shall go no further than its next stop."""
        self.holds += 1
        self.is_held = True
        self.orders.append(self.holds)

    def order_release(self) -> None:
        """Send the word that it may go on."""
        self.is_held = False
        self.orders.append(0)

    def hear(self) -> None:
        """Hear of a hold, or of its end."""
        self.hold = self.orders.popleft()

    def park(self) -> None:
        """Drop what it has not begun, and write that it is held."""
        self.told = self.hold
        self.send_unsent()
        self.pipe.append(Parked(self.hold, self.seq))
        self.own_epoch += 1

    def describe(self) -> Worker:
        """Describe it for a listing."""
        return Worker(self.number, self.incarnation, self.pid, self.is_ready, len(self.in_hand), self.seq, None)

    def take_next(self) -> bool:
        """Take up the next request; False if it was given back meanwhile, or is now as the worker is held."""
        delivery = self.inbox.popleft()
        if delivery.epoch != self.own_epoch:
            return False  # sent before its owner knew that a request had failed, and given back with that
        if self.hold:
            self.park()
            return False
        self.seq, self.request, self.is_started = delivery.seq, delivery, False
        self.ungranted.clear()
        return True

    def stop(self) -> None:
        """Learn that it shall end."""
        self.is_stopping = True

    def send_unsent(self) -> None:
        """Write the results that were kept back."""
        self.pipe.extend(self.unsent)
        self.unsent.clear()

    @property
    def last(self) -> int:
        """The number of the last request of what it has taken up."""
        if self.request is None:
            raise InternalError(f"worker {self.number} has taken up nothing")
        return self.request.seq + max(1, self.request.length) - 1

    def collect(self) -> None:
        """Have what the batch has come to so far among the results that were kept back."""
        collected = None if self.batch is None else self.batch.take_results()
        if collected is not None:
            position, results, seconds, _at = collected
            self.unsent.append(Done(self.first + position, encode_body(results), seconds, len(results)))

    def end_batch(self, service: Service, *, is_apart: bool) -> None:
        """Be done with the batch, or one of it that has ended by itself; what is left is taken up anew."""
        if self.batch is None or self.request is None:
            raise InternalError(f"worker {self.number} has no batch to be done with")
        self.collect()
        position, rest = self.batch.take_rest(is_apart)
        if len(rest) and self.request.epoch == self.own_epoch:  # else it was given back while one of it was parked
            self.inbox.appendleft(Delivery(self.own_epoch, self.first + position, rest, len(rest)))
        service.settle(accepted=True)
        self.forget()

    def report_failure(self, service: Service, seq: int, error: BaseException) -> None:
        """Drop what it has not begun, and write how its request failed."""
        body = tell_failure(service.describe_failure, error)
        self.collect()
        self.forget()
        self.send_unsent()
        self.pipe.append(Failed(seq, body))
        self.own_epoch += 1
        service.settle(accepted=False)

    def forget(self) -> None:
        """Be done with the request."""
        self.seq = self.request = self.execution = self.batch = None

    def check_oldest(self, seq: int) -> None:
        """Hold that what it reports is about the oldest request in its hands."""
        if not self.in_hand or self.in_hand[0] != seq:
            raise InternalError(f"worker {self.number} reported request {seq}, in hand are {list(self.in_hand)}")

    def take_back(self, kept: int | None = None) -> tuple[int, ...]:
        """Give what it has dropped: all in its hands but `kept`, the oldest."""
        returned = tuple(seq for seq in self.in_hand if seq != kept)
        self.in_hand = deque(() if kept is None else (kept,))
        self.outgoing = [delivery for delivery in self.outgoing if delivery.seq not in returned]
        self.epoch += 1
        return returned

    def die(self, reason: Reason) -> None:
        """Lose everything that was not written."""
        suspect = self.seq if self.seq in self.in_hand else None
        self.collect()
        self.death = (reason, suspect, tuple(seq for done in self.unsent for seq in done.seqs))
        self.service = None
        self.forget()
        self.unsent.clear()
        self.inbox.clear()
        self.orders.clear()

    def leave_dead(self) -> tuple[Reason, int | None, tuple[int, ...]]:
        """Take note of its death; gives reason, suspect and what had run."""
        if self.death is None:
            raise InternalError("a living worker was taken for dead")
        self.leave()
        return self.death

    def leave(self) -> None:
        """Be no more."""
        self.is_known = self.is_ready = False
        self.service = None
        self.outgoing.clear()
        self.inbox.clear()
        self.orders.clear()


class SimulatedPort:
    """What a running request may do besides returning (`supervisors.places.base.Port`)."""

    def __init__(self, worker: SimulatedWorker) -> None:
        self._worker = worker

    def part(self, body: Any, weight: int) -> None:
        """Write a part, after the results before it; does not wait here."""
        worker = self._worker
        if worker.seq is None:
            raise InternalError(f"worker {worker.number} hands over a part without a request")
        worker.ungranted.append(weight)
        worker.collect()
        worker.send_unsent()
        worker.pipe.append(Part(worker.seq, body))

    def confirm(self, body: Any) -> None:
        """Write a part; does not wait here either."""
        self.part(body, 1)

    def check(self) -> None:
        """Do nothing: whoever could give it up waits for it (`Port`)."""

    def stop_with(self, body: Any, weight: int) -> None:
        """Write a part at a stop."""
        self.part(body, weight)
