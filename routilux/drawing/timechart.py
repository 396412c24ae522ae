"""A timeline as a picture: one SVG as `svg` makes them. Pure.

Owns how it looks: a lane a routine, as high as it was busy, with a mark for each moment at which something failed; and
across all lanes the moments at which the job was paused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from routilux.drawing.lettering import shorten, width_of_text
from routilux.drawing.markup import to_number, to_text
from routilux.drawing.timeline import Lane, Timeline
from supervisors.text import printable

WIDTH = 1060.0
LANE = 30.0
BARS = 22.0
LEAST_BAR = 2.0
"""How high a slot is in which there was something, however little."""
TEXT_SIZE = 11.0
MOST_NAME = 170.0
TOP = 26.0
BOTTOM = 24.0
TICKS = 6
WORD = 48.0
"""What the word for a pause takes: those closer to the one before have only their line."""
LANES_SHOWN = 60
"""Routines that are shown, the busiest (arbitrary)."""
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
STEPS = (
    *(base * scale for scale in (0.001, 0.01, 0.1, 1.0) for base in (1.0, 2.0, 5.0)),
    *(10.0, 15.0, 30.0, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE),
    *(HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 30 * DAY, 365 * DAY),
)
"""What may be between two marks of the axis, in seconds."""

STYLE = """
.rt text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:#3b4048}
.rt .rt-quiet{fill:#6b7280}
.rt-lane{fill:#eef1f5}
.rt-busy{fill:#2f6fd0}
.rt-fail{fill:#e08a00}
.rt-death{fill:#c8323c}
.rt-grid{stroke:#d3d8df;fill:none}
.rt-pause{stroke:#8a4fbf;stroke-width:1.5;stroke-dasharray:4 3;fill:none}
.rt .rt-pausetext{fill:#7a3fb0}
.rt-kept{fill:#6b7280}
@media (prefers-color-scheme:dark){
.rt text{fill:#c6cbd4}
.rt .rt-quiet{fill:#98a0ad}
.rt-lane{fill:#20242c}
.rt-busy{fill:#5b96f0}
.rt-fail{fill:#f0b252}
.rt-death{fill:#ff6b75}
.rt-grid{stroke:#3a404b}
.rt-pause{stroke:#bf8cf0}
.rt .rt-pausetext{fill:#cfa6f5}
.rt-kept{fill:#98a0ad}
}
"""


class Moments(NamedTuple):
    """What happened to the whole job: pauses and checkpoints, in seconds since the epoch."""

    pauses: Sequence[float] = ()
    checkpoints: Sequence[float] = ()


class _Scale(NamedTuple):
    """Where on the page a moment is: from `left` on `width` pixels for `seconds`."""

    left: float
    width: float
    seconds: float

    def at(self, since: float) -> float:
        return self.left + self.width * min(1.0, max(0.0, since / self.seconds))


def draw_timeline(timeline: Timeline, moments: Moments) -> str:
    """Give a timeline as an SVG, which brings no background of its own."""
    lanes = _busiest(timeline.lanes)
    names = [shorten(printable(lane.routine_id), MOST_NAME, TEXT_SIZE) for lane in lanes]
    left = max([60.0, *(width_of_text(name, TEXT_SIZE) for name in names)]) + 12.0
    seconds = max(timeline.ended_at - timeline.began_at, timeline.seconds)
    scale = _Scale(left, WIDTH - left - 12.0, seconds)
    bottom = TOP + LANE * len(lanes)
    size = f'width="{to_number(WIDTH)}" height="{to_number(bottom + BOTTOM)}"'
    view = f'viewBox="0 0 {to_number(WIDTH)} {to_number(bottom + BOTTOM)}"'
    style = 'style="max-width:100%;min-width:620px;height:auto"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="rt" role="img" {size} {view} {style}>',
        "<title>timeline</title>",
        f"<style>{STYLE}</style>",
        *(
            part
            for number, lane in enumerate(lanes)
            for part in _draw_lane(lane, names[number], number, timeline, scale)
        ),
        *_draw_axis(scale, bottom),
        *_draw_moments(timeline, moments, scale, bottom),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _busiest(lanes: list[Lane]) -> list[Lane]:
    """Give the lanes that are shown, in their order."""
    if len(lanes) <= LANES_SHOWN:
        return lanes
    shown = sorted(range(len(lanes)), key=lambda number: (-sum(lanes[number].busy), number))[:LANES_SHOWN]
    return [lanes[number] for number in sorted(shown)]


def _draw_lane(lane: Lane, name: str, number: int, timeline: Timeline, scale: _Scale) -> Iterator[str]:
    top = TOP + LANE * number
    floor = top + LANE - 4.0
    yield f"<g><title>{to_text(_tell_lane(lane))}</title>"
    yield (
        f'<text x="{to_number(scale.left - 8.0)}" y="{to_number(floor - 7.0)}" text-anchor="end">{to_text(name)}</text>'
    )
    x, y, width = map(to_number, (scale.left, floor - BARS, scale.width))
    yield f'<rect class="rt-lane" x="{x}" y="{y}" width="{width}" height="{to_number(BARS)}" rx="2"/>'
    most = max(timeline.seconds, *lane.busy)
    bars = []
    for slot, (turns, emissions, busy) in enumerate(zip(lane.turns, lane.emissions, lane.busy, strict=True)):
        if turns or emissions or busy:
            height = max(LEAST_BAR, BARS * busy / most)
            bars.append(_bar(slot, timeline, scale, floor - height, floor))
    yield from _path("rt-busy", bars)
    fails = [
        _bar(slot, timeline, scale, floor - BARS, floor - BARS + 5.0)
        for slot, (failures, deaths) in enumerate(zip(lane.failures, lane.deaths, strict=True))
        if failures > deaths
    ]
    yield from _path("rt-fail", fails)
    deaths_there = [
        _bar(slot, timeline, scale, floor - BARS, floor) for slot, deaths in enumerate(lane.deaths) if deaths
    ]
    yield from _path("rt-death", deaths_there)
    yield "</g>"


def _tell_lane(lane: Lane) -> str:
    counts = (
        (sum(lane.turns), "turn"),
        (sum(lane.failures) - sum(lane.deaths), "failure"),
        (sum(lane.deaths), "death"),
    )
    told = (f"{count:,} {word}{'' if count == 1 else 's'}" for count, word in counts if count or word == "turn")
    return ", ".join([lane.routine_id, *told])


def _bar(slot: int, timeline: Timeline, scale: _Scale, top: float, floor: float) -> str:
    """Give a slot's bar: as wide as the slot, and never too narrow to be seen."""
    left = scale.at(slot * timeline.seconds)
    right = max(left + 1.2, scale.at((slot + 1) * timeline.seconds))
    return f"M{to_number(left)} {to_number(floor)}V{to_number(top)}H{to_number(right)}V{to_number(floor)}Z"


def _path(style: str, bars: list[str]) -> Iterator[str]:
    if bars:
        yield f'<path class="{style}" d="{"".join(bars)}"/>'


def _draw_axis(scale: _Scale, bottom: float) -> Iterator[str]:
    step = next((step for step in STEPS if scale.seconds / step <= TICKS), scale.seconds)
    for number in range(int(scale.seconds / step) + 1):
        x = to_number(scale.at(number * step))
        yield f'<path class="rt-grid" d="M{x} {to_number(TOP)}V{to_number(bottom + 4.0)}"/>'
        yield (
            f'<text class="rt-quiet" x="{x}" y="{to_number(bottom + 17.0)}" text-anchor="middle">'
            f"{tell_tick(number * step)}</text>"
        )


def tell_tick(seconds: float) -> str:
    """Say which moment a mark of the axis is, as shortly as it is exact: `250 ms`, `1.5 s`, `2 min`, `3 h`."""
    for unit, word in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (1.0, "s")):
        if seconds >= unit:
            return f"{round(seconds / unit, 2):g} {word}"
    return f"{round(seconds * 1000, 2):g} ms" if seconds else "0"


def _draw_moments(timeline: Timeline, moments: Moments, scale: _Scale, bottom: float) -> Iterator[str]:
    for at in moments.checkpoints:
        x = scale.at(at - timeline.began_at)
        yield f'<path class="rt-kept" d="M{to_number(x - 3.0)} {to_number(TOP - 6.0)}h6l-3 6z"/>'
    told_at = float("-inf")
    for at in moments.pauses:
        x = scale.at(at - timeline.began_at)
        yield f'<path class="rt-pause" d="M{to_number(x)} {to_number(TOP - 8.0)}V{to_number(bottom)}"/>'
        if x - told_at > WORD:
            told_at, y = x, to_number(TOP - 12.0)
            yield f'<text class="rt-pausetext" x="{to_number(x)}" y="{y}" text-anchor="middle">paused</text>'
