"""What follows a failure: of a message, and of a child. Pure decisions, values in and values out.

Owns the words STOP, CONTINUE, RETRY and SKIP, the waits between tries, and the intensity above
which restarts are a crash loop. Never carries anything out, reads no clock.
"""

from __future__ import annotations

import random as random_module
from collections import deque
from enum import Enum
from typing import NamedTuple

from supervisors.errors import SpecError


class Strategy(Enum):
    """What is given up when a message fails: the job, the message, time, or the routine."""

    STOP = "stop"
    CONTINUE = "continue"
    RETRY = "retry"
    SKIP = "skip"


class Backoff(NamedTuple):
    """Growing waits between tries.

    Args:
        delay: seconds before the first retry.
        factor: what each further wait is multiplied by.
        max_delay: seconds that no wait exceeds.
        jitter: fraction of a wait, 0.0 to 1.0, by which it may be shorter, at random.
    """

    delay: float = 0.1
    factor: float = 2.0
    max_delay: float = 30.0
    jitter: float = 0.0

    def delay_before(self, retry: int, random: random_module.Random) -> float:
        """Give the seconds to wait before the `retry`-th retry, counted from 1."""
        if self.delay <= 0.0:
            return 0.0
        # Past this exponent the cap has long been reached, and the power would overflow.
        wait = min(self.max_delay, self.delay * self.factor ** min(retry - 1, 512 if self.factor <= 2.0 else 64))
        return wait * (1.0 - self.jitter * random.random())


class Intensity(NamedTuple):
    """How many restarts within how many seconds are no crash loop yet (OTP's words)."""

    max_restarts: int = 3
    period: float = 5.0


class IntensityWindow:
    """Counts restarts in a sliding period."""

    def __init__(self, intensity: Intensity) -> None:
        if intensity.max_restarts < 0 or intensity.period <= 0.0:
            message = f"intensity: expected max_restarts >= 0 and period > 0, got {intensity}"
            raise SpecError(message)
        self.intensity = intensity
        self._times: deque[float] = deque(maxlen=intensity.max_restarts + 1)

    def record(self, now: float) -> bool:
        """Count a restart at clock reading `now`; True if there are now more than allowed."""
        self._times.append(now)
        return (
            len(self._times) > self.intensity.max_restarts and now - self._times[0] <= self.intensity.period
        )


class FailurePolicy(NamedTuple):
    """What to do about a message that failed.

    Args:
        strategy: what to do.
        max_retries: further tries after the first, for RETRY.
        backoff: waits before them.
        then: what follows the last one, or a failure that may not be retried.
        max_crashes: tries that may end in a death; None: as many as `max_retries` allows.
    """

    strategy: Strategy = Strategy.STOP
    max_retries: int = 3
    backoff: Backoff = Backoff(1.0)
    then: Strategy = Strategy.STOP
    max_crashes: int | None = None


class Decision(NamedTuple):
    """What becomes of a message that failed.

    Args:
        strategy: RETRY to try it again, else what its routine or job gives up.
        delay: seconds until the next try, for RETRY.
        gives_up: whether the message is a dead letter; a message kept by STOP is not.
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
