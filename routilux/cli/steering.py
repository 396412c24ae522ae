"""`routilux pause`, `cancel` and `checkpoint`: commands to a job that another program runs.

Owns what is said of the answer. How the command gets there is `routilux.control`'s.
"""

from __future__ import annotations

import argparse
import sys

import msgspec

from routilux.cli.errors import CommandError
from routilux.cli.following import as_asked, odd_answer
from routilux.cli.lookup import find_job, require_owner
from routilux.cli.output import write_result
from routilux.cli.stored import how_to_resume, read_key
from routilux.control.client import ask
from routilux.control.frames import Answer, Cancel, Checkpoint, Command, Ended, Kept, Leave, Pause, fit
from routilux.jobs.recorder import CheckpointInfo
from routilux.keeping.cancelling import cancel_kept
from routilux.keeping.finding import OVER, latest
from routilux.stores.base import Store
from routilux.stores.owners import this_process
from supervisors.text import printable


def pause(options: argparse.Namespace) -> int:
    """Bring a job to rest that another program runs, and return when that is durable."""
    _found, owner = require_owner(options, "paused")
    reason = fit(options.reason)
    if options.leave:
        _tell_end(ask(owner, Leave(options.job, reason)), options)
        return 0
    timeout = None if options.timeout == 0 else options.timeout
    info = _read_kept(ask(owner, Pause(options.job, reason, timeout, options.on_timeout)), options)
    _write_info(info, options)
    told = f"in the memory of {owner}, with which it ends" if info is None else tell_checkpoint(info)
    print(printable(f"job {options.job} is paused: {told}"), file=sys.stderr)
    print(printable(f"let it go on with: {how_to_resume(options.job, options.store)}"), file=sys.stderr)
    return 0


def checkpoint(options: argparse.Namespace) -> int:
    """Keep a job as it is now, while another program goes on running it."""
    _found, owner = require_owner(options, "kept")
    info = _read_kept(ask(owner, Checkpoint(options.job)), options)
    if info is None:
        raise odd_answer(options.job)
    _write_info(info, options)
    print(printable(f"job {options.job} is kept: {tell_checkpoint(info)}"), file=sys.stderr)
    return 0


def cancel(options: argparse.Namespace) -> int:
    """End a job for good, whether a program runs it or not."""
    found = find_job(options)
    reason = fit(options.reason) or "cancelled from the command line"
    if found.owner is not None:
        command: Command = Cancel(options.job, reason, options.shutdown)
        _tell_end(ask(found.owner, command), options)
    elif found.store is not None:
        _cancel_kept(found.store, options, reason)
    return 0


def _read_kept(answer: Answer, options: argparse.Namespace) -> CheckpointInfo | None:
    return as_asked(answer, Kept, options.job).checkpoint


def _write_info(info: CheckpointInfo | None, options: argparse.Namespace) -> None:
    if options.json:
        told = {} if info is None else info._asdict()
        write_result(msgspec.json.encode({"job_id": options.job, **told}).decode() + "\n")


def tell_checkpoint(info: CheckpointInfo) -> str:
    """Say in one line which checkpoint it is and what is in it."""
    seconds = info.encode_seconds + info.write_seconds
    return (
        f"checkpoint {info.generation}-{info.number}, {info.messages:,} messages, {info.size_bytes:,} bytes, "
        f"written in {seconds:.2g} s"
    )


def _tell_end(answer: Answer, options: argparse.Namespace) -> None:
    ended = as_asked(answer, Ended, options.job)
    error = f": {ended.error}" if ended.error else ""
    print(printable(f"job {options.job} is {ended.status} and has left its program{error}"), file=sys.stderr)
    if ended.status == "paused":
        print(printable(f"go on with it by: {how_to_resume(options.job, options.store)}"), file=sys.stderr)


def _cancel_kept(store: Store, options: argparse.Namespace, reason: str) -> None:
    key = read_key(options)
    lease = store.acquire(options.job, this_process(), create=False)
    try:
        status = latest(store, options.job, key=key).image.header.status
        if status in OVER:
            raise CommandError(f"job {options.job!r} is over already: it is {status}", 1)
        cancel_kept(store, lease, reason, key=key)
    finally:
        lease.release()
    print(printable(f"job {options.job} is cancelled; nobody ran it"), file=sys.stderr)
