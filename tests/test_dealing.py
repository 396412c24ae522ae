"""Which worker of a pool gets which message."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.dealing import deal


@pytest.mark.parametrize(
    ("count", "rooms", "dealt"),
    [
        (0, [], []),
        (0, [3, 3], []),
        (2, [1, 1, 1], [0, 1]),
        (2, [1, 0, 2], [2, 0]),
        (5, [1, 4], [1, 0, 1, 1, 1]),
        (4, [2, 2, 2], [0, 1, 2, 0]),
    ],
)
def test_messages_go_round_and_first_to_those_with_most_room(count: int, rooms: list[int], dealt: list[int]) -> None:
    assert deal(count, rooms) == dealt


@given(st.lists(st.integers(0, 9), max_size=6).flatmap(lambda r: st.tuples(st.just(r), st.integers(0, sum(r)))))
def test_nobody_gets_more_than_there_is_room_for_and_the_load_is_even(case: tuple[list[int], int]) -> None:
    rooms, count = case
    hands = Counter(deal(count, rooms))
    assert sum(hands.values()) == count
    for number, room in enumerate(rooms):
        assert hands[number] <= room
        # Who gets less than another could not take more.
        assert hands[number] == room or hands[number] + 1 >= max(hands.values(), default=0)
