"""Lines are straight where there is room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from routilux.drawing.layers import WORK
from routilux.drawing.placing import Room, Way, place

ROOM = Room(10.0, 10.0)


def test_neighbours_keep_their_room_and_their_order() -> None:
    rooms = [Room(5.0, 20.0), Room(7.0, 3.0), Room(1.0, 1.0)]
    heights = place([[2, 0, 1]], rooms, [])
    assert heights[0] - heights[2] >= 1.0 + 5.0
    assert heights[1] - heights[0] >= 20.0 + 7.0


def test_a_box_is_where_the_lines_to_both_sides_are_shortest() -> None:
    # 0 leads to 1 and 2, by 3 and 4.
    ways = [Way(0, 0.0, [3], 1, 0.0), Way(0, 0.0, [4], 2, 0.0)]
    heights = place([[0], [3, 4], [1, 2]], [ROOM] * 5, ways)
    assert heights[0] == pytest.approx((heights[1] + heights[2]) / 2)
    assert heights[2] - heights[1] >= 20.0


def test_a_line_begins_as_far_off_the_middle_as_it_is_said() -> None:
    heights = place([[0], [2], [1]], [ROOM] * 3, [Way(0, 4.0, [2], 1, -3.0)])
    assert heights[2] == pytest.approx(heights[0] + 4.0)
    assert heights[2] == pytest.approx(heights[1] - 3.0)


def test_a_long_line_is_straight_beside_what_is_in_its_way() -> None:
    # 0 to 1 by 4, 5, 6, and in the middle two boxes above that line, which are connected with nothing.
    layers = [[0], [4], [2, 3, 5], [6], [1]]
    heights = place(layers, [ROOM] * 7, [Way(0, 0.0, [4, 5, 6], 1, 0.0)])
    assert heights[4] == heights[5] == heights[6]
    assert heights[5] - heights[3] >= 20.0


def test_boxes_that_follow_one_another_alone_stand_in_one_line() -> None:
    # 0 and 1 both lead to 2, which leads to 3 and that to 4; the items between are 5 to 8.
    ways = [Way(0, 0.0, [5], 2, -5.0), Way(1, 0.0, [6], 2, 5.0), Way(2, 0.0, [7], 3, 0.0), Way(3, 2.0, [8], 4, 0.0)]
    heights = place([[0, 1], [5, 6], [2], [7], [3], [8], [4]], [ROOM] * 9, ways)
    assert heights[2] == heights[7] == heights[3] == heights[8] - 2.0 == heights[4] - 2.0


class Counted(list[int]):
    """A layer that counts the items that are taken of any."""

    taken = 0

    def __iter__(self) -> Iterator[int]:
        Counted.taken += len(self)
        return super().__iter__()


def test_a_large_drawing_takes_no_more_work_than_there_is_for_it() -> None:
    count = WORK // 100
    chains = [list(range(first, first + 50)) for first in range(0, 50 * count, 50)]
    items = 50 * count + 2
    boxes = [items - 2, items - 1]
    ways = [Way(boxes[0], 0.0, chain, boxes[1], 0.0) for chain in chains]
    layers = [Counted(layer) for layer in ([boxes[0]], *map(list, zip(*chains, strict=True)), [boxes[1]])]
    place(layers, [ROOM] * items, ways)
    assert Counted.taken <= 8 * WORK
