"""The supervisor: an actor that keeps its children running, and ends them in order.

Owns which child runs, which is being ended and which waits to be started again. Never waits
inside a call, never handles a child's messages, never knows what its children are for.

Theory of operation. Everything starts with a fact: a child's `Down`, a deadline, a wait that is
over. A fact changes what is wanted: a *round* holds the children that are to be down together
and then started again, an ending wants all of them down. `_proceed` then does the one next thing
towards it, and is called after each fact: children are ended one at a time, the last started
first, and started in the order of their specs. A later round that holds all children of an
earlier one replaces it. Facts about children that are no more are known by their ref, which is
new with each start, and are dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from supervisors.behavior import Behavior, Context, Ref, Timer
from supervisors.errors import RestartIntensityError, SpecError
from supervisors.messages import Down, Terminate
from supervisors.policy import Intensity, IntensityWindow, decide_lost_child
from supervisors.reasons import Raised, Reason, Shutdown, StartFailed, is_clean, record_error
from supervisors.spec import ChildSpec

STEADY_SECONDS = 60.0
"""A child that lived so long has its restarts' waits begin anew (arbitrary)."""

_log = logging.getLogger("supervisors")


class RestartStrategy(Enum):
    """Which children are started again when one is lost."""

    ONE_FOR_ONE = "one_for_one"
    """It alone."""
    ONE_FOR_ALL = "one_for_all"
    """All of them."""
    REST_FOR_ONE = "rest_for_one"
    """It and those started after it."""


class Child:
    """One child as its supervisor sees it. To be read by hooks; changed by the supervisor alone.

    Args:
        spec: how it is started and ended.
    """

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.ref: Ref | None = None
        """Its address while it runs."""
        self.restarts = 0
        """How often it was started again."""
        self.last_reason: Reason | None = None
        """Its last end."""
        self.streak = 0
        self.started_at = 0.0
        self.deadline: Timer | None = None
        self.is_stopping = False
        self.was_started = False
        self.is_gone = False


class Supervisor(Behavior):
    """Keeps children running.

    Args:
        children: their specs, in the order in which they are started.
        strategy: which of them are started again when one is lost.
        intensity: how many restarts within how many seconds there may be, of all children
            together. One more, and the supervisor ends them all and itself, with `Raised`.

    Raises:
        SpecError: two children have the same id, or the strategy is none.
    """

    handles_terminate = True

    def __init__(
        self,
        children: Iterable[ChildSpec],
        *,
        strategy: RestartStrategy | str = RestartStrategy.ONE_FOR_ONE,
        intensity: Intensity = Intensity(),  # noqa: B008  frozen
    ) -> None:
        self.strategy = _to_strategy(strategy)
        self.children: tuple[Child, ...] = tuple(Child(spec) for spec in children)
        """In the order in which they are started."""
        self.abandoned = 0
        """Children that did not end in time and were left behind."""
        self._window = IntensityWindow(intensity)
        self._rounds: list[_Round] = []
        self._ending: Reason | None = None
        ids = [child.spec.id for child in self.children]
        for index, id_ in enumerate(ids):
            if id_ in ids[:index]:
                raise SpecError(f"children[{index}]: id: {id_!r} is taken by children[{ids.index(id_)}]")

    # -- hooks

    def on_child_down(self, child: Child, reason: Reason, ctx: Context) -> None:
        """Take note that `child` ended, before anything follows from it; what it raises ends the supervisor."""

    def on_child_abandoned(self, child: Child, stack: str, ctx: Context) -> None:
        """Take note that `child` did not end in time; its thread goes on at `stack`. Logs it."""
        _log.warning(
            "child %r of supervisor %r did not end within %s s and was left behind\n%s",
            child.spec.id,
            ctx.ref.name,
            child.spec.shutdown,
            stack,
        )

    def on_other_message(self, message: object, ctx: Context) -> None:
        """Handle a message that is none of a supervisor's. Logs and drops it."""
        _log.warning("supervisor %r was sent a message it does not know: %s", ctx.ref.name, type(message).__name__)

    # -- Behavior

    def on_start(self, ctx: Context) -> None:
        """Start the children, in order."""
        self._start_children(self.children, ctx)

    def on_message(self, message: object, ctx: Context) -> None:
        """Take in a fact, and do what follows."""
        match message:
            case Down(ref, reason):
                self._on_down(ref, reason, ctx)
            case Terminate(reason):
                self._end(reason, ctx)
            case _Overdue(child, ref):
                self._on_overdue(child, ref, ctx)
            case _Round():
                self._on_round_due(message, ctx)
            case _:
                self.on_other_message(message, ctx)

    # -- facts

    def _on_down(self, ref: Ref, reason: Reason, ctx: Context) -> None:
        child = next((child for child in self.children if child.ref is ref), None)
        if child is None:
            return  # an incarnation that was replaced
        was_stopping = child.is_stopping
        if child.deadline is not None:
            child.deadline.cancel()
        child.ref, child.deadline, child.is_stopping = None, None, False
        self._on_ended(child, reason, ctx, was_asked=was_stopping)

    def _on_overdue(self, child: Child, ref: Ref, ctx: Context) -> None:
        if child.ref is ref:
            stack = ctx.abandon(ref)
            self.abandoned += 1
            self.on_child_abandoned(child, stack, ctx)

    def _on_round_due(self, due: _Round, ctx: Context) -> None:
        if self._ending is None and any(round_ is due for round_ in self._rounds):
            self._rounds = [round_ for round_ in self._rounds if round_ is not due]
            self._start_children(due.children, ctx)

    def _on_ended(self, child: Child, reason: Reason, ctx: Context, *, was_asked: bool) -> None:
        child.last_reason = reason
        if child.spec.restart == "temporary":
            child.is_gone = True
        self.on_child_down(child, reason, ctx)
        if self._ending is None and not was_asked and not self._is_in_round(child) and _is_to_restart(child, reason):
            self._decide(child, reason, ctx)
        self._proceed(ctx)

    # -- decisions

    def _decide(self, child: Child, reason: Reason, ctx: Context) -> None:
        now = ctx.now()
        lost = decide_lost_child(
            self._window,
            child.spec.backoff,
            streak=child.streak if now - child.started_at < STEADY_SECONDS else 0,
            is_fruitful=False,
            now=now,
            random=ctx.random,
        )
        child.streak = lost.streak
        if lost.escalates:
            limit = self._window.intensity
            error = RestartIntensityError(child.spec.id, limit.max_restarts, limit.period, str(reason))
            self._ending = Raised(record_error(error))
            return
        group = self._group_of(child)
        self._rounds = [round_ for round_ in self._rounds if not set(round_.children) <= set(group)]
        self._rounds.append(_Round(group, now + lost.delay))

    def _group_of(self, child: Child) -> tuple[Child, ...]:
        match self.strategy:
            case RestartStrategy.ONE_FOR_ONE:
                return (child,)
            case RestartStrategy.ONE_FOR_ALL:
                return self.children
            case RestartStrategy.REST_FOR_ONE:
                return self.children[self.children.index(child) :]

    def _is_in_round(self, child: Child) -> bool:
        return any(child in round_.children for round_ in self._rounds)

    def _end(self, reason: Reason, ctx: Context) -> None:
        if self._ending is None:
            self._ending = reason
        self._proceed(ctx)

    # -- effects

    def _proceed(self, ctx: Context) -> None:
        if any(child.is_stopping for child in self.children):
            return
        for child in reversed(self.children):
            if child.ref is not None and (self._ending is not None or self._is_in_round(child)):
                self._stop_child(child, child.ref, ctx)
                return
        if self._ending is not None:
            self._rounds.clear()
            ctx.stop(self._ending)
            return
        for round_ in self._rounds:
            if not round_.is_timed:
                round_.is_timed = True
                ctx.set_timer(max(0.0, round_.due - ctx.now()), round_)

    def _stop_child(self, child: Child, ref: Ref, ctx: Context) -> None:
        child.is_stopping = True
        if child.spec.shutdown is not None:
            child.deadline = ctx.set_timer(child.spec.shutdown, _Overdue(child, ref))
        # False if it has just ended by itself: its Down is on the way.
        ref.signal(Terminate(Shutdown(f"asked by {ctx.ref.name}")))

    def _start_children(self, children: Iterable[Child], ctx: Context) -> None:
        for child in children:
            # One that could not be started may have taken those after it into a round of its own.
            if child.ref is None and not child.is_gone and self._ending is None and not self._is_in_round(child):
                self._start_child(child, ctx)
        self._proceed(ctx)

    def _start_child(self, child: Child, ctx: Context) -> None:
        spec = child.spec
        child.started_at = ctx.now()
        child.restarts += child.was_started
        child.was_started = True
        try:
            mailbox = None if spec.mailbox is None else spec.mailbox()
            child.ref = ctx.start(spec.start(), spec.id, mailbox=mailbox)
        except Exception as error:  # noqa: BLE001  what a spec's callables raise is a failed start
            self._on_ended(child, StartFailed(record_error(error)), ctx, was_asked=False)


class _Overdue(NamedTuple):
    """The time in which a child had to end is over."""

    child: Child
    ref: Ref


class _Round:
    """Children that are to be down together, and to be started again at `due`, in order."""

    def __init__(self, children: tuple[Child, ...], due: float) -> None:
        self.children = children
        self.due = due
        self.is_timed = False


def _is_to_restart(child: Child, reason: Reason) -> bool:
    match child.spec.restart:
        case "permanent":
            return True
        case "transient":
            return not is_clean(reason)
        case "temporary":
            return False


def _to_strategy(strategy: RestartStrategy | str) -> RestartStrategy:
    try:
        return RestartStrategy(strategy)
    except ValueError as error:
        names = [member.value for member in RestartStrategy]
        raise SpecError(f"strategy: expected one of {names}, got {strategy!r}") from error
