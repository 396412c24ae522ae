"""How each kind of work is measured: a contestant and a size in, figures by name out.

Owns the clocks. Each function prepares the contestant, warms it up, measures, and leaves closing it to who called.
"""

from __future__ import annotations

import os
import random
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

from benchmarks.contest import Carrier, Contestant, Starter
from benchmarks.loop import TURNS, run_loop
from benchmarks.work import BURN_SECONDS, DEATH_NOTE, TINY, WrongResultError

_MB = 1_000_000
ARRAY_SIZES_MB = (1, 16, 64)
_WARM = 20
"""A warm-up is this part of what is measured, or so many round trips."""


def measure_rate(contestant: Contestant, size: int) -> dict[str, float]:
    """Measure pieces of work a second, the processor time of one, that in the kernel too, and memory at its peak."""
    contestant.prepare()
    contestant.run(max(1, size // _WARM))
    family = _find_family()
    before = _read_cpu(family)
    began = time.perf_counter()
    contestant.run(size)
    seconds = time.perf_counter() - began
    after = _read_cpu(family)
    return {
        "rate": size / seconds,
        "cpu": (after.total - before.total) / size * 1e6,
        "kernel": (after.system - before.system) / size * 1e6,
        "memory": _peak_bytes() / _MB,
    }


def measure_cost(contestant: Contestant, size: int) -> dict[str, float]:
    """Measure the processor time of a piece of work, in turns of a fixed loop that runs right before and after it."""
    contestant.prepare()
    contestant.run(max(1, size // _WARM))
    family = _find_family()
    turn = _measure_turn()
    cpu = _read_cpu(family).total
    contestant.run(size)
    cpu = _read_cpu(family).total - cpu
    turn += _measure_turn()
    return {"cost": cpu / size / (turn / 2)}


def _measure_turn() -> float:
    began = time.thread_time()
    run_loop()
    return (time.thread_time() - began) / TURNS


def measure_trips(contestant: Carrier, size: int) -> dict[str, float]:
    """Measure how long one message takes there and back: alone, and at half load, in microseconds.

    At half load requests become due at random moments (Poisson), at half of the rate at which this contestant answers
    them one after another. What counts is the time from the moment at which one was due, so that a slow answer counts
    for those that had to wait behind it.
    """
    contestant.payload = TINY
    contestant.prepare()
    contestant.run(_WARM)
    alone = []
    for _ in range(size):
        began = time.perf_counter()
        contestant.run(1)
        alone.append(time.perf_counter() - began)
    _check(contestant.answer == TINY, contestant.answer)
    loaded = _measure_half_load(contestant, size, 2 * statistics.mean(alone))
    return {
        "p50": _percentile(alone, 50) * 1e6,
        "p99": _percentile(alone, 99) * 1e6,
        "p50 at half load": _percentile(loaded, 50) * 1e6,
        "p99 at half load": _percentile(loaded, 99) * 1e6,
    }


def _measure_half_load(contestant: Contestant, size: int, interval: float) -> list[float]:
    draw = random.Random(1)
    pause = threading.Event()
    waited = []
    free = due = time.perf_counter()
    for _ in range(size):
        due += draw.expovariate(1 / interval)
        while (left := due - time.perf_counter()) > 0:
            pause.wait(left)
        # A timer that rings late is this measurement's fault; a contestant that is still busy is its own.
        began = due if free > due else time.perf_counter()
        contestant.run(1)
        free = time.perf_counter()
        waited.append(free - began)
    return waited


def measure_arrays(contestant: Carrier, size: int, megabyte: int = _MB) -> dict[str, float]:
    """Measure how fast arrays go to a process and others of their size come back, in GB/s, both ways added up.

    `size` megabytes a way are carried for each size of array, at least two arrays, and as many before: whoever carries
    them goes through all of its memory first, and the system gives each page of that when it is touched. A `megabyte`
    may have fewer bytes where it is asked whether they go there and back, and not how fast.
    """
    contestant.payload = np.zeros(megabyte, np.uint8)
    contestant.prepare()
    found = {}
    for megabytes in ARRAY_SIZES_MB:
        contestant.payload = np.zeros(megabytes * megabyte, np.uint8)
        times = max(2, size // megabytes)
        contestant.run(times)
        began = time.perf_counter()
        contestant.run(times)
        seconds = time.perf_counter() - began
        got = contestant.answer
        _check(len(got) == megabytes * megabyte and int(got[0]) == int(got[-1]) == 1, got)
        found[f"{megabytes} MB"] = 2 * times * megabytes * megabyte / seconds / 1e9
    return found


def measure_start(contestant: Starter, size: int) -> dict[str, float]:
    """Measure, in milliseconds, from nothing to the first process actor, one more, `size` more at once; USS in MB."""
    first = _milliseconds(contestant.prepare)
    contestant.run(1)  # what is made once for the second is made by now
    one = _milliseconds(lambda: contestant.run(1))
    many = _milliseconds(lambda: contestant.run(size))
    _check(len(set(contestant.pids)) == size, contestant.pids)
    memory = statistics.mean(psutil.Process(pid).memory_full_info().uss for pid in contestant.pids)
    return {"first": first, "one more": one, "16 more": many, "USS each": memory / _MB}


def measure_idle(contestant: Contestant, size: int) -> dict[str, float]:
    """Measure which part of a core it takes, with two processes and nothing to do, for `size` tenths of a second."""
    contestant.prepare()
    contestant.run(2)
    pause = threading.Event()
    pause.wait(0.5)  # what follows a start has passed
    family = _find_family()
    cpu, began = _read_cpu(family).total, time.perf_counter()
    pause.wait(size / 10)
    return {"share": (_read_cpu(family).total - cpu) / (time.perf_counter() - began) * 100}


def measure_burn(contestant: Contestant, size: int) -> dict[str, float]:
    """Measure the time and the processor time of so many CPU-heavy tasks on two processes, over the least possible."""
    contestant.prepare()
    contestant.run(2)
    family = _find_family()
    cpu = _read_cpu(family).total
    seconds = _milliseconds(lambda: contestant.run(size)) / 1e3
    least = size * BURN_SECONDS
    return {"over ideal": seconds / (least / 2), "cpu": (_read_cpu(family).total - cpu) / least}


def measure_kills(contestant: Contestant, size: int) -> dict[str, float]:
    """Measure from a SIGKILL in a handler until a message has been handled again; median and longest, milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder, "death")
        os.environ[DEATH_NOTE] = str(note)  # before there are workers, which inherit it
        contestant.prepare()
        waits = []
        for _ in range(size):
            note.unlink(missing_ok=True)
            contestant.run(1)
            waits.append((time.monotonic() - float(note.read_text(encoding="ascii"))) * 1e3)
    return {"median": statistics.median(waits), "longest": max(waits)}


MEASURES: dict[str, Callable[[Any, int], dict[str, float]]] = {
    "rate": measure_rate,
    "cost": measure_cost,
    "trips": measure_trips,
    "arrays": measure_arrays,
    "small arrays": partial(measure_arrays, megabyte=_MB // 10),
    "start": measure_start,
    "idle": measure_idle,
    "burn": measure_burn,
    "kills": measure_kills,
}


def _check(is_right: bool, got: object) -> None:  # noqa: FBT001  it is what is checked
    if not is_right:
        raise WrongResultError(f"wrong answer: {got!r:.100}")


def _milliseconds(do: Callable[[], None]) -> float:
    began = time.perf_counter()
    do()
    return (time.perf_counter() - began) * 1e3


def _percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def _find_family() -> list[psutil.Process]:
    """Find this process and all below it; before what is measured, since that takes milliseconds itself."""
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


class _Cpu(NamedTuple):
    """Processor time in seconds: in all, and of that in the kernel."""

    total: float
    system: float


def _read_cpu(family: Sequence[psutil.Process]) -> _Cpu:
    """Add up the processor time of these processes, and of those below them that have ended."""
    total = system = 0.0
    for process in family:
        try:
            times = process.cpu_times()
            total += _read_clock(process.pid) or times.user + times.system
        except psutil.NoSuchProcess:
            continue
        ended = getattr(times, "children_system", 0.0)
        total += getattr(times, "children_user", 0.0) + ended
        system += times.system + ended
    return _Cpu(total, system)


def _read_clock(pid: int) -> float | None:
    """Read the processor time of a process to the nanosecond, where psutil knows hundredths; None where that fails.

    Linux makes the number of that clock of the process's (`clock_getcpuclockid(3)`), and no other system does.
    """
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except (AttributeError, OSError):
        return None


def _peak_bytes() -> int:
    """Add up the most memory that this process and each below it had; where the system keeps no peak, what it has."""
    total = 0
    for process in _find_family():
        try:
            status = Path(f"/proc/{process.pid}/status")
            peak = (
                re.search(r"^VmHWM:\s+(\d+) kB", status.read_text("ascii"), re.MULTILINE) if status.exists() else None
            )
            total += int(peak[1]) * 1024 if peak else process.memory_info().rss
        except (psutil.Error, OSError):
            continue  # it has ended since
    return total
