"""Many messages as one: what a connection carries when several are sent together.

Owns what a block is, and the identities of its messages, which are worked out when somebody asks. Pure.

Theory of operation. Most messages are sent together with others, are handled once, in their order, and are asked for
nothing but their data. So what was sent together stays together, in the mailbox and in hand, as one `Block`, and costs
what one message does. What is to be done about a single one (it fails, is put back, goes on as a generator) is done to
the `Message` that the block gives for it. A message of a block was never tried, and has released nothing. What was cut
up, since some of its turns had been told of and the others not, is joined again where it waits together (`join`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias

import msgspec

from routilux.ids import KEY_BYTES, descend, from_bytes, key_of_child, keys_of, to_bytes
from routilux.messages import Message, Payload
from routilux.packed import Packed


class Lineage(NamedTuple):
    """What the identities of messages follow from, as it travels to where somebody may ask for them.

    Args:
        ancestors: the identities of messages that they descend from, `KEY_BYTES` of each; empty where one turn emitted
            all of them, or their ancestors.
        first: the number of the first of them, where they have no ancestors.
        scale: what each of these identities or numbers is multiplied with (`ids.keys_of`), as many bytes.
        shift: what is added to that, as many bytes.
    """

    ancestors: bytes
    first: int
    scale: bytes
    shift: bytes


class Keys:
    """The identities of messages that one connection carried, one behind the other (`ids`).

    What they are made of is as little at the thousandth routine of a chain as at its first, and nothing is worked out
    before somebody asks.

    Args:
        connection_key: that connection's.
        parents: those of the messages whose turns emitted one each.
        start: the first of these.
        bases: where they have none, what the key of each is made of (`ids.key_of_turn`).
    """

    __slots__ = ("_encoded", "_known", "_numbers", "_scale", "_shift", "_start", "count")

    def __init__(
        self,
        count: int,
        connection_key: int,
        *,
        parents: Keys | None = None,
        start: int = 0,
        bases: Sequence[int] = (),
    ) -> None:
        self.count = count
        self._known: list[int] | None = None
        self._encoded: bytes | None = None
        """All of them, as they travel."""
        self._numbers: Sequence[int] | Keys
        """Of each a number of its own, or the identity of an ancestor; with scale and shift it is made of that."""
        if parents is not None:
            self._numbers, first, scale, shift = parents.origin
            self._start = first + start
            self._scale, self._shift = descend(scale, shift, connection_key)
        elif isinstance(bases, range):
            self._numbers, self._start, self._scale = range(count), 0, bases.step
            self._shift = key_of_child(bases.start, connection_key)
        else:
            self._numbers, self._start, self._scale, self._shift = bases, 0, 1, connection_key

    @classmethod
    def descended(cls, count: int, lineage: Lineage) -> Keys:
        """Give those of `count` messages of which this is the lineage."""
        ancestors, first, scale, shift = lineage
        numbers: range | Keys = range(first, first + count)
        if ancestors:
            numbers = cls(count, 0)
            numbers._encoded = ancestors
        return cls.made_of((numbers, 0, from_bytes(scale), from_bytes(shift)), count)

    @classmethod
    def made_of(cls, origin: Origin, count: int) -> Keys:
        """Give those of `count` messages that have this origin."""
        keys = cls(count, 0)
        keys._numbers, keys._start, keys._scale, keys._shift = origin
        return keys

    @property
    def origin(self) -> Origin:
        """What they are made of, for those that follow from them: what they share with others, they have in common."""
        numbers = self._numbers
        return (
            (numbers, self._start, self._scale, self._shift) if isinstance(numbers, range | Keys) else (self, 0, 1, 0)
        )

    def lineage(self, first: int, count: int) -> Lineage:
        """Give that of `count` of these messages, from the index `first` on. Any thread may call it."""
        numbers, start, scale, shift = self.origin
        begin = start + first
        if isinstance(numbers, range):
            return Lineage(b"", numbers[begin], to_bytes(scale), to_bytes(shift))
        ancestors = numbers.to_bytes()[begin * KEY_BYTES : (begin + count) * KEY_BYTES]
        return Lineage(ancestors, 0, to_bytes(scale), to_bytes(shift))

    def to_bytes(self) -> bytes:
        """Give them, `KEY_BYTES` of each. Any thread may call it."""
        if self._encoded is None:
            self._encoded = b"".join(map(to_bytes, self.to_list()))
        return self._encoded

    def to_list(self) -> list[int]:
        """Give them. Any thread may call it."""
        known, encoded = self._known, self._encoded
        if known is not None:
            return known
        if encoded is not None:
            known = [from_bytes(encoded[at : at + KEY_BYTES]) for at in range(0, len(encoded), KEY_BYTES)]
        else:
            numbers, start, shift = self._numbers, self._start, self._shift
            if isinstance(numbers, list):  # of a lone message too, which would feel what the others take
                known = [key_of_child(base, shift) for base in numbers]
            else:
                numbers = numbers.to_list() if isinstance(numbers, Keys) else numbers
                known = keys_of(numbers[start : start + self.count], self._scale, shift)
        self._known = known  # two threads may find out the same at once
        return known


Origin: TypeAlias = tuple[range | Keys, int, int, int]
"""What messages' identities are made of: numbers, or ancestors; where in these theirs begin; scale and shift."""

BLOCK_LIMIT = 1_000
"""Messages in a block at most (what a turn releases at once, R3): all it carries is held until the last is handled."""
BLOCK_BYTES = 2 * 1024 * 1024
"""Encoded data of the messages that travel as one, at most: twice what a turn releases at once (R3), so that what it
has released stays together, however large its messages are."""


class Block(msgspec.Struct, frozen=True, gc=False):
    """Messages of one connection, one behind the other.

    Args:
        edge: index of the connection in the compiled plan.
        seq: number on that connection of the first in `payloads`.
        payloads: the emitted data of each; never changed.
        keys: their identities.
        sent_at: clock reading when they came into their mailbox, or the first of them did.
        start: the first in `payloads` that is still in the block.
        stop: behind the last.
        first_key: index in `keys` of that of the first in `payloads`.
        later: from which index in `payloads` on they came later, and when.
    """

    edge: int
    seq: int
    payloads: list[Payload] | Packed
    keys: Keys
    sent_at: float
    start: int
    stop: int
    first_key: int = 0
    later: tuple[tuple[int, float], ...] = ()

    def __len__(self) -> int:
        return self.stop - self.start

    def message(self, at: int) -> Message:
        """Give the message at an index of `payloads`."""
        key = self.keys.to_list()[self.first_key + at]
        return Message(self.edge, self.seq + at, self.payloads[at], key, self.find_sent_at(at))

    def between(self, start: int, stop: int) -> Block:
        """Give those from one index of `payloads` to another."""
        return Block(
            self.edge, self.seq, self.payloads, self.keys, self.sent_at, start, stop, self.first_key, self.later
        )

    def find_sent_at(self, at: int) -> float:
        """Give the clock reading when the one at an index of `payloads` came into its mailbox."""
        sent_at = self.sent_at
        for first, later in self.later:
            if first > at:
                break
            sent_at = later
        return sent_at

    def messages(self) -> Iterator[Message]:
        """Give each; their data is found by one way through it, which for each alone begins at the first."""
        keys, first_key = self.keys.to_list(), self.first_key
        payloads = islice(self.payloads, self.start, self.stop)
        for at, payload in enumerate(payloads, self.start):
            yield Message(self.edge, self.seq + at, payload, keys[first_key + at], self.find_sent_at(at))


def join(blocks: Iterable[Block]) -> list[Block]:
    """Make one of those blocks that are parts of one, or came of such: as long as one may be, and as large.

    What was cut up on the way, since a turn took long, would stay so to the end of a chain of routines, and each part
    costs what a block does.

    Args:
        blocks: as they wait, oldest first.
    """
    runs: list[list[Block]] = []
    count = size = 0
    for block in blocks:
        count, size = count + len(block), size + _count_bytes(block)
        if runs and count <= BLOCK_LIMIT and size <= BLOCK_BYTES and _follows(runs[-1][-1], block):
            runs[-1].append(block)
        else:
            runs.append([block])
            count, size = len(block), _count_bytes(block)
    return [run[0] if len(run) == 1 else _make_one(run) for run in runs]


def _count_bytes(block: Block) -> int:
    """Count what the data takes that is encoded."""
    payloads = block.payloads
    if isinstance(payloads, Packed):
        if len(block) == len(payloads):
            return len(payloads.data)
        return sum(payloads.sizes[block.start : block.stop])
    if payloads[0].__class__ is dict:  # so are all, or none
        return 0
    return sum(map(len, payloads[block.start : block.stop]))


def _follows(before: Block, block: Block) -> bool:
    """Tell whether a block goes on where another one ends, in every respect but when it came."""
    if (before.edge, before.seq + before.stop) != (block.edge, block.seq + block.start):
        return False
    if before.payloads.__class__ is not block.payloads.__class__:
        return False
    if isinstance(block.payloads, Packed) and before.payloads.is_plain is not block.payloads.is_plain:  # type: ignore[union-attr]  # it is one too
        return False
    numbers, start, scale, shift = before.keys.origin
    numbers_on, start_on, scale_on, shift_on = block.keys.origin
    if numbers is not numbers_on or (scale, shift) != (scale_on, shift_on):
        return False
    return start + before.first_key + before.stop == start_on + block.first_key + block.start


def _make_one(run: list[Block]) -> Block:
    first = run[0]
    sent: list[tuple[int, float]] = []
    count = 0
    for block in run:
        sent.append((count, block.find_sent_at(block.start)))
        sent += [(count + at - block.start, later) for at, later in block.later if block.start < at < block.stop]
        count += len(block)
    numbers, start, scale, shift = first.keys.origin
    keys = Keys.made_of((numbers, start + first.first_key + first.start, scale, shift), count)
    (_, sent_at), *later = sent
    return Block(first.edge, first.seq + first.start, _gather(run), keys, sent_at, 0, count, 0, tuple(later))


def _gather(run: list[Block]) -> list[Payload] | Packed:
    packed: list[Packed] = []
    payloads: list[Payload] = []
    for block in run:
        if isinstance(block.payloads, Packed):
            packed.append(block.payloads.between(block.start, block.stop))
        else:
            payloads += block.payloads[block.start : block.stop]
    return Packed.join(packed) if packed else payloads


def messages_of(entries: Iterable[Message | Block]) -> Iterator[Message]:
    """Give messages, those in blocks one by one."""
    for entry in entries:
        if isinstance(entry, Block):
            yield from entry.messages()
        else:
            yield entry
