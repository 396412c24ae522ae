"""How one child is started and ended, without anybody waiting for it.

Owns each child's state, its deadlines, and which incarnation counts: notices of others are stale
and dropped. Never decides whether a child is started, ended or started again, nor in which order:
that is its owner's, a supervisor's, who is told of every start and end.

Theory of operation. A child goes from stopped to starting, to running by its `Started`, to stopping when
it is asked to end, and to stopped by its `Down`, from wherever it was. Each start has a new ref, and a
notice counts only while the child has that very ref. One that overruns the time it has to start or
to end is ended by force: a process is killed with all it has started; a thread cannot be, so it is
fenced off and left behind, counted and reported with its stack. What a start hands over once nobody
waits for it any more is asked to end.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from enum import Enum
from typing import Any, NamedTuple, Protocol

from supervisors.behavior import Answer, Behavior, Context, Maker, Monitor, Ref, Timer
from supervisors.calls import (
    ChildCounts,
    ChildInfo,
    CountChildren,
    FindChild,
    GetChildSpec,
    WhichChild,
    WhichChildren,
    answer_all,
)
from supervisors.errors import ChildStateError, SpecError, StartError
from supervisors.foreign import as_ref
from supervisors.messages import Down, HandedOver, Started, Terminate
from supervisors.reasons import Abandoned, ErrorRecord, Normal, Reason, Shutdown, StartFailed, is_clean, record_error
from supervisors.ref import LifeRef
from supervisors.report import reporter
from supervisors.spec import IGNORE, ChildSpec

KILL_SECONDS = 5.0
"""What a process gets to be gone after it was killed, before its proxy is left behind (arbitrary)."""
LEFT_BEHIND_SECONDS = 1.0
"""What a thread that was killed gets to return before it is reported as left behind (arbitrary)."""

_log = reporter("supervisors")


class ChildState(Enum):
    """Where a child is on its way."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Child:
    """One child as its supervisor sees it. Any thread may read it; its supervisor alone changes it.

    Args:
        spec: how it is started and ended.
        name: its name as an actor, unique below its supervisor.
    """

    def __init__(self, spec: ChildSpec, name: str | None = None) -> None:
        self.spec = spec
        self.name = spec.id if name is None else name
        self.state = ChildState.STOPPED
        self.ref: Ref | None = None
        """The address of its live incarnation; None while it is stopped."""
        self.info: Any = None
        """What its start handed over beside its reference."""
        self.restarts = 0
        """How often it was started again."""
        self.last_reason: Reason | None = None
        """Its last end."""
        self.is_new = True
        """Whether it has never been running."""
        self.streak = 0
        """Its deaths in a row, none of which came after a long life."""
        self.started_at = 0.0
        self.ready_at: float | None = None
        """When its live incarnation became ready; None if it has not, or there is none."""
        self.start_answers: list[Answer] = []
        """Those who wait for it to run."""
        self.end_answers: list[Answer] = []
        """Those who wait for it to end."""
        self.deadline: Timer | None = None
        self.forced: Reason | None = None
        """What is told as its end, because it was ended for that by force."""
        self.monitor: Monitor | None = None

    @property
    def pid(self) -> int | None:
        """The process that does its work, if that is another one."""
        return getattr(self.ref, "pid", None)

    @property
    def is_up(self) -> bool:
        """Whether there is an incarnation of it, ready or not."""
        return self.state is not ChildState.STOPPED

    def to_info(self, state: str) -> ChildInfo:
        """Tell it as it is now; its supervisor knows in what `state`."""
        kind = self.spec.type_name
        return ChildInfo(self.name, state, self.ref, self.pid, kind, self.restarts, self.last_reason, self.info)

    def refuse_start(self) -> None:
        """Tell those who wait for it to run that it will not."""
        error = ChildStateError(f"child {self.name!r} was ended before it was running")
        answer_all(self.start_answers, lambda answer: answer.set_error(error))


def count_children(children: Collection[Child]) -> ChildCounts:
    """Count them."""
    supervisors = sum(child.spec.is_supervisor for child in children)
    return ChildCounts(len(children), sum(child.is_up for child in children), supervisors, len(children) - supervisors)


class Answering(Protocol):
    """A supervisor, as far as questions about its children go."""

    def list_children(self) -> tuple[ChildInfo, ...]:
        """List them."""

    def count(self) -> ChildCounts:
        """Count them."""

    def find(self, id_: str) -> Child:
        """Give the one of that id; raises `UnknownChildError`."""

    def tell(self, child: Child) -> ChildInfo:
        """Tell one."""


def answer_question(question: object, supervisor: Answering, ctx: Context) -> bool:
    """Answer a question about children; False if it is none.

    Raises:
        UnknownChildError: it is about a child that is not there.
    """
    match question:
        case WhichChildren():
            ctx.reply(supervisor.list_children())
        case WhichChild(id_):
            ctx.reply(supervisor.tell(supervisor.find(id_)))
        case CountChildren():
            ctx.reply(supervisor.count())
        case GetChildSpec(id_):
            ctx.reply(supervisor.find(id_).spec)
        case FindChild(id_):
            ctx.reply(supervisor.find(id_))
        case _:
            return False
    return True


class Owner(Protocol):
    """Who is told what becomes of children."""

    def on_child_started(self, child: Child, ctx: Context) -> None:
        """It is ready."""

    def on_child_ended(self, child: Child, before: ChildState, reason: Reason, ctx: Context) -> None:
        """It has ended; `before` is where it was: `STARTING` with a clean reason means it is not needed."""

    def on_child_abandoned(self, child: Child, stack: str, ctx: Context) -> None:
        """It did not end in time, and was left behind; its end is told on its own."""


class Children:
    """Starts and ends children for one owner, on its thread."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._by_ref: dict[Ref, Child] = {}
        self.abandoned = 0
        """Children that did not end in time and were left behind."""

    def start(self, child: Child, ctx: Context) -> None:
        """Start a stopped child; `on_child_started` or `on_child_ended` follows, never inside this call."""
        spec = child.spec
        child.state = ChildState.STARTING
        child.started_at = ctx.now()
        child.forced = child.info = child.monitor = child.ready_at = None
        try:
            mailbox = spec.make_mailbox()
            ref = ctx.start(_watched(spec.make(), ctx.ref), child.name, mailbox=mailbox, wants_started=True)
        except Exception as error:  # noqa: BLE001  what a spec's callables raise is a failed start
            ctx.ref.signal(_Unstarted(child, StartFailed(record_error(error))))
            return
        child.ref = ref
        self._by_ref[ref] = child
        if spec.start_seconds < math.inf:
            child.deadline = ctx.set_timer(spec.start_seconds, _Overdue(child, ref, _Awaited.START))

    def stop(self, child: Child, ctx: Context) -> None:
        """End a child that is up, by its spec's `shutdown`; `on_child_ended` follows, never inside this call."""
        if child.state is ChildState.STOPPING:
            return
        child.state = ChildState.STOPPING
        ref = child.ref
        if ref is None:
            return  # its start has failed; that is about to be told
        if child.forced is not None:
            return  # it was not ready in time, and is being ended by force
        if child.spec.shutdown == "brutal_kill":
            self._cancel_deadline(child)
            self._kill(child, ref, ctx)
            return
        self._set_deadline(child, ctx, child.spec.shutdown_seconds, _Overdue(child, ref, _Awaited.END))
        # False if it has just ended by itself: its Down is on the way.
        ref.signal(Terminate(Shutdown(f"asked by {ctx.ref.path}")))

    def shorten(self, child: Child, seconds: float, ctx: Context) -> None:
        """Give a child that was asked to end `seconds` from now; nothing happens to any other."""
        if child.state is ChildState.STOPPING and child.ref is not None and child.forced is None:
            self._set_deadline(child, ctx, seconds, _Overdue(child, child.ref, _Awaited.END))

    def find(self, ref: Ref) -> Child | None:
        """Give the child whose live incarnation `ref` is."""
        return self._by_ref.get(ref)

    def let_go(self) -> None:
        """Ask the actors that were handed over to end: their owner ends, and they are nobody else's."""
        for ref, child in self._by_ref.items():
            if child.monitor is not None:
                ref.signal(Terminate(Shutdown("its supervisor ended")))

    def handle(self, message: object, ctx: Context) -> bool:
        """Take in what is about a child; False if `message` is about none."""
        match message:
            case Started(ref, info):
                self._on_started(ref, info, ctx)
            case Down(ref, reason):
                self._on_down(ref, reason, ctx)
            case _Unstarted(child, reason):
                self._on_ended(child, reason, ctx)
            case _Overdue():
                self._on_overdue(message, ctx)
            case _:
                return False
        return True

    # -- private

    def _on_started(self, ref: Ref, info: Any, ctx: Context) -> None:
        child = self._by_ref.get(ref)
        if child is None or child.ref is not ref or child.forced is not None:
            # An incarnation that was given up meanwhile, or that was not ready in time.
            if isinstance(info, HandedOver):
                _send_away(info.result)
            return
        if isinstance(info, HandedOver):
            self._take_over(child, info.result, ctx)
            return
        child.info = info
        if child.state is ChildState.STARTING:
            self._set_running(child, ctx)

    def _take_over(self, child: Child, result: Any, ctx: Context) -> None:
        """Make what a start gave the child's reference; who ran the start is about to end and is nobody's."""
        starter = child.ref
        if starter is not None:
            del self._by_ref[starter]
        if result is IGNORE:
            self._on_ended(child, Normal(), ctx)
            return
        reference, info = _split(result)
        ref = as_ref(reference)
        if ref is None or ref is ctx.ref or ref in self._by_ref:
            wrong = SpecError(
                f"child {child.name!r}: start: expected a behaviour, a reference to an actor that is nobody's child, "
                f"a pair of such a reference and information, or IGNORE, got {result!r}"
            )
            self._on_ended(child, StartFailed(record_error(wrong)), ctx)
            return
        child.ref, child.info = ref, info
        self._by_ref[ref] = child
        child.monitor = ctx.monitor(ref)
        if child.state is ChildState.STARTING:
            self._set_running(child, ctx)
        else:
            # It was asked to end while it was being started, and so was not this actor.
            child.state = ChildState.RUNNING
            self.stop(child, ctx)

    def _set_running(self, child: Child, ctx: Context) -> None:
        self._cancel_deadline(child)
        child.state = ChildState.RUNNING
        child.ready_at = ctx.now()
        child.restarts += not child.is_new
        child.is_new = False
        ctx.note(
            "child.started",
            {"restarts": child.restarts, "seconds": ctx.now() - child.started_at},
            {"path": _path(child), "supervisor": ctx.ref.path, "id": child.name},
        )
        self._owner.on_child_started(child, ctx)

    def _on_overdue(self, overdue: _Overdue, ctx: Context) -> None:
        child, ref, what = overdue
        if what is _Awaited.RETURN:
            self._report_left_behind(child, ref, ctx)
        elif child.ref is not ref:
            return  # it came in time, and its timer went off while that was on its way
        elif what is _Awaited.START and child.state is ChildState.STARTING:
            late = StartError(f"child {child.name!r} was not ready within {child.spec.start_seconds:g} s")
            child.forced = StartFailed(record_error(late))
            self._force(child, ref, ctx)
        elif what is _Awaited.END:
            self._force(child, ref, ctx)
        elif what is _Awaited.DEATH:
            self._abandon(child, ref, ctx)

    def _on_down(self, ref: Ref, reason: Reason, ctx: Context) -> None:
        child = self._by_ref.pop(ref, None)
        if child is not None and child.ref is ref:
            self._on_ended(child, reason, ctx)

    def _on_ended(self, child: Child, reason: Reason, ctx: Context) -> None:
        self._cancel_deadline(child)
        before, child.state = child.state, ChildState.STOPPED
        reason = child.forced or reason
        child.last_reason = reason
        if before is not ChildState.STOPPING and not is_clean(reason):
            _log_failed(child, reason, ctx)
        if before is ChildState.STARTING and not isinstance(reason, Normal):
            ctx.note("child.start_failed", {}, {"supervisor": ctx.ref.path, "id": child.name, "reason": reason})
        elif before is not ChildState.STARTING:
            ctx.note(
                "child.ended",
                {"seconds": ctx.now() - child.started_at},
                {
                    "path": _path(child),
                    "supervisor": ctx.ref.path,
                    "id": child.name,
                    "reason": reason,
                    "is_expected": before is ChildState.STOPPING,
                },
            )
        child.ref = child.info = None
        self._owner.on_child_ended(child, before, reason, ctx)

    def _force(self, child: Child, ref: Ref, ctx: Context) -> None:
        if getattr(ref, "can_be_killed", False):
            self._kill(child, ref, ctx)
        else:
            self._abandon(child, ref, ctx)

    def _kill(self, child: Child, ref: Ref, ctx: Context) -> None:
        if getattr(ref, "can_be_killed", False):
            self._set_deadline(child, ctx, KILL_SECONDS, _Overdue(child, ref, _Awaited.DEATH))
        else:
            ctx.set_timer(LEFT_BEHIND_SECONDS, _Overdue(child, ref, _Awaited.RETURN))
        ref.kill()

    def _abandon(self, child: Child, ref: Ref, ctx: Context) -> None:
        self._cancel_deadline(child)
        if ref.reason is not None:
            return  # it has ended this very moment: its Down is on the way
        stack = ctx.abandon(ref)
        if child.monitor is not None:
            # It was not started here: it can be fenced off, and that is told as what it is.
            stack = ref.stack() if isinstance(ref, LifeRef) else ""
            ctx.demonitor(child.monitor)
            ref.kill()
            ctx.ref.signal(Down(ref, Abandoned(stack)))
        self.abandoned += 1
        self._owner.on_child_abandoned(child, stack, ctx)

    def _report_left_behind(self, child: Child, ref: Ref, ctx: Context) -> None:
        if isinstance(ref, LifeRef) and not ref.is_finished:
            self.abandoned += 1
            self._owner.on_child_abandoned(child, ref.stack(), ctx)

    def _set_deadline(self, child: Child, ctx: Context, seconds: float, message: object) -> None:
        self._cancel_deadline(child)
        if seconds < math.inf:
            child.deadline = ctx.set_timer(seconds, message)

    def _cancel_deadline(self, child: Child) -> None:
        if child.deadline is not None:
            child.deadline.cancel()
            child.deadline = None


def log_abandoned(child: Child, stack: str, ctx: Context) -> None:
    """Tell the log that a child was left behind."""
    _log.warning(
        "child %r of supervisor %s did not end in time and was left behind\n%s", child.name, ctx.ref.path, stack
    )


def _log_failed(child: Child, reason: Reason, ctx: Context) -> None:
    """Tell the log what went wrong: a child that is started again at once would hide it from everybody."""
    error: ErrorRecord | None = getattr(reason, "error", None)
    trace = "" if error is None else f"\n{error.traceback}"
    _log.warning("child %r of supervisor %s %s%s", child.name, ctx.ref.path, reason, trace)


class _Unstarted(NamedTuple):
    """A child could not even be tried to start."""

    child: Child
    reason: Reason


class _Awaited(Enum):
    """What has not come in its time."""

    START = "it had to become ready"
    END = "it had to end"
    DEATH = "its process had to be gone, having been killed"
    RETURN = "its thread had to return, having been fenced off"


class _Overdue(NamedTuple):
    """The time is over in which something had to come of an incarnation."""

    child: Child
    ref: Ref
    what: _Awaited


def _path(child: Child) -> str:
    return child.name if child.ref is None else child.ref.path


def _watched(made: Behavior | Maker, supervisor: Ref) -> Behavior | Maker:
    """Have what a start hands over asked to end if it comes after its supervisor's end."""
    if isinstance(made, Behavior):
        return made

    def make() -> object:
        result = made()
        if supervisor.reason is not None:
            _send_away(result)
        return result

    make.uses_poller = getattr(made, "uses_poller", False)  # type: ignore[attr-defined]  # functions take attributes
    return make


def _split(result: Any) -> tuple[Any, Any]:
    return result if isinstance(result, tuple) and len(result) == 2 else (result, None)  # noqa: PLR2004  a pair


def _send_away(result: Any) -> None:
    """End what a start handed over too late."""
    ref = as_ref(_split(result)[0])
    if ref is not None:
        ref.signal(Terminate(Shutdown("its supervisor did not wait for its start any more")))
