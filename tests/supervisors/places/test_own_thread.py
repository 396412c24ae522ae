"""The place on the actor's own thread, whose parts wait in there: what may be done from inside of the wait."""

from __future__ import annotations

import math
from collections.abc import Iterator

from supervisors.places.base import Port
from supervisors.places.thread import WINDOW
from tests.supervisors.places.threads import running


def hand_parts(port: Port) -> None:
    for n in range(3):
        port.part(n, 1)


def return_a_result(_port: Port) -> str:
    return "told"


def test_a_place_can_be_held_and_released_from_inside_of_a_part() -> None:
    looks: list[tuple[bool, int, int]] = []

    def look() -> bool:
        world.place.hold()
        looks.append((world.place.is_still, len(world.parts), len(world.returned)))
        if len(looks) % 3 == 2:
            world.grant()
        if len(looks) % 3 == 0:
            world.place.release()
        return True

    with running("thread") as world:
        world.grants = False
        world.place.submit(0, [(1, hand_parts), (2, return_a_result), (3, return_a_result)])
        world.waits_by = look
        world.run(lambda: world.done)
        assert world.place.is_still
        assert looks == [(True, part, 2) for part in (1, 2, 3) for _ in range(3)]
        assert world.returned == [2, 3]
        assert world.place.room(0) == WINDOW


def test_a_part_that_shall_wait_no_more_fails_its_request_also_while_held() -> None:
    def give_up() -> bool:
        assert world.place.is_still
        return False

    with running("thread") as world:
        world.meets_part = world.place.hold
        world.waits_by = give_up
        seq = world.begin(hand_parts)
        world.run(lambda: world.failed)
        assert world.place.is_still
        world.place.release()
    assert world.failed == [(seq, "RequestAbandoned()", ())]
    assert len(world.parts) == 1


def test_a_wait_for_a_grant_is_told_and_left_out() -> None:
    told: list[float | None] = []

    def since() -> float | None:
        return world.place.workers()[0].since

    def look() -> bool:
        told.append(since())
        world.now += 5.0
        world.grant()
        return True

    def hand_parts_and_look(port: Port) -> None:
        hand_parts(port)
        told.append(since())

    with running("thread") as world:
        world.grants = False
        world.waits_by = look
        began = world.now
        world.begin(hand_parts_and_look)
        world.run(lambda: world.done)
        assert told == [math.inf] * 3 + [began + 15.0]
        began = world.now
        world.begin(step_on)
        world.run(lambda: world.ungranted)
        assert not world.place.advance()
        assert since() == math.inf
        world.now += 7.0
        world.grant()
        world.place.advance()
        assert since() == began + 7.0
        world.run(lambda: world.ungranted)
        world.grant()
        world.run(lambda: world.ungranted)
        world.grant()
        world.run(lambda: len(world.done) == 2)
        assert since() is None


def step_on(port: Port) -> Iterator[None]:
    for n in range(3):
        port.stop_with(n, 1)
        yield
