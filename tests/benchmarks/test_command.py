"""The options of the commands that measure rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.command import begins, only, run_command
from benchmarks.contest import Entry, Figure, Row
from benchmarks.report import read

FIGURES = (Figure("rate", "1/s", "more"),)
ROW = Row(
    "hops", "hops", "rate", 20, FIGURES, (Entry("a", "pykka:Pipeline"), Entry("b", "pykka:Pipeline")), reference="a"
)


@pytest.mark.parametrize(
    ("wanted", "is_chosen"),
    [("", True), ("hops", True), ("ho, other", True), ("threads", False), (" , ", True)],
)
def test_rows_are_chosen_by_how_their_names_begin(wanted: str, is_chosen: bool) -> None:
    assert begins("hops-threads", wanted) is is_chosen


def test_who_the_others_are_compared_with_always_takes_part() -> None:
    assert [entry.name for entry in only(ROW, "b").entries] == ["a", "b"]
    assert [entry.name for entry in only(ROW, "c").entries] == ["a"]


def test_a_row_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_command("benchmarks.compare", "", [ROW], ["--rows", "jumps"], rounds=1)
    assert "there are hops" in capsys.readouterr().err


@pytest.mark.processes
def test_what_was_measured_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.json"
    assert run_command("benchmarks.compare", "", [ROW], ["--rounds", "1", "--json", str(file)], rounds=3) == 0
    report = read(file)
    assert (report.rounds, [entry.missing for entry in report.rows[0].entries]) == (1, ["", ""])
    assert report.command == "python -m benchmarks.compare --rounds=1 --scale=1"
    assert report.machine["processors"] in capsys.readouterr().out


@pytest.mark.processes
def test_a_contestant_that_fails_fails_the_command() -> None:
    row = ROW._replace(entries=(Entry("a", "pykka:NoSuchClass"),))
    assert run_command("benchmarks.compare", "", [row], ["--rounds", "1"], rounds=1) == 1
