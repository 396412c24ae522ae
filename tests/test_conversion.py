"""Values from outside become what annotations say."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from routilux.conversion import annotations_of, convert, convert_arguments
from routilux.errors import OptionError


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: float = 0.0


class Made:
    def __init__(self, n: int, path: Path, other: Unknown = None, free=None) -> None:  # type: ignore[name-defined, no-untyped-def]  # noqa: ANN001, F821
        pass


class Resolved:
    def __init__(self, n: int, path: Path | None = None, free=None) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        pass


@pytest.mark.parametrize(
    ("value", "hint", "becomes"),
    [
        ("3", int, 3),
        ("1.5", float, 1.5),
        ("true", bool, True),
        (3, float, 3.0),
        ("red", Colour, Colour.RED),
        ("2026-01-02", dt.date, dt.date(2026, 1, 2)),
        ("1.50", Decimal, Decimal("1.50")),
        ("src", Path, Path("src")),
        (["a", "b"], list[Path], [Path("a"), Path("b")]),
        ({"x": "1"}, Point, Point(1)),
        (["1", "2"], tuple[int, ...], (1, 2)),
        ("x", str, "x"),
        (None, int | None, None),
        ("x", Any, "x"),
        ("x", "what is that", "x"),
        (object, type[object], object),
    ],
)
def test_a_value_becomes_what_its_annotation_says(value: Any, hint: Any, becomes: Any) -> None:
    assert convert(value, hint, "n") == becomes
    assert type(convert(value, hint, "n")) is type(becomes)


def test_what_cannot_be_is_told_with_its_place() -> None:
    with pytest.raises(OptionError, match=r"with\.n: Expected `int`, got `str`"):
        convert_arguments(Resolved, {"n": "many"}, "with")
    with pytest.raises(OptionError, match=r"n: Expected `int`, got `str` - at `\$\[0\]`"):
        convert(["x"], list[int], "n")


def test_what_has_no_annotation_stays_what_it_is() -> None:
    assert convert_arguments(Resolved, {"n": "3", "path": "x", "free": "4"}, "with") == {
        "n": 3,
        "path": Path("x"),
        "free": "4",
    }
    # One that cannot be resolved takes all with it.
    assert annotations_of(Made) == {}
    assert convert_arguments(Made, {"n": "3"}, "with") == {"n": "3"}
