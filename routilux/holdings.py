"""All that a job holds, and its books: what the ledger stands on.

Owns the accounts, the counters, the facts that wait to be fetched and the looking in: every message
is counted where it is, in one cut (R7). Never says when a message moves: `dispositions` and `ledger`
do, by the small steps at the end, which expect the lock to be held. The theory of operation is told in `ledger`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from msgspec.structs import replace

from routilux.accounts import Account, Bell, Output, Way
from routilux.ahead import is_behind, is_far_behind
from routilux.blocks import Block
from routilux.books import Books, Versions, copy_account, copy_output
from routilux.facts import FACTS_BATCH, Commits, Fact
from routilux.ids import key_of_text
from routilux.merge_buffers import Lane, MergeBuffer
from routilux.messages import Message, Once, Payload, add_once, count_parts
from routilux.routing import GONE, OutputPlan, Plan
from routilux.tracking.meters import SAMPLES, Measures, Times
from routilux.turn.values import PICKLED, ValueCodec
from supervisors.errors import InternalError
from supervisors.locking import BriefLock
from supervisors.mailbox import Lock, Mailbox
from supervisors.wire.outside import Leased

_CYCLE_CHECK_EVERY = 1_024
"""Messages of a connection between two looks at what its cycle holds (arbitrary)."""
CYCLE_LIMIT = 1_000_000
"""Messages that may wait in one cycle before the job is stopped (DESIGN section 3)."""


class EdgeCount(NamedTuple):
    """What became of the messages of one connection; the right side sums up to `sent` (R7)."""

    label: str
    sent: int
    handled: int
    waiting: int
    in_hand: int
    in_retry: int
    dead: int
    skipped: int
    merging: int = 0

    @property
    def is_conserved(self) -> bool:
        """Whether every message is accounted for."""
        return self.sent == self.handled + self.left + self.dead + self.skipped

    @property
    def left(self) -> int:
        """How many are still to be handled."""
        return self.waiting + self.in_hand + self.merging + self.in_retry


class SentAt(NamedTuple):
    """When a message was first and last sent by a connection: clock readings, None for never."""

    first: float | None
    last: float | None


class _Emitting(NamedTuple):
    """A connection from a routine: its index, the routine's, and the event's."""

    edge: int
    routine: int
    event: int


class Holdings:
    """The places of all messages of one job, and what became of those that are gone.

    Args:
        plan: the compiled flow.
        lock: the job's lock.
        on_quiet: called, without the lock, when no message is left anywhere and none can come.
        on_facts: called, without the lock, when a batch of facts waits to be fetched.
        on_overflow: called, without the lock, with what holds more than it may, and why.
        on_stopped: called, without the lock, when a routine has come to the boundary at which it was to stop.
        waits: whether nothing is taken before `Ledger.begin`.
        job_id: the job's id.
        generation: which runner of the job this is. Both are in the keys of messages from outside: what a program that
            was killed had taken in after its last checkpoint is lost, and what comes in its place is no such message.
        outside: the same lock as the threads of the job's owner take it; None for no difference.
        cycle_limit: messages that may wait in one cycle, or in one slot for others.
        codec: how the values of users are encoded, for those who read what is held here.
    """

    # CPython 3.11 finds the attributes of an object with thirty or more of them by a slower way, which is felt here.
    __slots__ = (
        "_cycle_limit",
        "_dated",
        "_dead",
        "_delivery",
        "_emitting",
        "_entry_open",
        "_fact_count",
        "_facts",
        "_facts_told",
        "_first_at",
        "_gate_open",
        "_handled",
        "_has_stopped",
        "_hold",
        "_is_ending",
        "_is_quiet",
        "_is_stopping_in_place",
        "_lanes",
        "_last_at",
        "_memos",
        "_notify_facts",
        "_notify_overflow",
        "_notify_quiet",
        "_notify_stopped",
        "_outside_key",
        "_outstanding",
        "_overflow",
        "_owners",
        "_receivers",
        "_release",
        "_skipped",
        "_try_acquire",
        "_ways",
        "accounts",
        "codec",
        "job_id",
        "lock",
        "measures",
        "outputs",
        "outside",
        "plan",
        "results_bell",
        "room_bell",
    )

    def __init__(  # noqa: PLR0913, PLR0915  what a job is to its books, spelled out once
        self,
        plan: Plan,
        lock: BriefLock,
        *,
        on_quiet: Callable[[], None],
        on_facts: Callable[[], None],
        on_overflow: Callable[[str], None],
        on_stopped: Callable[[], None] = lambda: None,
        waits: bool = False,
        job_id: str = "",
        generation: int = 1,
        outside: Lock | None = None,
        cycle_limit: int = CYCLE_LIMIT,
        codec: ValueCodec = PICKLED,
    ) -> None:
        self.plan = plan
        self.codec = codec
        self.lock = lock
        self._try_acquire, self._release = lock.try_acquire, lock.release
        self.outside = lock if outside is None else outside
        self._notify_quiet = on_quiet
        self._notify_facts = on_facts
        self._notify_overflow = on_overflow
        self._notify_stopped = on_stopped
        self._cycle_limit = cycle_limit
        self.job_id = job_id
        self._outside_key = key_of_text(f"{job_id}/{generation}")
        self.accounts = tuple(Account(routine, lock) for routine in plan.routines)
        self.outputs = tuple(Output(output, lock) for output in plan.outputs)
        self._receivers: tuple[Account | Output, ...] = (*self.accounts, *self.outputs)
        self._owners = {account.plan.id: account for account in self.accounts}
        self.results_bell = Bell(self.outside)
        """Rung when an output got a result, and at the end: where readers of results wait."""
        self.room_bell = Bell(self.outside)
        """Rung when a receiver has room again, and at the end: where senders from outside wait."""
        for account in self.accounts:
            account.presses_on = tuple(self._receivers[index] for index in account.plan.downstream)
            for receiver in account.presses_on:
                receiver.pressed_by += (account,)
        for account in self.accounts:
            for edge, lane in account.lanes:
                sender = self._owners[plan.edges[edge].source]
                sender.presses_on += (lane,)
                lane.pressed_by = (sender,)
                lane.partners = tuple(self._find_partners(account.joins[edge], edge))
        self._lanes = tuple(lane for account in self.accounts for _edge, lane in account.lanes)
        """All that can press back; none in nearly all jobs."""
        nowhere = Output(OutputPlan(GONE, "", "", None), lock)
        self._ways = tuple(
            Way(edge, nowhere if edge.target == GONE else self._receivers[edge.target]) for edge in plan.edges
        )
        for account in self.accounts:
            account.ways = tuple(tuple(self._ways[edge.index] for edge in out) for out in account.plan.routes)
            account.is_apart = tuple(map(_is_apart, account.ways))
        count = len(plan.edges)
        self._handled = [0] * count
        self._dead = [0] * count
        self._skipped = [0] * count
        self._emitting = [
            _Emitting(way.index, account.index, event)
            for account in self.accounts
            for event, ways in enumerate(account.ways)
            for way in ways
        ]
        self._dated = [0] * count
        """How many were sent by each when its times were looked for last."""
        self._first_at: list[float | None] = [None] * count
        self._last_at: list[float | None] = [None] * count
        self._delivery = 0
        self._outstanding = 0
        self._entry_open = True
        self._gate_open = not waits
        self._is_ending = False
        self._hold = 0
        self._is_quiet = False
        self._facts: deque[Fact | Commits] = deque()
        self._fact_count = 0
        self._facts_told = False
        self._overflow = ""
        """What holds more than it may."""
        self._has_stopped = False
        self._is_stopping_in_place = False
        """Whether a checkpoint has routines stop whose state is read in place, beside a hold of the gate."""
        self._memos: dict[int, tuple[Once, ...]] = {}
        self.measures: Measures | None = None
        """What earlier runners of the job have measured; None for a new job."""

    # -- Looking in

    def fetch_facts_held(self) -> list[Fact | Commits]:
        """Take all facts that wait, in commit order; for those who hold the lock."""
        facts = list(self._facts)
        self._facts.clear()
        self._fact_count = 0
        self._facts_told = False
        self._date_connections(facts)
        return facts

    def fetch_times_held(self) -> list[Times]:
        """Take what turns took that were committed since this was last called; for those who hold the lock."""
        times = []
        for account in self.accounts:
            count = account.handled - account.measured
            if count:
                times.append(Times(account.index, count, account.seconds, account.longest, account.samples))
                account.measured = account.handled
                account.seconds_before += account.seconds
                account.seconds = 0.0
                account.samples = []
                # The first of each batch, so that of none nothing is known; and an odd step, so that of what comes in
                # a rhythm each beat is met.
                account.next_sample = account.handled + 1
                account.sample_every = 1 if count <= SAMPLES else count // SAMPLES | 1
        return times

    def counts(self) -> list[EdgeCount]:
        """Count every connection's messages, each place looked at, in one cut."""
        with self.lock:
            return self.counts_held()

    def counts_held(self) -> list[EdgeCount]:
        """As `counts`, for those who hold the lock."""
        size = len(self.plan.edges)
        waiting, in_hand, merging, in_retry = [0] * size, [0] * size, [0] * size, [0] * size
        self._count_left(waiting, in_hand, merging, in_retry)
        return [
            EdgeCount(
                edge.label,
                self._ways[index].sent,
                self._handled[index],
                waiting[index],
                in_hand[index],
                in_retry[index],
                self._dead[index],
                self._skipped[index],
                merging[index],
            )
            for index, edge in enumerate(self.plan.edges)
        ]

    def _count_left(self, waiting: list[int], in_hand: list[int], merging: list[int], in_retry: list[int]) -> None:
        """Add each connection's messages that are still to be handled to what is counted of their places."""
        # Most places are empty most of the time, and are not gone through.
        for receiver in self._receivers:
            if receiver.mailbox.data:
                _count_by_edge(waiting, receiver.mailbox.waiting_held())
        for account in self.accounts:
            if account.has_in_hand:
                _count_by_edge(in_hand, account.entries_in_hand)
            if account.joins:
                _count_by_edge(merging, account.merging)
            for wait in account.in_retry.values():
                _count_by_edge(in_retry, wait.messages)

    def sent_at_held(self) -> list[SentAt]:
        """Tell when messages were sent, by connection; for those who hold the lock."""
        return list(map(SentAt, self._first_at, self._last_at))

    def check(self) -> None:
        """Check the conservation of messages (R7).

        Raises:
            InternalError: some connection's messages do not add up; it names them.
        """
        left = [0] * len(self.plan.edges)
        with self.lock:
            # Sums alone, since seeded tests check after each step; only what is wrong is looked at place by place.
            self._count_left(left, left, left, left)
            found = list(map(sum, zip(self._handled, left, self._dead, self._skipped, strict=True)))
            is_conserved = found == [way.sent for way in self._ways]
            wrong = [] if is_conserved else [count for count in self.counts_held() if not count.is_conserved]
            held = sum([a.waiting + a.count_in_hand + a.retrying for a in self.accounts if not a.is_idle])
            outstanding = self._outstanding
        if wrong:
            told = "; ".join(str(count) for count in wrong)
            message = f"the ledger does not add up: {told}"
            raise InternalError(message)
        if held != outstanding:
            message = f"the ledger holds {held} messages and counts {outstanding}"
            raise InternalError(message)

    def copy_held(self, known: Versions) -> Books:
        """Copy all there is by reference; for those who hold the lock.

        Args:
            known: versions of declared states that are left out.
        """
        return Books(
            sent=self._count_sent(),
            handled=self._handled.copy(),
            dead=self._dead.copy(),
            skipped=self._skipped.copy(),
            accounts=tuple(copy_account(account, known) for account in self.accounts),
            outputs=tuple(copy_output(output) for output in self.outputs),
            is_entry_open=self._entry_open,
            memos=self._memos.copy(),
            first_at=self._first_at.copy(),
            last_at=self._last_at.copy(),
        )

    @property
    def is_entry_open(self) -> bool:
        """Whether it takes messages from outside."""
        return self._entry_open

    @property
    def outstanding(self) -> int:
        """Messages that are waiting, in hand or in retry."""
        return self._outstanding

    # -- For those who hold the lock

    def _date_connections(self, facts: list[Fact | Commits]) -> None:
        """Note when the connections from routines were used that were; those from outside are dated as that happens.

        Every emission is in one of the facts. In a busy job the last ones tell of all connections, and few others are
        looked at.
        """
        sent, dated = self._count_sent(), self._dated
        used = [emitting for emitting in self._emitting if sent[emitting.edge] != dated[emitting.edge]]
        if used:
            self._dated = sent
            _date(self._first_at, [one for one in used if self._first_at[one.edge] is None], facts)
            _date(self._last_at, used, reversed(facts))

    def _with_memos(self, message: Message) -> Message:
        once = add_once(message.once, self._memos.pop(message.key, ()))
        return replace(message, once=once) if len(once) > len(message.once) else message

    def _count_sent(self) -> list[int]:
        return [way.sent for way in self._ways]

    def _append(
        self, way: Way, payload: Payload, key: int, at: float, rung: list[Mailbox], partition: str = ""
    ) -> None:
        """Append one message, whatever its way; most of those that are emitted are appended by `Ledger.commit`."""
        index = way.index
        way.sent = seq = way.sent + 1
        account = way.account
        if account is None:
            rung += self.results_bell.ring_held()
        elif account.is_skipped:
            self._skipped[index] += 1
            account.skipped += 1
            return
        else:
            self._outstanding += 1
            if way.edge.cycle >= 0 and seq % _CYCLE_CHECK_EVERY == 0:
                self._check_cycle(way.edge.cycle)
        message = Message(index, seq, payload, key, at)
        if partition:
            message = replace(message, partition=partition)
        if self._memos and key in self._memos:
            message = replace(message, once=self._memos.pop(key))
        way.waiting.append(message)
        self._ring_used(way, rung)
        if payload.__class__ is Leased and is_far_behind(way.receiver, payload):
            way.receiver.is_pressing = True

    def _ring_used(self, way: Way, rung: list[Mailbox]) -> None:
        """Note that messages were appended."""
        mailbox = way.mailbox
        if mailbox.ring_held():
            rung.append(mailbox)
        if len(mailbox.data) + mailbox.surplus >= way.bound:
            way.receiver.is_pressing = True

    def _close_ways(self, account: Account) -> None:
        """Have no message appended any more to a routine that is skipped."""
        for way in self._ways:
            if way.account is account:
                way.is_plain = False

    def _check_cycle(self, cycle: int) -> None:
        members = self.plan.cycles[cycle]
        if sum(len(self.accounts[index].mailbox) for index in members) > self._cycle_limit:
            names = ", ".join(self.accounts[index].plan.id for index in members)
            self._overflow = (
                f"the cycle of {names} holds more messages than cycle_limit allows: it makes more than it ends"
            )

    def _relieve(self, receiver: Account | Output, rung: list[Mailbox]) -> None:
        # Half of the bound and not the bound itself: a sender that is woken for every single
        # message taken would cost a thread switch a message.
        if len(receiver.mailbox) * 2 > (receiver.mailbox.capacity or 0) or is_behind(receiver):
            return
        receiver.is_pressing = False
        rung += self.room_bell.ring_held()
        _ring_senders(receiver, rung)

    def _relieve_lanes(self, account: Account, rung: list[Mailbox]) -> None:
        for _edge, lane in account.lanes:
            if lane.has_relieved():
                _ring_senders(lane, rung)

    def _find_partners(self, buffer: MergeBuffer, edge: int) -> Iterator[tuple[Lane, tuple[Account, ...]]]:
        for other, nodes in buffer.plan.sources.items():
            if other != edge:
                yield buffer.lanes[other], tuple(self.accounts[node] for node in nodes)

    def _open_lanes(self, rung: list[Mailbox]) -> None:
        """Let senders go on that are held back until others bring what they cannot bring any more.

        What is held back keeps the job going, so that it would never come to its end. Called wherever a routine may
        have become idle.
        """
        if self._entry_open:
            return
        for lane in self._lanes:
            if lane.has_lost_partner():
                lane.open()
                _ring_senders(lane, rung)

    def _ring_after(self, receiver: Account | Output, wake: bool, rung: list[Mailbox]) -> None:  # noqa: FBT001
        if wake:
            rung.append(receiver.mailbox)
        if receiver.mailbox.is_full:
            receiver.is_pressing = True

    def _drop_in_hand(self, account: Account, deliveries: Iterable[int], *, redelivered: bool = False) -> list[Message]:
        dropped = [account.in_hand.pop(delivery) for delivery in deliveries if delivery in account.in_hand]
        if account.is_stopping and not account.in_hand:
            self._has_stopped = True
        return [replace(message, redelivered=True) for message in dropped] if redelivered else dropped

    def _skip(self, account: Account, messages: list[Message]) -> None:
        _count_by_edge(self._skipped, messages)
        count = count_parts(messages)
        account.skipped += count
        self._outstanding -= count

    def _has_become_quiet(self) -> bool:
        if self._outstanding or self._entry_open or self._is_quiet:
            return False
        self._is_quiet = True
        return True

    def _note(self, fact: Fact) -> bool:
        self._facts.append(fact)
        self._fact_count += 1
        return self._has_facts_to_tell()

    def _has_facts_to_tell(self) -> bool:
        if self._fact_count < FACTS_BATCH or self._facts_told:
            return False
        self._facts_told = True
        return True

    def _wake(self, rung: Iterable[Mailbox]) -> None:
        for mailbox in rung:
            mailbox.unpark()
        if self._has_stopped:
            self._has_stopped = False
            self._notify_stopped()
        if self._overflow:
            told, self._overflow = self._overflow, ""
            self._notify_overflow(told)


def _is_apart(ways: tuple[Way, ...]) -> bool:
    return len({id(way.receiver) for way in ways}) == len(ways) and not any(way.edge.key for way in ways)


def _ring_senders(receiver: Account | Output | Lane, rung: list[Mailbox]) -> None:
    """Ring those who were held back by a receiver that presses back no more."""
    rung += [sender.mailbox for sender in receiver.pressed_by if sender.mailbox.ring_held()]


def _count_by_edge(counts: list[int], messages: Iterable[Message | Block]) -> None:
    for message in messages:
        if isinstance(message, Block):
            counts[message.edge] += len(message)
        elif message.parts:
            for part in message.parts:
                counts[part.edge] += 1
        else:
            counts[message.edge] += 1


def _date(dates: list[float | None], used: list[_Emitting], facts: Iterable[Fact | Commits]) -> None:
    """Set the dates of connections by the first of the facts that tells of each."""
    wanted: dict[int, dict[int, list[int]]] = {}
    for edge, routine, event in used:
        wanted.setdefault(routine, {}).setdefault(event, []).append(edge)
    for fact in facts:
        if not wanted:
            return
        events = wanted.get(fact.routine)
        if events and fact.events:
            for event in events.keys() & fact.events:
                for edge in events.pop(event):
                    dates[edge] = fact.at
            if not events:
                del wanted[fact.routine]
