from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.errors import SpecError
from supervisors.policy import (
    Backoff,
    Decision,
    FailurePolicy,
    Intensity,
    IntensityWindow,
    Strategy,
    decide_failed_message,
    decide_lost_child,
)

FLAT = Backoff(delay=1.0, factor=1.0)


def decide(policy: FailurePolicy, failures: int, crashes: int = 0, *, is_retryable: bool = True) -> Decision:
    return decide_failed_message(
        policy, failures=failures, crashes=crashes, is_retryable=is_retryable, random=random.Random(0)
    )


@pytest.mark.parametrize(
    ("policy", "failures", "crashes", "is_retryable", "expected"),
    [
        (FailurePolicy(), 1, 0, True, Decision(Strategy.STOP)),
        (FailurePolicy(), 1, 1, True, Decision(Strategy.STOP)),
        (FailurePolicy(Strategy.CONTINUE), 1, 0, True, Decision(Strategy.CONTINUE, gives_up=True)),
        (FailurePolicy(Strategy.SKIP), 1, 1, False, Decision(Strategy.SKIP, gives_up=True)),
        (FailurePolicy(Strategy.RETRY, 2, FLAT), 1, 0, True, Decision(Strategy.RETRY, 1.0)),
        (FailurePolicy(Strategy.RETRY, 2, FLAT), 2, 2, True, Decision(Strategy.RETRY, 1.0)),
        (FailurePolicy(Strategy.RETRY, 2, FLAT), 3, 0, True, Decision(Strategy.STOP, gives_up=True)),
        (FailurePolicy(Strategy.RETRY, 0, FLAT), 1, 0, True, Decision(Strategy.STOP, gives_up=True)),
        (FailurePolicy(Strategy.RETRY, 2, FLAT), 1, 0, False, Decision(Strategy.STOP, gives_up=True)),
        (FailurePolicy(Strategy.RETRY, 2, FLAT, Strategy.SKIP), 3, 0, True, Decision(Strategy.SKIP, gives_up=True)),
        (
            FailurePolicy(Strategy.RETRY, 2, FLAT, Strategy.CONTINUE),
            1,
            0,
            False,
            Decision(Strategy.CONTINUE, gives_up=True),
        ),
        (FailurePolicy(Strategy.RETRY, 9, FLAT, max_crashes=1), 1, 1, True, Decision(Strategy.RETRY, 1.0)),
        (FailurePolicy(Strategy.RETRY, 9, FLAT, max_crashes=1), 2, 2, True, Decision(Strategy.STOP, gives_up=True)),
        (FailurePolicy(Strategy.RETRY, 9, FLAT, max_crashes=0), 5, 0, True, Decision(Strategy.RETRY, 1.0)),
        (FailurePolicy(Strategy.RETRY, 9, FLAT, max_crashes=0), 1, 1, True, Decision(Strategy.STOP, gives_up=True)),
    ],
)
def test_what_becomes_of_a_failed_message(
    policy: FailurePolicy, failures: int, crashes: int, *, is_retryable: bool, expected: Decision
) -> None:
    assert decide(policy, failures, crashes, is_retryable=is_retryable) == expected


@given(st.integers(0, 20), st.sampled_from([s for s in Strategy if s is not Strategy.RETRY]))
def test_a_message_is_tried_once_and_max_retries_times_more(max_retries: int, then: Strategy) -> None:
    policy = FailurePolicy(Strategy.RETRY, max_retries, then=then)
    tries = 1
    while (decision := decide(policy, tries)).strategy is Strategy.RETRY:
        assert not decision.gives_up
        tries += 1
    assert tries == 1 + max_retries
    assert decision == Decision(then, gives_up=True)


@pytest.mark.parametrize(("n", "seconds"), [(1, 0.1), (2, 0.2), (3, 0.4), (9, 25.6), (10, 30.0), (10**9, 30.0)])
def test_waits_grow_up_to_their_cap(n: int, seconds: float) -> None:
    assert Backoff().delay_before(n, random.Random(0)) == pytest.approx(seconds)


@given(
    st.floats(0, 1e300),
    st.floats(1e-300, 1e300),
    st.floats(0, 1e300),
    st.floats(0, 1),
    st.integers(1, 10**6),
    st.integers(0, 100),
)
def test_every_wait_is_within_its_bounds(
    delay: float, factor: float, cap: float, jitter: float, n: int, seed: int
) -> None:
    backoff = Backoff(delay, factor, cap, jitter)
    whole = Backoff(delay, factor, cap).delay_before(n, random.Random(seed))
    wait = backoff.delay_before(n, random.Random(seed))
    assert 0.0 <= whole <= cap
    assert whole * (1 - jitter) * (1 - 1e-9) <= wait <= whole
    assert math.isfinite(wait)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Backoff(delay=-1), "backoff.delay: .*got -1"),
        (lambda: Backoff(delay=math.nan), "backoff.delay: .*got nan"),
        (lambda: Backoff(factor=0), "backoff.factor"),
        (lambda: Backoff(max_delay=-1), "backoff.max_delay"),
        (lambda: Backoff(jitter=1.5), "backoff.jitter"),
        (lambda: Intensity(-1), "intensity.max_restarts"),
        (lambda: Intensity(1, 0), "intensity.period"),
        (lambda: FailurePolicy(max_retries=-1), "max_retries"),
        (lambda: FailurePolicy(then=Strategy.RETRY), "then: .*RETRY"),
        (lambda: FailurePolicy(max_crashes=-1), "max_crashes"),
    ],
)
def test_values_out_of_their_range_are_refused_by_name(make: object, named: str) -> None:
    assert callable(make)
    with pytest.raises(SpecError, match=named):
        make()


@given(st.integers(0, 4), st.lists(st.floats(0, 20), max_size=30))
def test_the_window_counts_as_a_naive_list_does(max_restarts: int, times: list[float]) -> None:
    window = IntensityWindow(Intensity(max_restarts, 5.0))
    times.sort()
    for index, now in enumerate(times):
        recent = [time for time in times[: index + 1] if now - time <= 5.0]
        assert window.record(now) == (len(recent) > max_restarts)


def test_fruitless_deaths_count_and_work_done_resets_the_streak() -> None:
    window = IntensityWindow(Intensity(2, 5.0))

    def lose(streak: int, *, is_fruitful: bool) -> tuple[bool, float, int]:
        return decide_lost_child(
            window, Backoff(), streak=streak, is_fruitful=is_fruitful, now=0.0, random=random.Random(0)
        )

    assert lose(0, is_fruitful=False) == (False, 0.1, 1)
    assert lose(1, is_fruitful=False) == (False, 0.2, 2)
    assert lose(2, is_fruitful=True) == (False, 0.0, 0)
    assert lose(0, is_fruitful=False) == (True, 0.0, 1)
