"""How messages and results look to a place: as they are on a thread, as bytes for a process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from routilux.messages import Emission, KeyedEmission, Message, TurnFailure, TurnPart, TurnResult
from routilux.partitioning import is_key
from routilux.turn.codec import decode_failure, decode_part, decode_result, encode_boot, encode_request
from routilux.turn.tables import Outgoing
from routilux.turn.values import PICKLED, ValueCodec
from supervisors.errors import FrameError
from supervisors.text import cut


class Carrier(Protocol):
    """How messages and results look to a place; one for threads, one for processes."""

    @property
    def keeps_references(self) -> bool:
        """Whether everything is what it is, so that the carrier need not be asked."""

    def request(self, message: Message) -> Any:
        """The form in which a message is submitted."""

    def boot(self, committed: dict[str, Any]) -> Any:
        """The form in which a worker gets the committed state it starts with."""

    def result(self, body: Any) -> TurnResult:
        """Read a finished turn."""

    def part(self, body: Any) -> TurnPart:
        """Read a part of a running turn."""

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

    def result(self, body: TurnResult) -> TurnResult:
        """The result itself."""
        return body

    def part(self, body: TurnPart) -> TurnPart:
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
    """

    keeps_references = False

    def __init__(self, outgoing: Iterable[Outgoing], values: ValueCodec = PICKLED) -> None:
        self._values = values
        # For each event, whether somebody receives it, so that its emissions must carry data.
        events = tuple(outgoing)
        self._carried = tuple(event.by_reference or event.encoded for event in events)
        self._keys = tuple(event.keys for event in events)
        self._has_keys = any(self._keys)

    def request(self, message: Message) -> bytes:
        """Wrap the payload, which its sender has encoded."""
        return encode_request(message, self._values)

    def boot(self, committed: dict[str, Any]) -> bytes:
        """Encode the committed state."""
        return encode_boot(committed, self._values)

    def result(self, body: bytes) -> TurnResult:
        """Read the envelope; payloads and state stay encoded. Raises `FrameError` for what cannot be committed."""
        result = decode_result(body, keyed=self._has_keys)
        self._check(result.emissions)
        return result

    def part(self, body: bytes) -> TurnPart:
        """Read the envelope; payloads and state stay encoded. Raises as `result`."""
        part = decode_part(body, keyed=self._has_keys)
        self._check(part.emissions)
        return part

    def failure(self, body: bytes) -> TurnFailure:
        """Read the envelope; the exception stays pickled."""
        return decode_failure(body)

    def _check(self, emissions: list[Emission]) -> None:
        carried = self._carried
        for emission in emissions:
            event = emission.event
            if event >= len(carried) or (emission.encoded is None and carried[event]):
                found = "without data" if event < len(carried) else f"of event {event} out of {len(carried)}"
                raise FrameError(f"expected emissions that can be handed on, got one {found}")
        if self._has_keys:
            for emission in emissions:
                self._check_keys(emission)

    def _check_keys(self, emission: Emission) -> None:
        expected = self._keys[emission.event]
        found = emission.keys if isinstance(emission, KeyedEmission) else ()
        if len(found) != len(expected) or any(
            not is_key(key) if names else key for key, names in zip(found, expected, strict=True)
        ):
            raise FrameError(f"expected the keys of {len(expected)} connections, got {cut(repr(found), 100)}")
