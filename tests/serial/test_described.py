"""Values are shown without their classes."""

from __future__ import annotations

import numpy as np

from routilux.serial.carried import Carried
from routilux.serial.described import Opaque, describe
from tests.serial import shop
from tests.serial.shop import SHOP, Colour, Item, Pair, Plain, Rights, Unknown

CARRIED = Carried(SHOP, allow_pickle=True)


def test_what_has_no_class_of_a_user_is_shown_as_it_is() -> None:
    for value in ({"a": [1, "x"]}, [(1, {2}), None], 2**80):
        assert describe(CARRIED.encode(value)) == value


def test_objects_are_shown_with_their_names_and_fields() -> None:
    value = [Item("x", [Colour.RED]), Pair(1, (Rights.READ | Rights.RUN,)), {Colour.RED: 1}]
    data = CARRIED.encode(value)
    shop.RUN.clear()
    shown = describe(data)
    assert repr(shown) == (
        "[<shop.Item: sku='x', tags=[<shop.Colour: name='RED'>]>, "
        "<shop.Pair: left=1, right=(<shop.Rights: names=['READ', 'RUN']>,)>, {<shop.Colour: name='RED'>: 1}]"
    )
    assert (shown[0].name, shown[0].version, shown[0].fields["sku"]) == ("shop.Item", 1, "x")
    assert shop.RUN == []


def test_what_holds_itself_is_shown() -> None:
    plain = Plain()
    plain.content = [plain]
    assert repr(describe(CARRIED.encode(plain))) == "<shop.Plain: content=[...]>"


def test_pickles_and_arrays_are_shown_as_what_they_are() -> None:
    data = CARRIED.encode(Unknown())
    assert repr(describe(data)) == f"<pickle: bytes={len(data)}>"
    assert repr(describe(CARRIED.encode(np.zeros((2, 3))))) == "<numpy: type='<f8', shape=(2, 3)>"


def test_text_from_outside_is_escaped_and_cut() -> None:
    assert repr(Opaque("a\x1b[2J", 2, {})) == "<a\\x1b[2J (version 2)>"
    assert len(repr(Opaque("a", 1, {"x": "y" * 5_000}))) == 1_000
