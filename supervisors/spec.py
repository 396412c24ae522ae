"""What a supervisor needs to know of a child. Values, checked when they are made; no rules.

The words are OTP's: a `permanent` child is always started again, a `transient` one when its end
was not clean, a `temporary` one never.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from supervisors.asking import AskableMailbox
from supervisors.behavior import Behavior, Maker
from supervisors.errors import SpecError
from supervisors.mailbox import Mailbox, Overflow
from supervisors.plain import PlainActor, is_plain_actor
from supervisors.policy import Backoff
from supervisors.process_actor import ProcessActor

RestartType = Literal["permanent", "transient", "temporary"]
"""When a child that ended is started again."""
ChildType = Literal["worker", "supervisor"]
Backing = Literal["thread", "process"]
"""Where a child's behaviour runs."""
AutoShutdown = Literal["never", "any_significant", "all_significant"]
"""When a supervisor ends because children of it have ended by themselves."""
BrutalKill = Literal["brutal_kill"]

WORKER_START = 30.0
"""Seconds until a worker must have become ready, unless its spec says otherwise (arbitrary: a slow machine's start)."""
WORKER_SHUTDOWN = 5.0
"""Seconds that a worker gets to end, unless its spec says otherwise (as in OTP)."""


class _Ignore:
    """What a start gives that is not needed; see `IGNORE`."""

    def __repr__(self) -> str:
        return "IGNORE"


IGNORE = _Ignore()
"""What a `start` gives when its child is not needed: the child counts as started, and does not run."""


@dataclass(frozen=True, slots=True, kw_only=False)
class ChildSpec:
    """How one child is started, ended and started again.

    Args:
        id: its name, unique below its supervisor; no slash.
        start: a `Behavior` class; a plain Pykka actor class; or something to call that gives a
            behaviour, a reference to an actor it has started (a `Ref` or Pykka's), a pair of such a
            reference and information, or `IGNORE`. Called anew for each start, on the child's own
            thread; what it raises is a failed start.
        args: positional arguments for `start`.
        kwargs: named arguments for `start`.
        restart: when it is started again.
        shutdown: seconds it gets to end when it is asked to, before it is killed (a process) or
            abandoned (a thread); `math.inf`: no end of waiting; `"brutal_kill"`: it is not asked. None: 5
            seconds for a worker, no end of waiting for a supervisor.
        type: whether it is a supervisor, for listings and the default of `shutdown`; None: by `start`.
        significant: whether its end by itself may end its supervisor (`auto_shutdown`); never a
            permanent one's.
        start_timeout: seconds until it must have become ready; `math.inf`: no bound. None: 30 seconds
            for a worker, no bound for a supervisor, whose children have bounds of their own.
        backoff: waits before it is started again.
        backing: `thread`, or `process` for a process of its own: not for supervisors.
        capacity: messages its mailbox holds before it is full; None for no bound.
        overflow: what becomes of a message over that bound (`Mailbox`).
        mailbox: gives its mailbox at each start, and with it its bound: the same one each time for data
            that outlives the child. None: a new one of its own, whose data ends with it.

    Raises:
        SpecError: a field has a value it cannot have.
    """

    id: str
    start: Callable[..., object]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    restart: RestartType = "permanent"
    shutdown: float | BrutalKill | None = None
    type: ChildType | None = None
    significant: bool = False
    start_timeout: float | None = None
    backoff: Backoff = Backoff()  # noqa: RUF009  frozen
    backing: Backing = "thread"
    capacity: int | None = None
    overflow: Overflow = "reject"
    mailbox: Callable[[], Mailbox] | None = None

    def __post_init__(self) -> None:
        if type(self.id) is not str or not self.id or "/" in self.id:
            raise SpecError(f"id: expected a name without a slash, got {self.id!r}")
        self._check("start", "a class or something to call", holds=callable(self.start))
        self._check("args", "a tuple of arguments", holds=isinstance(self.args, tuple))
        self._check("kwargs", "a mapping of arguments by name", holds=isinstance(self.kwargs, Mapping))
        self._check_choice("restart", get_args(RestartType))
        self._check_choice("type", (*get_args(ChildType), None))
        self._check_choice("backing", get_args(Backing))
        self._check("shutdown", "seconds, 0 or more, 'brutal_kill' or None", holds=self._is_shutdown_valid())
        self._check("significant", "True or False", holds=isinstance(self.significant, bool))
        is_timeout = self.start_timeout is None or _is_number(self.start_timeout, more_than=0.0)
        self._check("start_timeout", "seconds, more than 0, or None", holds=is_timeout)
        self._check("backoff", "a Backoff", holds=isinstance(self.backoff, Backoff))
        is_capacity = self.capacity is None or (type(self.capacity) is int and self.capacity >= 1)
        self._check("capacity", "a number of messages, 1 or more, or None", holds=is_capacity)
        self._check_choice("overflow", get_args(Overflow))
        self._check("mailbox", "something to call that gives a mailbox", holds=_is_callable_or_none(self.mailbox))
        self._check_combinations()

    @property
    def is_supervisor(self) -> bool:
        """Whether it is a supervisor, said or by its class."""
        if self.type is not None:
            return self.type == "supervisor"
        return isinstance(self.start, type) and getattr(self.start, "is_supervisor", False)

    @property
    def type_name(self) -> ChildType:
        """`supervisor` or `worker`, said or by its class."""
        return "supervisor" if self.is_supervisor else "worker"

    @property
    def shutdown_seconds(self) -> float:
        """Seconds it gets to end when it is asked to; 0 where it is not asked."""
        if self.shutdown is None:
            return math.inf if self.is_supervisor else WORKER_SHUTDOWN
        return 0.0 if self.shutdown == "brutal_kill" else self.shutdown

    @property
    def start_seconds(self) -> float:
        """Seconds until it must have become ready; `math.inf`: no bound."""
        if self.start_timeout is None:
            return math.inf if self.is_supervisor else WORKER_START
        return self.start_timeout

    def make_mailbox(self) -> Mailbox | None:
        """Give the mailbox of one incarnation; None for one of its own without a bound."""
        if self.mailbox is not None:
            return self.mailbox()
        return None if self.capacity is None else AskableMailbox(self.capacity, overflow=self.overflow)

    def make(self) -> Behavior | Maker:
        """Give what `Context.start` starts."""
        start: Callable[..., object] = self.start
        args = self.args
        if is_plain_actor(start):
            start, args = PlainActor, (start, *args)
        maker = functools.partial(start, *args, **self.kwargs)
        if self.backing == "process":
            return ProcessActor(maker, name=self.id)
        maker.uses_poller = getattr(start, "uses_poller", False)  # type: ignore[attr-defined]  # a partial takes attributes
        return maker

    def _is_shutdown_valid(self) -> bool:
        # A NaN is refused as well.
        return self.shutdown is None or self.shutdown == "brutal_kill" or _is_number(self.shutdown, at_least=0.0)

    def _check(self, name: str, expected: str, *, holds: bool) -> None:
        if not holds:
            raise SpecError(f"child {self.id!r}: {name}: expected {expected}, got {getattr(self, name)!r}")

    def _check_choice(self, name: str, choices: tuple[object, ...]) -> None:
        value = getattr(self, name)
        holds = any(value == choice for choice in choices)
        self._check(name, f"one of {choices}", holds=holds)

    def _check_combinations(self) -> None:
        if self.significant and self.restart == "permanent":
            raise SpecError(
                f"child {self.id!r}: significant: a permanent child never ends by itself for good; "
                "expected restart='transient' or 'temporary' with significant=True, got 'permanent'"
            )
        if self.mailbox is not None and self.capacity is not None:
            raise SpecError(
                f"child {self.id!r}: capacity: its mailbox is given, and has a bound of its own; expected None with "
                f"a mailbox, got {self.capacity!r}"
            )
        if self.backing == "process" and self.is_supervisor:
            raise SpecError(
                f"child {self.id!r}: backing: a supervisor runs on a thread, its children may be processes; "
                "expected 'thread', got 'process'"
            )


def check_child_specs(children: Iterable[ChildSpec], auto_shutdown: AutoShutdown = "never") -> tuple[ChildSpec, ...]:
    """Check what a supervisor would be started with, and give it as a tuple.

    Args:
        children: the specs, in the order in which they are to be started.
        auto_shutdown: the supervisor's.

    Raises:
        SpecError: one is no spec, two have the same id, or one is significant to a supervisor that
            does not look at that.
    """
    if auto_shutdown not in get_args(AutoShutdown):
        raise SpecError(f"auto_shutdown: expected one of {get_args(AutoShutdown)}, got {auto_shutdown!r}")
    if isinstance(children, ChildSpec):
        raise SpecError(f"children: expected a list of ChildSpecs, got the one of child {children.id!r} itself")
    specs = tuple(children)
    seen: dict[str, int] = {}
    for index, spec in enumerate(specs):
        if not isinstance(spec, ChildSpec):
            raise SpecError(f"children[{index}]: expected a ChildSpec, got {spec!r}")
        if spec.id in seen:
            raise SpecError(f"children[{index}]: id: {spec.id!r} is taken by children[{seen[spec.id]}]")
        seen[spec.id] = index
        check_significance(spec, auto_shutdown)
    return specs


def check_significance(spec: ChildSpec, auto_shutdown: AutoShutdown) -> None:
    """Refuse a significant child where nobody looks at that.

    Raises:
        SpecError: it is significant, and `auto_shutdown` is `never`.
    """
    if spec.significant and auto_shutdown == "never":
        raise SpecError(
            f"child {spec.id!r}: significant: its supervisor has auto_shutdown='never'; "
            "expected 'any_significant' or 'all_significant' with a significant child"
        )


def _is_number(value: object, *, at_least: float = -math.inf, more_than: float = -math.inf) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= at_least and value > more_than


def _is_callable_or_none(value: object) -> bool:
    return value is None or callable(value)
