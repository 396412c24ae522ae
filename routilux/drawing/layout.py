"""Where the boxes of a drawing are, and which way its lines go. Pure.

Theory of operation. A layered layout, from left to right: boxes are in layers (`layers`), and between each two of these
is one more, for the labels of lines. A line takes a place of its own in each layer on its way, as wide as its label or
with no width at all; so boxes, labels and lines are items of one kind, which are put in order (`ordering`) and given
their heights (`placing`). Each layer becomes a column, as wide as its widest item. Within a column each line is
horizontal, in the place that it has there; it rises and falls only between columns, where there is nothing else. So no
line ever passes through a box or a label that is not its own.

Parts of a drawing that are not connected are laid out one by one, and stand below one another.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from routilux.drawing.layers import break_cycles, find_layers, find_parts
from routilux.drawing.ordering import Links, put_in_order
from routilux.drawing.placing import Room, Way, place

# Lengths are in pixels; how they look together is a matter of taste.
BOX_MARGIN = 12.0
LABEL_MARGIN = 4.0
LINE_MARGIN = 7.0
PORT_STEP = 14.0
"""Between two lines at one side of a box, where it is tall enough."""
LEAST_STEP = 6.0
"""Between two there, for which a box is made taller."""
CORNER = 8.0
"""What the corners of a box keep free of lines."""
LEAD = 10.0
"""What a line goes horizontally, at least, before it reaches a box."""
LEAST_GAP = 16.0
MOST_GAP = 72.0
GAP_SHARE = 0.16
"""How much wider a gap between columns is for each pixel that a line rises in it."""
PART_GAP = 28.0
LOOP_RISE = 14.0
LOOP_STEP = 12.0

Point: TypeAlias = tuple[float, float]


class Node(NamedTuple):
    """A box to be placed, by its size."""

    width: float
    height: float


class Edge(NamedTuple):
    """A line to be placed.

    Args:
        source: the number of the box where it begins.
        target: the number of the box where it ends; the same for a loop.
        width: of its label.
        above: height of the label above the line.
        below: height of the label below it.
    """

    source: int
    target: int
    width: float = 0.0
    above: float = 0.0
    below: float = 0.0


class Box(NamedTuple):
    """Where a box is: its upper left corner, and its size. It may be larger than it asked for, if it has many lines."""

    x: float
    y: float
    width: float
    height: float


class Route(NamedTuple):
    """The way of a line.

    Args:
        points: where it begins, and three more for each piece: two by which it is bent, and its end (cubic Bézier
            curves; of a straight piece the two are on it).
        label: the room of its label.
    """

    points: tuple[Point, ...]
    label: Box


class Layout(NamedTuple):
    """Where everything is; from (0, 0) to (width, height)."""

    boxes: list[Box]
    routes: list[Route]
    width: float
    height: float


def lay_out(nodes: Sequence[Node], edges: Sequence[Edge]) -> Layout:
    """Place boxes and lines.

    Args:
        nodes: the boxes, in the order of who made them.
        edges: the lines.
    """
    boxes: dict[int, Box] = {}
    routes: dict[int, Route] = {}
    width = height = 0.0
    leaving: list[list[int]] = [[] for _ in nodes]
    for number, edge in enumerate(edges):
        leaving[edge.source].append(number)
    for part in find_parts(len(nodes), [(edge.source, edge.target) for edge in edges]):
        within = {node: number for number, node in enumerate(part)}
        own = sorted(number for node in part for number in leaving[node])
        lines = [edges[number] for number in own]
        lines = [edge._replace(source=within[edge.source], target=within[edge.target]) for edge in lines]
        drawn = _Part([nodes[node] for node in part], lines)
        top = height + PART_GAP if height else 0.0
        for node, box in zip(part, drawn.boxes, strict=True):
            boxes[node] = box._replace(y=box.y + top)
        for number, route in zip(own, drawn.routes, strict=True):
            routes[number] = _shift(route, top)
        width, height = max(width, drawn.width), top + drawn.height
    return Layout(
        [boxes[number] for number in range(len(nodes))], [routes[number] for number in range(len(edges))], width, height
    )


def lay_out_down(nodes: Sequence[Node], edges: Sequence[Edge]) -> Layout:
    """Place boxes and lines as `lay_out`, but from above to below, with each label on the right of its line."""
    turned = lay_out(
        [Node(node.height, node.width) for node in nodes],
        [Edge(edge.source, edge.target, edge.above + edge.below, 0.0, edge.width) for edge in edges],
    )
    return Layout(
        [_turn(box) for box in turned.boxes],
        [Route(tuple((y, x) for x, y in route.points), _turn(route.label)) for route in turned.routes],
        turned.height,
        turned.width,
    )


class _Loop(NamedTuple):
    """A line from a box to itself: half of its width, and how far it rises above the box."""

    half: float
    rise: float


class _Part:
    """A connected part: its boxes, its lines, and how much room they take."""

    def __init__(self, nodes: Sequence[Node], edges: Sequence[Edge]) -> None:
        self._edges = edges
        self._loops = _find_loops(len(nodes), edges)
        numbers = [number for number, edge in enumerate(edges) if edge.source != edge.target]
        ends = break_cycles(len(nodes), [(edges[number].source, edges[number].target) for number in numbers])
        self._ends = dict(zip(numbers, ends, strict=True))
        leaving, coming = Counter(end.left for end in ends), Counter(end.right for end in ends)
        self._nodes = [
            _grown(node, self._loops[number].values(), max(leaving[number], coming[number]))
            for number, node in enumerate(nodes)
        ]
        self._layers: list[list[int]] = []
        self._widths = [self._width_with_loops(number) for number in range(len(nodes))]
        self._rooms = [self._room_with_loops(number) for number in range(len(nodes))]
        self._chains: dict[int, list[int]] = {}
        """The items on the way of each line, from left to right."""
        self._labels: dict[int, int] = {}
        """The item of each line that has its label."""
        self._fill_layers(find_layers(len(nodes), ends))
        self._place()

    def _fill_layers(self, found: list[int]) -> None:
        self._layers = [[] for _ in range(2 * max(found, default=0) + 1)]
        for node, layer in enumerate(found):
            self._layers[2 * layer].append(node)
        for number, ends in self._ends.items():
            first, last = 2 * found[ends.left] + 1, 2 * found[ends.right] - 1
            middle = (first + last) // 2
            if not middle % 2:
                middle -= 1  # labels are between the layers of boxes
            self._chains[number] = [self._add_item(number, layer, middle) for layer in range(first, last + 1)]

    def _add_item(self, number: int, layer: int, middle: int) -> int:
        item, edge = len(self._widths), self._edges[number]
        is_label = layer == middle
        margin = LABEL_MARGIN if is_label and edge.width else LINE_MARGIN
        above, below = (edge.above, edge.below) if is_label else (0.0, 0.0)
        self._widths.append(edge.width if is_label else 0.0)
        self._rooms.append(Room(above + margin, below + margin))
        self._layers[layer].append(item)
        if is_label:
            self._labels[number] = item
        return item

    def _place(self) -> None:
        links = Links(len(self._widths), list(self._pieces()))
        self._layers = put_in_order(self._layers, links)
        self._layer_of = {item: number for number, layer in enumerate(self._layers) for item in layer}
        self._ways = self._find_ways()
        heights = place(self._layers, self._rooms, list(self._ways.values()))
        top = min(heights[item] - self._rooms[item].above for layer in self._layers for item in layer)
        self._heights = [height - top for height in heights]
        self.height = max(self._heights[item] + self._rooms[item].below for layer in self._layers for item in layer)
        self._columns, self.width = self._find_columns()
        self.boxes = [self._box(number) for number in range(len(self._nodes))]
        self.routes = [
            self._loop(number) if number not in self._ends else self._route(number)
            for number in range(len(self._edges))
        ]

    def _pieces(self) -> Iterator[tuple[int, int]]:
        for number, ends in self._ends.items():
            way = [ends.left, *self._chains[number], ends.right]
            yield from itertools.pairwise(way)

    def _find_ways(self) -> dict[int, Way]:
        """Give the ways of all lines: at a side of a box they are in the order in which they stand next to it."""
        places = {item: number for layer in self._layers for number, item in enumerate(layer)}
        lefts: dict[int, list[tuple[int, int]]] = {}
        rights: dict[int, list[tuple[int, int]]] = {}
        for number, ends in self._ends.items():
            chain = self._chains[number]
            lefts.setdefault(ends.left, []).append((places[chain[0]], number))
            rights.setdefault(ends.right, []).append((places[chain[-1]], number))
        starts, stops = self._spread(lefts), self._spread(rights)
        return {
            number: Way(ends.left, starts[number], self._chains[number], ends.right, stops[number])
            for number, ends in self._ends.items()
        }

    def _spread(self, sides: dict[int, list[tuple[int, int]]]) -> dict[int, float]:
        """Give how far below the middle of its box each line is, by number, of those at one side of each box."""
        offsets = {}
        for node, lines in sides.items():
            room = max(0.0, self._nodes[node].height - 2 * CORNER)
            step = min(PORT_STEP, room / max(1, len(lines) - 1))
            for place_, (_, number) in enumerate(sorted(lines)):
                offsets[number] = (place_ - (len(lines) - 1) / 2) * step
        return offsets

    def _find_columns(self) -> tuple[list[tuple[float, float]], float]:
        """Give where the column of each layer begins and ends, and where all end."""
        rises = [0.0] * len(self._layers)
        for way in self._ways.values():
            levels = [
                self._heights[way.left] + way.left_offset,
                *(self._heights[item] for item in way.items),
                self._heights[way.right] + way.right_offset,
            ]
            for layer, (before, after) in enumerate(itertools.pairwise(levels), self._layer_of[way.left]):
                rises[layer] = max(rises[layer], abs(after - before))
        columns, x = [], -LEAD
        for number, (items, rise) in enumerate(zip(self._layers, rises, strict=True)):
            leads = 0.0 if number % 2 else 2 * LEAD
            end = x + max(self._widths[item] for item in items) + leads
            columns.append((x, end))
            x = end + min(MOST_GAP, LEAST_GAP + GAP_SHARE * rise)
        return columns, columns[-1][1] - LEAD

    def _box(self, node: int) -> Box:
        width, height = self._nodes[node]
        begin, end = self._columns[self._layer_of[node]]
        return Box((begin + end - width) / 2, self._heights[node] - height / 2, width, height)

    def _route(self, number: int) -> Route:
        way, edge = self._ways[number], self._edges[number]
        first, last = self.boxes[way.left], self.boxes[way.right]
        columns = self._columns[self._layer_of[way.left] : self._layer_of[way.right] + 1]
        start, stop = self._heights[way.left] + way.left_offset, self._heights[way.right] + way.right_offset
        # In each column: from where to where, and how high.
        runs = [(first.x + first.width, columns[0][1], start)]
        runs += [(*column, self._heights[item]) for column, item in zip(columns[1:-1], way.items, strict=True)]
        runs.append((columns[-1][0], last.x, stop))
        points = _join(runs)
        if self._ends[number].is_backwards:
            points.reverse()
        label = self._labels[number]
        begin, end = self._columns[self._layer_of[label]]
        corner = ((begin + end - edge.width) / 2, self._heights[label] - edge.above)
        return Route(tuple(points), Box(*corner, edge.width, edge.above + edge.below))

    def _loop(self, number: int) -> Route:
        edge = self._edges[number]
        box = self.boxes[edge.source]
        half, rise = self._loops[edge.source][number]
        middle, top = box.x + box.width / 2, box.y - rise
        right, left, curve = middle + half, middle - half, min(10.0, half, rise)
        points = [
            (right, box.y),
            *_straight((right, box.y), (right, top + curve)),
            *((right, top + curve / 2), (right - curve / 2, top), (right - curve, top)),
            *_straight((right - curve, top), (left + curve, top)),
            *((left + curve / 2, top), (left, top + curve / 2), (left, top + curve)),
            *_straight((left, top + curve), (left, box.y)),
        ]
        height = edge.above + edge.below
        return Route(tuple(points), Box(middle - edge.width / 2, top - height, edge.width, height))

    def _width_with_loops(self, number: int) -> float:
        return max([self._nodes[number].width, *(self._edges[loop].width for loop in self._loops[number])])

    def _room_with_loops(self, number: int) -> Room:
        half = self._nodes[number].height / 2 + BOX_MARGIN
        tops = [
            loop.rise + self._edges[edge].above + self._edges[edge].below for edge, loop in self._loops[number].items()
        ]
        return Room(half + max(tops, default=0.0), half)


def _find_loops(count: int, edges: Sequence[Edge]) -> list[dict[int, _Loop]]:
    """Give the lines from each box to itself, by number: each goes around the label of the one before."""
    loops: list[dict[int, _Loop]] = [{} for _ in range(count)]
    for number, edge in enumerate(edges):
        if edge.source != edge.target:
            continue
        own, half, rise = loops[edge.source], LOOP_STEP, LOOP_RISE
        if own:
            inner = next(reversed(own))
            half = max(own[inner].half, edges[inner].width / 2) + LOOP_STEP
            rise += own[inner].rise + edges[inner].above + edges[inner].below
        own[number] = _Loop(half, rise)
    return loops


def _grown(node: Node, loops: Iterable[_Loop], lines: int) -> Node:
    """Give a box that is large enough for all its loops, and the lines at one of its sides, to end at it."""
    width = max([node.width, *(2 * (loop.half + CORNER) for loop in loops)])
    return Node(width, max(node.height, 2 * CORNER + LEAST_STEP * (lines - 1)))


def _straight(begin: Point, end: Point) -> tuple[Point, Point, Point]:
    return begin, end, end


def _join(runs: Sequence[tuple[float, float, float]]) -> list[Point]:
    """Give a way that is horizontal in each run, and bent between them."""
    begin, end, height = runs[0]
    points = [(begin, height), *_straight((begin, height), (end, height))]
    for next_begin, next_end, next_height in runs[1:]:
        middle = (end + next_begin) / 2
        points += [(middle, height), (middle, next_height), (next_begin, next_height)]
        points += _straight((next_begin, next_height), (next_end, next_height))
        end, height = next_end, next_height
    return points


def _shift(route: Route, down: float) -> Route:
    points = tuple((x, y + down) for x, y in route.points)
    return Route(points, route.label._replace(y=route.label.y + down))


def _turn(box: Box) -> Box:
    return Box(box.y, box.x, box.height, box.width)
