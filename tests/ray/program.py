"""A program with a job: it starts a run or goes on with it, on Ray or elsewhere, and is paused, killed, or runs it out.

`python -m tests.ray.program PLACEMENT SHAPE SEED FOLDER PART` prints `at N` now and then, N being the messages handled
so far. At a line on its stdin it pauses the job, prints `paused`, and ends; else it ends with the job and prints that
one's status.
"""

from __future__ import annotations

import sys
import threading

from routilux.errors import JobTimeoutError
from tests.durability.program import open_job, send_the_rest
from tests.durability.shapes import SHAPES
from tests.ray.placed import RUNS

LOOK_SECONDS = 0.05


def main() -> int:
    """Have the job."""
    placement, shape, seed, folder, part = sys.argv[1:]
    run = RUNS[placement](shape, int(seed), folder, float(part))
    job = open_job(run)
    if job is None:
        print("over before", flush=True)
        return 0
    said = threading.Event()

    def listen() -> None:
        if sys.stdin.readline():
            said.set()

    threading.Thread(target=listen, daemon=True).start()
    if SHAPES[shape].entry is None:
        threading.Thread(target=send_the_rest, args=(job, run), daemon=True).start()
    threading.Thread(target=job.collect, daemon=True).start()
    while not said.is_set():
        try:
            state = job.wait(LOOK_SECONDS)
        except JobTimeoutError:
            print("at", sum(account.handled for account in job.ledger.accounts), flush=True)
        else:
            print(state.status, state.error or "", flush=True)
            return 0
    job.pause(timeout=None)
    print("paused", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
