"""One trial: one contestant, measured once, in a process of its own.

`benchmarks.rounds` has an interpreter call `main`, which writes the figures as JSON to a file. A process of its own, so
that threads, memory and warm caches of one contestant are none of the next one's. Not run by `python -m`: processes
that multiprocessing spawns would run this module once more, and pay for it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.contest import Contestant, Entry, Row
from benchmarks.growth import CURVES
from benchmarks.measures import MEASURES
from benchmarks.rows import ROWS


def main() -> None:
    """Run the trial that the arguments name: a row, an entry, the size of its work, and the file."""
    row_name, entry_name, size, file = sys.argv[1:]
    row = next(row for row in (*ROWS, *CURVES) if row.name == row_name)
    entry = next(entry for entry in row.entries if entry.name == entry_name)
    Path(file).write_text(json.dumps(run(row, entry, int(size))), encoding="utf-8")


def run(row: Row, entry: Entry, size: int) -> dict[str, float]:
    """Measure one contestant once."""
    if row.cores is not None:
        pin(row.cores)
    contestant = load(entry)
    gc.collect()
    try:
        return MEASURES[row.measure](contestant, size)
    finally:
        contestant.close()


def load(entry: Entry) -> Contestant:
    """Make the contestant."""
    module, name = entry.made_by.split(":")
    made_by: Any = getattr(importlib.import_module(f"benchmarks.peers.{module}"), name)
    contestant: Contestant = made_by(**entry.options)
    return contestant


def pin(cores: int) -> None:
    """Keep this process, and all that it starts, on so many processors."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
