"""Arrays of a job with a store, apart from the values they are in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from routilux.errors import RoutiluxError
from routilux.serial.carried import Carried, needs_of
from routilux.serial.described import WrittenAs, describe, find_types
from routilux.serial.errors import PickleRefusedError
from routilux.serial.registry import Registry
from supervisors.errors import ValueDecodingError, ValueEncodingError
from supervisors.wire.outside import BESIDE, OUTSIDE, pack_beside, read_names
from tests.supervisors.wire.shelf import Block, Shelf

LARGE = 20_000


@dataclass
class Frame:
    """Has an array."""

    number: int
    image: Any


REGISTRY = Registry()
REGISTRY.register(Frame)
CARRIED = Carried(REGISTRY)
RNG = np.random.default_rng(3)

ARRAYS = {
    "plain": RNG.random(LARGE),
    "fortran": np.asfortranarray(RNG.random((100, 200))),
    "dates": np.arange(LARGE).astype("datetime64[s]"),
    "records": np.zeros(LARGE, dtype=[("a", "i4"), ("b", "f8")]),
    "text": np.array(["ab", "c"] * LARGE),
    "frozen": np.frombuffer(bytes(8 * LARGE)),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("has_room", [True, False])
def test_a_large_array_comes_back_and_cannot_be_written(name: str, has_room: bool) -> None:
    array, shelf = ARRAYS[name], Shelf(has_room=has_room)
    data = CARRIED.share_apart({"frame": Frame(1, array), "rest": (1, 2)}, "value", shelf)
    assert data[:1] == (OUTSIDE if has_room else BESIDE)
    read = CARRIED.decode(data, shelf)
    image = read["frame"].image
    assert (image.dtype, image.shape, image.flags.f_contiguous) == (array.dtype, array.shape, array.flags.f_contiguous)
    assert (image == array).all()
    assert not image.flags.writeable
    assert read["rest"] == (1, 2)


def test_an_array_that_occurs_twice_is_there_once() -> None:
    shelf, array = Shelf(), ARRAYS["plain"]
    data = CARRIED.share_apart([array, array], "value", shelf)
    assert len(read_names(data)[0]) == 1
    one, other = CARRIED.decode(data, shelf)
    assert one is other


@pytest.mark.parametrize("array", [np.arange(10), RNG.random((400, 400))[::2], np.float64(1.5)])
def test_what_is_small_or_in_pieces_stays_within(array: Any) -> None:
    assert CARRIED.share_apart((array,), "value", Shelf()) == CARRIED.encode((array,), "value")


@pytest.mark.parametrize("array", [np.array([object()] * LARGE), np.ma.masked_array(np.zeros(LARGE))])
def test_an_array_that_cannot_be_kept_is_refused_all_the_same(array: Any) -> None:
    with pytest.raises(ValueEncodingError) as caught:
        CARRIED.share_apart({"a": [array]}, "emit('out')", Shelf())
    assert caught.value.path.startswith("emit('out')['a'][0]")


def test_buffers_of_what_goes_as_a_pickle_lie_apart_too() -> None:
    shelf, lenient = Shelf(), Carried(REGISTRY, allow_pickle=True)
    data = lenient.share_apart(Block(bytearray(100_000)), "value", shelf)
    assert data[:1] == OUTSIDE
    assert lenient.decode(data, shelf).data == bytes(100_000)
    assert "pickle" in needs_of(data)
    with pytest.raises(PickleRefusedError):
        CARRIED.decode(data, shelf)


def test_what_lies_apart_is_described_without_the_code_that_made_it() -> None:
    data = CARRIED.share_apart(Frame(1, ARRAYS["plain"]), "value", Shelf(has_room=False))
    assert repr(describe(data)).endswith(f"number=1, image=<numpy: type='<f8', shape=({LARGE},)>>")
    (found,) = find_types(data)
    assert isinstance(found, WrittenAs)
    assert needs_of(data) == set()


def test_a_graph_that_asks_for_a_buffer_that_is_not_there_is_damaged() -> None:
    shelf = Shelf()
    data = CARRIED.share_apart((ARRAYS["plain"], ARRAYS["dates"]), "value", shelf)
    _names, inner = read_names(data)
    for buffers in ([], [memoryview(bytes(8 * LARGE))], [memoryview(bytes(5)), memoryview(bytes(5))]):
        with pytest.raises((ValueDecodingError, RoutiluxError)):
            CARRIED.decode(pack_beside(buffers, inner))
