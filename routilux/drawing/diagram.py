"""What a drawing of a flow shows: boxes, and the links between them. Pure.

Owns the choice of what is shown and its words, the same for all forms (`mermaid`, `dot`, `svg`): of a flow as its
author wired it, or of a job with its numbers. Never knows where anything is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from routilux.model.connection import Connection
from routilux.model.graph import FlowGraph
from routilux.model.options import RoutineOptions
from routilux.tracking.performance import EventFlow
from routilux.tracking.tracker import ExecutionTracker, RoutineTrack

PARTS_DRAWN = 300
"""Boxes and links up to which a page shows a diagram (arbitrary: more are no picture, and take seconds)."""


class Kind(StrEnum):
    """What a box stands for."""

    THREAD = "thread"
    PROCESS = "process"
    POOL = "pool"
    OUTPUT = "output"
    OUTSIDE = "outside"


class Tone(StrEnum):
    """How something is meant, for who colours it."""

    PLAIN = "plain"
    QUIET = "quiet"
    BUSY = "busy"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


TONES: Mapping[str, Tone] = {
    "pending": Tone.QUIET,
    "running": Tone.BUSY,
    "completed": Tone.GOOD,
    "retrying": Tone.WARN,
    "error_continued": Tone.WARN,
    "skipped": Tone.WARN,
    "paused": Tone.WARN,
    "cancelled": Tone.WARN,
    "failed": Tone.BAD,
    "lost": Tone.BAD,
}
"""How the statuses of jobs and routines are meant."""


class Line(NamedTuple):
    """One line of text in a box, or at a link."""

    text: str
    tone: Tone = Tone.PLAIN


class Box(NamedTuple):
    """One box.

    Args:
        id: what links name it by: a routine's id, or what no id can be.
        title: what is in it.
        kind: what it stands for.
        about: where it runs, in words; empty on a thread, and for what is no routine.
        lines: its numbers, line by line; none of a flow that does not run.
        tone: how its status is meant.
    """

    id: str
    title: str
    kind: Kind
    about: str = ""
    lines: tuple[Line, ...] = ()
    tone: Tone = Tone.PLAIN


class Link(NamedTuple):
    """One link.

    Args:
        source: the box where it begins.
        target: the box where it ends.
        event: the event; empty for messages from outside.
        slot: the slot; empty for an output, and a routine's entry.
        mapping: parameters that get another name, in words; empty for none.
        lines: its numbers.
        tone: whether all is well with it.
    """

    source: str
    target: str
    event: str
    slot: str
    mapping: str = ""
    lines: tuple[Line, ...] = ()
    tone: Tone = Tone.PLAIN

    def tell(self) -> str:
        """Say what it is in one line: `parsed to text (name=path)`."""
        ends = " to ".join(filter(None, (self.event, self.slot))) or "entry"
        return f"{ends} ({self.mapping})" if self.mapping else ends


class Diagram(NamedTuple):
    """What is drawn.

    Args:
        name: what it is of.
        boxes: its boxes.
        links: its links.
        caption: a line that stands above it; empty for none.
    """

    name: str
    boxes: tuple[Box, ...]
    links: tuple[Link, ...]
    caption: str = ""

    @property
    def is_large(self) -> bool:
        """Whether it is too large to be shown where nobody has asked for it alone."""
        return len(self.boxes) + len(self.links) > PARTS_DRAWN


def draw_flow(graph: FlowGraph) -> Diagram:
    """Give the diagram of a flow as its author wired it."""
    boxes = [_box_of_options(routine_id, options) for routine_id, options in graph.options.items()]
    links = [_link_of_connection(connection) for connection in graph.connections]
    for number, output in enumerate(graph.outputs):
        boxes.append(Box(_output_id(number), "output", Kind.OUTPUT))
        links.append(Link(output.routine_id, _output_id(number), output.event, ""))
    return Diagram(graph.flow_id, tuple(boxes), tuple(links))


def draw_job(tracker: ExecutionTracker) -> Diagram:
    """Give the diagram of a job, with its numbers.

    Connections that the flow has no more, of which only their names are left, are not in it.
    """
    boxes = [_box_of_track(track) for track in tracker.tracks]
    known = set(tracker.routine_ids)
    links: list[Link] = []
    outside: dict[str, str] = {}
    for number, flow in enumerate(tracker.flows):
        source, target = flow.source, flow.target
        if not source and target in known:
            source = outside.setdefault(target, f" outside {len(outside)}")
            if source not in known:
                known.add(source)
                boxes.append(Box(source, "from outside", Kind.OUTSIDE))
        elif source and not target:
            target = _output_id(number)
            known.add(target)
            boxes.append(Box(target, "output", Kind.OUTPUT))
        if source in known and target in known:
            tone = Tone.BAD if flow.dead else Tone.PLAIN
            links.append(Link(source, target, flow.event, flow.slot, "", tuple(_tell_flow(flow)), tone))
    name = f"{tracker.flow_id}, job {tracker.job_id}"
    return Diagram(name, tuple(boxes), tuple(links), f"{name}: {tracker.status}")


def _output_id(number: int) -> str:
    return f" output {number}"


def _box_of_options(routine_id: str, options: RoutineOptions) -> Box:
    if not options.runs_apart:
        return Box(routine_id, routine_id, Kind.THREAD)
    count = f"{options.least}" if options.least == options.pool else f"{options.least} to {options.pool}"
    kind = Kind.POOL if options.pool > 1 else Kind.PROCESS
    return Box(routine_id, routine_id, kind, _tell_workers(count, options.placement, is_many=options.pool > 1))


def _box_of_track(track: RoutineTrack) -> Box:
    count, tone = len(track.workers), TONES.get(track.status, Tone.PLAIN)
    kind = Kind.THREAD if not count else Kind.POOL if count > 1 else Kind.PROCESS
    about = _tell_workers(f"{count}", track.placement, is_many=count > 1) if count else ""
    lines = (Line(track.status, tone), *_tell_figures(track.figures))
    return Box(track.routine_id, track.routine_id, kind, about, lines, tone)


def _tell_workers(count: str, placement: str, *, is_many: bool) -> str:
    if placement == "ray":
        return f"{count} worker{'s' if is_many else ''} on Ray"
    return f"{count} process{'es' if is_many else ''}"


def _link_of_connection(link: Connection) -> Link:
    mapping = ", ".join(f"{source}={target}" for source, target in link.param_mapping.items())
    return Link(link.source_id, link.target_id, link.event, link.slot, mapping)


def _tell_figures(figures: Mapping[str, int]) -> Iterator[Line]:
    def told(**words: str) -> str:
        return ", ".join(f"{figures[name]:,} {word}" for name, word in words.items() if figures.get(name))

    yield Line(f"{figures.get('handled', 0):,} handled")
    left = told(waiting="waiting", in_hand="in hand", in_retry="in retry", merging="merging")
    if left:
        yield Line(left)
    bad = told(failed="failed", dead="dead")
    if bad:
        yield Line(bad, Tone.BAD)
    odd = told(skipped="skipped", restarts="restart" if figures.get("restarts") == 1 else "restarts")
    if odd:
        yield Line(odd, Tone.WARN)


def _tell_flow(flow: EventFlow) -> Iterator[Line]:
    yield Line(f"{flow.count:,}" + (f", {flow.waiting:,} left" if flow.waiting else ""))
    bad = ", ".join(f"{count:,} {word}" for count, word in ((flow.dead, "dead"), (flow.skipped, "skipped")) if count)
    if bad:
        yield Line(bad, Tone.BAD)
