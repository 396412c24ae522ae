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

import msgspec

from benchmarks.contest import Contestant
from benchmarks.measures import MEASURES


class Trial(msgspec.Struct, frozen=True):
    """What is measured: parts of a `contest.Row` and of one of its entries.

    Args:
        measure: a name in `MEASURES`.
        size: how much work there is.
        made_by: the contestant's class, as `module:Class` below `benchmarks.peers`.
        options: what that is called with.
        cores: processors to be pinned to; None for all.
    """

    measure: str
    size: int
    made_by: str
    options: dict[str, Any] = {}
    cores: int | None = None


def main() -> None:
    """Run the trial of the first argument, and write its figures to the file of the second."""
    told, file = sys.argv[1:]
    Path(file).write_text(json.dumps(run(msgspec.json.decode(told, type=Trial))), encoding="utf-8")


def run(trial: Trial) -> dict[str, float]:
    """Measure one contestant once."""
    if trial.cores is not None:
        pin(trial.cores)
    contestant = load(trial.made_by, trial.options)
    gc.collect()
    try:
        return MEASURES[trial.measure](contestant, trial.size)
    finally:
        contestant.close()


def load(made_by: str, options: dict[str, Any]) -> Contestant:
    """Make a contestant."""
    module, name = made_by.split(":")
    contestant: Contestant = getattr(importlib.import_module(f"benchmarks.peers.{module}"), name)(**options)
    return contestant


def pin(cores: int) -> None:
    """Keep this process, and all that it starts, on so many processors."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
