"""Programs with running flows, killed at random moments: nothing of them is left one second later.

The command `python -m tests.faults.orphans --programs 500 [--seed S] [--at-once N]`; exit status 1 if a process is
left, and then what it was, in which scene, and the moment of the kill. Owns the scenes and what is printed.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from benchmarks.killing import Aftermath, kill_program

LATEST = 2.0
"""Seconds within which a program is killed, from where it starts its flow."""
PROGRAM = """
import os, signal, subprocess, sys, threading, time
from routilux import ErrorHandler, Flow, Job, Routine

assert Job  # which brings what runs jobs: the time is that of the flow
print("begun", flush=True)

class Worker(Routine):
    def __init__(self):
        super().__init__()
        self.define_slot("input", handler=self.handle)

    def handle(self, mode):
        if mode == "spin":
            sum(range(10 ** 12))
        elif mode == "sleep":
            time.sleep(600)
        elif mode == "program":
            subprocess.run([sys.executable, "-c", "import time; time.sleep(600)"])
        elif mode == "fork":
            if os.fork() == 0:
                time.sleep(600)
                os._exit(0)
        elif mode == "left":
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            time.sleep(600)
        elif mode == "die":
            os.kill(os.getpid(), signal.SIGKILL)

scene = sys.argv[1]
modes = {
    "busy": ["spin", "sleep"],
    "idle": ["", ""],
    "grandchildren": ["program", "fork", "left"],
    "restarting": ["", "die"],
    "cancelling": ["sleep", "fork"],
    "starting": [""],
}[scene]

def start():
    flow = Flow("orphans")
    for number, mode in enumerate(modes):
        handler = ErrorHandler("retry", max_retries=10 ** 6, retry_delay=0.0)
        flow.add_routine(
            Worker(), str(number), placement="process", error_handler=handler, max_restarts=10 ** 6
        )
    job = flow.start(keep_open=True, shutdown=600.0)
    for number, mode in enumerate(modes):
        job.send(str(number), "input", mode=mode)
    return job

job = start()
if scene == "cancelling":
    while not all(account.in_hand for account in job.ledger.accounts if account.plan.id == "0"):
        time.sleep(0.01)
    job.cancel()
while scene == "starting":
    job.close_entry()
    job.wait()
    job = start()
threading.Event().wait()
"""
SCENES = ("busy", "idle", "grandchildren", "restarting", "cancelling", "starting")


class Plan(NamedTuple):
    """One program: its scene, and when it is killed."""

    scene: str
    after: float


class Told(NamedTuple):
    """What became of one program."""

    plan: Plan
    aftermath: Aftermath


def make_plans(programs: int, seed: int) -> list[Plan]:
    """Draw the scenes and the moments."""
    draw = random.Random(seed)
    return [Plan(SCENES[n % len(SCENES)], draw.uniform(0.0, LATEST)) for n in range(programs)]


def kill_all(plans: Sequence[Plan], at_once: int) -> Iterator[Told]:
    """Kill the programs of the plans, so many at once; gives each as it is over, in the order of the plans."""
    with ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(lambda plan: Told(plan, kill_program(PROGRAM, plan.after, plan.scene)), plans)


def main(argv: Sequence[str] | None = None) -> int:
    """Kill programs and print what is left of them; 0 if that is nothing."""
    options = _parser().parse_args(argv)
    told = []
    for one in kill_all(make_plans(options.programs, options.seed), options.at_once):
        told.append(one)
        for line in one.aftermath.left:
            print(f"LEFT of {one.plan.scene!r}, killed after {one.plan.after:.3f} s: {line}", flush=True)
        if len(told) % 50 == 0:
            print(f"{len(told)} programs killed", flush=True)
    left = sum(len(one.aftermath.left) for one in told)
    for scene in SCENES:
        seen = [one.aftermath.seen for one in told if one.plan.scene == scene]
        if seen:
            print(f"  {scene:14} {len(seen):4} programs, {sum(seen) / len(seen):4.1f} processes each when killed")
    print(f"{left} processes left 1 s after {len(told)} kills of their programs (seed {options.seed})")
    return int(left > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.orphans", description=__doc__)
    parser.add_argument("--programs", type=int, default=500, help="how many are killed (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=4, help="how many run at once (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
