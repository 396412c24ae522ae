"""Whether a message has become dearer: pure, from what was measured and from bounds.

A cost is processor time in turns of a fixed loop, or that of a large case over that of a small one. The median of
several rounds counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from benchmarks import report as reports
from benchmarks.report import Report

FIGURE = "cost"
SLACK = 1.3
"""A bound that is written anew is what was measured times this: on a busy machine the medians of several runs of
`benchmarks.gate` lay within a fifth of each other."""


class Bound(msgspec.Struct, frozen=True):
    """What the cost of one contestant may be at most.

    Args:
        bound: the most.
        measured: what it was when the bound was written; None for one that is a promise, which is not written anew.
    """

    bound: float
    measured: float | None = None


class Verdict(NamedTuple):
    """What is said of one contestant.

    Args:
        name: its row and itself.
        cost: what was measured; None if nothing was.
        bound: what it may be; None if no bound is written.
        says: `ok`; `dearer`, above its bound; `unbounded`; or `unmeasured`.
    """

    name: str
    cost: float | None
    bound: float | None
    says: Literal["ok", "dearer", "unbounded", "unmeasured"]


def find_costs(report: Report) -> dict[str, float | None]:
    """Find the cost of each contestant, over that of its row's reference where there is one.

    Returns:
        By row and name; None for what was not measured. References themselves are left out.
    """
    costs: dict[str, float | None] = {}
    for row in report.rows:
        reference = reports.find_entry(row, row.reference)
        least = 1.0 if reference is None else _median(reference)
        for entry in row.entries:
            if entry is not reference:
                cost = None if entry.missing else _median(entry)
                costs[f"{row.name}: {entry.name}"] = cost / least if cost is not None and least else None
    return costs


def judge(costs: Mapping[str, float | None], bounds: Mapping[str, Bound]) -> list[Verdict]:
    """Judge each cost by its bound, and tell of each bound without a cost."""
    return [_judge(name, costs.get(name), bounds.get(name)) for name in {**costs, **bounds}]


def _judge(name: str, cost: float | None, bound: Bound | None) -> Verdict:
    most = None if bound is None else bound.bound
    if cost is None:
        return Verdict(name, cost, most, "unmeasured")
    if most is None:
        return Verdict(name, cost, most, "unbounded")
    return Verdict(name, cost, most, "ok" if cost <= most else "dearer")


def rewrite(costs: Mapping[str, float | None], bounds: Mapping[str, Bound]) -> dict[str, Bound]:
    """Give the bounds that follow from costs. Those that are promises stay, and so do those that were not measured."""
    written = dict(bounds)
    for name, cost in costs.items():
        is_promise = name in bounds and bounds[name].measured is None
        if cost is not None and not is_promise:
            written[name] = Bound(round(cost * SLACK, 1), round(cost, 1))
    return written


def _median(entry: reports.EntryRecord) -> float | None:
    found = reports.spread(reports.find_values(entry, FIGURE))
    return None if found is None else found.median
