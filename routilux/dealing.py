"""Which worker of a pool gets which of the messages that were taken together.

Owns that decision. Pure. Never takes a message, never knows what is in it.
"""

from __future__ import annotations

from collections.abc import Sequence


def deal(count: int, rooms: Sequence[int]) -> list[int]:
    """Say for each of `count` messages which worker gets it: one each in turns, those with most room first.

    Args:
        count: how many there are; no more than there is room for.
        rooms: how many more each worker takes.

    Returns:
        The workers' numbers, in the order of the messages.
    """
    left = [(room, -number) for number, room in enumerate(rooms) if room]
    left.sort(reverse=True)
    dealt: list[int] = []
    while len(dealt) < count:
        dealt += [-number for _room, number in left[: count - len(dealt)]]
        left = [(room - 1, number) for room, number in left if room > 1]
    return dealt
