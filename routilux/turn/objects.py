"""States that are one object, as the turns of one incarnation see them (R5), and that of a routine without any.

Owns the views for the policies that keep an object; see `state` for the rules they follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routilux.errors import StateError
from routilux.messages import StateOp
from routilux.model.state_policy import IN_PLACE, VALUE, make_default, no_state
from routilux.turn.state import OBJECT_KEY, Held, Live, from_committed
from routilux.turn.values import PICKLED, ValueCodec, check_of


class _Mark:
    """A value that no user can have."""

    __slots__ = ()


_UNREAD = _Mark()


class ObjectState:
    """A state that is one object, of a class the routine declares.

    Args:
        committed: the committed state; kept, never changed.
        state_type: the object's class; made without arguments where nothing was committed yet.
        codec: how it is encoded.
        is_shared: whether other turns commit while this one goes on; then it is not written where it was only read,
            see `TrackedState`.
    """

    __slots__ = ("_codec", "_committed", "_is_shared", "_live", "_prepared", "_read", "_state_type")

    def __init__(
        self, committed: Mapping[str, Any], state_type: type, codec: ValueCodec = PICKLED, *, is_shared: bool = False
    ) -> None:
        self._codec = codec
        self._committed = committed
        self._state_type = state_type
        self._is_shared = is_shared
        self._live: Any = _UNREAD
        # Of a shared state what the live object was read from (None: the default), and what was prepared last.
        self._read: Any = _UNREAD
        self._prepared: Any = None

    @property
    def committed(self) -> Mapping[str, Any]:
        """The committed state."""
        return self._committed

    @property
    def value(self) -> Any:
        """The live object of this turn.

        Raises:
            ValueDecodingError: what was committed cannot be decoded.
            StateError: what was committed is of another class.
        """
        if self._live is _UNREAD:
            encoded = self._committed.get(OBJECT_KEY)
            self._live = self._checked(self._decode(encoded))
            self._read = encoded
        return self._live

    def begin(self) -> None:
        """Start a turn from the committed state."""
        self.rollback()

    def replace(self, value: Any) -> None:
        """Make `value` the whole state.

        Raises:
            StateError: it is not of the declared class.
        """
        self._live = self._checked(value)

    def prepare(self) -> list[StateOp]:
        """Give one operation if the object was read or replaced and differs, else none.

        Raises:
            ValueEncodingError: a part that cannot be carried; its path starts with `state`.
        """
        if self._live is _UNREAD:
            return []
        encoded = self._codec.encode(self._live, "state")
        self._prepared = encoded
        is_read = self._is_shared and self._read is not _UNREAD
        before = self._read if is_read else self._committed.get(OBJECT_KEY)
        if encoded == before or (is_read and encoded == self._codec.encode(self._decode(before), "state")):
            return []
        return [StateOp("set", OBJECT_KEY, encoded)]

    def accept(self) -> None:
        """Go on from what was prepared, with the same live object."""
        if self._live is not _UNREAD:
            self._read = self._prepared

    def follow(self, committed: Mapping[str, Any]) -> None:
        """Go on from another committed state."""
        self._committed = committed

    def rollback(self) -> None:
        """Go back to the committed state."""
        self._live = self._read = _UNREAD

    def _decode(self, encoded: Any) -> Any:
        return self._state_type() if encoded is None else from_committed(encoded, self._codec)

    def _checked(self, value: Any) -> Any:
        return _checked(value, self._state_type)


class ValueState:
    """A state that is one immutable object, replaced as a whole.

    On a thread it is committed by reference; for a process it is encoded, and the worker remembers which object its
    bytes stand for.

    Args:
        committed: the committed state; kept, never changed.
        state_type: the object's class; None for any.
        codec: how it is encoded, or checked.
        keeps_references: whether it is committed by reference.
    """

    __slots__ = ("_check", "_codec", "_committed", "_keeps_references", "_known", "_live", "_prepared", "_state_type")

    def __init__(
        self,
        committed: Mapping[str, Any],
        state_type: type | None = None,
        codec: ValueCodec = PICKLED,
        *,
        keeps_references: bool,
    ) -> None:
        self._committed = committed
        self._state_type = state_type
        self._codec = codec
        self._check = check_of(codec)
        self._keeps_references = keeps_references
        self._live: Any = _UNREAD
        self._known: tuple[bytes, Any] = (b"", _UNREAD)
        self._prepared = self._known

    @property
    def committed(self) -> Mapping[str, Any]:
        """The committed state."""
        return self._committed

    @property
    def value(self) -> Any:
        """The object that was committed last, or set by this turn.

        Raises:
            ValueDecodingError: what was committed cannot be decoded.
            StateError: what was committed is of another class.
        """
        return self._find_committed() if self._live is _UNREAD else self._live

    def begin(self) -> None:
        """Start a turn from the committed state."""
        self._live = _UNREAD

    def replace(self, value: Any) -> None:
        """Make `value` the whole state.

        Raises:
            StateError: it is not of the declared class.
        """
        self._live = _checked(value, self._state_type)

    def prepare(self) -> list[StateOp]:
        """Give one operation if another object was set, else none.

        Raises:
            ValueEncodingError: a part that cannot be carried; its path starts with `state`.
        """
        live, committed = self._live, self._committed.get(OBJECT_KEY)
        if live is _UNREAD:
            return []
        if self._keeps_references:
            if isinstance(committed, Held) and committed.value is live:
                return []
            if self._check is not None:
                self._check(live, "state")
            return [StateOp("set", OBJECT_KEY, Held(live))]
        if self._known[1] is live and self._known[0] == committed:
            return []
        encoded = self._codec.encode(live, "state")
        self._prepared = (encoded, live)
        return [] if encoded == committed else [StateOp("set", OBJECT_KEY, encoded)]

    def accept(self) -> None:
        """Go on from what was prepared."""
        self._live = _UNREAD

    def follow(self, committed: Mapping[str, Any]) -> None:
        """Go on from another committed state."""
        self._committed = committed

    def rollback(self) -> None:
        """Go back to the object that was committed last."""
        self._live = _UNREAD

    def _find_committed(self) -> Any:
        committed = self._committed.get(OBJECT_KEY, _UNREAD)
        if isinstance(committed, Held):
            return _checked(committed.value, self._state_type)
        if committed is _UNREAD:
            self._live = make_default(self._state_type, VALUE)
            return self._live
        if self._known[0] != committed:
            if self._prepared[0] != committed:
                self._prepared = (committed, _checked(self._codec.decode(committed), self._state_type))
            self._known = self._prepared
        return self._known[1]


class InPlaceState:
    """A state that is changed in place, and never encoded by a commit.

    Args:
        committed: the committed state; kept, never changed, but for what the live object holds.
        state_type: the object's class; None for a dict.
        codec: how it is checked when it is replaced.
    """

    __slots__ = ("_check", "_committed", "_live", "_state_type")

    def __init__(
        self, committed: Mapping[str, Any], state_type: type | None = None, codec: ValueCodec = PICKLED
    ) -> None:
        self._committed = committed
        self._state_type = dict if state_type is None else state_type
        self._check = check_of(codec)
        self._live: Any = _UNREAD

    @property
    def committed(self) -> Mapping[str, Any]:
        """The committed state."""
        return self._committed

    @property
    def value(self) -> Any:
        """The live object.

        Raises:
            StateError: it is of another class.
        """
        if self._live is _UNREAD:
            committed = self._committed.get(OBJECT_KEY)
            live = committed.value if isinstance(committed, Held) else make_default(self._state_type, IN_PLACE)
            self._live = _checked(live, self._state_type)
        return self._live

    def begin(self) -> None:
        """Start a turn from the live object."""
        self._live = _UNREAD

    def replace(self, value: Any) -> None:
        """Make `value` the live object, from the commit on.

        Raises:
            StateError: it is not of the declared class.
        """
        self._live = _checked(value, self._state_type)

    def prepare(self) -> list[StateOp]:
        """Give one operation if another object was set, else none.

        Raises:
            ValueEncodingError: a part that cannot be carried; its path starts with `state`.
        """
        live, committed = self._live, self._committed.get(OBJECT_KEY)
        if live is _UNREAD or (isinstance(committed, Held) and committed.value is live):
            return []
        if self._check is not None:
            self._check(live, "state")
        return [StateOp("set", OBJECT_KEY, Live(live))]

    def accept(self) -> None:
        """Go on with the same live object."""

    def follow(self, committed: Mapping[str, Any]) -> None:
        """Go on from another committed state."""
        self._committed = committed

    def rollback(self) -> None:
        """Forget an object that was set; what was changed in place stays."""
        self._live = _UNREAD


class NoState:
    """What a routine has that keeps nothing.

    Args:
        committed: the committed state, of keys that are the runtime's; kept, never changed.
        name: what it is called in errors.
    """

    __slots__ = ("_committed", "_name")

    def __init__(self, committed: Mapping[str, Any], name: str) -> None:
        self._committed = committed
        self._name = name

    @property
    def committed(self) -> Mapping[str, Any]:
        """The committed state."""
        return self._committed

    @property
    def value(self) -> Any:
        """Refuse.

        Raises:
            StateError: always.
        """
        raise no_state(self._name)

    def begin(self) -> None:
        """Do nothing."""

    def replace(self, value: Any) -> None:
        """Refuse.

        Raises:
            StateError: always.
        """
        raise no_state(self._name)

    def prepare(self) -> list[StateOp]:
        """Give nothing."""
        return []

    def accept(self) -> None:
        """Do nothing."""

    def follow(self, committed: Mapping[str, Any]) -> None:
        """Go on from another committed state."""
        self._committed = committed

    def rollback(self) -> None:
        """Do nothing."""


def _checked(value: Any, state_type: type | None) -> Any:
    if state_type is None or isinstance(value, state_type):
        return value
    raise StateError(f"the state of this routine is a {state_type.__qualname__}, got {type(value).__qualname__}")
