"""Reads a folder of logs with built-in routines alone: what went wrong, how often, and how slow it was.

    python examples/logbook.py make logs     # write a folder of logs: the same ones for the same seed
    python examples/logbook.py read logs     # read it; after Ctrl-C, or kill -9, the same command goes on

No routine is written here: the functions below are handed to those of `routilux.routines`.

    files ─► lines ─► parse ─► levels                   how many lines of each level
                        ├────► speed ─► means           means.jsonl: mean milliseconds, 100 lines of a service at a time
                        └────► alarm ─► errors          errors.jsonl: each line that tells of an error
                                  └───► new ─► kinds    kinds.csv: the first line of each kind of error

`parse` runs in worker processes. `files` and `lines` know where they are, the others what they have counted, and how
long their files were after the last line that counts; the job is kept in a store, the folder `jobs`. So the figures
are those of a plain loop, however often the program, or a worker, is killed on the way.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from routilux import ErrorHandler, Flow, Job, JobState, RoutiluxError, UnknownJobError, usable_cpus
from routilux.routines import (
    Aggregate,
    ConditionalRouter,
    CsvSink,
    Deduplicate,
    DirectorySource,
    FlatMap,
    JsonLinesSink,
    LinesSource,
)

LINE = re.compile(r"(?P<time>\S+) (?P<service>\S+) (?P<level>[A-Z]+) (?P<ms>\d+) ms (?P<text>.*)")
ALARMING = ("ERROR", "CRITICAL")
WINDOW = 100
"""Lines of a service in one mean; there are fewer in its last one."""


def parse(path: str, number: int, line: str) -> list[dict[str, Any]]:
    """Give what a line of a log tells; nothing for other lines, such as those of a traceback."""
    found = LINE.fullmatch(line)
    if found is None:
        return []
    return [{**found.groupdict(), "ms": int(found["ms"]), "where": f"{Path(path).name}:{number}"}]


def is_alarming(level: str) -> bool:
    """Tell whether somebody should look at it."""
    return level in ALARMING


def kind(service: str, text: str) -> tuple[str, str]:
    """Give what two errors of one kind have in common: all but their numbers."""
    return service, re.sub(r"\d+", "#", text)


def flow(into: str = ".", placement: str = "process", workers: int | None = None) -> Flow:
    """Wire the routines. Also for the command line: `routilux run examples/logbook.py:flow`."""
    options: dict[str, Any] = {"placement": placement}
    if placement == "process":
        # Whoever kills workers on purpose kills some before their first line: that is no crash loop here.
        again = ErrorHandler("retry", max_retries=1_000, retry_delay=0.01, retry_backoff=1.0)
        options |= {"workers": workers or usable_cpus(), "error_handler": again, "max_restarts": 10_000}
    logbook = Flow("logbook")
    logbook.add_routine(DirectorySource(pattern="*.log"), "files")
    logbook.add_routine(LinesSource(errors="replace"), "lines")
    logbook.add_routine(FlatMap(parse), "parse", **options)
    logbook.add_routine(Aggregate(key="level"), "levels")
    logbook.add_routine(Aggregate("mean", key="service", value="ms", window=WINDOW), "speed")
    logbook.add_routine(ConditionalRouter({"alarm": is_alarming}), "alarm")
    logbook.add_routine(Deduplicate(kind), "new")
    logbook.add_routine(JsonLinesSink(Path(into, "means.jsonl"), fsync=False), "means")
    logbook.add_routine(JsonLinesSink(Path(into, "errors.jsonl"), fsync=False), "errors")
    logbook.add_routine(CsvSink(Path(into, "kinds.csv")), "kinds")
    logbook.connect("files", "output", "lines", "trigger")
    logbook.connect("lines", "output", "parse", "input")
    for routine in ("levels", "speed", "alarm"):
        logbook.connect("parse", "output", routine, "input")
    logbook.connect("speed", "output", "means", "input")
    logbook.connect("alarm", "alarm", "errors", "input")
    logbook.connect("alarm", "alarm", "new", "input")
    logbook.connect("new", "output", "kinds", "input")
    return logbook


# ---- The logs


def make_logs(folder: Path, files: int, lines: int, seed: int) -> None:
    """Write files of so many lines each."""
    draw = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        text = "".join(f"{line}\n" for _ in range(lines) for line in made_up(draw))
        (folder / f"{number:03}.log").write_text(text, encoding="utf-8")


def made_up(draw: random.Random) -> Iterator[str]:
    """Give the lines for one event."""
    service = draw.choice(["api", "mail", "shop"])
    level = draw.choices(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], [20, 60, 10, 8, 2])[0]
    time = f"2026-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}T{draw.randrange(24):02}:{draw.randrange(60):02}"
    said = draw.choice(["order {} is late", "no answer from node {}", "user {} was not found", "café {} is closed"])
    yield f"{time} {service} {level} {draw.randrange(500)} ms {said.format(draw.randrange(100))}"
    if level == "CRITICAL":
        yield "Traceback (most recent call last):"
        yield f'  File "{service}.py", line {draw.randrange(1, 900)}, in handle'


# ---- The program


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; gives the exit status."""
    options = read_options(argv)
    if options.command == "make":
        make_logs(Path(options.folder), options.files, options.lines, options.seed)
        return 0
    job: Job | None = None
    try:
        job = begin(options)
        with job:  # broken off by Ctrl-C or SIGTERM, it leaves the job paused, and its last checkpoint durable
            state = follow(job, options.every)
    except RoutiluxError as error:
        print(f"logbook: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, SystemExit) as error:
        if job is not None and job.status == "paused":
            print("paused: the same command goes on", file=sys.stderr)
        return 130 if isinstance(error, KeyboardInterrupt) else 143
    print("\n".join(report(state)))
    return 0 if state.status == "completed" else 1


def begin(options: argparse.Namespace) -> Job:
    """Go on with the job, or start it where there is none."""
    logbook = flow(options.into, workers=options.workers)
    keeping: dict[str, Any] = {"checkpoint_every": 1.0}
    try:
        return Flow.resume(options.store, options.job, flow=logbook, **keeping)
    except UnknownJobError:
        root = {"root": options.folder}
        return logbook.start("files", root, store=options.store, job_id=options.job, **keeping)


def follow(job: Job, every: float) -> JobState:
    """Wait for a job, and tell now and then how far it has come."""
    while True:
        try:
            return job.wait(every)
        except TimeoutError:
            print(progress(job.state), file=sys.stderr)


def progress(state: JobState) -> str:
    """Tell in a line how far the job has come."""
    routines = state.routine_states
    return f"logbook: {routines['parse']['handled']:,} lines, {routines['lines']['handled']:,} files"


def levels(state: JobState) -> dict[str, int]:
    """Give how many lines there are of each level, of a job in any state."""
    return Aggregate().results(state.routine_states["levels"]["state"])


def report(state: JobState) -> Iterator[str]:
    """Tell in lines how the job ended."""
    yield f"{progress(state)}: {state.status}"
    if state.error:
        yield f"  {state.error}"
    for level, count in sorted(levels(state).items()):
        yield f"{level:>10} {count:>9,}"
    kinds = state.routine_states["kinds"]["handled"]
    yield f"{'kinds':>10} {kinds:>9,}  of errors, in kinds.csv"


def read_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="write a folder of logs")
    make.add_argument("folder")
    make.add_argument("--files", type=int, default=20, help="default: 20")
    make.add_argument("--lines", type=int, default=2_000, help="events in each; default: 2000")
    make.add_argument("--seed", type=int, default=1, help="what the logs are drawn from; default: 1")
    read = commands.add_parser("read", help="read a folder of logs, or go on with that")
    read.add_argument("folder")
    read.add_argument("--store", default="jobs", help="where the job is kept; default: jobs")
    read.add_argument("--job", default="logbook", help="the job's id; default: logbook")
    read.add_argument("--into", default=".", help="the folder of the files it writes; default: this one")
    read.add_argument("--workers", type=int, help="processes that parse; default: one for each processor")
    read.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="between two lines; default: 1")
    options = parser.parse_args(argv)
    if options.command == "read" and not Path(options.folder).is_dir():
        parser.error(f"there is no folder {options.folder!r}")
    options.folder = str(Path(options.folder).absolute())
    return options


if __name__ == "__main__":
    sys.exit(main())
