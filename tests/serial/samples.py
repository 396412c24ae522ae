"""Values of every kind that can be kept, and graphs of them."""

from __future__ import annotations

import array
import math
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import strategies as st

from tests.serial.shop import (
    SHOP,
    Bits,
    Cart,
    Colour,
    Frozen,
    Item,
    Level,
    Loose,
    Old,
    Pair,
    Parcel,
    Plain,
    Point,
    Rights,
    Slotted,
    Stamp,
    Sub,
    Word,
)

PLAIN, PICKLE, GRAPH = 1, 2, 3


def point(x: Any, y: Any = 0) -> Point:
    """A Point, whose `__post_init__` lets nobody make one."""
    made = SHOP.by_class[Point].kind.make_shell()
    SHOP.by_class[Point].kind.fill(made, {"x": x, "y": y})
    return made


LEAF: list[int] = []


VALUES: list[tuple[Any, int]] = [
    ({"a": 1, "b": None, "c": 1.5, "d": "x", "e": b"y", "f": True}, PLAIN),
    ({"a": [1, [2, {"b": {}}]]}, PLAIN),
    (2**64 - 1, PLAIN),
    (2**64, GRAPH),
    ({"a": 2**80, "b": -(2**80)}, GRAPH),
    ({"a": "\ud800"}, GRAPH),
    ({1: 2, None: 3, (1, 2): 4, False: 5}, GRAPH),
    ((), GRAPH),
    ([(1, 2), {3}, frozenset({4}), bytearray(b"x"), set(), frozenset()], GRAPH),
    ([LEAF, LEAF], GRAPH),
    (complex(-0.0, math.inf), GRAPH),
    ([Decimal("1.50"), Decimal("-0"), Decimal("NaN123"), Decimal("1E+400")][0:2], GRAPH),
    (Fraction(-1, 3), GRAPH),
    (date(2020, 2, 29), GRAPH),
    (datetime(2020, 1, 2, 3, 4, 5, 6), GRAPH),  # noqa: DTZ001 - one without a zone
    (datetime(2020, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1), GRAPH),
    (datetime(2020, 1, 2, tzinfo=UTC), GRAPH),
    (time(1, 2, 3, 4, tzinfo=timezone(timedelta(hours=-3), "here"), fold=1), GRAPH),
    (timedelta(-1, 2, 3), GRAPH),
    (uuid.UUID(int=5), GRAPH),
    (deque([1, [2]], maxlen=5), GRAPH),
    (deque(), GRAPH),
    (defaultdict(list, {1: [2]}), GRAPH),
    (defaultdict(None, a=1), GRAPH),
    (defaultdict(Item), GRAPH),
    (Counter("aab"), GRAPH),
    (OrderedDict([("b", 1), ("a", 2)]), GRAPH),
    (range(1, 10, 3), GRAPH),
    (slice(1, None, (2,)), GRAPH),
    ([PurePosixPath("a/../b"), PureWindowsPath("c:\\x"), Path("/x")], GRAPH),
    (..., GRAPH),
    (memoryview(b"abc"), GRAPH),
    (memoryview(bytearray(8)).cast("i", (1, 2)), GRAPH),
    (memoryview(b"abcdef")[::2], GRAPH),
    (array.array("d", [1.5, -2.0]), GRAPH),
    (array.array("q", [-1]), GRAPH),
    (np.arange(6, dtype=">i2").reshape(2, 3), GRAPH),
    (np.asfortranarray(np.ones((2, 3))), GRAPH),
    (np.arange(10)[::2], GRAPH),
    (np.zeros((0, 3)), GRAPH),
    (np.array(1.5), GRAPH),
    (np.float32(1.5), GRAPH),
    (np.bool_(1), GRAPH),
    (np.datetime64("2020-01-02", "s"), GRAPH),
    (np.array(["a", "bc"]), GRAPH),
    (np.array([(1, 2.5)], dtype=[("a", "<i4"), ("b", ">f8")]), GRAPH),
    (np.array([(1, 2.5)], dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True))[0], GRAPH),
    (Plain([1, (2,)]), GRAPH),
    (Slotted({"a": 1}), GRAPH),
    (SHOP.by_class[Slotted].kind.make_shell(), GRAPH),
    (Item("x", [1]), GRAPH),
    (Frozen(x=(1, 2)), GRAPH),
    (point(1, (2,)), GRAPH),
    (Loose(content=[1]), GRAPH),
    (Sub(content=1, last=2), GRAPH),
    (Parcel(1), GRAPH),
    (Stamp("x"), GRAPH),
    ([Colour.RED, Colour.BLUE, Colour.CRIMSON, Level.LOW, Word.A], GRAPH),
    ([Rights.READ, Rights.READ | Rights.RUN, Rights(0), Bits(9)], GRAPH),
    ({Colour.RED: Pair(1, [2])}, GRAPH),
    (Old(1, Old(2, 3)), GRAPH),
    (Cart([1]), GRAPH),
    ({Frozen(x=1), Pair(1, 2)}, GRAPH),
]


def cycles() -> list[Any]:
    """Values that hold themselves, in every way."""
    made: list[Any] = []
    for make in (Plain, Slotted, Item, Parcel, Cart, lambda x: Loose(content=x), lambda x: Sub(content=x)):
        inner: list[Any] = []
        one: Any = make(inner)
        inner += [one, inner, (one, inner), {"one": one}]
        made.append(one)
    for frozen in (lambda x: Frozen(x=x), Stamp, point, lambda x: Pair(x, x), lambda x: (x, x)):
        inner = []
        inner += [frozen(inner), inner]
        made.append(inner)
    queue: Any = deque(maxlen=3)
    queue += [queue, {1: queue}]
    counts: Any = defaultdict(list)
    counts["self"].append(counts)
    ordered: Any = OrderedDict()
    ordered["self"] = (ordered,)
    return [*made, queue, counts, ordered]


atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=5)
    | st.binary(max_size=5)
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.dates()
    | st.timedeltas()
    | st.uuids()
    | st.complex_numbers()
    | st.sampled_from([*Colour, *Rights, *Level, Rights.READ | Rights.RUN])
)
hashables = st.recursive(
    st.none() | st.integers() | st.text(max_size=3) | st.dates() | st.sampled_from(Colour),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3) | st.builds(Pair, inner, inner),
    max_leaves=4,
)


@st.composite
def graphs(draw: st.DrawFn) -> Any:
    """Draw values, some of which then hold each other."""
    made: list[Any] = draw(st.lists(atoms | hashables, max_size=5))
    for _ in range(draw(st.integers(0, 12))):
        part = st.sampled_from(made) if made else st.none()
        some = draw(st.lists(part, max_size=4))
        make = draw(st.sampled_from([list, tuple, deque, Plain, Slotted, Item, Parcel, Pair, Cart, point, dict, Loose]))
        if make is dict:
            made.append(dict(zip(draw(st.lists(hashables, max_size=4, unique=True)), some, strict=False)))
        elif make is Loose:
            made.append(Loose(content=some))
        else:
            made.append(make(some))
    for holder in [each for each in made if type(each) in {list, deque}]:
        holder.extend(draw(st.lists(st.sampled_from(made), max_size=3)))
    return made
