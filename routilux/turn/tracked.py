"""A dict state during a turn: a mapping that knows which of its keys were touched (R5).

Owns the working copy of one turn at a time; see `state` for the rules it follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from routilux.errors import StateError
from routilux.messages import StateOp
from routilux.turn.state import (
    IMMUTABLE_TYPES,
    RESERVED_PREFIX,
    StateView,
    checked_items,
    checked_key,
    from_committed,
    is_reserved,
    is_same,
    to_committed,
)
from routilux.turn.values import PICKLED, ValueCodec


class _Mark:
    """A value that no user can have."""

    __slots__ = ()


_UNTOUCHED = _Mark()
_GONE = _Mark()

VIEW_PARTS = 1_000
"""Parts of emitted data among which views on the state are looked for (arbitrary: some tens of microseconds)."""
VIEW_DEPTH = 8
"""Levels of containers in which they are (arbitrary)."""


class TrackedState(StateView, MutableMapping[str, Any]):
    """A dict state during a turn: behaves as a dict, and knows what was touched.

    Keys are text. Iterating keys, `len`, `in`, `repr` and comparing touch nothing; `values()`,
    `items()`, `copy()` and `dict(...)` touch what they hand out. A key that is deleted and set again
    within one turn keeps its place. Belongs to the thread that runs the turn.

    Args:
        committed: the committed state; kept, never changed.
        reserved: keys of it that are the runtime's, or will be; None to look for them. Kept: more of them may come.
        codec: how values are encoded.
        commit: gives the committed form of a value, by its key.
        is_shared: whether other turns commit while this one goes on. Then what it has only read must not be written:
            it would undo what they did. So it is told apart from what has changed where the bytes cannot tell (a set,
            or an object of a class, may be encoded in another order than it came in), and by what was read.
    """

    __slots__ = ("_codec", "_commit", "_growth", "_prepared", "_read", "_reserved", "_working")

    def __init__(
        self,
        committed: Mapping[str, Any],
        reserved: dict[str, None] | None = None,
        codec: ValueCodec = PICKLED,
        commit: Callable[[str, Any, ValueCodec], Any] = to_committed,
        *,
        is_shared: bool = False,
    ) -> None:
        super().__init__(committed)
        self._codec = codec
        self._commit = commit
        self._reserved = find_reserved(committed) if reserved is None else reserved
        # What this turn touched: a live value, or _GONE for a deleted key.
        self._working: dict[str, Any] = {}
        # Keys that came minus keys that went, against committed.
        self._growth = 0
        # Of a shared state what was read of mutable values, encoded, and what was prepared last; else None.
        self._read: dict[str, Any] | None = {} if is_shared else None
        self._prepared: dict[str, Any] = {}

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
            key = checked_key(key)
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
            return key in self._committed and not is_reserved(key)
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
                return default if is_reserved(key) else self._touch(key, value)
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

    def detach(self, path: str) -> dict[str, Any]:
        """Give a copy of all it holds, for whoever is to have it beyond this turn; nothing counts as touched.

        Raises:
            ValueEncodingError: a value that cannot be carried; its path starts with `path`.
        """
        copy: dict[str, Any] = self._codec.decode(self._codec.encode(self._snapshot(), path))
        return copy

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
        items = checked_items(value)
        self.clear()
        self._working.update(items)
        self._growth += len(items)

    def prepare(self) -> list[StateOp]:
        """List what differs from the committed state, in the order it was touched.

        Raises:
            ValueEncodingError: a value that cannot be carried; its path starts with `state['key']`.
        """
        if self._read is not None:
            return self._prepare_shared(self._read)
        ops: list[StateOp] = []
        committed = self._committed
        for key, value in self._working.items():
            before = committed.get(key, _GONE)
            if value is _GONE:
                if before is not _GONE:
                    ops.append(StateOp("del", key, None))
                continue
            after = self._commit(key, value, self._codec)
            if not is_same(before, after):
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
        if self._read is not None:
            # What others did to a key that is still touched stays unseen, and is undone only by a change to it.
            self._read = {key: self._prepared[key] for key in self._working}
            self._growth = sum(key not in self._committed for key in self._working)

    def rollback(self) -> None:
        """Go back to the committed state: what was touched is thrown away."""
        if self._working:
            self._working = {}
            if self._read:
                self._read = {}
        self._growth = 0

    def _prepare_shared(self, read: dict[str, Any]) -> list[StateOp]:
        ops: list[StateOp] = []
        self._prepared = prepared = {}
        for key, value in self._working.items():
            before = read[key] if key in read else self._committed.get(key, _GONE)
            if value is _GONE:
                if before is not _GONE:
                    ops.append(StateOp("del", key, None))
                continue
            prepared[key] = after = self._commit(key, value, self._codec)
            if not is_same(before, after) and not (key in read and self._is_encoded_anew(key, before, after)):
                ops.append(StateOp("set", key, after))
        return ops

    def _is_encoded_anew(self, key: str, before: Any, after: Any) -> bool:
        """Tell whether `after` is what comes of reading `before` and leaving it as it is."""
        return is_same(self._commit(key, from_committed(before, self._codec), self._codec), after)

    def _touch(self, key: str, encoded: Any) -> Any:
        if is_reserved(key):
            raise KeyError(key)
        value = from_committed(encoded, self._codec)
        if value.__class__ not in IMMUTABLE_TYPES:
            self._working[key] = value
            if self._read is not None:
                self._read[key] = encoded
        return value

    def _snapshot(self) -> dict[str, Any]:
        working, committed, codec = self._working, self._committed, self._codec
        return {key: working[key] if key in working else from_committed(committed[key], codec) for key in self._keys()}

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
        for key in reversed(committed):  # type: ignore[arg-type]  # a dict, or a `layers.Version`
            if key[:1] != RESERVED_PREFIX and working.get(key) is not _GONE:
                yield key

    def _watched(self, keys: Iterator[str]) -> Iterator[str]:
        count = len(self)
        for key in keys:
            yield key
            if len(self) != count:
                raise RuntimeError("state changed size during iteration")


def find_reserved(committed: Iterable[str], *more: str) -> dict[str, None]:
    """Give the keys of `committed` that are the runtime's, and `more` of them that may come; each once, in order."""
    return dict.fromkeys((*more, *(key for key in committed if key[:1] == RESERVED_PREFIX)))


def with_copies_of_views(data: dict[str, Any]) -> dict[str, Any]:
    """Give `data` with a plain copy in place of each view on a state, or `data` itself where it holds none.

    A view follows its routine from turn to turn: in the hands of a receiver on another thread it would change, and
    be read while it changes. It is found in dicts, lists and tuples (of exactly these types) down to `VIEW_DEPTH`
    levels, in data of up to `VIEW_PARTS` parts. Not covered: objects that hold a view as an attribute, larger data,
    and what the state holds (`self.state["list"]`), which is the user's own object and immutable once it is emitted.

    Raises:
        ValueEncodingError: a state with a value that cannot be carried; the path starts with its parameter.
    """
    if not _holds_view(data, [VIEW_PARTS], VIEW_DEPTH):
        return data
    copies: dict[int, Any] = {}
    return {name: _copy_views(value, name, VIEW_DEPTH - 1, copies) for name, value in data.items()}


def _holds_view(container: Any, parts_left: list[int], depth: int) -> bool:
    parts = container.values() if type(container) is dict else container
    parts_left[0] -= len(container)
    if parts_left[0] < 0:
        return False
    kinds = {*map(type, parts)}
    if TrackedState in kinds:
        return True
    if depth == 1 or _CONTAINERS.isdisjoint(kinds):
        return False
    return any(type(part) in _CONTAINERS and _holds_view(part, parts_left, depth - 1) for part in parts)


def _copy_views(value: Any, path: str, depth: int, copies: dict[int, Any]) -> Any:
    kind = type(value)
    if id(value) in copies:
        return copies[id(value)]  # what is shared stays shared, and a cycle ends
    if kind is TrackedState:
        copies[id(value)] = value.detach(path)
        return copies[id(value)]
    if depth == 0 or kind not in _CONTAINERS or not _holds_view(value, [VIEW_PARTS], depth):
        return value
    copy: Any = {} if kind is dict else []
    copies[id(value)] = copy
    if kind is dict:
        copy.update((key, _copy_views(part, path, depth - 1, copies)) for key, part in value.items())
        return copy
    copy.extend(_copy_views(part, path, depth - 1, copies) for part in value)
    if kind is tuple:
        copies[id(value)] = copy = tuple(copy)
    return copy


_CONTAINERS = frozenset({dict, list, tuple})
