"""How high each item of a layer stands. Pure.

Owns the fourth step of a layered layout (see `layers`): lines are to be straight. The sum of the squares of what they
rise or fall is made small, layer by layer, while the order within a layer and the room between neighbours are kept.
For one layer that is an isotonic regression, which pooling adjacent violators solves exactly (Ayer et al., Annals of
Math. Statistics 26(4), 1955); and since the sum is convex and each condition is about one layer alone, going through
the layers again and again comes as near to the best as one likes. At last what is left of waves in long lines is ironed
out.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from routilux.drawing.layers import decide_passes

SWEEPS = 16
"""How often the layers are gone through, there and back (arbitrary: more changes pictures by less than a pixel)."""
INNER_WEIGHT = 8.0
"""What a rise within a long line counts, beside one at its ends (as dot)."""
IRONINGS = 4
"""How often lines are ironed (arbitrary)."""
NEARLY = 14.0
"""Pixels by which a line, or a box, may be moved to take a bend away (arbitrary)."""
FAR = 90.0
"""Pixels by which a box may be moved to stand in one line with the one before it (arbitrary: the width of one)."""
LOOSE = 1e-6
"""The weight of an item that no line leads to: it goes wherever others have it."""


class Way(NamedTuple):
    """The way of a line through the layers.

    Args:
        left: the box on its left.
        left_offset: how far below the line of that box it begins.
        items: the items on its way, from left to right; one at least.
        right: the box on its right.
        right_offset: how far below the line of that box it ends.
    """

    left: int
    left_offset: float
    items: list[int]
    right: int
    right_offset: float


class Room(NamedTuple):
    """What an item needs above and below its line, with the margin to its neighbours."""

    above: float
    below: float


def place(layers: Sequence[Sequence[int]], rooms: Sequence[Room], ways: Sequence[Way]) -> list[float]:
    """Give the height of each item's line; it grows downwards.

    Args:
        layers: the items of each layer, from above.
        rooms: what each item needs.
        ways: the ways of all lines.
    """
    heights = [0.0] * len(rooms)
    stacks = [_stack(layer, rooms) for layer in layers]
    for layer, stack in zip(layers, stacks, strict=True):
        for item, height in zip(layer, stack, strict=True):
            heights[item] = height - stack[-1] / 2
    pulls = _Pulls(len(rooms), ways)
    there = list(zip(layers, stacks, strict=True))
    for sweep in range(decide_passes(SWEEPS, len(rooms))):
        # At first each side alone, so that what is far away is heard of at once.
        both = sweep > 1
        for layer, stack in there:
            _settle(layer, stack, heights, pulls.of(layer, heights, lefts=True, rights=both))
        for layer, stack in reversed(there):
            _settle(layer, stack, heights, pulls.of(layer, heights, lefts=both, rights=True))
    iron = _Iron(layers, rooms, heights)
    longest_first = sorted(ways, key=lambda way: len(way.items), reverse=True)
    for _ironing in range(decide_passes(IRONINGS, len(rooms))):
        for way in longest_first:
            iron.straighten(way)
        iron.align(ways)
    iron.line_up(ways)
    return heights


class _Pulls:
    """Where the lines would have each item."""

    def __init__(self, count: int, ways: Sequence[Way]) -> None:
        self._lefts: list[list[tuple[int, float, float]]] = [[] for _ in range(count)]
        self._rights: list[list[tuple[int, float, float]]] = [[] for _ in range(count)]
        for way in ways:
            self._add(way.left, way.items[0], way.left_offset, 1.0)
            for left, right in zip(way.items, way.items[1:], strict=False):
                self._add(left, right, 0.0, INNER_WEIGHT)
            self._add(way.items[-1], way.right, -way.right_offset, 1.0)

    def _add(self, left: int, right: int, drop: float, weight: float) -> None:
        """Note a piece that is straight where `right` is lower than `left` by `drop`."""
        self._rights[left].append((right, -drop, weight))
        self._lefts[right].append((left, drop, weight))

    def of(
        self, layer: Sequence[int], heights: Sequence[float], *, lefts: bool, rights: bool
    ) -> list[tuple[float, float]]:
        """Give the wanted height of each item of a layer, and its weight."""
        sides = [side for side, is_asked in ((self._lefts, lefts), (self._rights, rights)) if is_asked]
        wanted = []
        for item in layer:
            height = weight = 0.0
            for side in sides:
                for other, offset, share in side[item]:
                    height += (heights[other] + offset) * share
                    weight += share
            wanted.append((height / weight, weight) if weight else (heights[item], LOOSE))
        return wanted


def _stack(layer: Sequence[int], rooms: Sequence[Room]) -> list[float]:
    """Give how far below the first item each one is at least."""
    least = itertools.accumulate(_between(above, below, rooms) for above, below in itertools.pairwise(layer))
    return [0.0, *least][: len(layer)]


def _between(above: int, below: int, rooms: Sequence[Room]) -> float:
    return rooms[above].below + rooms[below].above


def _settle(
    layer: Sequence[int], stack: Sequence[float], heights: list[float], wanted: Sequence[tuple[float, float]]
) -> None:
    """Give the items of a layer the heights nearest to what is wanted, in their order and with their room (`stack`)."""
    blocks: list[tuple[float, float, int]] = []
    """Items that stand as close as they may: the mean of what they want, its weight, how many."""
    for (height, weight), shift in zip(wanted, stack, strict=True):
        mean, total, count = height - shift, weight, 1
        while blocks and blocks[-1][0] >= mean:
            other_mean, other_total, other_count = blocks.pop()
            mean = (mean * total + other_mean * other_total) / (total + other_total)
            total, count = total + other_total, count + other_count
        blocks.append((mean, total, count))
    means = [mean for mean, _, count in blocks for _ in range(count)]
    for item, mean, shift in zip(layer, means, stack, strict=True):
        heights[item] = mean + shift


class _Iron:
    """Takes bends away, where neighbours leave room."""

    def __init__(self, layers: Sequence[Sequence[int]], rooms: Sequence[Room], heights: list[float]) -> None:
        self._rooms = rooms
        self._heights = heights
        self._neighbours: dict[int, tuple[int | None, int | None]] = {}
        self._layer_of = {item: number for number, layer in enumerate(layers) for item in layer}
        for layer in layers:
            for above, item, below in zip((None, *layer), layer, (*layer[1:], None), strict=False):
                self._neighbours[item] = (above, below)

    def straighten(self, way: Way) -> None:
        """Give as many items as can be the same height, from the left on; that of an end of the line, if it is near."""
        heights, run = self._heights, list[int]()
        lowest, highest = float("-inf"), float("inf")
        for item in way.items:
            least, most = self._bounds(item)
            if run and max(lowest, least) > min(highest, most):
                self._level(run, way, lowest, highest)
                run, lowest, highest = [], float("-inf"), float("inf")
            run.append(item)
            lowest, highest = max(lowest, min(least, heights[item])), min(highest, max(most, heights[item]))
        self._level(run, way, lowest, highest)

    def align(self, ways: Sequence[Way]) -> None:
        """Move boxes by a little to where a line becomes straight that is the only one at its side."""
        sides: dict[tuple[int, bool], list[float]] = {}
        for way in ways:
            sides.setdefault((way.left, True), []).append(self._heights[way.items[0]] - way.left_offset)
            sides.setdefault((way.right, False), []).append(self._heights[way.items[-1]] - way.right_offset)
        for (box, _), wanted in sides.items():
            if len(wanted) == 1:
                least, most = self._bounds(box)
                self._heights[box] = _nearest(self._heights[box], wanted, least, most)

    def line_up(self, ways: Sequence[Way]) -> None:
        """Bring boxes that follow one another alone to one height, from the left on."""
        starts, stops = Counter(way.left for way in ways), Counter(way.right for way in ways)
        for way in sorted(ways, key=lambda way: self._layer_of[way.left]):
            if starts[way.left] == stops[way.right] == 1:
                level = self._heights[way.left] + way.left_offset
                wanted = {**dict.fromkeys(way.items, level), way.right: level - way.right_offset}
                if all(self._is_open(item, height) for item, height in wanted.items()):
                    for item, height in wanted.items():
                        self._heights[item] = height

    def _is_open(self, item: int, height: float) -> bool:
        least, most = self._bounds(item)
        return least <= height <= most and abs(height - self._heights[item]) <= FAR

    def _level(self, run: list[int], way: Way, lowest: float, highest: float) -> None:
        mean = sum(self._heights[item] for item in run) / len(run)
        level = min(max(mean, lowest), highest)
        ends = []
        if run[0] == way.items[0]:
            ends.append(self._heights[way.left] + way.left_offset)
        if run[-1] == way.items[-1]:
            ends.append(self._heights[way.right] + way.right_offset)
        level = _nearest(level, ends, lowest, highest)
        for item in run:
            self._heights[item] = level

    def _bounds(self, item: int) -> tuple[float, float]:
        """Give the least and the greatest height at which an item leaves its neighbours their room."""
        above, below = self._neighbours[item]
        least = float("-inf") if above is None else self._heights[above] + _between(above, item, self._rooms)
        most = float("inf") if below is None else self._heights[below] - _between(item, below, self._rooms)
        return least, most


def _nearest(height: float, wanted: Sequence[float], least: float, most: float) -> float:
    """Give the nearest of the wanted heights, if it is near and within bounds, else the height itself."""
    near = [other for other in wanted if abs(other - height) <= NEARLY and least <= other <= most]
    return min(near, key=lambda other: abs(other - height), default=height)
