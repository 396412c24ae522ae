"""Classes of a user, of every kind, registered in a registry of their own."""

from __future__ import annotations

import dataclasses
import enum
from collections import namedtuple
from typing import Any, NamedTuple

import attrs
import msgspec

from routilux.serial.registry import Registry

SHOP = Registry()
RUN: list[str] = []
"""What code of these classes has run that must not."""


@SHOP.register("shop.Plain")
class Plain:
    def __init__(self, content: Any = None) -> None:
        RUN.append("Plain.__init__")
        self.content = content


@SHOP.register("shop.Slotted")
class Slotted:
    __slots__ = ("_Slotted__hidden", "__weakref__", "content")

    def __init__(self, content: Any) -> None:
        self.content = content


@SHOP.register("shop.Item")
@dataclasses.dataclass
class Item:
    sku: Any
    tags: list[Any] = dataclasses.field(default_factory=list)
    total: Any = dataclasses.field(init=False, default=None)

    def __post_init__(self) -> None:
        RUN.append("Item.__post_init__")


@SHOP.register("shop.Frozen")
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    x: Any
    y: Any = 1


@SHOP.register("shop.Point")
class Point(msgspec.Struct, frozen=True):
    x: Any
    y: Any = 0

    def __post_init__(self) -> None:
        RUN.append("Point.__post_init__")
        raise ValueError


@SHOP.register("shop.Loose")
class Loose(msgspec.Struct, kw_only=True, dict=True, weakref=True, tag="loose"):
    content: Any
    more: list[Any] = msgspec.field(default_factory=list)


@SHOP.register("shop.Sub")
class Sub(Loose, frozen=False):
    last: Any = None


@SHOP.register("shop.Parcel")
@attrs.define
class Parcel:
    weight: Any
    content: Any = attrs.Factory(list)

    def __attrs_post_init__(self) -> None:
        RUN.append("Parcel.__attrs_post_init__")


@SHOP.register("shop.Stamp")
@attrs.frozen(cache_hash=True, slots=False)
class Stamp:
    value: Any


@SHOP.register("shop.Colour")
class Colour(enum.Enum):
    RED = 1
    BLUE = (1, 2)
    CRIMSON = 1  # noqa: PIE796 - an alias


@SHOP.register("shop.Level")
class Level(enum.IntEnum):
    LOW = 1


@SHOP.register("shop.Word")
class Word(enum.StrEnum):
    A = "a"


@SHOP.register("shop.Rights")
class Rights(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


@SHOP.register("shop.Bits")
class Bits(enum.IntFlag):
    ONE = 1


@SHOP.register("shop.Pair")
class Pair(NamedTuple):
    left: Any
    right: Any = None


Old = namedtuple("Old", "a b")  # noqa: PYI024 - the old way too
SHOP.register("shop.Old")(Old)


@SHOP.register("shop.Cart")
class Cart:
    """Has all the methods that opcodes would call."""

    def __init__(self, content: Any = None) -> None:
        self.content = content

    def __call__(self, *args: Any) -> None:
        RUN.append("Cart.__call__")

    def append(self, *args: Any) -> None:
        RUN.append("Cart.append")

    extend = add = __setitem__ = append


@SHOP.register("shop.Eager")
class Eager(Cart):
    """Has all the methods that constructors would ask their arguments for, too."""

    def __iter__(self, *args: Any) -> Any:
        RUN.append("Eager")

    __index__ = __int__ = __float__ = __mul__ = __rmul__ = __or__ = __ror__ = __len__ = __iter__
    __bool__ = __str__ = __repr__ = __fspath__ = __getitem__ = __contains__ = __lt__ = __neg__ = __iter__


class Unknown:
    def __init__(self, content: Any = None) -> None:
        self.content = content


class SubItem(Item):
    pass
