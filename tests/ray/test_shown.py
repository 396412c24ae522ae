"""What the documentation shows about routines on Ray is done by a real cluster."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

import pytest

from benchmarks.machines import Machines
from routilux.cli.main import main
from tests.test_docs import Shown, on_ray

pytestmark = pytest.mark.ray

FLOWS = """
from routilux import Flow, Routine, routine

@routine(events={"path": ["path"]})
def paths(count=20):
    for number in range(count):
        yield f"{number}.png"

@routine(events={"path": ["path"]})
def resize(path):
    return path

class Count(Routine):
    def __init__(self, *events):
        super().__init__()
        self.define_slot("input", handler=self.count)
        self.define_event("path", ["path"])

    def count(self, path):
        self.state["seen"] = self.state.get("seen", 0) + 1
        self.emit("path", path=path)

def chain(name, *ids):
    flow = Flow(name)
    flow.add_routine(paths)
    flow.add_routine(resize, "resize")
    flow.connect("paths", "path", "resize", "input")
    last = "resize"
    for routine_id in ids:
        flow.add_routine(Count(), routine_id)
        flow.connect(last, "path", routine_id, "input")
        last = routine_id
    return flow

pictures = chain("pictures", "describe")
nightly = chain("nightly", "parse", "score", "report")
"""


@pytest.mark.parametrize("shown", on_ray(), ids=lambda shown: shown.where)
def test_a_command_does_what_it_says(
    shown: Shown, joined: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    monkeypatch.setenv("ROUTILUX_STORE", str(tmp_path / "jobs"))
    monkeypatch.syspath_prepend(tmp_path)
    words = shlex.split(shown.command)[1:]
    if "--address" in words:
        words[words.index("--address") + 1] = joined.address
    with contextlib.chdir(tmp_path):
        if words[0] == "resume":
            paused = ["run", "flows.py:nightly", "--store", "jobs", "--job-id", "nightly", "--checkpoint-every", "1"]
            assert main([*paused, "--plain"]) == 0
            assert main(["fork", "nightly", "first", "--store", "jobs", "--checkpoint", "1-1"]) == 0
            words[1] = "first"
        assert main(words) == 0
