"""The closed table of what a graph can hold beyond what pickles have opcodes for: the types of the standard library.

Owns the numbers, which are kept for ever: a number is never given to another type. Each has a way to take a value
apart, and one to make it again. What a maker is given comes from outside: it checks it, or hands it to a constructor
that does.
"""

from __future__ import annotations

import array
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from routilux.serial import arrays
from supervisors.wire.values import RefusedPartError

TYPE = 0
"""A registered class, as it was written: name, version, fields."""
SHELL = 1
"""An object of such a type that holds nothing yet."""
WHOLE = 2
"""A namedtuple or a member of an enumeration: its type, and what it holds."""
NUMPY = 3
"""An array or a scalar of NumPy."""
APART = 4
"""An array of NumPy whose elements lie elsewhere: with their number there in place of them."""

FACTORIES: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        *(bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, object),
        *(deque, Counter, OrderedDict, defaultdict, Decimal, Fraction),
    )
}
"""Classes that a defaultdict may make its values of, by name; and registered ones."""
_FACTORY_NAMES = {cls: name for name, cls in FACTORIES.items()}

ATOMS = frozenset({type(None), bool, int, float, str, bytes})


class Standard(NamedTuple):
    """One type of the standard library.

    Args:
        number: what it is called in a graph.
        take: gives what the type is made with.
        make: makes a value with that.
        items: `list` or `dict` where a value holds items that are put in after it was made: it may hold itself.
    """

    number: int
    take: Callable[[Any], tuple[Any, ...]]
    make: Callable[..., Any]
    items: str = ""


def of_atoms(make: Callable[..., Any]) -> Callable[..., Any]:
    """Have `make` called with plain scalars only: no object of a registered class is asked to be a number."""

    def make_of_atoms(*args: Any) -> Any:
        if not ATOMS.issuperset(map(type, args)):
            raise TypeError("only scalars were expected")
        return make(*args)

    return make_of_atoms


def _no_attributes(value: Any) -> tuple[Any, ...]:
    if value.__dict__:
        raise RefusedPartError(f"a {type(value).__name__} that has attributes beside its items")
    return ()


def _take_zone(value: Any) -> tuple[Any, ...]:
    if value.key is None:
        raise RefusedPartError("a ZoneInfo that was read from a file, and has no key")
    return (value.key,)


def _take_datetime(value: datetime) -> tuple[Any, ...]:
    day = (value.year, value.month, value.day)
    return *day, value.hour, value.minute, value.second, value.microsecond, value.fold, value.tzinfo


def _make_datetime(*parts: Any) -> datetime:
    *numbers, fold, zone = parts
    _check_integers([*numbers, fold])
    return datetime(*numbers).replace(fold=fold, tzinfo=zone)  # noqa: DTZ001 - its zone is what it was


def _take_time(value: time) -> tuple[Any, ...]:
    return value.hour, value.minute, value.second, value.microsecond, value.fold, value.tzinfo


def _make_time(*parts: Any) -> time:
    *numbers, fold, zone = parts
    _check_integers([*numbers, fold])
    return time(*numbers).replace(fold=fold, tzinfo=zone)


def _check_integers(numbers: list[Any]) -> None:
    if not {int}.issuperset(map(type, numbers)):
        raise TypeError("only integers were expected")


def _take_timezone(value: Any) -> tuple[Any, ...]:
    return tuple(value.__getinitargs__())


def _text(value: Any) -> tuple[Any, ...]:
    return (str(value),)


STANDARD: dict[type, Standard] = {
    complex: Standard(16, lambda value: (value.real, value.imag), of_atoms(complex)),
    Decimal: Standard(17, _text, of_atoms(Decimal)),
    Fraction: Standard(18, lambda value: (value.numerator, value.denominator), of_atoms(Fraction)),
    date: Standard(19, lambda value: (value.year, value.month, value.day), of_atoms(date)),
    datetime: Standard(20, _take_datetime, _make_datetime),
    time: Standard(21, _take_time, _make_time),
    timedelta: Standard(22, lambda value: (value.days, value.seconds, value.microseconds), of_atoms(timedelta)),
    timezone: Standard(23, _take_timezone, timezone),
    ZoneInfo: Standard(24, _take_zone, of_atoms(ZoneInfo)),
    uuid.UUID: Standard(25, lambda value: (value.bytes,), of_atoms(lambda data: uuid.UUID(bytes=data))),
    deque: Standard(26, lambda value: (value.maxlen,), of_atoms(lambda most: deque(maxlen=most)), "list"),
    Counter: Standard(28, _no_attributes, of_atoms(Counter), "dict"),
    OrderedDict: Standard(29, _no_attributes, of_atoms(OrderedDict), "dict"),
    range: Standard(30, lambda value: (value.start, value.stop, value.step), of_atoms(range)),
    slice: Standard(31, lambda value: (value.start, value.stop, value.step), slice),
    PurePosixPath: Standard(32, _text, of_atoms(PurePosixPath)),
    PureWindowsPath: Standard(33, _text, of_atoms(PureWindowsPath)),
    PosixPath: Standard(34, _text, of_atoms(PosixPath)),
    WindowsPath: Standard(35, _text, of_atoms(WindowsPath)),
    type(...): Standard(36, lambda _: (), lambda: ...),
}
DEFAULT_DICT = 27
ARRAY = 37
VIEW = 38

BULK: dict[type, tuple[int, Callable[..., tuple[Any, ...]]]] = {
    array.array: (ARRAY, arrays.take_array),
    memoryview: (VIEW, arrays.take_view),
}
"""Types that are mostly bytes: their numbers, and how they are taken apart, for a check without copying them."""


def name_of_factory(factory: Any) -> str | None:
    """Give the name that a built-in factory of a defaultdict is kept by."""
    return _FACTORY_NAMES.get(factory) if isinstance(factory, type) else None


def standard_makers() -> dict[int, Callable[..., Any]]:
    """Give the makers that need no registry, by number."""
    makers = {standard.number: standard.make for standard in STANDARD.values()}
    return {
        **makers,
        NUMPY: arrays.make_numpy,
        APART: arrays.make_apart,
        ARRAY: arrays.make_array,
        VIEW: arrays.make_view,
    }
