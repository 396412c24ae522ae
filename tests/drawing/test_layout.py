"""Whatever is drawn: boxes and labels stand clear of each other, and lines lead from box to box and through none."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.drawing.layout import Box, Edge, Layout, Node, Point, lay_out, lay_out_down

NEAR = 0.01
"""Pixels by which numbers may be wrong: nobody sees it."""
STEPS = 8
"""Points that are looked at of each piece of a line."""


@st.composite
def drawings(draw: st.DrawFn) -> tuple[list[Node], list[Edge]]:
    count = draw(st.integers(1, 40))
    sizes = st.floats(20, 200)
    nodes = draw(st.lists(st.builds(Node, sizes, st.floats(20, 90)), min_size=count, max_size=count))
    ends = st.integers(0, count - 1)
    heights = st.sampled_from([0.0, 15.0, 30.0])
    edges = st.builds(Edge, ends, ends, st.floats(10, 150), heights, heights)
    return nodes, draw(st.lists(edges, max_size=2 * count))


def overlap(one: Box, other: Box) -> bool:
    return (
        one.x + one.width > other.x + NEAR
        and other.x + other.width > one.x + NEAR
        and one.y + one.height > other.y + NEAR
        and other.y + other.height > one.y + NEAR
    )


def is_at_border(point: Point, box: Box) -> bool:
    x, y = point[0] - box.x, point[1] - box.y
    is_beside = min(abs(x), abs(x - box.width)) < NEAR and -NEAR <= y <= box.height + NEAR
    is_above = min(abs(y), abs(y - box.height)) < NEAR and -NEAR <= x <= box.width + NEAR
    return is_beside or is_above


def is_within(point: Point, box: Box) -> bool:
    x, y = point[0] - box.x, point[1] - box.y
    return NEAR < x < box.width - NEAR and NEAR < y < box.height - NEAR


def follow(points: tuple[Point, ...]) -> list[Point]:
    """Give points on a way."""
    followed = [points[0]]
    begin = points[0]
    for first, second, end in zip(points[1::3], points[2::3], points[3::3], strict=True):
        for step in range(1, STEPS + 1):
            t = step / STEPS
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            corners = (begin, first, second, end)
            followed.append(
                (
                    sum(weight * corner[0] for weight, corner in zip(weights, corners, strict=True)),
                    sum(weight * corner[1] for weight, corner in zip(weights, corners, strict=True)),
                )
            )
        begin = end
    return followed


def holds(layout: Layout, nodes: list[Node], edges: list[Edge]) -> None:
    assert (len(layout.boxes), len(layout.routes)) == (len(nodes), len(edges))
    for box, node in zip(layout.boxes, nodes, strict=True):
        assert box.width >= node.width - NEAR
        assert box.height >= node.height - NEAR
    labels = [route.label for route, edge in zip(layout.routes, edges, strict=True) if edge.above or edge.below]
    for one, other in combinations([*layout.boxes, *labels], 2):
        assert not overlap(one, other)
    view = Box(0.0, 0.0, layout.width, layout.height)
    for box in (*layout.boxes, *labels):
        assert box.x >= -NEAR
        assert box.y >= -NEAR
        assert box.x + box.width <= view.width + NEAR
        assert box.y + box.height <= view.height + NEAR
    for route, edge in zip(layout.routes, edges, strict=True):
        assert is_at_border(route.points[0], layout.boxes[edge.source])
        assert is_at_border(route.points[-1], layout.boxes[edge.target])
        for x, y in (followed := follow(route.points)):
            assert -NEAR <= x <= view.width + NEAR
            assert -NEAR <= y <= view.height + NEAR
        assert not any(is_within(point, box) for point in followed for box in layout.boxes)


@given(drawings())
def test_a_drawing_from_left_to_right_is_in_order(drawing: tuple[list[Node], list[Edge]]) -> None:
    layout = lay_out(*drawing)
    holds(layout, *drawing)
    assert layout == lay_out(*drawing), "the same is drawn the same"


@given(drawings())
def test_a_drawing_from_above_to_below_is_in_order(drawing: tuple[list[Node], list[Edge]]) -> None:
    nodes, edges = drawing
    # A label there is on the right of its line, and takes the room of all its lines.
    holds(lay_out_down(nodes, edges), [Node(0.0, 0.0)] * len(nodes), edges)


def test_nothing_takes_no_room() -> None:
    assert lay_out([], []) == Layout([], [], 0.0, 0.0)


def test_a_chain_is_a_straight_line() -> None:
    layout = lay_out([Node(80, 30), Node(60, 50), Node(100, 30)], [Edge(0, 1, 40, 15, 0), Edge(1, 2, 90, 30, 15)])
    for route in layout.routes:
        assert len({y for _x, y in route.points}) == 1
    for before, after in pairwise(layout.boxes):
        assert before.x + before.width < after.x
        assert before.y + before.height / 2 == pytest.approx(after.y + after.height / 2)


def test_a_line_that_leads_back_ends_on_the_right_of_its_box() -> None:
    layout = lay_out([Node(80, 30), Node(80, 30)], [Edge(0, 1), Edge(1, 0)])
    first, second = layout.boxes
    there, back = layout.routes
    assert there.points[-1][0] == second.x
    assert back.points[-1][0] == first.x + first.width
    assert there.points[0][1] != back.points[-1][1], "they end beside each other"


def test_loops_go_around_one_another() -> None:
    layout = lay_out([Node(40, 30)], [Edge(0, 0, 60, 15, 15), Edge(0, 0, 30, 15, 0)])
    inner, outer = layout.routes
    assert outer.points[0][0] > inner.label.x + inner.label.width
    assert outer.points[-1][0] < inner.label.x
    assert outer.label.y + outer.label.height < inner.label.y


def test_parts_that_are_not_connected_stand_below_one_another() -> None:
    layout = lay_out([Node(40, 30)] * 4, [Edge(0, 2), Edge(1, 3)])
    tops = [box.y for box in layout.boxes]
    assert tops[0] == pytest.approx(tops[2])
    assert tops[1] == pytest.approx(tops[3])
    assert tops[1] >= tops[0] + 30


def test_what_is_in_the_middle_of_a_fan_is_there() -> None:
    edges = [*(Edge(0, middle) for middle in range(1, 6)), *(Edge(middle, 6) for middle in range(1, 6))]
    boxes = lay_out([Node(80, 30)] * 7, edges).boxes
    middles = [box.y + box.height / 2 for box in boxes]
    assert middles[0] == pytest.approx(middles[3], abs=1)
    assert middles[6] == pytest.approx(middles[3], abs=1)
