from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from routilux import Flow, routine
from routilux.runtime.passage import TEXT_CHARACTERS, VALUE_CHARACTERS, Passage, tell_payload, tell_value
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


class Silent:
    """Can be in an array."""

    def __str__(self) -> str:
        raise AssertionError("a user's code ran")

    __repr__ = __str__


class Row(msgspec.Struct):
    """Has fields and no dict."""

    n: int
    name: str


class Bare:
    """Has nothing at all."""

    __slots__ = ()


@routine(events={"double": ["n"]})
def double(n: int) -> int:
    """Double a number."""
    return 2 * n


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
        (np.array(3), "<ndarray: 3>"),
        (np.str_("a"), "<str_: a>"),
        (np.array(Silent(), dtype=object), "<ndarray: object, one>"),
        (np.array((Silent(),), dtype=[("p", object)]), "<ndarray: [('p', 'O')], one>"),
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


class Looked(dict[str, int]):
    """Counts how often it is told."""

    count = 0

    def items(self) -> Any:
        Looked.count += 1
        return super().items()


def test_no_text_is_made_of_what_there_is_no_room_for() -> None:
    flow = Flow("numbers")
    flow.add_routine(double, "double")
    with flow.start(keep_open=True) as job:
        ledger = job.ledger
        passage = Passage(ledger.plan, ledger.plan.routines[0], ledger.outside, lambda: None)
        with ledger.outside:
            for n in range(5):
                passage.watch.event(0).offer_held(Looked(n=n))
        passings, missed = passage.take(2)
    assert ([passing.text for passing in passings], missed, Looked.count) == (["n=0", "n=1"], 3, 2)
