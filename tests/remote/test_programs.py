"""Programs with remote workers that are killed or interrupted leave no agent, and their jobs go on elsewhere."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from routilux import Flow
from routilux.keeping.finding import latest
from routilux.stores import FileStore
from tests.runtime.kept import Gate, at_gate, finish, numbers, wait_until
from tests.runtime.programs import Program, start_program

pytestmark = pytest.mark.processes
TEXT = """
    import sys
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from pathlib import Path
    sys.modules["ray"] = ModuleType("ray")
    sys.modules["ray"].__spec__ = ModuleSpec("ray", None, origin="/somewhere")
    from supervisors.places.ray.engine import chosen
    from tests.runtime.kept import Gate, numbers
    from tests.supervisors.places.fake_cluster import FakeCluster

    chosen.engine = FakeCluster()
    flow = numbers(Gate(Path("gate")), placement="ray")
    print("made", flush=True)
    state = flow.start("numbers", {"upto": 8}, store="jobs", job_id="ended", checkpoint_every=0.02).wait()
    print(state.status, flush=True)
"""


@pytest.mark.parametrize("placement", ["thread", "ray"])
def test_a_job_whose_program_was_killed_goes_on_elsewhere(
    tmp_path: Path, placement: str, request: pytest.FixtureRequest
) -> None:
    file = tmp_path / "gate"
    with start_program(tmp_path, TEXT, common=False) as program:
        program.await_line("made")
        wait_until(at_gate(file).exists)
        store = FileStore(tmp_path / "jobs")
        kept = latest(store, "ended").image.header.number
        wait_until(lambda: latest(store, "ended").image.header.number > kept + 1)
        program.process.kill()
        program.process.wait()
        await_no_agents(program)
    if placement == "ray":
        request.getfixturevalue("cluster")
    file.touch()
    state = finish(Flow.resume(store, "ended", flow=numbers(Gate(file), placement=placement)))
    assert [item["n"] for item in state.results()] == list(range(8))
    assert state.routine_states["worker"]["state"]["seen"] == list(range(8))


def test_a_program_that_is_interrupted_ends_its_agents(tmp_path: Path) -> None:
    with start_program(tmp_path, TEXT, common=False) as program:
        program.await_line("made")
        wait_until(at_gate(tmp_path / "gate").exists)
        (tmp_path / "gate").touch()
        program.interrupt(signal.SIGINT)
        program.process.communicate()
        await_no_agents(program)
    assert FileStore(tmp_path / "jobs").jobs() == ["ended"]


def await_no_agents(program: Program) -> None:
    """Wait until no process of a program is left."""
    assert program.await_gone(10.0) == []
