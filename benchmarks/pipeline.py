"""Messages a second through source -> A -> B -> sink: routilux beside Pykka and multiprocessing.

The command `python -m benchmarks.pipeline`. Owns its options and what it prints.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import baselines, flows
from benchmarks.measure import Contender, Summary, WrongResultError, measure_rate, run_rounds, summarize

PYKKA = "Pykka, tell"
PIPE = "multiprocessing.Pipe"
REFERENCES = (PYKKA, PIPE)

FLOWS = (
    Contender("routilux, threads", flows.open_threads),
    Contender("routilux, processes", flows.open_processes),
)
BASELINES = (
    Contender(PYKKA, baselines.open_pykka),
    Contender(PIPE, baselines.open_pipe),
    Contender("multiprocessing.Queue", baselines.open_queue),
    Contender("ProcessPoolExecutor", baselines.open_pool, divisor=10),
)

GROWTH = (1, 2, 4)
"""Multiples of the messages at which the cost of one is compared."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0 if every pipeline did its work, 1 if one lost or changed messages."""
    options = _parser().parse_args(argv)
    try:
        return _measure(options.messages, options.rounds, options.limit, options.json)
    except WrongResultError as error:
        print(f"wrong result: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--messages", type=_positive, default=20_000, help="messages a run (default: %(default)s)")
    parser.add_argument("--rounds", type=_positive, default=5, help="interleaved rounds (default: %(default)s)")
    parser.add_argument(
        "--limit", type=float, default=120.0, help="seconds after which no round begins (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE too")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 10_000_000:  # noqa: PLR2004 - arbitrary; growth runs take four times as many
        raise argparse.ArgumentTypeError(f"{number} is not between 1 and 10,000,000")
    return number


def _measure(messages: int, rounds: int, limit: float, file: Path | None) -> int:
    machine = _describe_machine()
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    contenders = (*FLOWS, *BASELINES)
    rates = run_rounds(contenders, messages, rounds, limit, _report)
    summaries = summarize(contenders, messages, rates, REFERENCES)
    _print_table(summaries, len(rates[PYKKA]))
    growth = {contender.name: _measure_growth(contender, messages) for contender in FLOWS}
    _print_growth(growth)
    if file is not None:
        figures = {
            "machine": machine,
            "rates": rates,
            "summaries": [summary._asdict() for summary in summaries],
            "growth_us": growth,
        }
        file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


def _measure_growth(contender: Contender, messages: int) -> dict[int, float]:
    """Measure what one message costs, in microseconds, by the number of messages in the run."""
    return {count: 1e6 / measure_rate(contender, count) for count in (messages * factor for factor in GROWTH)}


def _report(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def _print_table(summaries: Sequence[Summary], rounds: int) -> None:
    print(f"\nmessages a second, median of {rounds} interleaved rounds; ratios within a round, median\n")
    print(f"{'':24} {'messages':>9} {'median':>10} {'slowest':>10} {'fastest':>10} {'x Pykka':>8} {'x Pipe':>8}")
    for row in summaries:
        print(
            f"{row.name:24} {row.messages:9,} {row.median:10,.0f} {row.slowest:10,.0f} {row.fastest:10,.0f}"
            f" {row.ratios[PYKKA]:8.2f} {row.ratios[PIPE]:8.2f}"
        )


def _print_growth(growth: dict[str, dict[int, float]]) -> None:
    print("\nmicroseconds a message, by the number of messages: about the same in a row where no stage is quadratic\n")
    for name, costs in growth.items():
        first, *_, last = costs.values()
        cells = "  ".join(f"{count:,}: {cost:.1f}" for count, cost in costs.items())
        print(f"{name:24} {cells}  (last to first: {last / first:.2f})")


def _describe_machine() -> dict[str, Any]:
    return {
        "CPUs": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        **{name: version(name) for name in ("pykka", "msgspec", "cloudpickle", "psutil")},
    }


if __name__ == "__main__":
    sys.exit(main())
