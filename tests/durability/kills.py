"""Programs with jobs in a store, killed at random moments and resumed to their ends: nothing is lost or doubled.

The command `python -m tests.durability.kills --seeds 20 [--first S] [--shape chain ...] [--at-once N]`; exit status 1
if anything is wrong, and then what, in which run. Owns what is printed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.durability.harness import Outcome, survive
from tests.durability.shapes import SHAPES, Run


def survive_all(runs: Sequence[Run], at_once: int) -> Iterator[Outcome]:
    """Go through the runs, so many at once; gives each as it is over, in their order."""
    with ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(survive, runs)


def main(argv: Sequence[str] | None = None) -> int:
    """Kill programs and print what became of their jobs; 0 if all is as if nothing had been."""
    options = _parser().parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="routilux-kills-"))
    seeds = range(options.first, options.first + options.seeds)
    runs = []
    for seed in seeds:
        for shape in options.shape or SHAPES:
            place = folder / f"{shape}-{seed}"
            place.mkdir()
            runs.append(Run(shape, seed, str(place), options.part))
    outcomes, started = [], time.monotonic()
    for outcome in survive_all(runs, options.at_once):
        outcomes.append(outcome)
        tell(outcome)
        if not outcome.problems and not options.keep:
            shutil.rmtree(outcome.run.folder)
    wrong = [outcome for outcome in outcomes if outcome.problems]
    print(
        f"{len(outcomes)} runs, {sum(o.kills for o in outcomes)} programs and "
        f"{sum(o.worker_kills for o in outcomes)} workers killed, {sum(o.resumes for o in outcomes)} resumes, "
        f"{sum(o.messages for o in outcomes):,} messages, "
        f"{sum(o.rolled_back for o in outcomes):,} records rolled back, "
        f"{sum(o.doubled for o in outcomes)} effects of once doubled, {time.monotonic() - started:.0f} s; "
        f"{len(wrong)} runs are wrong" + (f", kept in {folder}" if wrong else ""),
    )
    if not wrong and not options.keep:
        shutil.rmtree(folder)
    return int(bool(wrong))


def tell(outcome: Outcome) -> None:
    """Print a line for a run, and one for each thing that is wrong."""
    trouble = [name for name, value in outcome.run.trouble._asdict().items() if value]
    print(
        f"{outcome.run.job_id:12} {outcome.kills:3} kills {outcome.worker_kills:3} of workers "
        f"{outcome.messages:6} messages {outcome.rolled_back:6} rolled back {outcome.doubled:3} doubled "
        f"{outcome.seconds:5.1f} s {' '.join(trouble)}",
        flush=True,
    )
    for problem in outcome.problems:
        print(f"    WRONG: {problem}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.durability.kills", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="runs of each shape (default: %(default)s)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default: %(default)s)")
    parser.add_argument("--shape", action="append", choices=tuple(SHAPES), help="only this shape; may be repeated")
    parser.add_argument("--at-once", type=int, default=2, help="how many run at once (default: %(default)s)")
    parser.add_argument("--part", type=float, default=1.0, help="of the messages of a run (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep the stores")
    return parser


if __name__ == "__main__":
    sys.exit(main())
