"""The program that is killed: it starts a run, or goes on with it, and waits for its end.

`python -m tests.durability.program SHAPE SEED FOLDER PART URL` prints a line when it is about to touch the store,
another when all processes of the job work, and one when the job is over. It exits with status 0 then, also where the
job was over before.
"""

from __future__ import annotations

import sys
import threading

from routilux import Flow, Job
from routilux.jobs.errors import NotResumableError
from routilux.keeping.listing import list_checkpoints
from routilux.stores.errors import UnknownJobError
from routilux.stores.opening import open_store
from tests.durability.shapes import SHAPES, Run, value_of


def open_job(run: Run, *, keep_open: bool = False) -> Job | None:
    """Start the job, or go on with it; None where it is over.

    Args:
        run: what it is to come to.
        keep_open: whether it lasts until its entry is closed, also where nothing is sent.
    """
    store, shape = open_store(run.store), SHAPES[run.shape]
    try:
        is_there = bool(list_checkpoints(store, run.job_id))
    except UnknownJobError:
        is_there = False
    if is_there:
        try:
            return Flow.resume(store, run.job_id, flow=run.flow(), **run.keeping)
        except NotResumableError:
            return None
    params = None if shape.entry is None else {"upto": run.count}
    keep_open |= shape.entry is None
    return run.flow().start(shape.entry, params, keep_open=keep_open, store=store, job_id=run.job_id, **run.keeping)


def send_the_rest(job: Job, run: Run) -> None:
    """Send what the kept books do not have yet, and close the entry."""
    if job.ledger.copy_held({}).is_entry_open:
        send_all(job, run)
        job.close_entry()


def send_all(job: Job, run: Run) -> None:
    """Send what the kept books do not have yet."""
    edges = {edge.label: edge.sent for edge in job.state.connections}
    sent = edges["entry -> a.input"]
    for seq in range(sent + 1, run.count + 1):
        job.send("a", "input", seq=seq, n=value_of(seq))


def tell_when_all_work(job: Job) -> None:
    """Print a line once each process has started: before, a kill finds them at their imports alone."""
    accounts = [account for account in job.ledger.accounts if account.plan.runs_apart]
    while not all(None not in account.pids for account in accounts) and not job.is_over:
        threading.Event().wait(0.005)
    print("working", flush=True)


def go(run: Run) -> int:
    """Run the job to its end."""
    print("begun", flush=True)
    job = open_job(run)
    if job is not None:
        threading.Thread(target=tell_when_all_work, args=(job,), daemon=True).start()
        if SHAPES[run.shape].entry is None:
            threading.Thread(target=send_the_rest, args=(job, run), daemon=True).start()
        job.collect()
        state = job.wait()
        print(state.status, state.error, flush=True)
    print("over", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(go(Run(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), sys.argv[5])))
