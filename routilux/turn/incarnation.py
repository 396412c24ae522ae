"""What one incarnation of a routine keeps from turn to turn: its ways in and out, its state, its outbox.

Owns these forms alone, which `service` fills in once and each turn reads. Never runs a turn.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from routilux.turn.calling import Call
from routilux.turn.codec import Codec
from routilux.turn.gather import Gather
from routilux.turn.outbox import Outbox
from routilux.turn.state import Committed, StateTurn
from routilux.turn.uniting import Uniting
from routilux.turn.values import Pickled, Shared, ValueCodec

Write = Callable[[Any, str], bytes | None]
"""Gives the bytes for a value, by its path, or None where it only holds that there could be some."""
Exit = tuple[int, bool, bool, Write | None, tuple[tuple[str, ...], ...], str]
"""One event: its index, whether data is kept by reference, whether views on the state are copied first, what
encodes or checks the data, None where it is handed on as it is, where its keys are (`Outgoing.keys`), and what the data
is called in an error."""


class AsyncRunner(Protocol):
    """Runs what async handlers give (`routilux.turn.blocking`)."""

    def steps_of(self, work: Any) -> Generator[Any, None, None]:
        """Give a coroutine, or an asynchronous generator, as a generator that stops where that yields."""

    def close(self) -> None:
        """Give back what it holds."""


@dataclass(frozen=True, slots=True)
class Route:
    """From one incoming connection to a handler, compiled.

    Args:
        slot: the slot's name, for errors.
        handler: what is called.
        bind: turns data into its arguments.
        call: calls the handler with data that is complete and needs nothing done to it; None: it is to be bound.
        names: what it finds there.
        gather: what the slot gathers with; None where it keeps nothing.
        mapping: pairs of (parameter that comes, parameter it becomes); none where several messages are handled in one.
        uniting: what makes one dict of several messages; None where each is handled by itself.
        is_async: whether the handler gives a coroutine or an asynchronous generator.
    """

    slot: str
    handler: Callable[..., Any]
    bind: Callable[[dict[str, Any]], tuple[Iterable[Any], Mapping[str, Any]]]
    call: Call | None
    names: frozenset[str]
    gather: Gather | None
    mapping: tuple[tuple[str, str], ...]
    uniting: Uniting | None = None
    is_async: bool = False

    def has_all(self, data: dict[str, Any]) -> bool:
        """Whether `call` finds all that it looks for: then a `KeyError` comes from the handler itself."""
        return self.names <= data.keys()


@dataclass(frozen=True, slots=True)
class Incarnation:
    """What one incarnation of a routine keeps from turn to turn.

    Args:
        routine: the routine object.
        routine_id: its id in the flow.
        job_id: the job's.
        codec: how requests and results look.
        values: how the values in them are encoded.
        is_local: whether they are what they are, so that the codec need not be asked.
        committed: the committed state.
        state: the turns' view on it.
        reserved: keys of it that are the runtime's, or will be.
        routes: by index of the incoming connection.
        events: by name, see `Exit`.
        outbox: the emissions of the present turn.
        loop: runs async handlers to their end; None where there are none, or where they share a loop.
        logbook: keeps the job's log; None where nothing does.
    """

    routine: object
    routine_id: str
    job_id: str
    codec: Codec
    values: ValueCodec
    is_local: bool
    committed: Committed
    state: StateTurn
    reserved: dict[str, None]
    routes: dict[int, Route]
    events: dict[str, Exit]
    outbox: Outbox
    loop: AsyncRunner | None = None
    logbook: object = None

    @property
    def is_uniform(self) -> bool:
        """Whether all that it may emit is of one event, and in one form for all who receive it."""
        return self.outbox.is_uniform

    @property
    def sent_event(self) -> tuple[str | None, str]:
        """The name, and the path, of its event where processes alone receive it; None where there is none such.

        Its data is MessagePack where it can be, without a question to the codec.
        """
        if not self.is_uniform or not isinstance(self.values, Shared | Pickled):
            return None, ""
        ((event, (_index, by_reference, _detaches, _write, _keyed, path)),) = self.events.items()
        return (None, "") if by_reference else (event, path)


def is_uniform(events: Mapping[str, Exit], values: ValueCodec) -> bool:
    """Tell whether all that may be emitted is of one event, and in one form for all who receive it."""
    if len(events) != 1:
        return False
    ((_index, by_reference, _detaches, write, keyed, _path),) = events.values()
    return not keyed and by_reference != (write == values.share)
