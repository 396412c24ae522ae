"""The turns of one routine that run at once on an event loop, each a coroutine (R1, R3, R4, R5).

Owns the committed state as these turns see it, and the run of a turn that waits by `await`. What a turn is otherwise,
`execution` says; what runs the coroutines, and who may commit when, is for their place to say.

Theory of operation. Each turn has an outbox and a view on the state of its own. Commits are made elsewhere, on the
actor's thread, and are told here in the order in which they were made (`conclude`, and what was given to `stop`); what
they change goes into the committed state of this service. A turn that is in progress goes on with the state it began
with: while there are others, a commit makes a new version (`layers`). So turns do not see what others do while they
run, reading the same key twice gives the same, and of two that change the same key the one that commits last wins.

Which turn a piece of code runs for is told by its context (`routilux.context.scope`), also in the tasks that a handler
starts. Whatever is left of a turn when it is over finds none.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from routilux.context import Scope, scope
from routilux.messages import Message, StateOp
from routilux.turn.execution import TurnExecution
from routilux.turn.incarnation import Incarnation, Route
from routilux.turn.layers import Versions
from routilux.turn.outbox import Outbox
from routilux.turn.service import RoutineService
from routilux.turn.state import Committed
from routilux.turn.steps import Steps
from supervisors.errors import InternalError
from supervisors.places.base import Turnstile
from supervisors.report import reporter

_log = reporter("routilux")


class Shared:
    """The committed state, as the turns see it that run at once.

    Args:
        committed: what it begins with; kept, and changed while one turn at most is in progress.
    """

    def __init__(self, committed: Committed) -> None:
        self._versions = Versions(committed)
        self.turns = 0
        """Turns in progress."""

    @property
    def committed(self) -> Mapping[str, Any]:
        """What a turn that begins now sees."""
        return self._versions.newest

    def commit(self, ops: list[StateOp]) -> Mapping[str, Any]:
        """Change what turns that begin from now on see; gives it."""
        if ops:
            if self.turns > 1:
                self._versions.change_copy(ops)
            else:
                self._versions.change(ops)
        return self.committed


class ConcurrentTurn(TurnExecution):
    """One turn among several: a `LoopExecution` for its place, a `Turn` for the handler.

    Args:
        incarnation: the routine it is a turn of, with an outbox and a state of this turn alone.
        route: the connection the message came by.
        message: the message.
        port: takes the parts that go out before the end.
        shared: the committed state.
    """

    __slots__ = ("_is_open", "_scope", "_shared", "_turnstile")

    def __init__(
        self, incarnation: Incarnation, route: Route, message: Message, port: Turnstile, shared: Shared
    ) -> None:
        super().__init__(incarnation)
        self.begin(route, message, port)
        self._turnstile = port
        self._shared = shared
        self._scope = Scope(self, self.routine)
        self._is_open = True
        shared.turns += 1

    async def run(self) -> None:
        """Run the handler to its end."""
        scope.set(self._scope)
        try:
            returned = self._call_handler()
            if returned is not None:
                await self._run_on(returned)
            self._raise_if_broken()
            self._prepare_result()
        except BaseException:
            self._scope.turn = None
            self._close()
            self.discard()
            raise
        self._scope.turn = None

    def conclude(self, *, accepted: bool) -> None:
        """The result was committed (True), or leaves nothing behind (False)."""
        if not accepted:
            self.discard()
        elif self.touched:
            self._shared.commit(self._ops)
            if self._route.gather is not None:
                self._route.gather.accept()
        self._close()

    def _raise_if_broken(self) -> None:
        if self._broken is not None:
            raise self._broken  # the handler swallowed it, but what it was to let out is gone

    async def _run_on(self, returned: Any) -> None:
        if isinstance(returned, AsyncGeneratorType):
            await self._run_async_steps(returned)
        elif isinstance(returned, GeneratorType):
            self._steps = steps = Steps(returned)
            while not self._advance_steps(steps):
                await self._stop()
        elif self._route.is_async or isinstance(returned, CoroutineType):
            await returned

    async def _run_async_steps(self, steps: AsyncGenerator[Any, None]) -> None:
        try:
            async for yielded in steps:
                self._check_yielded(yielded)
                await self._stop()
        except GeneratorExit:
            raise  # its loop is no more, so nothing can be awaited: it is closed as it is dropped
        except BaseException:
            await self._close_steps(steps)
            raise

    async def _close_steps(self, steps: AsyncGenerator[Any, None]) -> None:
        """Let its `finally` blocks run, outside of any turn; what they raise is logged, since nobody waits for it."""
        self._scope.turn = None
        try:
            await steps.aclose()
        except BaseException:  # noqa: BLE001
            _log.exception("an asynchronous generator handler raised while it was closed")

    async def _stop(self) -> None:
        self._raise_if_broken()
        ops = [] if self._state is None else self._state.prepare()
        is_all_plain, held = self._outbox.is_all_plain, self._outbox.commit_step()

        def take() -> None:
            # Whether it has asked for its state so far or not: what it sees from here on is what is committed now.
            self._incarnation.state.follow(self._shared.commit(ops))
            if self._state is not None:
                self._state.accept()

        await self._turnstile.stop(self._write_part(held, ops, is_all_plain), len(held) or 1, take)

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._shared.turns -= 1


class ConcurrentService(RoutineService):
    """A `LoopService` whose requests are the messages of one routine; its arguments are those of `RoutineService`."""

    _is_shared = True
    _shared: Shared

    def boot(self, number: int, boot: Any) -> None:
        """Compile the tables, anew and for this incarnation alone."""
        super().boot(number, boot)
        if self._incarnation is not None:
            self._shared = Shared(self._incarnation.committed)

    def begin(self, request: Any, port: Any) -> ConcurrentTurn:
        """Take up a message, with the `Turnstile` of its place; raises as `RoutineService.begin`."""
        incarnation, message = self._incarnation, request
        route = None if incarnation is None else incarnation.routes.get(message.edge)
        if incarnation is None or route is None:
            raise InternalError(f"routine {self._routine_id!r} was not booted, or has no connection {message.edge}")
        committed = self._shared.committed
        own = replace(
            incarnation,
            state=self._open_state(committed, self._reserved),
            outbox=Outbox(
                self._clock,
                atomic=self._atomic,
                replays=incarnation.outbox.replays,
                uniform=incarnation.outbox.is_uniform,
            ),
        )
        return ConcurrentTurn(own, route, message, port, self._shared)
