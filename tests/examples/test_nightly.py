from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from examples import nightly
from routilux import Flow
from routilux.keeping.finding import catalog
from routilux.stores import open_store
from tests.examples.killed_sinks import MESSAGES
from tests.examples.shell import SECONDS, Shell
from tests.runtime.kept import wait_until

ROOT = Path(__file__).resolve().parents[2]


def plain_loop(folder: Path) -> list[tuple[str, float]]:
    """The same without routilux."""
    return [
        (path, nightly.score_of(*nightly.count((folder / path).read_bytes())))
        for path in nightly.python_files(str(folder))
    ]


def lines_of(scores: Sequence[tuple[str, float]]) -> list[str]:
    return [f"{score:8.2f}  {path}" for path, score in scores]


def rows_in(database: Path) -> list[tuple[str, float]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT path, score FROM scores ORDER BY rowid").fetchall()


def is_scoring(told: list[str]) -> bool:
    return len(told) >= 3 and re.match(r"nightly: [1-9]\d* of ", told[-1]) is not None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose last file is a pipe: no job is done with it before somebody writes into that."""
    folder = tmp_path / "sources"
    shutil.copytree(ROOT / "supervisors", folder, ignore=shutil.ignore_patterns("__pycache__"))
    os.mkfifo(folder / "zz.py")
    return folder


@pytest.mark.processes
def test_a_job_that_is_paused_and_killed_from_the_shell_finds_what_a_plain_loop_finds(
    folder: Path, tmp_path: Path
) -> None:
    shell = Shell(tmp_path, ["nightly.py", "--workers", "2", "--every", "0.05"], is_scoring)
    status, _, errors = shell.run("start", str(folder), end=signal.SIGINT)
    assert status == 130, errors
    assert errors.endswith("paused: go on with `python examples/nightly.py resume --store jobs`\n")
    [summary] = catalog(open_store(tmp_path / "jobs"))
    assert summary.header is not None
    assert (summary.job_id, summary.header.status, summary.header.cause) == ("nightly", "paused", "pause")

    assert shell.run("resume", end=signal.SIGKILL)[0] == -signal.SIGKILL
    status, _, errors = shell.run("resume", end=signal.SIGTERM)
    assert status == 143, errors

    writer = threading.Thread(target=(folder / "zz.py").write_bytes, args=(b"x = 1 if 2 else 3\n",), daemon=True)
    writer.start()
    status, out, errors = shell.run("resume")
    assert status == 0, errors
    writer.join()

    (folder / "zz.py").unlink()
    (folder / "zz.py").write_bytes(b"x = 1 if 2 else 3\n")
    expected = plain_loop(folder)
    assert re.match(rf"nightly: {len(expected)} of {len(expected)} files, .*: completed\n$", out)
    assert sorted((tmp_path / "nightly.txt").read_text().splitlines()) == sorted(lines_of(expected))
    assert sorted(rows_in(tmp_path / "nightly.sqlite")) == sorted(expected)


@pytest.mark.processes
@pytest.mark.parametrize("sink", ["lines", "rows"])
def test_a_sink_has_each_message_once_whenever_its_program_is_killed(sink: str, tmp_path: Path) -> None:
    def run(when: str, at: int, every: float) -> int:
        words = [sink, str(tmp_path / "jobs"), str(tmp_path), when, str(at), str(every)]
        return subprocess.run(
            [sys.executable, "-m", "tests.examples.killed_sinks", *words], cwd=ROOT, timeout=SECONDS, check=False
        ).returncode

    # Without a checkpoint all is run again each time; with many, from somewhere behind what was done.
    for when, at, every in [("torn", 5, 0), ("after", 10, 0), ("after", 20, 0.01), ("torn", 30, 0.01)]:
        assert run(when, at, every) == -signal.SIGKILL
    assert run("never", 0, 0.01) == 0
    expected = [(f"{number:04}", float(number)) for number in range(MESSAGES)]
    if sink == "lines":
        assert (tmp_path / "lines").read_text().splitlines() == lines_of(expected)
    else:
        assert rows_in(tmp_path / "rows") == expected


def test_a_file_that_has_less_than_the_job_has_written_is_told_and_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("short")
    lines = nightly.Lines(tmp_path / "lines")
    lines.state = {"end": 1_000}
    flow = Flow("scores")
    flow.add_routine(lines, "lines")
    with flow.start(keep_open=True) as job:
        job.send("lines", "scored", path="a.py", score=1.0)
    assert job.state.status == "failed"
    assert job.state.error is not None
    assert job.state.error.endswith("lines had 1,000 bytes when the job was kept, and has 5")
    assert (tmp_path / "lines").read_text() == "short"


def test_the_job_goes_by_the_listing_it_began_with_and_tells_what_it_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "a.py").write_text("def f():\n    if 1: pass\n    if 2: pass\n")
    (folder / "b.py").write_text("x = = 1\n")
    (folder / "c\n.py").write_text("")
    flow = nightly.flow(str(tmp_path), workers=1)
    job = flow.start("files", {"root": str(folder)}, store=tmp_path / "jobs", job_id="nightly")
    wait_until(lambda: job.state.routine_states["files"]["state"])
    job.leave("evening")
    (folder / "a0.py").write_text("")
    with Flow.resume(tmp_path / "jobs", "nightly", flow=nightly.flow(str(tmp_path), workers=1)) as job:
        state = job.wait()
    assert (tmp_path / "nightly.txt").read_text() == "    2.00  a.py\n    0.00  'c\\n.py'\n"
    report = list(nightly.report(state))
    assert report[0] == "nightly: 2 of 3 files, 0 rows were there already: completed"
    assert report[1].startswith("  left out b.py: raised SyntaxError: invalid syntax")


@pytest.mark.parametrize("words", [["stop"], ["start", "/no/such/folder"], []])
def test_what_cannot_be_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        nightly.main(words)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err
