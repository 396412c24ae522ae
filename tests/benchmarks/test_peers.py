"""Every contestant does its work, with next to nothing of it. How fast is not asked."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from benchmarks.contest import Entry, Row
from benchmarks.gate import GATED
from benchmarks.growth import CURVES
from benchmarks.rounds import try_once
from benchmarks.rows import ROWS
from benchmarks.trial import Trial, run
from benchmarks.work import DEATH_NOTE

SIZES = {"rate": 40, "cost": 40, "trips": 5, "arrays": 2, "start": 2, "idle": 1, "burn": 4, "kills": 1}
"""What each measure is asked to do."""
LIGHTER = {"arrays": "small arrays"}
"""What is measured in place of a measure that takes long even so: there and back go 0.1, 1.6 and 6.4 MB."""
OURS = {"actors", "flows", "growing"}
"""Modules whose contestants leave nothing in their process: no process of their own has to be started for them."""


def _each_way() -> Iterator[tuple[Row, Entry]]:
    """Give one entry for each class, measure and set of options; of curves the first point, which is the smallest."""
    seen = set()
    for row in (*ROWS, *CURVES):
        for entry in row.entries:
            options = "" if row in CURVES else str(sorted(entry.options.items()))
            way = (entry.made_by, row.measure, options)
            if way not in seen:
                seen.add(way)
                yield row, entry


@pytest.mark.processes
@pytest.mark.parametrize(
    ("row", "entry"),
    [
        pytest.param(
            row, entry, id=f"{row.name}-{entry.name}-{row.measure}", marks=[pytest.mark.slow] if entry.needs else []
        )
        for row, entry in _each_way()
    ],
)
def test_a_contestant_gives_each_figure_of_its_row(row: Row, entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    if any(importlib.util.find_spec(name) is None for name in entry.needs):
        pytest.skip(f"{entry.name} is not installed")
    # Not pinned to processors: others run beside it here.
    measure = LIGHTER.get(row.measure, row.measure)
    trial = Trial(measure, SIZES[row.measure], entry.made_by, dict(entry.options))
    monkeypatch.setenv(DEATH_NOTE, "")  # where the trial sets it, it is as it was behind it
    found = run(trial) if entry.made_by.partition(":")[0] in OURS else try_once(trial)
    assert not isinstance(found, str), found
    assert {figure.name for figure in row.figures} <= set(found)


@pytest.mark.parametrize("row", [*ROWS, *CURVES, *GATED], ids=lambda row: f"{row.name}-{row.measure}")
def test_a_row_names_each_contestant_and_figure_once(row: Row) -> None:
    names = [entry.name for entry in row.entries]
    assert len(set(names)) == len(names)
    assert len({figure.name for figure in row.figures}) == len(row.figures)
    assert row.reference in ["", *names]


def test_no_two_rows_of_a_command_have_the_same_name() -> None:
    for rows in (ROWS, CURVES, GATED):
        assert len({row.name for row in rows}) == len(rows)
