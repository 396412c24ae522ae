"""What turns leave behind: their commits, one by one or together (R1).

Owns the step from a finished turn, or a part of one, to what follows from it: the state, the acknowledgement, the
record, and a message in the mailbox of each who receives what was emitted. Never takes a message. The theory of
operation is told in `ledger`, that of blocks in `blocks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, groupby
from operator import sub

from msgspec.structs import replace

from routilux.accounts import Account, Way
from routilux.blocks import BLOCK_LIMIT, Block, Keys
from routilux.facts import TOGETHER_SHARE, Commits, Fact
from routilux.ids import STEP, key_of_child, key_of_turn, to_bytes
from routilux.merging import Merging
from routilux.messages import Emission, Payload, TurnPart, TurnResults
from routilux.moments import Moments
from routilux.packed import Packed
from routilux.tracking.meters import SAMPLES
from routilux.turn.state import apply_ops
from supervisors.errors import InternalError
from supervisors.mailbox import Mailbox
from supervisors.places.base import Finished
from supervisors.wire.outside import Leased

_LOOKED_AT = 32
"""Turns that are looked at together for one that took longer than all before (arbitrary: mostly all of these did not
take as long)."""


class Committing(Merging):
    """The holdings of a job, with the commits of its turns."""

    __slots__ = ()

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
                    if not self._commit_block(account, worker, delivery, results, rung):
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
            events: tuple[int, ...] = ()
            if count := len(part):
                bases = _bases_of(message.key, message.stepped + message.released, count)
                events = self._emit_part(account, part, at, lambda key: Keys(count, key, bases=bases), rung)
            released = message.released + count
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
                    events,
                )
            )
        self._wake(rung)
        if full:
            self._notify_facts()
        return True

    # -- Private; the lock is held

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
        if len(emitted) == 1 and not (account.sends_keys or account.taps):
            self._emit_one(account, emitted[0], bases[0], at, rung)
        elif emitted:
            event = _only_event(account, emitted)
            self._emit(account, emitted, event, at, lambda key: Keys(len(bases), key, bases=bases), rung)
        return is_complete

    def _emit_one(self, account: Account, emission: Emission, base: int, at: float, rung: list[Mailbox]) -> None:
        """Append what was emitted alone, as `_emit` does: without the key of a partition, and to nobody who taps."""
        account.emitted += 1
        for way in account.ways[emission[0]]:
            self._append(way, _payload_on(way, emission), key_of_child(base, way.key), at, rung)

    def _commit_block(
        self, account: Account, worker: int, delivery: int, results: TurnResults, rung: list[Mailbox]
    ) -> bool:
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
        for _turn, ops in results.states:
            apply_ops(account.committed[worker], ops)
        account.versions[worker] += len(results.states)
        self._handled[block.edge] += count
        self._outstanding -= count
        self._measure_block(account, block, results)
        ats = results.ats
        events: tuple[int, ...] = ()
        each: list[tuple[int, ...]] | None = None
        if results.payloads and not results.ends and self._takes_payloads(account):
            events = account.alone[0]
            self._emit_payloads(
                account,
                results.payloads,
                ats[-1],
                lambda key: Keys(count, key, parents=block.keys, start=first_key),
                rung,
            )
        elif results.payloads or results.emissions:
            each, events = self._emit_each(account, results, block, first_key, rung)
        self._facts.append(
            Commits(account.index, block.edge, block.keys, first_key, results.began_at, ats, events, each)
        )
        self._fact_count += 1 + count // TOGETHER_SHARE
        return True

    def _takes_payloads(self, account: Account) -> bool:
        """Whether nobody looks at the single ones of what is emitted of the routine's only event."""
        return account.is_apart[0] and not (self._memos or account.taps)

    def _emit_payloads(
        self,
        account: Account,
        payloads: list[Payload] | Packed,
        at: float,
        keys_for: Callable[[int], Keys],
        rung: list[Mailbox],
    ) -> None:
        """Append the data of the routine's only event, as `_emit` does, where it `_takes_payloads`."""
        account.emitted += len(payloads)
        for way in account.ways[0]:
            self._append_all(way, payloads, keys_for(way.key), at, rung)

    def _emit_part(
        self, account: Account, part: TurnPart, at: float, keys_for: Callable[[int], Keys], rung: list[Mailbox]
    ) -> tuple[int, ...]:
        """Append what a turn has emitted ahead; gives the events."""
        if part.payloads and len(part) > 1 and self._takes_payloads(account):
            self._emit_payloads(account, part.payloads, at, keys_for, rung)
            return account.alone[0] * len(part.payloads)
        emissions = part.to_emissions()
        event = _only_event(account, emissions) if len(emissions) > 1 else None
        self._emit(account, emissions, event, at, keys_for, rung)
        return _events_of(emissions)

    def _emit_each(
        self, account: Account, results: TurnResults, block: Block, first_key: int, rung: list[Mailbox]
    ) -> tuple[list[tuple[int, ...]] | None, tuple[int, ...]]:
        """Append what turns of a block emitted; gives the events of each, or None, and those of all of them."""
        emissions, ends, at, count = results.to_emissions(), results.all_ends(), results.ats[-1], len(results)
        event = _only_event(account, emissions)
        if event is not None and not results.ends:
            self._emit(
                account,
                emissions,
                event,
                at,
                lambda key: Keys(count, key, parents=block.keys, start=first_key),
                rung,
            )
            return None, account.alone[event]
        each = [_events_of(emissions[first:end]) for first, end in zip([0, *ends], ends, strict=False)]
        bases = [
            base
            for key, turn in zip(block.keys.to_list()[first_key : first_key + count], each, strict=True)
            for base in _bases_of(key, 0, len(turn))
        ]
        self._emit(account, emissions, event, at, lambda key: Keys(len(bases), key, bases=bases), rung)
        return each, tuple({emission[0] for emission in emissions})

    def _measure_block(self, account: Account, block: Block, results: TurnResults) -> None:
        ats, began_at, count = results.ats, results.began_at, len(results)
        # Of many together not each is a sample, even before it is known how many come between two looks at them.
        account.sample_every = every = max(account.sample_every, count // SAMPLES | 1)
        first = account.next_sample - account.handled - 1
        account.handled += count
        seconds = ats[-1] - began_at
        account.seconds += seconds
        if seconds > account.longest:  # or none of them can have taken longer
            account.longest = _find_longest(began_at, ats, account.longest)
        for at in range(first, count, every):
            begun = ats[at - 1] if at else began_at
            account.samples.append((max(0.0, ats[at] - begun), begun - block.find_sent_at(block.start + at)))
            account.next_sample += every

    def _emit(
        self,
        account: Account,
        emissions: list[Emission],
        event: int | None,
        at: float,
        keys_for: Callable[[int], Keys],
        rung: list[Mailbox],
    ) -> None:
        """Append what turns emitted to the mailboxes of those who receive it.

        Args:
            account: that of the routine that emits.
            emissions: what it emitted, in order.
            event: the only one that these are of, whose messages go together; None where they are of several, or where
                it is a lone one. What is left of a block goes as one, to be joined with what it was cut from.
            at: clock reading.
            keys_for: gives the keys of all these on a connection, by that one's part in them.
            rung: gets mailboxes that are to be woken.
        """
        account.emitted += len(emissions)
        if event is not None and account.is_apart[event] and not self._memos:
            for way in account.ways[event]:
                payloads = _payloads_on(way, emissions)
                self._append_all(way, payloads, keys_for(way.key), at, rung)
        else:
            # One after the other: what goes to one receiver on several connections stays in its order.
            used = {emission[0] for emission in emissions}
            keys = {way.index: keys_for(way.key).to_list() for one in used for way in account.ways[one]}
            for number, emission in enumerate(emissions):
                ways = account.ways[emission[0]]
                if account.sends_keys:
                    self._append_keyed(ways, emission, [keys[way.index][number] for way in ways], at, rung)
                    continue
                for way in ways:
                    self._append(way, _payload_on(way, emission), keys[way.index][number], at, rung)
        if account.taps:
            for tapped, reference, encoded, _keys in emissions:
                data = encoded if reference is None else reference
                rung += [tap.mailbox for tap in account.taps.get(tapped, ()) if tap.offer_held(data)]

    def _append_keyed(
        self, ways: tuple[Way, ...], emission: Emission, keys: list[int], at: float, rung: list[Mailbox]
    ) -> None:
        """Append an emission of a routine that sends to partitioned ones: each of these gets the key with it."""
        for way, key, partition in zip(ways, keys, emission[3] or ("",) * len(ways), strict=True):
            if bool(way.edge.key) != bool(partition):
                detail = f"an emission on {way.edge.label} does not carry the key that it is to carry"
                raise InternalError(detail)
            self._append(way, _payload_on(way, emission), key, at, rung, partition)

    def _append_all(
        self, way: Way, payloads: list[Payload] | Packed, keys: Keys, at: float, rung: list[Mailbox]
    ) -> None:
        """Append messages, as a block where the receiver takes such; the payloads are never changed."""
        # All of a way's payloads are dicts, or none is. A block would keep what holds shared memory until all of it is
        # handled.
        is_dicts = payloads[0].__class__ is dict
        has_leased = not is_dicts and not isinstance(payloads, Packed) and Leased in map(type, payloads)
        if has_leased or not (way.is_plain and way.takes_blocks):
            for payload, key in zip(payloads, keys.to_list(), strict=True):
                self._append(way, payload, key, at, rung)
            return
        for first in range(0, len(payloads), BLOCK_LIMIT):
            count = min(BLOCK_LIMIT, len(payloads) - first)
            carried = payloads if count == len(payloads) else _some_of(payloads, first, first + count)
            way.waiting.append(Block(way.index, way.sent + 1, carried, keys, at, 0, count, first))
            way.mailbox.surplus += count - 1
            way.sent += count
            self._outstanding += count
        self._ring_used(way, rung)


def _is_of_block(entry: Finished) -> bool:
    return isinstance(entry[1], TurnResults)


def _find_longest(began_at: float, ats: list[float] | Moments, known: float) -> float:
    """Give what one of the turns took at most that ended at `ats`, or what is known, if that is more."""
    times = ats.to_list() if isinstance(ats, Moments) else ats
    for first in range(0, len(times), _LOOKED_AT):
        some = times[first : first + _LOOKED_AT]
        if some[-1] - began_at > known:
            known = max(known, *map(sub, some, chain((began_at,), some)))
        began_at = some[-1]
    return known


def _events_of(emissions: list[Emission]) -> tuple[int, ...]:
    return tuple([emission[0] for emission in emissions])


def _bases_of(message_key: int, emitted: int, count: int) -> Sequence[int]:
    """Give what the keys of a turn's emissions are made of, which has emitted so many before."""
    base = key_of_turn(message_key, emitted)
    return range(base, base + count * STEP, STEP) if count != 1 else [base]


def _only_event(account: Account, emissions: list[Emission]) -> int | None:
    """Give the event that all of these are emissions of; None where there are several, or none."""
    if not emissions or (len(account.ways) > 1 and len({emission[0] for emission in emissions}) > 1):
        return None
    return emissions[0][0]


def _some_of(payloads: list[Payload] | Packed, start: int, stop: int) -> list[Payload] | Packed:
    return payloads.between(start, stop) if isinstance(payloads, Packed) else payloads[start:stop]


def _payload_on(way: Way, emission: Emission) -> Payload:
    """Give the data of an emission in the form in which it goes on a way."""
    _event, reference, encoded, _keys = emission
    payload = (encoded or reference) if way.takes_bytes else (encoded if reference is None else reference)
    return _payloads_on(way, [emission])[0] if payload is None else payload  # which raises


def _payloads_on(way: Way, emissions: list[Emission]) -> list[Payload]:
    """Give the data of emissions in the form in which it goes on a way."""
    if way.takes_bytes:
        found = [encoded or reference for _event, reference, encoded, _keys in emissions]
    else:
        found = [encoded if reference is None else reference for _event, reference, encoded, _keys in emissions]
    payloads = [payload for payload in found if payload is not None]
    if len(payloads) < len(emissions):
        detail = f"an emission on {way.edge.label} carries no data"
        raise InternalError(detail)
    return payloads
