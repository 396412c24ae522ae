"""Many messages as one: what a connection carries when several are sent together.

Owns what a block is, and the identities of its messages, which are worked out when somebody asks. Pure.

Theory of operation. Most messages are sent together with others, are handled once, in their order, and are asked for
nothing but their data. So what was sent together stays together, in the mailbox and in hand, as one `Block`, and costs
what one message does. What is to be done about a single one (it fails, is put back, goes on as a generator) is done to
the `Message` that the block gives for it. A message of a block was never tried, and has released nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from routilux.ids import KEY_BYTES, descend, from_bytes, key_of_child, keys_of, to_bytes
from routilux.messages import Message, Payload
from routilux.packed import Packed


class Lineage(NamedTuple):
    """What the identities of messages follow from, as it travels to where somebody may ask for them.

    Args:
        ancestors: the identities of messages that they descend from, `KEY_BYTES` of each; empty where one turn emitted
            all of them, or their ancestors.
        first: the number of the first of them, where they are numbered.
        scale: what each of these identities or numbers is multiplied with (`ids.keys_of`), as many bytes.
        shift: what is added to that, as many bytes.
    """

    ancestors: bytes
    first: int
    scale: bytes
    shift: bytes


class _Origin(NamedTuple):
    """What messages' identities are made of (`ids.keys_of`).

    Args:
        numbers: of each a number of its own, or the identity of an ancestor.
        start: where in these theirs begin.
        scale: what they are multiplied with.
        shift: what is added to that.
    """

    numbers: Sequence[int] | Keys
    start: int
    scale: int
    shift: int


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

    __slots__ = ("_encoded", "_known", "_origin", "count")

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
        if parents is not None:
            self._origin = parents.pass_on(start, connection_key)
        elif isinstance(bases, range):
            self._origin = _Origin(range(count), 0, bases.step, key_of_child(bases.start, connection_key))
        else:
            self._origin = _Origin(bases, 0, 1, connection_key)

    @classmethod
    def descended(cls, count: int, lineage: Lineage) -> Keys:
        """Give those of `count` messages of which this is the lineage."""
        ancestors, first, scale, shift = lineage
        numbers: range | Keys = range(first, first + count)
        if ancestors:
            numbers = cls(count, 0)
            numbers._encoded = ancestors
        keys = cls(count, 0)
        keys._origin = _Origin(numbers, 0, from_bytes(scale), from_bytes(shift))
        return keys

    def pass_on(self, start: int, connection_key: int) -> _Origin:
        """Give what those are made of that the turns of these messages emit, from `start` on, one each."""
        numbers, first, scale, shift = self._origin
        if not isinstance(numbers, range | Keys):
            numbers, first, scale, shift = self, 0, 1, 0
        return _Origin(numbers, first + start, *descend(scale, shift, connection_key))

    def lineage(self, first: int, count: int) -> Lineage:
        """Give that of `count` of these messages, from the index `first` on. Any thread may call it."""
        numbers, start, scale, shift = self._origin
        if isinstance(numbers, range):
            return Lineage(b"", numbers[start + first], to_bytes(scale), to_bytes(shift))
        if not isinstance(numbers, Keys):
            numbers, scale, shift = self, 1, 0
        begin, end = start + first, start + first + count
        ancestors = numbers.to_bytes()[begin * KEY_BYTES : end * KEY_BYTES]
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
            numbers, start, scale, shift = self._origin
            if isinstance(numbers, Keys):
                numbers = numbers.to_list()
            known = keys_of(numbers[start : start + self.count], scale, shift)
        self._known = known  # two threads may find out the same at once
        return known


BLOCK_LIMIT = 1_000
"""Messages in a block at most (what a turn releases at once, R3): all it carries is held until the last is handled."""


class Block(msgspec.Struct, frozen=True, gc=False):
    """Messages of one connection, one behind the other.

    Args:
        edge: index of the connection in the compiled plan.
        seq: number on that connection of the first in `payloads`.
        payloads: the emitted data of each; never changed.
        keys: their identities.
        sent_at: clock reading when they came into their mailbox.
        start: the first in `payloads` that is still in the block.
        stop: behind the last.
        first_key: index in `keys` of that of the first in `payloads`.
    """

    edge: int
    seq: int
    payloads: list[Payload] | Packed
    keys: Keys
    sent_at: float
    start: int
    stop: int
    first_key: int = 0

    def __len__(self) -> int:
        return self.stop - self.start

    def message(self, at: int) -> Message:
        """Give the message at an index of `payloads`."""
        key = self.keys.to_list()[self.first_key + at]
        return Message(self.edge, self.seq + at, self.payloads[at], key, self.sent_at)

    def between(self, start: int, stop: int) -> Block:
        """Give those from one index of `payloads` to another."""
        return Block(self.edge, self.seq, self.payloads, self.keys, self.sent_at, start, stop, self.first_key)

    def messages(self) -> Iterator[Message]:
        """Give each."""
        return map(self.message, range(self.start, self.stop))


def messages_of(entries: Iterable[Message | Block]) -> Iterator[Message]:
    """Give messages, those in blocks one by one."""
    for entry in entries:
        if isinstance(entry, Block):
            yield from entry.messages()
        else:
            yield entry
