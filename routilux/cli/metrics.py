"""`routilux show --metrics`: how a job does.

Owns the layout of the tables. A job that runs is asked itself; of others the newest good checkpoint tells.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import msgspec

from routilux.cli.lookup import Found, require_store
from routilux.cli.output import width_of, write_result
from routilux.cli.picture import Column, lay_out, tell_bytes, tell_count, tell_rate, tell_seconds
from routilux.cli.stored import STATUS_SECONDS, check_routine, read_key, tell_time
from routilux.control.client import ask
from routilux.control.errors import ControlError
from routilux.control.frames import Metrics, Tracked
from routilux.jobs.tracks import track_image
from routilux.keeping.finding import latest
from routilux.keeping.listing import Problem
from routilux.tracking.performance import EventFlow, RoutinePerformance
from routilux.tracking.tracker import ExecutionTracker
from supervisors.text import printable


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def tell_short(seconds: float | None) -> str:
    """Say how long, in three digits: `12.3 us`, `4.56 ms`, `7.8 s`."""
    if seconds is None:
        return ""
    if seconds >= 1.0:
        return tell_seconds(seconds)
    return f"{seconds * 1e3:.3g} ms" if seconds >= 0.001 else f"{seconds * 1e6:.3g} us"  # noqa: PLR2004  the prefixes


COUNTS: tuple[Column[RoutinePerformance], ...] = (
    Column("routine", lambda one: one.routine_id, 0, is_text=True),
    Column("handled", lambda one: tell_count(one.handled), 0),
    Column("per s", lambda one: tell_rate(one.throughput), 1),
    Column("last min", lambda one: tell_rate(one.recent_throughput), 5),
    Column("success", lambda one: _percent(one.success_rate), 2),
    Column("retries", lambda one: tell_count(one.retries), 4),
    Column("restarts", lambda one: tell_count(one.restarts), 4),
    Column("waiting", lambda one: tell_count(one.waiting), 2),
    Column("most", lambda one: tell_count(one.peak_waiting), 3),
    Column("cpu", lambda one: tell_seconds(one.cpu_seconds) if one.workers else "", 6),
    Column("memory", lambda one: tell_bytes(one.rss_bytes) if one.rss_bytes else "", 7),
)
TIMES: tuple[Column[RoutinePerformance], ...] = (
    Column("routine", lambda one: one.routine_id, 0, is_text=True),
    Column("turn mean", lambda one: tell_short(one.execution_time.mean), 1),
    Column("p50", lambda one: tell_short(one.execution_time.p50), 0),
    Column("p95", lambda one: tell_short(one.execution_time.p95), 2),
    Column("p99", lambda one: tell_short(one.execution_time.p99), 0),
    Column("max", lambda one: tell_short(one.execution_time.max), 2),
    Column("wait p50", lambda one: tell_short(one.waiting_time.p50), 3),
    Column("wait p99", lambda one: tell_short(one.waiting_time.p99), 3),
    Column("wait max", lambda one: tell_short(one.waiting_time.max), 4),
)
FLOWS: tuple[Column[EventFlow], ...] = (
    Column("connection", lambda flow: flow.label, 0, is_text=True),
    Column("sent", lambda flow: tell_count(flow.count), 0),
    Column("handled", lambda flow: tell_count(flow.handled), 1),
    Column("left", lambda flow: tell_count(flow.waiting), 1),
    Column("dead", lambda flow: tell_count(flow.dead), 2),
    Column("skipped", lambda flow: tell_count(flow.skipped), 3),
    Column("first", lambda flow: "" if flow.first_at is None else tell_time(flow.first_at), 5),
    Column("last", lambda flow: "" if flow.last_at is None else tell_time(flow.last_at), 4),
)


def show_metrics(found: Found, options: argparse.Namespace) -> int:
    """Write how a job does: as tables, as JSON, or as text for Prometheus."""
    tracker, problems = find_tracker(found, read_key(options))
    if options.routine is not None:
        check_routine(options.routine, tracker.routine_ids)
    if options.prometheus:
        write_result(_only(tracker, options.routine).to_prometheus())
    elif options.json:
        write_result(msgspec.json.encode(_only(tracker, options.routine).to_dict()).decode() + "\n")
    else:
        write_result("\n".join(tell_metrics(tracker, width_of(sys.stdout), options.routine)) + "\n")
    return tell_problems(problems)


def find_tracker(found: Found, key: bytes | None) -> tuple[ExecutionTracker, list[Problem]]:
    """Find out how a job does: it is asked itself if it runs, else its newest good checkpoint tells.

    Returns:
        How it does, and which checkpoints are newer and damaged.
    """
    if found.owner is not None:
        try:
            answer = ask(found.owner, Metrics(found.job_id), STATUS_SECONDS)
        except ControlError:
            pass  # it has ended meanwhile, or takes no commands: what is kept has to do
        else:
            if isinstance(answer, Tracked):
                return answer.tracker, []
    kept = latest(require_store(found), found.job_id, key=key)
    return track_image(kept.image), kept.problems


def tell_problems(problems: list[Problem]) -> int:
    """Tell on stderr what is damaged of a job; give the exit status."""
    for problem in problems:
        print(printable(f"routilux: {problem}"), file=sys.stderr)
    return int(bool(problems))


def tell_metrics(tracker: ExecutionTracker, width: int, routine_id: str | None = None) -> Iterator[str]:
    """Tell how a job does in lines.

    Args:
        tracker: how it does.
        width: characters a line may have.
        routine_id: only of this routine; None for all.
    """
    flow = tracker.get_flow_performance()
    head = f"job {tracker.job_id} of flow {tracker.flow_id}: {tracker.status}, as of {tell_time(tracker.at)}"
    yield printable(head)
    told = f"  ran {tell_seconds(flow.seconds)}, {tell_count(flow.handled)} messages handled"
    yield told + ("" if flow.throughput is None else f", {tell_rate(flow.throughput)} a second")
    found = [tracker.get_routine_performance(id_) for id_ in tracker.routine_ids if routine_id in {None, id_}]
    rows = [one for one in found if one is not None]
    for columns in (COUNTS, TIMES):
        titles, lines = lay_out(columns, rows, width)
        yield from ("", titles, *lines)
    titles, lines = lay_out(FLOWS, tracker.event_flow(routine_id), width)
    yield from ("", titles, *lines)


def _only(tracker: ExecutionTracker, routine_id: str | None) -> ExecutionTracker:
    """Give what is known of one routine alone; None: of all."""
    if routine_id is None:
        return tracker
    tracks = tuple(track for track in tracker.tracks if track.routine_id == routine_id)
    return msgspec.structs.replace(tracker, tracks=tracks, flows=tuple(tracker.event_flow(routine_id)))
