"""What a handler does once for its message: whole jobs, on the seeded host and on real threads and processes."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, JobStatus, Routine
from routilux.turn.outbox import COUNT_BOUND
from supervisors.places.scripted import Faults
from tests.runtime.seeded import SeededJob
from tests.runtime.test_seeded import SEEDS

RETRY = ErrorHandler("retry", max_retries=10_000, retry_delay=0.01)
FAULTS = Faults(crash=0.03, crash_before_commit=0.05, start_failure=0.02)
COUNT = 6
_numbers = itertools.count(1)


class Charging(Routine):
    """Charges twice for each message, fails at times, and emits what it was given; of a generator handler in steps."""

    def __init__(self, effects: dict[tuple[int, str], list[int]]) -> None:
        super().__init__()
        self.effects = effects
        self.given: dict[tuple[int, str], list[int]] = defaultdict(list)
        self.define_slot("trigger", self.handle)
        self.define_slot("steps", self.step)
        self.define_event("charged", ["n", "first", "second"])

    def charge(self, n: int, key: str) -> int:
        def fn() -> int:
            self.effects[n, key].append(next(_numbers))
            return self.effects[n, key][-1]

        number = self.once(key, fn)
        self.given[n, key].append(number)
        return number

    def handle(self, n: int) -> None:
        first = self.charge(n, "first")
        if n % 3 == 0 and self.attempt == 1:
            raise ValueError(n)
        self.emit("charged", n=n, first=first, second=self.charge(n, "second"))

    def step(self, n: int) -> Iterator[None]:
        first = self.charge(n, "first")
        yield
        if n % 3 == 0 and self.attempt == 1:
            raise ValueError(n)
        self.emit("charged", n=n, first=first, second=self.charge(n, "second"))


class Ledgering(Routine):
    """Writes down what came."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", self.handle)

    def handle(self, n: int, first: int, second: int) -> None:
        self.state.setdefault("came", []).append([n, first, second])


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize(("placement", "workers"), [("thread", 1), ("process", 1), ("process", 3)])
@pytest.mark.parametrize("slot", ["trigger", "steps"])
def test_what_was_recorded_is_what_is_used_in_every_order_of_steps_and_deaths(
    placement: str, workers: int, slot: str
) -> None:
    ran_again = 0
    for seed in SEEDS:
        effects: dict[tuple[int, str], list[int]] = defaultdict(list)
        routine = Charging(effects)
        flow = Flow("charging")
        options = {"placement": placement, "workers": workers, "max_restarts": 10_000} if placement == "process" else {}
        flow.add_routine(routine, "charging", error_handler=RETRY, **options)
        flow.add_routine(Ledgering(), "ledger")
        flow.connect("charging", "charged", "ledger", "input")
        job = SeededJob(flow, seed, FAULTS)
        for n in range(COUNT):
            job.send("charging", slot=slot, n=n)
        cut = job.run()

        told = f"seed {seed}"
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        came = job.state("ledger")["came"]
        assert sorted(n for n, _, _ in came) == [*range(COUNT)], told
        for n, first, second in came:
            for key, used in (("first", first), ("second", second)):
                # Once used it was recorded: no other result was ever given to a handler, and none was made after it.
                assert {*routine.given[n, key]} == {used}, told
                assert effects[n, key] == [used], told
        ran_again += sum(len(given) > 1 for given in routine.given.values())
        assert not any(account.in_hand for account in job.ledger.accounts)
    assert ran_again > len(SEEDS)


class Outside(Routine):
    """Has an effect outside, and ends badly after it in its first try."""

    def __init__(self, file: Path, end: str) -> None:
        super().__init__()
        self.file = file
        self.end = end
        self.hangs = threading.Event() if end == "hang" else None
        self.define_slot("trigger", self.handle)
        self.define_event("out", ["line", "attempt"])

    def handle(self) -> None:
        line = self.once("write", self.write)
        if self.attempt == 1 and not self.redelivered:
            self.end_badly()
        self.emit("out", line=line, attempt=self.attempt)

    def write(self) -> str:
        with self.file.open("a") as file:
            file.write(f"{self.message_id} {os.getpid()}\n")
        return self.lines()[-1]

    def lines(self) -> list[str]:
        return self.file.read_text().splitlines()

    def end_badly(self) -> None:
        if self.end == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.hangs is not None:
            self.hangs.wait()
        raise ValueError(self.end)


@pytest.mark.parametrize(
    ("end", "options"),
    [
        ("raise", {}),
        ("raise", {"timeout": 30.0}),
        ("hang", {"timeout": 0.3}),
        pytest.param("raise", {"placement": "process"}, marks=pytest.mark.processes),
        pytest.param("kill", {"placement": "process"}, marks=pytest.mark.processes),
        pytest.param("kill", {"placement": "process", "workers": 2, "timeout": 30.0}, marks=pytest.mark.processes),
    ],
)
def test_an_effect_outside_is_had_once_however_its_first_try_ends(
    end: str, options: dict[str, Any], tmp_path: Path
) -> None:
    routine = Outside(tmp_path / "effects", end)
    flow = Flow("outside")
    flow.add_routine(routine, "outside", error_handler=RETRY, **options)
    flow.output("outside", "out")
    try:
        with flow.start("outside") as job:
            results = list(job.results())
    finally:
        if routine.hangs is not None:
            routine.hangs.set()
    assert job.state.status == "completed", job.state.error
    assert len(routine.lines()) == 1
    assert results == [{"line": routine.lines()[0], "attempt": 2}]
    for thread in threading.enumerate():
        if "/handler " in thread.name:
            thread.join(30.0)


class Streaming(Routine):
    """Emits so much that it waits for those downstream, then does something once."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", self.handle)
        self.define_event("out", ["n"])

    def handle(self) -> None:
        for n in range(3 * COUNT_BOUND):
            self.emit("out", n=n)
        self.emit("out", n=self.once("last", lambda: -1))


@pytest.mark.parametrize("placement", ["thread", pytest.param("process", marks=pytest.mark.processes)])
def test_a_turn_that_streams_under_back_pressure_is_granted_in_order(placement: str) -> None:
    flow = Flow("streaming")
    flow.add_routine(Streaming(), "s", placement=placement)
    flow.output("s", "out", capacity=10)
    with flow.start("s") as job:
        seen = [item["n"] for item in job.results()]
    assert seen == [*range(3 * COUNT_BOUND), -1]


def test_what_was_recorded_stays_with_a_dead_letter_that_is_put_back(tmp_path: Path) -> None:
    class Twice(Outside):
        def end_badly(self) -> None:
            raise ValueError("given up")

    routine = Twice(tmp_path / "effects", "raise")
    flow = Flow("letters")
    flow.add_routine(routine, "outside", error_handler=ErrorHandler("continue"))
    flow.output("outside", "out")
    with flow.start("outside", keep_open=True) as job:
        while not job.dead_letters:
            threading.Event().wait(0.005)
        (letter,) = job.dead_letters
        assert [once.key for once in letter.message.once] == ["write"]
        job.redeliver(letter)
        job.close_entry()
        (result,) = job.results()
    assert [result["line"]] == routine.lines()


class Late(Outside):
    """Hangs before its effect, in its first try."""

    def handle(self) -> None:
        if self.attempt == 1 and self.hangs is not None:
            self.hangs.wait()
        super().handle()

    def end_badly(self) -> None:
        """Do nothing: that is tested elsewhere."""


def test_a_handler_that_was_given_up_has_no_effect_any_more(tmp_path: Path) -> None:
    routine = Late(tmp_path / "effects", "hang")
    assert routine.hangs is not None
    flow = Flow("late")
    flow.add_routine(routine, "late", timeout=0.3, error_handler=RETRY)
    flow.output("late", "out")
    try:
        with flow.start("late") as job:
            assert [item["attempt"] for item in job.results()] == [2]
    finally:
        routine.hangs.set()
    for thread in threading.enumerate():
        if "/handler " in thread.name:
            thread.join(30.0)
    assert len(routine.lines()) == 1
