"""Every message once, in order, whatever the shape and the placement, and whoever is killed."""

from __future__ import annotations

import random
import signal
import threading
from typing import Any

import pytest

from routilux import Flow, JobState
from tests.runtime import shapes

COUNT = 4_000
"""Messages a shape and placement: twelve runs are some 50,000 through the source alone."""


def check_sink(state: JobState, slots: tuple[str, ...], count: int, *, ordered: bool = True) -> None:
    assert state.status == "completed", state.error
    sink: dict[str, Any] = state.routine_states["sink"]["state"]
    for slot in slots:
        told = {key: sink[f"{slot}.{key}"] for key in ("last", "count", "sum")}
        expected = shapes.sums(count)
        if not ordered:
            told.pop("last")
            expected.pop("last")
        assert told == expected
    if ordered:
        assert "disorder" not in sink
    assert all(connection.is_conserved for connection in state.connections)
    assert all(connection.sent == connection.handled for connection in state.connections)


@pytest.mark.processes
@pytest.mark.parametrize("where", shapes.PLACEMENTS)
def test_a_chain_hands_on_every_message_once_and_in_order(where: str) -> None:
    state = shapes.chain(shapes.PLACEMENTS[where]).execute("source", {"count": COUNT})
    check_sink(state, ("input",), COUNT)
    assert state.routine_states["a"]["state"] == {"count": COUNT}


@pytest.mark.processes
@pytest.mark.parametrize("where", shapes.PLACEMENTS)
def test_a_fan_hands_every_message_to_each_arm_once_and_in_order(where: str) -> None:
    state = shapes.fan(shapes.PLACEMENTS[where]).execute("source", {"count": COUNT})
    check_sink(state, ("x", "y", "z"), COUNT)


@pytest.mark.processes
@pytest.mark.parametrize("where", shapes.PLACEMENTS)
def test_a_diamond_renames_parameters_on_both_arms(where: str) -> None:
    state = shapes.diamond(shapes.PLACEMENTS[where]).execute("source", {"count": COUNT})
    check_sink(state, ("x", "y"), COUNT)


@pytest.mark.processes
@pytest.mark.parametrize("where", shapes.PLACEMENTS)
def test_a_loop_sends_every_message_round_as_often_as_it_says(where: str) -> None:
    state = shapes.loop(shapes.PLACEMENTS[where]).execute("source", {"count": COUNT})
    check_sink(state, ("input",), COUNT)
    assert state.routine_states["looper"]["state"] == {"turns": 3 * COUNT}


@pytest.mark.processes
@pytest.mark.parametrize(
    ("shape", "slots"), [("chain", ("input",)), ("fan", ("x", "y", "z")), ("diamond", ("x", "y")), ("loop", ("input",))]
)
def test_killed_workers_lose_double_and_reorder_nothing(shape: str, slots: tuple[str, ...]) -> None:
    flow: Flow = getattr(shapes, shape)(shapes.PLACEMENTS["process"])
    count, kills = 3_000, 15
    job = flow.start("source", {"count": count})
    rng, over = random.Random(1234), threading.Event()
    killed: list[int] = []

    def kill() -> None:
        while len(killed) < kills and not over.wait(rng.uniform(0.01, 0.08)):
            pids = [pid for account in job.ledger.accounts for pid in account.pids if pid is not None]
            if pids:
                killed.append(rng.choice(pids))
                shapes.kill_pids(killed[-1:], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    state = job.wait(100)
    over.set()
    killer.join()
    check_sink(state, slots, count)
    assert sum(routine["restarts"] for routine in state.routine_states.values()) >= 1
