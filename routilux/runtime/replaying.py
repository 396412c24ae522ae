"""One recorded message once more, on the calling thread: what its handler does with it, and nothing of it is kept.

Owns how a message of a checkpoint is found, and the turn that is run for it: by the service that runs it in a job, with
the routine's committed state, but for a port behind which nobody is. Never commits, and changes no store.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from routilux.books import AccountBooks
from routilux.context import cell
from routilux.jobs.adoption import Adoption
from routilux.jobs.imaging import Clocks, read_books
from routilux.jobs.journal import read_journals
from routilux.messages import Emission, Message, Once, StateOp, TurnFailure, TurnPart, add_once, parts_of
from routilux.model.graph import FlowGraph
from routilux.routing import Plan, RoutinePlan, compile_plan
from routilux.runtime.placing import service_of
from routilux.serial.carried import Carried
from routilux.stores.base import Store
from routilux.turn.codec import Delivered, LocalCodec
from routilux.turn.execution import TurnExecution
from routilux.turn.keyed import KeyedRequest, KeyedService
from routilux.turn.service import RoutineService
from routilux.turn.state import Committed, apply_ops, begin_states
from supervisors.reasons import Normal

Step = Callable[[], bool]
Drive = Callable[[Step], None]
"""Calls a step until it gives True; whoever wants to see the handler run does it under a debugger."""


Look = Callable[[BaseException], None]


class Recorded(NamedTuple):
    """A message that is to be run, with all that it takes.

    Args:
        routine: whose it is.
        message: the message, or the set of which it is.
        committed: the states of that routine as they were kept, one a worker.
        codec: of the values.
        job_id: the job's.
    """

    routine: RoutinePlan
    message: Message
    committed: tuple[Committed, ...]
    codec: Carried
    job_id: str

    @property
    def slot(self) -> str:
        """The slot that it is for; empty for the routine's entry."""
        return self.routine.incoming[self.message.edge].slot

    @property
    def handler(self) -> Callable[..., Any]:
        """What is called with it."""
        slots = self.routine.routine.slots
        handler: Callable[..., Any] = (slots[self.slot] if self.slot else self.routine.routine.entry_slot()).handler
        return handler

    def data(self) -> list[dict[str, Any]]:
        """Give what it carries, by parameter name, as it was emitted; of a set one for each message in it.

        Raises:
            ValueReadingError, ValueDecodingError: it cannot be read here.
        """
        return [self.codec.decode(part.payload) for part in parts_of(self.message)]  # type: ignore[arg-type]  # of a checkpoint


class Replayed(NamedTuple):
    """What a turn did.

    Args:
        emissions: event and data, in order.
        ops: changes of the state, in order.
        committed: the state after them.
        failure: what its handler raised; None if it returned.
        error: that itself.
        seconds: how long it took.
    """

    emissions: list[tuple[str, dict[str, Any]]]
    ops: list[StateOp]
    committed: Committed
    failure: TurnFailure | None
    error: BaseException | None
    seconds: float


def find_recorded(
    graph: FlowGraph, adoption: Adoption, store: Store, message_id: str, codec: Carried, key: bytes | None
) -> Recorded | None:
    """Find a message of a checkpoint; None where it waits for others, without which its handler is not called.

    Args:
        graph: the flow.
        adoption: the job as the flow takes it.
        store: where it is kept.
        message_id: the whole id: the message's, or that of a set.
        codec: of the values.
        key: what it is sealed with.

    Raises:
        KeptError: what was done once for it cannot be read.
        ValueReadingError, ValueDecodingError: a state that is held as an object cannot be read.
    """
    image = adoption.image
    job_id = image.header.job_id
    plan: Plan = compile_plan(graph, adoption.labels, [edge.born for edge in image.topology.edges])
    books = read_books(image, plan, Clocks(time.monotonic(), time.time() - time.monotonic()), codec)
    memos = read_journals(store, job_id, image.job.once, seal_key=key)
    for routine, account in zip(plan.routines, books.accounts, strict=True):
        for message in _messages(account):
            if message_id in {message.id, *(part.id for part in message.parts)}:
                done = add_once(message.once, memos.get(message.key, ()))
                begun = begin_states(routine.options, routine.routine, codec)
                states = tuple(state if state is not None else begun[0] for state in account.committed)
                return Recorded(routine, _with_once(message, done), states, codec, job_id)
    return None


def replay(recorded: Recorded, worker: int, drive: Drive, look: Look | None = None) -> Replayed:
    """Run the message, with the state of a worker; whatever its handler raises is in what is given back.

    Args:
        recorded: the message.
        worker: whose state it is run with; of a routine that is partitioned there is one for all.
        drive: carries the turn out.
        look: called with what the handler raised, while the state is still that of the turn; None: nobody wants to.

    Raises:
        KeyboardInterrupt: Ctrl-C, in the handler too.
    """
    routine, message = recorded.routine, recorded.message
    committed = recorded.committed[worker]
    is_keyed = routine.options.partition_by is not None
    service: RoutineService = service_of(
        KeyedService if is_keyed else RoutineService,
        _with_all_data(routine),
        recorded.job_id,
        recorded.codec,
        LocalCodec() if not routine.runs_apart and not routine.is_async else _ApartCodec(),
    )
    port = _Nobody()
    began_at = time.monotonic()
    failure = error = None
    ops: list[StateOp] = []
    emitted: list[Emission] = []
    try:
        service.boot(worker, committed)
        request: Any = message
        if is_keyed:
            state = committed.get(message.partition)
            request = KeyedRequest(message.partition, brings_state=True, state=state, forgets=(), message=message)  # type: ignore[arg-type]  # of the same shape
        execution = service.begin(request, port)
        with _looking(execution, look):
            drive(execution.advance)
        emitted, ops = execution.result.emissions, execution.result.state
    except KeyboardInterrupt:
        raise
    except BaseException as raised:  # noqa: BLE001  it is what was to be seen
        error, failure = raised, service.describe_failure(raised)
    finally:
        service.close(Normal())
    seconds = time.monotonic() - began_at
    emissions = [emission for part in port.parts for emission in part.to_emissions()] + emitted
    ops = [op for part in port.parts for op in part.state or ()] + ops
    after = LocalCodec().boot(committed)
    apply_ops(after, ops)
    return Replayed(_read(emissions, recorded), ops, after, failure, error, seconds)


@contextlib.contextmanager
def _looking(turn: TurnExecution, look: Look | None) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if look is not None:
            before, cell.turn = cell.turn, turn
            try:
                look(error)
            finally:
                cell.turn = before
        raise


class _ApartCodec(LocalCodec):
    """As what runs in a process sees its messages and its state: nothing by reference."""

    __slots__ = ()

    keeps_references = False
    request_type = Delivered  # type: ignore[assignment]  # of the same shape


class _Nobody:
    """A port whose parts are kept to be looked at; everything is granted at once."""

    def __init__(self) -> None:
        self.parts: list[TurnPart] = []

    def part(self, body: TurnPart, weight: int) -> None:
        self.parts.append(body)

    def confirm(self, body: TurnPart) -> None:
        self.parts.append(body)

    def check(self) -> None:
        """It is always wanted."""

    def stop_with(self, body: TurnPart, weight: int) -> None:
        self.parts.append(body)


def _messages(account: AccountBooks) -> Iterator[Message]:
    """Give all that a routine holds and could be handled, sets as such."""
    for held in (account.in_hand, account.waiting, *(wait.messages for wait in account.retries)):
        yield from (entry for entry in held if isinstance(entry, Message))
    for letter in account.letters:
        yield letter.given_up_with or letter.message


def _with_once(message: Message, done: tuple[Once, ...]) -> Message:
    return message if done == message.once else msgspec.structs.replace(message, once=done)


def _with_all_data(routine: RoutinePlan) -> RoutinePlan:
    """Have the data of events too to which nobody listens: here somebody does."""
    return dataclasses.replace(routine, outgoing=tuple(out._replace(by_reference=True) for out in routine.outgoing))


def _read(emissions: list[Emission], recorded: Recorded) -> list[tuple[str, dict[str, Any]]]:
    events, codec = recorded.routine.events, recorded.codec
    return [
        (events[event], codec.decode(encoded) if encoded is not None else reference or {})
        for event, reference, encoded, _keys in emissions
    ]
