"""A supervisor of children that come and go: many of one kind, started on demand.

Owns which of them there are. They are started at once and beside each other, kept running by
their restart type, and ended all at the same time. It follows Elixir's `DynamicSupervisor`; what a
fact costs does not depend on how many children there are.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from supervisors.behavior import Behavior, Context, Ref
from supervisors.calls import (
    AwaitChild,
    ChildCounts,
    ChildInfo,
    Reconfigure,
    answer_all,
    answer_call,
    defer_to,
)
from supervisors.children import Child, Children, ChildState, answer_question, log_abandoned
from supervisors.errors import (
    MaxChildrenError,
    RestartIntensityError,
    SpecError,
    StartError,
    UnknownChildError,
)
from supervisors.messages import Exit, Terminate
from supervisors.policy import Intensity
from supervisors.reasons import Raised, Reason, is_clean, record_error
from supervisors.restarts import Restarts, is_restarted_after
from supervisors.spec import ChildSpec


class StartDynamic(NamedTuple):
    """Start one more child: of the template with more arguments, or of a spec of its own."""

    spec: ChildSpec | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class TerminateDynamic(NamedTuple):
    """End a child for good, known by its name or by its reference."""

    child: str | Ref


class _RestartDue(NamedTuple):
    """The wait before a child's restart is over."""

    child: Child


class DynamicSupervisor(Behavior):
    """Keeps children running that are started on demand.

    To be started by `pool.start_dynamic_supervisor`, or as a child of another supervisor.

    Args:
        template: how children are started that come without a spec; their names are its id, a dash
            and a number. None: each comes with its own.
        max_children: how many there may be at a time; None for no bound.
        intensity: how many restarts within how many seconds there may be, of all children together.

    Raises:
        SpecError: an option has a value that it cannot have.
    """

    handles_terminate = True
    traps_exits = True
    is_supervisor = True

    def __init__(
        self,
        template: ChildSpec | None = None,
        *,
        max_children: int | None = None,
        intensity: Intensity = Intensity(),  # noqa: B008  frozen
    ) -> None:
        if template is not None and not isinstance(template, ChildSpec):
            raise SpecError(f"template: expected a ChildSpec or None, got {template!r}")
        if max_children is not None and not max_children >= 0:
            raise SpecError(f"max_children: expected 0 or more, or None, got {max_children!r}")
        self.template = template
        self.max_children = max_children
        self._restarts = Restarts(intensity)
        self._keeper = Children(self)
        self._children: dict[str, Child] = {}
        self._restarting: set[Child] = set()
        self._added: set[Child] = set()
        """Children that have not been running yet: they stay only if they start well."""
        self._up = 0
        self._count = 0
        self._ending: Reason | None = None

    @property
    def abandoned(self) -> int:
        """Children that did not end in time and were left behind."""
        return self._keeper.abandoned

    def get_state(self) -> dict[str, Any]:
        """Give its options and how many children it has."""
        return {
            "template": self.template,
            "max_children": self.max_children,
            "intensity": self._restarts.intensity,
            "abandoned": self.abandoned,
            "children": self.count(),
        }

    def list_children(self) -> tuple[ChildInfo, ...]:
        """List the children, in the order in which they were started. Any thread may call it."""
        return tuple(self.tell(child) for child in list(self._children.values()))

    # -- Behavior

    def on_message(self, message: object, ctx: Context) -> None:
        """Take in a fact or a call, and do what follows."""
        if self._keeper.handle(message, ctx):
            return
        match message:
            case Terminate(reason):
                self._end(reason, ctx)
            case Exit():
                pass  # the end of one that is no child is no reason to end, as in OTP
            case _RestartDue(child):
                if child in self._restarting:
                    self._restarting.discard(child)
                    self._start(child, ctx)
            case _:
                answer_call(self._answer_call, message, ctx)

    def on_stop(self, reason: Reason, ctx: Context) -> None:
        """Leave nobody behind; all are down but where the supervisor itself has failed."""
        self._keeper.let_go()

    # -- facts, as the keeper of the children tells them

    def on_child_started(self, child: Child, ctx: Context) -> None:
        """Tell who asked for it."""
        self._added.discard(child)
        answer_all(child.start_answers, lambda answer: answer.set_reply(self.tell(child)))

    def on_child_ended(self, child: Child, before: ChildState, reason: Reason, ctx: Context) -> None:
        """Start it again, or forget it."""
        self._up -= 1
        answer_all(child.end_answers, lambda answer: answer.set_reply(None))
        is_asked = before is ChildState.STOPPING
        if self._ending is not None or is_asked:
            self._forget(child)
        elif before is ChildState.STARTING and (child in self._added or is_clean(reason)):
            self._tell_unstarted(child, reason, ctx)
            self._forget(child)
        elif is_restarted_after(child, reason):
            self._restart(child, reason, ctx)
        else:
            self._forget(child)
        self._finish_ending(ctx)

    def on_child_abandoned(self, child: Child, stack: str, ctx: Context) -> None:
        """Take note that `child` did not end in time; its thread goes on at `stack`. Logs it."""
        log_abandoned(child, stack, ctx)

    # -- decisions

    def _restart(self, child: Child, reason: Reason, ctx: Context) -> None:
        try:
            delay = self._restarts.decide(child, reason, (child,), ctx)
        except RestartIntensityError as error:
            self._end(Raised(record_error(error)), ctx)
            return
        self._restarting.add(child)
        ctx.set_timer(delay, _RestartDue(child))

    def _end(self, reason: Reason, ctx: Context) -> None:
        if self._ending is None:
            self._ending = reason
            self._restarting.clear()
            for child in list(self._children.values()):
                if child.is_up:
                    self._keeper.stop(child, ctx)
        self._finish_ending(ctx)

    # -- effects

    def _start(self, child: Child, ctx: Context) -> None:
        self._up += 1
        self._keeper.start(child, ctx)

    def _finish_ending(self, ctx: Context) -> None:
        if self._ending is not None and not self._up:
            ctx.stop(self._ending)

    def _forget(self, child: Child) -> None:
        self._added.discard(child)
        self._restarting.discard(child)
        self._children.pop(child.name, None)
        if self._ending is None:
            child.refuse_start()  # else its askers are told of the supervisor's end

    def _tell_unstarted(self, child: Child, reason: Reason, ctx: Context) -> None:
        if is_clean(reason):
            answer_all(child.start_answers, lambda answer: answer.set_reply(self.tell(child)))
            return
        error = StartError(f"child {child.name!r} of supervisor {ctx.ref.path} {reason}")
        answer_all(child.start_answers, lambda answer: answer.set_error(error))

    # -- calls

    def _answer_call(self, call: object, ctx: Context) -> None:
        match call:
            case StartDynamic():
                self._start_child(call, ctx)
            case TerminateDynamic(known_by):
                self._terminate_child(self.find(known_by), ctx)
            case AwaitChild(name):
                self._await_child(self.find(name), ctx)
            case Reconfigure():
                self._reconfigure(call)
            case _:
                if not answer_question(call, self, ctx):
                    raise SpecError(f"a dynamic supervisor does not know {type(call).__name__}")

    def _start_child(self, call: StartDynamic, ctx: Context) -> None:
        if self._ending is not None:
            ctx.defer()  # answered by this supervisor's end
            return
        if self.max_children is not None and len(self._children) >= self.max_children:
            raise MaxChildrenError(f"supervisor {ctx.ref.path} has {self.max_children} children, as many as it may")
        spec = call.spec if call.spec is not None else self.template
        if spec is None:
            raise SpecError(f"supervisor {ctx.ref.path} has no template: expected a spec")
        if spec.significant:
            raise SpecError(f"child {spec.id!r}: significant: a dynamic supervisor does not end with its children")
        if call.args or call.kwargs:
            spec = dataclasses.replace(spec, args=(*spec.args, *call.args), kwargs={**spec.kwargs, **call.kwargs})
        self._count += 1
        child = Child(spec, f"{spec.id}-{self._count}")
        self._children[child.name] = child
        self._added.add(child)
        defer_to(child.start_answers, ctx)
        self._start(child, ctx)

    def _terminate_child(self, child: Child, ctx: Context) -> None:
        self._restarting.discard(child)
        child.refuse_start()
        if child.is_up:
            defer_to(child.end_answers, ctx)
            self._keeper.stop(child, ctx)
        else:
            self._forget(child)

    def _await_child(self, child: Child, ctx: Context) -> None:
        if child.state is ChildState.RUNNING:
            ctx.reply(self.tell(child))
        else:
            defer_to(child.start_answers, ctx)

    def _reconfigure(self, change: Reconfigure) -> None:
        if change.strategy is not None or change.auto_shutdown is not None or change.children:
            raise SpecError("a dynamic supervisor has an intensity to change, no strategy, auto_shutdown or children")
        if change.intensity is not None:
            self._restarts = Restarts(change.intensity)

    def find(self, known_by: str | Ref) -> Child:
        """Give the child of that name, or of that live incarnation.

        Raises:
            UnknownChildError: there is none.
        """
        child = self._children.get(known_by) if isinstance(known_by, str) else self._keeper.find(known_by)
        if child is None or child.name not in self._children:
            name = known_by if isinstance(known_by, str) else known_by.name
            raise UnknownChildError(f"there is no child {name!r} among {len(self._children)}, or not that incarnation")
        return child

    def count(self) -> ChildCounts:
        """Count the children. Any thread may call it."""
        supervisors = sum(child.spec.is_supervisor for child in list(self._children.values()))
        return ChildCounts(len(self._children), self._up, supervisors, len(self._children) - supervisors)

    def tell(self, child: Child) -> ChildInfo:
        """Tell one of the children as it is now."""
        return child.to_info("restarting" if child in self._restarting else child.state.value)
