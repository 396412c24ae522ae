"""States that are one object, as the turns of one incarnation see them (R5), and that of a routine without any.

Owns the views for the policies that keep an object; see `state` for the rules they follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routilux.errors import StateError
from routilux.messages import StateOp
from routilux.model.state_policy import IN_PLACE, VALUE, make_default, no_state
from routilux.turn.state import OBJECT_KEY, Held, Live, StateView, from_committed
from routilux.turn.values import PICKLED, ValueCodec, check_of


class _Mark:
    """A value that no user can have."""

    __slots__ = ()


_UNREAD = _Mark()


class _ObjectView(StateView):
    """What the views of one object have in common: the object of this turn, and of which class it is.

    Args:
        committed: the committed state; kept, never changed.
        state_type: the object's class; None for any.
    """

    __slots__ = ("_live", "_state_type")

    def __init__(self, committed: Mapping[str, Any], state_type: type | None) -> None:
        super().__init__(committed)
        self._state_type = state_type
        self._live: Any = _UNREAD

    def begin(self) -> None:
        """Start a turn from the committed state."""
        self.rollback()

    def replace(self, value: Any) -> None:
        """Make `value` the whole state.

        Raises:
            StateError: it is not of the declared class.
        """
        self._live = self._checked(value)

    def rollback(self) -> None:
        """Go back to the committed state: an object that was read or set is forgotten."""
        self._live = _UNREAD

    def _checked(self, value: Any) -> Any:
        if self._state_type is None or isinstance(value, self._state_type):
            return value
        raise StateError(
            f"the state of this routine is a {self._state_type.__qualname__}, got {type(value).__qualname__}"
        )


class ObjectState(_ObjectView):
    """A state that is one object, of a class the routine declares.

    Args:
        committed: the committed state; kept, never changed.
        state_type: the object's class; made without arguments where nothing was committed yet.
        codec: how it is encoded.
        is_shared: whether other turns commit while this one goes on; then it is not written where it was only read,
            see `TrackedState`.
    """

    __slots__ = ("_codec", "_is_shared", "_make", "_prepared", "_read")

    def __init__(
        self, committed: Mapping[str, Any], state_type: type, codec: ValueCodec = PICKLED, *, is_shared: bool = False
    ) -> None:
        super().__init__(committed, state_type)
        self._make = state_type
        self._codec = codec
        self._is_shared = is_shared
        # Of a shared state what the live object was read from (None: the default), and what was prepared last.
        self._read: Any = _UNREAD
        self._prepared: Any = None

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

    def rollback(self) -> None:
        """Go back to the committed state."""
        self._live = self._read = _UNREAD

    def _decode(self, encoded: Any) -> Any:
        return self._make() if encoded is None else from_committed(encoded, self._codec)


class ValueState(_ObjectView):
    """A state that is one immutable object, replaced as a whole.

    On a thread it is committed by reference; for a process it is encoded, and the worker remembers which object its
    bytes stand for.

    Args:
        committed: the committed state; kept, never changed.
        state_type: the object's class; None for any.
        codec: how it is encoded, or checked.
        keeps_references: whether it is committed by reference.
    """

    __slots__ = ("_check", "_codec", "_keeps_references", "_known", "_prepared")

    def __init__(
        self,
        committed: Mapping[str, Any],
        state_type: type | None = None,
        codec: ValueCodec = PICKLED,
        *,
        keeps_references: bool,
    ) -> None:
        super().__init__(committed, state_type)
        self._codec = codec
        self._check = check_of(codec)
        self._keeps_references = keeps_references
        self._known: tuple[bytes, Any] = (b"", _UNREAD)
        self._prepared = self._known

    @property
    def value(self) -> Any:
        """The object that was committed last, or set by this turn.

        Raises:
            ValueDecodingError: what was committed cannot be decoded.
            StateError: what was committed is of another class.
        """
        return self._find_committed() if self._live is _UNREAD else self._live

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

    def _find_committed(self) -> Any:
        committed = self._committed.get(OBJECT_KEY, _UNREAD)
        if isinstance(committed, Held):
            return self._checked(committed.value)
        if committed is _UNREAD:
            self._live = make_default(self._state_type, VALUE)
            return self._live
        if self._known[0] != committed:
            if self._prepared[0] != committed:
                self._prepared = (committed, self._checked(self._codec.decode(committed)))
            self._known = self._prepared
        return self._known[1]


class InPlaceState(_ObjectView):
    """A state that is changed in place, and never encoded by a commit.

    What was changed in place stays, also when the turn is rolled back.

    Args:
        committed: the committed state; kept, never changed, but for what the live object holds.
        state_type: the object's class; None for a dict.
        codec: how it is checked when it is replaced.
    """

    __slots__ = ("_check",)

    def __init__(
        self, committed: Mapping[str, Any], state_type: type | None = None, codec: ValueCodec = PICKLED
    ) -> None:
        super().__init__(committed, dict if state_type is None else state_type)
        self._check = check_of(codec)

    @property
    def value(self) -> Any:
        """The live object.

        Raises:
            StateError: it is of another class.
        """
        if self._live is _UNREAD:
            committed = self._committed.get(OBJECT_KEY)
            live = committed.value if isinstance(committed, Held) else make_default(self._state_type, IN_PLACE)
            self._live = self._checked(live)
        return self._live

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


class NoState(StateView):
    """What a routine has that keeps nothing.

    Args:
        committed: the committed state, of keys that are the runtime's; kept, never changed.
        name: what it is called in errors.
    """

    __slots__ = ("_name",)

    def __init__(self, committed: Mapping[str, Any], name: str) -> None:
        super().__init__(committed)
        self._name = name

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

    def rollback(self) -> None:
        """Do nothing."""
