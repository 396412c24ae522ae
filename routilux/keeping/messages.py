"""The messages of a checkpoint that were not handled, or were given up, one by one and by their ids.

Owns the words for where a message is. Decodes no value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from routilux.ids import from_bytes, to_id
from routilux.records.schema import DeadLetterImage, Image, MessageImage, RoutineImage

IN_HAND = "in hand"
WAITING = "waiting"
IN_RETRY = "in retry"
MERGING = "merging"
DEAD = "dead"


class KeptMessage(NamedTuple):
    """One message.

    Args:
        routine_id: the routine that it is for.
        place: where it is, a word of this module.
        message: itself.
        letter: what is known of it as a dead letter; None for one that is none.
    """

    routine_id: str
    place: str
    message: MessageImage
    letter: DeadLetterImage | None = None

    @property
    def id(self) -> str:
        """Its id, the same each time it is run."""
        return to_id(from_bytes(self.message.key))


def each_message(image: Image) -> Iterator[KeptMessage]:
    """Give the messages of all routines, those of a set one by one."""
    for routine in image.routines:
        yield from _of_routine(routine)


def match_messages(messages: Iterable[KeptMessage], start: str) -> list[KeptMessage]:
    """Give those whose ids begin so; an id that is given whole is that of one message alone."""
    found = [message for message in messages if message.id.startswith(start)]
    return [message for message in found if message.id == start] or found


def short_ids(ids: Iterable[str], least: int) -> dict[str, str]:
    """Give the shortest beginning of each id, of at least so many digits, that is that of no other."""
    ordered = sorted(set(ids))
    shared = [_shared(one, other) for one, other in pairwise(ordered)]
    return {
        one: one[: max(least, 1 + max(before, after))]
        for one, before, after in zip(ordered, [0, *shared], [*shared, 0], strict=False)  # of none there is one more
    }


def _shared(one: str, other: str) -> int:
    return next((place for place, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))


def _of_routine(routine: RoutineImage) -> Iterator[KeptMessage]:
    held = (
        (IN_HAND, routine.in_hand),
        (IN_RETRY, [message for wait in routine.retries for message in wait.messages]),
        (MERGING, routine.merging),
        (WAITING, routine.waiting),
    )
    for place, messages in held:
        for message in messages:
            yield from (KeptMessage(routine.id, place, each) for each in message.each())
    for letter in routine.dead_letters:
        yield KeptMessage(routine.id, DEAD, letter.message, letter)
