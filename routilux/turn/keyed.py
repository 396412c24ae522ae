"""Turns of a routine that is partitioned: each sees the state of its message's key alone.

Owns what a request says besides its message, the state of one key as its turns see it, and the service that goes from
key to key. Never decides which worker has a key, or which states a worker keeps: it is told with each request.

Theory of operation. The committed state of such a routine has one entry a key: the whole state of that key, encoded.
A worker has copies of some of them. A request brings the state of its key where the worker is not known to have it,
and names keys that are to be forgotten; a key without a committed state begins as the routine does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from routilux.errors import StateError
from routilux.messages import StateOp
from routilux.model.state_policy import NONE
from routilux.partitioning import decode_key
from routilux.turn.codec import Delivered
from routilux.turn.execution import TurnExecution
from routilux.turn.service import RoutineService
from routilux.turn.state import StateTurn, StateView, checked_items, decode_for_reader, from_committed, is_reserved
from routilux.turn.values import ValueCodec
from supervisors.errors import InternalError
from supervisors.places.base import Port
from supervisors.wire.outside import LeasedBody


class KeyedRequest(NamedTuple):
    """A request of a routine that is partitioned, as its worker reads it.

    Args:
        key: the key, as text.
        brings_state: whether the state of the key comes with it.
        state: that state, encoded; None for a key that begins.
        forgets: keys whose states the worker is to forget before.
        message: the message.
    """

    key: str
    brings_state: bool
    state: bytes | None
    forgets: tuple[str, ...]
    message: Delivered


_encoder = msgspec.msgpack.Encoder()


def write_keyed(
    key: str, request: Any, *, brings_state: bool, state: bytes | None, forgets: tuple[str, ...]
) -> msgspec.Raw | LeasedBody:
    """Give what a worker reads as `KeyedRequest`, encoded, since keys and states may be large.

    It holds the shared memory that `request` holds.

    Args:
        key: as there.
        request: the message, as `codec.write_request` gives it.
        brings_state: as there.
        state: as there.
        forgets: as there.
    """
    if isinstance(request, LeasedBody):
        body = msgspec.Raw(_encoder.encode((key, brings_state, state, forgets, request.body)))
        return LeasedBody(body, request.leases)
    return msgspec.Raw(_encoder.encode((key, brings_state, state, forgets, request)))


class KeyedState(StateView):
    """The state of one key at a time, as a turn sees it: one value, encoded as a whole.

    Args:
        committed: the committed states by key; kept, never changed.
        initial: what the state of a key begins with, encoded.
        state_type: its class.
        codec: how it is encoded.
    """

    __slots__ = ("_codec", "_initial", "_live", "_state_type", "key")

    def __init__(self, committed: Mapping[str, Any], initial: bytes, state_type: type, codec: ValueCodec) -> None:
        super().__init__(committed)
        self._initial = initial
        self._state_type = state_type
        self._codec = codec
        self._live: Any = None
        self.key = ""

    @property
    def value(self) -> Any:
        """The live state of this turn's key.

        Raises:
            ValueDecodingError: what was committed cannot be decoded.
            StateError: what was committed is of another class.
        """
        if self._live is None:
            self._live = self._checked(from_committed(self._kept(), self._codec))
        return self._live

    def begin(self) -> None:
        """Start a turn from the committed state."""
        self._live = None

    def replace(self, value: Any) -> None:
        """Make `value` the whole state.

        Raises:
            StateError: it is not of the declared class.
        """
        self._live = self._checked(dict(value) if self._state_type is dict and isinstance(value, Mapping) else value)

    def prepare(self) -> list[StateOp]:
        """Give one operation if the state was read or replaced and differs, else none.

        Raises:
            StateError: a key in it is no text.
            ValueEncodingError: a part that cannot be carried; its path starts with `state`.
        """
        if self._live is None:
            return []
        if self._state_type is dict:
            checked_items(self._live)
        encoded = self._codec.encode(self._live, "state")
        return [] if encoded == self._kept() else [StateOp("set", self.key, encoded)]

    def accept(self) -> None:
        """Go on from what was prepared, with the same live state."""

    def rollback(self) -> None:
        """Go back to the committed state."""
        self._live = None

    def _kept(self) -> bytes:
        kept: bytes = self._committed.get(self.key, self._initial)
        return kept

    def _checked(self, value: Any) -> Any:
        if not isinstance(value, self._state_type):
            raise StateError(f"the state is a {self._state_type.__qualname__}, got a {type(value).__qualname__}")
        return value


class KeyedService(RoutineService):
    """A `RoutineService` of a routine that is partitioned; its boot has no state of any key."""

    _keyed: KeyedState | None = None

    @property
    def request_type(self) -> type[KeyedRequest]:
        """What a process takes its requests as."""
        return KeyedRequest

    @property
    def batch_type(self) -> None:
        """Requests come with their states, one by one."""
        return None

    def begin(self, request: KeyedRequest, port: Port) -> TurnExecution:  # type: ignore[override]  # its `request_type`
        """Take up a message, and turn to its key first; raises as `RoutineService.begin`."""
        key, brings_state, state, forgets, message = request
        incarnation = self._incarnation
        if incarnation is None:
            raise InternalError(f"routine {self._routine_id!r} was given a message before it was booted")
        committed = incarnation.committed
        for forgotten in forgets:
            committed.pop(forgotten, None)
        if brings_state:
            committed.pop(key, None)
            if state is not None:
                committed[key] = state
        if self._keyed is not None:
            self._keyed.key = key
        return super().begin(message, port)

    def _open_state(self, committed: Mapping[str, Any], reserved: dict[str, None]) -> StateTurn:
        if self._routine.state_policy == NONE:
            return super()._open_state(committed, reserved)
        initial = self._values.encode(self._routine.state, "state")
        self._keyed = KeyedState(committed, initial, self._routine.state_type or dict, self._values)
        return self._keyed


def decode_states(committed: Mapping[str, Any], codec: ValueCodec) -> dict[Any, Any]:
    """Give the committed states of a partitioned routine for a reader, by key; see `state.decode_state`."""
    return {
        decode_key(key): decode_for_reader(value, codec) for key, value in committed.items() if not is_reserved(key)
    }
