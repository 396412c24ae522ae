"""Whatever is killed of a cluster, and whenever: each message is handled once in effect, in order, and all add up.

60 kills: of workers' processes, of their actors, and of nodes with all that was there.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from benchmarks.machines import Machines
from routilux import Job
from supervisors.places.ray.cluster import ray_cluster
from tests.durability.harness import check
from tests.durability.program import open_job, send_all
from tests.durability.shapes import SHAPES
from tests.ray.killing import Killer
from tests.ray.placed import RunOnRay

pytestmark = pytest.mark.ray

PART = 0.5
LONG = 2.0
"""Of a run in which nodes are replaced meanwhile, which takes seconds each."""


def survive(run: RunOnRay, deeds: list[str], machines: Machines | None = None) -> str:
    """Run a job to its end while it is killed at, and hold that nobody could tell that from what is kept of it.

    Returns:
        What was done to it.
    """
    job = open_job(run, keep_open=True)
    assert job is not None
    killer = Killer(job, run, list(deeds), machines)
    killer.start()
    # Results press back on who sends until somebody collects.
    threading.Thread(target=feed, args=(job, run, killer)).start()
    job.collect()
    state = job.wait()
    killer.join()
    found = check(run)
    restarts = sum(routine["restarts"] for routine in state.routine_states.values())
    told = (
        f"{run.shape}, seed {run.seed}, {run.trouble}: {found.messages} messages, killed {dict(killer.done)}, "
        f"{restarts} workers replaced, {found.rolled_back} turns rolled back, {found.problems}"
    )
    assert killer.failure is None, told
    assert (state.status, state.error) == ("completed", None), told
    assert found.problems == [], told
    assert killer.done.total() == len(deeds), told
    return told


def feed(job: Job, run: RunOnRay, killer: Killer) -> None:
    """Send what a job is to do that has no source, and let it end once all kills have come."""
    if SHAPES[run.shape].entry is None:
        send_all(job, run)
    killer.join()
    job.close_entry()


@pytest.mark.parametrize("shape", SHAPES)
def test_on_three_nodes_that_are_lost_nothing_else_is(
    shape: str, joined: Machines, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    deeds = [*["process"] * 3, *["actor"] * 2, *["node"] * 3]
    told = survive(RunOnRay(shape, 1, str(tmp_path), LONG), deeds, joined)
    printed = capfd.readouterr()
    print(told)
    assert printed == ("", ""), "Ray has said it too"


@pytest.mark.usefixtures("machines")  # what Ray never gives back is there then
def test_on_a_cluster_of_its_own_nothing_is_lost(tmp_path: Path) -> None:
    ray_cluster.enter()
    try:
        for seed, shape in enumerate(SHAPES, 2):
            print(survive(RunOnRay(shape, seed, str(tmp_path), PART), ["process"] * 4))
    finally:
        ray_cluster.leave()
