"""A checkpoint comes back as it was written, or is refused with a named error."""

from __future__ import annotations

import contextlib
import struct
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.errors import InternalError, OptionError
from routilux.records.errors import (
    DamagedCheckpointError,
    KeptError,
    KeyMissingError,
    UnsealedError,
    UnsupportedFormatError,
    WrongKeyError,
)
from routilux.records.format import (
    OBJECT_BYTES,
    PRELUDE_BYTES,
    Contents,
    Section,
    _digest,
    _write_head,
    header_bytes,
    keep_state,
    read_checkpoint,
    read_contents,
    write_checkpoint,
)
from routilux.records.packing import pack
from routilux.records.schema import DeadLetterImage, Image, KeptState, MessageImage, StateImage
from supervisors.reasons import ErrorRecord, Raised
from tests.records.images import KEY, header, image, message, no_object, routines, to_bytes
from tests.supervisors.wire.mutations import mutated

keys = pytest.mark.parametrize("key", [None, KEY], ids=["digest", "key"])


def read(data: bytes, key: bytes | None = None) -> Image:
    return read_checkpoint(data, no_object, key=key)


@keys
def test_a_checkpoint_comes_back_as_it_was_written(key: bytes | None) -> None:
    data = to_bytes(write_checkpoint(image(), key=key))

    assert read(data, key) == image()
    assert read_contents(data, key=key).header == image().header


@keys
def test_every_truncation_is_refused(key: bytes | None) -> None:
    data = to_bytes(write_checkpoint(image(), key=key))

    for length in range(len(data)):
        with pytest.raises(DamagedCheckpointError):
            read(data[:length], key)


@keys
def test_every_flipped_bit_is_refused(key: bytes | None) -> None:
    data = bytearray(to_bytes(write_checkpoint(image(), key=key)))
    assert 1_500 < len(data) < 3_000

    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        # A flip within the seal looks like another key: both are refused.
        with pytest.raises((DamagedCheckpointError, WrongKeyError)):
            read(bytes(data), key)
        data[bit // 8] ^= 1 << bit % 8
    assert read(bytes(data), key) == image()


@keys
def test_every_tail_of_zeros_is_refused(key: bytes | None) -> None:
    data = to_bytes(write_checkpoint(image(), key=key))

    for length in range(len(data)):
        with pytest.raises((DamagedCheckpointError, WrongKeyError)):
            read(data[:length] + bytes(len(data) - length), key)


@keys
@pytest.mark.parametrize("more", [b"\0", b"\n", None], ids=["zero", "line end", "another"])
def test_what_has_more_behind_it_is_refused(more: bytes | None, key: bytes | None) -> None:
    data = to_bytes(write_checkpoint(image(), key=key))

    with pytest.raises(DamagedCheckpointError):
        read(data + (data if more is None else more), key)


def test_two_halves_of_two_checkpoints_are_refused() -> None:
    one, other = (to_bytes(write_checkpoint(image(number=number))) for number in (12, 13))
    assert len(one) == len(other)

    for at in range(header_bytes(one)):
        if one[:at] not in other and other[at:] not in one:
            with pytest.raises(DamagedCheckpointError):
                read(one[:at] + other[at:])


def test_a_damaged_section_is_named() -> None:
    data = bytearray(to_bytes(write_checkpoint(image())))
    data[data.index(b"payload 40")] ^= 1

    with pytest.raises(DamagedCheckpointError, match="the section of routine 'parse' is not what was written"):
        read(bytes(data))


# -- The header


def test_the_header_is_read_from_the_bytes_that_it_asks_for() -> None:
    data = to_bytes(write_checkpoint(image()))
    needed = header_bytes(data[:PRELUDE_BYTES])

    assert read_contents(data[:needed]).header == image().header
    assert needed < len(data) / 2 + 300
    for length in range(needed):
        with pytest.raises(DamagedCheckpointError):
            read_contents(data[:length])


def test_every_flipped_bit_of_a_header_is_refused() -> None:
    data = to_bytes(write_checkpoint(image()))
    start = bytearray(data[: header_bytes(data)])

    for bit in range(8 * len(start)):
        start[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedCheckpointError):
            read_contents(bytes(start))
        start[bit // 8] ^= 1 << bit % 8


def test_a_length_beyond_the_bound_is_refused_before_it_is_believed() -> None:
    start = struct.pack("<8sHHB3xII", b"\x89RTXCP\r\n", 1, 1, 0, 2**32 - 1, 0)

    with pytest.raises(DamagedCheckpointError, match="announced"):
        header_bytes(start)


@pytest.mark.parametrize("start", [b"", b"\x89RTXCP\r\n", b"PK\x03\x04" + bytes(40)])
def test_what_is_no_checkpoint_says_so(start: bytes) -> None:
    with pytest.raises(DamagedCheckpointError, match="does not begin as a checkpoint does"):
        header_bytes(start)


# -- Versions


def versioned(min_reader: int, data: bytes) -> bytes:
    """Give a checkpoint as a newer version would have written it, its checksum right."""
    end = header_bytes(data) - 32
    start = data[:8] + struct.pack("<HH", 9, min_reader) + data[12:20]
    return start + struct.pack("<I", zlib.crc32(data[24:end], zlib.crc32(start))) + data[24:]


def test_a_checkpoint_that_needs_a_newer_reader_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFormatError, match="format 2, and this version reads format 1"):
        read(versioned(2, to_bytes(write_checkpoint(image()))))


def resealed(contents: Any, bodies: list[bytes], key: bytes | None = None) -> bytes:
    """Give a checkpoint with all its checksums right, whatever it says."""
    head = _write_head(contents, key)
    size = len(head) + sum(map(len, bodies)) + 16
    return b"".join([head, *bodies, struct.pack("<Q8s", size, b"RTXCPEND")])


def taken_apart() -> tuple[dict[str, Any], list[tuple[list[Any], bytes]]]:
    """Give the header as plain values, and the rows of the table with their bodies."""
    data = to_bytes(write_checkpoint(image()))
    contents, at, rows = read_contents(data), header_bytes(data), []
    for section in contents.sections:
        rows.append((list(msgspec.structs.astuple(section)), data[at : at + section.size]))
        at += section.size
    return msgspec.to_builtins(contents.header, builtin_types=(bytes,)), rows


def put_together(head: dict[str, Any], rows: list[tuple[list[Any], bytes]], **more: Any) -> bytes:
    table = [[*row[:4], len(body), _digest(body), *row[6:]] for row, body in rows]
    return resealed({"header": head, "sections": table, **more}, [body for _row, body in rows])


def changed(body: bytes, **fields: Any) -> bytes:
    return msgspec.msgpack.encode({**msgspec.msgpack.decode(body), **fields})


def test_what_a_newer_version_added_is_passed_over() -> None:
    head, rows = taken_apart()
    deep: Any = {"a": [1, {"b": b"c"}]}
    rows = [
        ([*row, "more", deep], changed(body, more=deep) if row[0] in ("job", "routine") else body) for row, body in rows
    ]
    rows.insert(2, (["timers", "parse", 0, False, 0, b""], b"\xc1 nothing known"))

    assert read(put_together({**head, "more": deep}, rows, more=deep)) == image()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"sent": [1, 2, -3]}, r"the section 'job' cannot be read: Expected `int` >= 0 - at `\$.sent\[2\]`"),
        ({"sent": [1, 2]}, "it counts the messages sent on 2 connections, and has 3"),
        ({"is_entry_open": 1}, r"Expected `bool`, got `int` - at `\$.is_entry_open`"),
        (
            {"outputs": [{"routine_id": "a", "event": "b", "waiting": [[7, 1, bytes(16), b""]], "collected": []}]},
            "connection 7",
        ),
        (
            {"outputs": [{"routine_id": "a", "event": "b", "waiting": [[0, 1, b"", b""]], "collected": []}]},
            r"waiting\[0\]\[2\]",
        ),
    ],
)
def test_what_is_of_another_shape_is_refused_with_its_path(fields: dict[str, Any], told: str) -> None:
    head, rows = taken_apart()
    row, body = rows[1]
    rows[1] = row, changed(body, **fields)

    with pytest.raises(DamagedCheckpointError, match=told):
        read(put_together(head, rows))


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ([0, 1, 2, 3, 4, 5], "a section is missing"),
        ([0, 0, 1, 2, 3, 4, 5, 6], "there are two sections 'topology'"),
        ([0, 1, 1, 2, 3, 4, 5, 6], "there are two sections 'job'"),
        ([0, 1, 3, 2, 4, 5, 6], "its routines are not those of its flow"),
        ([0, 1, 2, 4, 5, 6], "its routines are not those of its flow"),
        ([0, 1, 2, 3, 4, 4, 5, 6], "a worker has two states"),
    ],
)
def test_a_table_that_lacks_or_doubles_a_section_is_refused(order: list[int], told: str) -> None:
    head, rows = taken_apart()
    chosen = [rows[number] for number in order] if told != "a section is missing" else rows[1:]

    with pytest.raises(DamagedCheckpointError, match=told):
        read(put_together(head, chosen))


def test_a_section_under_the_name_of_another_routine_is_refused() -> None:
    head, rows = taken_apart()
    rows[2][0][1] = "parse"

    with pytest.raises(DamagedCheckpointError, match="the section of routine 'parse' is that of routine 'read'"):
        read(put_together(head, rows))


def test_a_state_of_a_routine_that_is_not_there_is_refused() -> None:
    head, rows = taken_apart()
    rows[-1][0][1] = "other"

    with pytest.raises(DamagedCheckpointError, match="a state of routine 'other', which its flow has not"):
        read(put_together(head, rows))


@pytest.mark.parametrize("size", [2**48, 2**62, 2**64 - 1])
def test_sizes_that_do_not_add_up_are_refused(size: int) -> None:
    contents = Contents(header(), [Section("job", "", 0, False, size, bytes(32))])

    with pytest.raises(DamagedCheckpointError):
        read(resealed(contents, []))


def test_depth_is_refused_by_name() -> None:
    head, rows = taken_apart()
    rows[1] = rows[1][0], b"\x81\xa4more" + b"\x91" * 200_000 + b"\xc0"

    with pytest.raises(DamagedCheckpointError, match="recursion"):
        read(put_together(head, rows))


def test_an_image_that_contradicts_itself_is_not_written() -> None:
    broken = msgspec.structs.replace(image(), routines=routines()[:1])

    with pytest.raises(InternalError, match="the image of job 'nightly' contradicts itself: its routines"):
        write_checkpoint(broken)


def test_text_that_is_no_unicode_does_not_cost_a_checkpoint() -> None:
    first, second = routines()
    letter = DeadLetterImage(message(), Raised(ErrorRecord("E", "\udc80", "", ("\udc80",))), 1, 1.0)
    given_image = msgspec.structs.replace(
        image(error="no \udc80 text"), routines=[first, msgspec.structs.replace(second, dead_letters=[letter])]
    )

    again = read(to_bytes(write_checkpoint(given_image)))

    assert again.header.error == "no ? text"
    (letter_again,) = again.routines[1].dead_letters
    assert letter_again == msgspec.structs.replace(letter, reason=Raised(ErrorRecord("E", "?", "", ("?",))))
    assert again.routines[0] == first


# -- Keys


def test_a_sealed_checkpoint_needs_its_key() -> None:
    data = to_bytes(write_checkpoint(image(), key=KEY))

    with pytest.raises(KeyMissingError):
        read(data)
    with pytest.raises(WrongKeyError):
        read(data, KEY[::-1])
    with pytest.raises(WrongKeyError):
        read_contents(data, key=KEY[::-1])


def test_a_checkpoint_without_a_seal_is_refused_where_a_key_is_given() -> None:
    data = to_bytes(write_checkpoint(image()))

    with pytest.raises(UnsealedError):
        read(data, KEY)
    with pytest.raises(UnsealedError):
        read_contents(data, key=KEY)


def test_the_header_of_a_sealed_checkpoint_can_be_listed_without_the_key() -> None:
    assert read_contents(to_bytes(write_checkpoint(image(), key=KEY))).header == image().header


def test_nothing_is_decoded_before_the_seal_was_checked() -> None:
    data = resealed([1, 2, 3], [])

    with pytest.raises(DamagedCheckpointError, match="cannot be read"):
        read(data)
    forged = resealed([1, 2, 3], [], KEY)
    with pytest.raises(WrongKeyError):
        read(forged, KEY[::-1])


def test_a_section_that_was_changed_with_its_digest_is_refused_by_the_seal() -> None:
    head, rows = taken_apart()
    rows[1] = rows[1][0], changed(rows[1][1], is_entry_open=False)
    forged, true = put_together(head, rows), to_bytes(write_checkpoint(image(), key=KEY))
    assert not read(forged).job.is_entry_open
    end = header_bytes(true)
    # The forger has the true seal, but not the key.
    start = bytearray(forged[: end - 32])
    start[12] = 1
    start[20:24] = struct.pack("<I", zlib.crc32(start[24:], zlib.crc32(start[:20])))

    with pytest.raises(WrongKeyError):
        read(bytes(start) + true[end - 32 : end] + forged[end:], KEY)


@pytest.mark.parametrize("key", [b"", b"short", bytes(65)])
def test_a_key_that_can_be_guessed_or_is_too_long_is_refused(key: bytes) -> None:
    with pytest.raises(OptionError, match="16 to 64 bytes"):
        write_checkpoint(image(), key=key)
    with pytest.raises(OptionError):
        read(to_bytes(write_checkpoint(image())), key)


# -- States


def large(fill: bytes = b"x") -> bytes:
    return fill * OBJECT_BYTES


def test_a_large_state_is_an_object_of_its_own_that_is_referred_to() -> None:
    states = [StateImage("parse", 0, large()), StateImage("parse", 1, large()), StateImage("read", 0, large(b"y")[1:])]
    written = write_checkpoint(image(states))
    objects = {kept.name: kept.body for kept in written.objects}

    assert sorted(objects.values()) == [large()], "the same state is one object"
    assert len(to_bytes(written)) < OBJECT_BYTES + 5_000
    assert read_checkpoint(to_bytes(written), lambda name, limit: objects[name][:limit]).states == states


def test_an_unchanged_state_is_referred_to_without_being_given_again() -> None:
    states = [StateImage("parse", 0, large()), StateImage("read", 0, b"small")]
    first = write_checkpoint(image(states))
    objects = {kept.name: kept.body for kept in first.objects}
    assert [(kept.routine_id, kept.body) for kept in first.states] == [("parse", None), ("read", b"small")]

    second = write_checkpoint(image([], number=13), kept=first.states)

    assert second.objects == []
    assert second.states == first.states
    assert read_checkpoint(to_bytes(second), lambda name, limit: objects[name][:limit]).states == states


@pytest.mark.parametrize(
    "body", [b"", large()[1:], large() + b"x", large(b"y")], ids=["empty", "short", "long", "other"]
)
def test_a_state_object_that_is_not_what_was_written_is_refused(body: bytes) -> None:
    data = to_bytes(write_checkpoint(image([StateImage("parse", 0, large())])))

    with pytest.raises(
        DamagedCheckpointError, match=r"the state of worker 0 of routine 'parse' in object 'state-[0-9a-f]{64}'"
    ):
        read_checkpoint(data, lambda _name, limit: body[:limit])


def test_a_worker_has_one_state() -> None:
    state = StateImage("parse", 0, b"")

    with pytest.raises(InternalError, match="a worker has two states"):
        write_checkpoint(image([state]), kept=[keep_state(state)])


def test_a_small_state_that_is_not_at_hand_cannot_be_kept() -> None:
    with pytest.raises(InternalError, match="of 3 bytes, is no object of its own"):
        write_checkpoint(image([]), kept=[KeptState("parse", 0, 3, bytes(32), None)])


# -- Anything

counts = st.integers(0, 2**63)
bodies = st.binary(max_size=12)
texts = st.text(st.characters(), max_size=3)
"""Lone surrogates too."""
messages = st.builds(
    MessageImage,
    st.integers(0, 2),
    counts,
    st.binary(min_size=16, max_size=16),
    bodies,
    counts,
    counts,
    st.booleans(),
    counts,
    counts,
    st.dictionaries(texts, bodies, max_size=2),
)
lines = st.lists(messages, max_size=3)


@st.composite
def images(draw: st.DrawFn) -> Image:
    base = image(draw(st.lists(st.builds(StateImage, st.just("read"), st.just(0), bodies), max_size=1)))
    first, second = base.routines
    return msgspec.structs.replace(
        base,
        routines=[
            msgspec.structs.replace(first, error=draw(st.none() | texts), in_hand=draw(lines)),
            msgspec.structs.replace(
                second, waiting=draw(lines), figures=draw(st.dictionaries(texts, counts, max_size=2))
            ),
        ],
    )


@given(images(), st.none() | st.binary(min_size=16, max_size=64))
def test_any_image_comes_back(given_image: Image, key: bytes | None) -> None:
    data = to_bytes(write_checkpoint(given_image, key=key))
    again = read(data, key)

    assert to_bytes(write_checkpoint(again, key=key)) == data
    if b"?" not in data:
        assert again == given_image


@given(mutated(images().map(write_checkpoint).map(to_bytes)))
def test_nothing_but_a_named_error_comes_of_a_damaged_file(data: bytes) -> None:
    for read_it in (read, read_contents):
        with contextlib.suppress(KeptError):
            read_it(data)


@given(st.integers(0, 3), st.data())
def test_nothing_but_a_named_error_comes_of_a_section_with_its_digest_right(number: int, data: st.DataObject) -> None:
    head, rows = taken_apart()
    rows[number] = rows[number][0], data.draw(mutated(st.just(rows[number][1])))

    _accept_or_refuse(put_together(head, rows))


@given(st.data())
def test_nothing_but_a_named_error_comes_of_a_header_with_its_seal_right(data: st.DataObject) -> None:
    head, rows = taken_apart()
    table = [[*row[:4], len(body), _digest(body)] for row, body in rows]
    spoilt = data.draw(mutated(st.just(msgspec.msgpack.encode({"header": head, "sections": table}))))

    _accept_or_refuse(resealed(msgspec.Raw(spoilt), [body for _row, body in rows]))


def _accept_or_refuse(data: bytes) -> None:
    try:
        found = read_checkpoint(data, _nothing)
    except DamagedCheckpointError:
        return
    assert pack(read(to_bytes(write_checkpoint(found)))) == pack(found)


def _nothing(name: str, limit: int) -> bytes:
    return b""
