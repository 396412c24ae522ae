"""A worker tells what it uses when that says something, and no more often."""

from __future__ import annotations

from supervisors.places.base import Used
from supervisors.places.ray.gauge import BUSY_PERCENT, Gauge, Reading, Scale, read_own


class Machine:
    """A clock and a process as a script has them."""

    def __init__(self) -> None:
        self.now = 100.0
        self.reading = Reading(5.0, 1.0, 1_000, 2_000)
        self.reads = 0
        self.gauge = Gauge(self.read, lambda: self.now)

    def read(self) -> Reading:
        self.reads += 1
        return self.reading

    def spend(self, seconds: float, of: float, others: float = 0.0) -> None:
        """Let time pass, some of which it is at work."""
        self.now += of
        before = self.reading
        self.reading = before._replace(
            cpu_seconds=before.cpu_seconds + seconds, others_cpu_seconds=before.others_cpu_seconds + others
        )


def test_the_first_look_is_told_and_further_ones_of_an_idle_worker_are_not() -> None:
    machine = Machine()
    machine.spend(0.0, 1.0)
    assert machine.gauge.look() == Used(0.0, 0.0, 1_000, 2_000)
    for _ in range(3):
        machine.spend(0.01, 1.0)
        assert machine.gauge.look() is None


def test_a_busy_one_is_told_each_second_and_once_when_it_is_no_more() -> None:
    machine = Machine()
    told = []
    for seconds in (0.5, 1.0, 0.0, 0.0, 1.0):
        machine.spend(seconds, 1.0)
        told.append(machine.gauge.look())
    shares = [None if used is None else used.cpu_percent for used in told]
    assert shares == [50.0, 100.0, 0.0, None, 100.0]
    assert told[-1] == Used(2.5, 100.0, 1_000, 2_000)


def test_within_a_second_nothing_is_even_read() -> None:
    machine = Machine()
    for _ in range(9):
        machine.spend(0.1, 0.1)
        assert machine.gauge.look() is None
    assert machine.reads == 1


def test_what_it_has_started_counts_in_the_sum_and_in_no_share() -> None:
    machine = Machine()
    machine.spend(0.5, 1.0, others=30.0)
    assert machine.gauge.take() == Used(30.5, 50.0, 1_000, 2_000)


def test_its_own_process_is_read() -> None:
    reading = read_own()
    assert reading.cpu_seconds > 0
    assert 0 < reading.rss_bytes <= reading.peak_bytes
    assert BUSY_PERCENT > 0


def test_its_weight_is_read_once_in_a_period_however_often_it_is_asked_for() -> None:
    now, weights = [100.0], iter([10, 20, 30])
    scale = Scale(lambda: next(weights), 0.1, lambda: now[0])
    told = []
    for _ in range(9):
        told.append(scale.weigh())
        now[0] += 0.03125
    assert told == [10, 10, 10, 10, 20, 20, 20, 20, 30]
