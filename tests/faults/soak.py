"""The soak: random jobs with random faults, several at once, for as long as is asked for.

The command `python -m tests.faults.soak --minutes N [--seed S] [--jobs J]`, or with `--job-seed` one scenario alone.
A line every ten seconds, a summary, and exit status 1 with the seed of each job that broke an invariant.

It goes in rounds of ten seconds. In a round, `--jobs` threads run one scenario after the other (`scenarios`), each in a
bounded time, and check what must hold at its end (`invariants`). Between two rounds no job runs, and what the program
holds is counted: descriptors, threads and processes must be what they were at the start, and its memory must stay.
What a program keeps from its first job on, to start the next workers by, is there at the start.

Bounds: a job is given `JOB_SECONDS`; of a round nothing is kept but its figures. Memory is compared as the medians of
the first and the last third of the rounds after `WARM_UP`: it may grow by `GROWTH_BYTES` (arbitrary: far less than ten
minutes would leak of a few hundred bytes a message). What the allocator keeps for itself is given back before.

A scenario is the same for the same seed; what blows from outside meet it in depends on the machine's pace.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import io
import os
import random
import re
import signal
import statistics
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, TextIO

import psutil

from routilux import Flow, Job, JobState
from routilux.errors import JobEndedError, JobTimeoutError
from routilux.routines import CollectSink
from supervisors.places.flusher import flusher
from tests.faults.invariants import Ended, violations
from tests.faults.scenarios import Blow, Scenario

ROUND_SECONDS = 10.0
JOB_SECONDS = 90.0
"""By when a job is over, whatever is done to it on a busy machine (arbitrary: most take a second)."""
WARM_UP = 3
"""Rounds whose memory is not compared: what is made once is made by then."""
GROWTH_BYTES = 8 * 2**20
SETTLE_SECONDS = 5.0
"""What an end that is under way may take when a round is over."""


EXPECTED_LOG = re.compile(r"routine '[\w-]+'(: | has been on message )|job's end: |the job failed: ")
"""How what failures make on the log, of level WARNING and above, begins."""


class Broken(NamedTuple):
    """A job that did not keep what it must."""

    seed: int
    lines: list[str]


class Held(NamedTuple):
    """What the program holds while no job runs."""

    descriptors: int
    threads: int
    processes: int
    rss_bytes: int


class Blows(threading.Thread):
    """Does to a job what its scenario says, as long as it runs."""

    def __init__(self, job: Job, blows: Sequence[Blow], seed: int) -> None:
        super().__init__(name="blows")
        self._job = job
        self._blows = blows
        self._draw = random.Random(seed)
        self._over = threading.Event()

    def end(self) -> None:
        """Do no more."""
        self._over.set()
        self.join()

    def run(self) -> None:
        for blow in self._blows:
            if self._over.wait(blow.after):
                return
            if blow.kind == "cancel":
                self._job.cancel("a blow from outside")
                return
            if blow.kind == "redeliver":
                with contextlib.suppress(JobEndedError):
                    self._job.redeliver()
                continue
            worker = self._pick()
            if worker is not None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    self._strike(worker, blow)

    def _strike(self, worker: psutil.Process, blow: Blow) -> None:
        if blow.kind == "kill":
            worker.kill()
            return
        worker.suspend()
        self._over.wait(blow.pause)
        worker.send_signal(signal.SIGCONT if blow.kind == "stop" else signal.SIGKILL)

    def _pick(self) -> psutil.Process | None:
        pids = [pid for account in self._job.ledger.accounts for pid in account.pids if pid is not None]
        if not pids:
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._draw.choice(pids))
            if any(above.pid == os.getpid() for above in process.parents()):  # its own parent may be a zygote
                return process
        return None


class StuckError(Exception):
    """A job did not end; its arguments are lines that say where it stands."""


def run_scenario(scenario: Scenario) -> Ended:
    """Run one scenario to its end.

    Raises:
        StuckError: it was not over after `JOB_SECONDS`.
    """
    flow = scenario.build()
    params = {"count": scenario.count} if scenario.source_options is not None else None
    entry = None if params is None else "source"
    job = flow.start(entry, params, keep_open=True, shutdown=scenario.shutdown)
    results: list[int] = []
    reader = threading.Thread(target=lambda: results.extend(item["n"] for item in job.results()), name="reader")
    blows = Blows(job, scenario.blows, scenario.seed)
    reader.start()
    blows.start()
    try:
        sent = _send(job, scenario)
        job.close_entry()
        state = job.wait(JOB_SECONDS)
    except JobTimeoutError:
        lines = [f"it was not over after {JOB_SECONDS:g} s", *map(str, job.ledger.counts()), *_stacks()]
        job.cancel("the soak gives it up")
        raise StuckError(*lines) from None
    finally:
        blows.end()
    reader.join()
    return Ended(scenario, state, sent, results)


def count_figures(state: JobState) -> Counter[str]:
    """Count what a job went through."""
    figures = Counter({f"{state.status} jobs": 1, "messages": sum(each.sent for each in state.connections)})
    for told in state.routine_states.values():
        figures.update({key: told["stats"][key] for key in ("failed", "restarts", "dead", "skipped")})
    return figures


def _send(job: Job, scenario: Scenario) -> dict[tuple[str, str], int]:
    sent = dict.fromkeys(scenario.entries, 0)
    with contextlib.suppress(JobEndedError):
        for n in range(scenario.count if sent else 0):
            for routine_id, slot in sent:
                job.send(routine_id, slot, timeout=JOB_SECONDS, n=n)
                sent[routine_id, slot] += 1
    return sent


def _stacks() -> list[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return [
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    ]


class Soak:
    """Rounds of random jobs, and what was counted in and between them.

    Args:
        seed: what all jobs are drawn from.
        at_once: jobs that run at the same time.
        out: where the lines go; the workers' own output goes elsewhere.
    """

    def __init__(self, seed: int, at_once: int, out: TextIO) -> None:
        self._draw = random.Random(seed)
        self._at_once = at_once
        self._out = out
        # Guards what follows, and the draws.
        self._lock = threading.Lock()
        self.figures: Counter[str] = Counter()
        self.broken: list[Broken] = []
        self.rounds: list[Held] = []

    def run_round(self, seconds: float) -> None:
        """Run jobs for so long, wait for the last of them, and count what is held."""
        until = time.monotonic() + seconds
        runners = [threading.Thread(target=self._run_jobs, args=(until,)) for _ in range(self._at_once)]
        for runner in runners:
            runner.start()
        for runner in runners:
            runner.join()
        before = self.rounds[0] if self.rounds else None
        self.rounds.append(count_held(before))

    def complaints(self) -> list[str]:
        """Say what is not as it was, of what the program holds; empty if all is."""
        first, last = self.rounds[0], self.rounds[-1]
        lines = [
            f"{name}: {getattr(first, name)} at the start, {getattr(last, name)} at the end"
            for name in ("descriptors", "threads", "processes")
            if getattr(last, name) > getattr(first, name)
        ]
        growth = self.growth_bytes()
        if growth is not None and growth > GROWTH_BYTES:
            lines.append(f"memory grew by {growth / 2**20:.1f} MiB, at most {GROWTH_BYTES / 2**20:g} are allowed")
        return lines

    def growth_bytes(self) -> float | None:
        """Give what the median of the memory grew by; None where there were too few rounds to tell."""
        sizes = [held.rss_bytes for held in self.rounds[WARM_UP:]]
        third = len(sizes) // 3
        if third == 0:
            return None
        return statistics.median(sizes[-third:]) - statistics.median(sizes[:third])

    def tell(self, started_at: float) -> None:
        """Print the line of a round."""
        held, figures = self.rounds[-1], self.figures
        print(
            f"{time.monotonic() - started_at:5.0f} s  {figures['jobs']} jobs ({figures['failed jobs']} failed, "
            f"{figures['cancelled jobs']} cancelled), {figures['messages']} messages, {figures['failed']} failures, "
            f"{figures['restarts']} restarts, {figures['dead']} dead letters, {figures['skipped']} skipped; "
            f"{held.rss_bytes / 2**20:.1f} MiB, {held.descriptors} descriptors, {held.threads} threads, "
            f"{held.processes} processes; {len(self.broken)} broken",
            file=self._out,
            flush=True,
        )

    def _run_jobs(self, until: float) -> None:
        while time.monotonic() < until:
            with self._lock:
                seed = self._draw.getrandbits(32)
            scenario = Scenario(seed)
            figures, lines = try_scenario(scenario)
            with self._lock:
                self.figures.update(figures)
                if lines:
                    self.broken.append(Broken(seed, lines))
                    tell_broken(scenario, lines, self._out)


def try_scenario(scenario: Scenario) -> tuple[Counter[str], list[str]]:
    """Run one scenario; give its figures, and what of it does not hold."""
    figures = Counter(jobs=1)
    try:
        ended = run_scenario(scenario)
        figures.update(count_figures(ended.state))
        return figures, violations(ended)
    except StuckError as error:
        return figures, list(error.args)
    except Exception:  # noqa: BLE001  whatever it is, it is told with its seed
        return figures, [traceback.format_exc()]


def tell_broken(scenario: Scenario, lines: list[str], out: TextIO) -> None:
    """Print what did not hold of a job."""
    print(f"BROKEN --job-seed {scenario.seed}: {scenario}", *(f"  {line}" for line in lines), sep="\n", file=out)
    out.flush()


def warm_up() -> None:
    """Have all that stays with the program once the first job needs it."""
    flow = Flow("warm-up")
    flow.add_routine(CollectSink(), "sink", placement="process")
    with flow.start(keep_open=True) as job:
        job.send("sink", "input", n=1)
    flusher.watch(lambda: None)


def count_held(before: Held | None) -> Held:
    """Count what the program holds, waiting a moment for ends that are under way."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        gc.collect()
        with contextlib.suppress(AttributeError, OSError):  # glibc's own
            ctypes.CDLL(None).malloc_trim(0)
        process = psutil.Process()
        held = Held(
            process.num_fds(),
            threading.active_count(),
            len(process.children(recursive=True)),
            process.memory_info().rss,
        )
        if before is None or held[:3] <= before[:3] or time.monotonic() > deadline:
            return held
        threading.Event().wait(0.05)


class WorkersOutput(io.StringIO):
    """Where the program's own output goes: what workers print is dropped, anything else is kept.

    A worker's line begins with the name of its routine in brackets. What is logged comes here too, by the handler
    of last resort, but for what `EXPECTED_LOG` describes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.strange: list[str] = []

    def write(self, text: str) -> int:
        """Take a line."""
        if text.strip() and not text.startswith("[") and not EXPECTED_LOG.match(text):
            self.strange.append(text)
        return len(text)


def soak(minutes: float, seed: int, at_once: int, out: TextIO) -> int:
    """Run the soak; 0 if everything held."""
    print(f"soak of {minutes:g} minutes, {at_once} jobs at once, --seed {seed}", file=out, flush=True)
    runs, started_at = Soak(seed, at_once, out), time.monotonic()
    output = WorkersOutput()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        warm_up()
        runs.rounds.append(count_held(None))
        while (left := started_at + 60 * minutes - time.monotonic()) > 0:
            runs.run_round(min(ROUND_SECONDS, left))
            runs.tell(started_at)
    complaints = runs.complaints() + [f"printed: {line}" for line in output.strange[:20]]
    growth = runs.growth_bytes()
    grown = "too short to tell" if growth is None else f"{growth / 2**20:+.1f} MiB"
    print(f"memory from the first third to the last: {grown}", *complaints, sep="\n", file=out)
    for broken in runs.broken:
        print(f"broken: --job-seed {broken.seed}", file=out)
    print("nothing lost, doubled or left" if not complaints and not runs.broken else "BROKEN", file=out, flush=True)
    return int(bool(complaints or runs.broken))


def repeat(seed: int, times: int, out: TextIO) -> int:
    """Run one scenario so many times; 0 if everything held."""
    scenario, output, broken = Scenario(seed), WorkersOutput(), 0
    print(scenario, file=out)
    for _ in range(times):
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            figures, lines = try_scenario(scenario)
        print(dict(figures), *output.strange, sep="\n", file=out)
        if lines:
            broken += 1
            tell_broken(scenario, lines, out)
    return int(broken > 0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(argv)
    if options.job_seed is not None:
        return repeat(options.job_seed, options.times, sys.stdout)
    return soak(options.minutes, options.seed, options.jobs, sys.stdout)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of all jobs (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=3, help="how many run at once (default: %(default)s)")
    parser.add_argument("--job-seed", type=int, help="run this one scenario alone")
    parser.add_argument("--times", type=int, default=1, help="how often, for --job-seed (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
