"""One SIGKILL among 20 queued calls costs that call alone."""

from __future__ import annotations

import pytest

from benchmarks.one_kill import CALLS, run_routilux

pytestmark = [pytest.mark.faults, pytest.mark.processes]


@pytest.mark.parametrize(("strategy", "killed_too"), [("continue", False), ("retry", True)])
def test_one_kill_among_many_queued_calls_costs_that_call_alone_and_the_routine_serves_on(
    strategy: str, killed_too: bool
) -> None:
    kept = run_routilux(strategy)
    assert (kept.others, kept.killed, kept.serves_on) == (CALLS - 1, killed_too, True)
