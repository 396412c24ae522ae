"""Programs with jobs in a store, killed at random moments and resumed: all is as if nothing had been."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.durability.harness import MOST_KILLS, survive
from tests.durability.shapes import SHAPES, Run

pytestmark = pytest.mark.processes


def _assert_survives(shape: str, seed: int, folder: Path, part: float, most_kills: int) -> None:
    outcome = survive(Run(shape, seed, str(folder), part), most_kills)
    assert outcome.problems == [], (outcome, outcome.problems)


@pytest.mark.parametrize(("shape", "seed"), [("chain", 1), ("fan", 3), ("loop", 2), ("diamond", 1), ("mixed", 7)])
def test_a_killed_program_s_job_comes_to_its_exact_end(shape: str, seed: int, tmp_path: Path) -> None:
    _assert_survives(shape, seed, tmp_path, 0.2, 2)


@pytest.mark.stress
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(101, 121))
def test_killed_programs_jobs_come_to_their_exact_ends(shape: str, seed: int, tmp_path: Path) -> None:
    _assert_survives(shape, seed, tmp_path, 1.0, MOST_KILLS)
