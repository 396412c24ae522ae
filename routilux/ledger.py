"""Every message of a job, in exactly one place (R1, R2, R7).

Theory of operation. A job has one lock, shared by this ledger and the mailboxes of all its
routines: whoever holds it sees no message between two places. Each method below is one step
from one consistent picture to the next; nothing is encoded, decoded or run while the lock is
held, and readers that were rung are woken after it was let go. A message that was taken is *in
hand* under a delivery number until it is committed, put back, set aside for a retry, dead or
skipped; a commit that names a number which is not in hand comes too late and is refused, which
is how everything that was given up is fenced off.

Pure but for the lock it is given: no thread, no clock (times are handed in), no file. It never
decides what follows a failure (see `runtime.job_supervisor`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from routilux.accounts import Account, Bell, DeadLetter, Output, Tap, Way
from routilux.messages import Emission, Message, Payload, TurnPart, TurnResult
from routilux.routing import Plan
from routilux.turn.state import apply_ops
from supervisors.errors import InternalError
from supervisors.locking import BriefLock
from supervisors.mailbox import Lock, Mailbox

FACTS_BATCH = 512
"""Facts that gather before the state actor is called to fetch them (arbitrary)."""
CYCLE_LIMIT = 1_000_000
"""Messages that may wait in one cycle before the job is stopped (DESIGN section 3)."""
_CYCLE_CHECK_EVERY = 1_024


class Fact(msgspec.Struct, frozen=True, gc=False):
    """Something that happened to a message, for the history and the tracker.

    Args:
        kind: `committed`, `released`, `failed`, or what was decided (`stop`, `continue`, ...).
        routine: index of the routine.
        edge: index of the connection the message came by; -1 where there is none.
        seq: the message's number on it.
        attempt: which try it was, from 1.
        at: clock reading, in seconds.
        seconds: how long the turn took; 0.0 where that means nothing.
        events: indexes of the events emitted, in order.
        detail: the error or cause, where there is one.
    """

    kind: str
    routine: int
    edge: int
    seq: int
    attempt: int
    at: float
    seconds: float = 0.0
    events: tuple[int, ...] = ()
    detail: Any = None


class Admission(Enum):
    """What became of a message from outside."""

    ADMITTED = "admitted"
    FULL = "full"
    CLOSED = "closed"


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

    @property
    def is_conserved(self) -> bool:
        """Whether every message is accounted for."""
        return self.sent == (self.handled + self.waiting + self.in_hand + self.in_retry + self.dead + self.skipped)


class Ledger:
    """The places of all messages of one job.

    Args:
        plan: the compiled flow.
        lock: the job's lock.
        on_quiet: called, without the lock, when no message is left anywhere and none can come.
        on_facts: called, without the lock, when a batch of facts waits to be fetched.
        on_overflow: called, without the lock, with a cycle that holds more than it may.
        outside: the same lock as the threads of the job's owner take it; None for no difference.
        cycle_limit: messages that may wait in one cycle.
    """

    def __init__(
        self,
        plan: Plan,
        lock: BriefLock,
        *,
        on_quiet: Callable[[], None],
        on_facts: Callable[[], None],
        on_overflow: Callable[[int], None],
        outside: Lock | None = None,
        cycle_limit: int = CYCLE_LIMIT,
    ) -> None:
        self.plan = plan
        self.lock = lock
        self._try_acquire, self._release = lock.try_acquire, lock.release
        self.outside = lock if outside is None else outside
        self._notify_quiet = on_quiet
        self._notify_facts = on_facts
        self._notify_overflow = on_overflow
        self._cycle_limit = cycle_limit
        self.accounts = tuple(Account(routine, lock) for routine in plan.routines)
        self.outputs = tuple(Output(output, lock) for output in plan.outputs)
        self._receivers: tuple[Account | Output, ...] = (*self.accounts, *self.outputs)
        self.results_bell = Bell(self.outside)
        """Rung when an output got a result, and at the end: where readers of results wait."""
        self.room_bell = Bell(self.outside)
        """Rung when a receiver has room again, and at the end: where senders from outside wait."""
        for account in self.accounts:
            account.presses_on = tuple(self._receivers[index] for index in account.plan.downstream)
            for receiver in account.presses_on:
                receiver.pressed_by += (account,)
        self._ways = tuple(Way.along(edge, self._receivers[edge.target]) for edge in plan.edges)
        for account in self.accounts:
            account.ways = tuple(tuple(self._ways[edge.index] for edge in out) for out in account.plan.routes)
        count = len(plan.edges)
        self._sent = [0] * count
        self._handled = [0] * count
        self._dead = [0] * count
        self._skipped = [0] * count
        self._delivery = 0
        self._outstanding = 0
        self._entry_open = True
        self._gate_open = True
        self._is_quiet = False
        self._facts: deque[Fact] = deque()
        self._facts_told = False
        self._overflow = -1

    # -- What goes in

    def admit(self, edge: int, payload: Payload) -> Admission:
        """Append a message from outside, if its receiver has room for it."""
        rung: list[Mailbox] = []
        way = self._ways[edge]
        with self.outside:
            if not self._entry_open or not self._gate_open:
                return Admission.CLOSED
            if way.receiver.is_pressing:
                return Admission.FULL
            self._append(way, payload, rung)
        self._wake(rung)
        return Admission.ADMITTED

    def close_entry(self) -> None:
        """Take no more messages from outside; the job ends when the last one is handled."""
        with self.outside:
            self._entry_open = False
            quiet = self._has_become_quiet()
        if quiet:
            self._notify_quiet()

    def close_gate(self) -> None:
        """Let no routine take another message, and wake those that wait for room."""
        rung: list[Mailbox] = []
        with self.lock:
            self._gate_open = False
            rung += [receiver.mailbox for receiver in self._receivers if receiver.mailbox.ring_held()]
        self._wake(rung)
        self.ring_outside()

    def ring_outside(self) -> None:
        """Let everyone who waits from outside look again: readers of results and taps, senders."""
        with self.outside:
            rung = [*self.results_bell.ring_held(), *self.room_bell.ring_held()]
            for account in self.accounts:
                for taps in account.taps.values():
                    rung += [tap.mailbox for tap in taps if tap.mailbox.ring_held()]
        self._wake(rung)

    @property
    def is_open(self) -> bool:
        """Whether routines may take messages."""
        return self._gate_open

    # -- A message's way through a routine

    def take(self, account: Account, limit: int = 1) -> list[tuple[int, Message]]:
        """Take the routine's next messages in hand.

        Args:
            account: the routine's.
            limit: how many at most.

        Returns:
            Pairs of (delivery number, message), oldest first; none when none waits, the gate is
            closed, or a receiver downstream is above its bound.
        """
        waiting = account.mailbox.data
        if not waiting:
            return []
        rung: list[Mailbox] = []
        try_acquire, release = self._try_acquire, self._release
        if not try_acquire():
            self.lock.wait()
        try:
            if not self._gate_open or account.is_pressed:
                return []
            first = self._delivery + 1
            self._delivery = last = self._delivery + min(limit, len(waiting))
            popleft = waiting.popleft
            taken = [(delivery, popleft()) for delivery in range(first, last + 1)]
            account.in_hand.update(taken)
            if account.is_pressing:
                self._relieve(account, rung)
        finally:
            release()
        if rung:
            self._wake(rung)
        return taken

    def has_room(self, account: Account) -> bool:
        """Whether a turn of the routine that streams may release more (R3)."""
        with self.lock:
            return not account.is_pressed

    def commit(
        self, account: Account, worker: int, delivery: int, result: TurnResult, at: float, seconds: float
    ) -> bool:
        """Commit a finished turn (R1): state, emissions, acknowledgement and record, at once.

        Args:
            account: the routine's.
            worker: number of the worker whose state it changes.
            delivery: the number under which the message was taken.
            result: what the turn did.
            at: clock reading at the commit.
            seconds: how long the turn took.

        Returns:
            False if the message is no longer in hand: the turn comes too late and left nothing.
        """
        emissions, ops = result.emissions, result.state
        rung: list[Mailbox] = []
        events: tuple[int, ...] = ()
        try_acquire, release = self._try_acquire, self._release
        if not try_acquire():
            self.lock.wait()
        try:
            message = account.in_hand.pop(delivery, None)
            if message is None:
                return False
            if ops:
                apply_ops(account.committed[worker], ops)
            if emissions:
                events = self._append_emissions(account, emissions, rung)
            edge = message.edge
            self._handled[edge] += 1
            account.handled += 1
            self._outstanding -= 1
            is_full = self._note(
                Fact("committed", account.index, edge, message.seq, message.failures + 1, at, seconds, events)
            )
            is_quiet = not self._outstanding and self._has_become_quiet()
        finally:
            release()
        if rung or self._overflow >= 0:
            self._wake(rung)
        if is_full:
            self._notify_facts()
        if is_quiet:
            self._notify_quiet()
        return True

    def release(self, account: Account, worker: int, delivery: int, part: TurnPart, at: float) -> bool:
        """Let a part of a running turn out: a release (R3), or a generator's commit (R4).

        Returns:
            False if the message is no longer in hand.
        """
        rung: list[Mailbox] = []
        with self.lock:
            message = account.in_hand.get(delivery)
            if message is None:
                return False
            events = self._append_emissions(account, part.emissions, rung)
            if part.state is None:
                message.released += len(part.emissions)
            else:
                # From here the turn would start again with this state, and emit from the start.
                apply_ops(account.committed[worker], part.state)
                message.released = 0
            full = self._note(
                Fact("released", account.plan.index, message.edge, message.seq, message.failures + 1, at, 0.0, events)
            )
        self._wake(rung)
        if full:
            self._notify_facts()
        return True

    # -- Failures: what was decided elsewhere is carried out here

    def count_failure(
        self, account: Account, delivery: int, detail: object, at: float, *, is_crash: bool
    ) -> Message | None:
        """Note that a try of a message ended badly; it stays in hand until something is decided."""
        with self.lock:
            message = account.in_hand.get(delivery)
            if message is None:
                return None
            message.failures += 1
            message.crashes += is_crash
            account.failed += 1
            full = self._note(
                Fact("failed", account.plan.index, message.edge, message.seq, message.failures, at, detail=detail)
            )
        if full:
            self._notify_facts()
        return message

    def note_decision(
        self, account: Account, message: Message, decision: str, at: float, detail: object = None
    ) -> None:
        """Record what was decided about a message that failed."""
        with self.lock:
            full = self._note(
                Fact(decision, account.plan.index, message.edge, message.seq, message.failures, at, detail=detail)
            )
        if full:
            self._notify_facts()

    def put_back(self, account: Account, deliveries: Iterable[int], *, redelivered: bool = False) -> None:
        """Put messages in hand back to the head of their mailbox, oldest first, uncounted.

        Args:
            account: the routine's.
            deliveries: their numbers, oldest first; unknown ones are passed over.
            redelivered: whether they may have been run.
        """
        rung: list[Mailbox] = []
        with self.lock:
            messages = self._drop_in_hand(account, deliveries)
            for message in messages:
                message.redelivered = message.redelivered or redelivered
            if account.is_skipped:
                self._skip(account, messages)
            elif messages:
                self._ring_after(account, account.mailbox.prepend_held(messages), rung)
            quiet = self._has_become_quiet()
        self._wake(rung)
        if quiet:
            self._notify_quiet()

    def set_aside(self, account: Account, deliveries: Iterable[int], *, redelivered: bool) -> int:
        """Move messages in hand to the retry wait; gives the ticket for `put_forward`."""
        with self.lock:
            messages = self._drop_in_hand(account, deliveries)
            for message in messages:
                message.redelivered = message.redelivered or redelivered
            self._delivery = ticket = self._delivery + 1
            if account.is_skipped:
                self._skip(account, messages)
            else:
                account.in_retry[ticket] = messages
                account.retries += 1
            quiet = self._has_become_quiet()
        if quiet:
            self._notify_quiet()
        return ticket

    def put_forward(self, account: Account, ticket: int) -> None:
        """Put what was set aside to the head of its mailbox."""
        rung: list[Mailbox] = []
        with self.lock:
            messages = account.in_retry.pop(ticket, None)
            if messages:
                self._ring_after(account, account.mailbox.prepend_held(messages), rung)
        self._wake(rung)

    def fence(self, account: Account) -> None:
        """Put back all that a routine has in hand: what its turns commit from now on is refused."""
        with self.lock:
            deliveries = list(account.in_hand)
        self.put_back(account, deliveries, redelivered=True)

    def bury(self, account: Account, delivery: int, cause: str, at: float) -> None:
        """Make a message in hand a dead letter."""
        with self.lock:
            for message in self._drop_in_hand(account, (delivery,)):
                self._dead[message.edge] += 1
                self._outstanding -= 1
                account.dead += 1
                account.dead_letters.append(DeadLetter(account.plan.id, message, cause, message.failures, at))
            quiet = self._has_become_quiet()
        if quiet:
            self._notify_quiet()

    def skip_routine(self, account: Account, at: float) -> None:
        """Skip all that waits for the routine and all that will come, for the rest of the job."""
        rung: list[Mailbox] = []
        with self.lock:
            account.is_skipped = True
            waiting: list[Message] = account.mailbox.drain_held()
            for messages in account.in_retry.values():
                waiting.extend(messages)
            account.in_retry.clear()
            self._skip(account, waiting)
            self._note(Fact("skipped", account.plan.index, -1, 0, 0, at, detail=len(waiting)))
            if account.is_pressing:
                self._relieve(account, rung)
            quiet = self._has_become_quiet()
        self._wake(rung)
        if quiet:
            self._notify_quiet()

    # -- What comes out

    def take_output(self, output: Output) -> Message | None:
        """Take the oldest result of a declared output; None when none waits."""
        rung: list[Mailbox] = []
        with self.outside:
            if not output.mailbox:
                return None
            message: Message = output.mailbox.take_held()
            self._handled[message.edge] += 1
            if output.is_pressing:
                self._relieve(output, rung)
        self._wake(rung)
        return message

    def add_tap(self, routine: int, event: int, tap: Tap) -> None:
        """Copy what the event emits to `tap`, from now on."""
        with self.outside:
            self.accounts[routine].taps.setdefault(event, []).append(tap)

    def remove_tap(self, routine: int, event: int, tap: Tap) -> None:
        """Stop copying to `tap`."""
        with self.outside:
            taps = self.accounts[routine].taps.get(event, [])
            if tap in taps:
                taps.remove(tap)

    # -- Looking in

    def fetch_facts_held(self) -> list[Fact]:
        """Take all facts that wait, in commit order; for those who hold the lock."""
        facts = list(self._facts)
        self._facts.clear()
        self._facts_told = False
        return facts

    def counts(self) -> list[EdgeCount]:
        """Count every connection's messages, each place looked at, in one cut."""
        with self.lock:
            return self.counts_held()

    def counts_held(self) -> list[EdgeCount]:
        """As `counts`, for those who hold the lock."""
        size = len(self.plan.edges)
        waiting, in_hand, in_retry = [0] * size, [0] * size, [0] * size
        for receiver in self._receivers:
            for message in receiver.mailbox.waiting_held():
                waiting[message.edge] += 1
        for account in self.accounts:
            for message in account.in_hand.values():
                in_hand[message.edge] += 1
            for messages in account.in_retry.values():
                for message in messages:
                    in_retry[message.edge] += 1
        return [
            EdgeCount(
                edge.label,
                self._sent[index],
                self._handled[index],
                waiting[index],
                in_hand[index],
                in_retry[index],
                self._dead[index],
                self._skipped[index],
            )
            for index, edge in enumerate(self.plan.edges)
        ]

    def check(self) -> None:
        """Check the conservation of messages (R7).

        Raises:
            InternalError: some connection's messages do not add up; it names them.
        """
        with self.lock:
            wrong = [count for count in self.counts_held() if not count.is_conserved]
            held = sum(len(a.mailbox) + len(a.in_hand) + sum(map(len, a.in_retry.values())) for a in self.accounts)
            outstanding = self._outstanding
        if wrong:
            told = "; ".join(str(count) for count in wrong)
            message = f"the ledger does not add up: {told}"
            raise InternalError(message)
        if held != outstanding:
            message = f"the ledger holds {held} messages and counts {outstanding}"
            raise InternalError(message)

    @property
    def outstanding(self) -> int:
        """Messages that are waiting, in hand or in retry."""
        return self._outstanding

    # -- Private; the lock is held

    def _append_emissions(self, account: Account, emissions: list[Emission], rung: list[Mailbox]) -> tuple[int, ...]:
        ways = account.ways
        account.emitted += len(emissions)
        for emission in emissions:
            event, reference, encoded = emission.event, emission.reference, emission.encoded
            for way in ways[event]:
                takes_bytes = reference is None or (encoded is not None and way.receiver.takes_bytes)
                payload = encoded if takes_bytes else reference
                if payload is None:
                    detail = f"an emission on {way.edge.label} carries no data"
                    raise InternalError(detail)
                self._append(way, payload, rung)
            if account.taps:
                data = reference if reference is not None else encoded
                rung += [tap.mailbox for tap in account.taps.get(event, ()) if tap.offer_held(data)]
        if len(emissions) == 1:
            return account.alone[emissions[0].event]
        return tuple([emission.event for emission in emissions])

    def _append(self, way: Way, payload: Payload, rung: list[Mailbox]) -> None:
        index = way.index
        self._sent[index] = seq = self._sent[index] + 1
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
        if way.mailbox.append_held(Message(index, seq, payload)):
            rung.append(way.mailbox)
        if len(way.waiting) >= way.bound:
            way.receiver.is_pressing = True

    def _relieve(self, receiver: Account | Output, rung: list[Mailbox]) -> None:
        # Half of the bound and not the bound itself: a sender that is woken for every single
        # message taken would cost a thread switch a message.
        if len(receiver.mailbox) * 2 > (receiver.mailbox.capacity or 0):
            return
        receiver.is_pressing = False
        rung += self.room_bell.ring_held()
        rung += [sender.mailbox for sender in receiver.pressed_by if sender.mailbox.ring_held()]

    def _ring_after(self, account: Account, wake: bool, rung: list[Mailbox]) -> None:  # noqa: FBT001
        if wake:
            rung.append(account.mailbox)
        if account.mailbox.is_full:
            account.is_pressing = True

    def _drop_in_hand(self, account: Account, deliveries: Iterable[int]) -> list[Message]:
        return [account.in_hand.pop(delivery) for delivery in deliveries if delivery in account.in_hand]

    def _skip(self, account: Account, messages: list[Message]) -> None:
        for message in messages:
            self._skipped[message.edge] += 1
        account.skipped += len(messages)
        self._outstanding -= len(messages)

    def _has_become_quiet(self) -> bool:
        if self._outstanding or self._entry_open or self._is_quiet:
            return False
        self._is_quiet = True
        return True

    def _note(self, fact: Fact) -> bool:
        facts = self._facts
        facts.append(fact)
        if len(facts) < FACTS_BATCH or self._facts_told:
            return False
        self._facts_told = True
        return True

    def _check_cycle(self, cycle: int) -> None:
        members = self.plan.cycles[cycle]
        if sum(len(self.accounts[index].mailbox) for index in members) > self._cycle_limit:
            self._overflow = cycle

    def _wake(self, rung: list[Mailbox]) -> None:
        for mailbox in rung:
            mailbox.unpark()
        if self._overflow >= 0:
            cycle, self._overflow = self._overflow, -1
            self._notify_overflow(cycle)
