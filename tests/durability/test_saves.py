"""A running job that is killed at the steps of a save: what is kept is whole, and the job comes to its right end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.durability.saves import COUNT
from tests.faults.programs import ROOT

pytestmark = pytest.mark.processes


def _kill_saves(folder: Path, kind: str, share: int) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.durability.saves", str(folder), kind, str(share)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("kind", "share"),
    [("files", 16), *(pytest.param(kind, 1, marks=pytest.mark.stress) for kind in ("files", "sqlite"))],
)
def test_a_save_that_is_cut_short_leaves_the_old_checkpoint_or_the_new_one(
    tmp_path: Path, kind: str, share: int
) -> None:
    points = _kill_saves(tmp_path, kind, share)
    assert len(points) >= (30 if kind == "files" else 10) // share
    for point in points:
        assert point["status"] == "completed", point
        assert point["number"] in {2, 3}, point
        assert point["damage"] == point["later_damage"] == point["temporaries"] == [], point
        assert (point["sum"], point["last"]) == (COUNT * (COUNT + 1) // 2, COUNT), point
        assert point["completed"] == point["distinct"] == COUNT + 1, point
        assert point["objects"] == ["checkpoint", "state"], point
    if share == 1:
        assert {point["number"] for point in points} == {2, 3}
