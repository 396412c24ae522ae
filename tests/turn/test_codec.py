"""Both forms of requests and results, and the strict reading of what a worker sends."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.blocks import BLOCK_LIMIT, Block, Keys
from routilux.messages import Emission, Message, Once, StateOp, TurnFailure, TurnPart, TurnResult
from routilux.packed import Packed
from routilux.turn.codec import (
    EXCEPTION_BYTES,
    Delivered,
    LocalCodec,
    WireCodec,
    decode_failure,
    decode_part,
    encode_boot,
    write_block,
    write_request,
)
from routilux.turn.outbox import BYTES_BOUND
from routilux.turn.state import apply_ops, decode_state, encode_initial
from supervisors.errors import FrameError
from supervisors.reasons import ErrorRecord, record_error
from supervisors.wire import values
from supervisors.wire.frames import encode_body
from tests.supervisors.wire.mutations import HEADS, check_decoder, mutated, peak_bytes
from tests.turn.wires import read_request, read_result, send_request, send_result

wire = WireCodec()

KEY = 2**126 + 7

immutable = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(), max_size=4)
)
keys = st.text(max_size=3)
emissions = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.none(),
        st.none() | st.binary(max_size=4),
        st.lists(st.text(max_size=3), max_size=2).map(tuple),
    ),
    max_size=3,
)
packed = st.lists(st.binary(min_size=1, max_size=4), min_size=1, max_size=3).map(Packed.of)
ops = st.lists(
    st.builds(StateOp, st.just("set"), keys, immutable | st.binary(max_size=4).map(values.encode))
    | st.builds(StateOp, st.just("del"), keys, st.none()),
    max_size=4,
)


def applied(changes: list[StateOp]) -> Any:
    committed: dict[str, Any] = {}
    apply_ops(committed, changes)
    return decode_state(committed)


@given(emissions, ops)
def test_a_result_comes_back_with_the_same_meaning(out: list[Emission], changes: list[StateOp]) -> None:
    result = send_result(wire.result(TurnResult(out, changes)))

    assert result.emissions == out
    assert applied(result.state) == applied(changes)


@given(emissions, st.none() | ops)
def test_a_part_comes_back_with_the_same_meaning(out: list[Emission], changes: list[StateOp] | None) -> None:
    part = decode_part(wire.part(TurnPart(out, changes)))

    assert part.emissions == out
    if changes is None or part.state is None:
        assert part.state is changes
    else:
        assert applied(part.state) == applied(changes)


@pytest.mark.parametrize("value", [2**70, -(2**70), "\ud800"])
def test_an_immutable_value_that_messagepack_lacks_travels_encoded(value: Any) -> None:
    op = StateOp("set", "k", value)

    assert send_result(wire.result(TurnResult([], [op]))).state == [StateOp("set", "k", values.encode(value))]
    assert decode_state(wire.boot(encode_boot({"k": value, "n": 1}))) == {"k": value, "n": 1}


@pytest.mark.parametrize(
    "emission", [(0, {"n": 1}, None, ()), (-1, None, b"", ()), (0, None, b""), (0, None, b"", 0), (0, None, b"", (), 0)]
)
def test_an_emission_that_no_process_sends_is_a_frame_error(emission: Any) -> None:
    for decode in (read_result, decode_part):
        with pytest.raises(FrameError):
            decode(msgspec.msgpack.encode(([emission], [])))


@given(st.binary(max_size=60))
def test_bytes_that_are_no_body_are_a_frame_error(body: bytes) -> None:
    for decode in (read_result, decode_part, decode_failure, wire.boot, read_request):
        try:
            decode(body)
        except FrameError:
            continue


requests = st.builds(
    Message,
    st.integers(0, 9),
    st.integers(0, 9),
    st.binary(max_size=6),
    st.integers(0, 2**127),
    failures=st.integers(0, 9),
    redelivered=st.booleans(),
    released=st.integers(0, 9),
)
committed_values = st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3) | st.binary(max_size=4)
boots = st.dictionaries(keys, committed_values | st.lists(st.binary(max_size=3), max_size=3), max_size=3)
failures = st.builds(
    lambda text, is_retryable: wire.failure(
        record_error(ValueError(text)), ValueError(text), is_retryable=is_retryable
    ),
    st.text(max_size=5),
    st.booleans(),
)


@given(mutated(st.builds(TurnResult, emissions, ops).map(wire.result).map(encode_body)))
def test_a_spoiled_result_is_a_result_or_a_frame_error(body: bytes) -> None:
    check_decoder(read_result, encode_body, body)


@given(mutated(st.builds(TurnPart, emissions, st.none() | ops, st.none(), st.none() | packed).map(wire.part)))
def test_a_spoiled_part_is_a_part_or_a_frame_error(body: bytes) -> None:
    check_decoder(decode_part, wire.part, body)


@given(mutated(failures))
def test_a_spoiled_failure_is_a_failure_or_a_frame_error(body: bytes) -> None:
    check_decoder(decode_failure, msgspec.msgpack.encode, body)


@given(mutated(boots.map(encode_boot)))
def test_a_spoiled_boot_is_a_boot_or_a_frame_error(body: bytes) -> None:
    check_decoder(wire.boot, encode_boot, body)


@given(mutated(requests.map(write_request).map(encode_body)))
def test_a_spoiled_request_is_a_request_or_a_frame_error(body: bytes) -> None:
    check_decoder(read_request, encode_body, body)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("decode", [read_result, decode_part, decode_failure, wire.boot, read_request])
def test_a_body_that_announces_more_than_there_is_takes_no_memory(decode: Any, head: str) -> None:
    for lead in (b"", b"\x92", b"\x92\x90", b"\x92\x90\x91\x93\xa3set\xa0", b"\x81\xa0", b"\x94\x95\xa0\xa0\xa0"):
        assert peak_bytes(lambda lead=lead: decode(lead + HEADS[head])) < 100_000  # type: ignore[misc]


@pytest.mark.parametrize(
    ("emission", "op"),
    [
        pytest.param([-1, None, b"", []], None, id="negative event"),
        pytest.param([0, {}, b"", []], None, id="reference"),
        pytest.param([0, None, "text", []], None, id="text for bytes"),
        pytest.param([0, None, b""], None, id="short"),
        pytest.param([0, None, b"", [1]], None, id="number for a key"),
        pytest.param(None, ["add", "k", 1], id="unknown kind"),
        pytest.param(None, ["set", b"k", 1], id="key"),
        pytest.param(None, ["set", "k", [1]], id="list"),
        pytest.param(None, ["set", "k", {}], id="map"),
        pytest.param(None, ["set", "k", msgspec.msgpack.Ext(1, b"")], id="extension"),
        pytest.param(None, ["append", "k", 1], id="chunk"),
    ],
)
def test_a_result_is_read_strictly(emission: Any, op: Any) -> None:
    body = msgspec.msgpack.encode([[emission] if emission else [], [op] if op else []])

    with pytest.raises(FrameError):
        read_result(body)
    with pytest.raises(FrameError):
        decode_part(body)


@pytest.mark.parametrize(
    "value", [[1], [[b""]], {}, msgspec.msgpack.Ext(1, b"")], ids=["number", "short", "map", "extension"]
)
def test_a_boot_is_read_strictly(value: Any) -> None:
    with pytest.raises(FrameError):
        wire.boot(msgspec.msgpack.encode({"k": value}))


def test_a_boot_carries_state_and_what_slots_gathered() -> None:
    committed = {
        **encode_initial({"n": 1, "list": [1]}),
        "\0slot:in": [{"x": 1}, values.encode({"x": 2})],
        "\0slot:b": [],
    }

    booted = wire.boot(encode_boot(committed))

    assert decode_state(booted) == {"n": 1, "list": [1]}
    assert [values.decode(chunk) for chunk in booted["\0slot:in"]] == [{"x": 1}, {"x": 2}]
    assert committed["\0slot:in"][0] == {"x": 1}, "the ledger's own dict is only read"


@pytest.mark.parametrize("payload", [{"x": 1}, values.encode({"x": 1})], ids=["by reference", "encoded"])
def test_a_request_comes_back_as_its_message(payload: Any) -> None:
    once = (Once("a", b"1"), Once("é", b""))
    message = Message(3, 7, payload, KEY, failures=2, crashes=1, redelivered=True, released=4, once=once)

    read = send_request(message)

    assert read == Delivered(
        3, 7, values.encode({"x": 1}), KEY.to_bytes(16), failures=2, redelivered=True, released=4, once=once
    )
    assert read.id == message.id


def test_a_part_that_is_to_be_recorded_comes_back_and_has_nothing_else() -> None:
    once = Once("é", b"x")
    assert decode_part(wire.part(TurnPart([], None, once))) == TurnPart([], None, once)
    for part in (TurnPart([(0, None, b"", ())], None, once), TurnPart([], [], once)):
        with pytest.raises(FrameError, match="what is recorded comes with nothing else"):
            decode_part(wire.part(part))


def failure_of(error: BaseException) -> TurnFailure:
    return decode_failure(wire.failure(record_error(error), error, is_retryable=True))


def test_a_failure_carries_the_exception_where_it_comes_back_from_its_bytes() -> None:
    failure = failure_of(ValueError("bad", 3))

    assert isinstance(failure.exception, bytes)
    assert repr(values.decode(failure.exception)) == "ValueError('bad', 3)"
    assert (str(failure.error), failure.is_retryable) == ("ValueError: ('bad', 3)", True)


class OneArgumentError(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


@pytest.mark.parametrize(
    "error",
    [ValueError(threading.Lock()), OneArgumentError("a", "b"), ValueError("x" * EXCEPTION_BYTES)],
    ids=["does not pickle", "does not unpickle", "too large"],
)
def test_a_failure_whose_exception_does_not_travel_is_told_as_text(error: Exception) -> None:
    failure = failure_of(error)

    assert failure.exception is None
    assert failure.error.text[:100] == str(error)[:100]


def test_a_failure_with_a_lone_surrogate_is_told_all_the_same() -> None:
    error = ValueError("\ud800")
    error.add_note("\ud801")

    failure = failure_of(error)

    assert (failure.error.text, failure.error.notes) == ("\\ud800", ("\\ud801",))


def test_on_a_thread_everything_is_what_it_is_but_for_the_state() -> None:
    local = LocalCodec()
    error = ValueError()
    record = ErrorRecord("ValueError", "", "")
    chunks = [object()]
    committed: dict[str, Any] = {"key": error, "slot": chunks}
    part, result = TurnPart([], None), TurnResult([], [])

    copy = local.boot(committed)
    assert (copy, copy["key"] is error, copy["slot"][0] is chunks[0]) == (committed, True, True)
    assert (copy is committed, copy["slot"] is chunks) == (False, False)
    assert (local.part(part) is part, local.result(result) is result) == (True, True)
    assert local.failure(record, error, is_retryable=False) == TurnFailure(record, False, error)


@pytest.mark.parametrize("size", [1_040, 1_500, 10_000, 100_000])
def test_what_a_turn_releases_at_once_travels_as_one_whatever_its_messages_have(size: int) -> None:
    count = min(BLOCK_LIMIT, BYTES_BOUND // size + 1)
    block = Block(0, 1, [bytes(size)] * count, Keys(count, 1, bases=range(count)), 0.0, 0, count)
    batch = write_block(block)
    assert batch is not None
    assert len(batch) == count
