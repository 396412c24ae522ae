"""`routilux jobs`: what runs, or what there is in a store, a line a job.

Those that run are asked who they are; of a store the beginnings of checkpoints alone are read.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import NamedTuple

import msgspec

from routilux.cli.output import width_of, write_result
from routilux.cli.picture import Column, lay_out, tell_count, tell_seconds
from routilux.cli.stored import (
    LOST,
    NOT_BEGUN,
    UNREADABLE,
    Standing,
    find_store,
    how_to_resume,
    name_store,
    stand,
    tell_size,
)
from routilux.control.finding import RunningJob, find_running
from routilux.keeping.finding import JobSummary, catalog
from supervisors.text import printable


class Row(NamedTuple):
    """One job."""

    summary: JobSummary
    standing: Standing
    age: float | None

    @property
    def messages(self) -> int | None:
        """Messages in it, as its program or its newest checkpoint tells; None where neither does."""
        if self.standing.now is not None:
            counts = (routine.figures for routine in self.standing.now.routines)
            return sum(figures.left for figures in counts)
        return None if self.summary.header is None else self.summary.header.messages


COLUMNS: tuple[Column[Row], ...] = (
    Column("job", lambda row: row.summary.job_id, 0, is_text=True),
    Column("flow", lambda row: "" if row.summary.header is None else row.summary.header.flow_id, 3, is_text=True),
    Column("status", lambda row: row.standing.status.upper() if _is_odd(row) else row.standing.status, 0, is_text=True),
    Column("kept", lambda row: "" if row.age is None else f"{tell_seconds(row.age)} ago", 2),
    Column("checkpoints", lambda row: tell_count(row.summary.checkpoints), 5),
    Column("size", lambda row: tell_size(row.summary.size_bytes), 4),
    Column("messages", lambda row: "" if row.messages is None else tell_count(row.messages), 1),
)


RUNNING: tuple[Column[RunningJob], ...] = (
    Column("job", lambda job: job.identity.job_id, 0, is_text=True),
    Column("flow", lambda job: job.identity.flow_id, 2, is_text=True),
    Column("status", lambda job: job.identity.status, 0, is_text=True),
    Column("for", lambda job: tell_seconds(max(0.0, time.time() - job.identity.created_at)), 3),
    Column("pid", lambda job: str(job.identity.pid), 1),
    Column("store", lambda job: job.identity.store or "(none)", 4, is_text=True),
)


def jobs(options: argparse.Namespace) -> int:
    """List the jobs that run on this machine, or with a store those in there: what each is, and where it stands."""
    if options.running or name_store(options) is None:
        return list_running(options)
    store = find_store(options)
    now = time.time()
    rows = [Row(summary, stand(store, summary), _age(summary, now)) for summary in catalog(store)]
    if options.json:
        write_result(msgspec.json.encode([to_dict(row) for row in rows]).decode() + "\n")
        return 0
    if not rows:
        print(printable(f"{store} has no jobs"), file=sys.stderr)
        return 0
    titles, lines = lay_out(COLUMNS, rows, width_of(sys.stdout))
    write_result("\n".join([titles, *lines]) + "\n")
    for row in rows:
        for problem in row.summary.problems:
            print(printable(f"{row.summary.job_id}: {problem}"), file=sys.stderr)
        if row.standing.status == NOT_BEGUN:
            told = "its program was killed before anything of it was kept; run it again, under the same id too"
            print(printable(f"{row.summary.job_id}: {told}"), file=sys.stderr)
        if row.standing.status == LOST:
            told = f"{row.summary.job_id}: the program that ran it is gone; go on with "
            print(printable(told + how_to_resume(row.summary.job_id, options.store)), file=sys.stderr)
    return 0


def list_running(options: argparse.Namespace) -> int:
    """List the jobs of this user that run on this machine and take commands."""
    running = find_running()
    if options.json:
        told = [msgspec.to_builtins(job.identity) for job in running]
        for identity in told:
            del identity["type"]
        write_result(msgspec.json.encode(told).decode() + "\n")
        return 0
    if not running:
        print("no job of yours runs here now; those that are kept are listed with --store PATH", file=sys.stderr)
        return 0
    titles, lines = lay_out(RUNNING, running, width_of(sys.stdout))
    write_result("\n".join([titles, *lines]) + "\n")
    return 0


def to_dict(row: Row) -> dict[str, object]:
    """Give what is told of a job, for JSON."""
    summary, header, owner = row.summary, row.summary.header, row.standing.owner
    return {
        "job_id": summary.job_id,
        "status": row.standing.status,
        "flow_id": None if header is None else header.flow_id,
        "error": None if header is None else header.error,
        "created_at": None if header is None else header.job_created_at,
        "kept_at": None if header is None else header.created_at,
        "checkpoint": None if header is None else f"{header.generation}-{header.number}",
        "checkpoints": summary.checkpoints,
        "size_bytes": summary.size_bytes,
        "messages": row.messages,
        "owner": None if owner is None else {"pid": owner.pid, "host": owner.host},
        "problems": [str(problem) for problem in summary.problems],
    }


def _age(summary: JobSummary, now: float) -> float | None:
    return None if summary.header is None else max(0.0, now - summary.header.created_at)


def _is_odd(row: Row) -> bool:
    return row.standing.status in {LOST, UNREADABLE}
