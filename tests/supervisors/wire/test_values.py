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
import tracemalloc
from array import array
from collections import Counter, OrderedDict, defaultdict
from enum import IntEnum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.errors import MailboxClosedError, MailboxFullError, ValueDecodingError, ValueEncodingError
from supervisors.wire.values import (
    MAX_VALUE_BYTES,
    decode,
    decode_code,
    decode_plain,
    encode,
    encode_code,
    encode_parameters,
    encode_plain,
    encode_within,
    is_plain,
)

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


class Pretender:
    """Says that it is a number."""

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        return int


odd_values = st.sampled_from([(1,), {1}, 2**70, Pretender(), object, "\ud800", b"bytes", Counter(), float("inf")])


@given(st.dictionaries(st.text(max_size=3), values | odd_values, max_size=9))
def test_data_by_names_is_encoded_as_any_other_and_read_as_such(data: dict[str, Any]) -> None:
    encoded = encode_parameters(data)
    assert encoded == encode_plain(data)
    if encoded is not None:
        assert repr(decode_plain(encoded)) == repr(decode(encoded))


def test_what_is_not_plain_or_damaged_is_not_read_as_plain() -> None:
    assert decode_plain(encode({"a": (1, 2)})) is None
    assert decode_plain(encode({"a": 1})[:-1]) is None


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
@functools.cache
def cached_in_a_module(n: int) -> int:
    return n


def test_a_cached_function_is_carried_as_the_function_is() -> None:
    calls = []

    @functools.lru_cache(maxsize=7, typed=True)
    def fibonacci(n: int) -> int:
        calls.append(n)
        return n if n < 2 else int(fibonacci(n - 1)) + int(fibonacci(n - 2))

    assert fibonacci(5) == 5
    carried = decode_code(encode_code(fibonacci, "service"))
    assert carried.cache_info().currsize == 0
    assert carried.cache_parameters() == {"maxsize": 7, "typed": True}
    assert carried.__wrapped__.__closure__[1].cell_contents is carried  # it calls itself, and not another copy
    assert carried(20) == 6765
    assert carried.cache_info().misses == 21
    assert len(calls) == 6

    assert decode_code(encode_code(cached_in_a_module, "service")) is cached_in_a_module
    assert decode_code(encode_code(functools.cache(int), "service"))("7") == 7
    assert decode_code(encode_code(functools.cache(functools.partial(int, base=2)), "service"))("11") == 3


def test_a_cached_function_of_main_is_carried_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> int:
        return 7

    load.__module__, load.__qualname__ = "__main__", "load"
    cached = functools.cache(load)
    monkeypatch.setattr(sys.modules["__main__"], "load", cached, raising=False)
    carried = decode_code(encode_code(cached, "service"))
    assert carried is not cached
    assert carried() == 7
    assert cached.cache_info().misses == 0


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


MIB = 2**20


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda: bytes(1024 * MIB), 1),
        (lambda: {"a": {"b": bytes(1024 * MIB)}}, 1),
        (lambda: [bytes(MIB) for _ in range(1024)], 1),
        (lambda: tuple(bytes(MIB) for _ in range(1024)), 1),
        (lambda: {"a": (1, bytearray(MAX_VALUE_BYTES))}, 1),
        (lambda: Holder(bytes(1024 * MIB)), 1),
        # Of these one copy is made (msgspec takes half as much again): nobody is asked before.
        (lambda: {"a": "x" * MAX_VALUE_BYTES}, 1.6 * MAX_VALUE_BYTES / MIB),
        (lambda: array("B", bytes(MAX_VALUE_BYTES)), 1.2 * MAX_VALUE_BYTES / MIB),
    ],
    ids=["bytes", "nested bytes", "list", "tuple", "bytearray", "object", "text", "array"],
)
def test_a_value_that_is_too_long_is_refused_without_copies(make: Any, most: float) -> None:
    value = make()
    tracemalloc.start()
    try:
        with pytest.raises(ValueEncodingError, match=r"^payload cannot be carried: it takes more than the 267,386,880"):
            encode(value, "payload")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / MIB < most


def test_the_largest_value_is_carried() -> None:
    largest = bytes(MAX_VALUE_BYTES - 6)  # the tag and MessagePack's head of long bytes
    assert len(encode(largest)) == MAX_VALUE_BYTES
    with pytest.raises(ValueEncodingError):
        encode(largest + b"x")


def test_a_bound_of_ones_own_is_kept_without_a_search() -> None:
    assert decode(encode_within((1, 2), 100) or b"") == (1, 2)
    assert encode_within((1, bytes(100)), 100) is None
    assert encode_within(Exiting(), 100) is None


class Counted:
    def __init__(self, counts: Counter[str]) -> None:
        self.counts = counts

    def __reduce__(self) -> Any:
        self.counts["tries"] += 1
        return list, ()


def test_the_search_for_the_bad_part_of_a_wide_and_deep_value_is_bounded() -> None:
    counts: Counter[str] = Counter()
    value: Any = LOCK
    for _ in range(20):
        value = [*(Counted(counts) for _ in range(2_000)), value]
    with pytest.raises(ValueEncodingError, match="cannot pickle") as caught:
        encode(value)
    assert caught.value.path.startswith("value[2000][2000]")
    # The encoding itself has tried 40,000; each level of the search by itself would be as much again.
    assert counts["tries"] < 200_000


def test_a_bad_part_beside_large_ones_is_found() -> None:
    value = {"rows": [(n, n) for n in range(300_000)], "config": {"cache": bytearray(100 * MIB), "lock": LOCK}}
    with pytest.raises(ValueEncodingError) as caught:
        encode(value)
    assert caught.value.path == "value['config']['lock']"


def test_a_bad_part_within_a_large_one_is_found_where_all_beside_it_are_good() -> None:
    value = {"a": (1, 2), "rows": [*((n, n) for n in range(200_000)), LOCK], "b": (3,)}
    with pytest.raises(ValueEncodingError) as caught:
        encode(value)
    assert caught.value.path.startswith("value['rows']")


def test_a_bad_part_behind_a_million_others_ends_the_search() -> None:
    with pytest.raises(ValueEncodingError) as caught:
        encode([*range(1_000_001), LOCK])
    assert caught.value.path == "value"


class Odd:
    """Reduces to what it is told."""

    def __init__(self, reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize(
    "reduced", [None, 3, (), (3,), (list, 3), (print, (), 1, 2, 3, 4, 5), "no such name"], ids=repr
)
def test_nonsense_out_of_a_reduce_is_refused(reduced: Any) -> None:
    with pytest.raises(ValueEncodingError) as caught:
        encode({"odd": Odd(reduced)})
    assert caught.value.path == "value['odd']"


class Growing:
    """Changes the container it is in, each time it is encoded."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def __reduce__(self) -> Any:
        if isinstance(self.owner, dict):
            self.owner[len(self.owner)] = None
        else:
            self.owner.append(None)
        return int, ()


def test_what_changes_while_it_is_encoded_is_encoded_or_refused() -> None:
    owner: dict[Any, Any] = {}
    owner["a"], owner["b"] = Growing(owner), 1
    with pytest.raises(ValueEncodingError, match="changed size"):
        encode(owner)
    items: list[Any] = []
    items[:] = [Growing(items), Growing(items)]
    assert decode(encode(items))[:2] == [0, 0]


class Leaving:
    def __del__(self) -> None:
        raise SystemExit("gone")


def make_leaving() -> int:
    Leaving()
    return 1


class Dropping:
    def __reduce__(self) -> Any:
        Leaving()
        return make_leaving, ()


def test_what_raises_as_it_is_dropped_spoils_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: told.append(str(unraisable.exc_value)))
    assert decode(encode(Dropping())) == 1
    assert told == ["gone", "gone"]


class Named(dict[str, int]):
    pass


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        (),
        "",
        b"",
        set(),
        {"": ""},
        {1: 2, None: 3, (1, 2): 4, "\ud800": 5},
        {"big": 2**64, "small": -(2**63) - 1, "huge": 10**5_000},
        {"text": "\ud800", b"bytes": "\udfff"},
        defaultdict(list, {"a": [1]}),
        Counter("abca"),
        Named(a=1),
        {"named": Named(a=1)},
        bytearray(b"x"),
        {"deep": {"er": [{"est": (1, {2})}]}},
        1.5 + 2j,
        range(3),
        frozenset({"a"}),
    ],
    ids=map(str, range(19)),
)
def test_unusual_values_come_back_as_they_were(value: Any) -> None:
    back = decode(encode(value))
    assert same(back, value)
    assert [type(key) for key in back] == [type(key) for key in value] if isinstance(value, dict) else True


def nest(kind: str, depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        match kind:
            case "list":
                value = [value]
            case "dict":
                value = {"a": value}
            case "tuple":
                value = (value,)
            case _:
                value = Holder(value)
    return value


@pytest.mark.parametrize("kind", ["list", "dict", "tuple", "object"])
@pytest.mark.parametrize("depth", [100, 1_000, 100_000])
def test_a_nested_value_is_carried_or_refused_and_dropped(kind: str, depth: int) -> None:
    value = nest(kind, depth)
    try:
        data = encode(value)
    except ValueEncodingError:
        with pytest.raises(ValueEncodingError, match="nested too deeply to be pickled"):
            encode(value)
        assert depth > 100
    else:
        back = decode(data)
        for _ in range(depth):
            back = back.content if kind == "object" else back["a"] if kind == "dict" else back[0]
        assert back == 1
    del value


@pytest.mark.parametrize("depth", [100, 1_000, 100_000])
@pytest.mark.parametrize(
    "data",
    [
        lambda depth: b"\x01" + b"\x91" * depth + b"\xc0",
        lambda depth: b"\x01" + b"\x81\xa1a" * depth + b"\xc0",
        lambda depth: b"\x02" + b"]" * depth + b"a" * (depth - 1) + b".",
        lambda depth: b"\x02N" + b"\x85" * depth + b".",
        lambda depth: b"\x02N" + b"0N" * depth + b".",
    ],
    ids=["plain lists", "plain dicts", "lists", "tuples", "a long one"],
)
def test_nested_bytes_are_decoded_or_refused_and_dropped(data: Any, depth: int) -> None:
    try:
        value = decode(data(depth))
    except ValueDecodingError:
        assert depth > 100
    else:
        del value


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x01\xc1", encode(object), b"\x07"])
def test_what_is_no_plain_value_is_left_to_those_who_can_tell_what_it_is(data: bytes) -> None:
    assert decode_plain(data) is None


@given(values)
def test_a_plain_value_is_read_by_itself_as_with_all_others(value: Any) -> None:
    data = encode(value)
    assert decode_plain(data) == (decode(data) if data[0] == PLAIN else None)
