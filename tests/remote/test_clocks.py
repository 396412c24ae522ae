"""Where a machine's clock is days off, or runs at another rate, all is told in the program's own time."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.runtime import shapes
from tests.runtime.test_delivery import check_sink
from tests.supervisors.places.fake_cluster import Clock, FakeCluster

pytestmark = pytest.mark.processes
DAYS = 10 * 86_400.0
COUNT = 800


@pytest.mark.parametrize(
    "clock", [Clock(DAYS), Clock(-DAYS), Clock(DAYS, 1.5), Clock(-DAYS, 0.5)], ids=["ahead", "behind", "fast", "slow"]
)
def test_the_clocks_of_remote_workers_are_those_of_the_program(
    make_cluster: Callable[..., FakeCluster], clock: Clock
) -> None:
    make_cluster(clock=clock)
    began_at = time.time()
    state = shapes.chain(("thread", "ray", "ray", "thread")).execute("source", {"count": COUNT})
    ended_at = time.time()
    check_sink(state, ("input",), COUNT)
    assert {told["restarts"] for told in state.routine_states.values()} == {0}
    for routine_id in ("a", "b"):
        times = [record.at for record in state.get_execution_history(routine_id)]
        assert len(times) >= COUNT
        # A clock of the wall and one that never goes back differ by some milliseconds.
        assert began_at - 0.5 <= min(times) <= max(times) <= ended_at + 0.5
