"""Every message of a job, in exactly one place (R1, R2, R7).

Theory of operation. A job has one lock, shared by this ledger and the mailboxes of all its
routines: whoever holds it sees no message between two places. Each method below is one step
from one consistent picture to the next; nothing is encoded, decoded or run while the lock is
held, and readers that were rung are woken after it was let go. A message that was taken is *in
hand* under a delivery number until it is committed, put back, set aside for a retry, dead or
skipped; a commit that names a number which is not in hand comes too late and is refused, which
is how everything that was given up is fenced off.

A ledger stands on three others: `holdings` are the places and the books, `dispositions` what becomes
of messages that were not handled, `merging` how one turn handles several. What goes in, through and out is here.

Pure but for the lock it is given: no thread, no clock (times are handed in), no file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from itertools import groupby
from operator import sub

from msgspec.structs import replace

from routilux.accounts import Account, Output, Tap, Way
from routilux.blocks import BLOCK_LIMIT, Block, Keys
from routilux.facts import Commits, Fact
from routilux.ids import STEP, key_of_child, key_of_text, key_of_turn, to_bytes
from routilux.merging import Merging
from routilux.messages import Emission, Message, Once, Payload, TurnPart, TurnResults
from routilux.turn.state import apply_ops
from supervisors.errors import InternalError
from supervisors.mailbox import Mailbox
from supervisors.places.base import Finished
from supervisors.wire.outside import Leased


class Admission(Enum):
    """What became of a message from outside."""

    ADMITTED = "admitted"
    FULL = "full"
    CLOSED = "closed"


class Ledger(Merging):
    """The places of all messages of one job: what goes in, through and out of them.

    Its arguments are those of `Holdings`.
    """

    __slots__ = ()

    # -- What goes in

    def admit(
        self, edge: int, payload: Payload, name: str | None = None, at: float = 0.0, partition: str = ""
    ) -> Admission:
        """Append a message from outside, if its receiver has room for it.

        Args:
            edge: the connection by which it comes in.
            payload: its data.
            name: what it is known by outside, from which its id follows; None: its id is its own alone.
            at: clock reading.
            partition: its key, see `Message`.
        """
        rung: list[Mailbox] = []
        way = self._ways[edge]
        with self.outside:
            if not self._entry_open or self._is_ending:
                return Admission.CLOSED
            if way.receiver.is_pressing or self.hold:
                return Admission.FULL
            base = key_of_turn(self._outside_key, way.sent) if name is None else key_of_text(f"{self.job_id}:{name}")
            self._append(way, payload, key_of_child(base, way.key), at, rung, partition)
            self._last_at[edge] = at
            if self._first_at[edge] is None:
                self._first_at[edge] = at
        self._wake(rung)
        return Admission.ADMITTED

    def close_entry(self) -> None:
        """Take no more messages from outside; the job ends when the last one is handled."""
        rung: list[Mailbox] = []
        with self.outside:
            self._entry_open = False
            self._open_lanes(rung)
            quiet = self._has_become_quiet()
        self._wake(rung)
        if quiet:
            self._notify_quiet()

    def begin(self) -> None:
        """Let messages be taken, in a ledger that waits for that; nothing happens if the gate is held, or was."""
        with self.lock:
            if self._hold or self._is_ending:
                return
            self._gate_open = True
            self._let_in_place_go()
        self._ring_receivers()

    def hold_gate(self) -> int:
        """Let nothing be taken and nothing come in until `open_gate`: what is in hand may come to its end.

        Messages from outside wait meanwhile, and so do those who read results: what is there stays there.

        Returns:
            The number of this hold, by which those who come to rest name it.
        """
        with self.lock:
            self._gate_open = False
            self._hold += 1
            self._stop_in_place()
        self._ring_receivers()
        return self._hold

    def open_gate(self) -> None:
        """Let messages be taken again after `hold_gate`; nothing happens if the job is ending."""
        with self.lock:
            self._gate_open = not self._is_ending
            if not self._is_stopping_in_place:
                self._let_in_place_go()
        self._ring_receivers()
        self.ring_outside()

    def stop_in_place(self) -> None:
        """Let routines whose state is read in place stop at their next boundary; each tells when it is there."""
        with self.lock:
            self._is_stopping_in_place = True
            self._stop_in_place()
        self._ring_receivers()  # one that waits for room goes on to its boundary without

    def let_in_place_go(self) -> None:
        """Let them go on, unless the gate is held."""
        with self.lock:
            self._is_stopping_in_place = False
            if not self._gate_open:
                return
            self._let_in_place_go()
        self._ring_receivers()

    def close_gate(self) -> None:
        """Let no routine take another message, ever, and wake those that wait for room."""
        with self.lock:
            self._gate_open = False
            self._is_ending = True
        self._ring_receivers()
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

    @property
    def hold(self) -> int:
        """The number of the hold that is in force; 0 while the gate is open, or closed for good."""
        return 0 if self._gate_open or self._is_ending else self._hold

    @property
    def is_ending(self) -> bool:
        """Whether the gate is closed for good."""
        return self._is_ending

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
        if not waiting or waiting[0].__class__ is Block:
            return []
        if account.joins:
            return self._take_joined(account, limit)
        rung: list[Mailbox] = []
        try_acquire, release = self._try_acquire, self._release
        if not try_acquire():
            self.lock.wait()
        try:
            if not self._gate_open or account.is_stopping or account.is_pressed:
                return []
            account.peak_waiting = max(account.peak_waiting, len(account.mailbox))
            taken: list[tuple[int, Message]] = []
            while waiting and len(taken) < limit and waiting[0].__class__ is not Block:
                self._delivery += 1
                taken.append((self._delivery, waiting.popleft()))
            account.in_hand.update(taken)
            if account.is_pressing:
                self._relieve(account, rung)
        finally:
            release()
        if rung:
            self._wake(rung)
        return taken

    def take_blocks(self, account: Account, limit: int) -> list[tuple[int, Block]]:
        """As `take`, where blocks are next.

        Returns:
            Pairs of (delivery number of the first message, block), oldest first.
        """
        waiting, mailbox = account.mailbox.data, account.mailbox
        if not waiting or waiting[0].__class__ is not Block:
            return []
        rung: list[Mailbox] = []
        taken: list[tuple[int, Block]] = []
        with self.lock:
            if not self._gate_open or account.is_stopping or account.is_pressed:
                return []
            account.peak_waiting = max(account.peak_waiting, len(mailbox))
            while limit and waiting and waiting[0].__class__ is Block:
                block: Block = waiting.popleft()
                mailbox.surplus -= len(block) - 1
                if len(block) > limit:
                    rest = block.between(block.start + limit, block.stop)
                    block = block.between(block.start, rest.start)
                    waiting.appendleft(rest)
                    mailbox.surplus += len(rest) - 1
                taken.append((self._delivery + 1, block))
                account.blocks.append((self._delivery + 1 - block.start, block))
                self._delivery += len(block)
                limit -= len(block)
            if account.is_pressing:
                self._relieve(account, rung)
        if rung:
            self._wake(rung)
        return taken

    def take_forward(self, account: Account, ticket: int) -> list[tuple[int, Message]]:
        """Take in hand what was set aside, ahead of all that is in hand: for turns that commit in their order.

        Args:
            account: the routine's.
            ticket: of what was set aside.

        Returns:
            As `take`; none either if there is no such ticket any more.
        """
        with self.lock:
            if not self._gate_open or account.is_stopping or account.is_pressed or ticket not in account.in_retry:
                return []
            wait = account.in_retry.pop(ticket)
            taken = list(enumerate(wait.messages, self._delivery + 1))
            self._delivery += len(taken)
            behind = account.in_hand.copy()
            account.in_hand.clear()
            account.in_hand.update(taken)
            account.in_hand.update(behind)
        return taken

    def has_room(self, account: Account) -> bool:
        """Whether a turn of the routine that streams may release more (R3); while the gate is held it may not."""
        with self.lock:
            if account.is_stopping:
                return not account.is_at_boundary  # the way there has to be free
            return self._gate_open and not account.is_pressed

    def commit(  # noqa: C901  the end of a step, as of the others, and two kinds of entries
        self, account: Account, worker: int, finished: Iterable[Finished]
    ) -> bool:
        """Commit finished turns, oldest first; with each at once its state, emissions, acknowledgement and record (R1).

        Args:
            account: the routine's.
            worker: number of the worker whose state they change.
            finished: for each the number under which its message was taken, its `TurnResult`, the seconds it took
                and the clock reading at its end; for those of a block that of the first, and their `TurnResults`.

        Returns:
            False if a message is no longer in hand: such a turn comes too late and left nothing.
        """
        rung: list[Mailbox] = []
        is_complete = True
        try_acquire, release = self._try_acquire, self._release
        if not try_acquire():
            self.lock.wait()
        try:
            for together, entries in groupby(finished, _is_of_block):
                if not together:
                    is_complete &= self._commit_each(account, worker, entries, rung)
                    continue
                for delivery, results, _seconds, _at in entries:
                    if not self._commit_block(account, delivery, results, rung):
                        is_complete &= self._commit_each(account, worker, results.one_by_one(delivery), rung)
            if self._lanes:
                self._open_lanes(rung)
            is_full = self._has_facts_to_tell()
            is_quiet = not self._outstanding and self._has_become_quiet()
            if account.is_stopping and not account.has_in_hand:
                self._has_stopped = True
        finally:
            release()
        if rung or self._overflow or self._has_stopped:
            self._wake(rung)
        if is_full:
            self._notify_facts()
        if is_quiet:
            self._notify_quiet()
        return is_complete

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
            if part.emissions:
                bases = _bases_of(message.key, message.stepped + message.released, len(part.emissions))
                self._emit(account, part.emissions, at, lambda key: Keys(len(bases), key, bases=bases), rung)
            released = message.released + len(part.emissions)
            if part.state is None:
                account.in_hand[delivery] = replace(message, released=released)
            else:
                # From here the turn would start again with this state, and emit from the start.
                apply_ops(account.committed[worker], part.state)
                account.versions[worker] += 1
                account.in_hand[delivery] = replace(message, released=0, stepped=message.stepped + released)
                if account.is_stopping:
                    account.is_at_boundary = self._has_stopped = True
            full = self._note(
                Fact(
                    "released",
                    account.plan.index,
                    message.edge,
                    to_bytes(message.key),
                    message.failures + 1,
                    at,
                    0.0,
                    _events_of(part.emissions),
                )
            )
        self._wake(rung)
        if full:
            self._notify_facts()
        return True

    def record_once(self, account: Account, delivery: int, once: Once) -> Message | None:
        """Keep with a message in hand what its handler did that is not to be done again.

        Returns:
            The message as it is now; None if it is no longer in hand.
        """
        with self.lock:
            message = account.in_hand.get(delivery)
            if message is None:
                return None
            if any(recorded.key == once.key for recorded in message.once):
                detail = f"once({once.key!r}) of message {message.id} was recorded twice"
                raise InternalError(detail)
            account.in_hand[delivery] = message = replace(message, once=(*message.once, once))
        return message

    # -- What comes out

    def take_output(self, output: Output) -> Message | None:
        """Take the oldest result of a declared output; None when none waits, or the gate is held."""
        rung: list[Mailbox] = []
        with self.outside:
            message = self._take_result(output, rung)
        self._wake(rung)
        return message

    def collect_output(self, output: Output) -> Message | None:
        """As `take_output`, for a result that is to be part of the job's final state."""
        rung: list[Mailbox] = []
        with self.outside:
            message = self._take_result(output, rung)
            if message is not None and output.keeps_collected:
                output.collected.append(message)
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

    # -- Private

    def _ring_receivers(self) -> None:
        with self.lock:
            rung = [receiver.mailbox for receiver in self._receivers if receiver.mailbox.ring_held()]
        self._wake(rung)

    # -- Private; the lock is held

    def _stop_in_place(self) -> None:
        for account in self.accounts:
            account.is_stopping = account.is_in_place

    def _let_in_place_go(self) -> None:
        for account in self.accounts:
            account.is_stopping = account.is_at_boundary = False

    def _take_result(self, output: Output, rung: list[Mailbox]) -> Message | None:
        if not output.mailbox or not (self._gate_open or self._is_ending):
            return None
        message: Message = output.mailbox.take_held()
        self._handled[message.edge] += 1
        if output.is_pressing:
            self._relieve(output, rung)
        return message

    def _commit_each(self, account: Account, worker: int, finished: Iterable[Finished], rung: list[Mailbox]) -> bool:
        """Commit turns one by one; False if a message is no longer in hand."""
        emitted: list[Emission] = []
        bases: list[int] = []
        is_complete, at = True, 0.0
        # What every turn passes is spelled out here: no function is called for it that need not be.
        in_hand, facts, alone = account.in_hand, self._facts, account.alone
        for delivery, result, seconds, at in finished:
            message = in_hand.pop(delivery, None)
            if message is None:
                is_complete = False
                continue
            if result.state:
                apply_ops(account.committed[worker], result.state)
                account.versions[worker] += 1
            emissions = result.emissions
            events: tuple[int, ...] = ()
            if emissions:
                emitted += emissions
                bases += _bases_of(message.key, message.stepped + message.released, len(emissions))
                events = alone[emissions[0][0]] if len(emissions) == 1 else _events_of(emissions)
            if message.parts:
                self._note_handled_beside(account, message)
            self._handled[message.edge] += 1
            self._outstanding -= 1
            account.handled += 1
            account.seconds += seconds
            if seconds > account.longest:  # noqa: PLR1730  a call costs more
                account.longest = seconds
            if account.handled == account.next_sample:
                account.next_sample += account.sample_every
                account.samples.append((seconds, at - seconds - message.sent_at))
            key = to_bytes(message.key)
            facts.append(Fact("committed", account.index, message.edge, key, message.failures + 1, at, seconds, events))
            self._fact_count += 1
        if emitted:
            self._emit(account, emitted, at, lambda key: Keys(len(bases), key, bases=bases), rung)
        return is_complete

    def _commit_block(self, account: Account, delivery: int, results: TurnResults, rung: list[Mailbox]) -> bool:
        """Commit turns of a block together; False if that is in hand no more as a block."""
        if not account.blocks:
            return False
        offset, block = account.blocks[0]
        count = len(results)
        start, stop, first_key = block.start, block.start + count, block.first_key + block.start
        if offset + start != delivery or stop > block.stop:
            return False
        if stop == block.stop:
            account.blocks.popleft()
        else:
            account.blocks[0] = (offset, block.between(stop, block.stop))
        self._handled[block.edge] += count
        self._outstanding -= count
        self._measure_block(account, block, results)
        emissions, ats, ends = results.emissions, results.ats, results.ends
        events: tuple[int, ...] = ()
        each: list[tuple[int, ...]] | None = None
        if emissions and ends == list(range(1, count + 1)) and _is_one_event(account, emissions):
            events = account.alone[emissions[0][0]]
            self._emit(
                account, emissions, ats[-1], lambda key: Keys(count, key, parents=block.keys, start=first_key), rung
            )
        elif emissions:
            each = [_events_of(emissions[first:end]) for first, end in zip([0, *ends], ends, strict=False)]
            events = tuple({emission[0] for emission in emissions})
            bases = [
                base
                for key, turn in zip(block.keys.to_list()[first_key : first_key + count], each, strict=True)
                for base in _bases_of(key, 0, len(turn))
            ]
            self._emit(account, emissions, ats[-1], lambda key: Keys(len(bases), key, bases=bases), rung)
        self._facts.append(
            Commits(account.index, block.edge, block.keys, first_key, results.began_at, ats, events, each)
        )
        self._fact_count += count
        return True

    def _measure_block(self, account: Account, block: Block, results: TurnResults) -> None:
        ats, began_at = results.ats, results.began_at
        before = account.handled
        account.handled += len(ats)
        account.seconds += ats[-1] - began_at
        account.longest = max(account.longest, *map(sub, ats, [began_at, *ats]))
        while account.next_sample <= account.handled:
            at = account.next_sample - before - 1
            begun = ats[at - 1] if at else began_at
            account.samples.append((ats[at] - begun, begun - block.sent_at))
            account.next_sample += account.sample_every

    def _emit(
        self,
        account: Account,
        emissions: list[Emission],
        at: float,
        keys_for: Callable[[int], Keys],
        rung: list[Mailbox],
    ) -> None:
        """Append what turns emitted to the mailboxes of those who receive it.

        Args:
            account: that of the routine that emits.
            emissions: what it emitted, in order.
            at: clock reading.
            keys_for: gives the keys of all these on a connection, by that one's part in them.
            rung: gets mailboxes that are to be woken.
        """
        account.emitted += len(emissions)
        event = emissions[0][0]
        if len(emissions) > 1 and account.is_apart[event] and not self._memos and _is_one_event(account, emissions):
            for way in account.ways[event]:
                self._append_all(way, emissions, keys_for(way.key), at, rung)
        else:
            # One after the other: what goes to one receiver on several connections stays in its order.
            used = {emission[0] for emission in emissions}
            keys = {way.index: keys_for(way.key).to_list() for event in used for way in account.ways[event]}
            for number, emission in enumerate(emissions):
                ways = account.ways[emission[0]]
                if account.sends_keys:
                    self._append_keyed(ways, emission, [keys[way.index][number] for way in ways], at, rung)
                    continue
                for way in ways:
                    self._append(way, _payload_on(way, emission), keys[way.index][number], at, rung)
        if account.taps:
            for event, reference, encoded, _keys in emissions:
                data = encoded if reference is None else reference
                rung += [tap.mailbox for tap in account.taps.get(event, ()) if tap.offer_held(data)]

    def _append_keyed(
        self, ways: tuple[Way, ...], emission: Emission, keys: list[int], at: float, rung: list[Mailbox]
    ) -> None:
        """Append an emission of a routine that sends to partitioned ones: each of these gets the key with it."""
        for way, key, partition in zip(ways, keys, emission[3] or ("",) * len(ways), strict=True):
            if bool(way.edge.key) != bool(partition):
                detail = f"an emission on {way.edge.label} does not carry the key that it is to carry"
                raise InternalError(detail)
            self._append(way, _payload_on(way, emission), key, at, rung, partition)

    def _append_all(self, way: Way, emissions: list[Emission], keys: Keys, at: float, rung: list[Mailbox]) -> None:
        """Append messages, as a block where the receiver takes such."""
        payloads = [_payload_on(way, emission) for emission in emissions]
        # All of a way's payloads are dicts, or none is. A block would keep what holds shared memory until all of it is
        # handled.
        has_leased = payloads[0].__class__ is not dict and Leased in map(type, payloads)
        if has_leased or not (way.is_plain and way.takes_blocks):
            for payload, key in zip(payloads, keys.to_list(), strict=True):
                self._append(way, payload, key, at, rung)
            return
        for first in range(0, len(payloads), BLOCK_LIMIT):
            carried = payloads[first : first + BLOCK_LIMIT]
            count = len(carried)
            way.waiting.append(Block(way.index, way.sent + 1, carried, keys, at, 0, count, first))
            way.mailbox.surplus += count - 1
            way.sent += count
            self._outstanding += count
        self._ring_used(way, rung)


def _is_of_block(entry: Finished) -> bool:
    return entry[1].__class__ is TurnResults


def _events_of(emissions: list[Emission]) -> tuple[int, ...]:
    return tuple([emission[0] for emission in emissions])


def _bases_of(message_key: int, emitted: int, count: int) -> list[int]:
    """Give what the keys of a turn's emissions are made of, which has emitted so many before."""
    base = key_of_turn(message_key, emitted)
    return [base + number * STEP for number in range(count)] if count != 1 else [base]


def _is_one_event(account: Account, emissions: list[Emission]) -> bool:
    return len(account.ways) == 1 or len({emission[0] for emission in emissions}) == 1


def _payload_on(way: Way, emission: Emission) -> Payload:
    """Give the data of an emission in the form in which it goes on a way."""
    _event, reference, encoded, _keys = emission
    payload = encoded if reference is None or (encoded is not None and way.takes_bytes) else reference
    if payload is None:
        detail = f"an emission on {way.edge.label} carries no data"
        raise InternalError(detail)
    return payload
