"""`routilux show --metrics` and `--prometheus`: of a job that runs, and of one that is kept."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from routilux import Job
from routilux.cli.main import main
from routilux.cli.metrics import tell_metrics
from tests.tracking.samples import one, pairs, tracker, wait_until


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("r")))


def started() -> Job:
    flow, _pair = pairs()
    job: Job = flow.start("pair", {"n": 1}, store="jobs", job_id="a", keep_open=True)
    wait_until(job, lambda tracker: one(tracker, "sum").handled == 2)
    return job


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["show", "a", "--store", "jobs", *words])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_job_that_runs_is_asked_itself(capsys: pytest.CaptureFixture[str]) -> None:
    job = started()
    status, out, _err = told(capsys, "--metrics", "--json")
    shown = json.loads(out)
    assert (status, shown["status"], shown["routines"]["sum"]["handled"]) == (0, "running", 2)
    assert job.last_checkpoint is not None
    assert job.last_checkpoint.number == 1, "what it tells is of now, and not of a checkpoint"
    job.close_entry()
    job.wait()


def test_a_job_that_nobody_runs_is_told_by_its_newest_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    job = started()
    job.leave()
    status, out, err = told(capsys, "--metrics")
    assert (status, err) == (0, "")
    assert re.match(r"job a of flow pairs: paused, as of [-0-9]+ [:0-9]+\n  ran .* s, 3 messages handled", out)
    assert re.search(r"^sum +2 .* 100\.0%", out, re.MULTILINE)
    assert re.search(r"^pair +[0-9.]+ [mu]?s", out, re.MULTILINE)
    assert re.search(r"^pair\.item -> sum\.input +2 +2 +0", out, re.MULTILINE)
    shown = json.loads(told(capsys, "--metrics", "--json")[1])
    assert shown["routines"]["sum"] == json.loads(json.dumps(job.tracker.to_dict()))["routines"]["sum"] | {
        name: shown["routines"]["sum"][name] for name in ("throughput", "recent_throughput")
    }


def test_one_routine_is_told_of_alone(capsys: pytest.CaptureFixture[str]) -> None:
    started().leave()
    _status, out, _err = told(capsys, "--metrics", "--routine", "pair")
    assert "\nsum " not in out
    _status, out, _err = told(capsys, "--prometheus", "--routine", "pair")
    assert set(re.findall(r'routine="(\w+)"', out)) == {"pair"}
    assert set(re.findall(r'target="(\w*)"', out)) == {"sum", "pair"}
    shown = json.loads(told(capsys, "--metrics", "--json", "--routine", "pair")[1])
    assert (list(shown["routines"]), shown["flow"]["handled"]) == (["pair"], 1)


@pytest.mark.parametrize("words", [("--metrics",), ("--prometheus",), ("--history",), ()])
def test_a_routine_that_the_job_does_not_have_is_refused(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    started().leave()
    status, out, err = told(capsys, *words, "--routine", "pai")
    assert (status, out) == (2, "")
    assert (
        err
        == "routilux: --routine: the job has no routine 'pai'; its routines are 'pair', 'sum'; did you mean 'pair'?\n"
    )


def test_metrics_for_prometheus(capsys: pytest.CaptureFixture[str]) -> None:
    started().leave()
    status, out, _err = told(capsys, "--prometheus")
    assert status == 0
    assert 'routilux_handled_total{job_id="a",flow_id="pairs",routine="sum"} 2\n' in out


def test_what_is_shown_fits_a_narrow_terminal_and_is_printable() -> None:
    lines = list(tell_metrics(tracker("par\x1b[2Jse"), 60))
    assert max(map(len, lines[2:])) <= 60
    assert not any("\x1b" in line for line in lines)
    assert any("12.5 s" in line for line in tell_metrics(tracker(), 200))
