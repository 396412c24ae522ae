"""Worker processes that are held: at any moment, with a window full of requests, and while they die."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from supervisors.places.base import PART_BOUND, Lost
from supervisors.places.process.outbound import LINGER_SECONDS
from supervisors.reasons import Crashed, Killed, ProtocolError
from tests.supervisors.places.bench import Driver, driven

pytestmark = pytest.mark.processes


def open_window(driver: Driver) -> None:
    """Run short requests until the worker gets many at once."""
    count = len(driver.done)
    for _ in range(400):
        driver.ask("echo", 0)
    driver.run(lambda: len(driver.done) == count + 400)


def window_of(driver: Driver) -> int:
    """How many requests its worker gets at once: the faster they are run, the more."""
    window = driver.place._children[0].link.window
    assert window > 1
    return int(window)


def pid_of(driver: Driver) -> int:
    [worker] = driver.place.workers()
    assert worker.pid is not None
    return worker.pid


@pytest.mark.parametrize("verb", ["steps", "stream"])
def test_a_worker_that_streams_stops_within_its_next_part(verb: str) -> None:
    with driven() as driver:
        seq = driver.ask(verb, 1_000_000, 1)
        for _ in range(10):
            count = len(driver.parts)
            driver.run(lambda count=count: len(driver.parts) > count)
            driver.place.hold()
            assert not driver.place.is_still
            driver.run(lambda: driver.place.is_still)
            count = len(driver.parts)
            end = time.monotonic() + 0.01
            driver.run(lambda end=end: time.monotonic() > end, 0.002)
            assert len(driver.parts) == count
            driver.place.release()
        driver.place.kill(0, Killed())
        driver.run(lambda: driver.lost)
    assert [index for _, index in driver.parts] == list(range(len(driver.parts)))
    assert [lost for _, _, lost in driver.lost] == [Lost(seq, (), ())]


def test_two_hundred_holds_at_random_moments_lose_nothing() -> None:
    rng = random.Random(5)
    stills = cycles = 0
    with driven(grants=True) as driver:
        asked: dict[int, int] = {}
        while cycles < 200:
            while len(driver.waiting) < 30:
                steps = rng.choice([0, 0, 0, 20, 200])
                asked[driver.ask(rng.choice(["steps", "stream"]), steps, rng.choice([1, PART_BOUND]))] = steps
            cycles += 1
            end = time.monotonic() + rng.choice([0.0, 0.000_1, 0.001, 0.004])
            driver.run(lambda end=end: time.monotonic() >= end, 0.000_5)
            driver.place.hold()
            if rng.random() < 0.5:
                driver.run(lambda: driver.place.is_still)
                stills += 1
                told = len(driver.parts), len(driver.done)
                driver.run(lambda: True)
                assert told == (len(driver.parts), len(driver.done))
            elif rng.random() < 0.5:
                end = time.monotonic() + rng.choice([0.000_1, 0.001])
                driver.run(lambda end=end: time.monotonic() >= end, 0.000_5)
            driver.place.release()
        driver.run(lambda: len(driver.done) == len(asked))
    assert stills > 50
    assert driver.returned
    assert driver.order == list(asked)
    assert driver.parts == [(seq, index) for seq, steps in asked.items() for index in range(steps)]
    assert (driver.failed, driver.lost) == ([], [])


def test_what_waits_behind_a_request_that_suddenly_blocks_comes_back_when_that_ends(tmp_path: Path) -> None:
    with driven() as driver:
        open_window(driver)
        window = window_of(driver)
        first = driver.ask("block", str(tmp_path / "go"))
        for index in range(window - 1):
            driver.ask("echo", index)
        driver.hand_out()
        assert not driver.waiting
        driver.run(lambda: driver.place.workers()[0].current == first, 0.001)
        driver.place.hold()
        driver.run(lambda: True)
        assert not driver.place.is_still
        # What has taken that long is followed by a look around.
        driver.run(lambda: time.monotonic() - (driver.place.workers()[0].since or 0.0) >= LINGER_SECONDS, 0.001)
        (tmp_path / "go").touch()
        driver.run(lambda: driver.place.is_still)
        assert driver.order[400:] == [first]
        assert driver.returned == [tuple(range(first + 1, first + window))]
        driver.place.release()
        driver.run(lambda: not driver.place.is_still or len(driver.done) == 400 + window)
        driver.run(lambda: len(driver.done) == 400 + window)
    assert driver.order == list(range(1, first + window))


def test_what_waits_behind_a_blocked_request_was_not_begun_when_its_worker_is_killed(tmp_path: Path) -> None:
    with driven() as driver:
        open_window(driver)
        window = window_of(driver)
        first = driver.ask("block", str(tmp_path / "never"))
        for index in range(window - 1):
            driver.ask("echo", index)
        driver.hand_out()
        driver.run(lambda: driver.place.workers()[0].current == first, 0.001)
        driver.place.hold()
        driver.place.kill(0, Killed())
        assert not driver.place.is_still
        driver.run(lambda: driver.lost)
        assert driver.place.is_still
    [(_, reason, lost)] = driver.lost
    assert reason == Killed()
    assert lost == Lost(first, (), tuple(range(first + 1, first + window)))
    assert driver.returned == []


def test_a_worker_in_a_part_that_waits_for_grants_is_parked_at_once() -> None:
    with driven(grants=False) as driver:
        seq = driver.ask("stream", 3, PART_BOUND)
        driver.run(lambda: driver.parts)
        end = time.monotonic() + 0.02  # it comes to wait for the grant of its first part
        driver.run(lambda: time.monotonic() > end, 0.005)
        driver.place.hold()
        driver.run(lambda: driver.place.is_still)
        driver.place.release()
        driver.grants = True
        driver.place.grant(0, seq)
        driver.run(lambda: driver.done)
    assert driver.parts == [(seq, index) for index in range(3)]


def test_a_worker_that_dies_while_it_is_parked_is_lost_with_what_it_was_on() -> None:
    with driven() as driver:
        seq = driver.ask("steps", 1_000_000, 1)
        driver.run(lambda: driver.parts)
        driver.place.hold()
        driver.run(lambda: driver.place.is_still)
        os.kill(pid_of(driver), signal.SIGKILL)
        driver.run(lambda: driver.lost)
        assert driver.place.is_still
    [(_, reason, lost)] = driver.lost
    assert isinstance(reason, Crashed)
    assert lost == Lost(seq, (), ())


def test_a_parked_worker_is_not_given_up_for_its_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisors.places.process.overdue.SILENT_SECONDS", 0.05)
    with driven(timeout=0.05) as driver:
        driver.ask("steps", 200, 1)
        driver.run(lambda: driver.parts)
        driver.place.hold()
        driver.run(lambda: driver.place.is_still)
        end = time.monotonic() + 0.5
        driver.run(lambda: time.monotonic() > end, 0.02)
        assert driver.place.is_still
        driver.place.release()
        driver.run(lambda: driver.done or driver.lost)
    assert (driver.lost, len(driver.parts)) == ([], 200)


def test_all_workers_of_a_pool_are_held() -> None:
    with driven(3) as driver:
        for _ in range(6):
            driver.ask("steps", 300, PART_BOUND)
        driver.run(lambda: len({seq for seq, _ in driver.parts}) >= 3)
        driver.place.hold()
        driver.run(lambda: driver.place.is_still)
        assert len(driver.parts) < 6 * 300
        os.kill(next(worker.pid for worker in driver.place.workers() if worker.pid and worker.current), signal.SIGKILL)
        driver.run(lambda: driver.lost)
        assert driver.place.is_still
        driver.place.start(driver.lost[0][0], b"")
        driver.place.release()
        [again] = [lost.suspect for _, _, lost in driver.lost]
        assert again is not None
        driver.put_back([again])
        driver.run(lambda: len(driver.done) == 6)
    assert sorted(driver.done) == list(range(1, 7))


@pytest.mark.parametrize(
    ("held", "claims"),
    [(False, (1, 1)), (True, (2, 1)), (True, (1, 99)), (True, (1, 1, 2)), (True, (0, 1))],
    ids=["without a hold", "by a hold to come", "on another request", "twice", "by none"],
)
def test_a_worker_that_tells_to_be_parked_when_it_cannot_be_is_ended(held: bool, claims: tuple[int, ...]) -> None:
    with driven() as driver:
        seq = driver.ask("claim", *claims)
        driver.hand_out()
        if held:
            driver.run(lambda: driver.place.workers()[0].current == seq, 0.001)
            driver.place.hold()
        driver.run(lambda: driver.lost)
    [(_, reason, lost)] = driver.lost
    assert isinstance(reason, ProtocolError)
    assert (lost.suspect, lost.unbegun) == (seq, ())


def test_kills_at_random_moments_of_a_hold_give_back_exactly_what_was_in_hand() -> None:
    rng = random.Random(7)
    with driven() as driver:
        asked: list[int] = []
        for _ in range(6):
            while len(driver.waiting) < 400:
                asked.append(driver.ask(*rng.choice([("echo", 0), ("echo", 0), ("steps", 10, 1)])))
            count = len(driver.done) + rng.randrange(60)
            driver.run(lambda count=count: len(driver.done) > count)
            moments = [driver.place.hold, lambda: pause(driver, rng), lambda: driver.place.kill(0, Killed())]
            if rng.random() < 0.3:
                rng.shuffle(moments)
            for act in moments:
                act()
            driver.run(lambda: driver.lost)
            assert driver.place.is_still
            [(_, _, lost)] = driver.lost
            back = [*lost.ran, *([] if lost.suspect is None else [lost.suspect]), *lost.unbegun]
            # Nothing between what was reported and what waits is missing, and nothing of it twice.
            assert [*driver.order, *back, *(seq for seq, _ in driver.waiting)] == asked
            driver.lost.clear()
            driver.put_back(back)
            driver.place.start(0, b"")
            driver.place.release()
        driver.run(lambda: len(driver.done) == len(asked))
    assert driver.order == asked
    assert driver.failed == []


def pause(driver: Driver, rng: random.Random) -> None:
    if rng.random() < 0.5 and driver.place.room(0) == 0:
        driver.run(lambda: driver.place.is_still or driver.place.room(0))
    end = time.monotonic() + rng.choice([0.0, 0.000_1, 0.001])
    driver.run(lambda: time.monotonic() >= end, 0.000_5)
