"""Interleaved rounds of trials: who runs when, and what became of it.

Each trial is a process (`benchmarks.trial`). A round has one trial of each contestant, row by row; each begins with
another contestant. Nothing else of this program runs meanwhile. A trial that overruns its time is ended, with all that
it had started, which is found by a mark in the environment; so is what a trial has left behind.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks import machine
from benchmarks.contest import Entry, Row
from benchmarks.killing import MARK, end_marked
from benchmarks.report import EntryRecord, FigureRecord, Report, RowRecord
from benchmarks.trial import Trial

TRIAL_SECONDS = 300.0
"""How long a trial may take (arbitrary)."""
TRIAL = "from benchmarks.trial import main; main()"


class Plan(NamedTuple):
    """How much is measured.

    Args:
        rounds: how many rounds, if time allows.
        scale: what sizes are multiplied with.
        limit: seconds after which no further round begins; the first always runs.
    """

    rounds: int
    scale: float = 1.0
    limit: float = math.inf


def run_rows(
    command: str,
    rows: Sequence[Row],
    plan: Plan,
    tell: Callable[[str], None],
    keep: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Measure rows, in interleaved rounds.

    Args:
        command: what is run, for the report.
        rows: what is measured.
        plan: how much of it.
        tell: gets a line about each trial.
        keep: gets what there is after each round.
    """
    date = datetime.now(UTC).isoformat(timespec="seconds")
    report = Report(command, date, machine.describe(), 0, [_begin(row) for row in rows])
    start = time.perf_counter()
    for number in range(plan.rounds):
        if number and time.perf_counter() - start > plan.limit:
            tell(f"stopped after {number} of {plan.rounds} rounds: {plan.limit:g} s are over")
            break
        report.rounds += 1
        for row, record in zip(rows, report.rows, strict=True):
            for index in order(len(row.entries), number):
                entry, kept = row.entries[index], record.entries[index]
                kept.rounds.append(None)
                if kept.missing or number % entry.every:
                    continue
                began = time.perf_counter()
                found = try_once(_make_trial(row, entry, plan.scale))
                if isinstance(found, str):
                    kept.missing = found
                else:
                    kept.rounds[number] = found
                seconds = time.perf_counter() - began
                tell(f"round {number + 1}, {row.name}: {entry.name}: {_tell(found)} ({seconds:.1f} s)")
        keep(report)
    return report


def order(entries: int, number: int) -> list[int]:
    """Tell in which order they come in a round: each round begins with the next one."""
    return [(index + number) % entries for index in range(entries)]


def _begin(row: Row) -> RowRecord:
    figures = [FigureRecord(*figure) for figure in row.figures]
    entries = [EntryRecord(entry.name, missing=_find_missing(row, entry)) for entry in row.entries]
    return RowRecord(row.name, row.title, row.reference, figures, entries)


def _find_missing(row: Row, entry: Entry) -> str:
    absent = [name for name in entry.needs if importlib.util.find_spec(name) is None]
    if absent:
        return "not installed"
    if row.cores is not None and not hasattr(os, "sched_setaffinity"):
        return "no way to pin processes to processors here"
    if row.cores is not None and len(os.sched_getaffinity(0)) < row.cores:
        return f"fewer than {row.cores} processors"
    return ""


def _make_trial(row: Row, entry: Entry, scale: float) -> Trial:
    size = max(1, int(row.size * scale) // entry.divisor)
    return Trial(row.measure, size, entry.made_by, dict(entry.options), row.cores)


def try_once(trial: Trial) -> dict[str, float] | str:
    """Run a trial; what was found, or in a line why there is nothing."""
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="routilux-bench-") as folder:
        file, log = Path(folder, "figures"), Path(folder, "log")
        with log.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603  our own module
                [sys.executable, "-c", TRIAL, msgspec.json.encode(trial).decode(), str(file)],
                env={**os.environ, MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
            try:
                process.wait(TRIAL_SECONDS)
            except subprocess.TimeoutExpired:
                return f"did not end within {TRIAL_SECONDS:g} s"
            finally:
                process.kill()
                process.wait()
                end_marked(mark)
        if process.returncode == 0:
            found: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
            return found
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"failed ({process.returncode}): {lines[-1] if lines else 'it said nothing'}"


def _tell(found: dict[str, float] | str) -> str:
    return found if isinstance(found, str) else ", ".join(f"{name} {value:,.4g}" for name, value in found.items())
