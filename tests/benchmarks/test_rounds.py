"""Interleaved rounds, and what becomes of trials that fail."""

from __future__ import annotations

import pytest

from benchmarks.contest import Entry, Figure, Row
from benchmarks.report import find_values
from benchmarks.rounds import Plan, order, run_rows


def _row(*entries: Entry) -> Row:
    return Row("row", "a row", "rate", 100, (Figure("rate", "1/s", "more"),), entries)


def test_each_round_begins_with_another_contestant() -> None:
    assert [order(3, number) for number in range(4)] == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]


def test_who_needs_what_is_not_installed_takes_no_part() -> None:
    lines: list[str] = []
    report = run_rows("bench", [_row(Entry("peer", "pykka:Pipeline", ("no_such_module",)))], Plan(2), lines.append)
    [entry] = report.rows[0].entries
    assert (entry.missing, entry.rounds, lines) == ("not installed", [None, None], [])


@pytest.mark.processes
def test_a_trial_that_fails_is_told_of_and_not_tried_again() -> None:
    lines: list[str] = []
    report = run_rows("bench", [_row(Entry("wrong", "pykka:NoSuchClass"))], Plan(2), lines.append)
    [entry] = report.rows[0].entries
    assert entry.missing.startswith("failed (1): AttributeError")
    assert len(lines) == 1


@pytest.mark.processes
def test_some_take_part_in_one_of_so_many_rounds() -> None:
    row = _row(Entry("always", "pykka:Pipeline"), Entry("seldom", "pykka:Pipeline", every=2))
    report = run_rows("bench", [row], Plan(3), lambda _: None)
    always, seldom = report.rows[0].entries
    assert [found is None for found in seldom.rounds] == [False, True, False]
    assert len(find_values(always, "rate")) == 3


@pytest.mark.processes
def test_no_round_begins_when_the_time_is_over_but_the_first() -> None:
    lines: list[str] = []
    report = run_rows("bench", [_row(Entry("a", "pykka:Pipeline"))], Plan(3, limit=0.0), lines.append)
    assert (report.rounds, len(report.rows[0].entries[0].rounds)) == (1, 1)
    assert lines[-1] == "stopped after 1 of 3 rounds: 0 s are over"
