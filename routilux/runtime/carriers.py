"""How messages and results look to a place: as they are on a thread, as bytes for a process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from routilux.messages import Message, TurnFailure, TurnPart
from routilux.partitioning import is_key
from routilux.turn.codec import check_ops, decode_failure, decode_part, encode_boot, write_request
from routilux.turn.tables import Outgoing
from routilux.turn.values import PICKLED, ValueCodec
from supervisors.errors import FrameError
from supervisors.places.base import Finished
from supervisors.text import cut


class Carrier(Protocol):
    """How messages and results look to a place; one for threads, one for processes."""

    @property
    def keeps_references(self) -> bool:
        """Whether everything is what it is, so that the carrier need not be asked."""

    def requests(self, taken: list[tuple[int, Message]]) -> list[tuple[int, Any]]:
        """The form in which messages are submitted, by their delivery numbers."""

    def boot(self, committed: dict[str, Any]) -> Any:
        """The form in which a worker gets the committed state it starts with."""

    def check(self, finished: Iterable[Finished]) -> None:
        """Hold that finished turns can be committed.

        Raises:
            FrameError: one cannot; none is to be.
        """

    def part(self, body: Any) -> TurnPart:
        """Read a part of a running turn."""

    def failure(self, body: Any) -> TurnFailure:
        """Read how a turn failed."""


class LocalCarrier:
    """For the actor's own thread: nothing is copied."""

    keeps_references = True

    def requests(self, taken: list[tuple[int, Message]]) -> list[tuple[int, Any]]:
        """The messages themselves."""
        return taken

    def boot(self, committed: dict[str, Any]) -> dict[str, Any]:
        """The ledger's own dict, which its commits change."""
        return committed

    def check(self, finished: Iterable[Finished]) -> None:
        """Do nothing: whoever has made them is in this program."""

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

    def requests(self, taken: Iterable[tuple[int, Message]]) -> list[tuple[int, Any]]:
        """Wrap the payloads, which their senders have encoded."""
        values = self._values
        return [(delivery, write_request(message, values)) for delivery, message in taken]

    def boot(self, committed: dict[str, Any]) -> bytes:
        """Encode the committed state."""
        return encode_boot(committed, self._values)

    def check(self, finished: Iterable[Finished]) -> None:
        """Hold that finished turns can be committed; payloads and state stay encoded."""
        carried, count, has_keys = self._carried, len(self._carried), self._has_keys
        for _seq, result, _seconds, _at in finished:
            for event, _reference, encoded, keys in result.emissions:
                if event >= count or (encoded is None and carried[event]):
                    raise FrameError(self._describe(event))
                if keys or has_keys:
                    self._check_keys(event, keys)
            if result.state:
                check_ops(result.state)

    def part(self, body: bytes) -> TurnPart:
        """Read the envelope; payloads and state stay encoded. Raises as `check`."""
        part = decode_part(body)
        for event, _reference, encoded, keys in part.emissions:
            if event >= len(self._carried) or (encoded is None and self._carried[event]):
                raise FrameError(self._describe(event))
            self._check_keys(event, keys)
        return part

    def failure(self, body: bytes) -> TurnFailure:
        """Read the envelope; the exception stays pickled."""
        return decode_failure(body)

    def _check_keys(self, event: int, keys: tuple[str, ...]) -> None:
        expected = self._keys[event]
        if len(keys) != len(expected) or any(
            not is_key(key) if names else key for key, names in zip(keys, expected, strict=True)
        ):
            raise FrameError(f"expected the keys of {len(expected)} connections, got {cut(repr(keys), 100)}")

    def _describe(self, event: int) -> str:
        count = len(self._carried)
        found = "without data" if event < count else f"of event {event} out of {count}"
        return f"expected emissions that can be handed on, got one {found}"
