"""A forked copy of a process makes anew what it cannot use as it is."""

from __future__ import annotations

import os

import pytest

from supervisors.places.copies import generation
from supervisors.renewals import Renewals, renewals


@pytest.mark.parametrize(("are_due", "made"), [(True, ["a", "b"]), (False, [])])
def test_all_is_made_anew_in_order_where_that_is_due(are_due: bool, made: list[str]) -> None:
    made_anew: list[str] = []
    kept = Renewals()
    kept.add(lambda: made_anew.append("a"))
    kept.add(lambda: made_anew.append("b"))
    kept.are_due = are_due
    kept.run()
    assert made_anew == made


def test_the_interpreter_runs_those_of_a_process_in_its_copies() -> None:
    assert renewals.are_due
    original = generation.number
    pid = os.fork()  # noqa: TID251  it is what is tested
    if pid == 0:
        os._exit(7 if generation.number == original + 1 else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert generation.number == original
