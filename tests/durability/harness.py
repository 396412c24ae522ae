"""A program that is killed and started again until its job is over; and what the store then says of the job.

Owns the kills and the check. What is checked is read from the store alone: the program that ended last may have been
killed too.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.killing import MARK, _marked
from routilux.jobs.imaging import Clocks, read_books
from routilux.keeping.finding import latest
from routilux.keeping.history import StoredHistory
from routilux.keeping.verifying import verify
from routilux.records.schema import Image
from routilux.routing import compile_plan
from routilux.runtime.stream import read_payload
from routilux.serial.carried import Carried
from routilux.serial.registry import default as registry
from routilux.stores.base import Store
from routilux.stores.opening import open_store
from routilux.turn.state import decode_state, is_reserved
from tests.durability.shapes import ONCE_EVERY, Books, Run, is_poison

ROOT = Path(__file__).resolve().parents[2]
EARLIEST, LATEST = 0.02, 1.5
"""Seconds within which a program is killed: from where it touches the store, or from where all its processes work."""
FROM_THE_BEGINNING = 0.25
"""How many of the kills count from where the store is touched."""
MOST_KILLS = 40
"""Then the program is let run to its end."""
SECONDS = 90.0
"""What a program may take that is not killed (arbitrary)."""
GRACE_SECONDS = 2.0


class Outcome(NamedTuple):
    """What came of a run.

    Args:
        run: the run.
        kills: how often its program was killed.
        worker_kills: how often a process of it was killed while it went on.
        resumes: how often it was started again with something kept.
        messages: messages that were handled in effect.
        seconds: what it took.
        rolled_back: records of turns that ran and were rolled back.
        doubled: effects of `once` that happened twice: killed between the effect and its record.
        problems: what is wrong.
    """

    run: Run
    kills: int
    worker_kills: int
    resumes: int
    messages: int
    seconds: float
    rolled_back: int
    doubled: int
    problems: list[str]


def survive(run: Run, most_kills: int = MOST_KILLS) -> Outcome:
    """Kill the program of a run until its job is over, and check what is kept."""
    started = time.monotonic()
    draw = random.Random(f"kills {run.shape} {run.seed}")
    mark = uuid.uuid4().hex
    problems: list[str] = []
    kills = worker_kills = resumes = 0
    errors = Path(run.folder) / f"{run.job_id}.err"
    with errors.open("wb") as stderr:
        while True:
            after = draw.uniform(EARLIEST, LATEST) if kills < most_kills else None
            worker_after = draw.uniform(EARLIEST, LATEST) if draw.random() < 0.4 else None
            resumes += _has_checkpoint(run)
            with _begin(run, mark, stderr, has_to_work=draw.random() > FROM_THE_BEGINNING) as program:
                killed = _kill(program, after, worker_after, draw)
                worker_kills += killed
                status = _end(program)
            if status == 0:
                break
            if status != -9 or after is None:
                problems.append(f"the program ended by itself with {status}: {_tail(errors)}")
                break
            kills += 1
    problems += _find_left(mark)
    found = check(run) if not problems else Checked([], 0, 0, 0)
    # A worker may be killed between an effect and its record as well.
    if found.doubled > kills + worker_kills:
        problems.append(f"{found.doubled} effects were doubled by {kills} kills")
    return Outcome(
        run,
        kills,
        worker_kills,
        resumes,
        found.messages,
        time.monotonic() - started,
        found.rolled_back,
        found.doubled,
        [*problems, *found.problems],
    )


def _begin(run: Run, mark: str, stderr: Any, *, has_to_work: bool) -> subprocess.Popen[bytes]:
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.durability.program", *map(str, run)],
        cwd=ROOT,
        env={**os.environ, MARK: mark},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )
    assert program.stdout is not None
    program.stdout.readline()  # it is about to touch the store
    if has_to_work:
        program.stdout.readline()
    return program


def _kill(
    program: subprocess.Popen[bytes], after: float | None, worker_after: float | None, draw: random.Random
) -> int:
    """Kill the program when its time has come, one of its processes before; give how many of these were."""
    killed, begun = 0, time.monotonic()
    if worker_after is not None and (after is None or worker_after < after):
        _wait_for(program, worker_after)
        with contextlib.suppress(psutil.Error):
            workers = psutil.Process(program.pid).children()
            if workers:
                draw.choice(workers).kill()
                killed = 1
    if after is not None:
        _wait_for(program, begun + after - time.monotonic())
        program.kill()
    return killed


def _wait_for(program: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.wait(max(0.0, seconds))


def _end(program: subprocess.Popen[bytes]) -> int:
    try:
        program.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        program.kill()
        program.communicate()
        return 1_000
    return program.returncode


def _tail(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-2_000:]


def _has_checkpoint(run: Run) -> bool:
    store = open_store(run.store)
    try:
        return run.job_id in store.jobs()
    finally:
        store.close()


def _find_left(mark: str) -> list[str]:
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := _marked(mark)) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    told = []
    for process in left:
        with contextlib.suppress(psutil.Error):
            told.append(f"process {process.pid} is left: {' '.join(process.cmdline())}")
            process.kill()
    return told


# ---- the check


class Checked(NamedTuple):
    """What the store says: see `Outcome`."""

    problems: list[str]
    messages: int
    rolled_back: int
    doubled: int


def check(run: Run) -> Checked:
    """Compare what is kept of a run's job with what it is to be."""
    store, key = open_store(run.store), run.keeping["key"]
    try:
        image = latest(store, run.job_id, key=key).image
        problems = [*_check_books(run, image), *_check_states(run, image), *_check_outputs(run, image)]
        problems += [f"verify: {problem}" for problem in verify(store, run.job_id, key=key)]
        told, rolled_back = _check_history(run, store, image)
        doubled = _count_doubled(run)
        return Checked([*problems, *told], sum(image.job.handled), rolled_back, doubled)
    finally:
        store.close()


def _check_books(run: Run, image: Image) -> list[str]:
    problems = []
    header, job = image.header, image.job
    if header.status != "completed":
        problems.append(f"it is {header.status}: {header.error}")
    outputs = {f"{output.routine_id}.{output.event} -> output": len(output.waiting) for output in job.outputs}
    for edge, sent, handled, dead, skipped in zip(
        image.topology.edges, job.sent, job.handled, job.dead, job.skipped, strict=True
    ):
        if sent != handled + dead + skipped + outputs.get(edge.label, 0):
            problems.append(f"{edge.label}: {sent} sent, {handled} handled, {dead} dead, {skipped} skipped")
    problems += [
        f"routine {routine.id} is not done"
        for routine in image.routines
        if routine.in_hand or routine.waiting or routine.retries
    ]
    poison = [seq for seq in range(1, run.count + 1) if is_poison(seq)] if run.trouble.is_poisoned else []
    letters = sum(len(routine.dead_letters) for routine in image.routines)
    if (letters, sum(job.dead)) != (len(poison), len(poison)):
        problems.append(f"{letters} dead letters, {sum(job.dead)} dead, {len(poison)} poisonous")
    return problems


def _check_states(run: Run, image: Image) -> list[str]:
    codec = Carried(registry)
    books = read_books(image, compile_plan(run.flow()), Clocks(0.0, 0.0), codec)
    states = {
        routine: [decode_state(stored or {}, codec=codec) for stored in account.committed]
        for routine, account in zip(run.flow().routines, books.accounts, strict=True)
    }
    problems = []
    for routine, expected in run.expected().items():
        kept = states[routine]
        found = Books(*(sum(state.get(name, 0) for state in kept) for name in ("count", "sum", "mixed")))
        found = found._replace(mixed=found.mixed & (1 << 61) - 1)
        if found != expected:
            problems.append(f"routine {routine}: counted {found}, expected {expected}")
    for routine, kept in states.items():
        problems += [f"routine {routine}: {state['wrong']}" for state in kept if "wrong" in state]
        problems += [f"routine {routine} shows {key}" for state in kept for key in state if is_reserved(key)]
    marks = sum(state.get("sent:mark", 0) for state in states.get("a", states.get("left", [])))
    gathered = sum(state.get("marks", 0) for state in states.get("c", states.get("join", [])))
    if run.shape in ("chain", "diamond") and marks != gathered:
        problems.append(f"{marks} marks were sent, {gathered} gathered")
    return problems


def _check_outputs(run: Run, image: Image) -> list[str]:
    codec = Carried(registry)
    expected = run.expected()
    for output in image.job.outputs:
        results = [read_payload(message.payload, codec) for message in (*output.collected, *output.waiting)]
        if [result["seq"] for result in results] != list(range(1, len(results) + 1)):
            return [f"the results of {output.routine_id} are out of order"]
        if Books.of([result["n"] for result in results]) != expected[output.routine_id]:
            return [f"the results of {output.routine_id} are not those expected"]
    return []


def _check_history(run: Run, store: Store, image: Image) -> tuple[list[str], int]:
    history = StoredHistory(store, run.job_id)
    completed: Counter[str] = Counter()
    by_routine: Counter[str] = Counter()
    for record in history:
        if record.kind == "completed":
            completed[record.message_id] += 1
            by_routine[record.routine_id] += 1
    problems = [f"history: {problem}" for problem in history.problems]
    doubled = [message for message, count in completed.items() if count > 1]
    if doubled:
        problems.append(f"history: {len(doubled)} messages completed more than once, such as {doubled[0]}")
    problems += [
        f"history: {by_routine[routine.id]} completed in {routine.id}, handled {routine.figures['handled']}"
        for routine in image.routines
        if by_routine[routine.id] != routine.figures["handled"]
    ]
    return problems, history.count_rolled_back()


def _count_doubled(run: Run) -> int:
    path = Path(run.trouble.once)
    if not run.trouble.once or not path.exists():
        return 0
    effects = Counter(path.read_text(encoding="utf-8").splitlines())
    return sum(count - 1 for count in effects.values())


def count_tokens(run: Run) -> int:
    """Give how many messages of a run do something once."""
    return run.count // ONCE_EVERY
