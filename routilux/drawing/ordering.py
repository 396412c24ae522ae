"""In which order the items of a layer stand, so that few lines cross. Pure.

Owns the third step of a layered layout (see `layers`): an item goes to the mean place of those it is connected with,
layer by layer, there and back; then neighbours change places as long as that takes a crossing away. The best order
that was seen is given. What is equal stays in the order that was given, so the same graph is always drawn the same.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

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
    now = [list(layer) for layer in layers]
    best, fewest, idle = now, count_crossings(now, links), 0
    for _round in range(ROUNDS):
        if not fewest or idle == PATIENCE:
            break
        now = _sweep(_sweep(now, links.lefts, is_back=False), links.rights, is_back=True)
        crossings = count_crossings(now, links)
        idle = 0 if crossings < fewest else idle + 1
        if crossings < fewest:
            best, fewest = now, crossings
    return _exchange(best, links) if fewest else best


def count_crossings(layers: Sequence[Sequence[int]], links: Links) -> int:
    """Count the crossings of lines between all layers."""
    total = 0
    for left, right in itertools.pairwise(layers):
        places = {item: place for place, item in enumerate(right)}
        seen: list[int] = []
        for item in left:
            ends = sorted(places[other] for other in links.rights[item])
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _sweep(layers: list[list[int]], beside: Sequence[Sequence[int]], *, is_back: bool) -> list[list[int]]:
    """Sort each layer but the first by the mean places of those it is connected with in the layer before."""
    ordered: list[list[int]] = []
    for layer in reversed(layers) if is_back else layers:
        places = {item: place for place, item in enumerate(ordered[-1])} if ordered else {}
        ordered.append(_sort(layer, places, beside) if places else list(layer))
    return ordered[::-1] if is_back else ordered


def _sort(layer: list[int], places: dict[int, int], beside: Sequence[Sequence[int]]) -> list[int]:
    means = {item: sum(places[other] for other in beside[item]) / len(beside[item]) for item in layer if beside[item]}
    # What is connected with nothing there stays where it is; the others share the places that are left.
    movable = iter(sorted(means, key=means.__getitem__))
    return [next(movable) if item in means else item for item in layer]


def _exchange(layers: list[list[int]], links: Links) -> list[list[int]]:
    """Let neighbours change places as long as that takes crossings away."""
    layers = [list(layer) for layer in layers]
    for _look in range(EXCHANGES):
        has_changed = False
        for number, layer in enumerate(layers):
            sides = [
                ({item: place for place, item in enumerate(layers[other])}, beside)
                for other, beside in ((number - 1, links.lefts), (number + 1, links.rights))
                if 0 <= other < len(layers)
            ]
            for place in range(len(layer) - 1):
                above, below = layer[place], layer[place + 1]
                gain = sum(_gain(above, below, places, beside) for places, beside in sides)
                if gain > 0:
                    layer[place], layer[place + 1] = below, above
                    has_changed = True
        if not has_changed:
            break
    return layers


def _gain(above: int, below: int, places: dict[int, int], beside: Sequence[Sequence[int]]) -> int:
    """Count the crossings that go when two neighbours change places, less those that come."""
    ups = [places[other] for other in beside[above]]
    downs = [places[other] for other in beside[below]]
    if len(ups) == len(downs) == 1:  # as most are: lines on their way
        return (ups[0] > downs[0]) - (ups[0] < downs[0])
    ups.sort()
    downs.sort()
    return sum(bisect_left(downs, up) for up in ups) - sum(bisect_left(ups, down) for down in downs)
