"""In which order the items of a layer stand, so that few lines cross. Pure.

Owns the third step of a layered layout (see `layers`): an item goes to the mean place of those it is connected with,
layer by layer, there and back; then neighbours change places as long as that takes a crossing away. The best order
that was seen is given. What is equal stays in the order that was given, so the same graph is always drawn the same.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from routilux.drawing.layers import decide_passes

ROUNDS = 12
"""How often all layers are sorted, there and back (arbitrary; dot takes up to 24)."""
PATIENCE = 4
"""Rounds that bring nothing, after which it is left at that (arbitrary; as dot)."""
EXCHANGES = 6
"""How often neighbours are looked at for an exchange (arbitrary)."""


class Links:
    """Which items are connected with which, in the layers beside their own.

    Args:
        count: items are numbered from 0 to `count - 1`.
        segments: pairs of (item, item in the next layer).
    """

    def __init__(self, count: int, segments: Sequence[tuple[int, int]]) -> None:
        self.lefts: list[list[int]] = [[] for _ in range(count)]
        self.rights: list[list[int]] = [[] for _ in range(count)]
        for left, right in segments:
            self.rights[left].append(right)
            self.lefts[right].append(left)


def put_in_order(layers: Sequence[Sequence[int]], links: Links) -> list[list[int]]:
    """Give the layers, each in an order in which few lines cross.

    Args:
        layers: the items of each layer, in the order of who made them.
        links: which are connected.
    """
    count = len(links.lefts)
    now = [list(layer) for layer in layers]
    best, fewest, idle = now, count_crossings(now, links), 0
    for _round in range(decide_passes(ROUNDS, count)):
        if not fewest or idle == PATIENCE:
            break
        now = _sweep(_sweep(now, links.lefts, is_back=False), links.rights, is_back=True)
        crossings = count_crossings(now, links)
        idle = 0 if crossings < fewest else idle + 1
        if crossings < fewest:
            best, fewest = now, crossings
    return _exchange(best, links, decide_passes(EXCHANGES, count)) if fewest else best


def count_crossings(layers: Sequence[Sequence[int]], links: Links) -> int:
    """Count the crossings of lines between all layers."""
    total, places = 0, _find_places(layers, links)
    for left in layers[:-1]:
        seen: list[int] = []
        for item in left:
            for end in sorted([places[other] for other in links.rights[item]]):
                above = bisect_right(seen, end)
                total += len(seen) - above
                seen.insert(above, end)
    return total


def _find_places(layers: Sequence[Sequence[int]], links: Links) -> list[int]:
    """Give where in its layer each item is."""
    places = [0] * len(links.lefts)
    for layer in layers:
        for place, item in enumerate(layer):
            places[item] = place
    return places


def _sweep(layers: list[list[int]], beside: Sequence[Sequence[int]], *, is_back: bool) -> list[list[int]]:
    """Sort each layer but the first by the mean places of those it is connected with in the layer before."""
    ordered: list[list[int]] = []
    places = [0] * len(beside)
    for layer in reversed(layers) if is_back else layers:
        ordered.append(_sort(layer, places, beside) if ordered else list(layer))
        for place, item in enumerate(ordered[-1]):
            places[item] = place
    return ordered[::-1] if is_back else ordered


def _sort(layer: list[int], places: Sequence[int], beside: Sequence[Sequence[int]]) -> list[int]:
    means = {item: sum([places[other] for other in beside[item]]) / len(beside[item]) for item in layer if beside[item]}
    # What is connected with nothing there stays where it is; the others share the places that are left.
    movable = iter(sorted(means, key=means.__getitem__))
    return [next(movable) if item in means else item for item in layer]


def _exchange(layers: list[list[int]], links: Links, looks: int) -> list[list[int]]:
    """Let neighbours change places as long as that takes crossings away, and for so many looks at all."""
    layers = [list(layer) for layer in layers]
    places = _find_places(layers, links)
    for _look in range(looks):
        if not sum(_exchange_in(layer, places, links) for layer in layers):
            break
    return layers


def _exchange_in(layer: list[int], places: list[int], links: Links) -> bool:
    """Let neighbours of one layer change places where that takes crossings away; tell whether any did."""
    lefts = [sorted([places[other] for other in links.lefts[item]]) for item in layer]
    rights = [sorted([places[other] for other in links.rights[item]]) for item in layer]
    has_changed = False
    for above, below in itertools.pairwise(range(len(layer))):
        if _gain(lefts[above], lefts[below]) + _gain(rights[above], rights[below]) > 0:
            layer[above], layer[below] = layer[below], layer[above]
            lefts[above], lefts[below] = lefts[below], lefts[above]
            rights[above], rights[below] = rights[below], rights[above]
            has_changed = True
    for place, item in enumerate(layer):
        places[item] = place
    return has_changed


def _gain(ups: Sequence[int], downs: Sequence[int]) -> int:
    """Count the crossings that go when two neighbours change places, less those that come, at one side of them.

    Args:
        ups: the places of those that the upper one is connected with, in order.
        downs: those of the lower one.
    """
    if len(ups) == len(downs) == 1:  # as most are: lines on their way
        return (ups[0] > downs[0]) - (ups[0] < downs[0])
    return sum([bisect_left(downs, up) for up in ups]) - sum([bisect_left(ups, down) for down in downs])
