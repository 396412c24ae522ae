"""What is measured while a job runs: how long its turns take and its messages wait, and how many there are a second.

Owns the accumulating, within a bound. Never counts what the ledger counts: figures are read there, and are exact. Pure:
it is handed durations in batches, and the clock's readings with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from routilux.facts import Commits, Fact
from routilux.moments import Moments
from routilux.tracking.sketch import Histogram, Sketch

RECENT_SECONDS = 60
"""What "lately" is: the last minute."""


SAMPLES = 16
"""Turns of a routine that are samples in any case of each batch of facts; of `n` times as many about every n-th is.
With all of them measuring cost a job of trivial turns a twentieth of its processor time (`benchmarks.keeping`)."""


class Times(NamedTuple):
    """What the turns of one routine took that were committed since this was last asked for.

    Args:
        routine: index of the routine.
        turns: how many there were.
        seconds: what they took together.
        longest: what one took at most, of these and all before: who had to know it of these alone would look at each.
        samples: of the first and of every so-manieth, the seconds it took, and those its message had waited.
    """

    routine: int
    turns: int
    seconds: float
    longest: float
    samples: list[tuple[float, float]]


class Spent(NamedTuple):
    """What the processes of one worker have used that have ended.

    Args:
        cpu_seconds: processor time, with that of what they had started and waited for.
        peak_bytes: resident memory of one of them at most; 0 where that is not known.
    """

    cpu_seconds: float = 0.0
    peak_bytes: int = 0


class Measured(msgspec.Struct, frozen=True):
    """What was measured of one routine.

    Args:
        turns: how long its committed turns took.
        waits: how long the messages of those had waited.
        recent: how many there were in the last `recent_seconds`.
        recent_seconds: a minute, or less where the job has not run for one.
    """

    turns: Sketch = msgspec.field(default_factory=Sketch)
    waits: Sketch = msgspec.field(default_factory=Sketch)
    recent: int = 0
    recent_seconds: float = 0.0


class Measures(NamedTuple):
    """What was measured of a job.

    Args:
        at: clock reading at which that was.
        seconds: how long it has run, in all its programs together; pauses do not count.
        routines: of each routine, in the plan's order.
    """

    at: float
    seconds: float
    routines: tuple[Measured, ...]


class Recent:
    """How many turns there were in each of the last seconds: a ring."""

    def __init__(self) -> None:
        self._counts = [0] * RECENT_SECONDS
        self._seconds = [-RECENT_SECONDS] * RECENT_SECONDS
        """Which second each count is of."""

    def add(self, second: int, count: int) -> None:
        """Count turns of a second."""
        slot = second % RECENT_SECONDS
        if self._seconds[slot] != second:
            if second < self._seconds[slot]:
                return  # over a minute late
            self._seconds[slot], self._counts[slot] = second, 0
        self._counts[slot] += count

    def count(self, now: float) -> int:
        """Count those of the last minute."""
        first = int(now) - RECENT_SECONDS
        return sum(count for second, count in zip(self._seconds, self._counts, strict=True) if second > first)


class _Clock(NamedTuple):
    """When the job began to run here, what of that it was paused, and since when it stands still; None: it does not."""

    began_at: float
    paused_seconds: float
    stopped_at: float | None

    def read(self, now: float) -> float:
        """Give the moment, pauses not counted."""
        return (now if self.stopped_at is None else self.stopped_at) - self.paused_seconds


class _Meter(NamedTuple):
    turns: Histogram
    waits: Histogram
    recent: Recent


class Meters:
    """All that is measured of one job. For one thread, but for `seconds`.

    Args:
        routines: how many there are.
        before: what earlier runners of the job have measured; None for a new job.
    """

    def __init__(self, routines: int, before: Measures | None = None) -> None:
        self._seconds_before = 0.0 if before is None else before.seconds
        known = (Measured(),) * routines if before is None else before.routines
        self._meters = tuple(_Meter(Histogram(one.turns), Histogram(one.waits), Recent()) for one in known)
        self._clock = _Clock(0.0, 0.0, 0.0)
        """Replaced as a whole: any thread may read it."""

    def begin(self, now: float) -> None:
        """Take note of when the job begins to run here."""
        self._clock = _Clock(now, 0.0, None)

    def stop(self, now: float) -> None:
        """Let no time pass from here on: the job is paused, or over; nothing happens if it is so already."""
        if self._clock.stopped_at is None:
            self._clock = self._clock._replace(stopped_at=now)

    def go_on(self, now: float) -> None:
        """Let time pass again; nothing happens if it does."""
        began_at, paused_seconds, stopped_at = self._clock
        if stopped_at is not None:
            self._clock = _Clock(began_at, paused_seconds + now - stopped_at, None)

    def seconds(self, now: float) -> float:
        """Tell how long the job has run, in all its programs together, pauses not counted. Any thread may ask."""
        clock = self._clock
        return self._seconds_before + max(0.0, clock.read(now) - clock.began_at)

    def extend(self, times: Iterable[Times], facts: Sequence[Fact | Commits]) -> None:
        """Take in what turns took.

        Args:
            times: what they took.
            facts: those of the same turns among others, about in the order of their times.
        """
        if not facts:
            return
        meters, paused = self._meters, self._clock.paused_seconds
        second = int(_times_of(facts[0])[0] - paused)
        is_one_second = second == int(facts[-1].at - paused)
        for routine, count, seconds, longest, samples in times:
            meter = meters[routine]
            turns, waits = zip(*samples, strict=True)
            meter.turns.add(turns, count, seconds, longest)
            meter.waits.add(waits, count, sum(waits) * count / len(waits), max(waits))
            if is_one_second:
                meter.recent.add(second, count)
        if not is_one_second:  # of a job that is not very busy
            for fact in facts:
                if fact.kind == "committed":
                    for at, count in _count_by_second(fact, paused):
                        meters[fact.routine].recent.add(at, count)

    def measure(self, now: float) -> Measures:
        """Give what was measured so far; it does not change with what comes."""
        clock, seconds = self._clock.read(now), self.seconds(now)
        window = min(float(RECENT_SECONDS), seconds - self._seconds_before)
        return Measures(
            now,
            seconds,
            tuple(
                Measured(meter.turns.sketch(), meter.waits.sketch(), meter.recent.count(clock), window)
                for meter in self._meters
            ),
        )


def _count_by_second(fact: Fact | Commits, paused: float) -> Iterable[tuple[int, int]]:
    """Count the turns of each second."""
    times = _times_of(fact)
    first = int(times[0] - paused)
    if first == int(times[-1] - paused):
        return ((first, len(times)),)
    return Counter(int(at - paused) for at in times).items()


def _times_of(fact: Fact | Commits) -> Sequence[float] | Moments:
    return fact.ats if isinstance(fact, Commits) else (fact.at,)
