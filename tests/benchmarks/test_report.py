"""What follows from what was measured, and that it can be read again."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.report import (
    EntryRecord,
    FigureRecord,
    Report,
    RowRecord,
    Spread,
    compare,
    find_entry,
    find_values,
    read,
    spread,
    write,
)

RATE = FigureRecord("rate", "messages/s", "more")
WAIT = FigureRecord("wait", "us", "less")


def _row(ours: list[dict[str, float] | None], theirs: list[dict[str, float] | None]) -> RowRecord:
    entries = [EntryRecord("ours", ours), EntryRecord("theirs", theirs)]
    return RowRecord("row", "a row", "ours", [RATE, WAIT], entries)


def test_a_spread_is_the_median_the_least_and_the_greatest() -> None:
    assert spread([3.0, 1.0, 2.0, 10.0]) == Spread(2.5, 1.0, 10.0)
    assert spread([]) is None


def test_ratios_are_taken_within_a_round_and_not_between_medians() -> None:
    # The machine was ten times as slow in the second round: for both.
    row = _row([{"rate": 100.0}, {"rate": 10.0}, {"rate": 90.0}], [{"rate": 50.0}, {"rate": 4.0}, {"rate": 30.0}])
    assert compare(row, RATE, row.entries[1]) == Spread(2.5, 2.0, 3.0)


def test_ahead_means_less_where_less_is_better() -> None:
    row = _row([{"wait": 2.0}], [{"wait": 10.0}])
    assert compare(row, WAIT, row.entries[1]) == Spread(5.0, 5.0, 5.0)


def test_rounds_in_which_one_took_no_part_are_not_compared() -> None:
    row = _row([{"rate": 100.0}, {"rate": 100.0}, None], [None, {"rate": 50.0}, {"rate": 1.0}])
    assert compare(row, RATE, row.entries[1]) == Spread(2.0, 2.0, 2.0)
    assert find_values(row.entries[0], "rate") == [100.0, 100.0]


def test_nothing_is_compared_with_itself_or_with_nothing() -> None:
    row = _row([{"rate": 100.0}], [None])
    assert compare(row, RATE, row.entries[0]) is None
    assert compare(row, RATE, row.entries[1]) is None
    assert compare(RowRecord("row", "", "", [RATE], row.entries), RATE, row.entries[1]) is None


def test_a_figure_of_nothing_has_no_ratio() -> None:
    row = _row([{"rate": 0.0}], [{"rate": 5.0}])
    assert compare(row, RATE, row.entries[1]) is None


def test_an_entry_is_found_by_its_name() -> None:
    row = _row([], [])
    assert find_entry(row, "theirs") is row.entries[1]
    assert find_entry(row, "nobody") is None


def test_a_report_that_was_written_is_read_as_it_was(tmp_path: Path) -> None:
    report = Report("bench", "2026-01-01", {"Python": "3.11"}, 2, [_row([{"rate": 1.5}, None], [None, {"wait": 2.0}])])
    write(report, tmp_path / "report.json")
    assert read(tmp_path / "report.json") == report


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"command": 1}')
    with pytest.raises(msgspec.ValidationError):
        read(tmp_path / "other.json")
