"""The execution tracker of a job: made of what the state actor has cut, or of a checkpoint.

Owns the one translation of counts and measures into what a user reads; for both ways the same. Never counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from routilux.jobs.actor import JobCut, RoutineCut
from routilux.records.schema import Image, MessageImage, RoutineImage, count_each
from routilux.routing import Plan, RoutinePlan
from routilux.tracking.meters import Measured
from routilux.tracking.performance import EventFlow, WorkerUsage
from routilux.tracking.tracker import ExecutionTracker, RoutineTrack
from supervisors.places.process.reap import Usage

ReadUsage = Callable[[int], Usage | None]
"""Tells what a process uses by its id; None if it has ended."""


def track_cut(cut: JobCut, plan: Plan, job_id: str, read_usage: ReadUsage) -> ExecutionTracker:
    """Give the tracker of a job that this program runs, or ran.

    Args:
        cut: the job at that moment.
        plan: its flow, compiled.
        job_id: its id.
        read_usage: tells what its workers use.
    """
    offset = cut.history.wall_offset
    tracks = [
        RoutineTrack(
            routine_plan.id,
            routine.status,
            routine.figures._asdict(),
            measured,
            tuple(_read_workers(routine_plan, routine, read_usage)),
            routine_plan.options.placement,
        )
        for routine_plan, routine, measured in zip(plan.routines, cut.routines, cut.measures.routines, strict=True)
    ]
    ids = [routine.id for routine in plan.routines]
    flows = [
        EventFlow(
            source=edge.source,
            event=edge.event,
            target=ids[edge.target] if 0 <= edge.target < len(ids) else "",
            slot=edge.slot,
            count=count.sent,
            handled=count.handled,
            waiting=count.left,
            dead=count.dead,
            skipped=count.skipped,
            first_at=None if sent_at.first is None else sent_at.first + offset,
            last_at=None if sent_at.last is None else sent_at.last + offset,
            label=edge.label,
        )
        for edge, count, sent_at in zip(plan.edges, cut.connections, cut.sent_at, strict=True)
        if edge.source or count.sent  # each routine has a way in from outside, and most are never taken
    ]
    measures = cut.measures
    return ExecutionTracker(
        job_id=job_id,
        flow_id=plan.flow_id,
        status=str(cut.status),
        at=measures.at + offset,
        seconds=measures.seconds,
        tracks=tuple(tracks),
        flows=tuple(flows),
    )


def track_image(image: Image) -> ExecutionTracker:
    """Give the tracker of a job as a checkpoint has it."""
    header, job = image.header, image.job
    placements = {shape.id: shape.placement for shape in image.topology.routines}
    waiting = _count_waiting(image)
    flows = [
        EventFlow(
            source=edge.source,
            event=edge.event,
            target=edge.target,
            slot=edge.slot,
            count=job.sent[number],
            handled=job.handled[number],
            waiting=waiting.get(number, 0),
            dead=job.dead[number],
            skipped=job.skipped[number],
            first_at=job.first_at[number] if job.first_at else None,
            last_at=job.last_at[number] if job.last_at else None,
            label=edge.label,
        )
        for number, edge in enumerate(image.topology.edges[: len(job.sent)])
        if edge.source or job.sent[number]
    ]
    return ExecutionTracker(
        job_id=header.job_id,
        flow_id=header.flow_id,
        status=header.status,
        at=header.created_at,
        seconds=job.seconds,
        tracks=tuple(_track_image(routine, placements.get(routine.id, "thread")) for routine in image.routines),
        flows=tuple(flows),
    )


def _read_workers(plan: RoutinePlan, routine: RoutineCut, read_usage: ReadUsage) -> Iterator[WorkerUsage]:
    if not plan.runs_apart:
        return
    if not plan.options.is_local:
        yield from _list_away(routine)
        return
    for number, (pid, spent) in enumerate(zip(routine.pids, routine.spent, strict=True)):
        usage = None if pid is None else read_usage(pid)
        if usage is None:
            yield WorkerUsage(number, spent.cpu_seconds, None, None, spent.peak_bytes)
        else:
            peak = max(spent.peak_bytes, usage.rss_bytes)
            yield WorkerUsage(number, spent.cpu_seconds + usage.cpu_seconds, pid, usage.rss_bytes, peak)


def _list_away(routine: RoutineCut) -> Iterator[WorkerUsage]:
    """Give what workers on other machines use, as they have told."""
    away = {worker.number: worker for worker in routine.away}
    for number, spent in enumerate(routine.spent):
        worker = away.get(number)
        used = None if worker is None else worker.used
        pid, node = (None, "") if worker is None else (worker.pid, worker.node)
        if used is None:
            yield WorkerUsage(number, spent.cpu_seconds, pid, None, spent.peak_bytes, node)
        else:
            peak = max(spent.peak_bytes, used.peak_bytes)
            yield WorkerUsage(number, spent.cpu_seconds + used.cpu_seconds, pid, used.rss_bytes, peak, node)


def _track_image(routine: RoutineImage, placement: str) -> RoutineTrack:
    held = {
        "waiting": count_each(routine.waiting),
        "in_hand": count_each(routine.in_hand),
        "merging": len(routine.merging),
        "in_retry": sum(count_each(wait.messages) for wait in routine.retries),
    }
    workers = [
        WorkerUsage(number, spent.cpu_seconds, None, None, spent.peak_bytes)
        for number, spent in enumerate(() if placement == "thread" else routine.spent)
    ]
    peak = max(routine.figures.get("peak_waiting", 0), len(routine.waiting))
    return RoutineTrack(
        routine.id,
        routine.status,
        {**routine.figures, **held, "abandoned": 0, "peak_waiting": peak},
        routine.measured or Measured(),
        tuple(workers),
        placement,
    )


def _count_waiting(image: Image) -> dict[int, int]:
    """Count the messages that are still to be handled or read, by number of the connection."""
    messages: list[MessageImage] = [message for output in image.job.outputs for message in output.waiting]
    for routine in image.routines:
        messages += routine.left()
    counts: dict[int, int] = {}
    for message in messages:
        counts[message.edge] = counts.get(message.edge, 0) + 1
    return counts
