"""What is measured, of contestants that are in no other process."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.measures import ARRAY_SIZES_MB, measure_arrays, measure_cost, measure_rate, measure_trips
from benchmarks.work import TINY, Tally, WrongResultError, answer, step_a, step_b


class Direct:
    """Answers at once, in the same thread."""

    payload: Any = TINY
    answer: Any = None

    def __init__(self) -> None:
        self.runs: list[int] = []
        self.is_prepared = False

    def prepare(self) -> None:
        self.is_prepared = True

    def run(self, n: int) -> None:
        assert self.is_prepared
        self.runs.append(n)
        self.answer = answer(self.payload)

    def close(self) -> None:
        pass


class Forgetful(Direct):
    """Answers with nothing but zeros."""

    def run(self, n: int) -> None:
        self.answer = {} if self.payload is TINY else self.payload * 0


def test_a_rate_is_that_of_the_whole_size_after_a_warm_up() -> None:
    direct = Direct()
    assert set(measure_rate(direct, 100)) == {"rate", "cpu", "kernel", "memory"}
    assert direct.runs == [5, 100]


def test_a_cost_is_told_in_turns_of_the_loop() -> None:
    assert measure_cost(Direct(), 10)["cost"] >= 0


def test_trips_are_made_one_by_one_alone_and_at_half_load() -> None:
    direct = Direct()
    found = measure_trips(direct, 30)
    assert direct.runs[1:] == [1] * 60
    assert 0 < found["p50"] <= found["p99"]
    assert 0 < found["p50 at half load"] <= found["p99 at half load"]


def test_arrays_of_all_sizes_are_carried() -> None:
    assert set(measure_arrays(Direct(), 1)) == {f"{size} MB" for size in ARRAY_SIZES_MB}


@pytest.mark.parametrize("measure", [measure_trips, measure_arrays])
def test_a_wrong_answer_has_no_figures(measure: Any) -> None:
    with pytest.raises(WrongResultError, match="wrong answer"):
        measure(Forgetful(), 1)


def test_a_tally_takes_each_message_once_and_worked_on() -> None:
    tally = Tally()
    tally.expect(3)
    for number in range(3):
        tally.take(step_b(step_a(number)))
    tally.wait_done()


@pytest.mark.parametrize("numbers", [[2, 4, 4], [1, 2, 3]])
def test_a_tally_refuses_what_was_doubled_or_not_worked_on(numbers: list[int]) -> None:
    tally = Tally()
    tally.expect(3)
    for number in numbers:
        tally.take(number)
    with pytest.raises(WrongResultError, match="expected 3 messages that add up to 12"):
        tally.wait_done()
