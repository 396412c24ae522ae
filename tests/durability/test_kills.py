"""Programs with jobs in a store, killed at random moments and resumed: all is as if nothing had been."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.durability.harness import survive
from tests.durability.shapes import SHAPES, Run

pytestmark = pytest.mark.processes


SHORT = {"chain": 1, "fan": 3, "loop": 2, "diamond": 1, "mixed": 7}
"""Seeds, one of each shape: both kinds of stores and every trouble are among them."""


def test_killed_programs_jobs_come_to_their_exact_ends_in_short(tmp_path: Path) -> None:
    runs = []
    for shape, seed in SHORT.items():
        place = tmp_path / shape
        place.mkdir()
        runs.append(Run(shape, seed, str(place), part=0.3))
    with ThreadPoolExecutor(len(runs)) as pool:
        outcomes = list(pool.map(partial(survive, most_kills=2), runs))
    assert [(outcome.run.job_id, outcome.problems) for outcome in outcomes if outcome.problems] == []
    assert sum(outcome.kills for outcome in outcomes) >= 3


@pytest.mark.stress
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(101, 121))
def test_killed_programs_jobs_come_to_their_exact_ends(shape: str, seed: int, tmp_path: Path) -> None:
    outcome = survive(Run(shape, seed, str(tmp_path)))
    assert outcome.problems == [], (outcome, outcome.problems)
