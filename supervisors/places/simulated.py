"""One simulated worker process of the scripted place: what is true of it, and what is known.

Owns what is on its way in either direction, and what is lost when it dies. Never decides what
happens next: that is drawn by `scripted`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from supervisors.errors import InternalError
from supervisors.places.base import PART_BOUND, Execution, Service, Worker, tell_failure
from supervisors.places.reports import Done, Failed, Parked, Part, Ready
from supervisors.reasons import Reason

Frame = Ready | Part | Done | Failed | Parked


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
    outgoing: list[tuple[int, int, Any]] = field(default_factory=list)
    inbox: deque[tuple[int, int, Any]] = field(default_factory=deque)
    orders: deque[int] = field(default_factory=deque)
    """What it is told of holds and has not heard: the number of each hold, 0 for its end."""
    pipe: deque[Frame] = field(default_factory=deque)
    unsent: list[Done] = field(default_factory=list)
    service: Service | None = None
    own_epoch: int = 0
    seq: int | None = None
    request: Any = None
    execution: Execution | None = None
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
        epoch, seq, request = self.inbox.popleft()
        if epoch != self.own_epoch:
            return False  # sent before its owner knew that a request had failed, and given back with that
        if self.hold:
            self.park()
            return False
        self.seq, self.request, self.is_started = seq, request, False
        self.ungranted.clear()
        return True

    def stop(self) -> None:
        """Learn that it shall end."""
        self.is_stopping = True

    def send_unsent(self) -> None:
        """Write the results that were kept back."""
        self.pipe.extend(self.unsent)
        self.unsent.clear()

    def report_failure(self, service: Service, seq: int, error: BaseException) -> None:
        """Drop what it has not begun, and write how its request failed."""
        body = tell_failure(service.describe_failure, error)
        self.forget()
        self.send_unsent()
        self.pipe.append(Failed(seq, body))
        self.own_epoch += 1
        service.settle(accepted=False)

    def forget(self) -> None:
        """Be done with the request."""
        self.seq = self.request = self.execution = None

    def check_oldest(self, seq: int) -> None:
        """Hold that what it reports is about the oldest request in its hands."""
        if not self.in_hand or self.in_hand[0] != seq:
            raise InternalError(f"worker {self.number} reported request {seq}, in hand are {list(self.in_hand)}")

    def take_back(self, kept: int | None = None) -> tuple[int, ...]:
        """Give what it has dropped: all in its hands but `kept`, the oldest."""
        returned = tuple(seq for seq in self.in_hand if seq != kept)
        self.in_hand = deque(() if kept is None else (kept,))
        self.outgoing = [item for item in self.outgoing if item[1] not in returned]
        self.epoch += 1
        return returned

    def die(self, reason: Reason) -> None:
        """Lose everything that was not written."""
        suspect = self.seq if self.seq in self.in_hand else None
        self.death = (reason, suspect, tuple(done.seq for done in self.unsent))
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

    def __init__(self, worker: SimulatedWorker, seq: int) -> None:
        self._worker = worker
        self._seq = seq

    def part(self, body: Any, weight: int) -> None:
        """Write a part, after the results before it; does not wait here."""
        worker = self._worker
        worker.ungranted.append(weight)
        worker.send_unsent()
        worker.pipe.append(Part(self._seq, body))

    def confirm(self, body: Any) -> None:
        """Write a part; does not wait here either."""
        self.part(body, 1)

    def check(self) -> None:
        """Do nothing: whoever could give it up waits for it (`Port`)."""

    def stop_with(self, body: Any, weight: int) -> None:
        """Write a part at a stop."""
        self.part(body, weight)
