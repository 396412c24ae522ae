"""One message being handled: the turn as its handler sees it, and as its worker runs it (R1, R3, R4).

Owns the way from a payload to a handler's arguments, the handler's run, and the gathering of all it
did into one commit. Never applies a commit where somebody else owns the committed state, never
decides what a failure means. A turn that ends badly leaves nothing behind, whatever ended it.

Theory of operation. `advance` makes the turn the thread's current one while the handler's own code
runs, and only then: emissions and state of a turn are reached through that cell alone, so a call
from another thread, after the end, or from a generator that is being thrown away finds no turn.
Committed values are encoded outside of it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from msgspec.structs import replace

from routilux.context import Scope, cell, scope
from routilux.errors import ResultError, SlotArgumentError, UnknownEventError
from routilux.messages import (
    Emission,
    Message,
    Once,
    Payload,
    StateOp,
    TurnPart,
    TurnResult,
    parts_of,
    to_emissions,
)
from routilux.packed import Packed
from routilux.partitioning import find_keys
from routilux.turn.gather import Gather
from routilux.turn.incarnation import Incarnation, Route
from routilux.turn.once import run_once
from routilux.turn.outbox import NOTHING
from routilux.turn.state import StateTurn, apply_ops
from routilux.turn.stats import StateAndStats, TurnStats
from routilux.turn.steps import Steps
from routilux.turn.tracked import with_copies_of_views
from routilux.turn.uniting import rename
from routilux.turn.values import ValueCodec
from supervisors.errors import ValueDecodingError
from supervisors.places.base import Port
from supervisors.tracebacks import forget_context
from supervisors.wire.values import PLAIN_TAG, encode_parameters


class TurnExecution:
    """One turn after the other: an `Execution` for the place that runs it, a `Turn` for the handler.

    Belongs to the thread that calls `advance`. It is taken up again for the next message (`begin`): an object for each
    would cost a tenth of a short turn.

    Args:
        incarnation: the routine that it runs turns of.
    """

    __slots__ = (
        "_broken",
        "_doing",
        "_events",
        "_incarnation",
        "_is_local",
        "_is_uniform",
        "_message",
        "_ops",
        "_outbox",
        "_port",
        "_route",
        "_sent_event",
        "_sent_path",
        "_state",
        "_steps",
        "result",
        "routine",
        "touched",
    )

    _route: Route
    _message: Message
    _port: Port
    _state: StateTurn | None
    """None until the handler asks for the state: most turns of most routines never do."""
    _steps: Steps | None
    _broken: BaseException | None
    _doing: set[str] | None
    _ops: list[StateOp]
    """Set when the turn is over, as what follows."""
    touched: bool
    """Whether the finished turn had to do with the state or with what its slot gathers."""
    result: Any
    """What the finished turn hands to its commit, as its codec has it."""

    def __init__(self, incarnation: Incarnation) -> None:
        self.routine = incarnation.routine
        """The routine object whose handler runs."""
        self._incarnation = incarnation
        self._events = incarnation.events
        self._outbox = incarnation.outbox
        self._is_local = incarnation.is_local
        self._is_uniform = incarnation.is_uniform
        self._sent_event, self._sent_path = incarnation.sent_event
        self.let_go()

    def begin(self, route: Route, message: Message, port: Port) -> None:
        """Take up a message.

        Args:
            route: the connection it came by.
            message: the message.
            port: takes the parts that go out before the end.
        """
        self._route = route
        self._message = message
        self._port = port
        self._state = self._steps = self._broken = self._doing = None
        if message.released or message.stepped:
            outbox = self._outbox
            outbox.begin(message.released + (message.stepped if outbox.replays else 0))

    # As the handler sees it (`routilux.context.Turn`).

    @property
    def routine_id(self) -> str:
        """Its id in the flow."""
        return self._incarnation.routine_id

    @property
    def job_id(self) -> str:
        """The id of the job that it is a turn of."""
        return self._incarnation.job_id

    @property
    def logbook(self) -> object:
        """What keeps the log of that job."""
        return self._incarnation.logbook

    @property
    def message_id(self) -> str:
        """The id of the message, the same each time it is run."""
        return self._message.id

    @property
    def attempt(self) -> int:
        """Which try of this message it is, from 1."""
        return self._message.failures + 1

    @property
    def redelivered(self) -> bool:
        """Whether this message may have been run before without its commit having arrived."""
        return self._message.redelivered

    @property
    def state(self) -> Any:
        """The declared state, as last committed plus what this turn did."""
        return self._open_state().value

    @property
    def stats(self) -> TurnStats:
        """The routine's numbers, as last committed plus what this turn did."""
        state = self._open_state()
        if not isinstance(state, StateAndStats):
            # In its place: a turn without numbers has nothing to look at, or to carry, for their sake.
            self._state = state = StateAndStats(state, self._incarnation.reserved)
        return state.stats

    def set_state(self, value: Any) -> None:
        """Replace the whole declared state.

        Raises:
            StateError: it is not of the declared kind.
        """
        self._open_state().replace(value)

    def once(self, key: str, fn: Callable[[], Any]) -> Any:
        """Give what `fn` gave for this message and key; it runs only if that was never recorded, see `Routine.once`."""
        return run_once(self, key, fn, ())

    def empty_memory(self, size: int) -> memoryview | None:
        """Give shared memory to be written; None where there is no room."""
        return self._incarnation.values.empty(size)

    # As `once` sees it (`routilux.turn.once.DoesOnce`).

    @property
    def awaits(self) -> bool:
        """Whether its handler is `async`."""
        return self._route.is_async

    @property
    def values(self) -> ValueCodec:
        """How values are encoded."""
        return self._incarnation.values

    @property
    def recorded(self) -> tuple[Once, ...]:
        """What was done once for its message."""
        return self._message.once

    @property
    def doing(self) -> set[str]:
        """Keys of what its tasks are doing once at this moment."""
        if self._doing is None:
            self._doing = set()
        return self._doing

    def check_wanted(self) -> None:
        """Raise what it was broken by, or `RequestAbandoned`, if it comes to nothing, and may have no more effects."""
        if self._broken is not None:
            raise self._broken  # swallowed before
        self._port.check()

    def record(self, once: Once) -> None:
        """Have it written down, and wait for that."""
        try:
            self._port.confirm(self._incarnation.codec.part(TurnPart([], None, once)))
        except BaseException as error:
            # Nobody knows whether it was recorded.
            self._broken = error
            raise
        self._message = replace(self._message, once=(*self._message.once, once))

    def emit(self, event: str, data: dict[str, Any]) -> None:
        """Hold one emission until the commit; releases what is held at the bounds of R3, and may wait there.

        Args:
            event: name of one of the routine's events.
            data: its parameters; kept, not copied, where a thread receives it. Of the state itself a copy goes
                out, also from within dicts, lists and tuples (`with_copies_of_views`).

        Raises:
            UnknownEventError: there is no such event.
            ValueEncodingError: a value cannot be carried, to a process or by a checkpoint of a job that keeps some; its
                path starts with `emit('event')`.
            PartitionKeyError: a receiver is partitioned by a parameter that is not there, or cannot be a key.
        """
        outbox = self._outbox
        if event == self._sent_event and not outbox.to_drop:
            # As below: nearly all data is plain, and a turn that emits much does little else.
            body = encode_parameters(data, self._sent_path)
            if body is not None:
                if outbox.add_plain(body):
                    self._release()
                return
        held, body = self._hold(event, data)
        # Only now: an emission that is refused has no position in its turn, whatever the handler makes of that.
        if outbox.to_drop and outbox.drop_next():
            if body is not None:
                self._incarnation.values.withdraw(body)
            return
        if body is not None and body[0] != PLAIN_TAG:
            outbox.is_all_plain = False
        if outbox.add(held, body):
            self._release()

    # As the worker runs it (`supervisors.places.base.Execution`).

    def advance(self) -> bool:
        """Run the handler to its end, or a generator to its next `yield`, which commits (R4)."""
        # One function and not four: what each turn passes is spelled out here.
        try:
            before = cell.turn
            cell.turn = self
            try:
                steps = self._steps
                if steps is None:
                    route, data = self._route, self._message.payload
                    if route.call is None or data.__class__ is not dict:
                        returned = self._call_handler()
                    else:
                        try:
                            returned = route.call(data)
                        except KeyError as missing:
                            if route.has_all(data):
                                raise
                            returned = self._call_after(missing)  # `bind` finds out which did not come
                    if returned is not None and isinstance(returned, RUNNABLE):
                        steps = self._steps = Steps(self._checked(returned))
                is_over = steps is None or self._advance_steps(steps)
            finally:
                cell.turn = before
            if self._broken is not None:
                # The handler swallowed it, but what it was to let out is gone.
                raise self._broken  # noqa: TRY301  a function for it would be one more call a turn
            if not is_over:
                self._commit_step()
            elif self._state is None and self._route.gather is None:
                self.touched = False
                result = TurnResult(self._take_emissions(), _NO_OPS)
                self.result = result if self._is_local else self._incarnation.codec.result(result)
            else:
                self._prepare_result()
        except BaseException:
            self.discard()
            raise
        return is_over

    def settle(self) -> None:
        """The result was committed; needed after a turn that `touched` something."""
        incarnation = self._incarnation
        apply_ops(incarnation.committed, self._ops)
        if self._state is not None:
            # What the turn touched is let go here and not by the next turn, which may be long in coming.
            self._state.begin()
        gather = self._route.gather
        if gather is not None:
            gather.accept()

    def let_go(self) -> None:
        """Keep nothing of a message that is done with: the next one may be long in coming."""
        self._message = _NO_MESSAGE
        self.result = self._state = self._steps = None
        self.touched = False

    def discard(self) -> None:
        """Leave nothing behind of what was not committed; nothing happens the second time."""
        if self._message is not _NO_MESSAGE:
            self._undo()

    def _undo(self) -> None:
        if self._steps is not None:
            self._steps.close()
        if self._state is not None:
            self._state.rollback()
        if self._route.gather is not None:
            self._route.gather.rollback()
        self._incarnation.outbox.begin(0)
        self._broken = None

    def _call_handler(self) -> Any:
        route = self._route
        encoded: bytes | None = None
        data: dict[str, Any]
        if route.uniting is None:
            payload: Any = self._message.payload
            encoded = None if type(payload) is dict else payload
            data = payload if encoded is None else self._decode(payload)
        else:
            # One that came before its slot had connections, from outside, is in no set.
            data = route.uniting.unite(parts_of(self._message), self._decode)
        if route.call is not None and route.has_all(data):
            return route.call(data)
        if encoded is None:
            # A copy: other receivers have the same dict, and so has the next try of this message.
            data = data.copy()
        if route.mapping:
            data = rename(data, route.mapping)
            encoded = None
        if route.gather is not None:
            merged = route.gather.merge(self._message.edge, data, encoded)
            if merged is None:
                return None
            data = merged
        try:
            args, kwargs = route.bind(data)
        except SlotArgumentError as error:
            raise error.located(slot=route.slot, routine_id=self.routine_id) from None
        return route.handler(*args, **kwargs)

    def _call_after(self, missing: KeyError) -> Any:
        """As `_call_handler`, where the short cut met an error, which is no part of what a handler raises."""
        try:
            return self._call_handler()
        except BaseException as error:
            forget_context(error, missing)
            raise

    def _decode(self, payload: Any) -> dict[str, Any]:
        try:
            data = self._incarnation.values.decode(payload) if isinstance(payload, bytes) else payload
        except ValueDecodingError as error:
            error.add_note(f"It is the payload of message {self.message_id} for {self._describe()}.")
            raise
        if not isinstance(data, dict):
            raise ValueDecodingError(
                f"the payload of message {self.message_id} for {self._describe()} is a dict of parameters, "
                f"got {type(data).__qualname__}"
            )
        return data

    def _checked(self, returned: Any) -> Generator[Any, Any, Any]:
        if isinstance(returned, GeneratorType):
            return returned
        loop = self._incarnation.loop
        if loop is not None and self._route.is_async:
            scope.set(Scope(None, self.routine))  # for threads that it hands work to
            return loop.steps_of(returned)
        if isinstance(returned, Coroutine):
            returned.close()
        raise ResultError(
            f"the handler of {self._describe()} gave a {type(returned).__name__}, and is no 'async def' by itself, so "
            "that nobody could know; write 'async def' around it"
        )

    def _advance_steps(self, steps: Steps) -> bool:
        is_over, yielded = steps.advance()
        self._check_yielded(yielded)
        return is_over

    def _check_yielded(self, yielded: Any) -> None:
        if yielded is not None:
            raise ResultError(
                f"the handler of {self._describe()} yields nothing where it commits, got "
                f"{type(yielded).__qualname__}; what is to go out is emitted"
            )

    def _open_state(self) -> StateTurn:
        state = self._state
        if state is None:
            state = self._state = self._incarnation.state
            state.begin()
        return state

    def _release(self) -> None:
        outbox = self._incarnation.outbox
        try:
            if outbox.is_atomic:
                self._port.check()
                return
            weight, is_all_plain = outbox.weight, outbox.is_all_plain
            self._port.part(self._write_part(outbox.release(), None, is_all_plain), weight)
            outbox.note_released()
        except BaseException as error:
            self._broken = error
            raise

    def _commit_step(self) -> None:
        incarnation = self._incarnation
        ops = [] if self._state is None else self._state.prepare()
        is_all_plain, held = self._outbox.is_all_plain, self._outbox.commit_step()
        self._port.stop_with(self._write_part(held, ops, is_all_plain), len(held) or 1)
        apply_ops(incarnation.committed, ops)
        if self._state is not None:
            self._state.accept()

    def _prepare_result(self) -> None:
        state, gather = self._state, self._route.gather
        self.touched = state is not None or gather is not None
        self._ops = ops = self._prepare_ops(state, gather) if self.touched else _NO_OPS
        result = TurnResult(self._take_emissions(), ops)
        self.result = result if self._is_local else self._incarnation.codec.result(result)

    def _hold(self, event: str, data: dict[str, Any]) -> tuple[Emission | Payload, bytes | None]:
        """Make of an emission what its outbox holds; gives that, and what is encoded of it. Raises as `emit`."""
        way_out = self._events.get(event)
        if way_out is None:
            raise UnknownEventError(event, self.routine_id, self._events)
        index, by_reference, detaches, write, keyed, path = way_out
        # What nobody keeps by reference is copied by its encoding; a turn that did not ask for its state has no view.
        if detaches and self._state is not None:
            data = with_copies_of_views(data)
        keys = find_keys(data, keyed, path) if keyed else ()
        body = None if write is None else write(data, path)
        if self._is_uniform:
            return data if by_reference or body is None else body, body
        return (index, data if by_reference else None, body, keys), body

    def _take_emissions(self) -> list[Emission]:
        held = self._outbox.commit()
        return to_emissions(held) if self._is_uniform else held

    def _write_part(self, held: list[Any], ops: list[StateOp] | None, is_all_plain: bool) -> Any:  # noqa: FBT001
        """Write a part that has what the outbox held, with changes of the state where it is a commit."""
        payloads: list[Payload] | Packed | None = None
        if held and self._is_uniform:
            if is_all_plain and held[0].__class__ is bytes:
                payloads = Packed.of(held, is_plain=True)
            elif self._is_local:
                payloads = held
            else:
                held = to_emissions(held)
        part = TurnPart(held, ops) if payloads is None else TurnPart(NOTHING, ops, None, payloads)
        return self._incarnation.codec.part(part)

    def _prepare_ops(self, state: StateTurn | None, gather: Gather | None) -> list[StateOp]:
        ops = [] if state is None else state.prepare()
        op = None if gather is None else gather.prepare()
        if op is not None:
            ops.append(op)
        return ops

    def _describe(self) -> str:
        return f"slot {self._route.slot!r} of routine {self.routine_id!r}"


_NO_MESSAGE = Message(-1, 0, {}, 0)
_NO_OPS: list[StateOp] = []
"""Of all turns that change no state; never changed itself."""
RUNNABLE = (GeneratorType, CoroutineType, AsyncGeneratorType)
"""What a handler may return that is still to be run."""
