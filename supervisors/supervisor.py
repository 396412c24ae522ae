"""The supervisor: an actor that keeps its children running, and ends them in order.

Owns which children there are and what becomes of the others when one ends. Never waits inside a
call, never handles a child's messages, never knows what its children are for.

Theory of operation. Everything starts with a fact: a child is ready, a child has ended, a wait is
over, somebody asks for something. A fact may make a new round (`rounds`): a group of children that go
down and up together. `_proceed` then lets each round do its next thing. While children start or end,
the supervisor answers: nothing here waits. Facts about incarnations that are no more are dropped by
`children`.

The words and rules are those of Erlang's `supervisor`; where Python needs more (backoff, starts
that take long, threads that cannot be ended) is told in docs/explanation/supervision.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

from supervisors.behavior import Behavior, Context
from supervisors.calls import (
    AwaitChild,
    ChildCounts,
    ChildInfo,
    DeleteChild,
    Reconfigure,
    RestartChild,
    StartChild,
    TerminateChild,
    answer_all,
    answer_call,
    defer_to,
)
from supervisors.children import Child, Children, ChildState, answer_question, count_children, log_abandoned
from supervisors.errors import (
    ChildExistsError,
    ChildStateError,
    RestartIntensityError,
    SpecError,
    StartError,
    UnknownChildError,
)
from supervisors.messages import Exit, Terminate
from supervisors.policy import Intensity
from supervisors.reasons import Raised, Reason, Shutdown, StartFailed, is_clean, record_error
from supervisors.restarts import Restarts, is_restarted_after
from supervisors.rounds import Round, RoundDue
from supervisors.spec import AutoShutdown, ChildSpec, check_child_specs, check_significance


class RestartStrategy(Enum):
    """Which children are started again when one is lost."""

    ONE_FOR_ONE = "one_for_one"
    """It alone."""
    ONE_FOR_ALL = "one_for_all"
    """All of them."""
    REST_FOR_ONE = "rest_for_one"
    """It and those started after it."""


class Supervisor(Behavior):
    """Keeps children running.

    To be started by `handles.start_supervisor`, or as a child of another supervisor.

    Args:
        children: their specs, in the order in which they are started.
        strategy: which of them are started again when one is lost.
        intensity: how many restarts within how many seconds there may be, of all children
            together. One more, and the supervisor ends them all and itself, with `Raised`.
        auto_shutdown: whether it ends when a significant child, or the last of them, ended by itself.

    Raises:
        SpecError: a spec or an option has a value that it cannot have.
    """

    handles_terminate = True
    traps_exits = True
    acknowledges = True
    is_supervisor = True

    def __init__(
        self,
        children: Iterable[ChildSpec] = (),
        *,
        strategy: RestartStrategy | str = RestartStrategy.ONE_FOR_ONE,
        intensity: Intensity = Intensity(),  # noqa: B008  frozen
        auto_shutdown: AutoShutdown = "never",
    ) -> None:
        self.strategy = to_strategy(strategy)
        self.auto_shutdown: AutoShutdown = auto_shutdown
        self.children: tuple[Child, ...] = tuple(Child(spec) for spec in check_child_specs(children, auto_shutdown))
        """In the order in which they are started. Any thread may read it: it is replaced, never changed."""
        self._restarts = Restarts(intensity)
        self._keeper = Children(self)
        self._rounds: list[Round] = []
        self._added: set[Child] = set()
        """Children that were added and have not been running yet: they stay only if they start well."""
        self._asked: set[Child] = set()
        """Children whose start somebody asked for: it is tried once, and that one is told."""
        self._dropped: dict[Child, None] = {}
        """Children that were forgotten and are not down yet, in the order in which they were started."""
        self._ending: Reason | None = None
        self._last_round: Round | None = None
        self._is_acknowledged = False

    @property
    def abandoned(self) -> int:
        """Children that did not end in time and were left behind."""
        return self._keeper.abandoned

    def get_state(self) -> dict[str, Any]:
        """Give its flags and its children, as people want to see them."""
        return {
            "strategy": self.strategy.value,
            "intensity": self._restarts.intensity,
            "auto_shutdown": self.auto_shutdown,
            "abandoned": self.abandoned,
            "children": self.list_children(),
        }

    def list_children(self) -> tuple[ChildInfo, ...]:
        """List the children, in the order in which they are started. Any thread may call it."""
        return tuple(self.tell(child) for child in self.children)

    def count(self) -> ChildCounts:
        """Count the children. Any thread may call it."""
        return count_children(self.children)

    # -- hooks

    def on_child_down(self, child: Child, reason: Reason, ctx: Context) -> None:
        """Take note that `child` ended, before anything follows from it.

        What it raises ends the supervisor. A child that it drops is not started again.
        """

    # -- for subclasses that change which children there are

    def add_children(self, children: tuple[Child, ...]) -> None:
        """Have more children, behind the others; they are not started by this."""
        self.children = (*self.children, *children)

    def drop_children(self, children: tuple[Child, ...]) -> None:
        """Forget children, which may still be up; who forgets them begins a round that ends them."""
        for child in children:
            self._conclude(child)
            if child.is_up:
                self._dropped[child] = None
        out = set(children)
        self.children = tuple(child for child in self.children if child not in out)
        self._take_out(out)

    def dropped_children(self) -> tuple[Child, ...]:
        """List the forgotten children that are not down yet, in the order in which they were started."""
        return tuple(self._dropped)

    def set_intensity(self, intensity: Intensity) -> None:
        """Allow so many restarts from now on; the count begins anew."""
        self._restarts = Restarts(intensity)

    def begin(self, round_: Round, ctx: Context) -> None:
        """Let a group of children go down and up, taken out of all other groups but for those forgotten."""
        self._begin(round_, {*round_.ending, *round_.pending} - self._dropped.keys())
        self._proceed(ctx)

    # -- Behavior

    def on_start(self, ctx: Context) -> None:
        """Start the children, in order."""
        self._rounds.append(Round((), self.children))
        self._proceed(ctx)

    def on_message(self, message: object, ctx: Context) -> None:
        """Take in a fact or a call, and do what follows."""
        if self._keeper.handle(message, ctx):
            return
        match message:
            case Terminate(reason):
                self._end(reason, ctx)
            case Exit():
                pass  # the end of one that is no child is no reason to end, as in OTP
            case RoundDue():
                message.round.is_waiting = False
                self._proceed(ctx)
            case _:
                answer_call(self._answer_call, message, ctx)

    def on_stop(self, reason: Reason, ctx: Context) -> None:
        """Leave nobody behind; all are down but where the supervisor itself has failed."""
        self._keeper.let_go()

    # -- facts, as the keeper of the children tells them

    def on_child_started(self, child: Child, ctx: Context) -> None:
        """Go on with the next one."""
        self._added.discard(child)
        self._asked.discard(child)
        answer_all(child.start_answers, lambda answer: answer.set_reply(self.tell(child)))
        self._proceed(ctx)

    def on_child_ended(self, child: Child, before: ChildState, reason: Reason, ctx: Context) -> None:
        """Decide what follows from the end of a child."""
        self.on_child_down(child, reason, ctx)
        self._dropped.pop(child, None)
        answer_all(child.end_answers, lambda answer: answer.set_reply(None))
        if before is not ChildState.STOPPING and self._is_wanted(child):
            if before is ChildState.STARTING:
                self._on_unstarted(child, reason, ctx)
            else:
                self._on_lost(child, reason, ctx)
        if not self._is_to_start(child):
            self._conclude(child)
        self._proceed(ctx)

    def on_child_abandoned(self, child: Child, stack: str, ctx: Context) -> None:
        """Take note that `child` did not end in time; its thread goes on at `stack`. Logs it."""
        log_abandoned(child, stack, ctx)

    def _is_wanted(self, child: Child) -> bool:
        """Tell whether nobody has decided that it is to be down now."""
        is_to_end = any(child in round_.ending for round_ in self._rounds)
        return self._ending is None and not is_to_end and child in self.children

    def _on_unstarted(self, child: Child, reason: Reason, ctx: Context) -> None:
        if is_clean(reason):
            # It is not needed: that counts as started.
            self._added.discard(child)
            for round_ in self._rounds:
                round_.take_out((child,))  # so that it is told as stopped, and not as on its way
            answer_all(child.start_answers, lambda answer: answer.set_reply(self.tell(child)))
            return
        error = StartError(f"child {child.spec.id!r} of supervisor {ctx.ref.path} {reason}")
        if child in self._asked or (self._is_acknowledged and child.spec.restart == "temporary"):
            answer_all(child.start_answers, lambda answer: answer.set_error(error))
        elif not self._is_acknowledged and child.is_new:
            self._ending = StartFailed(record_error(error))
        else:
            self._restart(child, reason, ctx)

    def _on_lost(self, child: Child, reason: Reason, ctx: Context) -> None:
        if is_restarted_after(child, reason):
            self._restart(child, reason, ctx)
        elif child.spec.significant:
            self._on_significant_end(child)

    def _on_significant_end(self, child: Child) -> None:
        others = any(
            other.spec.significant and (other.is_up or self._is_to_start(other))
            for other in self.children
            if other is not child
        )
        if self.auto_shutdown == "any_significant" or (self.auto_shutdown == "all_significant" and not others):
            self._ending = Shutdown(f"significant child {child.spec.id!r} {child.last_reason}")

    # -- decisions

    def _restart(self, child: Child, reason: Reason, ctx: Context) -> None:
        group = self._group_of(child)
        try:
            delay = self._restarts.decide(child, reason, group, ctx)
        except RestartIntensityError as error:
            self._ending = Raised(record_error(error))
            return
        up = [member for member in group if member.is_up]
        again = [member for member in group if member is child or member.spec.restart != "temporary"]
        self._begin(Round(up, again, delay), group)

    def _group_of(self, child: Child) -> tuple[Child, ...]:
        match self.strategy:
            case RestartStrategy.ONE_FOR_ONE:
                return (child,)
            case RestartStrategy.ONE_FOR_ALL:
                return self.children
            case RestartStrategy.REST_FOR_ONE:
                return self.children[self.children.index(child) :]

    def _begin(self, round_: Round, group: Iterable[Child]) -> None:
        if self._ending is None:
            self._take_out(group)
            self._rounds.append(round_)

    def _take_out(self, group: Iterable[Child]) -> None:
        if self._ending is None:
            out = set(group)
            for other in self._rounds:
                other.take_out(out)

    def _is_to_start(self, child: Child) -> bool:
        return any(child in round_.pending for round_ in self._rounds)

    def _end(self, reason: Reason, ctx: Context) -> None:
        if self._ending is None:
            self._ending = reason
        self._proceed(ctx)

    # -- effects

    def _proceed(self, ctx: Context) -> None:
        if self._ending is not None and self._last_round is None:
            # Made once: nothing is started from now on.
            self._last_round = Round([child for child in (*self.children, *self._dropped) if child.is_up], ())
            self._rounds = [self._last_round]
        under_way = [round_ for round_ in self._rounds if round_.proceed(self._keeper, ctx)]
        over = [round_ for round_ in self._rounds if round_ not in under_way]
        self._rounds = under_way
        for round_ in over:
            answer_all(round_.answers, lambda answer: answer.set_reply(None))
        if self._rounds:
            return
        if self._ending is not None:
            ctx.stop(self._ending)
        elif not self._is_acknowledged:
            self._is_acknowledged = True
            ctx.acknowledge()

    def _conclude(self, child: Child) -> None:
        """Let go of a child that is not going to be started again by itself."""
        if self._ending is None:
            child.refuse_start()  # else its askers are told of the supervisor's end
        self._asked.discard(child)
        if child.spec.restart == "temporary" or child in self._added:
            self._forget(child)

    def _forget(self, child: Child) -> None:
        self._added.discard(child)
        self.children = tuple(other for other in self.children if other is not child)

    # -- calls

    def _answer_call(self, call: Any, ctx: Context) -> None:
        match call:
            case StartChild(spec):
                self._start_child(spec, ctx)
            case TerminateChild(id_):
                self._terminate_child(self.find(id_), ctx)
            case RestartChild(id_):
                self._start_asked(self._find_stopped(id_, "restarted"), ctx)
            case DeleteChild(id_):
                self._forget(self._find_stopped(id_, "deleted"))
            case AwaitChild(id_):
                self._await_child(self.find(id_), ctx)
            case Reconfigure():
                self._reconfigure(call)
            case _:
                if not answer_question(call, self, ctx):
                    self.on_other_message(call, ctx)

    def on_other_message(self, message: object, ctx: Context) -> None:
        """Handle a message that is none of a supervisor's: a subclass's own call.

        Raises:
            SpecError: by default; told to an asker, else logged, and the message is dropped.
        """
        raise SpecError(f"a supervisor does not know {type(message).__name__}")

    def _start_child(self, spec: ChildSpec, ctx: Context) -> None:
        check_child_specs((spec,), self.auto_shutdown)
        known = next((child for child in self.children if child.spec.id == spec.id), None)
        if known is not None:
            raise ChildExistsError(
                f"supervisor {ctx.ref.path} has a child {spec.id!r} already, which is {self._state_of(known)}; "
                "restart_child starts a stopped one, delete_child forgets it"
            )
        child = Child(spec)
        self.children = (*self.children, child)
        self._added.add(child)
        self._start_asked(child, ctx)

    def _start_asked(self, child: Child, ctx: Context) -> None:
        self._asked.add(child)
        defer_to(child.start_answers, ctx)
        self._begin(Round((), (child,)), (child,))
        self._proceed(ctx)

    def _terminate_child(self, child: Child, ctx: Context) -> None:
        child.refuse_start()
        self._begin(Round((child,), ()), (child,))
        if child.is_up:
            defer_to(child.end_answers, ctx)
        else:
            self._conclude(child)
        self._proceed(ctx)

    def _await_child(self, child: Child, ctx: Context) -> None:
        if child.state is ChildState.RUNNING:
            ctx.reply(self.tell(child))
        elif self._state_of(child) == "stopped":
            raise ChildStateError(f"child {child.spec.id!r} of supervisor {ctx.ref.path} is stopped")
        else:
            defer_to(child.start_answers, ctx)

    def _reconfigure(self, change: Reconfigure) -> None:
        auto_shutdown = self.auto_shutdown if change.auto_shutdown is None else change.auto_shutdown
        strategy = self.strategy if change.strategy is None else to_strategy(change.strategy)
        restarts = self._restarts if change.intensity is None else Restarts(change.intensity)
        specs = {spec.id: spec for spec in check_child_specs(change.children, auto_shutdown)}
        for child in self.children:
            check_significance(specs.get(child.spec.id, child.spec), auto_shutdown)
        self.strategy, self.auto_shutdown, self._restarts = strategy, auto_shutdown, restarts
        for child in self.children:
            child.spec = specs.pop(child.spec.id, child.spec)
        self.children = (*self.children, *map(Child, specs.values()))

    def find(self, id_: str) -> Child:
        """Give the child of that id.

        Raises:
            UnknownChildError: there is none.
        """
        for child in self.children:
            if child.spec.id == id_:
                return child
        raise UnknownChildError(f"there is no child {id_!r}; there are {[child.spec.id for child in self.children]}")

    def _find_stopped(self, id_: str, wanted: str) -> Child:
        child = self.find(id_)
        state = self._state_of(child)
        if state != "stopped":
            raise ChildStateError(f"child {id_!r} cannot be {wanted}: it is {state}; terminate_child ends it first")
        return child

    def _state_of(self, child: Child) -> str:
        if child.state is ChildState.STOPPED and self._is_to_start(child):
            return "starting" if child.is_new else "restarting"
        return child.state.value

    def tell(self, child: Child) -> ChildInfo:
        """Tell one of the children as it is now."""
        return child.to_info(self._state_of(child))


def to_strategy(strategy: RestartStrategy | str) -> RestartStrategy:
    """Give the strategy of that name.

    Raises:
        SpecError: there is none.
    """
    try:
        return RestartStrategy(strategy)
    except ValueError as error:
        names = [member.value for member in RestartStrategy]
        raise SpecError(f"strategy: expected one of {names}, got {strategy!r}") from error
