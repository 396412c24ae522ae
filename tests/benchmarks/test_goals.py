"""Goals beside figures."""

from __future__ import annotations

import pytest

from benchmarks.contest import OURS
from benchmarks.goals import GOALS, Goal, find_goal
from benchmarks.growth import CURVES
from benchmarks.rows import ROWS


@pytest.mark.parametrize(
    ("kind", "median", "ratio", "is_reached"),
    [
        ("ahead", 1.0, 3.0, True),
        ("ahead", 1.0, 2.9, False),
        ("ahead", 1.0, None, False),
        ("within", 1.0, 3.0, True),
        ("within", 1.0, 3.1, False),
        ("within", 1.0, None, False),
        ("most", 3.0, None, True),
        ("most", 3.1, 9.0, False),
    ],
)
def test_a_goal_is_reached_by_its_kind(kind: str, median: float, ratio: float | None, is_reached: bool) -> None:
    assert Goal("row", "figure", OURS, kind, 3.0).is_reached(median, ratio) is is_reached  # type: ignore[arg-type]


def test_a_goal_is_found_by_row_figure_and_contestant() -> None:
    goal = find_goal("hops-threads", "rate", "Pykka")
    assert goal is not None
    assert goal.text == "x 3"
    assert find_goal("hops-threads", "rate", "nobody") is None


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: f"{goal.row}-{goal.figure}-{goal.entry}")
def test_each_goal_is_about_a_figure_that_is_measured(goal: Goal) -> None:
    row = next(row for row in (*ROWS, *CURVES) if row.name == goal.row)
    assert goal.figure in [figure.name for figure in row.figures]
    assert goal.entry in [entry.name for entry in row.entries]
    assert (goal.entry == row.reference) is (goal.kind == "most")
