"""What follows a failure: of a message, and of a child. Pure decisions, values in and values out.

Owns the words STOP, CONTINUE, RETRY and SKIP, the waits between tries, and the intensity above
which restarts are a crash loop. Never carries anything out, reads no clock.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from supervisors.errors import SpecError

if TYPE_CHECKING:
    import random as random_module

_MAX_EXPONENT = 1_024
"""Retries beyond which waits grow no further (arbitrary: the cap has long been reached)."""


def _check(name: str, value: object, expected: str, *, holds: bool) -> None:
    # A NaN holds no comparison, so it is refused as well.
    if not holds:
        raise SpecError(f"{name}: expected {expected}, got {value!r}")


class Strategy(Enum):
    """What is given up when a message fails: the job, the message, time, or the routine."""

    STOP = "stop"
    CONTINUE = "continue"
    RETRY = "retry"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Backoff:
    """Growing waits between tries.

    Args:
        delay: seconds before the first retry.
        factor: what each further wait is multiplied by; more than 0.
        max_delay: seconds that no wait exceeds.
        jitter: fraction of a wait, 0.0 to 1.0, by which it may be shorter, at random.

    Raises:
        SpecError: a value is not a number in its range.
    """

    delay: float = 0.1
    factor: float = 2.0
    max_delay: float = 30.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        _check("backoff.delay", self.delay, "a number of seconds, 0 or more", holds=self.delay >= 0)
        _check("backoff.factor", self.factor, "a number more than 0", holds=self.factor > 0)
        _check("backoff.max_delay", self.max_delay, "a number of seconds, 0 or more", holds=self.max_delay >= 0)
        _check("backoff.jitter", self.jitter, "a fraction from 0 to 1", holds=0 <= self.jitter <= 1)

    def delay_before(self, n: int, random: random_module.Random) -> float:
        """Give the seconds to wait before the `n`-th retry, counted from 1."""
        try:
            grown = self.delay * self.factor ** min(n - 1, _MAX_EXPONENT)
        except OverflowError:
            grown = math.inf if self.delay > 0 else 0.0
        return min(self.max_delay, grown) * (1.0 - self.jitter * random.random())


@dataclass(frozen=True, slots=True)
class Intensity:
    """How many restarts within how many seconds are no crash loop yet (OTP's words).

    Args:
        max_restarts: restarts that are allowed within `period`; 0: none ever.
        period: seconds.

    Raises:
        SpecError: a value is not a number in its range.
    """

    max_restarts: int = 3
    period: float = 5.0

    def __post_init__(self) -> None:
        _check("intensity.max_restarts", self.max_restarts, "0 or more", holds=self.max_restarts >= 0)
        _check("intensity.period", self.period, "a number of seconds, more than 0", holds=self.period > 0)


class IntensityWindow:
    """Counts restarts in a sliding period."""

    def __init__(self, intensity: Intensity) -> None:
        self.intensity = intensity
        self._times: deque[float] = deque(maxlen=intensity.max_restarts + 1)

    def record(self, now: float) -> bool:
        """Count a restart at clock reading `now`; True if there are now more than allowed."""
        self._times.append(now)
        return len(self._times) > self.intensity.max_restarts and now - self._times[0] <= self.intensity.period


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """What to do about a message that failed.

    Args:
        strategy: what to do.
        max_retries: further tries after the first, for RETRY.
        backoff: waits before them.
        then: what follows the last one, or a failure that may not be retried; never RETRY.
        max_crashes: deaths after which it is still tried again; None: as many as `max_retries` allows.

    Raises:
        SpecError: a value is not in its range.
    """

    strategy: Strategy = Strategy.STOP
    max_retries: int = 3
    backoff: Backoff = Backoff()
    then: Strategy = Strategy.STOP
    max_crashes: int | None = None

    def __post_init__(self) -> None:
        _check("max_retries", self.max_retries, "0 or more", holds=self.max_retries >= 0)
        _check("then", self.then, "STOP, CONTINUE or SKIP", holds=self.then is not Strategy.RETRY)
        if self.max_crashes is not None:
            _check("max_crashes", self.max_crashes, "0 or more, or None", holds=self.max_crashes >= 0)


class Decision(NamedTuple):
    """What becomes of a message that failed.

    Args:
        strategy: RETRY to try it again, else what its routine or job gives up.
        delay: seconds until the next try, for RETRY.
        gives_up: whether the message is a dead letter; one that STOP keeps at once is not, one
            that STOP ends the job for after the last retry is.
    """

    strategy: Strategy
    delay: float = 0.0
    gives_up: bool = False


def decide_failed_message(
    policy: FailurePolicy, *, failures: int, crashes: int, is_retryable: bool, random: random_module.Random
) -> Decision:
    """Decide what becomes of a message that has just failed.

    Args:
        policy: what is wanted.
        failures: its tries that ended badly, this one included.
        crashes: those of them that were deaths.
        is_retryable: whether the failure is of a kind that may be tried again.
        random: source of the jitter.
    """
    match policy.strategy:
        case Strategy.STOP:
            return Decision(Strategy.STOP)
        case Strategy.CONTINUE | Strategy.SKIP:
            return Decision(policy.strategy, gives_up=True)
        case Strategy.RETRY:
            too_deadly = policy.max_crashes is not None and crashes > policy.max_crashes
            if is_retryable and failures <= policy.max_retries and not too_deadly:
                return Decision(Strategy.RETRY, policy.backoff.delay_before(failures, random))
            return Decision(policy.then, gives_up=True)


class LostChild(NamedTuple):
    """What becomes of a child that was lost.

    Args:
        escalates: whether it dies too often, and its supervisor is to give up.
        delay: seconds until it is started again, unless that is so.
        streak: its deaths in a row without work done, to be handed to the next decision.
    """

    escalates: bool
    delay: float
    streak: int


def decide_lost_child(
    window: IntensityWindow,
    backoff: Backoff,
    *,
    streak: int,
    is_fruitful: bool,
    now: float,
    random: random_module.Random,
) -> LostChild:
    """Decide whether a lost child is started again, and when.

    Args:
        window: the restarts so far; a fruitless death is counted there.
        backoff: waits before restarts.
        streak: deaths in a row without work done, before this one.
        is_fruitful: whether it got work done since it was started: such a one is no crash loop,
            is replaced at once and counts as no restart.
        now: clock reading, in seconds.
        random: source of the jitter.
    """
    if is_fruitful:
        return LostChild(escalates=False, delay=0.0, streak=0)
    streak += 1
    if window.record(now):
        return LostChild(escalates=True, delay=0.0, streak=streak)
    return LostChild(escalates=False, delay=backoff.delay_before(streak, random), streak=streak)
