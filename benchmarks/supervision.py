"""How soon deaths are noticed, what restarts leave, how soon supervisors hear, what a killed program leaves.

The command `python -m benchmarks.supervision [MEASURE ...]`. Owns its options, the programs it kills and
what it prints; each figure stands beside its bound, and the exit status is 1 if one is missed.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import logging
import multiprocessing
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import psutil

from benchmarks.killing import kill_program
from supervisors import Backoff, Behavior, ChildSpec, Context, Intensity, SupervisorHandle, start_supervisor
from supervisors.telemetry import attach, detach

DEADLINE = 60.0
"""Seconds after which something that has not happened is given up (arbitrary)."""
LOOSE = Intensity(1_000_000, 1.0)
AT_ONCE = Backoff(delay=0.0)
_MIB = 2**20


class Figure(NamedTuple):
    """One measured value and what it must not exceed."""

    name: str
    value: float
    bound: float
    unit: str


# -- Deaths


class Mortal(Behavior):
    """Dies as it is told, having noted the moment.

    Args:
        note: descriptor-less: the path of a file into which the moment of death is written.
    """

    def __init__(self, note: str) -> None:
        self._note = note

    def on_message(self, message: object, ctx: Context) -> None:
        match message:
            case ("fork", str(method)):
                _leave_a_child_behind(method)
                ctx.reply(os.getpid())
            case ("die", str(how)):
                # The system's monotonic clock is one for all processes.
                Path(self._note).write_text(repr(time.monotonic()), encoding="ascii")
                _DEATHS[how]()
            case _:
                raise ValueError(message)


def _leave_a_child_behind(method: str) -> None:
    if method == "os.fork":
        if os.fork() == 0:  # noqa: TID251  what users' code may do is what is measured
            signal.pause()
    elif method == "subprocess":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    elif method != "none":
        _PROCESSES[method](target=signal.pause).start()


_DEATHS: dict[str, Callable[[], object]] = {
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "exit 7": lambda: os._exit(7),
    "exit 0, no goodbye": lambda: os._exit(0),
}
_PROCESSES: dict[str, Callable[..., multiprocessing.process.BaseProcess]] = {
    "fork": multiprocessing.get_context("fork").Process,
    "spawn": multiprocessing.get_context("spawn").Process,
    "forkserver": multiprocessing.get_context("forkserver").Process,
}
_METHODS = ("none", "os.fork", "fork", "spawn", "forkserver", "subprocess")


def measure_deaths(times: int) -> list[Figure]:
    """Measure from the last thing a process does to the notice of its death; 99th percentile, milliseconds."""
    figures = []
    with _Notes() as notes:
        for method in _METHODS:
            waits = [notes.die(how, method) * 1e3 for how in _DEATHS for _ in range(times)]
            worst = statistics.quantiles(waits, n=100)[98]
            median = statistics.median(waits)
            print(f"  {method}: {len(waits)} deaths, median {median:.1f} ms, longest {max(waits):.1f} ms")
            figures.append(Figure(f"death noticed, p99, having started a child by {method}", worst, 100.0, "ms"))
    return figures


class _Notes:
    """A supervised process that is told to die again and again, and what is noticed of it."""

    def __init__(self) -> None:
        self._file = Path(f"/tmp/routilux-deaths-{os.getpid()}")  # noqa: S108  written by our own workers alone
        self._noticed = threading.Semaphore(0)
        self._at = 0.0

    def __enter__(self) -> Self:
        attach("notes", ["child.ended"], self._note)
        spec = ChildSpec("mortal", Mortal, (str(self._file),), backing="process", backoff=AT_ONCE)
        self._top = start_supervisor([spec], intensity=LOOSE)
        return self

    def __exit__(self, *_: object) -> None:
        self._top.stop()
        detach("notes")
        self._file.unlink(missing_ok=True)

    def die(self, how: str, method: str) -> float:
        """Let it die; seconds until that was noticed."""
        child = self._top.child("mortal")
        child.wait_running(DEADLINE)
        child.ask(("fork", method), DEADLINE)
        child.tell(("die", how))
        if not self._noticed.acquire(timeout=DEADLINE):
            raise TimeoutError(f"a death by {how} was not noticed within {DEADLINE:g} s")
        return self._at - float(self._file.read_text(encoding="ascii"))

    def _note(self, _event: str, _measurements: dict[str, float], _metadata: dict[str, object]) -> None:
        self._at = time.monotonic()
        self._noticed.release()


# -- Restarts


class Failing(Behavior):
    """Raises when it is told anything."""

    def on_message(self, message: object, ctx: Context) -> None:
        raise ValueError(message)


def measure_restarts(times: int) -> list[Figure]:
    """Measure what is held after so many restarts over what was held before, on threads and in processes."""
    figures = []
    for backing in ("thread", "process"):
        spec = ChildSpec("failing", Failing, backing=backing, backoff=AT_ONCE)
        with start_supervisor([spec], intensity=LOOSE) as top:
            # What is made once is made by now, and the garbage collector has found its pace.
            _restart(top, times)
            before = _holdings()
            started_at = time.perf_counter()
            _restart(top, times)
            seconds = time.perf_counter() - started_at
            after = _holdings()
        print(f"  {backing}: {times} restarts in {seconds:.1f} s, {before} -> {after}")
        for name, old, new in zip(("descriptors", "threads", "processes", "shared names"), before, after, strict=False):
            figures.append(Figure(f"more {name} after {times} restarts, {backing}", new - old, 0, ""))
        grown = (after[-1] - before[-1]) / _MIB
        figures.append(Figure(f"more memory after {times} restarts, {backing}", grown, 1.0, "MiB"))
    return figures


def _restart(top: SupervisorHandle, times: int) -> None:
    ended = threading.Semaphore(0)
    attach("restarts", ["child.started"], lambda *_: ended.release())
    try:
        child = top.child("failing")
        for _ in range(times):
            child.tell("fail")
            if not ended.acquire(timeout=DEADLINE):
                raise TimeoutError(f"a child was not started again within {DEADLINE:g} s")
    finally:
        detach("restarts")


def _holdings() -> tuple[int, int, int, int, int]:
    gc.collect()
    process = psutil.Process()
    # What a worker that has just ended held is given back within a moment, by its proxy's own thread.
    deadline = time.monotonic() + DEADLINE
    while threading.active_count() > _settled_threads() and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    return (
        process.num_fds(),
        threading.active_count(),
        len(process.children(recursive=True)),
        len(list(Path("/dev/shm").iterdir())),  # noqa: S108  it is only looked at
        process.memory_info().rss,
    )


def _settled_threads() -> int:
    return sum(not thread.name.endswith("/failing") for thread in threading.enumerate()) + 1


# -- Stop


class Slow(Behavior):
    """Takes a message now and then."""

    def __init__(self, gate: threading.Event) -> None:
        self._gate = gate

    def on_message(self, message: object, ctx: Context) -> None:
        self._gate.wait(0.001)


def measure_stop(times: int, queued: int = 100_000) -> list[Figure]:
    """Measure from a stop to the end of an actor before which so many messages wait."""
    waits = []
    for _ in range(times):
        spec = ChildSpec("slow", Slow, (threading.Event(),))
        with start_supervisor([spec]) as top:
            child = top.child("slow")
            for number in range(queued):
                child.tell(number)
            started_at = time.perf_counter()
            top.terminate_child("slow")
            waits.append((time.perf_counter() - started_at) * 1e3)
    print(f"  {times} stops before {queued} messages: median {statistics.median(waits):.1f} ms")
    return [Figure(f"stop heard before {queued:,} messages, longest of {times}", max(waits), 50.0, "ms")]


# -- Answers


class SlowToStart(Behavior):
    """Takes a second to become ready."""

    def on_start(self, ctx: Context) -> None:
        threading.Event().wait(1.0)


def measure_answers(times: int, children: int = 8) -> list[Figure]:
    """Measure how long a supervisor takes to answer while all its slow process children are started again."""
    specs = [ChildSpec(f"slow-{n}", SlowToStart, backing="process", backoff=AT_ONCE) for n in range(children)]
    longest = 0.0
    with start_supervisor(specs, intensity=LOOSE) as top:
        for _ in range(times):
            before = [info.ref for info in top.which_children()]
            for info in top.which_children():
                os.kill(info.pid or 0, signal.SIGKILL)
            deadline = time.monotonic() + DEADLINE
            while time.monotonic() < deadline:
                asked_at = time.perf_counter()
                infos = top.which_children()
                longest = max(longest, (time.perf_counter() - asked_at) * 1e3)
                fresh = [
                    info.state == "running" and info.ref is not old for info, old in zip(infos, before, strict=True)
                ]
                if all(fresh):
                    break
    print(f"  {times} times {children} children that take a second to start, killed at once")
    return [Figure(f"which_children answered while {children} start again, longest", longest, 200.0, "ms")]


# -- Orphans

_PROGRAM = """
import subprocess, sys, threading
from supervisors import Behavior, ChildSpec, Supervisor, start_supervisor

print("begun", flush=True)

class Busy(Behavior):
    def on_message(self, message, ctx):
        if message == "child":
            self.child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        else:
            sum(range(10 ** message))

specs = [ChildSpec(f"busy-{number}", Busy, backing="process") for number in range(2)]
with start_supervisor([ChildSpec("below", Supervisor, (specs,))]) as top:
    for spec in specs:
        child = top.supervisor("below").child(spec.id)
        child.tell("child")
        child.tell(9)
    threading.Event().wait()
"""


def measure_orphans(times: int, seed: int) -> list[Figure]:
    """Kill a program at random moments; count the processes that are left of it one second later."""
    draw = random.Random(seed)
    left = 0
    for _ in range(times):
        left += len(kill_program(_PROGRAM, draw.uniform(0.0, 2.0)).left)
    print(f"  {times} programs killed within their first two seconds (seed {seed})")
    return [Figure(f"processes left 1 s after {times} kills of their program", left, 0, "")]


# -- The command


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0 if every figure is within its bound."""
    options = _parser().parse_args(argv)
    # Thousands of deaths are told here, each as it should be: not where the figures are read.
    logging.getLogger("supervisors").setLevel(logging.CRITICAL)
    measures: dict[str, Callable[[], list[Figure]]] = {
        "deaths": lambda: measure_deaths(options.times or 25),
        "restarts": lambda: measure_restarts(options.times or 1_000),
        "stop": lambda: measure_stop(options.times or 10),
        "answers": lambda: measure_answers(options.times or 5),
        "orphans": lambda: measure_orphans(options.times or 200, options.seed),
    }
    figures = []
    for name in options.measures or measures:
        print(f"{name}", flush=True)
        figures += measures[name]()
    print()
    for figure in figures:
        verdict = "ok" if figure.value <= figure.bound else "MISSED"
        print(f"{verdict:6} {figure.name}: {figure.value:.1f} {figure.unit} (bound {figure.bound:g} {figure.unit})")
    print(f"\npeak memory of this program {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    return int(any(figure.value > figure.bound for figure in figures))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.supervision", description=__doc__)
    parser.add_argument(
        "measures", nargs="*", metavar="MEASURE", help="deaths, restarts, stop, answers, orphans (default: all)"
    )
    parser.add_argument("--times", type=int, help="how often (default: as the bounds ask for)")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
