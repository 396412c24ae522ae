"""`routilux graph`: of a flow, of a job that runs, and of one that is kept."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from routilux import Flow
from routilux.cli.main import main
from tests.cli.test_metrics import in_a_folder, started
from tests.tracking.samples import one, pairs, wait_until

__all__ = ["in_a_folder"]  # a fixture, which is used by its name

TARGET = f"{__name__}:drawn"


def drawn() -> Flow:
    return pairs()[0]


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["graph", *words])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_flow_is_drawn_in_each_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, TARGET)[1].startswith("flowchart LR\n")
    assert told(capsys, TARGET, "--format", "dot")[1].startswith("digraph ")
    status, out, err = told(capsys, TARGET, "--format", "svg")
    assert (status, ET.fromstring(out).tag, err) == (0, "{http://www.w3.org/2000/svg}svg", "")
    assert told(capsys, TARGET, "--format", "svg", "-o", "flow.svg") == (0, "", "wrote flow.svg\n")
    assert Path("flow.svg").read_text() == out


def test_the_ending_of_a_file_says_the_format_where_nothing_else_does(capsys: pytest.CaptureFixture[str]) -> None:
    for name, words, beginning in (
        ("flow.svg", (), "<svg "),
        ("flow.dot", (), "digraph "),
        ("flow.md", (), "flowchart "),
        ("flow.svg", ("--format", "dot"), "digraph "),
    ):
        assert told(capsys, TARGET, "-o", name, *words) == (0, "", f"wrote {name}\n")
        assert Path(name).read_text().startswith(beginning)


def test_a_job_that_runs_is_asked_for_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    job = started()
    status, out, err = told(capsys, "a", "--store", "jobs")
    assert (status, err) == (0, "")
    assert 'title: "pairs, job a: running"' in out
    assert '["sum<br/>running<br/>2 handled"]' in out
    job.close_entry()
    job.wait()


def test_a_job_that_runs_is_drawn_without_a_store_too(capsys: pytest.CaptureFixture[str]) -> None:
    job = drawn().start("pair", {"n": 1}, keep_open=True, takes_commands=True)
    wait_until(job, lambda tracker: one(tracker, "sum").handled == 2)
    status, out, err = told(capsys, job.id[:6])
    assert (status, err) == (0, "")
    assert f'title: "pairs, job {job.id}: running"' in out
    assert '["sum<br/>running<br/>2 handled"]' in out
    job.close_entry()
    job.wait()


def test_a_job_that_is_kept_is_drawn_by_its_newest_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    started().leave()
    status, out, err = told(capsys, "a", "--store", "jobs", "--format", "svg")
    texts = [text.text for text in ET.fromstring(out).iter("{http://www.w3.org/2000/svg}text")]
    assert (status, err, texts[0]) == (0, "", "pairs, job a: paused")
    assert {"pair", "sum", "2 handled", "item \u2192 input", "2"} <= set(texts)


def test_what_is_no_flow_and_no_job_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    started().leave()
    status, out, err = told(capsys, "b", "--store", "jobs")
    assert (status, out) == (2, "")
    assert "its jobs are 'a'" in err
    status, _out, err = told(capsys, "a")
    assert status == 2
    assert err.startswith(
        "routilux: expected MODULE:FLOW, path/file.py:flow or a flow file, or the id of a job, got 'a': no job 'a'"
    )
    status, _out, err = told(capsys, TARGET, "--key-file", "key")
    assert (status, "--key-file means nothing for a flow" in err) == (2, True)


def test_damage_is_told_beside_what_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    started().leave()
    newest = max(Path("jobs/a").rglob("checkpoint-*"))
    newest.write_bytes(newest.read_bytes()[:-9])
    status, out, err = told(capsys, "a", "--store", "jobs")
    assert (status, out.startswith("---\ntitle:")) == (1, True)
    assert err.startswith(f"routilux: {newest.stem}")
