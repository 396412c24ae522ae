"""`routilux trace`: the complete history, in a file or on stdout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from routilux import Flow
from routilux.cli.main import main
from routilux.stores import FileStore
from tests.cli.test_metrics import in_a_folder, started
from tests.tracking.samples import pairs

__all__ = ["in_a_folder"]  # a fixture, which is used by its name


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["trace", "a", "--store", "jobs", *words])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_trace_of_the_whole_history_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    started().leave()
    flow, _pair = pairs()
    with Flow.resume(FileStore("jobs"), "a", flow=flow) as job:
        job.send("pair", "trigger", n=2)
    assert told(capsys, "-o", "trace.json") == (0, "", "wrote trace.json\n")
    written = Path("trace.json").read_text()
    assert sum(event["ph"] == "X" for event in json.loads(written)["traceEvents"]) == 6
    assert told(capsys) == (0, written, "")
    status, out, _err = told(capsys, "--routine", "sum")
    assert (status, sum(event["ph"] == "X" for event in json.loads(out)["traceEvents"])) == (0, 4)


def test_what_cannot_be_written_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    started().leave()
    status, _out, err = told(capsys, "-o", "nowhere/trace.json")
    assert (status, err.startswith("routilux: the file 'nowhere/trace.json'")) == (1, True)
    status, _out, err = told(capsys, "-o", ".")
    assert (status, err.startswith("routilux: the file '.' could not be written: ")) == (1, True)


def test_a_routine_that_the_job_does_not_have_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    started().leave()
    status, out, err = told(capsys, "-o", "t.json", "--routine", "pai")
    assert (status, out, err.endswith("did you mean 'pair'?\n")) == (2, "", True)
    assert not Path("t.json").exists()
