"""Every message once, in order, whatever the shape and the placement, and whoever is killed.

`ROUTILUX_STRESS=1` (`make stress`) runs the same tests with 50,000 messages and 60 kills each.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from typing import Any

import pytest

from routilux import Flow, Job, JobState
from tests.runtime import shapes

IS_STRESS = os.environ.get("ROUTILUX_STRESS") == "1"
COUNT = 50_000 if IS_STRESS else 3_000
KILLS = 60 if IS_STRESS else 8
SLOTS = {
    "chain": ("input",),
    "fan": ("x", "y", "z"),
    "diamond": ("x", "y"),
    "loop": ("input",),
    "join": ("input",),
    "batches": ("input",),
}


def check_sink(state: JobState, slots: tuple[str, ...], count: int) -> None:
    assert state.status == "completed", state.error
    sink: dict[str, Any] = state.routine_states["sink"]["state"]
    for slot in slots:
        assert {key: sink[f"{slot}.{key}"] for key in ("last", "count", "sum")} == shapes.sums(count)
    assert "disorder" not in sink
    assert sink.get("totals.last", count) == count
    assert all(connection.is_conserved for connection in state.connections)
    assert all(connection.sent == connection.handled for connection in state.connections)


def states_of(state: JobState) -> dict[str, Any]:
    return {routine_id: told["state"] for routine_id, told in state.routine_states.items()}


@pytest.mark.processes
@pytest.mark.timeout(600 if IS_STRESS else 100)
@pytest.mark.parametrize("where", shapes.PLACEMENTS)
@pytest.mark.parametrize("shape", SLOTS)
def test_every_message_is_handled_once_and_in_order(shape: str, where: str) -> None:
    flow: Flow = getattr(shapes, shape)(shapes.PLACEMENTS[where])
    state = flow.execute("source", {"count": COUNT})
    check_sink(state, SLOTS[shape], COUNT)
    if shape == "loop":
        assert state.routine_states["looper"]["state"] == {"turns": 3 * COUNT}


@pytest.mark.timeout(600 if IS_STRESS else 100)
@pytest.mark.parametrize("shape", SLOTS)
def test_every_message_is_handled_once_and_in_order_on_threads_with_a_timeout(shape: str) -> None:
    count = COUNT // 5  # each message costs two wake-ups of threads
    flow: Flow = getattr(shapes, shape)(shapes.PLACEMENTS["thread"], timeout=30.0)
    check_sink(flow.execute("source", {"count": count}), SLOTS[shape], count)


@pytest.mark.processes
@pytest.mark.timeout(600 if IS_STRESS else 100)
@pytest.mark.parametrize(
    "shape", ["fan", "loop", "join", *(pytest.param(s, marks=pytest.mark.stress) for s in ("chain", "diamond"))]
)
def test_killed_workers_lose_double_and_reorder_nothing(shape: str) -> None:
    flow: Flow = getattr(shapes, shape)(shapes.PLACEMENTS["process"])
    undisturbed = flow.execute("source", {"count": COUNT})
    job = flow.start("source", {"count": COUNT})
    killer = Killer(job, KILLS, seed=1234)
    state = job.wait(500)
    killed = killer.stop()
    check_sink(state, SLOTS[shape], COUNT)
    assert states_of(state) == states_of(undisturbed)
    assert killed == KILLS
    assert sum(told["restarts"] for told in state.routine_states.values()) >= killed // 2


class Killer:
    """Kills random workers of a job, spread over its messages, until it has killed enough."""

    def __init__(self, job: Job, kills: int, seed: int) -> None:
        self._job = job
        self._kills = kills
        self._rng = random.Random(seed)
        self._over = threading.Event()
        self._killed = 0
        self._victims: set[int] = set()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> int:
        """End; gives the number of workers killed."""
        self._over.set()
        self._thread.join()
        return self._killed

    def _run(self) -> None:
        # By progress and not by time: so that as many die on a fast machine as on a slow one.
        step = COUNT // (self._kills + 1)
        stream = self._job.stream("source", "number", capacity=COUNT)
        for item in stream:
            if self._over.is_set() or self._killed == self._kills:
                return
            if item["n"] % step == step - 1 and self._kill_one():
                self._killed += 1

    def _kill_one(self) -> bool:
        for _ in range(1_000):
            pids = [pid for account in self._job.ledger.accounts for pid in account.pids if pid is not None]
            alive = [
                pid for pid in pids if pid not in self._victims
            ]  # one that was killed is listed until it is noticed
            if alive:
                victim = self._rng.choice(alive)
                self._victims.add(victim)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    return True
            if self._over.wait(0.005):
                return False
        return False
