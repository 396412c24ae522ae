from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.errors import FrameError
from supervisors.reasons import ErrorRecord
from supervisors.wire.forking import (
    PACKET_BYTES,
    Discard,
    Fork,
    Forked,
    FromZygote,
    Importing,
    NotWarm,
    Preload,
    Reap,
    Reaped,
    Refused,
    Running,
    ToZygote,
    Warm,
    decode_reply,
    decode_request,
    encode_packet,
)

ERROR = ErrorRecord("ValueError", "no", "")
REQUESTS: list[ToZygote] = [Preload([]), Preload(["numpy", "a.b"]), Fork(1, 2**28, 0), Reap(7), Discard(7)]
REPLIES: list[FromZygote] = [
    Importing("numpy"),
    Warm(),
    NotWarm(ERROR),
    Forked(7),
    Refused(ERROR),
    Reaped(9, None, 2**30, 0.5),
    Reaped(None, 0, None, 0.0),
    Running(),
]


@pytest.mark.parametrize("packet", REQUESTS)
def test_a_request_comes_back_out_of_its_bytes_and_is_no_reply(packet: ToZygote) -> None:
    assert decode_request(encode_packet(packet)) == packet
    with pytest.raises(FrameError, match="not the protocol"):
        decode_reply(encode_packet(packet))


@pytest.mark.parametrize("packet", REPLIES)
def test_a_reply_comes_back_out_of_its_bytes_and_is_no_request(packet: FromZygote) -> None:
    assert decode_reply(encode_packet(packet)) == packet
    with pytest.raises(FrameError, match="not the protocol"):
        decode_request(encode_packet(packet))


@pytest.mark.parametrize("data", [[3], [3, "7"], [3, 7, 8], [99], [19], 3, {}, [18, ["", 1]]])
def test_a_packet_of_another_shape_is_refused(data: object) -> None:
    encoded = msgspec.msgpack.encode(data)
    for decode in (decode_request, decode_reply):
        with pytest.raises(FrameError):
            decode(encoded)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_packet_or_a_frame_error(data: bytes) -> None:
    for decode in (decode_request, decode_reply):
        try:
            decode(data)
        except FrameError:
            continue


def test_a_packet_has_a_bound() -> None:
    with pytest.raises(FrameError, match="over the bound of 65536"):
        encode_packet(Preload(["x" * PACKET_BYTES]))
