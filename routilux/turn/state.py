"""A routine's declared state: what a turn sees of it, and what a turn changed (R5).

Owns the difference between the committed state and the one a handler works on. Never changes the
committed state itself: whoever owns it applies the operations (`apply_ops`), and says so by `accept`.

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

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Protocol

from routilux.errors import StateError
from routilux.messages import StateOp
from supervisors.errors import InternalError
from supervisors.wire import values

Committed = dict[str, Any]
"""Key to immutable value, encoded bytes, or (reserved keys of gathering slots) a list of chunks."""

IMMUTABLE_TYPES = frozenset({type(None), bool, int, float, str})
"""Exact types whose values are kept as they are."""
OBJECT_KEY = ""
"""The one key of a state that is an object (`msgspec.Struct` or dataclass) and not a dict."""
RESERVED_PREFIX = "\0"
"""First character of the keys that belong to the runtime and never show in a state."""


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


def open_state(committed: Committed, state_type: type | None, reserved: Iterable[str] = ()) -> StateTurn:
    """Give the view on `committed` (kept, never changed) for the turns of one incarnation.

    Args:
        committed: the committed state; its owner changes it between two turns, and between
            `prepare` and `accept`.
        state_type: class of a state that is one object; None or `dict` for a dict.
        reserved: keys of the runtime that may come into `committed` later.
    """
    if state_type is None or state_type is dict:
        return TrackedState(committed, reserved)
    return ObjectState(committed, state_type)


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


def decode_state(committed: Mapping[str, Any], state_type: type | None = None) -> Any:
    """Decode a committed state for a reader: a fresh dict or object, reserved keys left out.

    Raises:
        ValueDecodingError: bytes that cannot be turned back into a value.
    """
    if state_type is None or state_type is dict:
        return {key: _decode(value) for key, value in committed.items() if key[:1] != RESERVED_PREFIX}
    if OBJECT_KEY not in committed:
        return state_type()
    return _decode(committed[OBJECT_KEY])


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
    return {key: _to_committed(key, value) for key, value in _checked_items(state).items()}


class TrackedState(MutableMapping[str, Any]):
    """A dict state during a turn: behaves as a dict, and knows what was touched.

    Keys are text. Iterating keys, `len`, `in`, `repr` and comparing touch nothing; `values()`,
    `items()`, `copy()` and `dict(...)` touch what they hand out. A key that is deleted and set again
    within one turn keeps its place. Belongs to the thread that runs the turn.
    """

    __slots__ = ("_committed", "_growth", "_reserved", "_working")

    def __init__(self, committed: Committed, reserved: Iterable[str] = ()) -> None:
        self._committed = committed
        self._reserved = tuple({*reserved, *(key for key in committed if key[:1] == RESERVED_PREFIX)})
        # What this turn touched: a live value, or _GONE for a deleted key.
        self._working: dict[str, Any] = {}
        # Keys that came minus keys that went, against committed.
        self._growth = 0

    # As a dict.

    def __getitem__(self, key: str) -> Any:
        value = self._working.get(key, _UNTOUCHED)
        if value is _UNTOUCHED:
            value = self._committed[key]
            return value if value.__class__ in IMMUTABLE_TYPES else self._touch(key, value)
        if value is _GONE:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        if key.__class__ is not str or key < "\x01" or not key.isascii():
            key = _checked_key(key)
        working = self._working
        before = working.get(key, _UNTOUCHED)
        if before is _GONE or (before is _UNTOUCHED and key not in self._committed):
            self._growth += 1
        working[key] = value

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._working[key] = _GONE
        self._growth -= 1

    def __contains__(self, key: object) -> bool:
        value = self._working.get(key, _UNTOUCHED)  # type: ignore[call-overload]  # any hashable may be asked for
        if value is _UNTOUCHED:
            return key in self._committed and not _is_reserved(key)
        return value is not _GONE

    def __len__(self) -> int:
        committed = self._committed
        return len(committed) + self._growth - sum([key in committed for key in self._reserved])

    def __iter__(self) -> Iterator[str]:
        return self._watched(self._keys())

    def __reversed__(self) -> Iterator[str]:
        return self._watched(self._keys_reversed())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        if len(self) != len(other):
            return False
        return self._snapshot() == (other._snapshot() if isinstance(other, TrackedState) else dict(other))

    __hash__ = None  # type: ignore[assignment]  # as a dict: it can change

    def __or__(self, other: object) -> dict[str, Any]:
        return self.copy() | dict(other) if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: object) -> dict[str, Any]:
        return dict(other) | self.copy() if isinstance(other, Mapping) else NotImplemented

    def __ior__(self, other: Any) -> TrackedState:  # type: ignore[misc]  # noqa: PYI034  # as of dict: `|` gives a dict
        self.update(other)
        return self

    def __repr__(self) -> str:
        return repr(self._snapshot())

    def __reduce__(self) -> tuple[Any, ...]:
        # What is carried elsewhere is what it holds, never the view.
        return dict, (self._snapshot(),)

    def get(self, key: str, default: Any = None) -> Any:
        value = self._working.get(key, _UNTOUCHED)
        if value is _UNTOUCHED:
            value = self._committed.get(key, _GONE)
            if value.__class__ not in IMMUTABLE_TYPES and value is not _GONE:
                return default if _is_reserved(key) else self._touch(key, value)
        return default if value is _GONE else value

    def popitem(self) -> tuple[str, Any]:
        """Remove and give the key that came last, with its value.

        Raises:
            KeyError: the state is empty.
        """
        for key in self._keys_reversed():
            return key, self.pop(key)
        raise KeyError("popitem(): the state is empty")

    def clear(self) -> None:
        for key in list(self._keys()):
            self._working[key] = _GONE
            self._growth -= 1

    def copy(self) -> dict[str, Any]:
        """Give a plain dict with the same values (not copied: every key counts as touched)."""
        return {key: self[key] for key in self}

    # As a transaction.

    @property
    def value(self) -> TrackedState:
        """What the handler sees: this object."""
        return self

    def begin(self) -> None:
        """Start a turn from the committed state."""
        self.rollback()

    def replace(self, value: Any) -> None:
        """Make the mapping `value` the whole state; nothing is changed when it is refused.

        Raises:
            StateError: it is no mapping, or has a key that a state cannot have.
        """
        if value is self:
            return  # `self.state |= {...}` assigns the very object
        if not isinstance(value, Mapping):
            raise StateError(f"the state of this routine is a dict, got {type(value).__qualname__}")
        items = _checked_items(value)
        self.clear()
        self._working.update(items)
        self._growth += len(items)

    def prepare(self) -> list[StateOp]:
        """List what differs from the committed state, in the order it was touched.

        Raises:
            ValueEncodingError: a value that cannot be carried; its path starts with `state['key']`.
        """
        ops: list[StateOp] = []
        committed = self._committed
        for key, value in self._working.items():
            before = committed.get(key, _GONE)
            if value is _GONE:
                if before is not _GONE:
                    ops.append(StateOp("del", key, None))
                continue
            after = _to_committed(key, value)
            if not _is_equal(before, after):
                ops.append(StateOp("set", key, after))
        return ops

    def accept(self) -> None:
        """Go on from what was prepared; the turn may go on, and holds what it touched.

        Mutable values stay touched: a generator's variables may hold them across its `yield`.
        """
        self._growth = 0
        working = self._working
        if working:
            self._working = {
                key: value
                for key, value in working.items()
                if value is not _GONE and value.__class__ not in IMMUTABLE_TYPES
            }

    def rollback(self) -> None:
        """Go back to the committed state: what was touched is thrown away."""
        if self._working:
            self._working = {}
        self._growth = 0

    def _touch(self, key: str, encoded: Any) -> Any:
        if _is_reserved(key):
            raise KeyError(key)
        value = _decode(encoded)
        if value.__class__ not in IMMUTABLE_TYPES:
            self._working[key] = value
        return value

    def _snapshot(self) -> dict[str, Any]:
        working, committed = self._working, self._committed
        return {key: working[key] if key in working else _decode(committed[key]) for key in self._keys()}

    def _keys(self) -> Iterator[str]:
        working, committed = self._working, self._committed
        for key in committed:
            if key[:1] != RESERVED_PREFIX and working.get(key) is not _GONE:
                yield key
        for key in tuple(working):
            if key not in committed and working.get(key) is not _GONE:
                yield key

    def _keys_reversed(self) -> Iterator[str]:
        working, committed = self._working, self._committed
        for key in tuple(reversed(working)):
            if key not in committed and working.get(key) is not _GONE:
                yield key
        for key in reversed(committed):
            if key[:1] != RESERVED_PREFIX and working.get(key) is not _GONE:
                yield key

    def _watched(self, keys: Iterator[str]) -> Iterator[str]:
        count = len(self)
        for key in keys:
            yield key
            if len(self) != count:
                raise RuntimeError("state changed size during iteration")


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
        self._live: Any = _UNTOUCHED

    @property
    def value(self) -> Any:
        """The live object of this turn.

        Raises:
            ValueDecodingError: what was committed cannot be decoded.
            StateError: what was committed is of another class.
        """
        if self._live is _UNTOUCHED:
            self._live = self._checked(decode_state(self._committed, self._state_type))
        return self._live

    def begin(self) -> None:
        """Start a turn from the committed state."""
        self._live = _UNTOUCHED

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
        if self._live is _UNTOUCHED:
            return []
        encoded = values.encode(self._live, "state")
        if encoded == self._committed.get(OBJECT_KEY):
            return []
        return [StateOp("set", OBJECT_KEY, encoded)]

    def accept(self) -> None:
        """Go on from what was prepared, with the same live object."""

    def rollback(self) -> None:
        """Go back to the committed state."""
        self._live = _UNTOUCHED

    def _checked(self, value: Any) -> Any:
        if isinstance(value, self._state_type):
            return value
        raise StateError(
            f"the state of this routine is a {self._state_type.__qualname__}, got {type(value).__qualname__}"
        )


class _Mark:
    """A value that no user can have."""

    __slots__ = ()


_UNTOUCHED = _Mark()
_GONE = _Mark()


def _to_committed(key: str, value: Any) -> Any:
    return value if value.__class__ in IMMUTABLE_TYPES else values.encode(value, f"state[{key!r}]")


def _decode(value: Any) -> Any:
    return values.decode(value) if value.__class__ is bytes else value


def _is_equal(before: Any, after: Any) -> bool:
    # 1, 1.0 and True are equal and yet three states; so are 0.0 and -0.0.
    if before.__class__ is not after.__class__:
        return False
    return before.hex() == after.hex() if before.__class__ is float else bool(before == after)


def _is_reserved(key: object) -> bool:
    return isinstance(key, str) and key[:1] == RESERVED_PREFIX


def _checked_items(items: Mapping[Any, Any]) -> dict[str, Any]:
    return {_checked_key(key): value for key, value in items.items()}


def _checked_key(key: Any) -> str:
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
