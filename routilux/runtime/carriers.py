"""How messages and results look to a place: as they are on a thread, as bytes for a process."""

from __future__ import annotations

from typing import Any

from routilux.messages import Message, TurnFailure, TurnPart, TurnResult
from routilux.turn.codec import decode_failure, decode_part, decode_result, encode_boot, encode_request


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
    """For child processes: envelopes by msgspec, payloads as the bytes they are."""

    keeps_references = False

    def request(self, message: Message) -> bytes:
        """Wrap the payload, which its sender has encoded."""
        return encode_request(message)

    def boot(self, committed: dict[str, Any]) -> bytes:
        """Encode the committed state."""
        return encode_boot(committed)

    def result(self, body: bytes) -> TurnResult:
        """Read the envelope; payloads and state stay encoded."""
        return decode_result(body)

    def part(self, body: bytes) -> TurnPart:
        """Read the envelope; payloads and state stay encoded."""
        return decode_part(body)

    def failure(self, body: bytes) -> TurnFailure:
        """Read the envelope; the exception stays pickled."""
        return decode_failure(body)
