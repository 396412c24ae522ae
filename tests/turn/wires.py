"""What goes over a wire and is read at its other end, as a place of processes has it."""

from __future__ import annotations

from typing import Any

from routilux.messages import Message
from routilux.turn.codec import Delivered, WireResult, check_ops, write_request
from routilux.turn.values import PICKLED, ValueCodec
from supervisors.wire.frames import decode_body, encode_body


def read_result(body: bytes) -> WireResult:
    """Read a finished turn."""
    result: WireResult = decode_body(body, WireResult)
    check_ops(result.state)
    return result


def read_request(body: bytes) -> Delivered:
    """Read a request."""
    request: Delivered = decode_body(body, Delivered)
    return request


def send_result(body: Any) -> WireResult:
    """Give what arrives of a result."""
    return read_result(encode_body(body))


def send_request(message: Message, values: ValueCodec = PICKLED) -> Delivered:
    """Give what arrives of a request."""
    return read_request(encode_body(write_request(message, values)))
