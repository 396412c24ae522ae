"""What a proxy actor and the process that runs its behaviour tell each other: requests and outcomes.

Owns their kinds, their bytes and the strict decoding of these. They are the bodies of the frames
of a place, which knows nothing of them. Messages and replies are opaque bytes in here: nothing
unpickles. Pure: never runs a request, never decides what an outcome leads to.
"""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

import msgspec

from supervisors.errors import FrameError
from supervisors.reasons import ErrorRecord, Reason


class Begin(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """Make the behaviour and let it start; the first request.

    Args:
        make: gives the behaviour, encoded with its code.
        name: the actor's name.
        path: the actor's path.
        seed: what its randomness is drawn from.
    """

    make: bytes
    name: str
    path: str
    seed: int


class Handle(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """Handle a message.

    Args:
        message: the message, encoded.
        ask: the number of its ask; 0 for a message whose sender waits for no answer.
    """

    message: bytes
    ask: int


class Fire(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """A timer is due."""

    timer: int


class Report(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """Answer the ask of number `ask` with the behaviour's state."""

    ask: int


class Drain(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=5):
    """Handle messages that the behaviour has sent to itself."""


T = TypeVar("T")
Request: TypeAlias = Begin | Handle | Fire | Report | Drain


class Outcome(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a request did to the world so far.

    Args:
        replies: asks that were answered, as (number, reply encoded).
        failures: asks that failed, as (number, record of the exception, the exception encoded if it travels).
        timers: timers that were set, as (number, seconds from now).
        cancelled: timers that were taken back.
        notes: what telemetry is told, as (event, measurements, metadata).
        acknowledged: the information handed over with the word that the actor is ready, encoded; None
            where it did not say so.
        refused: why the message could not be decoded; None where it could.
        has_more: whether messages that it has sent to itself are left.
        takes_terminate: whether it wants `Terminate` as a message.
    """

    replies: list[tuple[int, bytes]] = []
    failures: list[tuple[int, ErrorRecord, bytes | None]] = []
    timers: list[tuple[int, float]] = []
    cancelled: list[int] = []
    notes: list[tuple[str, dict[str, float], dict[str, Any]]] = []
    acknowledged: bytes | None = None
    refused: str | None = None
    has_more: bool = False
    takes_terminate: bool = False


class Ended(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The request ended the actor.

    Args:
        reason: why.
        outcome: what the request did before.
    """

    reason: Reason
    outcome: Outcome


NOTHING = Outcome()
"""The outcome of a request that did nothing to the world: carried as no bytes at all."""

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_outcomes = msgspec.msgpack.Decoder(Outcome)
_endings = msgspec.msgpack.Decoder(Ended)


def encode_request(request: Request) -> bytes:
    """Give the bytes of `request`."""
    return _encoder.encode(request)


def decode_request(data: bytes) -> Request:
    """Read a request.

    Raises:
        FrameError: the bytes are none.
    """
    return _decode(_requests, data)


def encode_outcome(outcome: Outcome) -> bytes:
    """Give the bytes of `outcome`."""
    return b"" if outcome == NOTHING else _encoder.encode(outcome)


def decode_outcome(data: bytes) -> Outcome:
    """Read an outcome; raises as `decode_request`."""
    return _decode(_outcomes, data) if data else NOTHING


def encode_ended(ended: Ended) -> bytes:
    """Give the bytes of `ended`."""
    return _encoder.encode(ended)


def decode_ended(data: bytes) -> Ended:
    """Read how a request ended the actor; raises as `decode_request`."""
    return _decode(_endings, data)


def _decode(decoder: msgspec.msgpack.Decoder[T], data: bytes) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise FrameError(f"a body of {len(data)} bytes is not the protocol: {error}") from error
