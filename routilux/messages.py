"""What travels between routines, and what a turn hands to its commit. Plain values, no rules.

A payload is a dict held by reference (thread to thread, immutable by contract) or the bytes it
was encoded to, once, by its sender.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec

from routilux.ids import key_of_keys, to_id
from routilux.moments import Moments
from routilux.packed import Packed
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


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message on its way over one connection.

    It never changes: what is to be different is another object in its place, so that whoever holds a reference
    holds the message as it was then. The garbage collector passes it by, also a million of them that wait: no value
    of a user refers to a message, so that none is part of a cycle.

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
    return sum([len(message.parts) or 1 for message in messages])


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


Emission = tuple[Annotated[int, msgspec.Meta(ge=0)], dict[str, Any] | None, bytes | None, tuple[str, ...]]
"""One emission of a turn: (event, reference, encoded, keys). A plain tuple, since each message is one first.

The event is an index in the routine's outgoing table; the reference is the data where a thread or an output receives
it, else None; what is encoded is the data where a process receives it or sent it, else None. The keys are, for each
connection of the event, its message's `Message.partition`; none where no receiver of it is partitioned.
"""


def to_emissions(payloads: Iterable[Payload]) -> list[Emission]:
    """Give the emissions of a routine's only event whose data these are."""
    return [(0, payload, None, ()) if isinstance(payload, dict) else (0, None, payload, ()) for payload in payloads]


def to_payloads(emissions: Iterable[Emission]) -> list[Payload]:
    """Give the data of emissions that go to all in one form."""
    return [encoded if reference is None else reference for _event, reference, encoded, _keys in emissions]  # type: ignore[misc]  # one of both is there


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
        payloads: in the place of the emissions, as in `TurnResults`.
    """

    emissions: list[Emission]
    state: list[StateOp] | None
    once: Once | None = None
    payloads: list[Payload] | Packed | None = None

    def __len__(self) -> int:
        """How many emissions it has."""
        return len(self.payloads or self.emissions)

    def to_emissions(self) -> list[Emission]:
        """Give the emissions, in whichever form they are here."""
        return to_emissions(self.payloads) if self.payloads else self.emissions


class TurnResult(msgspec.Struct, array_like=True, gc=False):
    """What a finished turn hands to its commit."""

    emissions: list[Emission]
    state: list[StateOp]

    def count_bytes(self) -> int:
        """Give how many bytes of encoded data it holds."""
        held = [encoded for _event, _reference, encoded, _keys in self.emissions if encoded is not None]
        return sum(map(len, held)) + sum(len(op.value) for op in self.state if op.value.__class__ is bytes)


class TurnResults(msgspec.Struct, array_like=True, gc=False):
    """What finished turns hand to their commits that ran one behind the other.

    Args:
        began_at: clock reading when the first began; each other one began as the one before ended.
        ats: when each ended; on its way from a process packed (`moments`).
        emissions: of all of them, in order.
        ends: for each, how many of these had been emitted by its end; none where each has emitted one.
        payloads: in the place of the emissions, where the routine has one event and all who receive it take the same
            form: the data alone; None where there is none.
        states: of those turns that changed the state the index, and the changes.
    """

    began_at: float
    ats: list[float] | Moments
    emissions: list[Emission]
    ends: list[int]
    payloads: list[Payload] | Packed | None = None
    states: list[tuple[int, list[StateOp]]] = []

    def __len__(self) -> int:
        return len(self.ats)

    def to_emissions(self) -> list[Emission]:
        """Give the emissions, in whichever form they are here."""
        return to_emissions(self.payloads) if self.payloads else self.emissions

    def all_ends(self) -> Sequence[int]:
        """Give the ends, also where each turn has emitted one."""
        return self.ends or range(1, len(self.ats) + 1)

    def one_by_one(self, first: int) -> Iterator[tuple[int, TurnResult, float, float]]:
        """Give each as (number, result, seconds, at), numbered from `first`."""
        start, before, emissions, changes = 0, self.began_at, self.to_emissions(), dict(self.states)
        for turn, (end, at) in enumerate(zip(self.all_ends(), self.ats, strict=True)):
            yield first + turn, TurnResult(emissions[start:end], changes.get(turn, [])), at - before, at
            start, before = end, at


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
