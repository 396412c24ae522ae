"""`routilux pause`, `cancel` and `checkpoint`: commands to a job that another program runs.

Owns what is said of the answer. How the command gets there is `routilux.control`'s.
"""

from __future__ import annotations

import argparse
import sys

import msgspec

from routilux.cli.errors import CommandError
from routilux.cli.output import write_result
from routilux.cli.stored import find_job, find_store, how_to_resume, read_key, stand
from routilux.control.client import ask
from routilux.control.frames import Answer, Cancel, Checkpoint, Command, Ended, Kept, Leave, Pause, fit
from routilux.jobs.recorder import CheckpointInfo
from routilux.keeping.cancelling import cancel_kept
from routilux.keeping.finding import latest, summarize_job
from routilux.stores.base import Owner, Store
from routilux.stores.owners import this_process
from supervisors.text import printable

FINAL = ("completed", "failed", "cancelled")


def pause(options: argparse.Namespace) -> int:
    """Bring a job to rest that another program runs, and return when that is durable."""
    store = find_store(options)
    owner = _require_owner(store, options, "paused")
    reason = fit(options.reason)
    if options.leave:
        _tell_end(ask(owner, Leave(options.job, reason)), options)
        return 0
    timeout = None if options.timeout == 0 else options.timeout
    answer = ask(owner, Pause(options.job, reason, timeout, options.on_timeout))
    return _tell_kept(answer, options, "paused")


def checkpoint(options: argparse.Namespace) -> int:
    """Keep a job as it is now, while another program goes on running it."""
    store = find_store(options)
    owner = _require_owner(store, options, "kept")
    return _tell_kept(ask(owner, Checkpoint(options.job)), options, "kept")


def cancel(options: argparse.Namespace) -> int:
    """End a job for good, whether a program runs it or not."""
    store = find_store(options)
    owner = find_job(store, options.job)
    reason = fit(options.reason) or "cancelled from the command line"
    if owner is None:
        _cancel_kept(store, options, reason)
    else:
        command: Command = Cancel(options.job, reason, options.shutdown)
        _tell_end(ask(owner, command), options)
    return 0


def _require_owner(store: Store, options: argparse.Namespace, done: str) -> Owner:
    owner = find_job(store, options.job)
    if owner is not None:
        return owner
    status = stand(store, summarize_job(store, options.job)).status
    told = f"job {options.job!r} cannot be {done}: nobody runs it, and it is {status}"
    if status not in FINAL:
        told += f"; go on with it by: {how_to_resume(options.job, options.store)}"
    raise CommandError(told, 1)


def _tell_kept(answer: Answer, options: argparse.Namespace, done: str) -> int:
    info = answer.checkpoint if isinstance(answer, Kept) else None
    if info is None:
        raise CommandError(f"job {options.job!r} gave another answer than was asked for", 1)
    if options.json:
        write_result(msgspec.json.encode({"job_id": options.job, **info._asdict()}).decode() + "\n")
    print(printable(f"job {options.job} is {done}: {tell_checkpoint(info)}"), file=sys.stderr)
    if done == "paused":
        print(printable(f"let it go on with: {how_to_resume(options.job, options.store)}"), file=sys.stderr)
    return 0


def tell_checkpoint(info: CheckpointInfo) -> str:
    """Say in one line which checkpoint it is and what is in it."""
    seconds = info.encode_seconds + info.write_seconds
    return (
        f"checkpoint {info.generation}-{info.number}, {info.messages:,} messages, {info.size_bytes:,} bytes, "
        f"written in {seconds:.2g} s"
    )


def _tell_end(answer: Answer, options: argparse.Namespace) -> None:
    if not isinstance(answer, Ended):
        raise CommandError(f"job {options.job!r} gave another answer than was asked for", 1)
    error = f": {answer.error}" if answer.error else ""
    print(printable(f"job {options.job} is {answer.status} and has left its program{error}"), file=sys.stderr)
    if answer.status == "paused":
        print(printable(f"go on with it by: {how_to_resume(options.job, options.store)}"), file=sys.stderr)


def _cancel_kept(store: Store, options: argparse.Namespace, reason: str) -> None:
    key = read_key(options)
    lease = store.acquire(options.job, this_process(), create=False)
    try:
        status = latest(store, options.job, key=key).image.header.status
        if status in ("completed", "cancelled"):
            raise CommandError(f"job {options.job!r} is over already: it is {status}", 1)
        cancel_kept(store, lease, reason, key=key)
    finally:
        lease.release()
    print(printable(f"job {options.job} is cancelled; nobody ran it"), file=sys.stderr)
