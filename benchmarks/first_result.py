"""How long a fresh program waits: for its imports, and for the first result of a routine in a process.

The command `python -m benchmarks.first_result`. Owns the program, which is the flow of the README with two workers, and
what it prints. Each run is a fresh interpreter, and so a fresh zygote; the least and the middle of the runs are told,
since all that disturbs a run makes it longer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from statistics import median

from benchmarks.machine import describe

RUNS = 10
PROGRAM = """
import sys
from time import perf_counter
begun = perf_counter()
import routilux
package, modules = perf_counter(), len(sys.modules)
from routilux import ErrorHandler, Flow, routine
names, all_modules = perf_counter(), len(sys.modules)

@routine(events={"number": ["n"]})
def numbers(upto):
    yield from range(2, upto)

@routine(events={"prime": ["n"]})
def check(n):
    return n if all(n % d for d in range(2, n)) else None

flow = Flow("primes")
flow.add_routine(numbers)
flow.add_routine(check, placement="process", workers=2, error_handler=ErrorHandler("retry"))
flow.connect("numbers", "number", "check", "input")
flow.output("check", "prime")
started = perf_counter()
with flow.start("numbers", {"upto": 10}) as job:
    results = job.results()
    assert next(results)["n"] in {2, 3, 5, 7}
    first = perf_counter()
    list(results)
import json
print(json.dumps([modules, all_modules, package - begun, names - begun, first - started, first - begun]))
"""
TOLD = (
    ("import routilux", "modules"),
    ("import of Flow and routine with it", "modules"),
    ("import routilux", "s"),
    ("import of Flow and routine with it", "s"),
    ("first result, from start()", "s"),
    ("first result, from the program's first line", "s"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program some times, and print what it told."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.first_result", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--runs", type=int, default=RUNS, help="fresh interpreters, one after another (default: %(default)s)"
    )
    runs = [measure() for _ in range(parser.parse_args(argv).runs)]
    print(", ".join(f"{name} {told}" for name, told in describe().items()))
    for (what, unit), figures in zip(TOLD, zip(*runs, strict=True), strict=True):
        is_count = unit == "modules"
        told = f"{figures[0]:.0f}" if is_count else f"{min(figures):.3f}, median {median(figures):.3f}"
        print(f"{what:45} {told} {unit}")
    return 0


def measure() -> list[float]:
    """Run the program once, and give what it told."""
    ended = subprocess.run(  # noqa: S603  our own interpreter with our own words
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    figures: list[float] = json.loads(ended.stdout)
    return figures


if __name__ == "__main__":
    sys.exit(main())
