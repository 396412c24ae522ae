"""A place that is held: nothing goes on past its next part or stop, and everything comes back once, in order."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from supervisors.places.base import CLOSED, PART_BOUND, Lost
from supervisors.reasons import Killed
from tests.supervisors.places.kinds import KINDS, LOOPED, AnyDriver, driven

pytestmark = pytest.mark.processes
every_kind = pytest.mark.parametrize("kind", KINDS)
beside_its_actor = pytest.mark.parametrize("kind", ["timed", "process", "looped"])
"""Places that wait inside of parts, and have limits of time."""


def park(driver: AnyDriver, count: int = 5, *others: Any) -> int:
    """Hold the place while it is on a request with `count` steps; its number."""
    driver.grants = False
    seq = driver.ask("steps", count, PART_BOUND)
    for other in others:
        driver.ask(*other)
    driver.run(lambda: driver.parts)
    driver.place.hold()
    driver.run(lambda: driver.place.is_still)
    return seq


def grant_all(driver: AnyDriver) -> None:
    """Grant what is not, and all that comes."""
    driver.grants = True
    for seq, _ in driver.parts:
        driver.place.grant(0, seq)


@every_kind
def test_an_idle_place_is_still_and_a_busy_one_is_not(kind: str) -> None:
    with driven(kind, grants=False) as driver:
        assert driver.place.is_still
        seq = driver.ask("steps", 2, PART_BOUND)
        driver.run(lambda: driver.parts)
        assert not driver.place.is_still
        grant_all(driver)
        driver.run(lambda: seq in driver.done)
        assert driver.place.is_still
        driver.place.hold()
        assert driver.place.is_still


@every_kind
def test_a_request_stops_at_its_next_stop_though_it_is_granted(kind: str) -> None:
    with driven(kind) as driver:
        seq = park(driver)
        told = list(driver.parts)
        grant_all(driver)
        driver.rest()
        assert driver.parts == told
        assert driver.place.is_still
        assert driver.place.room(0) == 0
        driver.place.release()
        assert not driver.place.is_still
        driver.run(lambda: driver.done)
        assert driver.parts == [(seq, index) for index in range(5)]
    assert list(driver.done) == [seq]
    assert (driver.lost, driver.failed, driver.returned) == ([], [], [])


@every_kind
def test_a_released_request_still_needs_its_grant(kind: str) -> None:
    with driven(kind) as driver:
        park(driver)
        driver.place.release()
        driver.rest()
        assert len(driver.parts) == 1
        assert not driver.place.is_still
        grant_all(driver)
        driver.run(lambda: driver.done)


@every_kind
def test_a_request_ends_if_it_comes_to_no_stop(kind: str) -> None:
    with driven(kind) as driver:
        seq = driver.ask("wait", 0.01)
        driver.hand_out()
        assert not driver.place.is_still
        driver.place.hold()
        driver.run(lambda: driver.place.is_still)
        driver.rest()
        # It was begun before the hold was heard of, or it is back.
        assert (seq in driver.done) != (driver.returned == [(seq,)])
        driver.place.release()
        driver.run(lambda: driver.done)


@every_kind
def test_a_second_hold_and_a_release_without_one_change_nothing(kind: str) -> None:
    with driven(kind) as driver:
        driver.place.release()
        park(driver)
        driver.place.hold()
        assert driver.place.is_still
        grant_all(driver)
        driver.place.release()
        driver.place.release()
        driver.run(lambda: driver.done)
        assert [index for _, index in driver.parts] == list(range(5))


@every_kind
def test_a_worker_that_starts_while_held_becomes_ready_and_gets_nothing(kind: str) -> None:
    with driven(kind, before=lambda driver: driver.place.hold()) as driver:
        seq = driver.ask("echo", 1)
        driver.rest()
        assert (driver.place.room(0), driver.place.is_still, driver.done) == (0, True, {})
        driver.place.release()
        driver.run(lambda: driver.done)
        assert driver.done == {seq: 1}


@every_kind
def test_a_hold_that_is_over_before_a_worker_is_ready_is_none(kind: str) -> None:
    with driven(kind) as driver:
        driver.place.kill(0, Killed())
        driver.run(lambda: driver.lost)
        driver.place.start(0, b"")
        driver.place.hold()
        driver.place.release()
        seq = driver.ask("steps", 3, 1)
        driver.run(lambda: driver.done)
        assert list(driver.done) == [seq]


@every_kind
def test_what_was_not_begun_comes_back_and_is_run_later_in_order(kind: str) -> None:
    with driven(kind) as driver:
        for index in range(200):  # the window opens
            driver.ask("echo", index)
        driver.run(lambda: len(driver.done) == 200)
        behind = [("echo", index) for index in range(20)]
        seq = park(driver, 5, *behind)
        assert (driver.returned != []) == (kind in {"thread", "process", "scripted"})
        assert not driver.failed
        driver.rest()
        assert len(driver.done) == 200
        grant_all(driver)
        driver.place.release()
        driver.run(lambda: len(driver.done) == 221)
    assert driver.order[200:] == list(range(seq, seq + 21))
    assert len({number for seqs in driver.returned for number in seqs}) == sum(map(len, driver.returned))


@every_kind
def test_a_parked_request_is_given_back_by_a_close(kind: str) -> None:
    with driven(kind) as driver:
        seq = park(driver)
        grant_all(driver)
        driver.place.close(30.0)
        driver.run(lambda: driver.closed)
        [(_, _, lost)] = driver.lost
    assert lost == (Lost(None, (seq,), ()) if kind in LOOPED else Lost(seq, (), ()))
    assert (len(driver.parts), driver.done, driver.failed) == (1, {}, [])


@every_kind
def test_a_parked_request_is_lost_by_a_kill_and_the_next_worker_is_held_as_well(kind: str) -> None:
    with driven(kind) as driver:
        seq = park(driver)
        driver.place.kill(0, Killed())
        driver.run(lambda: driver.lost)
        [(_, reason, lost)] = driver.lost
        assert (reason, lost) == (Killed(), Lost(seq, (), ()))
        assert driver.place.is_still
        driver.put_back([seq])
        driver.place.start(0, b"")
        driver.run(lambda: len(driver.ready) == 2)
        driver.rest()
        assert driver.place.room(0) == 0
        driver.parts.clear()
        driver.grants = True
        driver.place.release()
        driver.run(lambda: driver.done)
    assert driver.parts == [(seq, index) for index in range(5)]


@pytest.mark.parametrize("seed", range(5))
@every_kind
def test_holds_at_any_moment_lose_nothing_and_change_no_order(kind: str, seed: int) -> None:
    rng = random.Random(seed)
    with driven(kind) as driver:
        asked: dict[int, int] = {}
        for _ in range(60):
            steps = rng.choice([0, 0, 0, 1, 3])
            asked[driver.ask("steps", steps, PART_BOUND)] = steps
        is_held = False
        while len(driver.done) < len(asked):
            if rng.random() < 0.3:
                is_held = not is_held
                (driver.place.hold if is_held else driver.place.release)()
            told = (len(driver.parts), len(driver.done)) if is_held and driver.place.is_still else None
            for _ in range(rng.randrange(3)):
                driver.move(0.001)
            assert told in (None, (len(driver.parts), len(driver.done)))
        driver.place.release()
    assert driver.order == list(asked)
    assert driver.parts == [(seq, index) for seq, steps in asked.items() for index in range(steps)]
    assert (driver.failed, driver.lost) == ([], [])


@pytest.mark.parametrize("is_granted", [True, False])
@beside_its_actor
def test_a_request_is_parked_inside_of_a_part(kind: str, is_granted: bool) -> None:
    with driven(kind, grants=False) as driver:
        for index in range(50):
            driver.ask("echo", index)
        driver.run(lambda: len(driver.done) == 50)
        seq = driver.ask("stream", 4, PART_BOUND)
        behind = driver.ask("echo", "behind")
        driver.run(lambda: driver.parts)
        driver.place.hold()
        driver.run(lambda: driver.place.is_still)
        if is_granted:
            grant_all(driver)
        driver.rest()
        assert len(driver.parts) == 1
        assert driver.place.is_still
        driver.place.release()
        driver.rest()
        assert is_granted or not driver.place.is_still
        grant_all(driver)
        driver.run(lambda: behind in driver.done)
    assert driver.parts == [(seq, index) for index in range(4)]
    assert driver.order[-2:] == [seq, behind]
    assert (driver.failed, driver.lost) == ([], [])


@pytest.mark.parametrize("how", ["close", "kill"])
@beside_its_actor
def test_a_request_that_is_parked_inside_of_a_part_comes_back(kind: str, how: str) -> None:
    with driven(kind, grants=False) as driver:
        seq = driver.ask("stream", 4, PART_BOUND)
        driver.run(lambda: driver.parts)
        driver.place.hold()
        driver.run(lambda: driver.place.is_still)
        grant_all(driver)
        if how == "kill":
            driver.place.kill(0, Killed())
            driver.run(lambda: driver.lost)
            assert [lost for _, _, lost in driver.lost] == [Lost(seq, (), ())]
        else:
            driver.close(30.0)
            if kind == "looped":  # it is cancelled
                assert [(reason, lost) for _, reason, lost in driver.lost] == [(CLOSED, Lost(None, (seq,), ()))]
                return
            assert [(number, returned) for number, _, returned in driver.failed] == [(seq, ())]
            assert driver.failed[0][1].startswith("RequestAbandoned")
        assert driver.place.is_still
    assert len(driver.parts) == 1
    assert driver.done == {}


@beside_its_actor
def test_time_spent_parked_is_no_part_of_the_time_that_a_request_may_take(kind: str) -> None:
    with driven(kind, timeout=0.15) as driver:
        for verb in ("steps", "stream"):
            driver.parts.clear()
            seq = driver.ask(verb, 3, 1)
            driver.run(lambda: driver.parts)
            driver.place.hold()
            driver.run(lambda: driver.place.is_still)
            if seq in driver.done:
                driver.place.release()
                continue
            end = time.monotonic() + 0.5
            driver.run(lambda end=end: time.monotonic() > end, 0.02)
            assert driver.place.is_still
            driver.place.release()
            driver.run(lambda seq=seq: seq in driver.done)
    assert (driver.lost, driver.failed, driver.warned) == ([], [], [])


@pytest.mark.parametrize("kind", ["thread", "timed", "process"])
def test_time_spent_parked_is_no_part_of_what_a_request_took(kind: str) -> None:
    with driven(kind) as driver:
        seq = park(driver, 2)
        end = time.monotonic() + 0.3
        driver.run(lambda: time.monotonic() > end, 0.01)
        grant_all(driver)
        driver.place.release()
        driver.run(lambda: driver.done)
    assert 0.0 <= driver.seconds[seq] < 0.3
