"""How messages and results look to a place: as they are on a thread, as bytes for a process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from routilux.messages import Emission, Message, TurnFailure, TurnPart, TurnResult
from routilux.turn.codec import decode_failure, decode_part, decode_result, encode_boot, encode_request
from routilux.turn.tables import Outgoing
from routilux.turn.values import PICKLED, ValueCodec
from supervisors.errors import FrameError
from supervisors.wire.outside import OUTSIDE, Leased


class Carrier(Protocol):
    """How messages and results look to a place; one for threads, one for processes."""

    @property
    def keeps_references(self) -> bool:
        """Whether everything is what it is, so that the carrier need not be asked."""

    def request(self, message: Message) -> Any:
        """The form in which a message is submitted."""

    def boot(self, committed: dict[str, Any]) -> Any:
        """The form in which a worker gets the committed state it starts with."""

    def result(self, body: Any, worker: int) -> TurnResult:
        """Read a finished turn of a worker."""

    def part(self, body: Any, worker: int) -> TurnPart:
        """Read a part of a running turn of a worker."""

    def failure(self, body: Any) -> TurnFailure:
        """Read how a turn failed."""


class LocalCarrier:
    """For the actor's own thread: nothing is copied."""

    keeps_references = True

    def request(self, message: Message) -> Message:
        """The message itself."""
        return message

    def boot(self, committed: dict[str, Any]) -> dict[str, Any]:
        """The ledger's own dict, which its commits change."""
        return committed

    def result(self, body: TurnResult, worker: int) -> TurnResult:
        """The result itself."""
        return body

    def part(self, body: TurnPart, worker: int) -> TurnPart:
        """The part itself."""
        return body

    def failure(self, body: TurnFailure) -> TurnFailure:
        """The failure itself."""
        return body


class WireCarrier:
    """For child processes: envelopes by msgspec, payloads as the bytes they are.

    Args:
        outgoing: the events of the routine, in the order of their indexes.
        values: how values are encoded.
        lease: gives what a worker has emitted with what holds the shared memory that it names; raises `FrameError` if
            the worker may not name that. None: nothing may.
    """

    keeps_references = False

    def __init__(
        self,
        outgoing: Iterable[Outgoing],
        values: ValueCodec = PICKLED,
        lease: Callable[[int, bytes], Leased] | None = None,
    ) -> None:
        self._values = values
        self._lease = lease
        # For each event, whether somebody receives it, so that its emissions must carry data.
        self._carried = tuple(event.by_reference or event.encoded for event in outgoing)

    def request(self, message: Message) -> bytes:
        """Wrap the payload, which its sender has encoded; the request holds what that holds."""
        request = encode_request(message, self._values)
        if message.parts:
            held = [part.payload for part in message.parts]
        elif message.payload.__class__ is bytes:
            return request
        else:
            held = [message.payload]
        leases = [lease for payload in held if isinstance(payload, Leased) for lease in payload.leases]
        return Leased.of(request, leases) if leases else request

    def boot(self, committed: dict[str, Any]) -> bytes:
        """Encode the committed state."""
        return encode_boot(committed, self._values)

    def result(self, body: bytes, worker: int) -> TurnResult:
        """Read the envelope; payloads and state stay encoded. Raises `FrameError` for what cannot be committed."""
        result = decode_result(body)
        self._check(result.emissions, worker)
        return result

    def part(self, body: bytes, worker: int) -> TurnPart:
        """Read the envelope; payloads and state stay encoded. Raises as `result`."""
        part = decode_part(body)
        self._check(part.emissions, worker)
        return part

    def failure(self, body: bytes) -> TurnFailure:
        """Read the envelope; the exception stays pickled."""
        return decode_failure(body)

    def _check(self, emissions: list[Emission], worker: int) -> None:
        carried = self._carried
        for emission in emissions:
            event, encoded = emission.event, emission.encoded
            if event >= len(carried) or (encoded is None and carried[event]):
                found = "without data" if event < len(carried) else f"of event {event} out of {len(carried)}"
                raise FrameError(f"expected emissions that can be handed on, got one {found}")
            if encoded is not None and encoded[:1] == OUTSIDE:
                if self._lease is None:
                    raise FrameError("expected no shared memory to be named, where there is none")
                emission.encoded = self._lease(worker, encoded)
