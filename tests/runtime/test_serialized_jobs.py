"""A flow that is written while its job is paused has the job with it, and another program goes on with that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from routilux import Flow, ValueEncodingError
from routilux.serial.errors import PlainDataError
from routilux.stores import FileStore, MemoryStore
from tests.runtime.pausable import GATE, make_flow
from tests.scripts import run_script

MODULES = ["tests.runtime.pausable"]
COUNT = 60


def finished(results: list[Any], states: dict[str, Any]) -> dict[str, Any]:
    """Give what the end of a job is told by, whoever ran it."""
    return {
        "results": results,
        "states": {id_: told["state"] for id_, told in states.items()},
        "handled": {id_: told["handled"] for id_, told in states.items()},
    }


def expected() -> dict[str, Any]:
    GATE.set()
    state = make_flow(COUNT).execute("source")
    return finished(state.results(), state.routine_states)


@pytest.fixture(autouse=True)
def closed_gate() -> Iterator[None]:
    """Let no job of this program come to its end before a test wants it."""
    GATE.clear()
    yield
    GATE.clear()


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["files", "memory"])
def test_a_flow_written_while_paused_goes_on_in_another_program_to_the_same_end(tmp_path: Path, kind: str) -> None:
    store = FileStore(tmp_path / "jobs") if kind == "files" else MemoryStore()
    flow = make_flow(COUNT)
    job = flow.start("source", store=store, job_id="one")
    early = [next(job.results()) for _ in range(5)]
    job.pause("written")
    data = flow.serialize()
    job.cancel_and_wait()
    (tmp_path / "flow.json").write_text(json.dumps(data, allow_nan=False))
    script = f"""
        import json
        from pathlib import Path
        from routilux import Flow
        flow = Flow.deserialize(json.loads(Path("flow.json").read_text()), allow_modules={MODULES})
        assert flow.paused_jobs.jobs() == ["one"]
        from tests.runtime.pausable import GATE
        GATE.set()
        job = Flow.resume(flow.paused_jobs, "one", flow=flow)
        results = list(job.results())
        state = job.wait()
        assert state.status == "completed", state.error
        names = ("state", "handled")
        states = {{id_: {{name: told[name] for name in names}} for id_, told in state.routine_states.items()}}
        print(json.dumps([results, states]))
    """
    results, states = json.loads(run_script(script, tmp_path))
    whole = finished([*early, *results], states)
    assert whole == json.loads(json.dumps(expected()))


def test_a_flow_that_was_read_and_not_resumed_is_written_with_its_jobs_again() -> None:
    flow = make_flow(COUNT)
    job = flow.start("source", store=MemoryStore(), job_id="one")
    next(job.results())
    job.pause()
    data = flow.serialize()
    job.cancel_and_wait()
    assert "jobs" not in flow.serialize()
    read = Flow.deserialize(json.loads(json.dumps(data)), allow_modules=MODULES)
    assert read.serialize() == data
    assert Flow.from_bytes(flow.to_bytes(), allow_modules=MODULES).paused_jobs is None
    assert read.paused_jobs is not None
    again = Flow.resume(read.paused_jobs, "one", flow=read)
    assert "jobs" not in read.serialize()  # it runs
    again.pause()
    assert len(read.serialize()["jobs"]) == 1
    again.resume()
    GATE.set()
    assert again.wait().status == "completed"
    assert "jobs" not in read.serialize()


def test_a_paused_job_without_a_store_is_not_lost_silently() -> None:
    flow = make_flow(COUNT)
    job = flow.start("source")
    job.pause()
    with pytest.raises(ValueEncodingError, match="has no store"):
        flow.serialize()
    job.resume()
    job.cancel_and_wait()


@pytest.mark.parametrize(
    "jobs",
    [
        [{"$as_it_is": {"job_id": "../x", "generation": 1, "objects": {}, "logs": {}}}],
        [{"$as_it_is": {"job_id": "x", "generation": 1, "objects": {"../y": "eA=="}, "logs": {}}}],
        [{"$as_it_is": {"job_id": "x", "generation": 1, "objects": {}, "logs": {}, "more": 1}}],
        [{"$as_it_is": 1}],
        [1],
        3,
    ],
)
def test_jobs_that_are_none_are_refused(jobs: Any) -> None:
    data = make_flow(COUNT).serialize()
    with pytest.raises(PlainDataError):
        Flow.deserialize({**data, "jobs": jobs}, allow_modules=MODULES)
