"""The protocol between a program and its zygote: typed packets, and their bytes.

Owns the kinds of packets, their strict decoding, and the order of the descriptors that go with some of them. A packet
is a MessagePack array whose first element is the kind, and as long as the kernel says. Pure: never touches a socket.

The program asks, the zygote answers each question with one packet, in order; before it is warm it also tells which
module it is about to import, so that one that ends the process is known by its name.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import msgspec

from supervisors.errors import FrameError
from supervisors.reasons import ErrorRecord

PACKET_BYTES = 64 * 1024
"""The longest packet (arbitrary, well within what a socket takes at once)."""
STANDARD_FDS = ("channel", "page", "stdout", "stderr", "folder")
"""The descriptors that go with a `Fork`, in this order; those that the worker inherits besides come behind them."""


class Preload(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """Program to zygote, first: import these, in this order, and be warm."""

    modules: list[str]


class Fork(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """Program to zygote, with descriptors (`STANDARD_FDS`): become two, one of which is a worker.

    Args:
        incarnation: carried by every frame of this worker.
        max_frame_bytes: the longest frame the worker takes.
        inherited: descriptors that it keeps besides.
    """

    incarnation: int
    max_frame_bytes: int
    inherited: int


class Reap(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """Program to zygote: take the status of this worker, if it has ended, which frees its number."""

    pid: int


class Discard(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """Program to zygote: kill this worker, wait for its end, and take its status."""

    pid: int


class Importing(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=16):
    """Zygote to program, before it is warm: what it imports now."""

    module: str


class Warm(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=17):
    """Zygote to program: all is imported, and it takes requests."""


class NotWarm(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=18):
    """Zygote to program, last: what was to be imported could not be."""

    error: ErrorRecord


class Forked(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=19):
    """Zygote to program, with a descriptor that tells of its death: there is a worker."""

    pid: int


class Refused(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=20):
    """Zygote to program: there is no worker, because of this."""

    error: ErrorRecord


class Reaped(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=21):
    """Zygote to program: how a worker ended (the fields of `Ended` in `supervisors.places.process.reap`)."""

    signal: int | None
    exit_code: int | None
    peak_bytes: int | None
    cpu_seconds: float


class Running(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=22):
    """Zygote to program: the worker that was to be reaped has not ended."""


ToZygote: TypeAlias = Preload | Fork | Reap | Discard
FromZygote: TypeAlias = Importing | Warm | NotWarm | Forked | Refused | Reaped | Running

_Packet = TypeVar("_Packet")

_encoder = msgspec.msgpack.Encoder()
_to_zygote: msgspec.msgpack.Decoder[ToZygote] = msgspec.msgpack.Decoder(ToZygote)
_from_zygote: msgspec.msgpack.Decoder[FromZygote] = msgspec.msgpack.Decoder(FromZygote)


def encode_packet(packet: ToZygote | FromZygote) -> bytes:
    """Give the bytes of a packet.

    Raises:
        FrameError: they are more than a packet may have.
    """
    data = _encoder.encode(packet)
    if len(data) > PACKET_BYTES:
        raise FrameError(f"a packet of {len(data)} bytes is over the bound of {PACKET_BYTES} bytes")
    return data


def decode_request(data: bytes) -> ToZygote:
    """Give what the program says; raises `FrameError` for anything but a packet of that direction."""
    return _decode(_to_zygote, data)


def decode_reply(data: bytes) -> FromZygote:
    """Give what the zygote says; raises `FrameError` for anything but a packet of that direction."""
    return _decode(_from_zygote, data)


def _decode(decoder: msgspec.msgpack.Decoder[_Packet], data: bytes) -> _Packet:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise FrameError(f"a packet of {len(data)} bytes is not the protocol: {error}") from error
