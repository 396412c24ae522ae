"""The regression gate: fails when a message costs more than its bound.

The command `python -m benchmarks.gate`. Costs are ratios of processor time, never seconds: of ours over a fixed loop of
Python that runs right before and after, or of a large case of ours over a small one. Bounds are in `bounds.json`;
`--write` makes them anew, after a change that is meant to cost more, or has made something cheaper. Owns what is gated,
and what it prints.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.command import tell
from benchmarks.contest import Entry, Figure, Row
from benchmarks.rounds import Plan, run_rows
from benchmarks.verdict import FIGURE, Bound, Verdict, find_costs, judge, rewrite

BOUNDS = Path(__file__).with_name("bounds.json")
ROUNDS = 7
_FIGURES = (Figure(FIGURE, "turns of the loop"),)

GATED: tuple[Row, ...] = (
    Row(
        "message",
        "processor time of a message, in turns of a fixed loop",
        "cost",
        20_000,
        _FIGURES,
        (
            Entry("3 hops, threads", "flows:Pipeline", options={"placement": "thread"}),
            Entry("3 hops, processes", "flows:Pipeline", options={"placement": "process"}),
            Entry("3 hops, threads, kept", "flows:Pipeline", options={"placement": "thread", "kept": True}),
            Entry("there and back", "flows:Echo", divisor=10),
        ),
        reference="",
    ),
    Row(
        "state",
        "processor time of a turn that touches one key",
        "cost",
        30_000,
        _FIGURES,
        tuple(Entry(f"{keys:,} keys", "flows:State", options={"keys": keys}) for keys in (10, 100_000)),
        reference="10 keys",
    ),
    Row(
        "routines",
        "processor time of a message at each routine of a chain",
        "cost",
        300_000,
        _FIGURES,
        tuple(Entry(f"{count}", "growing:Chain", options={"routines": count}) for count in (10, 200)),
        reference="10",
    ),
    Row(
        "queue",
        "processor time of a message that so many others wait with",
        "cost",
        100_000,
        _FIGURES,
        tuple(Entry(f"{length:,}", "growing:Queue", options={"length": length}) for length in (1_000, 100_000)),
        reference="1,000",
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and judge; 0 if nothing is above its bound."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="what the work of a trial is multiplied with")
    parser.add_argument("--bounds", type=Path, default=BOUNDS, help="where the bounds are (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write bounds that follow from what is measured")
    options = parser.parse_args(argv)
    bounds = msgspec.json.decode(options.bounds.read_bytes(), type=dict[str, Bound])
    costs = find_costs(run_rows("python -m benchmarks.gate", GATED, Plan(options.rounds, options.scale), tell))
    if options.write:
        bounds = rewrite(costs, bounds)
        options.bounds.write_bytes(msgspec.json.format(msgspec.json.encode(bounds), indent=2) + b"\n")
    verdicts = judge(costs, bounds)
    print(to_text(verdicts))
    return int(any(verdict.says != "ok" for verdict in verdicts))


def to_text(verdicts: Sequence[Verdict]) -> str:
    """Give a line for each verdict."""
    lines = [f"{'':40}{'cost':>10}{'bound':>10}"]
    lines += [
        f"{verdict.name:40}{_number(verdict.cost):>10}{_number(verdict.bound):>10}  {verdict.says}"
        for verdict in verdicts
    ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
