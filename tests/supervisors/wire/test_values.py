"""Values come back as they were, and what cannot be carried is named."""

from __future__ import annotations

import dataclasses
import functools
import math
import pickle
import subprocess
import sys
import textwrap
import threading
from collections import OrderedDict
from enum import IntEnum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.errors import MailboxClosedError, MailboxFullError, ValueDecodingError, ValueEncodingError
from supervisors.wire.values import decode, decode_code, encode, encode_code, is_plain

PLAIN, PICKLE = 1, 2

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(
    scalars | st.characters(codec=None),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.booleans(), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.frozensets(scalars, max_size=3)
        | st.builds(OrderedDict, st.dictionaries(st.text(max_size=3), inner, max_size=3))
    ),
    max_leaves=20,
)


def same(left: Any, right: Any) -> bool:
    """Equal, and of the same types all the way down (1, 1.0 and True are three values)."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            same(a, b) and same(left[a], right[b]) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


@given(values)
def test_a_value_comes_back_with_its_exact_types(value: Any) -> None:
    assert same(decode(encode(value)), value)
    assert same(decode(memoryview(encode(value))), value)


class Number(IntEnum):
    ONE = 1


class Text(str):
    __slots__ = ()


class Point(msgspec.Struct):
    x: Any


@dataclasses.dataclass
class Holder:
    content: Any


class Slotted:
    __slots__ = ("__weakref__", "content")

    def __init__(self, content: Any) -> None:
        self.content = content


class Choosy:
    """Leaves its lock out."""

    def __init__(self, content: Any) -> None:
        self.lock = threading.Lock()
        self.content = content

    def __getstate__(self) -> dict[str, Any]:
        return {"content": self.content}


LEAF: list[int] = []


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({}, PLAIN),
        ({"a": 1, "b": None, "c": 1.5, "d": "x", "e": b"y", "f": True}, PLAIN),
        ({"a": [1, [2, {"b": {}}]]}, PLAIN),
        (-(2**63), PLAIN),
        (2**64 - 1, PLAIN),
        (2**64, PICKLE),
        ({"a": -(2**63) - 1}, PICKLE),
        ("\ud800", PICKLE),
        ({1: 2}, PICKLE),
        ({"a": (1, 2)}, PICKLE),
        ({"a": bytearray(b"x")}, PICKLE),
        ({Text("a"): 1}, PICKLE),
        (Number.ONE, PICKLE),
        (OrderedDict(a=1), PICKLE),
        (Point(1), PICKLE),
        ([LEAF, LEAF], PICKLE),
    ],
)
def test_only_what_message_pack_gives_back_unchanged_goes_by_it(value: Any, kind: int) -> None:
    data = encode(value)
    assert data[0] == kind
    assert same(decode(data), value)


def test_shared_and_cyclic_references_are_kept() -> None:
    shared: list[Any] = [1]
    first, second = decode(encode({"a": shared, "b": [shared]}))["a"], None
    both = decode(encode({"a": shared, "b": [shared]}))
    first, second = both["a"], both["b"][0]
    assert first is second
    cycle: list[Any] = []
    cycle.append(cycle)
    back = decode(encode(cycle))
    assert back[0] is back


def test_deep_values_go_by_pickle_and_hopeless_ones_are_refused() -> None:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    assert not is_plain(deep)
    assert decode(encode(deep)) == deep
    for _ in range(50_000):
        deep = [deep]
    with pytest.raises(ValueEncodingError, match="nested too deeply"):
        encode(deep)


def test_floats_keep_their_bits() -> None:
    back = decode(encode({"nan": math.nan, "minus": -0.0, "inf": math.inf}))
    assert math.isnan(back["nan"])
    assert math.copysign(1.0, back["minus"]) == -1.0
    assert back["inf"] == math.inf


def closure(lock: Any) -> Any:
    return lambda: lock


class Exiting:
    def __reduce__(self) -> Any:
        raise SystemExit(3)


class Interrupting:
    def __reduce__(self) -> Any:
        raise KeyboardInterrupt


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Raising:
    def __reduce__(self) -> Any:
        raise Unspeakable


LOCK = threading.Lock()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (LOCK, "value"),
        ({"items": [0, 1, 2, Holder({"callback": LOCK})]}, "value['items'][3].content['callback']"),
        ((1, Slotted(LOCK)), "value[1].content"),
        (Point([LOCK]), "value.x[0]"),
        (Choosy(LOCK), "value.content"),
        (closure(LOCK), "value.<variable lock>"),
        ({"f": functools.partial(print, LOCK)}, "value['f'].args[0]"),
        (ValueError("x", LOCK), "value.args[1]"),
        ({"x": Exiting()}, "value['x']"),
        ([Interrupting()], "value[0]"),
        ([Raising()], "value[0]"),
    ],
)
def test_the_part_that_cannot_be_carried_is_named(value: Any, path: str) -> None:
    with pytest.raises(ValueEncodingError) as caught:
        encode(value)
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path} cannot be carried: a ")


def test_the_name_of_the_value_is_the_callers() -> None:
    with pytest.raises(ValueEncodingError, match=r"^payload\['a'\] cannot be carried: a _thread.lock"):
        encode({"a": LOCK}, "payload")


class Unloadable:
    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        return throw, (self.error,)


def throw(error: type[BaseException]) -> None:
    raise error


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, RecursionError, Unspeakable])
def test_whatever_decoding_raises_is_one_error(error: type[BaseException]) -> None:
    with pytest.raises(ValueDecodingError):
        decode(encode(Unloadable(error)))


@given(st.binary(max_size=40))
def test_damaged_bytes_are_one_error_or_a_plain_value(data: bytes) -> None:
    # Never with the tag of a pickle: that one is code by design, and only decoded where it may run.
    try:
        decode(b"\x01" + data)
    except ValueDecodingError:
        return


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x03abc", pickle.dumps(1), b"\x01\xc1", b"\x02", b"\x02abc"])
def test_bytes_that_are_no_value_are_refused(data: bytes) -> None:
    with pytest.raises(ValueDecodingError):
        decode(data)


def test_code_is_carried_with_what_it_needs() -> None:
    factor = 3
    carried = decode_code(encode_code(lambda x: x * factor, "service"))
    assert carried(2) == 6
    with pytest.raises(ValueEncodingError, match=r"^service\.<variable lock>"):
        encode_code(closure(LOCK), "service")


ECHO = """
import sys
from supervisors.wire.values import decode, encode
data = sys.stdin.buffer.read()
one, two = decode(data)
assert type(one) is type(two)
type(one).made.append("changed")
again, _ = decode(data)
assert type(again) is type(one) and type(one).made == ["changed"]
sys.stdout.buffer.write(encode([one, again]))
"""

BY_VALUE = """
    import subprocess, sys
    from supervisors.wire.values import decode, encode

    COUNT = [0]

    class Base:
        made = []
        def count(self):
            COUNT[0] += 1
            return COUNT[0]

    class Thing(Base):
        def __init__(self, x):
            self.x = x
        def up(self):
            return super().count()

    sent = encode((Thing(1), Thing(2)))
    out = subprocess.run([sys.executable, "-c", sys.argv[1]], input=sent, stdout=subprocess.PIPE, check=True).stdout
    method = Thing.up
    one, again = decode(out)
    assert type(one) is Thing and isinstance(again, Base)
    assert Thing.made == [], Thing.made
    assert Thing.up is method
    assert one.up() == 1 and COUNT == [1]
    print("same")
"""


@pytest.mark.processes
def test_a_class_of_main_keeps_its_identity_and_its_content_there_and_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BY_VALUE), ECHO], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "same\n", "")


def test_a_value_shared_by_two_threads_is_encoded_or_refused() -> None:
    shared: dict[str, int] = {}
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for key in map(str, range(50)):
                shared[key] = 1
            shared.clear()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(500):
            try:
                encode(shared)
            except ValueEncodingError:
                continue
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("error", [ValueEncodingError("a.b", "a lock"), MailboxFullError(3), MailboxClosedError()])
def test_our_own_errors_can_be_carried(error: Exception) -> None:
    error.add_note("seen here")
    back = decode(encode(error))
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))
