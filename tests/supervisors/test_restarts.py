"""The count of restarts of one supervisor."""

from __future__ import annotations

import random
from typing import Any

import pytest

from supervisors.behavior import Behavior
from supervisors.children import Child
from supervisors.errors import RestartIntensityError, SpecError
from supervisors.policy import Backoff, Intensity
from supervisors.reasons import Killed, Normal, Reason, Shutdown
from supervisors.restarts import STEADY_SECONDS, Restarts, is_restarted_after
from supervisors.spec import ChildSpec, RestartType
from supervisors.testing import ManualClock


class Supervising:
    """As much of a context as is needed."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.now = self.clock.now
        self.random = random.Random(0)
        self.ref = self
        self.path = "top"
        self.told: list[tuple[str, dict[str, float]]] = []

    def note(self, event: str, measurements: dict[str, float], metadata: dict[str, Any]) -> None:
        self.told.append((event, measurements))


def make(**fields: Any) -> Child:
    return Child(ChildSpec("a", Behavior, **fields))


def decide(restarts: Restarts, child: Child, ctx: Supervising) -> float:
    return restarts.decide(child, Killed(), (child,), ctx)  # type: ignore[arg-type]  # a fake


def test_waits_grow_and_begin_anew_after_a_steady_life() -> None:
    ctx, child = Supervising(), make(backoff=Backoff(delay=1.0))
    restarts = Restarts(Intensity(100, 1.0))
    waits = []
    for lived in (0.0, 1.0, STEADY_SECONDS, 1.0):
        child.ready_at = ctx.now()
        ctx.clock.advance(lived)
        waits.append(decide(restarts, child, ctx))
    assert waits == [1.0, 2.0, 1.0, 2.0]


def test_a_start_that_took_long_and_failed_is_no_steady_life() -> None:
    ctx, child = Supervising(), make(backoff=Backoff(delay=1.0))
    restarts = Restarts(Intensity(100, 1.0))
    waits = []
    for _ in range(3):
        child.started_at, child.ready_at = ctx.now(), None
        ctx.clock.advance(2 * STEADY_SECONDS)
        waits.append(decide(restarts, child, ctx))
    assert waits == [1.0, 2.0, 4.0]


def test_one_more_than_allowed_is_told_and_raised() -> None:
    ctx, child = Supervising(), make()
    restarts = Restarts(Intensity(1, 5.0))
    decide(restarts, child, ctx)
    with pytest.raises(RestartIntensityError, match="child 'a' was killed, which makes more than 1 restarts"):
        decide(restarts, child, ctx)
    assert [event for event, _ in ctx.told] == ["child.restarting", "supervisor.escalated"]


def test_an_intensity_that_is_none_is_refused() -> None:
    with pytest.raises(SpecError, match="intensity: expected an Intensity, got 3"):
        Restarts(3)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    ("restart", "reason", "expected"),
    [
        ("permanent", Normal(), True),
        ("permanent", Killed(), True),
        ("transient", Normal(), False),
        ("transient", Shutdown(), False),
        ("transient", Killed(), True),
        ("temporary", Killed(), False),
    ],
)
def test_the_restart_type_and_the_reason_decide(restart: RestartType, reason: Reason, *, expected: bool) -> None:
    assert is_restarted_after(make(restart=restart), reason) is expected
