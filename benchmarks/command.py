"""The options that commands which measure rows have in common, and what such a command does."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report as reports
from benchmarks.contest import Row
from benchmarks.report import Report
from benchmarks.rounds import Plan, run_rows
from benchmarks.table import to_text


def run_command(module: str, about: str, rows: Sequence[Row], argv: Sequence[str] | None, *, rounds: int) -> int:
    """Measure the rows that are asked for, and print them as a table.

    Args:
        module: what is run, by `python -m`.
        about: what the help says.
        rows: the rows that there are.
        argv: the arguments; None for those of the program.
        rounds: how many there are by default.

    Returns:
        0 if all that needs nothing installed did its work, or else 1.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    names = ", ".join(row.name for row in rows)
    parser.add_argument("--rows", default="", help=f"names, or how they begin, with commas between: {names}")
    parser.add_argument("--entries", default="", help="the same of contestants; those they are compared with take part")
    parser.add_argument("--rounds", type=_positive, default=rounds, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="what the work of a trial is multiplied with")
    parser.add_argument(
        "--limit", type=float, default=600.0, help="seconds after which no further round begins (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured to FILE too, round by round")
    options = parser.parse_args(argv)
    chosen = [only(row, options.entries) for row in rows if begins(row.name, options.rows)]
    if not chosen:
        parser.error(f"no row begins with {options.rows!r}; there are {names}")

    def keep(report: Report) -> None:
        if options.json is not None:
            reports.write(report, options.json)

    plan = Plan(options.rounds, options.scale, options.limit)
    report = run_rows(_tell_command(module, options), chosen, plan, tell, keep)
    print(to_text(report))
    return int(any(entry.missing.startswith("failed") for row in report.rows for entry in row.entries))


def begins(name: str, wanted: str) -> bool:
    """Tell whether a name begins with one of those that are wanted, which have commas between; for none, always."""
    beginnings = tuple(beginning.strip() for beginning in wanted.split(",") if beginning.strip())
    return not beginnings or name.startswith(beginnings)


def only(row: Row, wanted: str) -> Row:
    """Give the row with the contestants that are wanted, and with the one that they are compared with."""
    return row._replace(
        entries=tuple(entry for entry in row.entries if entry.name == row.reference or begins(entry.name, wanted))
    )


def tell(line: str) -> None:
    """Tell how it goes on, where it does not mix with what is printed."""
    print(f"  {line}", file=sys.stderr, flush=True)


def _tell_command(module: str, options: argparse.Namespace) -> str:
    """Give the line that measures the same again; where the report goes is nobody's business who reads it."""
    line = ["python", "-m", module, f"--rounds={options.rounds}", f"--scale={options.scale:g}"]
    line += [f"--{name}={getattr(options, name)}" for name in ("rows", "entries") if getattr(options, name)]
    return shlex.join(line)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number
