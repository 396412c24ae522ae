from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from routilux.runtime.passage import TEXT_CHARACTERS, VALUE_CHARACTERS, tell_payload, tell_value
from routilux.serial.carried import Carried
from routilux.serial.registry import default
from routilux.turn.values import PICKLED


class Point:
    """Has code that must not run."""

    def __init__(self) -> None:
        self.x, self.y = 1, "two"

    def __repr__(self) -> str:
        raise AssertionError("a user's code ran")

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError("a user's code ran")


class Row(msgspec.Struct):
    """Has fields and no dict."""

    n: int
    name: str


class Bare:
    """Has nothing at all."""

    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (1, "1"),
        (None, "None"),
        ("it's", '"it\'s"'),
        (b"1234", "<bytes: 4 bytes>"),
        ([1, [2, [3, [4]]]], "[1, [2, [3, [1 items]]]]"),
        (list(range(100)), "[0, 1, 2, 3, 4, 5, ... 100 in all]"),
        ({"a": (1,), 2: {3}}, "{'a': (1), 2: {3}}"),
        (Row(3, "c"), "<Row: n=3, name='c'>"),
        (Bare(), "<Bare>"),
        (np.zeros((2, 3)), "<ndarray: float64, 2x3>"),
        (np.float64(1.5), "<float64: 1.5>"),
        ("\x1b[31m", "'\\x1b[31m'"),
    ],
)
def test_a_value_is_told_shortly_without_its_code(value: Any, told: str) -> None:
    assert tell_value(value) == told


def test_an_object_is_told_by_its_fields() -> None:
    assert tell_value(Point()) == "<Point: x=1, y='two'>"
    assert tell_value([[[Point()]]]) == "[[[<Point>]]]"


def test_texts_are_bounded() -> None:
    assert tell_value(10**5000) == "(a long number)"
    assert len(tell_value("x" * 10_000)) == VALUE_CHARACTERS
    assert len(tell_payload({str(n): "x" * 1_000 for n in range(100)})) == TEXT_CHARACTERS


def test_what_travels_is_told_as_it_is_encoded() -> None:
    assert tell_payload({"n": 1, "p": Point()}) == "n=1, p=<Point: x=1, y='two'>"
    assert tell_payload(PICKLED.encode({"n": 1, "names": ["a"]}, "data")) == "n=1, names=['a']"
    assert tell_payload(Carried(default, allow_pickle=False).encode({"t": (1, 2)}, "data")) == "t=(1, 2)"
    assert tell_payload(PICKLED.encode({"bare": Bare()}, "data")).startswith("<pickle: bytes=")
    assert tell_payload(b"\xff\xff").startswith("(cannot be told: ")
