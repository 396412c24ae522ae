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

from routilux.ids import KEY_BYTES, STEP, from_bytes, key_of_child, key_of_turn, to_bytes
from routilux.messages import Message, Payload
from routilux.packed import Packed

_BASE_BYTES = 2 * KEY_BYTES
_DEPTH = 16
"""Generations of identities that are left to be worked out (arbitrary: a flow's depth is less, a cycle's is not)."""


class Lineage(NamedTuple):
    """What the identities of messages follow from, as it travels to where somebody may ask for them.

    Args:
        ancestors: the identities of messages as far back as they were worked out, `KEY_BYTES` of each.
        connections: the keys of those that their descendants took, one behind the other, as many bytes of each: every
            turn emitted one message.
        base: where one turn emitted the first of them all, in the place of ancestors: what the identity of its first
            emission is made of (`ids.key_of_turn`); each further one differs by `ids.STEP`.
    """

    ancestors: bytes
    connections: tuple[bytes, ...]
    base: bytes = b""


class Keys:
    """The identities of messages that one connection carried, one behind the other (`ids`).

    Args:
        connection_key: that connection's.
        parents: those of the messages whose turns emitted one each.
        start: the first of these.
        bases: where they have none, what the key of each is made of (`ids.key_of_turn`).
    """

    __slots__ = ("_bases", "_connection_key", "_encoded", "_known", "_parents", "_start", "count", "depth")

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
        self._connection_key = connection_key
        self._start = start
        self._bases = bases
        self._known: list[int] | None = None
        self._encoded: bytes | None = None
        """All of them, as they travel."""
        if parents is not None and parents.depth == _DEPTH:
            parents.to_list()
        self._parents = parents
        self.depth: int = 0 if parents is None else parents.depth + 1
        """Generations that are to be worked out before these."""

    @classmethod
    def descended(cls, count: int, lineage: Lineage) -> Keys:
        """Give those of `count` messages of which this is the lineage."""
        connections = [from_bytes(connection) for connection in lineage.connections]
        if lineage.base:
            base = from_bytes(lineage.base)
            keys = cls(count, connections.pop(0), bases=range(base, base + count * STEP, STEP))
        else:
            keys = cls(count, 0)
            keys._encoded = lineage.ancestors
        for connection in connections:
            keys = cls(count, connection, parents=keys)
        return keys

    def lineage(self, first: int, count: int) -> Lineage:
        """Give that of `count` of these messages, from the index `first` on. Any thread may call it."""
        parents, bases = self._parents, self._bases
        if parents is not None:
            ancestors, connections, base = parents.lineage(self._start + first, count)
            return Lineage(ancestors, (*connections, to_bytes(self._connection_key)), base)
        if isinstance(bases, range):
            return Lineage(b"", (to_bytes(self._connection_key),), bases[first].to_bytes(_BASE_BYTES))
        return Lineage(self.to_bytes()[first * KEY_BYTES : (first + count) * KEY_BYTES], ())

    def to_bytes(self) -> bytes:
        """Give them, `KEY_BYTES` of each."""
        if self._encoded is None:
            self._encoded = b"".join(map(to_bytes, self.to_list()))
        return self._encoded

    def to_list(self) -> list[int]:
        """Give them. Any thread may call it."""
        # Two threads may find out the same at once. What it follows from is read first: once that is gone, it is known.
        parents, bases, known = self._parents, self._bases, self._known
        if known is None:
            connection_key = self._connection_key
            if parents is None:
                encoded = self._encoded
                if encoded is None:
                    known = [key_of_child(base, connection_key) for base in bases]
                else:
                    known = [from_bytes(encoded[at : at + KEY_BYTES]) for at in range(0, len(encoded), KEY_BYTES)]
            else:
                wanted = parents.to_list()[self._start : self._start + self.count]
                known = [key_of_child(key_of_turn(parent, 0), connection_key) for parent in wanted]
            self._known = known
            self._parents, self._bases, self.depth = None, (), 0
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
