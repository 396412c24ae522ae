"""A dynamic supervisor of very many children: what a fact costs does not depend on how many there are."""

from __future__ import annotations

import random
import sys
from typing import Any

from supervisors.behavior import Behavior
from supervisors.children import Child
from supervisors.dynamic import DynamicSupervisor, StartDynamic
from supervisors.messages import Down, Started, Terminate
from supervisors.policy import Intensity
from supervisors.reasons import Killed, Shutdown
from supervisors.spec import ChildSpec
from supervisors.testing import ManualClock
from tests.supervisors.drivers import NO_WAIT


class Address:
    """A reference that notes what it is sent."""

    reason = None

    def __init__(self, name: str) -> None:
        self.name = self.path = name
        self.signals: list[object] = []

    def signal(self, message: object) -> bool:
        self.signals.append(message)
        return True


class Supervising:
    """A context that starts nothing, and keeps what would come back."""

    def __init__(self) -> None:
        self.now = ManualClock().now
        self.random = random.Random(0)
        self.ref = Address("top")
        self.started: list[Address] = []
        self.timers: list[object] = []
        self.end: object = None

    def start(self, made: object, name: str, **options: Any) -> Address:
        self.started.append(Address(name))
        return self.started[-1]

    def set_timer(self, delay: float, message: object) -> Supervising:
        self.timers.append(message)
        return self

    def cancel(self) -> None:
        return

    def defer(self) -> None:
        return

    def note(self, *told: object) -> None:
        return

    def stop(self, reason: object) -> None:
        self.end = reason


def steps_of(children: int) -> int:
    """Start, lose, start again and end so many; gives the lines of Python that took."""
    ctx: Any = Supervising()
    template = ChildSpec("w", Behavior, backoff=NO_WAIT)
    supervisor = DynamicSupervisor(template, intensity=Intensity(10**6, 1.0))
    lines = [0]

    def trace(*_: object) -> Any:
        lines[0] += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for _ in range(children):
            supervisor.on_message(StartDynamic(None, (), {}), ctx)
        for ref in list(ctx.started):
            supervisor.on_message(Started(ref, None), ctx)
        for ref in list(ctx.started):
            supervisor.on_message(Down(ref, Killed()), ctx)
        for message in [timer for timer in ctx.timers if isinstance(getattr(timer, "child", None), Child)]:
            if type(message).__name__ == "_RestartDue":
                supervisor.on_message(message, ctx)
        again = ctx.started[children:]
        for ref in again:
            supervisor.on_message(Started(ref, None), ctx)
        supervisor.on_message(Terminate(Shutdown("over")), ctx)
        for ref in again:
            supervisor.on_message(Down(ref, Shutdown()), ctx)
    finally:
        sys.settrace(before)
    assert len(again) == children
    assert ctx.end == Shutdown("over")
    assert supervisor.list_children() == ()
    return lines[0]


def test_ten_times_as_many_children_take_ten_times_the_work() -> None:
    few, many = steps_of(200), steps_of(2_000)
    assert many < 11 * few
