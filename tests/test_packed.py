"""The data of many messages as one piece: each is what it was, wherever it is cut."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.packed import Packed
from supervisors.wire.values import PLAIN, decode, decode_together, encode

payloads = st.lists(st.binary(min_size=1, max_size=5), min_size=1, max_size=20)
plain_values = st.lists(
    st.dictionaries(st.text(max_size=3), st.one_of(st.integers(-5, 300), st.text(max_size=3), st.none()), max_size=3),
    min_size=1,
    max_size=20,
)


@given(data=st.data(), each=payloads)
def test_each_is_what_it_was_wherever_they_are_cut(data: st.DataObject, each: list[bytes]) -> None:
    packed = Packed.of(each)
    assert packed.is_sound
    assert len(packed) == len(each)
    assert list(packed) == [packed[at] for at in range(len(each))] == each
    assert packed.tags() == {payload[0] for payload in each}
    start = data.draw(st.integers(0, len(each) - 1))
    stop = data.draw(st.integers(start + 1, len(each)))
    assert packed.between(start, stop) == Packed.of(each[start:stop])
    cuts = [
        packed.between(first, last) for first, last in ((0, start), (start, stop), (stop, len(each))) if first < last
    ]
    assert Packed.join(cuts) == packed


@given(each=payloads)
def test_it_comes_back_from_its_bytes(each: list[bytes]) -> None:
    packed = Packed.of(each)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(packed), type=Packed) == packed


@pytest.mark.parametrize(
    "packed", [Packed(b"", []), Packed(b"abc", [1, 1]), Packed(b"abc", [2, 2]), Packed(b"abc", [])]
)
def test_what_does_not_end_where_it_is_said_to_is_not_sound(packed: Packed) -> None:
    assert not packed.is_sound


@pytest.mark.parametrize("sizes", [[3, 0], [4, -1]])
def test_nothing_is_read_that_has_an_empty_one(sizes: list[int]) -> None:
    written = msgspec.msgpack.encode([b"abc", sizes])
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(written, type=Packed)


def test_what_is_said_to_be_plain_is_given_as_such_whatever_it_is() -> None:
    packed = Packed(b"\x01a\x03b", [2, 2], is_plain=True)
    assert list(packed) == [packed[0], packed[1]] == [PLAIN + b"a", PLAIN + b"b"]
    assert list(packed.between(1, 2)) == [PLAIN + b"b"]


@given(each=plain_values)
def test_plain_values_are_decoded_together_as_one_by_one(each: list[dict[str, object]]) -> None:
    encoded = [encode(value, "value") for value in each]
    assert decode_together(b"".join(encoded), len(each)) == list(map(decode, encoded)) == each


@given(each=plain_values, at=st.integers(0, 19))
def test_nothing_is_decoded_together_where_one_is_not_plain(each: list[dict[str, object]], at: int) -> None:
    encoded = [encode(value, "value") for value in each]
    encoded.insert(min(at, len(each)), encode({1, 2}, "value"))
    assert decode_together(b"".join(encoded), len(encoded)) is None


@given(each=plain_values, less=st.integers(1, 3))
def test_nothing_is_decoded_together_that_is_cut_short_or_goes_on(each: list[dict[str, object]], less: int) -> None:
    joined = b"".join(encode(value, "value") for value in each)
    assert decode_together(joined[:-less], len(each)) is None
    assert decode_together(joined, len(each) + 1) is None
    assert decode_together(joined + b"\x01", len(each)) is None
