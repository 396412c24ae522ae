"""How a pipeline is measured: one run, many interleaved rounds, medians and ratios.

Owns the clock and the check that a run did its work. Knows no contender.

What is timed is the way of the messages alone: from just before the first one is fed in until the
last one has reached the sink. Processes and threads are started before, and one message has gone
all the way through; they are ended after. Rounds are interleaved and each begins with another
contender, so that a machine that slows down does so for all; ratios are taken within a round.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

DEADLINE = 60.0
"""Seconds after which a run that has not ended is given up (arbitrary)."""

Feed = Callable[[int], None]
"""Puts so many messages in, numbered from 0; may return before they have arrived."""


class WrongResultError(Exception):
    """A pipeline lost, doubled or changed messages: its rate means nothing."""


class Tally:
    """The sink of a pipeline: counts messages and adds up their numbers. One thread calls `take`."""

    def __init__(self) -> None:
        self.finished_at = 0.0
        self.expect(0)

    def expect(self, messages: int) -> None:
        """Begin anew, for so many messages; called while nothing is on its way."""
        self._expected = messages
        self._count = 0
        self._total = 0
        self._done = threading.Event()

    def take(self, number: int) -> None:
        """Take the number of one message that arrived."""
        self._count += 1
        self._total += number
        if self._count == self._expected:
            self.finished_at = time.perf_counter()
            self._done.set()

    def wait_done(self) -> None:
        """Wait until what is expected has arrived.

        Raises:
            WrongResultError: it has not, within `DEADLINE` seconds.
        """
        if not self._done.wait(DEADLINE):
            raise WrongResultError(f"{self._count} of {self._expected} messages arrived within {DEADLINE:g} s")

    def verify(self) -> None:
        """Check, after the pipeline has ended, that each message came once and was worked on.

        Raises:
            WrongResultError: it was not so.
        """
        expected = sum(step_b(step_a(number)) for number in range(self._expected))
        if (self._count, self._total) != (self._expected, expected):
            raise WrongResultError(
                f"expected {self._expected} messages that add up to {expected}, got {self._count} and {self._total}"
            )


def step_a(number: int) -> int:
    """Do the work of the first stage: next to nothing, so that the way of the message is what costs."""
    return number + 1


def step_b(number: int) -> int:
    """Do the work of the second stage."""
    return number * 2


class Contender(NamedTuple):
    """One way to build the pipeline source -> A -> B -> sink.

    Args:
        name: what the table calls it.
        open: starts the pipeline before the given tally and gives its feed; ends it on exit.
        divisor: it gets the messages of a round divided by this; for those that would take too long.
    """

    name: str
    open: Callable[[Tally], AbstractContextManager[Feed]]
    divisor: int = 1


class Summary(NamedTuple):
    """What the rounds of one contender come to, in messages a second and as ratios of rates."""

    name: str
    messages: int
    median: float
    slowest: float
    fastest: float
    ratios: dict[str, float]


def measure_rate(contender: Contender, messages: int) -> float:
    """Run `messages` through one contender; messages a second.

    Raises:
        WrongResultError: messages were lost, doubled or changed, or took longer than `DEADLINE`.
    """
    tally = Tally()
    gc.collect()
    with contender.open(tally) as feed:
        tally.expect(1)
        feed(1)
        tally.wait_done()
        tally.expect(messages)
        started_at = time.perf_counter()
        feed(messages)
        tally.wait_done()
    tally.verify()
    return messages / (tally.finished_at - started_at)


def run_rounds(
    contenders: Sequence[Contender], messages: int, rounds: int, limit: float, report: Callable[[str], None]
) -> dict[str, list[float]]:
    """Measure all contenders, round by round; rates by name, in the order of the rounds.

    Args:
        contenders: who takes part.
        messages: messages a run.
        rounds: how many rounds, if time allows.
        limit: seconds after which no further round begins; the first always runs.
        report: told about each run as it ends.
    """
    rates: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    started_at = time.perf_counter()
    for number in range(rounds):
        if number and time.perf_counter() - started_at > limit:
            report(f"stopped after {number} of {rounds} rounds: the limit of {limit:g} s is over")
            break
        first = number % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            rate = measure_rate(contender, max(1, messages // contender.divisor))
            rates[contender.name].append(rate)
            report(f"round {number + 1}: {contender.name} {rate:,.0f}/s")
    return rates


def summarize(
    contenders: Sequence[Contender], messages: int, rates: dict[str, list[float]], references: Sequence[str]
) -> list[Summary]:
    """Condense the rates of all rounds; a ratio is the median of the ratios within each round."""
    return [
        Summary(
            name=contender.name,
            messages=max(1, messages // contender.divisor),
            median=statistics.median(rates[contender.name]),
            slowest=min(rates[contender.name]),
            fastest=max(rates[contender.name]),
            ratios={name: _median_ratio(rates[contender.name], rates[name]) for name in references},
        )
        for contender in contenders
    ]


def _median_ratio(rates: list[float], reference: list[float]) -> float:
    return statistics.median(rate / other for rate, other in zip(rates, reference, strict=True))
