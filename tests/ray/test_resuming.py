"""A job is paused, or its program killed, and it goes on: on a fresh cluster, in processes, on threads, and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.machines import Machines
from tests.durability.harness import check
from tests.ray.placed import RunOnRay
from tests.ray.programs import Program

pytestmark = pytest.mark.ray

PART = 1.0
STAYS = [("ray", "kill"), ("ray", "pause"), ("process", "kill"), ("ray", "pause"), ("thread", "pause"), ("ray", "end")]
"""Where the job is, and how that ends, one after the other."""


def go_through(run: RunOnRay, address: str | None) -> None:
    """Have one program after the other go on with a run, and hold that it comes to what it is to come to."""
    total = sum(books.count for books in run.expected().values())
    errors = Path(run.folder, "errors")
    for number, (placement, end) in enumerate(STAYS, 1):
        command = ["-m", "tests.ray.program", placement, run.shape, str(run.seed), run.folder, str(run.part)]
        with Program(command, errors, address) as program:
            if end != "end":
                program.wait_until_at(total * number // (len(STAYS) + 1))
                program.pause() if end == "pause" else program.kill()
            last = program.finish()
            assert end == "kill" or last == {"pause": "paused", "end": "completed"}[end], errors.read_text()
            assert program.find_left() == [], (number, placement)
    found = check(run)
    print(f"{run.shape}, seed {run.seed}: {found.messages} messages, {found.rolled_back} turns rolled back")
    assert found.problems == [], errors.read_text()


def test_on_fresh_clusters_of_its_own(tmp_path: Path) -> None:
    go_through(RunOnRay("diamond", 3, str(tmp_path), PART), None)


@pytest.mark.parametrize("shape", ["chain", "fan"])
def test_on_a_cluster_that_it_joins(shape: str, joined: Machines, tmp_path: Path) -> None:
    run = RunOnRay(shape, 4, str(tmp_path), PART)
    go_through(run, joined.address)
