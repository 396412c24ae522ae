"""A worker in a few lines: runs messages through a service, and keeps the ledger's books for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from routilux.messages import Emission, Message, TurnFailure, TurnPart, TurnResult
from routilux.model.routine import Routine
from routilux.turn.codec import LocalCodec, WireCodec, decode_failure, decode_part, encode_boot
from routilux.turn.execution import TurnExecution
from routilux.turn.service import RoutineService
from routilux.turn.state import apply_ops, begin_state, decode_state
from routilux.turn.tables import Incoming, Outgoing
from routilux.turn.values import PICKLED, ValueCodec
from tests.turn.wires import send_request, send_result


class Worker:
    """Hands messages to a service, as a place does, and applies what comes back, as the ledger does.

    Args:
        routine: what runs; a process gets its own copy.
        is_local: on a thread, or as in a process.
        incoming: connections; None for one, numbered 0, to the slot `in`.
        outgoing: in which form each event is wanted; None: as befits the place.
        values: how values are encoded.
    """

    def __init__(
        self,
        routine: Routine,
        *,
        is_local: bool = True,
        incoming: dict[int, Incoming] | None = None,
        outgoing: tuple[Outgoing, ...] | None = None,
        atomic: bool = False,
        retryable: tuple[type[BaseException], ...] = (Exception,),
        clock: Callable[[], float] = lambda: 0.0,
        values: ValueCodec = PICKLED,
    ) -> None:
        self.values = values
        self.is_local = is_local
        self.routine = routine
        self.service = RoutineService(
            routine,
            "r",
            incoming or {0: Incoming("in", ())},
            outgoing or tuple(Outgoing(event, by_reference=is_local, encoded=not is_local) for event in routine.events),
            job_id="j",
            atomic=atomic,
            retryable=retryable,
            codec=LocalCodec() if is_local else WireCodec(values),
            values=values,
            clock=clock,
        )
        self.committed = begin_state(routine, values, by_reference=is_local)
        self.parts: list[TurnPart] = []
        self.out: list[Emission] = []
        self.seq = 0
        self.message: Message | None = None
        self.execution: TurnExecution | None = None
        self.refuses: BaseException | None = None
        self.refuses_after: BaseException | None = None
        self.was_given_up: BaseException | None = None
        self.boot()

    def boot(self) -> None:
        """Start an incarnation with what is committed."""
        self.service.boot(0, self.committed if self.is_local else encode_boot(self.committed, self.values))

    @property
    def state(self) -> Any:
        """The committed state, as a reader sees it."""
        routine = self.routine
        return decode_state(
            self.committed, routine.state_type, policy=routine.state_policy, codec=self.values, at_rest=True
        )

    @property
    def emitted(self) -> list[tuple[int, Any]]:
        """All that went out: (event, data)."""
        return [(emission[0], read(emission, self.values)) for emission in self.out]

    def begin(self, *, edge: int = 0, **data: Any) -> TurnExecution:
        """Take up a new message."""
        self.seq += 1
        self.message = Message(edge, self.seq, data if self.is_local else self.values.encode(data, "data"), self.seq)
        return self.begin_again()

    def begin_again(self) -> TurnExecution:
        """Take up the last message, once more."""
        assert self.message is not None
        request = self.message if self.is_local else send_request(self.message, self.values)
        self.execution = self.service.begin(request, self)
        return self.execution

    def run(self, *, edge: int = 0, **data: Any) -> None:
        """Run a new message to its commit; raises what its turn raises, as `finish`."""
        self.begin(edge=edge, **data)
        self.finish()

    def finish(self) -> None:
        """Run the turn in progress to its commit."""
        assert self.execution is not None
        try:
            while not self.execution.advance():
                pass
        except BaseException:
            self.service.settle(accepted=False)
            raise
        body = self.execution.result
        result: TurnResult = body if self.is_local else send_result(body)
        self.out += result.emissions
        apply_ops(self.committed, result.state)
        self.service.settle(accepted=True)

    def describe(self, error: BaseException) -> TurnFailure:
        """Describe a failure, and read it again."""
        body = self.service.describe_failure(error)
        return body if self.is_local else decode_failure(body)

    def part(self, body: Any, weight: int) -> None:
        """Take a part (`Port`), unless the worker `refuses` it."""
        if self.refuses is not None:
            raise self.refuses
        assert self.message is not None
        part = body if self.is_local else decode_part(body)
        assert weight == max(1, len(part))
        self.parts.append(part)
        self.out += part.to_emissions()
        if part.state is None:
            self.message = replace(self.message, released=self.message.released + len(part))
        else:
            apply_ops(self.committed, part.state)
            self.message = replace(self.message, released=0)

    def confirm(self, body: Any) -> None:
        """Record what a turn did once (`Port`), unless the worker `refuses`; it may also refuse right after that."""
        if self.refuses is not None:
            raise self.refuses
        assert self.message is not None
        part = body if self.is_local else decode_part(body)
        assert part.once is not None
        self.message = replace(self.message, once=(*self.message.once, part.once))
        if self.refuses_after is not None:
            raise self.refuses_after

    def check(self) -> None:
        """Let the turn go on (`Port`), unless it `was_given_up`."""
        if self.was_given_up is not None:
            raise self.was_given_up

    def stop_with(self, body: Any, weight: int) -> None:
        """Take a part at a stop (`Port`)."""
        self.part(body, weight)


def read(emission: Emission, codec: ValueCodec = PICKLED) -> Any:
    """Give an emission's data, whichever way it went out."""
    _event, reference, encoded, _keys = emission
    return reference if encoded is None else codec.decode(encoded)
