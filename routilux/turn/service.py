"""What runs the turns of one routine, on its actor's thread or inside a child process.

Owns the tables compiled for an incarnation and the turn in progress. Knows nothing of where it
runs: that is its codec's to say. Travels to a child process as its arguments, never as what it has booted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from routilux.errors import EntryError
from routilux.messages import Message, TurnResult
from routilux.model import state_policy
from routilux.model.function import FunctionRoutine
from routilux.model.merging import is_united
from routilux.turn.batch import BatchExecution
from routilux.turn.calling import call_by_position
from routilux.turn.codec import Codec
from routilux.turn.execution import TurnExecution
from routilux.turn.gather import Gather, make_gather, slot_key
from routilux.turn.incarnation import AsyncRunner, Exit, Incarnation, Route, Write, is_uniform
from routilux.turn.objects import InPlaceState, NoState, ObjectState, ValueState
from routilux.turn.outbox import Outbox
from routilux.turn.state import Committed, StateTurn, only_scalar
from routilux.turn.tables import Incoming, Outgoing, Receives, Runs
from routilux.turn.tracked import TrackedState, find_reserved
from routilux.turn.uniting import Uniting
from routilux.turn.values import PICKLED, ValueCodec, check_of
from supervisors.errors import InternalError
from supervisors.places.base import Port
from supervisors.reasons import Reason, record_error
from supervisors.tracebacks import traceback_of

_OWN_PACKAGES = frozenset({"routilux", "supervisors"})


class RoutineService:
    """A `Service` whose requests are the messages of one routine.

    Args:
        routine: the routine object; on a thread the very one that was added to the flow.
        routine_id: its id in the flow.
        incoming: slot and mapping, by index of the connection.
        outgoing: its events, in the order of their indexes.
        job_id: the job's.
        atomic: whether nothing is released before the commit (R3).
        retryable: classes of the exceptions that may be tried again.
        codec: how requests and results look.
        values: how the values in them are encoded; one that checks does so where they are not.
        clock: gives seconds on a clock that never goes back.
        logbook: keeps the job's log, in the program itself; None where nothing does.
    """

    _is_shared = False
    """Whether several turns may be in progress, each with a view on the state of its own."""
    _turns: TurnExecution
    """Runs the turns of an incarnation; there from its boot on."""
    _batches: BatchExecution
    """Runs those of many messages."""
    _execution: TurnExecution
    """The one of these that is in use."""

    def __init__(  # noqa: PLR0913  what a turn needs of a job, spelled out once
        self,
        routine: Runs,
        routine_id: str,
        incoming: dict[int, Incoming],
        outgoing: tuple[Outgoing, ...],
        *,
        job_id: str,
        atomic: bool,
        retryable: tuple[type[BaseException], ...],
        codec: Codec,
        values: ValueCodec = PICKLED,
        clock: Callable[[], float] = time.monotonic,
        logbook: object = None,
    ) -> None:
        self._routine = routine
        self._routine_id = routine_id
        self._incoming = incoming
        self._outgoing = outgoing
        self._job_id = job_id
        self._atomic = atomic
        self._retryable = retryable
        self._codec = codec
        self._values = values
        self._clock = clock
        self._logbook = logbook
        self._incarnation: Incarnation | None = None
        self._reserved: dict[str, None] = {}
        """Keys of the state that are not the user's; of each incarnation its own."""

    def __getstate__(self) -> dict[str, Any]:
        unbooted = {"_turns", "_batches", "_execution"}
        return {name: value for name, value in self.__dict__.items() if name not in unbooted} | {"_incarnation": None}

    @property
    def request_type(self) -> type:
        """What a process takes its requests as."""
        return self._codec.request_type

    @property
    def batch_type(self) -> type | None:
        """What it takes blocks of them as; None where it takes none."""
        return self._codec.batch_type

    @property
    def result_type(self) -> type[TurnResult]:
        """The class of results that a process sends as parts of frames."""
        return TurnResult

    def boot(self, number: int, boot: Any) -> None:
        """Compile the tables, anew and for this incarnation alone.

        A handler of an incarnation that was given up may still run on an abandoned thread: it shares
        nothing with this one but the routine object.

        Args:
            number: the worker's number.
            boot: the committed state, as the codec has it; on a thread the ledger's own dict, to be copied.
        """
        committed = self._codec.boot(boot)
        routes, gathers = self._compile_routes(committed)
        self._reserved = find_reserved(committed, *map(slot_key, gathers))
        keeps = self._codec.keeps_references
        events = {out.event: self._compile_exit(index, out) for index, out in enumerate(self._outgoing)}
        self._incarnation = Incarnation(
            routine=self._routine,
            routine_id=self._routine_id,
            job_id=self._job_id,
            codec=self._codec,
            values=self._values,
            is_local=keeps,
            committed=committed,
            state=self._open_state(committed, self._reserved),
            reserved=self._reserved,
            routes=routes,
            events=events,
            outbox=Outbox(
                self._clock,
                atomic=self._atomic,
                replays=isinstance(self._routine, FunctionRoutine) and not self._atomic,
                uniform=is_uniform(events, self._values),
            ),
            loop=None if keeps or not any(route.is_async for route in routes.values()) else _make_loop(),
            logbook=self._logbook,
        )
        self._execution = self._turns = TurnExecution(self._incarnation)
        self._batches = BatchExecution(self._incarnation)

    def begin(self, message: Message, port: Port) -> TurnExecution:
        """Take up a message.

        Raises:
            InternalError: it came before `boot`, or by a connection that does not end here.
            FrameError: it is no request.
        """
        incarnation = self._incarnation
        if incarnation is None:
            raise InternalError(f"routine {self._routine_id!r} was given a message before it was booted")
        route = incarnation.routes.get(message.edge)
        if route is None:
            raise InternalError(f"connection {message.edge} does not end at routine {self._routine_id!r}")
        execution = self._execution = self._turns
        execution.begin(route, message, port)
        return execution

    def begin_batch(self, batch: Any, port: Port, now: float) -> BatchExecution:
        """Take up a block of messages, as its codec has it; raises as `begin`."""
        block = self._codec.block(batch)
        incarnation = self._incarnation
        route = None if incarnation is None else incarnation.routes.get(block.edge)
        if incarnation is None or route is None:
            raise InternalError(f"routine {self._routine_id!r} was not booted, or has no connection {block.edge}")
        execution = self._execution = self._batches
        execution.begin_block(route, block, port, now)
        return execution

    def settle(self, *, accepted: bool) -> None:
        """The turn just run was committed (True), or left nothing behind (False)."""
        if not accepted:
            self._execution.discard()
        elif self._execution.touched:
            self._execution.settle()
        self._execution.let_go()

    def describe_failure(self, error: BaseException) -> Any:
        """Turn what a turn raised into a `TurnFailure`, as the codec has it.

        The traceback begins at the user's code where there is any. Whether the error may be tried again is
        asked of its class, which may raise: then there will be no other try, and the job ends.
        """
        # Not by assignment: that is a method of the error's class.
        BaseException.with_traceback(error, _skip_own_frames(traceback_of(error)))
        return self._codec.failure(record_error(error), error, is_retryable=_is_one_of(error, self._retryable))

    def close(self, reason: Reason) -> None:
        """Give back what it holds: what a turn was to leave behind was committed."""
        if self._incarnation is not None and self._incarnation.loop is not None:
            self._incarnation.loop.close()

    def _open_state(self, committed: Mapping[str, Any], reserved: dict[str, None]) -> StateTurn:
        state_type, values = self._routine.state_type, self._values
        match self._routine.state_policy:
            case state_policy.VALUE:
                return ValueState(committed, state_type, values, keeps_references=self._codec.keeps_references)
            case state_policy.IN_PLACE:
                return InPlaceState(committed, state_type, values)
            case state_policy.NONE:
                return NoState(committed, self._routine_id)
            case state_policy.EXTERNAL:
                return TrackedState(committed, reserved, values, only_scalar, is_shared=self._is_shared)
            case _ if state_type is None or state_type is dict:
                return TrackedState(committed, reserved, values, is_shared=self._is_shared)
            case _:
                return ObjectState(committed, state_type, values, is_shared=self._is_shared)

    def _compile_exit(self, index: int, out: Outgoing) -> Exit:
        keeps, values = self._codec.keeps_references, self._values
        check = check_of(values)
        by_reference = keeps and out.by_reference
        if out.encoded or (out.by_reference and not keeps):
            write: Write | None = values.share
        else:
            write = check if by_reference else None
        # Whoever checks knows nothing of views on a state.
        return index, by_reference, by_reference or check is not None, write, out.keys, f"emit({out.event!r})"

    def _compile_routes(self, committed: Committed) -> tuple[dict[int, Route], dict[str, Gather]]:
        routes: dict[int, Route] = {}
        gathers: dict[str, Gather] = {}
        for edge, way in self._incoming.items():
            try:
                slot = self._find_slot(way.slot)
            except EntryError:
                continue  # every routine has that connection, and those without an entry never get a message by it
            if slot.name not in gathers:
                gather = make_gather(
                    slot, committed, self._incoming, self._values, keeps_references=self._codec.keeps_references
                )
                if gather is not None:
                    gathers[slot.name] = gather
            gather = gathers.get(slot.name)
            uniting = None
            if is_united(slot.merge_strategy):
                uniting = Uniting(slot, self._incoming)
            mapping = () if uniting is not None else way.mapping
            names = None if gather is not None else slot.binding.positions_renamed(mapping)
            routes[edge] = Route(
                slot=slot.name,
                handler=slot.handler,
                bind=slot.binding.bind,
                call=None if names is None else call_by_position(slot.handler, names),
                names=frozenset(names or ()),
                gather=gather,
                mapping=mapping,
                uniting=uniting,
                is_async=slot.binding.is_async,
            )
        return routes, gathers

    def _find_slot(self, name: str) -> Receives:
        if not name:
            return self._routine.entry_slot()
        slot = self._routine.slots.get(name)
        if slot is None:
            raise InternalError(
                f"routine {self._routine_id!r} has no slot {name!r}; it has {list(self._routine.slots)}"
            )
        return slot


def _make_loop() -> AsyncRunner:
    from routilux.turn.blocking import BlockingLoop  # noqa: PLC0415  # a worker starts faster without

    return BlockingLoop()


def _is_one_of(error: BaseException, classes: tuple[type[BaseException], ...]) -> bool:
    # As an `except` clause decides, by real base classes: `isinstance` would run hooks of the classes, code of
    # the program in the middle of deciding what becomes of its failure.
    return any(base is wanted for base in type(error).__mro__ for wanted in classes)


def _skip_own_frames(trace: TracebackType | None) -> TracebackType | None:
    current = trace
    while current is not None:
        module = dict.get(current.tb_frame.f_globals, "__name__")
        if type(module) is not str or module.partition(".")[0] not in _OWN_PACKAGES:
            return current
        current = current.tb_next
    return trace
