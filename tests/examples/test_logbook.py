from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from examples import logbook
from routilux import Flow, Job, JobState
from routilux.observe import observe
from tests.examples.shell import Shell
from tests.runtime.kept import wait_until

ROOT = Path(__file__).resolve().parents[2]


class Figures(NamedTuple):
    """What a folder of logs comes to; no figure depends on the order in which workers were done with lines."""

    levels: dict[str, int]
    errors: list[dict[str, Any]]
    windows: Counter[tuple[str, int]]
    kinds: set[tuple[str, str]]


def plain_loop(folder: Path) -> Figures:
    """The same without routilux."""
    levels: Counter[str] = Counter()
    services: Counter[str] = Counter()
    errors = []
    for path in sorted(folder.glob("*.log")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for record in logbook.parse(str(path), number, line):
                levels[record["level"]] += 1
                services[record["service"]] += 1
                if record["level"] in ("ERROR", "CRITICAL"):
                    errors.append(record)
    return Figures(
        dict(levels),
        sorted(errors, key=by_place),
        Counter(window for service, count in services.items() for window in windows_of(service, count)),
        {logbook.kind(error["service"], error["text"]) for error in errors},
    )


def windows_of(service: str, count: int) -> list[tuple[str, int]]:
    """Give the windows of a service with the lines in each."""
    full, rest = divmod(count, logbook.WINDOW)
    return [(service, logbook.WINDOW)] * full + [(service, rest)] * (rest > 0)


def figures(state: JobState, into: Path) -> Figures:
    """The same out of a job and the files it wrote; checks on the way that no kind is in its file twice."""
    assert state.status == "completed", state.error
    with (into / "kinds.csv").open(newline="", encoding="utf-8") as file:
        kinds = [logbook.kind(row["service"], row["text"]) for row in csv.DictReader(file)]
    assert len(kinds) == len(set(kinds))
    means = [json.loads(line) for line in (into / "means.jsonl").read_text(encoding="utf-8").splitlines()]
    errors = [json.loads(line) for line in (into / "errors.jsonl").read_text(encoding="utf-8").splitlines()]
    return Figures(
        logbook.levels(state),
        sorted(errors, key=by_place),
        Counter((mean["key"], mean["count"]) for mean in means),
        set(kinds),
    )


def by_place(record: dict[str, Any]) -> Any:
    return record["where"]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    logbook.make_logs(tmp_path / "logs", files=8, lines=400, seed=3)
    return tmp_path / "logs"


@pytest.mark.processes
@pytest.mark.parametrize(("placement", "workers"), [("thread", None), ("process", 1), ("process", 3)])
def test_figures_are_those_of_a_plain_loop(logs: Path, tmp_path: Path, placement: str, workers: int | None) -> None:
    flow = logbook.flow(str(tmp_path), placement, workers)
    assert figures(flow.execute("files", {"root": str(logs)}), tmp_path) == plain_loop(logs)


def wait_for_lines(job: Job, count: int) -> None:
    """Wait until so many lines were parsed, in all runs of the job together."""
    wait_until(lambda: job.state.routine_states["parse"]["handled"] >= count)


# Both are kept open, so that they are not over before they are killed, or left, for the last time.


@pytest.mark.processes
def test_figures_are_the_same_when_workers_are_killed(logs: Path, tmp_path: Path) -> None:
    draw = random.Random(1)
    with logbook.flow(str(tmp_path), workers=2).start("files", {"root": str(logs)}, keep_open=True) as job:
        for lines in range(100, 3_000, 400):
            wait_for_lines(job, lines)
            pids = observe(job).routine("parse").pids
            if pids:
                os.kill(draw.choice(pids), signal.SIGKILL)
    assert figures(job.state, tmp_path) == plain_loop(logs)
    assert job.state.routine_states["parse"]["restarts"] > 0


@pytest.mark.processes
def test_figures_are_the_same_when_the_job_is_left_and_resumed_again_and_again(logs: Path, tmp_path: Path) -> None:
    kept: dict[str, Any] = {"store": tmp_path / "jobs", "job_id": "logbook"}
    job = logbook.flow(str(tmp_path)).start("files", {"root": str(logs)}, keep_open=True, **kept)
    for lines in (50, 900, 2_000):
        wait_for_lines(job, lines)
        assert job.leave().status == "paused"
        job = Flow.resume(kept["store"], kept["job_id"], flow=logbook.flow(str(tmp_path)))
    with job:
        pass  # closes it, and waits for its end
    assert figures(job.state, tmp_path) == plain_loop(logs)


def is_reading(told: list[str]) -> bool:
    return re.match(r"logbook: [1-9]", told[-1]) is not None


@pytest.mark.stress  # the census and the nightly job tell the same story in `make test`
@pytest.mark.processes
def test_a_program_that_is_paused_and_killed_in_a_shell_has_the_figures_of_a_plain_loop(tmp_path: Path) -> None:
    shell = Shell(tmp_path, ["logbook.py"], is_reading)
    # Enough for each of the three to be in the middle of it when it has told of some lines.
    assert shell.run("make", "logs", "--files", "10", "--lines", "3000", "--seed", "5")[0] == 0
    read = ("read", "logs", "--workers", "2", "--every", "0.05")
    status, _, errors = shell.run(*read, end=signal.SIGINT)
    assert status == 130, errors
    assert errors.endswith("paused: the same command goes on\n")
    assert shell.run(*read, end=signal.SIGKILL)[0] == -signal.SIGKILL
    status, _, errors = shell.run(*read, end=signal.SIGTERM)
    assert status == 143, errors
    status, out, errors = shell.run(*read)
    assert status == 0, errors

    expected = plain_loop(tmp_path / "logs")
    told = {name: int(figure.replace(",", "")) for name, figure in re.findall(r"^ *(\w+) +([\d,]+)", out, re.MULTILINE)}
    assert told == {**expected.levels, "kinds": len(expected.kinds)}
    lines = (tmp_path / "errors.jsonl").read_text(encoding="utf-8").splitlines()
    assert sorted((json.loads(line) for line in lines), key=by_place) == expected.errors
    assert shell.run(*read)[2].startswith("logbook: ")  # it is over: nothing to go on with


@pytest.mark.parametrize("words", [[], ["read", "/no/such/folder"], ["write", "x"]])
def test_what_cannot_be_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        logbook.main(words)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err
