"""What a slot has gathered from the messages it took, by its merge strategy.

Owns the merging and its undoing. What was gathered is part of the routine's committed state, under
a key of its own (`slot_key`), so it is restored, rolled back and checkpointed with it. A message
belongs to it once the message is acknowledged, and not at a generator's `yield` (R4): run again,
it is merged again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from routilux.errors import ResultError
from routilux.messages import StateOp
from routilux.model.merging import keeps_gathered
from routilux.turn.state import RESERVED_PREFIX, Committed
from routilux.turn.tables import Incoming, Receives
from routilux.turn.uniting import join_parameters
from routilux.turn.values import PICKLED, ValueCodec, check_of
from supervisors.errors import InternalError
from supervisors.wire.outside import OUTSIDE


class Gather(Protocol):
    """What one slot gathers."""

    def merge(self, edge: int, data: dict[str, Any], encoded: bytes | None) -> dict[str, Any] | None:
        """Add what came to what is gathered, for the present turn; give what the handler gets.

        Args:
            edge: the connection by which it came.
            data: what came, parameters already renamed; kept, never changed.
            encoded: the same as bytes, where it came so.

        Returns:
            Its parameters; None: the handler is not called, something is still to come.
        """

    def prepare(self) -> StateOp | None:
        """Give the change that the message's acknowledgement makes, if there is one."""

    def accept(self) -> None:
        """The message was acknowledged; the operation has been applied."""

    def rollback(self) -> None:
        """Forget what the present turn merged."""


_SLOT = f"{RESERVED_PREFIX}slot:"


def slot_key(slot: str) -> str:
    """Give the reserved key of the state under which `slot` keeps what it gathered."""
    return f"{_SLOT}{slot}"


def make_gather(
    slot: Receives,
    committed: Committed,
    ways: Mapping[int, Incoming],
    codec: ValueCodec = PICKLED,
    *,
    keeps_references: bool,
) -> Gather | None:
    """Give what `slot` gathers with, or None where it keeps nothing.

    Args:
        slot: the slot.
        committed: the routine's committed state; kept, never changed.
        ways: the connections to the routine, by index.
        codec: how values are encoded.
        keeps_references: whether data may be committed by reference (on a thread).

    Raises:
        InternalError: the slot's strategy is none.
    """
    strategy = slot.merge_strategy
    if not keeps_gathered(strategy):
        return None
    if strategy == "append":
        return AppendGather(slot.name, committed, codec, keeps_references=keeps_references)
    if strategy == "latest":
        joined = {edge: way for edge, way in ways.items() if way.slot == slot.name and not way.from_outside}
        return LatestGather(slot, committed, joined, codec)
    if callable(strategy):
        return CallableGather(slot.name, committed, strategy, codec)
    raise InternalError(f"slot {slot.name!r} cannot merge by {strategy!r}")


def slot_of(key: str) -> str | None:
    """Give the slot whose reserved key it is; None for any other key."""
    return key.removeprefix(_SLOT) if key.startswith(_SLOT) else None


class AppendGather:
    """Keeps a list per parameter; a message costs what it adds, not what was gathered.

    The handler gets the very lists that are kept, to be read. One that somebody still holds when
    the next message comes (it was emitted, or put into a variable) is left to them, and a copy goes
    on: what was once handed out never grows under anybody's hands.

    Committed is a list of chunks, one a message: the data, or the bytes it came as.
    """

    def __init__(self, slot: str, committed: Committed, codec: ValueCodec = PICKLED, *, keeps_references: bool) -> None:
        self._slot = slot
        self._codec = codec
        self._check = check_of(codec)
        self._key = slot_key(slot)
        self._committed = committed
        self._keeps_references = keeps_references
        self._lists: dict[str, list[Any]] = {}
        self._sizes: dict[str, int] = {}
        self._chunks = 0
        self._pending: dict[str, Any] | None = None
        self._encoded: bytes | None = None

    def merge(self, edge: int, data: dict[str, Any], encoded: bytes | None) -> dict[str, Any]:
        """Append every parameter to its list, and give the lists."""
        self.rollback()
        if not self._is_intact():
            self._restore()
        self._pending = data
        # What lies in shared memory is not kept by its name: that is the message's, which is over then.
        self._encoded = None if encoded is not None and encoded[:1] == OUTSIDE else encoded
        for name, value in data.items():
            self._append(name, value)
        return dict(self._lists)

    def prepare(self) -> StateOp | None:
        """Give the message as one more chunk.

        Raises:
            ValueEncodingError: it cannot be carried; its path starts with `slot['name']`.
        """
        if self._pending is None:
            return None
        if self._encoded is not None:
            return StateOp("append", self._key, self._encoded)
        if not self._keeps_references:
            return StateOp("append", self._key, self._codec.encode(self._pending, f"slot[{self._slot!r}]"))
        if self._check is not None:
            self._check(self._pending, f"slot[{self._slot!r}]")
        return StateOp("append", self._key, self._pending)

    def accept(self) -> None:
        """Keep what was appended."""
        if self._pending is not None:
            self._chunks += 1
            self._pending = self._encoded = None

    def rollback(self) -> None:
        """Take what was appended off again."""
        data, self._pending, self._encoded = self._pending, None, None
        if data is None:
            return
        for name in data:
            size = self._sizes[name] = self._sizes[name] - 1
            if _is_held_elsewhere(self._lists, name):
                self._lists[name] = self._lists[name][:size]
            else:
                del self._lists[name][size:]
            if not size:
                del self._lists[name], self._sizes[name]

    def _append(self, name: str, value: Any) -> None:
        kept = self._lists.get(name)
        if kept is None:
            self._lists[name] = [value]
            self._sizes[name] = 1
            return
        del kept
        if _is_held_elsewhere(self._lists, name):
            self._lists[name] = [*self._lists[name], value]
        else:
            self._lists[name].append(value)
        self._sizes[name] += 1

    def _is_intact(self) -> bool:
        # A handler that changed a list's length broke the contract, and a boot begins with nothing.
        if self._chunks != len(self._committed.get(self._key, ())):
            return False
        return all(len(kept) == self._sizes[name] for name, kept in self._lists.items())

    def _restore(self) -> None:
        chunks = self._committed.get(self._key, ())
        lists: dict[str, list[Any]] = {}
        for chunk in chunks:
            data = self._codec.decode(chunk) if chunk.__class__ is bytes else chunk
            for name, value in data.items():
                lists.setdefault(name, []).append(value)
        self._lists = lists
        self._sizes = {name: len(kept) for name, kept in lists.items()}
        self._chunks = len(chunks)


class CallableGather:
    """Keeps what a function `(old, new) -> merged` makes of every message and what was before.

    The first message is handed over as it is. Like a mutable value of the state, the merged dict is
    encoded at the commit and decoded by the next message, so that every `old` is a fresh copy.
    """

    def __init__(
        self, slot: str, committed: Committed, function: Callable[[Any, Any], Any], codec: ValueCodec = PICKLED
    ) -> None:
        self._slot = slot
        self._codec = codec
        self._key = slot_key(slot)
        self._committed = committed
        self._function = function
        self._merged: dict[str, Any] | None = None

    def merge(self, edge: int, data: dict[str, Any], encoded: bytes | None) -> dict[str, Any]:
        """Merge what came with what was gathered.

        Raises:
            ResultError: the function gave no dict.
        """
        self._merged = None
        old = self._committed.get(self._key)
        # A copy: the function, or the handler, may well change the dict it is given.
        merged = dict(data) if old is None else self._function(self._codec.decode(old), dict(data))
        if not isinstance(merged, dict):
            raise ResultError(
                f"the merge function of slot {self._slot!r} gives a dict, got {type(merged).__qualname__}"
            )
        self._merged = merged
        return merged

    def prepare(self) -> StateOp | None:
        """Give the merged dict, encoded, if it differs from what is committed.

        Raises:
            ValueEncodingError: it cannot be carried; its path starts with `slot['name']`.
        """
        if self._merged is None:
            return None
        encoded = self._codec.encode(self._merged, f"slot[{self._slot!r}]")
        return None if encoded == self._committed.get(self._key) else StateOp("set", self._key, encoded)

    def accept(self) -> None:
        """Keep what was merged."""
        self._merged = None

    def rollback(self) -> None:
        """Forget what was merged."""
        self._merged = None


class LatestGather:
    """Keeps the newest message of each connection.

    The handler is called with all of them, at each message that comes once there is one of each. As a mutable value of
    the state, they are encoded at the commit and decoded by the next message.

    Args:
        slot: the slot.
        committed: the routine's committed state; kept, never changed.
        ways: the slot's connections, by index; not those from outside.
        codec: how values are encoded.
    """

    def __init__(
        self, slot: Receives, committed: Committed, ways: Mapping[int, Incoming], codec: ValueCodec = PICKLED
    ) -> None:
        self._slot = slot
        self._codec = codec
        self._key = slot_key(slot.name)
        self._committed = committed
        self._ways = ways
        self._newest: dict[int, dict[str, Any]] | None = None

    def merge(self, edge: int, data: dict[str, Any], encoded: bytes | None) -> dict[str, Any] | None:
        """Put it in the place of the one that came by its connection before; give all parameters, if all are there.

        Raises:
            JoinError: two of them bring different values of one parameter.
        """
        kept = self._committed.get(self._key)
        newest = {} if kept is None else self._codec.decode(kept)
        newest[edge] = data
        self._newest = newest
        if not newest.keys() >= self._ways.keys():
            return None
        # In the order of the connections; one that the flow does not have any more is let go.
        self._newest = {edge: newest[edge] for edge in self._ways or (edge,)}
        return join_parameters(self._slot, self._newest, self._ways)

    def prepare(self) -> StateOp | None:
        """Give them, encoded.

        Raises:
            ValueEncodingError: one cannot be carried; its path starts with `slot['name']`.
        """
        if self._newest is None:
            return None
        return StateOp("set", self._key, self._codec.encode(self._newest, f"slot[{self._slot.name!r}]"))

    def accept(self) -> None:
        """Keep them."""
        self._newest = None

    def rollback(self) -> None:
        """Forget what the turn merged."""
        self._newest = None


def _references(lists: dict[str, list[Any]], name: str) -> int:
    return sys.getrefcount(lists[name])


_ALONE = _references({"": []}, "")
"""References that a list has which only its dict holds."""


def _is_held_elsewhere(lists: dict[str, list[Any]], name: str) -> bool:
    return _references(lists, name) > _ALONE
