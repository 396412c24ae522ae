"""A report as a table: for a terminal, or in Markdown for a page.

The command `python -m benchmarks.table FILE [FILE ...]`, with `--page PAGE` put in place of the table that is there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import report as reports
from benchmarks.goals import Goal, find_goal
from benchmarks.report import EntryRecord, FigureRecord, Report, RowRecord, Spread

BEGIN = "<!-- measured: begin -->"
END = "<!-- measured: end -->"
_NAMES = 2
"""Columns with names come first, on the left; then those with numbers, on the right."""
_HEADS = ("", "", "median", "least to greatest", "ahead by", "within a round", "goal")


def main(argv: Sequence[str] | None = None) -> int:
    """Print reports as Markdown, or put them into a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="reports, as --json wrote them")
    parser.add_argument("--page", type=Path, help="a page whose table is replaced")
    options = parser.parse_args(argv)
    text = "\n".join(to_markdown(reports.read(file)) for file in options.files)
    if options.page is None:
        print(text)
        return 0
    page = options.page.read_text(encoding="utf-8")
    if BEGIN not in page or END not in page:
        print(f"{options.page}: expected a line {BEGIN!r} and a line {END!r}", file=sys.stderr)
        return 1
    options.page.write_text(replace(page, text), encoding="utf-8")
    return 0


def replace(page: str, text: str) -> str:
    """Put a text between the marks of a page, in place of what is there."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def to_text(report: Report) -> str:
    """Give the report for a terminal."""
    lines = list(_about(report))
    for row in report.rows:
        cells = [_HEADS, *_cells(row)]
        widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
        lines += ["", f"{row.name}: {row.title}"]
        for line in cells:
            left = [cell.ljust(width) for cell, width in zip(line[:_NAMES], widths[:_NAMES], strict=True)]
            right = [cell.rjust(width) for cell, width in zip(line[_NAMES:], widths[_NAMES:], strict=True)]
            lines.append("  " + "  ".join([*left, *right]).rstrip())
    return "\n".join(lines)


def to_markdown(report: Report) -> str:
    """Give the report for a page."""
    lines = [f"{line}  " for line in _about(report)]
    for row in report.rows:
        lines += ["", f"**{row.name}**: {row.title}", "", _line(_HEADS), _line(["---"] * len(_HEADS))]
        lines += [_line(cells) for cells in _cells(row)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _about(report: Report) -> Iterator[str]:
    yield f"`{report.command}`, {report.date}, {report.rounds} interleaved rounds"
    yield ", ".join(f"{name} {value}" for name, value in report.machine.items())


def _cells(row: RowRecord) -> Iterator[tuple[str, ...]]:
    """Give a line for each figure of each contestant; those with nothing to tell have one that says why."""
    for entry in row.entries:
        name = entry.name
        for figure in row.figures:
            found = reports.spread(reports.find_values(entry, figure.name))
            if found is not None:
                yield (name, f"{figure.name}, {figure.unit}", *_measured(row, figure, entry, found))
                name = ""
        if entry.missing:
            yield (name, entry.missing, "", "", "", "", "")


def _measured(row: RowRecord, figure: FigureRecord, entry: EntryRecord, found: Spread) -> tuple[str, ...]:
    ratio = reports.compare(row, figure, entry)
    goal = find_goal(row.name, figure.name, entry.name)
    return (
        _number(found.median),
        f"{_number(found.least)} to {_number(found.greatest)}",
        f"x {_number(ratio.median)}" if ratio else "",
        f"{_number(ratio.least)} to {_number(ratio.greatest)}" if ratio else "",
        _judged(goal, found, ratio) if goal else "",
    )


def _judged(goal: Goal, found: Spread, ratio: Spread | None) -> str:
    is_reached = goal.is_reached(found.median, ratio.median if ratio else None)
    return f"{goal.text}: {'reached' if is_reached else 'missed'}"


def _number(value: float) -> str:
    if value >= 100:  # noqa: PLR2004  three digits are all that repeats
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"  # noqa: PLR2004  as above


if __name__ == "__main__":
    sys.exit(main())
