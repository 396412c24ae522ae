"""Cycles are broken, and each edge leads to the right."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routilux.drawing.layers import WORK, Ends, break_cycles, decide_passes, find_layers, find_parts


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    count = draw(st.integers(1, 40))
    ends = st.integers(0, count - 1)
    edges = st.tuples(ends, ends).filter(lambda edge: edge[0] != edge[1])
    return count, draw(st.lists(edges, max_size=80)) if count > 1 else []


@given(graphs())
def test_each_edge_leads_to_a_layer_further_right(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, edges = graph
    ends = break_cycles(count, edges)
    layers = find_layers(count, ends)
    assert min(layers) == 0
    for (source, target), end in zip(edges, ends, strict=True):
        assert {end.left, end.right} == {source, target}
        assert end.is_backwards == (end.left == target)
        assert layers[end.left] < layers[end.right]


def test_where_there_is_no_cycle_nothing_goes_backwards() -> None:
    edges = [(3, 1), (1, 0), (3, 0), (2, 0)]
    assert not any(end.is_backwards for end in break_cycles(4, edges))


def test_what_leads_back_to_where_the_flow_came_from_goes_backwards() -> None:
    # 3 -> 0 -> 1 -> 2 -> 0: it begins at 3, which nothing leads to.
    edges = [(0, 1), (1, 2), (2, 0), (3, 0)]
    assert [end.is_backwards for end in break_cycles(4, edges)] == [False, False, True, False]


def test_a_source_stands_beside_those_it_leads_to() -> None:
    ends = [Ends(0, 1, False), Ends(1, 2, False), Ends(2, 3, False), Ends(4, 3, False)]
    assert find_layers(5, ends) == [0, 1, 2, 3, 2]


def test_a_long_chain_is_walked_without_recursion() -> None:
    ends = break_cycles(5_000, [(number, number + 1) for number in range(4_999)])
    assert find_layers(5_000, ends) == list(range(5_000))


def test_parts_are_found() -> None:
    assert find_parts(6, [(5, 0), (2, 3), (3, 2)]) == [[0, 5], [1], [2, 3], [4]]


def test_small_drawings_are_gone_through_as_often_as_one_likes_and_the_largest_once() -> None:
    assert decide_passes(12, 0) == decide_passes(12, WORK // 12) == 12
    assert decide_passes(12, WORK // 3) == 3
    assert decide_passes(12, 100 * WORK) == 1
