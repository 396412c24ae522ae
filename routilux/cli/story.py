"""What a page about a job tells, and in which order. Pure but for the clock's zone, by which times are told.

Owns the sections of the page (`page` has the pieces it is made of). Never reads a store (see `report`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from routilux.causes import tell_cause
from routilux.cli.failures import FailureKind, texts_of
from routilux.cli.metrics import FLOWS, tell_short
from routilux.cli.page import Cell, Html, badge, facts, folded, heading, paragraph, table, wide
from routilux.cli.picture import ID_SHOWN, tell_bytes, tell_count, tell_seconds, tell_status
from routilux.cli.show import tell_kept
from routilux.cli.stored import LOST, Standing, how_to_resume, tell_time
from routilux.drawing.diagram import TONES, Tone, draw_job
from routilux.drawing.markup import to_text
from routilux.drawing.svg import to_svg
from routilux.drawing.timechart import Moments, draw_timeline
from routilux.drawing.timeline import Timeline
from routilux.executions import ExecutionRecord
from routilux.ids import from_bytes, to_id
from routilux.keeping.listing import Problem
from routilux.records.schema import DeadLetterImage, Header, Image
from routilux.tracking.performance import RoutinePerformance
from routilux.tracking.tracker import ExecutionTracker

KINDS_SHOWN = 50
"""Kinds of failures that are told in full, the most frequent (arbitrary: a page that opens at once)."""
NODES_SHOWN = 100
"""Lost nodes that are listed, the newest (arbitrary)."""
LETTERS_SHOWN = 100
"""Dead letters that are listed, the newest (arbitrary)."""
ROUTINES = (
    *("routine", "status", "handled", "left", "failed", "retries", "restarts", "dead", "skipped"),
    *("turn p50", "p99", "max", "wait p50", "p99", "cpu", "memory"),
)
"""Columns of the table of routines."""
KEY = Html(
    '<p class="key quiet"><span><i style="background:#2f6fd0"></i>busy</span>'
    '<span><i style="background:#e08a00"></i>a try failed</span>'
    '<span><i style="background:#c8323c"></i>a process died</span>'
    '<span><i style="background:#8a4fbf"></i>paused</span>'
    '<span><i style="background:#6b7280"></i>checkpoint</span></p>'
)


class Story(NamedTuple):
    """What the page tells.

    Args:
        image: the job, as its newest good checkpoint has it.
        standing: where the job stands.
        tracker: its numbers, of that checkpoint.
        timeline: its history.
        failures: what went wrong in it.
        lost_nodes: machines that were lost with workers of it, oldest first.
        checkpoints: the newest checkpoints that are there, newest first.
        total: how many there are.
        problems: what of all this could not be read.
        store: where it is kept, as the command names it.
    """

    image: Image
    standing: Standing
    tracker: ExecutionTracker
    timeline: Timeline
    failures: list[FailureKind]
    lost_nodes: list[ExecutionRecord]
    checkpoints: list[Header]
    total: int
    problems: list[Problem]
    store: str


def tell_story(story: Story) -> Iterator[Html]:
    """Give the sections of the page."""
    yield from _tell_summary(story)
    yield from _tell_graph(story.tracker)
    yield from _tell_timeline(story)
    yield from _tell_routines(story)
    yield from _tell_lost_nodes(story.lost_nodes)
    yield from _tell_failures(story.failures)
    yield from _tell_letters(story)
    yield from _tell_points(story)
    yield from _tell_damage(story.problems)


def _tell_summary(story: Story) -> Iterator[Html]:
    header, flow = story.image.header, story.tracker.get_flow_performance()
    yield Html(f"<h1>{to_text(header.flow_id)}, job {to_text(header.job_id)} {badge(story.standing.status)}</h1>")
    if story.standing.owner is not None:
        yield paragraph(f"run by {story.standing.owner}", "quiet")
    if header.error:
        yield paragraph(header.error, "bad")
    if story.standing.owner is None and story.standing.status in {LOST, "paused", "failed"}:
        yield Html(f"<p>Go on with <code>{to_text(how_to_resume(header.job_id, story.store))}</code></p>")
    kept = f"checkpoint {header.generation}-{header.number}, {header.cause}"
    history = story.timeline
    told = [
        f"Numbers as of {tell_time(header.created_at)} ({kept}).",
        f"The history has {tell_count(history.records)} records, the last of {tell_time(history.last_at)}.",
        f"By routilux {header.version} on Python {header.python}.",
        *([f"Forked from {header.forked_from}."] if header.forked_from else []),
    ]
    yield paragraph(" ".join(told), "quiet")
    turns = flow.execution_time
    yield facts(
        (
            ("begun", tell_time(header.job_created_at)),
            ("ran", tell_seconds(flow.seconds)),
            ("messages handled", tell_count(flow.handled)),
            ("messages left", tell_count(header.messages)),
            ("tries that failed", tell_count(flow.failed)),
            ("retries", tell_count(flow.retries)),
            ("restarts of workers", tell_count(flow.restarts)),
            ("dead letters", tell_count(flow.dead)),
            ("skipped", tell_count(flow.skipped)),
            ("a turn, p50", tell_short(turns.p50)),
            ("a turn, p99", tell_short(turns.p99)),
            ("a turn, at most", tell_short(turns.max)),
            ("processor time of workers", tell_seconds(flow.cpu_seconds) if flow.cpu_seconds else ""),
        )
    )


def _tell_graph(tracker: ExecutionTracker) -> Iterator[Html]:
    yield heading("Flow")
    diagram = draw_job(tracker)
    if diagram.is_large:
        parts = f"{len(tracker.tracks):,} routines and {len(tracker.flows):,} connections"
        yield paragraph(f"It has {parts}, too many for a picture here: `routilux graph` draws it.", "quiet")
    else:
        yield wide(to_svg(diagram._replace(caption="")))


def _tell_timeline(story: Story) -> Iterator[Html]:
    yield heading("Timeline")
    moments = Moments(
        [point.at for point in story.image.job.pause_points], [header.created_at for header in story.checkpoints]
    )
    yield wide(draw_timeline(story.timeline, moments))
    yield KEY


def _tell_routines(story: Story) -> Iterator[Html]:
    yield heading("Routines")
    found = [story.tracker.get_routine_performance(routine.id) for routine in story.image.routines]
    yield table(ROUTINES, (_row_of_routine(one, story.standing.status) for one in found if one is not None))
    for routine in story.image.routines:
        if routine.error:
            yield paragraph(f"{routine.id}: {routine.error}", "bad")
    yield heading("Connections")
    yield table(
        [column.title for column in FLOWS],
        (
            [Cell(column.cell(flow), Tone.PLAIN, "" if column.is_text else "number") for column in FLOWS]
            for flow in story.tracker.flows
        ),
    )


def _row_of_routine(one: RoutinePerformance, job_status: str) -> list[Cell]:
    turns, waits = one.execution_time, one.waiting_time
    peak = max((worker.peak_bytes for worker in one.workers), default=0)
    return [
        Cell(one.routine_id),
        Cell(tell_status(one.status, job_status), TONES.get(one.status, Tone.PLAIN)),
        _count(one.handled),
        _count(one.waiting + one.in_hand + one.in_retry + one.merging),
        _count(one.failed, Tone.BAD),
        _count(one.retries),
        _count(one.restarts, Tone.WARN),
        _count(one.dead, Tone.BAD),
        _count(one.skipped, Tone.WARN),
        *(_number(tell_short(value)) for value in (turns.p50, turns.p99, turns.max, waits.p50, waits.p99)),
        _number(tell_seconds(one.cpu_seconds) if one.workers else ""),
        _number(tell_bytes(peak) if peak else ""),
    ]


def _tell_lost_nodes(lost: list[ExecutionRecord]) -> Iterator[Html]:
    if lost:
        yield heading(f"Lost nodes ({tell_count(len(lost))})")
        told = ([Cell(tell_time(record.at)), Cell(record.detail, Tone.PLAIN, "long")] for record in lost[-NODES_SHOWN:])
        yield table(("at", "what was lost"), told)
    if len(lost) > NODES_SHOWN:
        yield paragraph(f"and {tell_count(len(lost) - NODES_SHOWN)} older ones", "quiet")


def _tell_failures(kinds: list[FailureKind]) -> Iterator[Html]:
    if not kinds:
        return
    yield heading(f"Errors ({tell_count(sum(kind.count for kind in kinds))})")
    for kind in kinds[:KINDS_SHOWN]:
        decided = ", ".join(f"{tell_count(count)} x {word}" for word, count in kind.decided.items())
        line = f"{tell_count(kind.count)} x {kind.routine_id}: {kind.kind}" + (f" ({decided})" if decided else "")
        when = f"first {tell_time(kind.first_at)}, last {tell_time(kind.last_at)}"
        if kind.newest is None:
            yield folded(line, [when], [])
        else:
            yield folded(line, [when, f"the last one: {tell_cause(kind.newest)}"], texts_of(kind.newest))
    if len(kinds) > KINDS_SHOWN:
        yield paragraph(f"and {tell_count(len(kinds) - KINDS_SHOWN)} more kinds", "quiet")


def _tell_letters(story: Story) -> Iterator[Html]:
    letters = [(routine.id, letter) for routine in story.image.routines for letter in routine.dead_letters]
    if not letters:
        return
    letters.sort(key=lambda found: found[1].at)
    yield heading(f"Dead letters ({tell_count(story.tracker.get_flow_performance().dead)})")
    labels = [edge.label for edge in story.image.topology.edges]
    titles = ("at", "routine", "message", "came by", "tries", "why")
    yield table(titles, (_row_of(id_, letter, labels) for id_, letter in letters[-LETTERS_SHOWN:]))
    if len(letters) > LETTERS_SHOWN:
        yield paragraph(f"and {tell_count(len(letters) - LETTERS_SHOWN)} older ones", "quiet")


def _row_of(routine_id: str, letter: DeadLetterImage, labels: list[str]) -> list[Cell]:
    return [
        Cell(tell_time(letter.at)),
        Cell(routine_id),
        Cell(to_id(from_bytes(letter.message.key))[:ID_SHOWN]),
        Cell(labels[letter.message.edge]),
        _count(letter.attempts),
        Cell(tell_cause(letter.reason), Tone.PLAIN, "long"),
    ]


def _tell_points(story: Story) -> Iterator[Html]:
    points = story.image.job.pause_points
    if points:
        yield heading(f"Pauses ({tell_count(len(points))})")
        yield table(
            ("at", "checkpoint", "why", "kept with it"),
            (
                [
                    Cell(tell_time(point.at)),
                    Cell(f"{point.generation}-{point.number}"),
                    Cell(point.reason, Tone.PLAIN, "long"),
                    Cell("" if point.checkpoint is None else tell_kept(point.checkpoint), Tone.PLAIN, "long"),
                ]
                for point in points
            ),
        )
    yield heading(f"Checkpoints ({tell_count(story.total)})")
    yield table(
        ("at", "checkpoint", "cause", "status", "messages in it"),
        (
            [
                Cell(tell_time(header.created_at)),
                Cell(f"{header.generation}-{header.number}"),
                Cell(header.cause),
                Cell(header.status, TONES.get(header.status, Tone.PLAIN)),
                _count(header.messages),
            ]
            for header in story.checkpoints
        ),
    )
    if story.total > len(story.checkpoints):
        yield paragraph(f"and {tell_count(story.total - len(story.checkpoints))} older ones", "quiet")


def _tell_damage(problems: list[Problem]) -> Iterator[Html]:
    if problems:
        yield heading("What could not be read")
        for problem in problems:
            yield paragraph(str(problem), "bad")


def _count(count: int, tone: Tone = Tone.PLAIN) -> Cell:
    return Cell(tell_count(count), tone if count else Tone.PLAIN, "number")


def _number(text: str) -> Cell:
    return Cell(text, Tone.PLAIN, "number")
