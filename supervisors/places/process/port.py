"""What a request that runs in a worker may do besides returning: hand over parts, and wait.

Owns what is true of the request in hand, and its waits: for grants, for the end of a hold, for shared memory. Never
runs a request.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

from supervisors.places.base import PART_BOUND, BatchExecution, RequestAbandoned
from supervisors.places.copies import Mark
from supervisors.places.process.attached import Attached
from supervisors.places.process.deputy import Deputy
from supervisors.places.process.inbound import Inbound
from supervisors.places.process.outbound import Outbound, measure_body
from supervisors.places.process.page import Page
from supervisors.wire.frames import Parked, Part, Want
from supervisors.wire.values import MAX_VALUE_BYTES


class RequestPort:
    """What a running request may do besides returning (`supervisors.places.base.Port`): one for all, one after another.

    A request that did not use it has left nothing in it.
    """

    def __init__(
        self, inbound: Inbound, outbound: Outbound, page: Page, deputy: Deputy, mark: Mark, attached: Attached
    ) -> None:
        self._attached = attached
        self._inbound = inbound
        self._outbound = outbound
        self._page = page
        self._deputy = deputy
        self._mark = mark
        self._parked_at: float | None = None
        self.ran = 0
        """Requests that have run to their end, failed ones included."""
        self.seq = -1
        """The request that runs."""
        self.started = 0.0
        """Clock reading at which it began, waits left out."""
        self.parked = 0.0
        """Seconds that it was kept by holds."""
        self.was_used = False
        """Whether it has handed over a part, waited, or had to do with shared memory."""
        self.batch: BatchExecution | None = None
        """The batch that it is one of."""
        self._first = 0

    def begin_batch(self, first: int, batch: BatchExecution) -> None:
        """Take requests from a batch, numbered from `first`, until `batch` is set to None."""
        self._first, self.batch = first, batch

    @property
    def current(self) -> int | None:
        """The request that runs, or ran last; None for none. Any thread may ask."""
        batch = self.batch
        seq = self.seq if batch is None else self._first + batch.position
        return seq if seq >= 0 else None

    def find(self) -> None:
        """Find out which one of its batch runs, and since when: nobody has told since."""
        if self.batch is not None:
            seq = self._first + self.batch.position
            if seq != self.seq:
                self.seq, self.started = seq, self.batch.since

    def forget(self) -> None:
        """Forget what a request has left that used it; its result was handed over, or it has none."""
        self.was_used = False
        self.parked = 0.0
        self._attached.end_turn()
        self._inbound.forget_parts()

    def part(self, body: bytes, weight: int) -> None:
        """Send a part at once, after a wait while those not granted weigh `PART_BOUND` or more; then stay if held."""
        if not self.wait_for_room():
            raise RequestAbandoned
        self.stop_with(body, weight)
        if self._inbound.hold and not self._wait(math.inf):
            raise RequestAbandoned

    def confirm(self, body: bytes) -> None:
        """Send a part as `part` does, and wait until nothing is left to be granted."""
        if not self.wait_for_room():
            raise RequestAbandoned
        self._hand_over(body, 1)
        if not (self._inbound.may_go_on(1) or self._wait(1)):
            raise RequestAbandoned

    def check(self) -> None:
        """Do nothing: a process that is given up is ended."""

    def stop_with(self, body: bytes, weight: int) -> None:
        """Send a part at once; the wait is made before the request goes on."""
        self._hand_over(body, weight)
        self._attached.sent()

    def _hand_over(self, body: bytes, weight: int) -> None:
        if not self._mark[0]:
            return  # nobody takes what a copy hands over
        measure_body(body, self._outbound.body_bound)
        self.find()
        self._inbound.add_weight(self.seq, weight)
        self.was_used = True
        self._outbound.send(Part(self.seq, weight, body))

    def wait_for_room(self) -> bool:
        """Wait while parts not granted weigh `PART_BOUND` or more, or it is held; False if the worker shall end."""
        return self._inbound.may_go_on(PART_BOUND) or self._wait(PART_BOUND)

    def want(self, size: int, returned: list[int]) -> bool:
        """Ask for shared memory, and wait for it; False if there is none, or the worker is held meanwhile.

        What fits into a frame goes there then, so that a hold need not wait for those who would make room.
        """
        if not self._mark[0]:
            return False
        number = self._inbound.ask_for_room()
        self._outbound.send(Want(number, size, returned))
        with self._waiting():
            answer = self._inbound.wait_for_room(is_patient=size >= MAX_VALUE_BYTES)
        if answer is None:
            self._outbound.send(Want(number, 0, []))
            if self._inbound.is_stopping:
                raise RequestAbandoned
        return bool(answer)

    def _wait(self, bound: float) -> bool:
        # A copy made by fork would wait without end: nobody tells it of grants.
        if not self._mark[0]:
            return True
        with self._waiting():
            may_go_on = self._inbound.wait(bound, self._tell_parked)
        if self._parked_at is not None:
            self.parked += self._page.clock() - self._parked_at
            self._parked_at = None
        return may_go_on

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """Let the main thread listen: a wait for others, or for a hold's end, is no part of what a timeout allows."""
        self.find()
        self.was_used = True
        self._page.shift(math.inf)
        self._deputy.rest()
        waited_from = self._page.clock()
        yield
        self._deputy.begin()
        self.started += self._page.clock() - waited_from
        self._page.shift(self.started)

    def _tell_parked(self, hold: int) -> None:
        if self._parked_at is None:
            self._parked_at = self._page.clock()
        self._outbound.send(Parked(hold, self.seq))
        self._inbound.drop_all()
