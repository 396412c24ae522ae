"""Merge buffers: where messages wait for others with which one turn handles them.

Owns what makes a set complete. Plain data, guarded by the job's lock and changed by `merging` alone. What is in here
is neither in the mailbox nor in hand; it leaves as a set, or is given up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from routilux.messages import Message
from routilux.model.merging import Batching
from routilux.routing import JoinPlan


class MergeBuffer(Protocol):
    """What one slot has gathered so far."""

    @property
    def plan(self) -> JoinPlan:
        """The slot and its connections."""

    @property
    def lanes(self) -> Mapping[int, Lane]:
        """What it has of each connection, where it keeps them apart."""

    def add(self, message: Message) -> tuple[Message, ...] | None:
        """Take a message in; give the set that it completes, if it does."""

    def flush(self) -> tuple[Message, ...] | None:
        """Give what is there as a set, smaller than it might be; None if nothing is, or nothing can be handled so."""

    @property
    def due_at(self) -> float | None:
        """Clock reading at which that is to happen; None for not before the end."""

    def fits(self, members: tuple[Message, ...]) -> bool:
        """Whether these can be a set here: one that was made when the slot may have been another."""

    def drain(self) -> list[Message]:
        """Give all that is there, one by one, for no turn."""

    def __iter__(self) -> Iterator[Message]:
        """What is there, in an order in which it can be added again."""

    def __len__(self) -> int:
        """How many there are."""


class Lane:
    """What came by one connection and waits for the others.

    It is a receiver that presses back on its own, so that one connection that is ahead does not hold up the others.

    Args:
        bound: messages with which it begins to press back; None for never.
    """

    __slots__ = ("_bound", "is_pressing", "messages", "partners", "pressed_by")

    def __init__(self, bound: int | None) -> None:
        self._bound = bound
        self.messages: deque[Message] = deque()
        self.is_pressing = False
        self.pressed_by: tuple[Any, ...] = ()
        """The accounts it presses on."""
        self.partners: tuple[tuple[Lane, tuple[Any, ...]], ...] = ()
        """The other lanes, and for each the accounts from which what it brings comes."""

    def append(self, message: Message) -> None:
        """Take a message in."""
        self.messages.append(message)
        if self._bound is not None and len(self.messages) >= self._bound:
            self.is_pressing = True

    def has_lost_partner(self) -> bool:
        """Whether it presses back for the sake of another lane that gets nothing more, as all before that is idle."""
        return self.is_pressing and any(
            not lane.messages and all(account.is_idle for account in accounts) for lane, accounts in self.partners
        )

    def open(self) -> None:
        """Press back no more, for good."""
        self._bound, self.is_pressing = None, False

    def has_relieved(self) -> bool:
        """Whether it was pressing back, and has no reason to any more: at half of its bound, as a mailbox."""
        if not self.is_pressing or len(self.messages) * 2 > (self._bound or 0):
            return False
        self.is_pressing = False
        return True


class InStep:
    """One of each connection, in step: the n-th message of each with the n-th of the others.

    Args:
        plan: the slot and its connections.
        capacity: the mailbox's bound, and that of each lane that presses back.
    """

    due_at = None

    def __init__(self, plan: JoinPlan, capacity: int | None) -> None:
        self.plan = plan
        self.lanes = {edge: Lane(capacity if edge in plan.pressing else None) for edge in plan.edges}
        self._empty = len(self.lanes)
        self._size = 0

    def add(self, message: Message) -> tuple[Message, ...] | None:
        """Take a message in; give one of each connection, in their order, if each has one."""
        lane = self.lanes[message.edge]
        self._empty -= not lane.messages
        lane.append(message)
        self._size += 1
        if self._empty:
            return None
        members = tuple([lane.messages.popleft() for lane in self.lanes.values()])
        self._empty = sum(not lane.messages for lane in self.lanes.values())
        self._size -= len(members)
        return members

    def flush(self) -> None:
        """There is no smaller set."""

    def fits(self, members: tuple[Message, ...]) -> bool:
        """Whether there is one of each connection."""
        return sorted(member.edge for member in members) == sorted(self.lanes)

    def drain(self) -> list[Message]:
        """Give all that waits for others."""
        waiting = list(self)
        for lane in self.lanes.values():
            lane.messages.clear()
        self._empty, self._size = len(self.lanes), 0
        return waiting

    def __iter__(self) -> Iterator[Message]:
        for lane in self.lanes.values():
            yield from lane.messages

    def __len__(self) -> int:
        return self._size


class Batch:
    """So many messages, in the order in which they came.

    Args:
        plan: the slot and its connections.
        batching: how many, and for how long.
    """

    def __init__(self, plan: JoinPlan, batching: Batching) -> None:
        self.plan = plan
        self.lanes: dict[int, Lane] = {}
        self._batching = batching
        self._messages: list[Message] = []

    def add(self, message: Message) -> tuple[Message, ...] | None:
        """Take a message in; give the batch if it is full, or was over when this one came."""
        due = self.due_at
        if due is not None and message.sent_at > due:  # its routine was busy all the time
            members, self._messages = tuple(self._messages), [message]
            return members
        self._messages.append(message)
        return self.flush() if len(self._messages) >= self._batching.size else None

    def flush(self) -> tuple[Message, ...] | None:
        """Give the batch as it is; None if it is empty."""
        return tuple(self.drain()) or None

    def fits(self, members: tuple[Message, ...]) -> bool:
        """Whether they are not too many."""
        return len(members) <= self._batching.size

    def drain(self) -> list[Message]:
        """Give all that is there."""
        messages, self._messages = self._messages, []
        return messages

    @property
    def due_at(self) -> float | None:
        """When the time of its first message is over."""
        seconds = self._batching.seconds
        return None if seconds is None or not self._messages else self._messages[0].sent_at + seconds

    def __iter__(self) -> Iterator[Message]:
        return iter(self._messages)

    def __len__(self) -> int:
        return len(self._messages)


def make_buffers(plans: Iterable[JoinPlan], capacity: int | None) -> dict[int, MergeBuffer]:
    """Give the merge buffers of a routine, by connection; they are empty.

    Args:
        plans: its slots of which one turn handles several messages.
        capacity: the bound of its mailbox; None for none.
    """
    buffers: dict[int, MergeBuffer] = {}
    for plan in plans:
        strategy = plan.strategy
        buffer: MergeBuffer = Batch(plan, strategy) if isinstance(strategy, Batching) else InStep(plan, capacity)
        buffers.update(dict.fromkeys(plan.edges, buffer))
    return buffers
