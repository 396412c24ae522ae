"""A diagram as a picture: one SVG without script, fonts or anything else from elsewhere. Pure.

Owns how it looks. It brings its own background, so that it can be read wherever it is put, and follows
`prefers-color-scheme`. Where things are is for `layout` to say; all text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from routilux.drawing.diagram import Box, Diagram, Kind, Line, Link, Tone
from routilux.drawing.layout import Box as Place
from routilux.drawing.layout import Edge, Layout, Node, Point, Route, lay_out, lay_out_down
from routilux.drawing.lettering import shorten, width_of_text
from routilux.drawing.markup import to_number, to_text
from supervisors.text import printable

TITLE_SIZE = 13.0
TEXT_SIZE = 11.0
TITLE_HEIGHT = 19.0
TEXT_HEIGHT = 15.0
PADDING = 12.0
CAPTION_HEIGHT = 26.0
LEAST_WIDTH = 76.0
MOST_TITLE = 240.0
MOST_LABEL = 200.0
BORDER = 16.0
"""What is free around the picture."""
CARD = 4.0
"""How far each card of a pool stands out behind the one before it."""
HEAD_LENGTH = 9.0
HEAD_WIDTH = 7.0
MOST_WIDTH = 1500.0
"""Wider than that a flow is drawn from above to below, if it is less wide so (arbitrary: pages scroll that way)."""
LEAST_SHARE = 0.7
"""How small a picture may be shown before who shows it has to scroll: of its own size."""

FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif'
STYLE = """
.rx{font:11px FONT}
.rx-back{fill:#fff}
.rx text{fill:#3b4048}
.rx .rx-title{font-size:13px;font-weight:600;fill:#14171c}
.rx .rx-quiet{fill:#6b7280}
.rx .rx-busy{fill:#1f5fbf}
.rx .rx-good{fill:#1f7a46}
.rx .rx-warn{fill:#a65f00}
.rx .rx-bad{fill:#c02a35}
.rx-shape{fill:#f6f7f9;stroke:#8b93a1;stroke-width:1.2}
.rx-shape.rx-s-quiet{stroke:#aab1bd;stroke-dasharray:4 3}
.rx-shape.rx-s-busy{stroke:#2f6fd0;stroke-width:2}
.rx-shape.rx-s-good{stroke:#2e8b57;stroke-width:2}
.rx-shape.rx-s-warn{stroke:#c77700;stroke-width:2}
.rx-shape.rx-s-bad{stroke:#c8323c;stroke-width:2.4}
.rx-line{fill:none;stroke:#6f7785;stroke-width:1.4}
.rx-head{fill:#6f7785}
.rx-line.rx-s-bad{stroke:#c8323c}
.rx-head.rx-s-bad{fill:#c8323c}
@media (prefers-color-scheme:dark){
.rx-back{fill:#16181d}
.rx text{fill:#c6cbd4}
.rx .rx-title{fill:#f1f3f6}
.rx .rx-quiet{fill:#98a0ad}
.rx .rx-busy{fill:#7fb0ff}
.rx .rx-good{fill:#6fcf97}
.rx .rx-warn{fill:#f0b252}
.rx .rx-bad{fill:#ff8189}
.rx-shape{fill:#22262e;stroke:#78808e}
.rx-shape.rx-s-quiet{stroke:#5b626f}
.rx-shape.rx-s-busy{stroke:#5b96f0}
.rx-shape.rx-s-good{stroke:#4caf7d}
.rx-shape.rx-s-warn{stroke:#e0a03c}
.rx-shape.rx-s-bad{stroke:#f0636c}
.rx-line{stroke:#8b93a1}
.rx-head{fill:#8b93a1}
.rx-line.rx-s-bad{stroke:#f0636c}
.rx-head.rx-s-bad{fill:#f0636c}
}
""".replace("FONT", FONT)


def to_svg(diagram: Diagram) -> str:
    """Give a diagram as an SVG, which may stand in a file of its own or in a page."""
    numbers = {box.id: number for number, box in enumerate(diagram.boxes)}
    nodes = [_measure_box(box) for box in diagram.boxes]
    edges = [_measure_link(link, numbers[link.source], numbers[link.target]) for link in diagram.links]
    layout = lay_out(nodes, edges)
    if layout.width > MOST_WIDTH:
        layout = min(layout, lay_out_down(nodes, edges), key=lambda one: one.width)
    head = CAPTION_HEIGHT if diagram.caption else 0.0
    whole = max(layout.width, width_of_text(diagram.caption, TITLE_SIZE, is_bold=True)) + 2 * BORDER
    x, y = to_number(-BORDER), to_number(-BORDER - head)
    width, height = to_number(whole), to_number(layout.height + head + 2 * BORDER)
    least = to_number(whole * LEAST_SHARE)
    size = f'width="{width}" height="{height}" viewBox="{x} {y} {width} {height}"'
    style = f'style="max-width:100%;min-width:{least}px;height:auto"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="rx" role="img" {size} {style}>',
        f"<title>{to_text(diagram.name)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="rx-back" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>',
        *_draw_caption(diagram, head),
        *_draw(diagram, layout),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _draw_caption(diagram: Diagram, height: float) -> Iterator[str]:
    if diagram.caption:
        yield f'<text class="rx-title" x="0" y="{to_number(TITLE_SIZE - height)}">{to_text(diagram.caption)}</text>'


def _draw(diagram: Diagram, layout: Layout) -> Iterator[str]:
    for box, place in zip(diagram.boxes, layout.boxes, strict=True):
        yield from _draw_box(box, place)
    for link, route in zip(diagram.links, layout.routes, strict=True):
        yield from _draw_link(link, route)


def _measure_box(box: Box) -> Node:
    texts = [width_of_text(_cut_title(box), TITLE_SIZE, is_bold=True)]
    texts += [width_of_text(line.text, TEXT_SIZE) for line in _below_title(box)]
    return Node(
        max(LEAST_WIDTH, max(texts) + 2 * PADDING), TITLE_HEIGHT + TEXT_HEIGHT * len(_below_title(box)) + PADDING
    )


def _measure_link(link: Link, source: int, target: int) -> Edge:
    above, below = _above_line(link), link.lines
    width = max(width_of_text(line.text, TEXT_SIZE) for line in (*above, *below))
    return Edge(source, target, width + 6.0, TEXT_HEIGHT * len(above), TEXT_HEIGHT * len(below))


def _below_title(box: Box) -> list[Line]:
    return [*([Line(box.about, Tone.QUIET)] if box.about else []), *box.lines]


def _cut_title(box: Box) -> str:
    return shorten(printable(box.title), MOST_TITLE, TITLE_SIZE, is_bold=True)


def _above_line(link: Link) -> list[Line]:
    ends = " \u2192 ".join(printable(name) for name in (link.event, link.slot) if name) or "entry"
    lines = [Line(shorten(ends, MOST_LABEL, TEXT_SIZE))]
    if link.mapping:
        lines.append(Line(shorten(printable(f"({link.mapping})"), MOST_LABEL, TEXT_SIZE), Tone.QUIET))
    return lines


def _draw_box(box: Box, place: Place) -> Iterator[str]:
    yield "<g>"
    tip = ", ".join(filter(None, [box.title, box.about, *(line.text for line in box.lines)]))
    yield f"<title>{to_text(tip)}</title>"
    tone = f"rx-shape rx-s-{box.tone}"
    is_oval = box.kind in {Kind.OUTPUT, Kind.OUTSIDE}
    if box.kind is Kind.POOL:
        for card in (2 * CARD, CARD):
            yield _rect(Place(place.x + card, place.y - card, place.width - 2 * card, place.height), tone, 5.0)
    yield _rect(place, tone, place.height / 2 if is_oval else 5.0)
    if box.kind in {Kind.PROCESS, Kind.POOL}:
        for x in (place.x + 5.0, place.x + place.width - 5.0):
            start, stop = to_number(place.y), to_number(place.y + place.height)
            yield f'<path class="{tone}" d="M{to_number(x)} {start}V{stop}"/>'
    free = place.height - _measure_box(box).height
    middle, y = place.x + place.width / 2, place.y + (PADDING + free) / 2 + TITLE_HEIGHT - 5.0
    yield _write(Line(_cut_title(box)), (middle, y), "rx-title")
    for line in _below_title(box):
        y += TEXT_HEIGHT
        yield _write(line, (middle, y))
    yield "</g>"


def _draw_link(link: Link, route: Route) -> Iterator[str]:
    yield "<g>"
    tip = ", ".join([link.tell(), *(line.text for line in link.lines)])
    yield f"<title>{to_text(tip)}</title>"
    yield f'<path class="rx-line rx-s-{link.tone}" d="{_path(route.points)}"/>'
    yield f'<path class="rx-head rx-s-{link.tone}" d="{_head(route.points)}"/>'
    middle, y = route.label.x + route.label.width / 2, route.label.y - 4.0
    for line in (*_above_line(link), *link.lines):
        y += TEXT_HEIGHT
        yield _write(line, (middle, y))
    yield "</g>"


def _rect(place: Place, style: str, radius: float) -> str:
    x, y, width, height = map(to_number, place)
    return f'<rect class="{style}" x="{x}" y="{y}" width="{width}" height="{height}" rx="{to_number(radius)}"/>'


def _write(line: Line, at: Point, style: str = "") -> str:
    shown = style or f"rx-{line.tone}"
    x, y = map(to_number, at)
    return f'<text class="{shown}" x="{x}" y="{y}" text-anchor="middle">{to_text(line.text)}</text>'


def _path(points: Sequence[Point]) -> str:
    """Give a way in SVG's words; what is straight as a line, and what has no length not at all."""
    begin = points[0]
    parts = [f"M{_pair(begin)}"]
    for first, second, end in zip(points[1::3], points[2::3], points[3::3], strict=True):
        if {first, second} <= {begin, end}:
            parts += [f"L{_pair(end)}"] if end != begin else []
        else:
            parts.append(f"C{_pair(first)} {_pair(second)} {_pair(end)}")
        begin = end
    return "".join(parts)


def _head(points: Sequence[Point]) -> str:
    """Give the head of the arrow at the end of a way, whose last piece is horizontal or vertical."""
    x, y = points[-1]
    before = next(point for point in reversed(points) if point != points[-1])
    half, length = HEAD_WIDTH / 2, HEAD_LENGTH
    if before[1] == y:
        back = x - length if before[0] < x else x + length
        corners = [(x, y), (back, y - half), (back, y + half)]
    else:
        back = y - length if before[1] < y else y + length
        corners = [(x, y), (x - half, back), (x + half, back)]
    return f"M{'L'.join(map(_pair, corners))}Z"


def _pair(point: Point) -> str:
    return f"{to_number(point[0])} {to_number(point[1])}"
