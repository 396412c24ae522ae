"""How a routine's actor hands out messages: which are taken, and which worker gets each.

Owns what keeps new messages from being taken, and the tries that are to come ahead of all in hand. Never settles a
message: what cannot be handed out, its actor is told by `fail`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol, cast

from routilux.accounts import Account
from routilux.blocks import Block
from routilux.dealing import deal
from routilux.ledger import Ledger
from routilux.messages import Message
from routilux.runtime.carriers import Carrier
from routilux.runtime.partitions import Partitions
from routilux.runtime.turnstile import Turnstile
from supervisors.errors import InternalError, RequestTooLongError
from supervisors.places.base import BatchPlace, LatePlace, Place
from supervisors.places.ordered import OrderedPlace
from supervisors.reasons import Raised, Reason, record_error

Taken = list[tuple[int, Message]]
"""Messages that were taken in hand, by their delivery numbers."""


class Fail(Protocol):
    """Lets a message in hand fail that its place cannot carry."""

    def __call__(self, number: int, delivery: int, reason: Reason) -> None:
        """Let it fail; no other try can end otherwise."""


class Dispatch:
    """What of one routine is handed out.

    Args:
        account: the routine's.
        ledger: the job's.
        carrier: how messages look to the place.
        fail: lets a message fail.
    """

    def __init__(self, account: Account, ledger: Ledger, carrier: Carrier, fail: Fail) -> None:
        options = account.plan.options
        self._account = account
        self._ledger = ledger
        self._carrier = carrier
        self._fail = fail
        self._is_pool = options.pool > 1
        self._used = range(options.pool)
        """Numbers of the workers in use."""
        self._is_local = carrier.keeps_references
        self._keeps_order = options.keeps_order
        self._has_line = options.has_line
        self._place: Place
        self._partitions = None if options.partition_by is None else Partitions(options.pool)
        self._source: Ledger | Turnstile = ledger
        self._holds = 0
        """Failures without whose end nothing new is taken."""
        self._resumed: set[int] = set()
        """Tickets of those that wait since the job was resumed."""
        self._drains = False
        """Whether nothing is taken before all in hand is settled: the next message cannot be carried."""
        self._tried_by: dict[int, int] = {}
        """By ticket, the worker that is to try again what is ahead of all that is in hand."""
        self._due: set[int] = set()
        """Tickets of those whose time has come."""

    def begin(self, place: Place, source: Ledger | Turnstile) -> None:
        """Say where messages are handed to, and where they are taken; what is set aside keeps others back."""
        self._place = place
        self._source = source
        self._resumed.update(ticket for ticket, wait in self._account.in_retry.items() if wait.holds)
        self._holds += len(self._resumed)

    def use(self, workers: int) -> None:
        """Hand new messages to those workers alone that have a number below."""
        self._used = range(workers)
        if self._partitions is not None:
            self._partitions.use(self._used)

    @property
    def is_holding(self) -> bool:
        """Whether nothing new is taken before some failure has come to its end."""
        return self._holds > 0

    def hold(self, count: int) -> None:
        """Note failures, or, below 0, their ends: nothing is taken meanwhile, but where a failure keeps one worker."""
        if self._partitions is None:
            self._holds += count

    def hand_out(self) -> bool:
        """Take what there is room for, and have it sent; tells whether there was something."""
        if not self.submit_next():
            return False
        self._place.flush()
        return True

    def hand_out_alone(self) -> Callable[[], bool] | None:
        """As `hand_out`, while nothing is in hand, on the thread of who acts for the actor.

        Returns:
            What has it sent (`LatePlace.flush_later`); None: the actor is to be woken, to hand out, or to set a timer.
        """
        if self._account.has_in_hand:
            return None
        self.submit_next()
        place = self._place
        if place.next_deadline() is None:
            return cast("LatePlace", place).flush_later()
        place.flush()
        return None

    def submit_next(self) -> bool:
        """As `hand_out`, but nothing is sent before the place's next `flush`."""
        if self._due:
            self._hand_out_due()
        account = self._account
        if self._holds or account.is_skipped or not account.mailbox.data:
            return False
        if self._drains:
            if account.has_in_hand:
                return False
            self._drains = False
        if self._partitions is not None:
            return self._hand_out_by_key(self._partitions)
        if not (self._hand_out_to_pool() if self._is_pool else self._hand_out_to_one()):
            return False
        account.note_running()
        return True

    def note_retry(self, ticket: int, worker: int) -> None:
        """Note who is to try again what was set aside, ahead of all that is in hand."""
        self._tried_by[ticket] = worker

    def try_again(self, ticket: int, *, holds: bool) -> None:
        """Put what was set aside to the head: of its mailbox, or, once its worker has room, of all that is in hand."""
        if self._has_line and holds:
            self._due.add(ticket)
            return
        self._ledger.put_forward(self._account, ticket)
        self._let_go(ticket, holds=holds)

    def request_for(self, delivery: int, *, may_have_run: bool) -> Any:
        """Give the request for a message in hand that its place asks for."""
        message = self._ledger.give_again(self._account, delivery, redelivered=may_have_run)
        return self._request(delivery, message)

    def leave(self, delivery: int, *, is_done: bool) -> None:
        """Note that a message has left its place's line."""
        if self._partitions is not None:
            self._partitions.leave(delivery, is_done=is_done)

    def pin(self, message: Message, number: int) -> None:
        """Keep the key of a message that failed at its worker until it is known what becomes of it."""
        if self._partitions is not None:
            self._partitions.pin(message.partition, number)

    def unpin(self, message: Message) -> None:
        """Note that a message that failed is not tried again."""
        if self._partitions is not None:
            self._partitions.unpin(message.partition)

    def restart(self, number: int) -> None:
        """Note that a worker begins anew."""
        if self._partitions is not None:
            self._partitions.restart(number)

    def _hand_out_to_one(self) -> bool:
        place, account = self._place, self._account
        room = place.room(0)
        if not room:
            return False
        if account.takes_blocks and (blocks := self._ledger.take_blocks(account, room)):
            self._submit_blocks(cast("BatchPlace", place), blocks)
            return True
        taken = self._source.take(account, room)
        if taken:
            if self._is_local:
                place.submit(0, taken)
            else:
                self._submit_to_one(taken)
        return bool(taken)

    def _hand_out_to_pool(self) -> bool:
        rooms = list(map(self._place.room, self._used))
        room = sum(rooms)
        taken = self._source.take(self._account, room) if room else []
        self._submit(deal(len(taken), rooms), taken)
        return bool(taken)

    def _hand_out_by_key(self, partitions: Partitions) -> bool:
        place = self._place
        if not isinstance(place, OrderedPlace):
            detail = f"the place of routine {self._account.plan.id!r}, which is partitioned, keeps no order"
            raise InternalError(detail)
        room = place.free
        taken = self._source.take(self._account, room) if room else []
        for delivery, message in taken:
            place.assign(partitions.assign(delivery, message.partition), delivery)
        if taken:
            self._account.note_running()
        return bool(taken)

    def _hand_out_due(self) -> None:
        """Hand out what is to be tried again, the oldest first, ahead of all that is in hand."""
        account, partitions = self._account, self._partitions
        for ticket, wait in tuple(account.in_retry.items()):
            if not wait.holds:
                continue
            number = self._tried_by.get(ticket, 0)
            if partitions is not None and ticket not in self._tried_by:
                number = partitions.find_owner(wait.messages[0].partition)
            if ticket not in self._due or self._place.room(number) < len(wait.messages):
                if partitions is not None:
                    continue  # others are tried by other workers
                return
            taken = self._source.take_forward(account, ticket)
            if not taken:
                return
            self._due.discard(ticket)
            self._let_go(ticket, holds=True)
            account.note_running()
            self._submit_due(number, taken)

    def _let_go(self, ticket: int, *, holds: bool) -> None:
        self._tried_by.pop(ticket, None)
        if ticket in self._resumed:
            self._resumed.discard(ticket)
            self._holds -= 1
        else:
            self.hold(-holds)

    def _request(self, delivery: int, message: Message) -> Any:
        ((_delivery, request),) = self._carrier.requests([(delivery, message)])
        if self._partitions is not None:
            return self._partitions.request(delivery, request, self._account.committed[0])
        return request

    def _submit_due(self, number: int, taken: Taken) -> None:
        for delivery, message in taken:
            if self._partitions is not None:
                self._partitions.assign(delivery, message.partition, number)
            try:
                self._place.submit(number, ((delivery, self._request(delivery, message)),))
            except RequestTooLongError as error:  # it has grown, by what was recorded of it
                self.leave(delivery, is_done=False)
                self._fail(number, delivery, Raised(record_error(error)))
        self._place.flush()

    def _submit_blocks(self, place: BatchPlace, blocks: list[tuple[int, Block]]) -> None:
        batches = [self._carrier.batch(block) for _delivery, block in blocks]
        if all(batches):
            for (delivery, _block), batch in zip(blocks, batches, strict=True):
                place.submit_batch(delivery, cast("Sized", batch))
            return
        taken = [entry for delivery, block in blocks for entry in enumerate(block.messages(), delivery)]
        self._submit_to_one(taken)

    def _submit_to_one(self, taken: Taken) -> None:
        """Submit what was taken to the only worker."""
        try:
            self._place.submit(0, self._carrier.requests(taken))
        except RequestTooLongError as error:
            self._refuse(0, [other for other, _ in taken if other >= error.seq], error)

    def _submit(self, dealt: Iterable[int], taken: Taken) -> None:
        """Submit what was taken, in its order, each to the worker that it was dealt to."""
        requests = zip(dealt, self._carrier.requests(taken), strict=True)
        for number, several in groupby(requests, itemgetter(0)):
            try:
                self._place.submit(number, [request for _number, request in several])
            except RequestTooLongError as error:
                self._refuse(number, [other for other, _ in taken if other >= error.seq], error)
                return

    def _refuse(self, number: int, deliveries: list[int], error: RequestTooLongError) -> None:
        """Let the first of `deliveries` fail, which the place could not take; those behind it go back."""
        first, *behind = deliveries
        self._ledger.put_back(self._account, behind)
        if self._keeps_order and self._account.count_in_hand > 1:
            self._drains = True
            self._ledger.put_back(self._account, (first,))
            return
        self._fail(number, first, Raised(record_error(error)))
