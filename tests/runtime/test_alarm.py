"""A timer that is set to whichever time comes first."""

from __future__ import annotations

from typing import Any

from routilux.runtime.alarm import Alarm


class Context:
    def __init__(self) -> None:
        self.time = 10.0
        self.timers: list[tuple[float, object]] = []

    def now(self) -> float:
        return self.time

    def set_timer(self, delay: float, message: object) -> None:
        self.timers.append((delay, message))


def test_only_an_earlier_time_sets_it_anew() -> None:
    ctx: Any = Context()
    alarm = Alarm(ctx, "wake")
    for at in (None, 15.0, 15.0, 20.0, 12.0, 13.0, None):
        alarm.set(at)
    assert ctx.timers == [(5.0, "wake"), (2.0, "wake")]


def test_it_is_set_again_once_it_has_rung_and_a_time_that_is_over_is_now() -> None:
    ctx: Any = Context()
    alarm = Alarm(ctx, "wake")
    alarm.set(12.0)
    ctx.time = 12.0
    alarm.reset()
    alarm.set(13.5)
    alarm.reset()
    alarm.set(11.0)
    assert ctx.timers == [(2.0, "wake"), (1.5, "wake"), (0.0, "wake")]
