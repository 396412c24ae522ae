"""Values come back from the ladder as they were; what cannot be carried is named."""

from __future__ import annotations

import array
import math
import pickle
import subprocess
import sys
import textwrap
import threading
import tracemalloc
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given

from routilux.serial.carried import Carried, needs_of
from routilux.serial.errors import PickleRefusedError
from routilux.serial.registry import Registry
from supervisors.errors import ValueDecodingError, ValueEncodingError
from supervisors.wire.values import MAX_VALUE_BYTES
from tests.serial import shop
from tests.serial.graphs import assert_same
from tests.serial.samples import GRAPH, LEAF, PICKLE, VALUES, cycles, graphs, point
from tests.serial.shop import (
    SHOP,
    Bits,
    Cart,
    Colour,
    Frozen,
    Item,
    Loose,
    Pair,
    Parcel,
    Plain,
    Rights,
    Slotted,
    Stamp,
    SubItem,
    Unknown,
    Word,
)

CARRIED = Carried(SHOP)
PICKLING = Carried(SHOP, allow_pickle=True)
MIB = 2**20


def there_and_back(value: Any, carried: Carried = CARRIED) -> Any:
    carried.check(value)
    data = carried.encode(value)
    shop.RUN.clear()
    back = carried.decode(data)
    assert shop.RUN == []
    return back


@pytest.mark.parametrize("at", range(len(VALUES)))
def test_a_value_comes_back_as_it_was(at: int) -> None:
    value, rung = VALUES[at]
    assert CARRIED.encode(value)[0] == rung
    assert_same(there_and_back(value), value)
    assert_same(CARRIED.decode(memoryview(CARRIED.encode(value))), value)


def test_what_is_one_in_the_program_is_one_again() -> None:
    zone = ZoneInfo("Europe/Berlin")
    back = there_and_back([UTC, zone, Colour.BLUE, ..., Rights.READ])
    assert all(a is b for a, b in zip(back, [UTC, zone, Colour.BLUE, ..., Rights.READ], strict=True))
    assert there_and_back(Rights.READ | Rights.WRITE) is Rights.READ | Rights.WRITE
    assert math.isnan(there_and_back((math.nan,))[0])
    assert there_and_back((Decimal("NaN123"),))[0].compare_total(Decimal("NaN123")) == 0


def test_an_array_that_comes_back_may_be_written_to() -> None:
    back = there_and_back(np.arange(3))
    back[0] = 7
    back.resize(5)
    assert back.tolist() == [7, 1, 2, 0, 0]


@pytest.mark.parametrize("at", range(len(cycles())))
def test_shared_references_and_cycles_come_back(at: int) -> None:
    value = cycles()[at]
    assert_same(there_and_back([value, value]), [value, value])


def test_attributes_beside_the_declared_ones_come_back() -> None:
    item, loose = Item("x"), Loose(content=1)
    item.note = loose.note = ("late",)  # type: ignore[attr-defined]
    back = there_and_back([item, loose])
    assert_same(back, [item, loose])
    assert back[0].note is back[1].note


def test_a_hash_that_attrs_has_cached_is_made_again() -> None:
    stamp = Stamp("text whose hash is another in another process")
    hash(stamp)
    back = there_and_back((stamp,))[0]
    assert vars(back)["_attrs_cached_hash"] is None
    assert back == stamp
    assert hash(back) == hash(stamp)


@given(graphs())
def test_any_graph_comes_back_as_it_was(value: Any) -> None:
    assert_same(CARRIED.decode(CARRIED.encode(value)), value)


def test_a_deep_value_comes_back_and_a_hopeless_one_is_refused() -> None:
    deep: Any = ()
    for _ in range(100):
        deep = [(deep, {"a": deep})]
    assert_same(there_and_back(deep), deep)
    for _ in range(50_000):
        deep = [deep]
    with pytest.raises(ValueEncodingError, match="nested too deeply"):
        CARRIED.encode(deep)
    with pytest.raises(ValueEncodingError, match="nested too deeply"):
        CARRIED.check(deep)


LOCK = threading.Lock()


class Text(str):
    __slots__ = ()


def counts_with_attribute() -> Any:
    counts = Counter("a")
    counts.note = 1  # type: ignore[attr-defined]
    return counts


REFUSED: list[tuple[Any, str, str]] = [
    (LOCK, "state", "a _thread.lock, which cannot be kept"),
    ({"cart": Plain([0, Item("x"), Frozen(x={"f": LOCK})])}, "state['cart'].content[2].x['f']", "a _thread.lock"),
    ((1, Slotted(LOCK)), "state[1].content", "a _thread.lock"),
    (point([LOCK]), "state.x[0]", "a _thread.lock"),
    (Pair(1, LOCK), "state[1]", "a _thread.lock"),
    (deque([1, (LOCK,)]), "state[1][0]", "a _thread.lock"),
    ({(1, Unknown()): 1}, "state.key((1, <tests", ""),
    ({"a": Unknown()}, "state['a']", "a tests.serial.shop.Unknown, which is not registered: routilux.register"),
    ([SubItem("x")], "state[0]", "a tests.serial.shop.SubItem, which is not registered"),
    ([Text("x")], "state[0]", "a tests.serial.test_carried.Text, which is not registered"),
    ([Item], "state[0]", "the class tests.serial.shop.Item"),
    ([lambda: 1], "state[0]", "a function"),
    ([ValueError("x")], "state[0]", "a ValueError, which cannot be kept"),
    (defaultdict(lambda: 1), "state", "a defaultdict whose values are made by a function"),
    (defaultdict(Unknown), "state", "made by tests.serial.shop.Unknown"),
    (np.array([object()]), "state", "a NumPy array of object"),
    (np.array([(1, None)], dtype="i4,O"), "state", "a NumPy array of"),
    ([np.ma.array([1])], "state[0]", "a MaskedArray, a kind of NumPy array"),
    (pickle.PickleBuffer(b"x"), "state", "a pickle.PickleBuffer"),
    (counts_with_attribute(), "state", "a Counter that has attributes beside its items"),
    ([object()], "state[0]", "a object, which cannot be kept"),
]


@pytest.mark.parametrize("at", range(len(REFUSED)))
def test_what_cannot_be_carried_is_refused_with_its_path(at: int) -> None:
    value, path, says = REFUSED[at]
    errors = []
    for method in (CARRIED.encode, CARRIED.check):
        with pytest.raises(ValueEncodingError) as caught:
            method(value, "state")
        errors.append(str(caught.value))
    assert errors[0] == errors[1]
    assert errors[0].startswith(path)
    assert says in errors[0]


@pytest.mark.parametrize(
    "make", [lambda size: (bytes(size),), lambda size: np.zeros(size, "u1"), lambda size: "x" * size], ids=range(3)
)
def test_what_is_too_long_is_refused_on_both_ways(make: Any) -> None:
    value = make(MAX_VALUE_BYTES)
    for method in (CARRIED.encode, CARRIED.check):
        with pytest.raises(ValueEncodingError, match=r"^state cannot be carried: it takes more than"):
            method(value, "state")


def test_a_check_copies_no_array() -> None:
    value = [np.zeros(100 * MIB, "u1"), array.array("B", bytes(10 * MIB)), memoryview(bytes(10 * MIB))]
    tracemalloc.start()
    try:
        CARRIED.check(value)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MIB


# ---- pickles


def test_what_no_rung_carries_goes_as_a_pickle_where_that_is_allowed() -> None:
    value = {"a": Unknown((1, 2)), "b": lambda: 3}
    PICKLING.check(value)
    data = PICKLING.encode(value)
    assert data[0] == PICKLE
    back = PICKLING.decode(data)
    assert (back["a"].content, back["b"]()) == ((1, 2), 3)
    assert PICKLING.encode((1, 2))[0] == GRAPH
    assert PICKLING.encode(Item(1))[0] == GRAPH
    for method in (PICKLING.encode, PICKLING.check):
        with pytest.raises(ValueEncodingError, match=r"^state\[0\] cannot be carried: a _thread.lock"):
            method([LOCK], "state")


def test_a_pickle_is_refused_where_it_is_not_allowed() -> None:
    with pytest.raises(PickleRefusedError, match="allow_pickle=True"):
        CARRIED.decode(PICKLING.encode(Unknown()))


def test_what_bytes_need_is_told() -> None:
    assert needs_of(PICKLING.encode({"a": 1})) == set()
    assert needs_of(PICKLING.encode((1,))) == set()
    assert needs_of(PICKLING.encode(Unknown())) == {"pickle"}
    assert needs_of(memoryview(PICKLING.encode(lambda: 1))) == {
        "pickle",
        f"cpython-{sys.version_info.major}.{sys.version_info.minor}",
    }


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x04abc", b"\x01\xc1", b"\x03", b"\x03abc", pickle.dumps(1)])
def test_bytes_that_are_no_value_are_refused(data: bytes) -> None:
    with pytest.raises(ValueDecodingError):
        CARRIED.decode(data)


@pytest.mark.processes
def test_numpy_that_is_missing_is_asked_for_by_its_extra() -> None:
    script = """
        import sys
        sys.modules["numpy"] = None
        from routilux.serial.carried import Carried
        from routilux.serial.errors import MissingLibraryError
        carried = Carried()
        assert carried.decode(carried.encode((1, {2}))) == (1, {2})
        try:
            carried.decode(bytes.fromhex(sys.argv[1]))
        except MissingLibraryError as error:
            print(error)
    """
    data = CARRIED.encode(np.zeros(2)).hex()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), data], capture_output=True, text=True, timeout=60, check=False
    )
    assert "pip install routilux[numpy]" in done.stdout, done.stderr


@pytest.mark.processes
def test_numpy_is_not_imported_by_carrying_other_values() -> None:
    script = (
        "import sys; from routilux.serial.carried import Carried\n"
        "c = Carried(); c.decode(c.encode((1, {2})))\n"
        "assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], timeout=60, check=True)


# ---- travelling

WORKER = """
import sys
from supervisors.wire.values import decode_code
carried, data, keep = decode_code(sys.stdin.buffer.read())
order, item = carried.decode(data)
assert (order.lines, item.sku) == ((1, order), "x")
assert type(order) is keep
order.lines = ("changed", order)
sys.stdout.buffer.write(carried.encode([order, keep("new")]))
"""

PROGRAM = """
    import subprocess, sys
    from routilux.serial.carried import Carried
    from routilux.serial.registry import Registry
    from supervisors.wire.values import encode_code
    from tests.serial.shop import Item

    registry = Registry()

    @registry.register
    class Order:
        def __init__(self, lines):
            self.lines = lines

    registry.register("shop.Item", version=2, migrations={1: lambda fields: fields})(Item)
    order = Order(None)
    order.lines = (1, order)
    carried = Carried(registry)
    sent = encode_code((carried, carried.encode([order, Item("x")]), Order), "service")
    out = subprocess.run([sys.executable, "-c", sys.argv[1]], input=sent, stdout=subprocess.PIPE, check=True).stdout
    back, new = carried.decode(out)
    assert type(back) is type(new) is Order
    assert back.lines == ("changed", back) and new.lines == "new"
    print(*registry.shapes())
"""


@pytest.mark.processes
def test_a_codec_travels_to_a_worker_with_its_classes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), WORKER],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "__main__.Order shop.Item\n", "")


# ---- golden bytes: what was written once is read for ever

GOLDEN: dict[str, tuple[Any, str]] = {
    "plain": (
        {"a": [1, "x", b"y", None, 1.5, True]},
        "0181a1619601a178c40179c0cb3ff8000000000000c3",
    ),
    "containers": (
        [(1, (2, 3, 4, 5)), {6}, frozenset({"x"}), bytearray(b"y"), 2**80, "\ud800", LEAF, LEAF, 1.5, -1, 300, 70_000],
        (
            "0380059559000000000000005d94284b01284b024b034b044b05749486948f94284b0690288c017894919496010000000000"
            "000079948a0b00000000000000000000018c03eda080945d94680a473ff80000000000004affffffff4d2c014a7011010065"
            "2e"
        ),
    ),
    "numbers": (
        [1.5j, Decimal("1.50"), Fraction(1, 3), range(1, 5, 2), slice(1, None), ...],
        (
            "038005955e000000000000005d942868004b10470000000000000000473ff80000000000008794529468004b118c04312e35"
            "30948694529468004b124b014b03879452946800284b1e4b014b054b02749452946800284b1f4b014e4e7494529468004b24"
            "85945294652e"
        ),
    ),
    "times": (
        [
            date(2020, 1, 2),
            datetime(2020, 1, 2, 3, 4, 5, 6, UTC),
            time(1, 2, fold=1),
            timedelta(1, 2, 3),
            timezone(timedelta(hours=1), "x"),
            ZoneInfo("Europe/Berlin"),
        ],
        (
            "038005959d000000000000005d94286800284b134de4074b014b02749452946800284b144de4074b014b024b034b044b054b"
            "064b0068004b176800284b164b004b004b007494529486945294749452946800284b154b014b024b004b004b014e74945294"
            "6800284b164b014b024b037494529468004b176800284b164b004d100e4b00749452948c0178948794529468004b188c0d45"
            "75726f70652f4265726c696e9486945294652e"
        ),
    ),
    "collections": (
        [deque([1, 2], 5), defaultdict(list, {1: [2]}), defaultdict(Item), Counter("aa"), OrderedDict(a=1)],
        (
            "0380059580000000000000005d942868004b1a4b0586945294284b014b026568004b1b8c046c69737494869452944b015d94"
            "4b02617368004b1b6800284b008c0973686f702e4974656d944b018c03736b75948c0474616773948c05746f74616c948794"
            "749452948694529468004b1c859452948c0161944b027368004b1d859452948c0161944b0173652e"
        ),
    ),
    "others": (
        [uuid.UUID(int=5), PurePosixPath("a/b"), PureWindowsPath("c:/x"), Path("/x")],
        (
            "038005954a000000000000005d942868004b19431000000000000000000000000000000005948694529468004b208c03612f"
            "62948694529468004b218c04633a5c78948694529468004b228c022f789486945294652e"
        ),
    ),
    "arrays": (
        [array.array("d", [1.5]), memoryview(b"abc"), np.arange(6, dtype="<i2").reshape(2, 3), np.float32(1.5)],
        (
            "0380059578000000000000005d94286800284b258c0164944b084308000000000000f83f94749452946800284b268c014294"
            "4b03859488430361626394749452946800284b038c033c6932944b024b0386948c014394430c000001000200030004000500"
            "94749452946800284b038c033c6634944e680e43040000c03f9474945294652e"
        ),
    ),
    "objects": (
        [Plain(1), Slotted(2), Item("x"), Frozen(x=1), point(1), Loose(content=1), Parcel(1), Stamp("x")],
        (
            "0380059531020000000000005d942868004b016800284b008c0a73686f702e506c61696e944b012974945294869452946801"
            "680768057d948c07636f6e74656e74944b0173869486523068004b016800284b008c0c73686f702e536c6f74746564944b01"
            "8c105f536c6f747465645f5f68696464656e9468098694749452948694529468016811680f7d9468094b0273869486523068"
            "004b016800284b008c0973686f702e4974656d944b018c03736b75948c0474616773948c05746f74616c9487947494529486"
            "9452946801681c681a7d942868158c01789468165d9475869486523068004b016800284b008c0b73686f702e46726f7a656e"
            "944b01681e8c017994869474945294869452946801682768257d9428681e4b0168224b0175869486523068004b016800284b"
            "008c0a73686f702e506f696e74944b01681e6822869474945294869452946801682f682d7d9428681e4b0168224b00758694"
            "86523068004b016800284b008c0a73686f702e4c6f6f7365944b0168098c046d6f7265948694749452948694529468016838"
            "68367d942868094b0168335d9475869486523068004b016800284b008c0b73686f702e50617263656c944b018c0677656967"
            "6874946809869474945294869452946801684268407d942868095d94683d4b0175869486523068004b016800284b008c0a73"
            "686f702e5374616d70944b018c0576616c756594859474945294869452946801684c684a7d94286847681e8c125f61747472"
            "735f6361636865645f68617368944e758694865230652e"
        ),
    ),
    "members": (
        [Colour.RED, Rights.READ | Rights.RUN, Bits(9), Word.A, Pair(1, 2), Cart(3)],
        (
            "038005956d010000000000005d942868004b026800284b008c0b73686f702e436f6c6f7572944b018c03524544948c04424c"
            "5545948c074352494d534f4e948794749452947d948c046e616d65946804738794529468004b026800284b008c0b73686f70"
            "2e526967687473944b018c0452454144948c055752495445948c0352554e948794749452947d948c056e616d6573945d9428"
            "680f681165738794529468004b026800284b008c0973686f702e42697473944b018c034f4e45948594749452947d94286816"
            "5d94681b618c0472657374944b08758794529468004b026800284b008c0973686f702e576f7264944b018c01419485947494"
            "52947d94680b6825738794529468004b026800284b008c0973686f702e50616972944b018c046c656674948c057269676874"
            "948694749452944b014b0286948794529468004b016800284b008c0973686f702e43617274944b0129749452948694529468"
            "01683968377d948c07636f6e74656e74944b03738694865230652e"
        ),
    ),
}
GOLDEN_PICKLE = "028005950e000000000000004b017d944b028c0178947386942e"


@pytest.mark.parametrize("name", GOLDEN)
def test_what_the_first_version_wrote_is_read(name: str) -> None:
    value, written = GOLDEN[name]
    assert_same(CARRIED.decode(bytes.fromhex(written)), value)


def test_what_the_first_version_pickled_is_read() -> None:
    assert PICKLING.decode(bytes.fromhex(GOLDEN_PICKLE)) == (1, {2: "x"})


def test_a_codec_of_an_empty_registry_carries_the_standard_types() -> None:
    assert_same(there_and_back((1, {2}), Carried(Registry())), (1, {2}))
