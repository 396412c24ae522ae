"""Every message once, in order, whatever the shape, on remote workers that are killed meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from routilux import Flow
from tests.remote.worlds import run_in_steps
from tests.runtime import shapes
from tests.runtime.test_delivery import SLOTS, check_sink, states_of
from tests.supervisors.places.fake_cluster import FakeCluster

pytestmark = pytest.mark.processes
COUNT = 400
RAY = ("ray", "ray", "ray", "ray")
MIXED = ("thread", "ray", "process", "ray")


@pytest.mark.parametrize(
    ("shape", "where"),
    [("chain", RAY), ("fan", MIXED), ("diamond", MIXED), ("loop", MIXED), ("join", MIXED), ("batches", RAY)],
)
def test_every_message_is_handled_once_and_in_order_while_workers_are_killed(
    make_cluster: Callable[..., FakeCluster], shape: str, where: tuple[str, str, str, str]
) -> None:
    cluster = make_cluster()
    flow: Flow = getattr(shapes, shape)(where, max_restarts=100)
    state = run_in_steps(flow, cluster, steps=4, count=COUNT, drawn=random.Random(7))
    check_sink(state, SLOTS[shape], COUNT)
    undisturbed = getattr(shapes, shape)(shapes.PLACEMENTS["thread"]).execute("source", {"count": COUNT})
    assert states_of(state) == states_of(undisturbed)
    assert sum(told["restarts"] for told in state.routine_states.values()) >= 3
