"""Few lines cross."""

from __future__ import annotations

import random
from itertools import combinations, pairwise
from typing import SupportsIndex

from hypothesis import given
from hypothesis import strategies as st

from routilux.drawing.layers import WORK
from routilux.drawing.ordering import Links, count_crossings, put_in_order


@st.composite
def layered(draw: st.DrawFn) -> tuple[list[list[int]], list[tuple[int, int]]]:
    sizes = draw(st.lists(st.integers(1, 6), min_size=2, max_size=5))
    layers, count = [], 0
    for size in sizes:
        layers.append(list(range(count, count + size)))
        count += size
    segments = []
    for left, right in pairwise(layers):
        pairs = st.tuples(st.sampled_from(left), st.sampled_from(right))
        segments += draw(st.lists(pairs, max_size=8))
    return layers, segments


@given(layered())
def test_crossings_are_those_that_one_sees_and_ordering_makes_no_more_of_them(
    graph: tuple[list[list[int]], list[tuple[int, int]]],
) -> None:
    layers, segments = graph
    links = Links(sum(map(len, layers)), segments)
    place = {item: number for layer in layers for number, item in enumerate(layer)}
    layer_of = {item: number for number, layer in enumerate(layers) for item in layer}
    seen = sum(
        layer_of[one[0]] == layer_of[other[0]]
        and (place[one[0]] - place[other[0]]) * (place[one[1]] - place[other[1]]) < 0
        for one, other in combinations(segments, 2)
    )
    assert count_crossings(layers, links) == seen
    ordered = put_in_order(layers, links)
    assert [sorted(layer) for layer in ordered] == layers
    assert count_crossings(ordered, links) <= seen


def test_a_tangle_that_can_be_undone_is() -> None:
    layers = [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    segments = [(0, 5), (1, 4), (2, 3), (3, 7), (4, 8), (5, 6)]
    links = Links(9, segments)
    assert count_crossings(put_in_order(layers, links), links) == 0


def test_neighbours_are_exchanged_where_means_do_not_tell() -> None:
    # Both of the right layer have the mean place 1; only one order has a single crossing less.
    links = Links(5, [(0, 4), (2, 4), (1, 3), (0, 3), (2, 3)])
    assert count_crossings(put_in_order([[0, 1, 2], [3, 4]], links), links) <= 2


def test_what_crosses_nowhere_stays_as_its_author_had_it() -> None:
    layers = [[2, 0, 1], [5, 3, 4]]
    assert put_in_order(layers, Links(6, [(2, 5), (0, 3)])) == layers


class Counted(list[list[int]]):
    """Counts how often an item is asked for."""

    asked = 0

    def __getitem__(self, item: SupportsIndex) -> list[int]:  # type: ignore[override]  nobody takes a slice
        self.asked += 1
        return super().__getitem__(item)


def test_a_large_tangle_takes_no_more_work_than_there_is_for_it() -> None:
    chance, width = random.Random(1), 400
    layers = [list(range(first, first + width)) for first in range(0, WORK // 2, width)]
    segments = [(item, chance.choice(right)) for left, right in pairwise(layers) for item in 2 * left]
    links = Links(WORK // 2, segments)
    links.lefts, links.rights = Counted(links.lefts), Counted(links.rights)
    put_in_order(layers, links)
    assert links.lefts.asked + links.rights.asked <= 16 * WORK
