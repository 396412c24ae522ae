"""A committed state of which turns hold old versions while it changes: a base, and what has changed since, in layers.

Owns the versions and what a commit costs. Pure. Never says who sees which.

Theory of operation. A version is a base, which is shared, and a layer of the keys that differ from it, which is its
own. A commit makes a new layer: it copies the one before, and not the base. When a layer has grown to the square root
of the base, base and layer become a new base. So a commit costs the square root of what the routine holds, and so does
a version that is held; with one base for all, or with copies of all, one of the two would be the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from routilux.messages import StateOp
from routilux.model.stats import add
from routilux.turn.state import Committed, apply_ops
from supervisors.errors import InternalError

LEAST_LAYER = 16
"""Keys that a layer may have however small the base is (arbitrary)."""


class _Mark:
    """A value that no user can have."""

    __slots__ = ()


_GONE = _Mark()


class Version(Mapping[str, Any]):
    """A committed state as it was after some commit.

    Args:
        base: what it is based on; kept, and changed by nobody while somebody holds this.
        layer: what differs from that: values, or `_GONE`.
    """

    __slots__ = ("_base", "_layer")

    def __init__(self, base: Committed, layer: dict[str, Any]) -> None:
        self._base = base
        self._layer = layer

    def __getitem__(self, key: str) -> Any:
        value = self._layer.get(key, self)
        if value is self:
            return self._base[key]
        if value is _GONE:
            raise KeyError(key)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        value = self._layer.get(key, self)
        if value is self:
            return self._base.get(key, default)
        return default if value is _GONE else value

    def __contains__(self, key: object) -> bool:
        value = self._layer.get(key, self)  # type: ignore[call-overload]  # any hashable may be asked for
        return key in self._base if value is self else value is not _GONE

    def __iter__(self) -> Iterator[str]:
        base, layer = self._base, self._layer
        yield from (key for key in base if layer.get(key) is not _GONE)
        yield from (key for key, value in layer.items() if value is not _GONE and key not in base)

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self))

    def __len__(self) -> int:
        base, size = self._base, len(self._base)
        for key, value in self._layer.items():
            size += (value is not _GONE) - (key in base)
        return size


class Versions:
    """The newest version, and how the next one comes of it.

    Args:
        committed: what it begins with; kept, and changed while nobody holds a version but who commits.
    """

    def __init__(self, committed: Committed) -> None:
        self._base = committed
        self._layer: dict[str, Any] = {}

    @property
    def newest(self) -> Mapping[str, Any]:
        """The committed state as it is now."""
        return Version(self._base, self._layer) if self._layer else self._base

    def change(self, ops: Iterable[StateOp]) -> None:
        """Apply a commit in place: nobody holds a version, but who commits."""
        if self._layer:
            self._merge(self._base)
        apply_ops(self._base, ops)

    def change_copy(self, ops: Iterable[StateOp]) -> None:
        """Apply a commit; the versions that are held stay as they are.

        Raises:
            InternalError: what a slot has gathered would grow: that is for one turn at a time.
        """
        layer = self._layer.copy()
        for kind, key, value in ops:
            match kind:
                case "set":
                    layer[key] = value
                case "del":
                    layer[key] = _GONE
                case "add":
                    layer[key] = add(Version(self._base, layer).get(key, 0), value)
                case _:
                    raise InternalError(
                        f"turns that run at once set or delete a key, or add to it, got {kind!r} for {key!r}"
                    )
        self._layer = layer
        if len(layer) > LEAST_LAYER and len(layer) ** 2 > len(self._base):
            self._merge(self._base.copy())

    def _merge(self, base: Committed) -> None:
        for key, value in self._layer.items():
            if value is _GONE:
                base.pop(key, None)
            else:
                base[key] = value
        self._base, self._layer = base, {}
