"""What every test runs under: the leak check, and the settings of hypothesis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import leaks

# Derandomized: the same examples at each run, so that a red test is red again and a green one stays green.
# `make stress` draws new ones each time; it prints the seed and, for a failure, the line that repeats it.
_COMMON = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("tests", _COMMON, derandomize=True, max_examples=50, stateful_step_count=30)
settings.register_profile("stress", _COMMON, max_examples=2_000, stateful_step_count=60)
settings.load_profile("tests")


def pytest_configure() -> None:
    """Mark this run's processes before the first one is started."""
    leaks.mark_run()


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves a process, thread, descriptor or shared-memory name behind.

    It is the first fixture of a test to be set up, so what the others close is closed when it looks.
    """
    before = leaks.take_stock()
    yield
    left = leaks.find_leaks(before)
    if left:
        pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)
