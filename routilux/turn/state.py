"""A routine's declared state: how it is committed, and what a turn sees of it (R5).

Owns the form of the committed state, and the view on it for states that are one object (for dicts
see `tracked`). A view never changes the committed state: whoever owns it applies the operations
(`apply_ops`), and says so by `accept`.

Theory of operation. Committed is a flat dict: values of exact immutable types (`IMMUTABLE_TYPES`)
are kept as they are, all others as the bytes they were encoded to. A turn's working copy holds only
the keys it touched: a mutable value is decoded when it is first read, and at the commit every
touched value is encoded and compared with its committed bytes. So nested changes are neither lost
nor kept by a failed turn, and a turn costs what it touched, however many keys there are.

A decoded object lives as long as its turn. Kept longer it would save a decoding, but it could be
reached from elsewhere (another key, an emitted payload, a variable): a later change through that
other road would come or not come depending on whether the worker was replaced in between, and
state would not be equal to that of a run without kills (R6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from routilux.errors import StateError
from routilux.messages import StateOp
from supervisors.errors import InternalError, ValueDecodingError
from supervisors.reasons import ErrorRecord, record_error
from supervisors.text import cut, printable
from supervisors.wire import values

Committed = dict[str, Any]
"""Key to immutable value, encoded bytes, or (reserved keys of gathering slots) a list of chunks."""

IMMUTABLE_TYPES = frozenset({type(None), bool, int, float, str})
"""Exact types whose values are kept as they are."""
OBJECT_KEY = ""
"""The one key of a state that is an object (`msgspec.Struct` or dataclass) and not a dict."""
RESERVED_PREFIX = "\0"
"""First character of the keys that belong to the runtime and never show in a state."""
_TOLD_CHARACTERS = 300
"""Characters of an error that an unreadable value shows (arbitrary)."""


class StateTurn(Protocol):
    """A declared state as the turns of one incarnation use it."""

    @property
    def value(self) -> Any:
        """What the handler sees as `self.state`."""

    def begin(self) -> None:
        """Start a turn from the committed state."""

    def replace(self, value: Any) -> None:
        """Make `value` the whole state."""

    def prepare(self) -> list[StateOp]:
        """List what differs from the committed state."""

    def accept(self) -> None:
        """Go on from what was prepared; its operations have been applied to the committed state."""

    def rollback(self) -> None:
        """Go back to the committed state."""


def apply_ops(committed: Committed, ops: Iterable[StateOp]) -> None:
    """Change `committed` in place, in order.

    Raises:
        InternalError: an operation of an unknown kind.
    """
    for kind, key, value in ops:
        if kind == "set":
            committed[key] = value
        elif kind == "del":
            committed.pop(key, None)
        elif kind == "append":
            committed.setdefault(key, []).append(value)
        else:
            raise InternalError(f"a state operation is of kind 'set', 'del' or 'append', got {kind!r} for {key!r}")


class Unreadable:
    """Stands where a value would be that cannot be decoded in the process that reads it.

    Its class may be one that only a worker can import, or its unpickling may raise.

    Args:
        error: why.
        size_bytes: bytes of the encoded value.
    """

    # No dataclass: encoders would take it apart, where its `repr` is what tells.
    __slots__ = ("error", "size_bytes")

    def __init__(self, error: ErrorRecord, size_bytes: int) -> None:
        self.error = error
        self.size_bytes = size_bytes

    def __repr__(self) -> str:
        return f"<unreadable, {self.size_bytes:,} bytes: {cut(printable(self.error.text), _TOLD_CHARACTERS)}>"


def decode_state(committed: Mapping[str, Any], state_type: type | None = None) -> Any:
    """Decode a committed state for a reader: a fresh dict or object, reserved keys left out.

    What cannot be decoded is given as `Unreadable`, so that it hides nothing else.
    """
    if state_type is None or state_type is dict:
        return {key: _decode_for_reader(value) for key, value in committed.items() if key[:1] != RESERVED_PREFIX}
    if OBJECT_KEY in committed:
        return _decode_for_reader(committed[OBJECT_KEY])
    try:
        return state_type()
    except BaseException as error:  # noqa: BLE001 - a class of the user's
        return Unreadable(record_error(error), 0)


def _decode_for_reader(value: Any) -> Any:
    """Decode a committed value; `Unreadable` if that cannot be done."""
    try:
        return from_committed(value)
    except ValueDecodingError as error:
        return Unreadable(record_error(error), len(value))


def encode_initial(state: Any) -> Committed:
    """Turn the state a routine starts with into a committed state.

    Args:
        state: a mapping with text keys, or the one object of a declared state type; copied.

    Raises:
        StateError: a key that a state cannot have.
        ValueEncodingError: a value that cannot be carried; its path starts with `state`.
    """
    if not isinstance(state, Mapping):
        return {OBJECT_KEY: values.encode(state, "state")}
    return {key: to_committed(key, value) for key, value in checked_items(state).items()}


def to_committed(key: str, value: Any) -> Any:
    """Give the form in which `value` is committed.

    Raises:
        ValueEncodingError: it cannot be carried; its path starts with `state['key']`.
    """
    return value if value.__class__ in IMMUTABLE_TYPES else values.encode(value, f"state[{key!r}]")


def from_committed(value: Any) -> Any:
    """Decode a committed value; every call gives a new copy of a mutable one.

    Raises:
        ValueDecodingError: the bytes cannot be turned back into a value.
    """
    return values.decode(value) if value.__class__ is bytes else value


def is_same(before: Any, after: Any) -> bool:
    """Tell whether two committed values are one and the same."""
    # 1, 1.0 and True are equal and yet three states; so are 0.0 and -0.0.
    if before.__class__ is not after.__class__:
        return False
    return before.hex() == after.hex() if before.__class__ is float else bool(before == after)


def is_reserved(key: object) -> bool:
    """Tell whether `key` belongs to the runtime and not to the state."""
    return isinstance(key, str) and key[:1] == RESERVED_PREFIX


def checked_items(items: Mapping[Any, Any]) -> dict[str, Any]:
    """Give a dict with the same values, its keys checked by `checked_key`."""
    return {checked_key(key): value for key, value in items.items()}


def checked_key(key: Any) -> str:
    """Give `key` as exact text.

    Raises:
        StateError: it is no text, is reserved, or cannot be written as UTF-8.
    """
    if not isinstance(key, str):
        raise StateError(f"a key of the state is text, got {key!r} of type {type(key).__qualname__}")
    if key[:1] == RESERVED_PREFIX:
        raise StateError(f"a key of the state must not begin with a zero character, got {key!r}")
    if not key.isascii():
        try:
            key.encode()
        except UnicodeEncodeError as error:
            raise StateError(f"a key of the state must be valid Unicode, got {key!r}") from error
    return str.__str__(key)


class _Mark:
    """A value that no user can have."""

    __slots__ = ()


_UNREAD = _Mark()


class ObjectState:
    """A state that is one object, of a class the routine declares.

    Args:
        committed: the committed state; kept, never changed.
        state_type: the object's class; made without arguments where nothing was committed yet.
    """

    __slots__ = ("_committed", "_live", "_state_type")

    def __init__(self, committed: Committed, state_type: type) -> None:
        self._committed = committed
        self._state_type = state_type
        self._live: Any = _UNREAD

    @property
    def value(self) -> Any:
        """The live object of this turn.

        Raises:
            ValueDecodingError: what was committed cannot be decoded.
            StateError: what was committed is of another class.
        """
        if self._live is _UNREAD:
            encoded = self._committed.get(OBJECT_KEY, _UNREAD)
            self._live = self._checked(self._state_type() if encoded is _UNREAD else from_committed(encoded))
        return self._live

    def begin(self) -> None:
        """Start a turn from the committed state."""
        self._live = _UNREAD

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
        encoded = values.encode(self._live, "state")
        if encoded == self._committed.get(OBJECT_KEY):
            return []
        return [StateOp("set", OBJECT_KEY, encoded)]

    def accept(self) -> None:
        """Go on from what was prepared, with the same live object."""

    def rollback(self) -> None:
        """Go back to the committed state."""
        self._live = _UNREAD

    def _checked(self, value: Any) -> Any:
        if isinstance(value, self._state_type):
            return value
        raise StateError(
            f"the state of this routine is a {self._state_type.__qualname__}, got {type(value).__qualname__}"
        )
