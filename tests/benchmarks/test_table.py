"""A report as a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.contest import OURS
from benchmarks.report import EntryRecord, FigureRecord, Report, RowRecord, write
from benchmarks.table import BEGIN, END, main, replace, to_markdown, to_text

REPORT = Report(
    "python -m benchmarks.compare",
    "2026-01-01T00:00:00+00:00",
    {"system": "Linux", "Python": "3.11.7"},
    2,
    [
        RowRecord(
            "hops-threads",
            "three hops",
            OURS,
            [FigureRecord("rate", "messages/s", "more")],
            [
                EntryRecord(OURS, [{"rate": 90_000.0}, {"rate": 110_000.0}]),
                EntryRecord("Pykka", [{"rate": 30_000.0}, {"rate": 55_000.0}]),
                EntryRecord("Ray", [None, None], "not installed"),
            ],
        )
    ],
)


def test_a_line_tells_the_median_the_spread_and_how_far_ours_is_ahead() -> None:
    lines = to_markdown(REPORT).splitlines()
    assert f"| {OURS} | rate, messages/s | 100,000 | 90,000 to 110,000 |  |  |  |" in lines
    assert "| Pykka | rate, messages/s | 42,500 | 30,000 to 55,000 | x 2.50 | 2.00 to 3.00 | x 3: missed |" in lines


def test_who_is_not_installed_is_named_and_why() -> None:
    assert "| Ray | not installed |  |  |  |  |  |" in to_markdown(REPORT).splitlines()
    assert "Ray" in to_text(REPORT)


def test_the_machine_and_the_command_stand_above_the_table() -> None:
    for text in (to_markdown(REPORT), to_text(REPORT)):
        assert text.splitlines()[0].strip() == (
            "`python -m benchmarks.compare`, 2026-01-01T00:00:00+00:00, 2 interleaved rounds"
        )
        assert "Python 3.11.7" in text.splitlines()[1]


def test_only_what_is_between_the_marks_of_a_page_is_replaced() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replace(page, "new") == f"before\n{BEGIN}\n\nnew\n{END}\nafter\n"
    assert replace(replace(page, "new"), "new") == replace(page, "new")


def test_the_command_puts_reports_into_a_page(tmp_path: Path) -> None:
    file, page = tmp_path / "report.json", tmp_path / "page.md"
    write(REPORT, file)
    page.write_text(f"{BEGIN}\n{END}\n")
    assert main([str(file), str(file), "--page", str(page)]) == 0
    assert page.read_text().count("**hops-threads**") == 2


def test_a_page_without_marks_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, page = tmp_path / "report.json", tmp_path / "page.md"
    write(REPORT, file)
    page.write_text("text")
    assert main([str(file), "--page", str(page)]) == 1
    assert page.read_text() == "text"
    assert BEGIN in capsys.readouterr().err


def test_the_command_prints_where_no_page_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(REPORT, tmp_path / "report.json")
    assert main([str(tmp_path / "report.json")]) == 0
    assert "**hops-threads**: three hops" in capsys.readouterr().out
