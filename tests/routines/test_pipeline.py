"""A pipeline of built-in routines alone has the counts of a plain loop, wherever it runs and whatever is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from routilux import Flow, JobState
from routilux.observe import observe
from tests.routines.census import (
    MANY,
    PLACEMENTS,
    SOME,
    Found,
    found_by,
    make_folder,
    pipeline,
    plain_loop,
    words_counted,
)
from tests.runtime.kept import wait_until

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0
"""How long a program may take (arbitrary)."""


def check(flow: Flow, state: JobState, folder: Path, *, in_order: bool = True) -> None:
    """Compare all figures with those of the loop.

    Args:
        flow: the pipeline.
        state: how it ended.
        folder: where it was.
        in_order: whether words came in their order, so that the first one of the longest is the same.
    """
    assert state.status == "completed", state.error
    expected, found = plain_loop(folder / "root"), found_by(flow, state, folder)
    counted = {"lines": len(expected.files), "counts": sum(expected.words.values()) + 1, "rest": expected.rest + 1,
               "definitions": sum(expected.definitions.values()), "names": len(expected.modules)}  # fmt: skip
    assert {name: state.routine_states[name]["handled"] for name in counted} == counted
    if not in_order:
        expected, found = (
            figures._replace(longest={key: str(len(word)) for key, word in figures.longest.items()})
            for figures in (expected, found)
        )
    for name in Found._fields:
        assert getattr(found, name) == getattr(expected, name), name


@pytest.mark.processes
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("packages", [SOME, pytest.param(MANY, marks=pytest.mark.stress)], ids=["some", "many"])
def test_the_counts_are_those_of_a_plain_loop(packages: tuple[str, ...], placement: str, tmp_path: Path) -> None:
    make_folder(tmp_path / "root", packages)
    flow = pipeline(tmp_path, placement)
    assert [problem for problem in flow.check() if problem.severity == "error"] == []
    state = flow.execute("files", {"root": str(tmp_path / "root")})
    check(flow, state, tmp_path, in_order=placement != "pool")
    whole = state.tracker.get_flow_performance()
    assert (whole.failed, whole.dead, whole.waiting) == (0, 0, 0)
    assert all(connection.count == connection.handled for connection in state.tracker.event_flow())


@pytest.mark.processes
@pytest.mark.parametrize("placement", ["mixed", pytest.param("pool", marks=pytest.mark.stress)])
def test_they_are_when_workers_are_killed_and_the_job_is_paused(placement: str, tmp_path: Path) -> None:
    make_folder(tmp_path / "root", SOME)
    flow, draw = pipeline(tmp_path, placement), random.Random(3)
    # Kept open, so that it is not over before the last one is killed.
    with flow.start("files", {"root": str(tmp_path / "root")}, keep_open=True) as job:
        for words in range(200, 3_200, 600):
            wait_until(lambda at=words: words_counted(job.state) >= at)
            pids = [pid for routine in observe(job).routines for pid in routine.pids]
            with suppress(ProcessLookupError):  # it may be one that was killed before
                os.kill(draw.choice(pids), signal.SIGKILL)
            if words == 1_400:
                job.pause()
                job.resume()
    # What a killed worker of a pool had in hand comes behind what the others had.
    check(flow, job.state, tmp_path, in_order=placement != "pool")
    assert sum(state["restarts"] for state in job.state.routine_states.values()) > 0


def run_until(folder: Path, placement: str, words: int) -> int:
    """Run the program, and kill it once it has counted so many words; gives how it ended."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.routines.census", folder, placement],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        for told in program.stdout:
            if int(told) >= words:
                program.kill()
        return program.wait(SECONDS)


@pytest.mark.processes
@pytest.mark.parametrize("placement", ["thread", pytest.param("mixed", marks=pytest.mark.stress)])
def test_they_are_when_the_program_is_killed_and_the_job_resumed(placement: str, tmp_path: Path) -> None:
    make_folder(tmp_path / "root", SOME)
    for words in (1, 1_000, 2_500):
        assert run_until(tmp_path, placement, words) == -signal.SIGKILL
    assert run_until(tmp_path, placement, sys.maxsize) == 0
    check(pipeline(tmp_path, placement), JobState.load(tmp_path / "state"), tmp_path)
