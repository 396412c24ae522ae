"""What travels between routines, and what a turn hands to its commit. Plain values, no rules.

A payload is a dict held by reference (thread to thread, immutable by contract) or the bytes it
was encoded to, once, by its sender.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

import msgspec

from routilux.ids import key_of_keys, to_id
from supervisors.reasons import ErrorRecord

Payload = dict[str, Any] | bytes
"""What one emission carries."""


class Once(NamedTuple):
    """What `Routine.once` has recorded for a message: the encoded result of the function of that key."""

    key: str
    value: bytes


def add_once(known: tuple[Once, ...], added: tuple[Once, ...]) -> tuple[Once, ...]:
    """Give what was recorded for a message with what else was: the first of each key."""
    keys = {once.key for once in known}
    return (*known, *(once for once in added if once.key not in keys))


class Message(msgspec.Struct, frozen=True):
    """One message on its way over one connection.

    It never changes: what is to be different is another object in its place, so that whoever holds a reference
    holds the message as it was then.

    Args:
        edge: index of the connection in the compiled plan.
        seq: its number on that connection, from 1, in commit order.
        payload: the emitted data; none for a set.
        key: its identity, see `ids`.
        sent_at: clock reading when it came into its mailbox; where it came with a checkpoint, as if the time in which
            no program had the job had not been.
        failures: tries that ended badly, deaths included.
        crashes: those of them that were deaths of the process.
        redelivered: whether it may have run before without its commit having arrived.
        released: emissions of its turn that went out since the turn last committed (R3).
        stepped: emissions of its turn that went out by commits of the turn (R4).
        once: what its handler did that is not to be done again, oldest first.
        parts: of a set the messages in it, which one turn handles together: it has the connection and number of the
            last of them; none for a message by itself.
        partition: the key by which its receiver is partitioned, as text (`partitioning`); empty where it is not.
    """

    edge: int
    seq: int
    payload: Payload
    key: int
    sent_at: float = 0.0
    failures: int = 0
    crashes: int = 0
    redelivered: bool = False
    released: int = 0
    stepped: int = 0
    once: tuple[Once, ...] = ()
    parts: tuple[Message, ...] = ()
    partition: str = ""

    @property
    def id(self) -> str:
        """Its id: the same however often the message is run, or emitted again after a resume."""
        return to_id(self.key)


def parts_of(message: Message) -> tuple[Message, ...]:
    """Give the messages that a message stands for: those in it, where it is a set, else itself."""
    return message.parts or (message,)


def count_parts(messages: Iterable[Message]) -> int:
    """Count messages, each in a set for one."""
    return sum(len(parts_of(message)) for message in messages)


def unite(members: tuple[Message, ...]) -> Message:
    """Make a set of messages. Its identity is that of all of them, in their order."""
    last = members[-1]
    return Message(
        last.edge,
        last.seq,
        {},
        key_of_keys([member.key for member in members]),
        max(member.sent_at for member in members),
        redelivered=any(member.redelivered for member in members),
        parts=members,
    )


class Part(NamedTuple):
    """One message of a set, as it is handed to a process: its connection, and what it carries."""

    edge: int
    payload: bytes


class Request(msgspec.Struct, frozen=True, array_like=True):
    """A message as it is handed to a process (encoded by msgspec); of a set, `parts` are what it carries."""

    edge: int
    seq: int
    attempt: int
    redelivered: bool
    released: int
    stepped: int
    payload: bytes
    key: bytes
    once: tuple[Once, ...] = ()
    parts: tuple[Part, ...] = ()


class Emission(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """One emission of a turn. A struct and no named tuple, since each message is one first: a third of the price.

    Args:
        event: index of the event in the routine's outgoing table.
        reference: the data by reference, where a thread or an output receives it; else None.
        encoded: the data encoded, where a process receives it or sent it; else None.
    """

    event: Annotated[int, msgspec.Meta(ge=0)]
    reference: dict[str, Any] | None
    encoded: bytes | None


class KeyedEmission(Emission, array_like=True, forbid_unknown_fields=True, gc=False):
    """One emission of an event that goes to a routine which is partitioned.

    Args:
        keys: for each connection of the event its message's `Message.partition`.
    """

    keys: tuple[str, ...] = ()


class StateOp(NamedTuple):
    """One change of a routine's committed state.

    Args:
        kind: `set`, `del`, `append` (one more element of a gathered list) or `add` (to a number).
        key: what it changes.
        value: encoded bytes, or a value of an exact immutable type, kept as it is; None for `del`.
    """

    kind: str
    key: str
    value: Any


class TurnPart(msgspec.Struct, array_like=True, gc=False):
    """What a turn that is not over hands over ahead.

    Args:
        emissions: in order of their `emit`.
        state: the state's changes where the turn committed (a generator's `yield`, R4);
            None where it only released what it held (R3).
        once: what is to be recorded before the turn goes on; such a part has nothing else.
    """

    emissions: list[Emission]
    state: list[StateOp] | None
    once: Once | None = None


class TurnResult(msgspec.Struct, array_like=True, gc=False):
    """What a finished turn hands to its commit."""

    emissions: list[Emission]
    state: list[StateOp]


class TurnFailure(NamedTuple):
    """How a turn failed.

    Args:
        error: the exception as text.
        is_retryable: whether the error handler's `retryable_exceptions` covers it.
        exception: the exception itself on a thread, its pickled bytes from a process, or None.
    """

    error: ErrorRecord
    is_retryable: bool
    exception: BaseException | bytes | None = None
