"""No job is started where code is only loaded: in a worker that is made ready, or by a command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from routilux import Flow, routine
from routilux.errors import JobAtImportError
from routilux.runtime.loading import refuse_while_loading
from routilux.stores import MemoryStore
from supervisors.loading import loading

GUARDLESS = """
from routilux import Flow, routine

@routine(events={"out": ["n"]})
def double(n):
    return {"n": 2 * n}

flow = Flow("guardless")
flow.add_routine(double, "double", placement="process", **OPTIONS)
flow.output("double", "out")
state = flow.execute("double", {"n": 2})
print(state.status, "|", state.error)
"""
VALUES = """
import work
from routilux import Flow

class Number:
    pass

flow = Flow("guardless")
flow.add_routine(work.take, "take", placement="process")
flow.output("take", "out")
state = flow.execute("take", {"n": Number()})
print(state.status, "|", state.error)
"""
WORK = """
from routilux import routine

@routine(events={"out": ["n"]})
def take(n):
    return {"n": n}
"""


@routine(events={"out": ["n"]})
def double(n: int) -> dict[str, int]:
    return {"n": 2 * n}


@routine(events={"out": ["n"]})
def double_elsewhere(n: int) -> dict[str, int]:
    """Run a job within this one."""
    (result,) = make_flow().execute("double", {"n": n}).results()
    return {"n": result["n"]}


def make_flow() -> Flow:
    flow = Flow("inner")
    flow.add_routine(double, "double")
    flow.output("double", "out")
    return flow


@pytest.mark.parametrize(
    "start",
    [
        lambda flow: flow.start("double", {"n": 1}),
        lambda flow: flow.execute("double", {"n": 1}),
        lambda flow: Flow.resume(MemoryStore(), "a", flow=flow),
    ],
    ids=["start", "execute", "resume"],
)
def test_no_job_is_started_while_code_is_loaded(start: Callable[[Flow], Any]) -> None:
    flow = make_flow()
    with loading.going_on(), pytest.raises(JobAtImportError) as caught:
        start(flow)
    assert (caught.value.module, caught.value.file) == (None, __file__)
    assert f"a job is started at {__file__}, line {caught.value.line}, while that code is only loaded" in str(
        caught.value
    )
    assert flow.execute("double", {"n": 1}).status == "completed"


def test_the_module_that_is_imported_is_told_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "starting.py").write_text(
        f"from {__name__} import refuse_while_loading\n\ndef start():\n    refuse_while_loading()\n\nstart()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with loading.going_on(), pytest.raises(JobAtImportError) as caught:
        __import__("starting")
    error = caught.value
    assert (error.module, error.file, error.line) == ("starting", str(tmp_path / "starting.py"), 6)
    refuse_while_loading()


def run_import(folder: Path, module: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.processes
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "what it runs could not be made again in its process: routilux.errors.JobAtImportError: module 'ng'"),
        (
            {"preload": ["ng"]},
            "preload: module 'ng' could not be imported: routilux.errors.JobAtImportError: module 'ng'",
        ),
    ],
    ids=["service", "preload"],
)
def test_a_module_that_starts_a_job_where_it_is_imported_breeds_no_processes(
    tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    (tmp_path / "ng.py").write_text(GUARDLESS.replace("OPTIONS", repr({**options, "max_restarts": 0})))
    (line,) = run_import(tmp_path, "ng").splitlines()
    assert line.startswith("failed | routine 'double': could not start: ")
    assert told in line
    assert (
        f"starts a job where it is imported ({tmp_path}/ng.py, line 11): put that under "
        '`if __name__ == "__main__":`, because workers import the module too'
    ) in line


@pytest.mark.processes
def test_a_value_whose_module_starts_a_job_breeds_no_processes(tmp_path: Path) -> None:
    (tmp_path / "ngv.py").write_text(VALUES)
    (tmp_path / "work.py").write_text(WORK)
    (line,) = run_import(tmp_path, "ngv").splitlines()
    assert line.startswith("failed | ")
    assert "module 'ngv' starts a job where it is imported" in line


@pytest.mark.processes
def test_a_handler_in_a_worker_may_start_a_job() -> None:
    flow = Flow("outer")
    flow.add_routine(double_elsewhere, "double", placement="process")
    flow.output("double", "out")
    state = flow.execute("double", {"n": 4})
    assert [item["n"] for item in state.results()] == [8], state.error
