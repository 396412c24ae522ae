"""What was measured, as it is kept in a file, and what follows from it: medians, spreads, ratios within a round.

Pure, but for `read` and `write`. A ratio compares two contestants within one round, so that a machine that was slow for
a while was slow for both; what is told is the median of these ratios, with the smallest and the largest.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec


class FigureRecord(msgspec.Struct, frozen=True):
    """A `contest.Figure`."""

    name: str
    unit: str
    better: Literal["more", "less"]


class EntryRecord(msgspec.Struct):
    """What the trials of one contestant gave.

    Args:
        name: the contestant.
        rounds: for each round its figures by name; None where it did not take part.
        missing: why it has no figures at all, or not those of all rounds; empty if nothing is missing.
    """

    name: str
    rounds: list[dict[str, float] | None] = []
    missing: str = ""


class RowRecord(msgspec.Struct):
    """A `contest.Row`, measured."""

    name: str
    title: str
    reference: str
    figures: list[FigureRecord]
    entries: list[EntryRecord]


class Report(msgspec.Struct):
    """All rows of one run of a command.

    Args:
        command: what was run.
        date: when it began, in ISO 8601, UTC.
        machine: what it ran on, and the versions of what took part.
        rounds: how many interleaved rounds were run.
        rows: what was measured.
    """

    command: str
    date: str
    machine: dict[str, str]
    rounds: int
    rows: list[RowRecord]


class Spread(NamedTuple):
    """The median of some values, the least and the greatest of them."""

    median: float
    least: float
    greatest: float


def read(path: Path) -> Report:
    """Read a report; raises `msgspec.DecodeError` for what is none."""
    return msgspec.json.decode(path.read_bytes(), type=Report)


def write(report: Report, path: Path) -> None:
    """Write it as JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def spread(values: list[float]) -> Spread | None:
    """Condense values; None for none."""
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def find_values(entry: EntryRecord, figure: str) -> list[float]:
    """List what the rounds gave for a figure, without those in which the contestant took no part."""
    return [found[figure] for found in entry.rounds if found is not None and figure in found]


def find_entry(row: RowRecord, name: str) -> EntryRecord | None:
    """Find a contestant of a row."""
    return next((entry for entry in row.entries if entry.name == name), None)


def compare(row: RowRecord, figure: FigureRecord, entry: EntryRecord) -> Spread | None:
    """Tell how many times better the reference of the row is, in the rounds that both took part in.

    Above 1 the reference is ahead: it does more where more is better, and takes less where less is. None where there
    is nothing to compare.
    """
    reference = find_entry(row, row.reference)
    if reference is None or reference is entry:
        return None
    ratios = []
    for ours, theirs in zip(reference.rounds, entry.rounds, strict=True):
        if ours is None or theirs is None or not (ours.get(figure.name) and theirs.get(figure.name)):
            continue
        ratio = ours[figure.name] / theirs[figure.name]
        ratios.append(ratio if figure.better == "more" else 1 / ratio)
    return spread(ratios)
