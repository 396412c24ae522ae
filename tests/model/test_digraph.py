"""Cycles, order and ancestors, against brute force."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.model.digraph import ancestors_of, cyclic_components, topological_order


def reachable(count: int, edges: list[tuple[int, int]]) -> list[list[bool]]:
    reach = [[(a, b) in edges for b in range(count)] for a in range(count)]
    for via in range(count):
        for a in range(count):
            for b in range(count):
                reach[a][b] = reach[a][b] or (reach[a][via] and reach[via][b])
    return reach


@pytest.mark.parametrize(
    ("count", "edges", "expected"),
    [
        (0, [], ()),
        (3, [(0, 1), (1, 2)], ()),
        (1, [(0, 0)], ((0,),)),
        (3, [(0, 1), (1, 0), (1, 2)], ((0, 1),)),
        (5, [(4, 3), (3, 4), (2, 1), (1, 2), (2, 3)], ((1, 2), (3, 4))),
        (2, [(0, 1), (0, 1)], ()),
    ],
)
def test_components_that_hold_a_cycle_are_found(count: int, edges: Any, expected: Any) -> None:
    assert cyclic_components(count, edges) == expected


def test_ten_thousand_routines_in_a_row_and_in_a_ring_do_not_recurse() -> None:
    count = 10_000
    chain = [(node, node + 1) for node in range(count - 1)]
    assert cyclic_components(count, chain) == ()
    assert cyclic_components(count, [*chain, (count - 1, 0)]) == (tuple(range(count)),)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    count = draw(st.integers(1, 7))
    nodes = st.integers(0, count - 1)
    return count, draw(st.lists(st.tuples(nodes, nodes), max_size=16))


@given(graphs())
def test_components_are_those_of_brute_force(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, edges = graph
    reach = reachable(count, edges)
    expected = {
        tuple(b for b in range(count) if b == a or (reach[a][b] and reach[b][a])) for a in range(count) if reach[a][a]
    }
    assert cyclic_components(count, edges) == tuple(sorted(expected))


@given(graphs())
def test_each_node_comes_behind_those_it_can_be_reached_from_and_a_cycle_stays_together(
    graph: tuple[int, list[tuple[int, int]]],
) -> None:
    count, edges = graph
    reach = reachable(count, edges)
    order = topological_order(count, edges)
    assert sorted(order) == list(range(count))
    place = {node: at for at, node in enumerate(order)}
    assert all(place[a] < place[b] for a in range(count) for b in range(count) if reach[a][b] and not reach[b][a])
    for cycle in cyclic_components(count, edges):
        places = [place[node] for node in cycle]
        assert max(places) - min(places) == len(cycle) - 1


@given(graphs())
def test_ancestors_are_those_that_reach_a_node_and_itself(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, edges = graph
    reach = reachable(count, edges)
    for node in range(count):
        assert ancestors_of(node, edges) == {node, *(other for other in range(count) if reach[other][node])}
