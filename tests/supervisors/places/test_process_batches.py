"""Many requests at once in a worker: what is told together, and that each of them is still one by itself."""

from __future__ import annotations

import itertools
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from supervisors.places.base import CLOSED, Lost
from supervisors.places.process.link import WINDOW_LIMIT
from supervisors.places.process.outbound import LINGER_SECONDS
from supervisors.reasons import Crashed, Killed, ProtocolError
from supervisors.wire.frames import DoneBatch, encode_frame
from tests.supervisors.places.bench import BatchBench, Driver, Results, driven, own_channel

pytestmark = pytest.mark.processes


class Liar(BatchBench):
    """Tells of batches that it was not given."""

    def tell(self, _port: Any, first: int, count: int) -> Any:
        results = Results(0.0, [0.0] * count, [b""] * count)
        own_channel().send(encode_frame(DoneBatch(first, results, 0.0), 1))
        self.wait(_port, 600.0)


def opened(driver: Driver) -> int:
    """Run short requests until the worker gets many at once; how many there were."""
    while driver.place._children[0].link.window < 100:
        count = len(driver.done)
        for _ in range(200):
            driver.ask("echo", 0)
        driver.run(lambda count=count: len(driver.done) == count + 200)
    return len(driver.done)


def pid_of(driver: Driver) -> int:
    [worker] = driver.place.workers()
    assert worker.pid is not None
    return worker.pid


def test_what_was_run_in_one_go_is_told_together_and_in_order() -> None:
    with driven(service=BatchBench()) as driver:
        count = opened(driver)
        driver.together.clear()
        asked = [driver.ask("echo", index) for index in range(3_000)]
        driver.run(lambda: len(driver.done) == count + 3_000)
    assert driver.order[count:] == asked
    assert [driver.done[seq] for seq in asked] == list(range(3_000))
    assert len(driver.together) < 1_500
    assert max(driver.together) <= WINDOW_LIMIT


def test_one_that_fails_gives_back_those_behind_it_and_keeps_those_before() -> None:
    with driven(service=BatchBench()) as driver:
        count = opened(driver)
        before = [driver.ask("echo", index) for index in range(20)]
        bad = driver.ask("fail", "bad")
        behind = [driver.ask("echo", index) for index in range(20)]
        driver.run(lambda: driver.failed)
        [(seq, text, returned)] = driver.failed
        assert (seq, text, list(returned)) == (bad, "ValueError: bad", behind[: len(returned)])
        assert driver.order[count:] == before
        driver.put_back(returned)
        driver.run(lambda: len(driver.done) == count + 40)
    assert driver.order[count:] == before + behind


def test_one_that_has_steps_or_hands_over_is_told_by_itself_in_its_place() -> None:
    with driven(service=BatchBench()) as driver:
        count = opened(driver)
        asked = [
            driver.ask(*request)
            for _ in range(20)
            for request in (("echo", 1), ("steps", 3, 1), ("echo", 2), ("stream", 2, 1), ("confirm", 1), ("echo", 3))
        ]
        driver.run(lambda: len(driver.done) == count + len(asked))
    assert driver.order[count:] == asked
    assert [driver.done[seq] for seq in asked[:6]] == [1, None, 2, 2, "confirmed", 3]
    parts = [[body for other, body in driver.parts if other == seq] for seq in asked[:6]]
    assert parts == [[], [0, 1, 2], [], [0, 1], [0, "confirmed?"], []]


def test_a_death_names_the_one_it_was_on_and_what_had_run_before() -> None:
    with driven(service=BatchBench()) as driver:
        count = opened(driver)
        before = [driver.ask("echo", index) for index in range(20)]
        fatal = driver.ask("kill")
        behind = [driver.ask("echo", index) for index in range(20)]
        driver.run(lambda: driver.lost)
        [(_, reason, lost)] = driver.lost
        assert isinstance(reason, Crashed)
        assert lost.suspect == fatal
        assert driver.order[count:] + list(lost.ran) == before
        assert list(lost.unbegun) == behind[: len(lost.unbegun)]


def test_what_was_run_before_one_that_takes_long_is_told_meanwhile(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with driven(service=BatchBench()) as driver:
        count = opened(driver)
        before = [driver.ask("echo", index) for index in range(20)]
        long = driver.ask("block", str(gate))
        behind = driver.ask("echo", "behind")
        driver.run(lambda: len(driver.done) == count + 20)
        assert driver.order[count:] == before
        driver.run(lambda: driver.place.workers()[0].current == long, 0.001)
        gate.touch()
        driver.run(lambda: behind in driver.done)
        assert driver.seconds[long] > 0.0
    assert driver.order[count:] == [*before, long, behind]


def test_what_is_short_between_two_that_take_long_is_told_while_the_second_one_runs(tmp_path: Path) -> None:
    gates = [tmp_path / "first", tmp_path / "second"]
    with driven(service=BatchBench()) as driver:
        opened(driver)
        before = driver.ask("echo", "before")
        driver.ask("block", str(gates[0]))
        short = driver.ask("echo", "short")
        second = driver.ask("block", str(gates[1]))
        driver.run(lambda: before in driver.done)  # told by the deputy, which listens from then on
        gates[0].touch()
        driver.run(lambda: short in driver.done)
        assert second not in driver.done
        gates[1].touch()
        driver.run(lambda: second in driver.done)


def test_what_is_short_behind_one_that_took_long_is_told_together_again(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with driven(service=BatchBench()) as driver:
        count = opened(driver)
        before = driver.ask("echo", "before")
        driver.ask("block", str(gate))
        for index in range(90):
            driver.ask("echo", index)
        driver.run(lambda: before in driver.done)  # told by the deputy, which listens from then on
        driver.together.clear()
        gate.touch()
        driver.run(lambda: len(driver.done) == count + 92)
    assert len(driver.together) < 45


def test_the_last_of_a_batch_is_told_while_the_first_of_the_next_one_takes_long(tmp_path: Path) -> None:
    gates = [tmp_path / "first", tmp_path / "second"]
    with driven(service=BatchBench()) as driver:
        opened(driver)
        before = driver.ask("echo", "before")
        driver.ask("block", str(gates[0]))
        short = driver.ask("echo", "short")
        driver.hand_out()
        second = driver.ask("block", str(gates[1]))
        driver.hand_out()
        assert not driver.waiting, "both batches are on their way"
        driver.run(lambda: before in driver.done)  # told by the deputy, which listens from then on
        gates[0].touch()
        driver.run(lambda: short in driver.done)
        gates[1].touch()
        driver.run(lambda: second in driver.done)


def test_the_result_of_one_that_takes_long_waits_for_no_others() -> None:
    with driven(service=BatchBench()) as driver:
        count = opened(driver)
        driver.together.clear()
        for _ in range(5):
            driver.ask("wait", LINGER_SECONDS)
        driver.run(lambda: len(driver.done) == count + 5)
    assert driver.together == [1] * 5


def test_a_hold_gives_back_what_was_not_begun_when_the_present_one_has_ended(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with driven(service=BatchBench()) as driver:
        count = opened(driver)
        long = driver.ask("block", str(gate))
        # What takes a while is the last after which the worker does not look around.
        driver.ask("wait", LINGER_SECONDS)
        behind = [driver.ask("echo", index) for index in range(50)]
        driver.run(lambda: driver.place.workers()[0].current == long, 0.001)
        driver.place.hold()
        gate.touch()
        driver.run(lambda: driver.place.is_still and driver.returned)
        assert set(driver.order[count:]) <= {long, long + 1}
        assert set(itertools.chain(*driver.returned)) >= set(behind[:10])
        driver.place.release()
        driver.run(lambda: len(driver.done) == count + 52)
    assert driver.order[count:] == [long, long + 1, *behind]


def test_a_worker_that_shall_end_begins_no_other(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with driven(service=BatchBench()) as driver:
        count = opened(driver)
        long = driver.ask("block", str(gate))
        driver.ask("wait", LINGER_SECONDS)
        behind = [driver.ask("echo", index) for index in range(50)]
        driver.run(lambda: driver.place.workers()[0].current == long, 0.001)
        driver.place.close(600.0)
        gate.touch()
        driver.run(lambda: driver.closed)
        assert set(driver.order[count:]) <= {long, long + 1}
        [(_, reason, lost)] = driver.lost
        assert (reason, lost.suspect) == (CLOSED, None)
        assert set(lost.unbegun) <= {long + 1, *behind}


@pytest.mark.parametrize("verb", ["fork", "clone"])
def test_a_copy_that_one_makes_of_the_worker_runs_none_of_the_others(verb: str) -> None:
    with driven(service=BatchBench()) as driver:
        count = opened(driver)
        asked = [driver.ask(*request) for request in (("echo", 1), (verb,), ("echo", 2))]
        driver.run(lambda: len(driver.done) == count + 3)
    assert driver.order[count:] == asked
    assert driver.done[asked[1]] == {"fork": 3, "clone": 0}[verb]


def test_a_result_that_cannot_be_read_costs_its_own_request_and_none_before() -> None:
    with driven(service=BatchBench()) as driver:
        count = opened(driver)
        asked = [driver.ask("echo", index) for index in range(20)]
        driver.unreadable = asked[10]
        driver.run(lambda: driver.lost)
        [(_, reason, lost)] = driver.lost
        assert isinstance(reason, ProtocolError)
        assert (lost.suspect, driver.order[count:]) == (asked[10], asked[:10])


@pytest.mark.parametrize(("first", "count"), [(2, 1), (1, 2), (1, 0), (0, 1)])
def test_a_worker_that_tells_of_a_batch_that_it_was_not_given_is_ended(first: int, count: int) -> None:
    with driven(service=Liar()) as driver:
        driver.ask("tell", first, count)
        driver.run(lambda: driver.lost)
        [(_, reason, lost)] = driver.lost
        assert isinstance(reason, ProtocolError)
        assert lost == Lost(1, (), ())


def test_kills_and_holds_at_random_moments_lose_nothing() -> None:
    rng = random.Random(8)
    with driven(service=BatchBench()) as driver:
        count = opened(driver)
        asked = {}
        for round_number in range(60):
            for _ in range(rng.randrange(40)):
                verb = rng.choice([("echo", 1), ("echo", 1), ("echo", 1), ("steps", 2, 1), ("wait", 0.001)])
                asked[driver.ask(*verb)] = verb
            for _ in range(rng.randrange(3)):
                driver.run(lambda: True)
            if round_number % 3:
                driver.place.hold()
                driver.run(lambda: driver.place.is_still)
                driver.place.release()
                continue
            lost = len(driver.lost)
            os.kill(pid_of(driver), signal.SIGKILL)
            driver.run(lambda lost=lost: len(driver.lost) > lost)
            _, _, (suspect, ran, unbegun) = driver.lost[-1]
            driver.put_back((*ran, *(() if suspect is None else (suspect,)), *unbegun))
            ready = len(driver.ready)
            driver.place.start(0, b"")
            driver.run(lambda ready=ready: len(driver.ready) > ready)
        driver.run(lambda: len(driver.done) == count + len(asked))
        driver.place.kill(0, Killed())
        driver.run(lambda: not driver.place.workers())
    assert driver.order[count:] == list(asked)
