"""Bytes from outside: what they can do at most is to be a value, or an error of decoding."""

from __future__ import annotations

import contextlib
import copyreg
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
from collections import defaultdict, deque
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import cloudpickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.serial import streams
from routilux.serial.carried import Carried
from routilux.serial.described import describe
from routilux.serial.graph import _PREAMBLE
from supervisors.errors import ValueDecodingError
from tests.serial import shop
from tests.serial.graphs import assert_same
from tests.serial.shop import SHOP, Cart, Colour, Frozen, Item, Pair, Plain, Rights

CARRIED = Carried(SHOP)
START = b"\x03\x80\x05"
MAKE, FILL = b"h\x00", b"h\x01"
"""The two makers, as they lie in the memo."""


class Exploit:
    def __init__(self, function: Any, *args: Any) -> None:
        self.reduced = function, args

    def __reduce__(self) -> Any:
        return self.reduced


class ExploitingDict(dict[str, Any]):
    def __reduce__(self) -> Any:
        return os.system, ("touch attacked",)


def text(value: str) -> bytes:
    return pickle.SHORT_BINUNICODE + bytes([len(value)]) + value.encode()


def cart(name: str = "shop.Cart") -> bytes:
    """Push an object of a class that has every method that opcodes call."""
    return MAKE + b"K\x01" + kind(name) + b"\x86R"


def kind(name: str, *fields: str) -> bytes:
    """Push a registered type."""
    return MAKE + b"(K\x00" + text(name) + b"K\x01(" + b"".join(map(text, fields)) + b"ttR"


def member() -> bytes:
    """Push a member of an enumeration, of which there is one in all of the program."""
    return MAKE + b"K\x02" + kind("shop.Colour") + b"}" + text("name") + text("RED") + b"s\x87R"


ATTACKS = {
    "os.system": pickle.dumps(Exploit(os.system, "touch attacked"), 5),
    "os.system, protocol 0": pickle.dumps(Exploit(os.system, "touch attacked"), 0),
    "eval": pickle.dumps(Exploit(eval, "1 + 1"), 5),
    "getattr": pickle.dumps(Exploit(getattr, Item, "__init__"), 5),
    "a dict that reduces itself": pickle.dumps(ExploitingDict(), 5),
    "cloudpickle": cloudpickle.dumps(lambda: 1),
    "a class": pickle.dumps(Item, 5),
    "an object": pickle.dumps(Plain(1), 5),
    "copyreg": pickle.dumps(Exploit(copyreg.add_extension, "os", "system", 1), 5),
    "STACK_GLOBAL": b"\x80\x05" + text("builtins") + text("eval") + b"\x93" + text("1") + b"\x85R.",
    "GLOBAL": b"\x80\x05cos\nsystem\n" + text("true") + b"\x85R.",
    "GLOBAL of ours": b"\x80\x05croutilux.serial.graph\n_load\n.",
    "INST": b"\x80\x05(" + text("true") + b"ios\nsystem\n.",
    "OBJ": b"\x80\x05(cos\nsystem\n" + text("true") + b"o.",
    "EXT1": b"\x80\x05\x82\x01.",
    "EXT2": b"\x80\x05\x83\x01\x00.",
    "EXT4": b"\x80\x05\x84\x01\x00\x00\x00.",
    "PERSID": b"\x80\x05Px\n.",
    "BINPERSID": b"\x80\x05K\x01Q.",
    "NEWOBJ": b"\x80\x05" + kind("shop.Plain") + b")\x81.",
    "NEWOBJ_EX": b"\x80\x05" + kind("shop.Plain") + b")}\x92.",
    "BUILD of a maker": b"\x80\x05" + MAKE + b"}" + text("_makers") + b"}sb.",
    "BUILD of a maker's slots": b"\x80\x05" + FILL + b"N}" + text("__func__") + b"Ns\x86b.",
    "BUILD of a type": b"\x80\x05" + kind("shop.Plain") + b"N}" + text("_registration") + b"Ns\x86b.",
    "BUILD of a member": b"\x80\x05" + member() + b"}" + text("_value_") + b"K\x05sb.",
    "BUILD of an object": b"\x80\x05" + cart() + b"}" + text("content") + b"K\x01sb.",
    "REDUCE of an object": b"\x80\x05" + cart() + b")R.",
    "REDUCE of an object from the memo": b"\x80\x05" + cart() + b"\x940h\x02)R.",
    "REDUCE of a type": b"\x80\x05" + kind("shop.Cart") + b")R.",
    "REDUCE of a text": b"\x80\x05" + text("x") + b")R.",
    "REDUCE of no tuple": b"\x80\x05" + MAKE + b"K\x01R.",
    "APPEND to an object": b"\x80\x05" + cart() + b"K\x01a.",
    "APPENDS to an object": b"\x80\x05" + cart() + b"(K\x01e.",
    "ADDITEMS to an object": b"\x80\x05" + cart() + b"(K\x01\x90.",
    "SETITEM of an object": b"\x80\x05" + cart() + b"K\x01K\x02s.",
    "SETITEMS of an object": b"\x80\x05" + cart() + b"(K\x01K\x02u.",
    "an object that passes for a deque": b"\x80\x05"
    + MAKE
    + b"K\x01"
    + kind("shop.Cart")
    + b"\x86K\x1aN\x860R(K\x01e.",
    "an object that passes for a deque by the memo": b"\x80\x05"
    b"K\x01" + kind("shop.Cart") + b"\x86\x94" + MAKE + b"K\x1aN\x860h\x02R(K\x01e.",
    "FILL of a member": b"\x80\x05" + FILL + member() + kind("shop.Colour") + b"}\x86\x86R.",
    "FILL of a maker": b"\x80\x05" + FILL + MAKE + kind("shop.Plain") + b"}\x86\x86R.",
    "FILL with no dict": b"\x80\x05" + FILL + cart() + kind("shop.Cart") + b"]\x86\x86R.",
    "FILL with numbers as names": b"\x80\x05" + FILL + cart() + kind("shop.Cart") + b"}K\x01K\x01s\x86\x86R.",
    "FILL of another class": b"\x80\x05" + FILL + cart() + kind("shop.Plain") + b"}\x86\x86R.",
    "SHELL of a member": b"\x80\x05" + MAKE + b"K\x01" + kind("shop.Colour") + b"\x86R.",
    "SHELL of no type": b"\x80\x05" + MAKE + b"K\x01" + text("shop.Cart") + b"\x86R.",
    "WHOLE of an object": b"\x80\x05" + MAKE + b"K\x02" + kind("shop.Plain") + b"}\x87R.",
    "a maker that is none": b"\x80\x05" + MAKE + b"K\xff\x85R.",
    "a maker by no number": b"\x80\x05" + MAKE + text("x") + b"\x85R.",
    "a maker by an object": b"\x80\x05" + MAKE + cart("shop.Eager") + b"\x85R.",
    "a number by an object": b"\x80\x05" + MAKE + b"K\x10" + cart("shop.Eager") + b"\x86R.",
    "a type by no name": b"\x80\x05" + MAKE + b"(K\x00K\x01K\x01)tR.",
    "an array of objects": b"\x80\x05" + MAKE + b"(K\x03" + text("|O") + b"K\x01\x85" + text("C") + b"C\x08abcdefghtR.",
    "an array that is too large": b"\x80\x05"
    + MAKE
    + b"(K\x03"
    + text("|u1")
    + b"J\xff\xff\xff\x7f\x85"
    + text("C")
    + b"C\x01atR.",
    "a zone from elsewhere": b"\x80\x05" + MAKE + b"K\x18" + text("../../../etc/passwd") + b"\x86R.",
    "a factory that is none": b"\x80\x05" + MAKE + b"K\x1b" + text("eval") + b"\x86R.",
    "a member that is none": b"\x80\x05"
    + MAKE
    + b"K\x02"
    + kind("shop.Colour")
    + b"}"
    + text("name")
    + text("mro")
    + b"s\x87R.",
    "NEXT_BUFFER": b"\x80\x05\x97.",
    "READONLY_BUFFER": b"\x80\x05K\x01\x98.",
    "a huge bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
    "a huge text": b"\x80\x05\x8d" + struct.pack("<Q", 2**63 - 1) + b".",
    "huge bytes": b"\x80\x05\x8e" + struct.pack("<Q", 2**64 - 1) + b".",
    "a huge number": b"\x80\x05\x8b\xff\xff\xff\x7f.",
    "a huge frame": b"\x80\x05\x95" + struct.pack("<Q", 2**62) + b"N.",
    "a huge place in the memo": b"\x80\x05Nr\xff\xff\xff\x7f.",
    "a place that is not in the memo": b"\x80\x05j\xff\xff\xff\x7f.",
    "two values": b"\x80\x05N.N.",
    "no value": b"\x80\x05.",
    "a mark": b"\x80\x05(.",
    "a mark below a tuple": b"\x80\x05K\x01(K\x02\x86.",
    "an unhashable key": b"\x80\x05}]K\x01s.",
    "PUT": b"\x80\x05Np5\n.",
    "DUP": b"\x80\x05N2.",
    "no stop": b"\x80\x05N",
    "another protocol": b"\x80\x04N.",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_an_error_of_decoding_and_nothing_else(
    name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shop.RUN.clear()
    with pytest.raises(ValueDecodingError):
        CARRIED.decode(b"\x03" + ATTACKS[name])
    assert shop.RUN == []
    assert list(tmp_path.iterdir()) == []
    assert (Colour.RED._value_, Item.__init__.__module__) == (1, Item.__module__)


_FILLINGS = {
    "object": b"",
    "list": b"]",
    "tuple": b")",
    "text": text("RED"),
    "number": b"K\x01",
    "bytes": b"C\x08abcdefgh",
    "list of it": b"](",
    "dict of it": b"}(" + text("names"),
}


@pytest.mark.parametrize("others", _FILLINGS)
def test_no_maker_asks_an_object_to_be_something_else(others: str) -> None:
    shop.RUN.clear()
    one = cart("shop.Eager")
    other = {"object": one, "list of it": b"](" + one + b"e", "dict of it": b"}" + text("names") + one + b"s"}.get(
        others, _FILLINGS[others]
    )
    firsts = (one, other, kind("shop.Rights"), kind("shop.Colour"), kind("shop.Pair", "left", "right"))
    for number in range(45):
        for first in firsts:
            for arity in range(6):
                for place in range(arity + 1):
                    rest = [one if at == place else other for at in range(arity)]
                    with contextlib.suppress(ValueDecodingError):
                        CARRIED.decode(START + MAKE + b"(K" + bytes([number]) + first + b"".join(rest) + b"tR.")
    assert shop.RUN == []


def test_no_length_that_is_announced_takes_memory() -> None:
    tracemalloc.start()
    try:
        for attack in ATTACKS.values():
            with contextlib.suppress(ValueDecodingError):
                CARRIED.decode(b"\x03" + attack)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * 2**20


def test_an_attack_on_a_description_is_no_more() -> None:
    for attack in ATTACKS.values():
        try:
            describe(b"\x03" + attack)
        except ValueDecodingError:
            continue


def test_the_pieces_of_the_attacks_are_sound() -> None:
    # Else they would be refused for a slip of ours.
    assert type(CARRIED.decode(START + cart() + b".")) is Cart
    assert CARRIED.decode(START + member() + b".") is Colour.RED
    made = CARRIED.decode(START + MAKE + b"K\x1aN\x86R(K\x01K\x02e.")
    assert made == deque([1, 2])
    filled = (
        START + cart() + b"\x94" + FILL + b"h\x02" + kind("shop.Cart") + b"}" + text("content") + b"K\x07s\x86\x86R0."
    )
    assert CARRIED.decode(filled).content == 7


def some_values() -> dict[str, Any]:
    plain = Plain()
    plain.content = [plain, (plain,)]
    counted = defaultdict(list, {"a": [1]})
    return {
        "builtins": [
            (1, 2),
            {3},
            frozenset({"x"}),
            bytearray(b"y"),
            2**80,
            1.5,
            "é" * 200,
            None,
            True,
            {1: (), "b": []},
        ],
        "standard": [datetime(2020, 1, 2, tzinfo=UTC), Decimal("1.5"), deque([1], 2), counted, range(3), 1j],
        "registered": [plain, Item("x"), Frozen(x=1), Pair(1, 2), Colour.RED, Rights.READ | Rights.RUN],
        "active": [Cart(1), deque([2]), counted, {1: 2, 3: 4}, {1: 2}, [1]],
        "arrays": [np.arange(3), np.float32(1), memoryview(b"abc")],
    }


@pytest.mark.parametrize("name", some_values())
def test_bytes_that_were_damaged_are_a_value_or_one_error(name: str) -> None:
    data = CARRIED.encode(some_values()[name])
    masks = (1, 2, 4, 8, 16, 32, 64, 128)
    places = range(len(data))
    damaged = [data[:at] for at in places]
    damaged += [data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :] for at in places for mask in masks]
    for bad in damaged:
        for read in (CARRIED.decode, describe):
            try:
                read(bad)
            except ValueDecodingError:
                continue
    assert "Cart.__call__" not in shop.RUN


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_one_error(data: bytes) -> None:
    for start in (b"\x03", START, START + MAKE, START + cart()):
        try:
            CARRIED.decode(start + data)
        except ValueDecodingError:
            continue


_PIECES = [
    cart("shop.Eager"),
    *(bytes([opcode]) for opcode in b"N\x88)]}\x8f(aesu\x90\x91t\x85\x86\x87\x94R01"),
    *(
        MAKE,
        FILL,
        b"h\x02",
        b"h\x03",
        b"K\x01",
        b"K\x1a",
        b"K\x1d",
        cart(),
        member(),
        kind("shop.Plain"),
        text("content"),
    ),
]


@given(st.lists(st.sampled_from(_PIECES), max_size=25))
def test_any_opcodes_run_no_code_of_a_class(pieces: list[bytes]) -> None:
    shop.RUN.clear()
    with contextlib.suppress(ValueDecodingError):
        CARRIED.decode(START + b"".join(pieces) + b".")
    assert shop.RUN == []


# ---- depth

_DEEP = """
import sys
from routilux.serial.carried import Carried
from supervisors.errors import ValueDecodingError
pieces = bytes.fromhex(sys.argv[1]), bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3])
try:
    Carried().decode(pieces[0] + pieces[1] * 300_000 + pieces[2])
except ValueDecodingError as error:
    print(error)
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    ("start", "step", "end"),
    [
        (b"})", b"\x85", b"Ns."),
        (b"})", b"\x85\x94", b"Ns."),
        (b"})", b"K\x01\x86", b"Ns."),
        (b"\x8f()", b"\x85", b"\x90."),
        (b"}()", b"(K\x01t0\x85", b"u."),
        (b"})" + b"(" * 10, b"\x85", b"Ns."),
    ],
    ids=range(6),
)
def test_tuples_that_are_too_deep_to_be_hashed_are_refused(start: bytes, step: bytes, end: bytes) -> None:
    arguments = [piece.hex() for piece in (START + start, step, end)]
    done = subprocess.run(
        [sys.executable, "-c", _DEEP, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "could not be turned back" in done.stdout


def test_a_deep_value_that_hashes_nothing_is_read() -> None:
    CARRIED.decode(START + b"N" + b"\x85" * 20_000 + b".")


def test_large_values_are_run_through_and_read() -> None:
    value = [(at, (str(at), at / 3), {"key": -at}, [at]) for at in range(6_000)]
    items = [Item(Pair(at, Cart(at))) for at in range(2_400)]
    data = CARRIED.encode([value, items, deque(value[:10]), dict.fromkeys(range(3), 1)])
    assert streams.is_maybe_deep(data)
    assert_same(CARRIED.decode(data), [value, items, deque(value[:10]), dict.fromkeys(range(3), 1)])


@pytest.mark.parametrize("name", some_values())
def test_what_is_written_is_passed_when_it_is_run_through(name: str) -> None:
    from routilux.serial.graph import _MAKERS, _TAKERS  # noqa: PLC0415 - the numbers are the graph's own

    stream = _PREAMBLE + CARRIED.encode(some_values()[name])[1:]
    streams.check_opcodes(stream, len(_PREAMBLE))
    streams.check_targets(stream, len(_PREAMBLE), _MAKERS, _TAKERS)
