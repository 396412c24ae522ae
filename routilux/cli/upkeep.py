"""`routilux fork`, `prune` and `verify`: what is done to what is kept, without running it."""

from __future__ import annotations

import argparse
import re
import sys

from routilux.cli.errors import UsageError
from routilux.cli.lookup import find_job, require_store
from routilux.cli.output import write_result
from routilux.cli.stored import find_store, how_to_resume, read_key
from routilux.keeping.listing import is_checkpoint, list_checkpoints
from routilux.keeping.retention import Retention
from routilux.keeping.verifying import verify as find_problems
from routilux.records.errors import KeptError
from routilux.runtime.resuming import fork_job
from routilux.stores.base import Store
from routilux.stores.errors import JobOwnedError, MissingObjectError, StoreError
from routilux.stores.owners import this_process
from supervisors.text import printable

_CHECKPOINT = re.compile(r"(?:checkpoint-)?0*([1-9]\d{0,11})-0*([1-9]\d{0,11})")


def fork(options: argparse.Namespace) -> int:
    """Make a new, paused job of what a kept checkpoint of another holds."""
    store = require_store(find_job(options))
    checkpoint = _read_checkpoint(options.checkpoint)
    try:
        origin = fork_job(store, options.job, options.new, checkpoint, key=read_key(options))
    except MissingObjectError as error:
        if checkpoint is None:
            raise
        kept = [f"{each.generation}-{each.number}" for each in list_checkpoints(store, options.job)]
        given, known = "-".join(map(str, checkpoint)), f"; its checkpoints are {', '.join(kept)}" if kept else ""
        raise UsageError(f"--checkpoint: job {options.job!r} has no checkpoint {given}{known}") from error
    print(printable(f"job {options.new} was made of {origin}; it is paused"), file=sys.stderr)
    print(printable(f"go on with it by: {how_to_resume(options.new, options.store)}"), file=sys.stderr)
    return 0


def prune(options: argparse.Namespace) -> int:
    """Let old checkpoints go; the newest good one and those of pauses stay."""
    (store, job_ids), key = _choose(options), read_key(options)
    are_refused = 0
    for job_id in job_ids:
        try:
            gone = _prune(store, job_id, options.keep, key)
        except (StoreError, KeptError) as error:
            if not options.all:
                raise
            are_refused += not isinstance(error, JobOwnedError)  # one that runs lets its own go
            print(printable(f"{job_id}: left alone: {error}"), file=sys.stderr)
        else:
            print(printable(f"{job_id}: {_tell_gone(gone)} let go"), file=sys.stderr)
    return int(are_refused > 0)


def _prune(store: Store, job_id: str, keep: int, key: bytes | None) -> list[str]:
    lease = store.acquire(job_id, this_process(), create=False)
    try:
        return Retention(store, lease, keep_last=keep, key=key).prune()
    finally:
        lease.release()


def _tell_gone(gone: list[str]) -> str:
    """Say how many checkpoints went, and states that only those had."""
    checkpoints = sum(map(is_checkpoint, gone))
    told = f"{checkpoints or 'no'} checkpoint{'' if checkpoints == 1 else 's'}"
    states = len(gone) - checkpoints
    return told + (f" and {states} state{'' if states == 1 else 's'} of theirs" if states else "")


def verify(options: argparse.Namespace) -> int:
    """Read all that is kept of a job, and tell what is damaged; status 1 if anything is."""
    (store, job_ids), key = _choose(options), read_key(options)
    are_damaged = 0
    for job_id in job_ids:
        try:
            problems: list[object] = [*find_problems(store, job_id, key=key)]
        except StoreError as error:  # such as a file that others may write
            problems = [error]
        are_damaged += bool(problems)
        write_result("".join(f"{printable(f'{job_id}: {problem}')}\n" for problem in problems))
        if not problems:
            print(printable(f"{job_id}: all is well"), file=sys.stderr)
    return int(are_damaged > 0)


def _choose(options: argparse.Namespace) -> tuple[Store, list[str]]:
    """Give the jobs that are meant, and where they are."""
    if options.all == (options.job is not None):
        raise UsageError("say which job, or --all")
    if options.all:
        store = find_store(options)
        return store, store.jobs()
    found = find_job(options)
    return require_store(found), [found.job_id]


def _read_checkpoint(given: str | None) -> tuple[int, int] | None:
    if given is None:
        return None
    found = _CHECKPOINT.fullmatch(given)
    if found is None:
        raise UsageError(f"--checkpoint: expected GENERATION-NUMBER, such as 1-12, got {given!r}")
    return int(found[1]), int(found[2])
