"""The decision of the gate."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks.gate import BOUNDS, GATED, to_text
from benchmarks.report import EntryRecord, Report, RowRecord
from benchmarks.verdict import SLACK, Bound, Verdict, find_costs, judge, rewrite


def _report(*rows: RowRecord) -> Report:
    return Report("gate", "", {}, 3, list(rows))


def _entry(name: str, *costs: float) -> EntryRecord:
    return EntryRecord(name, [{"cost": cost} for cost in costs])


def test_a_cost_is_the_median_of_the_rounds() -> None:
    row = RowRecord("message", "", "", [], [_entry("hops", 100.0, 400.0, 110.0)])
    assert find_costs(_report(row)) == {"message: hops": 110.0}


def test_the_cost_of_a_large_case_is_told_over_that_of_the_small_one() -> None:
    row = RowRecord("queue", "", "small", [], [_entry("small", 10.0, 9.0, 11.0), _entry("large", 12.0, 15.0, 11.0)])
    assert find_costs(_report(row)) == {"queue: large": 1.2}


def test_what_failed_has_no_cost_and_nor_has_what_is_told_over_it() -> None:
    failed = EntryRecord("small", [None], "failed (1)")
    assert find_costs(_report(RowRecord("queue", "", "small", [], [failed, _entry("large", 1.0)]))) == {
        "queue: large": None
    }
    half = EntryRecord("hops", [{"cost": 1.0}, None], "failed (1)")
    assert find_costs(_report(RowRecord("message", "", "", [], [half]))) == {"message: hops": None}


def test_a_cost_above_its_bound_is_dearer_and_one_at_it_is_not() -> None:
    assert judge({"a": 1.3, "b": 1.31}, {"a": Bound(1.3), "b": Bound(1.3)}) == [
        Verdict("a", 1.3, 1.3, "ok"),
        Verdict("b", 1.31, 1.3, "dearer"),
    ]


def test_what_has_no_bound_or_no_cost_does_not_pass_unseen() -> None:
    assert judge({"new": 1.0, "failed": None}, {"failed": Bound(2.0), "gone": Bound(3.0)}) == [
        Verdict("new", 1.0, None, "unbounded"),
        Verdict("failed", None, 2.0, "unmeasured"),
        Verdict("gone", None, 3.0, "unmeasured"),
    ]


def test_bounds_follow_from_costs_but_promises_and_the_unmeasured_stay() -> None:
    bounds = {"message": Bound(9.0, 8.0), "promise": Bound(1.2), "failed": Bound(5.0, 4.0)}
    costs = {"message": 100.0, "promise": 1.9, "failed": None, "new": 10.0}
    assert rewrite(costs, bounds) == {
        "message": Bound(100 * SLACK, 100.0),
        "promise": Bound(1.2),
        "failed": Bound(5.0, 4.0),
        "new": Bound(10 * SLACK, 10.0),
    }


def test_each_gated_case_has_a_bound_and_each_bound_a_case() -> None:
    bounds = msgspec.json.decode(Path(BOUNDS).read_bytes(), type=dict[str, Bound])
    cases = [f"{row.name}: {entry.name}" for row in GATED for entry in row.entries if entry.name != row.reference]
    assert sorted(bounds) == sorted(cases)


def test_the_table_says_which_case_became_dearer() -> None:
    text = to_text(judge({"a": 2.0, "b": None}, {"a": Bound(1.0), "b": Bound(1.0)}))
    assert [line.split()[-1] for line in text.splitlines()[1:]] == ["dearer", "unmeasured"]
