"""A program that is killed leaves no process behind, whatever its flows were doing (`orphans` kills many more)."""

from __future__ import annotations

import sys

import pytest

from tests.faults.orphans import kill_all, make_plans

pytestmark = [pytest.mark.faults, pytest.mark.processes]


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death is noticed by the kernel on Linux alone")
def test_programs_that_are_killed_at_random_moments_leave_no_process_behind() -> None:
    told = list(kill_all(make_plans(8, seed=4), at_once=4))
    assert [(one.plan, one.aftermath.left) for one in told if one.aftermath.left] == []
    assert max(one.aftermath.seen for one in told) > 4  # there was something to be left
