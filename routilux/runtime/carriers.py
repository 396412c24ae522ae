"""How messages and results look to a place: as they are on a thread, as bytes for a process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from operator import is_
from typing import Any, Protocol

import msgspec

from routilux.blocks import Block
from routilux.messages import Emission, Message, TurnFailure, TurnPart, TurnResults
from routilux.moments import Moments
from routilux.packed import Packed
from routilux.partitioning import is_key
from routilux.turn.codec import (
    WireBlock,
    check_ops,
    decode_failure,
    decode_part,
    encode_boot,
    write_block,
    write_request,
)
from routilux.turn.tables import Outgoing
from routilux.turn.values import PICKLED, ValueCodec, to_kept
from supervisors.errors import FrameError, ValueDecodingError
from supervisors.places.base import Finished
from supervisors.text import cut
from supervisors.wire.outside import OUTSIDE_TAG, Leased


class Carrier(Protocol):
    """How messages and results look to a place; one for threads, one for processes."""

    @property
    def keeps_references(self) -> bool:
        """Whether everything is what it is, so that the carrier need not be asked."""

    def requests(self, taken: list[tuple[int, Message]]) -> list[tuple[int, Any]]:
        """The form in which messages are submitted, by their delivery numbers."""

    def batch(self, block: Block) -> Sized | None:
        """The form in which a block of messages is submitted; None: they are to be submitted one by one."""

    def boot(self, committed: dict[str, Any]) -> Any:
        """The form in which a worker gets the committed state it starts with."""

    def check(self, finished: Iterable[Finished], worker: int) -> None:
        """Hold that finished turns of a worker can be committed.

        Raises:
            FrameError: one cannot; none is to be.
        """

    def part(self, body: Any, worker: int) -> TurnPart:
        """Read a part of a running turn of a worker."""

    def is_record(self, body: Any) -> bool:
        """Whether a part of a running turn is there to be written down, and nothing else."""

    def failure(self, body: Any) -> TurnFailure:
        """Read how a turn failed."""


class LocalCarrier:
    """For the actor's own thread: nothing is copied."""

    keeps_references = True

    def requests(self, taken: list[tuple[int, Message]]) -> list[tuple[int, Any]]:
        """The messages themselves."""
        return taken

    def batch(self, block: Block) -> Block:
        """The block itself."""
        return block

    def boot(self, committed: dict[str, Any]) -> dict[str, Any]:
        """The ledger's own dict, which whoever is given it copies."""
        return committed

    def check(self, finished: Iterable[Finished], worker: int) -> None:
        """Do nothing: whoever has made them is in this program."""

    def part(self, body: TurnPart, worker: int) -> TurnPart:
        """The part itself."""
        return body

    def is_record(self, body: TurnPart) -> bool:
        """As the part says."""
        return body.once is not None

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
        events = tuple(outgoing)
        self._carried = tuple(event.by_reference or event.encoded for event in events)
        self._keys = tuple(event.keys for event in events)
        self._has_keys = any(self._keys)

    def requests(self, taken: Iterable[tuple[int, Message]]) -> list[tuple[int, Any]]:
        """Wrap the payloads, which their senders have encoded; a request holds what they hold."""
        values = self._values
        return [
            (delivery, write_request(message if _is_plain(message) else self._fit(message), values))
            for delivery, message in taken
        ]

    def _fit(self, message: Message) -> Message:
        """Give a message with such memory as its receiver can be given."""
        if message.parts:
            parts = tuple(map(self._fit, message.parts))
            return message if all(map(is_, parts, message.parts)) else msgspec.structs.replace(message, parts=parts)
        if not isinstance(message.payload, Leased):
            return message
        payload = self._fit_payload(message.payload)
        return message if payload is message.payload else msgspec.structs.replace(message, payload=payload)

    def _fit_payload(self, payload: Leased) -> bytes:
        """Give a payload with memory of this machine, to which it may have to be fetched; or with its buffers."""
        if all(lease.is_here for lease in payload.leases):
            return payload
        if payload.moved is not None:
            return payload.moved
        try:
            housed = self._values.house(to_kept(payload))
        except ValueDecodingError:
            return payload  # it is lost, which is told where it is wanted: by the turn
        # The message keeps it, for as long as it is in hand; all who receive it are given the same.
        return payload.move(housed) if isinstance(housed, Leased) else housed

    def batch(self, block: Block) -> WireBlock | None:
        """Wrap the payloads together."""
        return write_block(block)

    def boot(self, committed: dict[str, Any]) -> bytes:
        """Encode the committed state."""
        return encode_boot(committed, self._values)

    def check(self, finished: Iterable[Finished], worker: int) -> None:
        """Hold that finished turns can be committed; payloads and state stay encoded."""
        naming: list[list[Emission]] = []
        for _seq, result, _seconds, at in finished:
            if isinstance(result, TurnResults):
                # The history has these times, and the messages that were emitted: paces count from there.
                if not at - _SECONDS_LIMIT < result.began_at <= result.ats[-1] <= at:
                    raise FrameError(f"expected turns that have ended by {at}, got some from {result.began_at} on")
                if isinstance(result.payloads, Packed):
                    self._check_payloads(result.payloads)
                for _turn, ops in result.states:
                    check_ops(ops)
            elif result.state:
                check_ops(result.state)
            self._check_emissions(result.emissions, naming)
        for emissions in naming:
            self._lease_named(emissions, worker)

    def _check_emissions(self, emissions: list[Emission], naming: list[list[Emission]]) -> None:
        carried, count, has_keys = self._carried, len(self._carried), self._has_keys
        for event, _reference, encoded, keys in emissions:
            if event >= count or (encoded is None and carried[event]):
                raise FrameError(self._describe(event))
            if keys or has_keys:
                self._check_keys(event, keys)
            if encoded and encoded[0] == OUTSIDE_TAG:
                naming.append(emissions)

    def _check_payloads(self, payloads: Packed) -> None:
        """Hold that these are the data of the only event, and that none names shared memory: such comes by itself."""
        if len(self._carried) != 1 or self._has_keys:
            raise FrameError("expected emissions, got data of an event that is not told")
        if not payloads.is_plain and OUTSIDE_TAG in payloads.tags():
            raise FrameError("expected data in its place, got such as names shared memory")

    def part(self, body: bytes, worker: int) -> TurnPart:
        """Read the envelope; payloads and state stay encoded. Raises as `check`."""
        part = decode_part(body)
        for event, _reference, encoded, keys in part.emissions:
            if event >= len(self._carried) or (encoded is None and self._carried[event]):
                raise FrameError(self._describe(event))
            self._check_keys(event, keys)
        if isinstance(part.payloads, Packed):
            self._check_payloads(part.payloads)
        self._lease_named(part.emissions, worker)
        return part

    def is_record(self, body: bytes) -> bool:
        """As its envelope says. Raises as `check`."""
        return decode_part(body).once is not None

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

    def _lease_named(self, emissions: list[Emission], worker: int) -> None:
        """Put, in the place of what names shared memory, the same with what holds that; more than once does no harm."""
        for at, (event, reference, encoded, keys) in enumerate(emissions):
            if encoded and encoded[0] == OUTSIDE_TAG and encoded.__class__ is bytes:
                if self._lease is None:
                    raise FrameError("expected no shared memory to be named, where there is none")
                emissions[at] = event, reference, self._lease(worker, encoded), keys


class RemoteCarrier(WireCarrier):
    """For workers on other machines, which share no memory with the program: large buffers are in the cluster's store.

    Args:
        outgoing: as of `WireCarrier`.
        values: likewise.
        lease: likewise.
        export: gives a payload that holds memory of this machine as one that holds an object put for it; None where it
            is too small for that.
    """

    def __init__(
        self,
        outgoing: Iterable[Outgoing],
        values: ValueCodec,
        lease: Callable[[int, bytes], Leased],
        export: Callable[[Leased], Leased | None],
    ) -> None:
        super().__init__(outgoing, values, lease)
        self._export = export

    def check(self, finished: Iterable[Finished], worker: int) -> None:
        """As of `WireCarrier`; times that are ahead of the program's clock are moved back.

        The clock that a remote worker keeps of this one's is heard by calls: it is a little behind, and ahead where
        its own has gained on this one, or this machine was suspended.
        """
        finished = tuple(finished)
        for _seq, result, _seconds, at in finished:
            if isinstance(result, TurnResults) and isinstance(result.ats, Moments):
                ahead = result.ats[-1] - at
                if 0.0 < ahead < _SECONDS_LIMIT:
                    result.ats = result.ats.ending(at)
                    result.began_at = result.ats.began_at
        super().check(finished, worker)

    def _fit_payload(self, payload: Leased) -> bytes:
        """Give a payload with an object where it had memory of this machine; or with its buffers."""
        if not any(lease.is_here for lease in payload.leases):
            return payload
        if payload.moved is not None:
            return payload.moved
        try:
            exported = self._export(payload)
        except OSError:  # there is no room in the store
            exported = None
        return to_kept(payload) if exported is None else payload.move(exported)


def _is_plain(message: Message) -> bool:
    return message.payload.__class__ is not Leased and not message.parts


_SECONDS_LIMIT = 1e9
"""Seconds that no turn takes (arbitrary: 30 years)."""
