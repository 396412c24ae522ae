"""The census on Ray, from the command line: the figures of a plain loop, also while its workers are killed."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machines import ROOT, Machines
from tests.examples.test_census import plain_loop
from tests.ray.programs import Program

pytestmark = pytest.mark.ray

FOLDER = ROOT / "tests"
FLOW = f"{ROOT / 'examples' / 'census.py'}:flow"


def read_figures(told: dict[str, Any]) -> dict[str, Any]:
    """Give what `plain_loop` gives, of what `routilux run --json` has printed; all of these files parse."""
    tally = told["routines"]["tally"]["state"]
    imports = {key.removeprefix("import "): count for key, count in tally.items() if key.startswith("import ")}
    others = {key: value for key, value in tally.items() if not key.startswith("import ")}
    return {"unparsed": told["routines"]["parse"]["dead"], **others, "imports": imports, "broken": []}


@pytest.mark.parametrize("kills", [0, 3])
def test_it_gives_the_figures_of_a_plain_loop(kills: int, joined: Machines, tmp_path: Path) -> None:
    command = ["-m", "routilux", "run", FLOW, "--param", f"root={FOLDER}", "--plain", "--json"]
    kept = ["--store", str(tmp_path / "jobs"), "--job-id", "census"]
    placed = ["--placement", "ray=parse", "--address", joined.address]
    with Program([*command, *kept, *placed], tmp_path / "errors") as program:
        killed = 0
        while killed < kills:
            names = [name for name in joined.list_actors() if name.startswith("parse-")]
            threading.Event().wait(0.2)  # so that it has begun with something
            killed += bool(names) and joined.kill_actor(names[-1], "routilux-census")
            assert program.process.poll() is None
        line = program.finish()
        errors = Path(tmp_path, "errors").read_text()
        print(errors)
        assert program.process.returncode == 0
        assert program.find_left() == []
    told = json.loads(line)
    assert program.lines == [line], "data alone goes to stdout"
    assert read_figures(told) == plain_loop(FOLDER)
    assert told["routines"]["parse"]["restarts"] >= kills
    assert "raylet" not in errors
