"""How requests, results and failures look to a worker: by reference on a thread, as bytes to a process.

Owns both forms and the strict reading of the second. Pure. What comes from a worker is read by type and
never unpickled here: values inside stay the bytes they were encoded to.

Requests and results are parts of the frames that carry them, read as `Delivered` and `WireResult`; parts and failures
are bytes. All are arrays in the order of their fields, without references, since there are none between processes.
Boot: a map of key to immutable value, encoded bytes or list of encoded chunks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from routilux.blocks import BLOCK_BYTES, Block, Keys, Lineage
from routilux.ids import KEY_BYTES
from routilux.messages import Message, Once, StateOp, TurnFailure, TurnPart, TurnResult, TurnResults, parts_of
from routilux.moments import Moments, pack
from routilux.packed import Packed
from routilux.turn.state import IMMUTABLE_TYPES, RESERVED_PREFIX, STAT_PREFIX, Committed, to_stored
from routilux.turn.values import PICKLED, ValueCodec
from supervisors.errors import FrameError, ValueDecodingError
from supervisors.reasons import ErrorRecord
from supervisors.wire.frames import SMALL_BYTES
from supervisors.wire.outside import Leased, LeasedBody
from supervisors.wire.values import decode, encode_within

EXCEPTION_BYTES = 65_536
"""Size up to which an exception object is carried beside its text (arbitrary)."""

_T = TypeVar("_T")


class Codec(Protocol):
    """The form in which a service is spoken to."""

    @property
    def keeps_references(self) -> bool:
        """Whether emitted and gathered data may be handed over by reference, and everything is what it is."""

    @property
    def request_type(self) -> type[Message]:
        """What a process takes its requests as."""

    @property
    def batch_type(self) -> type:
        """What it takes many of them as."""

    def block(self, batch: Any) -> Block:
        """Read a block of messages."""

    def boot(self, boot: Any) -> Committed:
        """Read the committed state a worker starts with."""

    def part(self, part: TurnPart) -> Any:
        """Write a part of a running turn."""

    def result(self, result: TurnResult) -> Any:
        """Write a finished turn."""

    def changes(self, ops: list[StateOp]) -> tuple[Any, int]:
        """Write what one of many turns has changed; with its bytes, where they are to be sent."""

    def times(self, ats: list[float]) -> Any:
        """Write when turns ended."""

    def failure(self, record: ErrorRecord, error: BaseException, *, is_retryable: bool) -> Any:
        """Write how a turn failed."""


class LocalCodec:
    """For threads of this program: everything is what it is, but for the committed state.

    Commits are made when turns behind them have begun, or on another thread: so turns see the copy that their service
    keeps.
    """

    __slots__ = ()

    keeps_references = True
    request_type = Message
    batch_type = Block

    def block(self, batch: Block) -> Block:
        """The block."""
        return batch

    def boot(self, boot: Committed) -> Committed:
        """A copy of the ledger's dict."""
        return {key: list(value) if value.__class__ is list else value for key, value in boot.items()}

    def part(self, part: TurnPart) -> TurnPart:
        """The part."""
        return part

    def result(self, result: TurnResult) -> TurnResult:
        """The result."""
        return result

    def changes(self, ops: list[StateOp]) -> tuple[list[StateOp], int]:
        """The changes."""
        return ops, 0

    def times(self, ats: list[float]) -> list[float]:
        """The times."""
        return ats

    def failure(self, record: ErrorRecord, error: BaseException, *, is_retryable: bool) -> TurnFailure:
        """The failure, with the exception itself."""
        return TurnFailure(record, is_retryable, error)


class Delivered(Message, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A message as a process reads it; what `write_request` leaves out has come to nothing so far.

    Args:
        key: as bytes: it is asked for where a handler asks for its message's id, and nowhere else.
    """

    key: Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]  # type: ignore[assignment]
    payload: bytes
    failures: Annotated[int, msgspec.Meta(ge=0)] = 0
    released: Annotated[int, msgspec.Meta(ge=0)] = 0
    stepped: Annotated[int, msgspec.Meta(ge=0)] = 0
    parts: tuple[Delivered, ...] = ()

    @property
    def id(self) -> str:
        """Its id, as that of the message it was."""
        return self.key.hex()


class WireBlock(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A block of messages as it travels to a process.

    Args:
        edge: index of the connection in the compiled plan.
        seq: number on that connection of the first.
        payloads: their data.
        lineage: what their identities follow from.
    """

    edge: int
    seq: int
    payloads: Packed
    lineage: Lineage

    def __len__(self) -> int:
        return len(self.payloads)


WireEmission = tuple[Annotated[int, msgspec.Meta(ge=0)], None, bytes | None, tuple[str, ...]]
"""An `Emission` as a process may send it: without a reference."""


class WireOp(NamedTuple):
    """A `StateOp` as a process may send it; msgspec knows no union of text and bytes, see `check_ops`."""

    kind: Literal["set", "del", "append", "add"]
    key: str
    value: Any


class WireResult(TurnResult):
    """A `TurnResult` as it is read from a process; its changes of the state are still to be checked (`check_ops`)."""

    emissions: list[WireEmission]  # type: ignore[assignment]  # narrower
    state: list[WireOp]  # type: ignore[assignment]  # narrower


class WireResults(TurnResults, forbid_unknown_fields=True):
    """`TurnResults` as they are read from a process."""

    ats: bytes  # type: ignore[assignment]  # until it is read
    emissions: list[WireEmission]  # type: ignore[assignment]  # narrower
    ends: list[Annotated[int, msgspec.Meta(ge=0)]]
    payloads: Packed | None = None
    states: list[tuple[Annotated[int, msgspec.Meta(ge=0)], list[WireOp]]] = []  # type: ignore[assignment]  # noqa: RUF012  narrower; msgspec makes one each time

    def __post_init__(self) -> None:
        self.ats = ats = Moments(self.began_at, self.ats)  # type: ignore[assignment]
        ends = self.ends
        emitted = len(self.payloads or self.emissions)
        if emitted != len(ats) if not ends else not self._fit(ends, emitted):
            raise ValueError("columns that do not belong together")
        if self.payloads is not None and not self.payloads.is_sound:
            raise ValueError("data that does not end where it is said to")
        turns = [turn for turn, _ops in self.states]
        if turns and (turns != sorted(set(turns)) or turns[-1] >= len(ats)):
            raise ValueError("changes of turns that were not run")

    def _fit(self, ends: list[int], emitted: int) -> bool:
        return len(ends) == len(self.ats) and ends[-1] == emitted and ends == sorted(ends)


class WireCodec:
    """For a child process.

    Args:
        values: how values are encoded.
    """

    __slots__ = ("_values",)

    keeps_references = False
    request_type = Delivered
    batch_type = WireBlock

    def __init__(self, values: ValueCodec = PICKLED) -> None:
        self._values = values

    def boot(self, boot: bytes) -> Committed:
        """Read what `encode_boot` wrote.

        Raises:
            FrameError: it is something else.
        """
        return decode_boot(boot)

    def block(self, batch: Block | WireBlock) -> Block:
        """Read what `write_block` wrote; what is left of a block is one."""
        if isinstance(batch, Block):
            return batch
        count = len(batch)
        keys = Keys.descended(count, batch.lineage)
        return Block(batch.edge, batch.seq, batch.payloads, keys, 0.0, 0, count)

    def part(self, part: TurnPart) -> bytes:
        """Write a part for `decode_part`."""
        try:
            return _encoder.encode(part)
        except _NOT_NATIVE:
            ops = None if part.state is None else _carried(part.state, self._values)
            return _encoder.encode(TurnPart(part.emissions, ops, part.once, part.payloads))

    def result(self, result: TurnResult) -> TurnResult | msgspec.Raw:
        """Write a result, to be read as `WireResult`; one that is small, and sure to be encoded, stays what it is."""
        if not result.state:
            room = SMALL_BYTES
            for _event, _reference, encoded, keys in result.emissions:
                room -= _EMISSION_BYTES if encoded is None else _EMISSION_BYTES + len(encoded)
                if keys:
                    room -= sum([_KEY_BYTES + _CHARACTER_BYTES * len(key) for key in keys])
            if room >= 0:
                return result
        try:
            return msgspec.Raw(_encoder.encode(result))
        except _NOT_NATIVE:
            return msgspec.Raw(_encoder.encode(TurnResult(result.emissions, _carried(result.state, self._values))))

    def changes(self, ops: list[StateOp]) -> tuple[msgspec.Raw, int]:
        """Write changes, to be read as `WireOp`s."""
        try:
            encoded = _encoder.encode(ops)
        except _NOT_NATIVE:
            encoded = _encoder.encode(_carried(ops, self._values))
        return msgspec.Raw(encoded), len(encoded)

    def times(self, ats: list[float]) -> memoryview[float]:
        """Write times, to be read as `Moments`."""
        return pack(ats)

    def failure(self, record: ErrorRecord, error: BaseException, *, is_retryable: bool) -> bytes:
        """Write a failure for `decode_failure`; the exception is in it if it comes back from its bytes."""
        return _encoder.encode((record, is_retryable, _carry_exception(error)))


# The parent's side.


def write_request(message: Message, values: ValueCodec = PICKLED) -> Any:
    """Give what a process reads as `Delivered`: a tuple of what is there, or where it may be large, that encoded.

    Where payloads hold shared memory, that comes with what they hold, as a `LeasedBody`.

    Raises:
        ValueEncodingError: its payload was not encoded yet, and cannot be; its path starts with `payload`.
    """
    payload = message.payload
    if not message.parts and payload.__class__ is not Leased:
        if payload.__class__ is not bytes:
            payload = values.encode(payload, "payload")
        key = message.key.to_bytes(KEY_BYTES)
        is_plain = not (message.failures or message.redelivered or message.released or message.stepped or message.once)
        if is_plain and len(payload) <= _SMALL_PAYLOAD:
            # Nearly all messages: this is what each of them costs.
            return message.edge, message.seq, payload, key
    body = msgspec.Raw(_encoder.encode(_write_whole(message, values)))
    leases = [lease for part in parts_of(message) if part.payload.__class__ is Leased for lease in part.payload.leases]
    return LeasedBody(body, leases) if leases else body


def write_block(block: Block) -> WireBlock | None:
    """Give a block as it travels to a process; None where its messages have to go one by one."""
    start, stop, payloads = block.start, block.stop, block.payloads
    is_whole = stop - start == len(payloads)
    if isinstance(payloads, Packed):
        packed = payloads if is_whole else payloads.between(start, stop)
    else:
        encoded = payloads if is_whole else payloads[start:stop]
        if {*map(type, encoded)} != {bytes}:
            return None
        packed = Packed.of(encoded)  # type: ignore[arg-type]  # as was just seen
    if len(packed.data) > BLOCK_BYTES:
        return None
    lineage = block.keys.lineage(block.first_key + start, stop - start)
    return WireBlock(block.edge, block.seq + start, packed, lineage)


def _write_whole(message: Message, values: ValueCodec) -> tuple[Any, ...]:
    return (
        message.edge,
        message.seq,
        _NO_DATA if message.parts else _encode_payload(message, values),
        message.key.to_bytes(KEY_BYTES),
        0.0,
        message.failures,
        0,
        message.redelivered,
        message.released,
        message.stepped,
        message.once,
        [_write_whole(part, values) for part in message.parts],
    )


def _encode_payload(message: Message, values: ValueCodec) -> bytes:
    payload = message.payload
    if payload.__class__ is bytes:
        return payload
    # What holds shared memory is bytes to msgspec only if it is nothing else.
    return bytes(payload) if isinstance(payload, bytes) else values.encode(payload, "payload")


def encode_boot(committed: Committed, values: ValueCodec = PICKLED) -> bytes:
    """Write the committed state a worker starts with; only reads `committed`.

    Raises:
        ValueEncodingError: what is kept by reference cannot be carried.
    """
    boot = to_stored(committed, values)
    try:
        return _encoder.encode(boot)
    except _NOT_NATIVE:
        return _encoder.encode({key: _carry(key, value, values) for key, value in boot.items()})


def decode_boot(boot: bytes) -> Committed:
    """Read what `encode_boot` wrote, in a worker or from a checkpoint; no value of a user is decoded.

    Raises:
        FrameError: it is something else.
    """
    committed = _decode(_boot_decoder, boot, "a worker's state")
    for value in committed.values():
        if type(value) not in _FLAT_TYPES and (type(value) is not list or {*map(type, value)} - {bytes}):
            raise FrameError(f"{len(boot)} bytes are not a worker's state: a value is a {type(value).__name__}")
    return committed


def decode_part(body: bytes) -> TurnPart:
    """Read a part of a running turn.

    Raises:
        FrameError: the bytes are no part.
    """
    emissions, ops, once, payloads = _decode(_part_decoder, body, "a part")
    if once is not None and (emissions or ops is not None or payloads is not None):
        raise FrameError(f"{len(body)} bytes are not a part: what is recorded comes with nothing else")
    if payloads is not None and (emissions or not payloads.is_sound):
        raise FrameError(
            f"{len(body)} bytes are not a part: data that does not end where it is said to, or comes twice"
        )
    if ops is not None:
        check_ops(ops)
    return TurnPart(emissions, ops, once, payloads)  # type: ignore[arg-type]  # same fields, narrower types


def decode_failure(body: bytes) -> TurnFailure:
    """Read how a turn failed.

    Raises:
        FrameError: the bytes are no failure.
    """
    return TurnFailure(*_decode(_failure_decoder, body, "a failure"))


class _WirePart(NamedTuple):
    emissions: list[WireEmission]
    state: list[WireOp] | None
    once: Once | None
    payloads: Packed | None


class _WireFailure(NamedTuple):
    error: ErrorRecord
    is_retryable: bool
    exception: bytes | None


_NO_DATA = b""
"""Payload of a set: its parts have what it carries."""
_SMALL_PAYLOAD = SMALL_BYTES - 64
"""Bytes that leave room for the rest of a request."""
_EMISSION_BYTES = 16
"""What an emission takes besides its data and its keys, rounded up."""
_KEY_BYTES = 5
"""What a key takes besides its characters, at most."""
_CHARACTER_BYTES = 4
"""What one of these takes at most."""
_NOT_NATIVE = (OverflowError, UnicodeEncodeError)
"""What msgspec raises for integers beyond 64 bits and for text with lone surrogates."""

_FLAT_TYPES = IMMUTABLE_TYPES | {bytes}
"""Types of which a committed value may be."""
_NUMBERS = frozenset({int, float})
_OF_KIND = {"append": frozenset({bytes}), "add": _NUMBERS}
"""Types of which the value of an operation may be, where these are fewer."""

_encoder = msgspec.msgpack.Encoder()
_boot_decoder = msgspec.msgpack.Decoder(dict[str, Any])
_part_decoder = msgspec.msgpack.Decoder(_WirePart)
_failure_decoder = msgspec.msgpack.Decoder(_WireFailure)


def _decode(decoder: msgspec.msgpack.Decoder[_T], body: bytes, what: str) -> _T:
    try:
        return decoder.decode(body)
    # All of these were seen from msgspec on bytes that are no message.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError, MemoryError, TypeError) as error:
        raise FrameError(f"{len(body)} bytes are not {what}: {error}") from error


def check_ops(ops: Iterable[WireOp | StateOp]) -> None:
    """Hold that changes of the state can be committed.

    Raises:
        FrameError: the value of one is not such as a process sends.
    """
    for kind, key, value in ops:
        # What is added to has to be a number, and what is added.
        is_stat = key[:1] == RESERVED_PREFIX and key.startswith(STAT_PREFIX)
        expected = _OF_KIND.get(kind, _FLAT_TYPES) if not is_stat or kind == "del" else _NUMBERS
        if value.__class__ not in expected or (kind == "add") > is_stat:
            raise FrameError(f"this is no result: the value of {kind} {key!r} is a {type(value).__name__}")


def _carried(ops: list[StateOp], values: ValueCodec) -> list[StateOp]:
    return [StateOp(kind, key, _carry(key, value, values)) for kind, key, value in ops]


def _carry(key: str, value: Any, values: ValueCodec) -> Any:
    # An immutable value may always travel encoded: bytes in a committed state are decoded when read. But for a
    # number, which is added to, and always travels as it is.
    if key.startswith(STAT_PREFIX):
        return value
    return values.encode(value, f"state[{key!r}]") if value.__class__ in IMMUTABLE_TYPES else value


def _carry_exception(error: BaseException) -> bytes | None:
    encoded = encode_within(error, EXCEPTION_BYTES)
    if encoded is None:
        return None
    try:
        return encoded if type(decode(encoded)) is type(error) else None
    except ValueDecodingError:
        return None
