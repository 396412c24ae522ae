"""A forked copy of a process makes anew what it cannot use as it is."""

from __future__ import annotations

import os
import subprocess
import sys

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


TAKING_OVER = """
import os
from supervisors.renewals import renewals

told = []
def tell(word):
    return lambda: told.append(word)

register = os.register_at_fork
with renewals.taking_over():
    os.register_at_fork(before=tell("first before"), after_in_parent=tell("behind"))
    renewals.add(tell("renewal"))
    os.register_at_fork(before=tell("last before"), after_in_child=tell("in the copy"))
assert os.register_at_fork is register
register(after_in_child=tell("always"))
renewals.are_due = {are_due}
if os.fork() == 0:
    print("copy:", *told, sep=", ", flush=True)
    os._exit(0)
os.wait()
print("original:", *told, sep=", ")
"""
ORIGINAL = "original:, last before, first before, behind"


@pytest.mark.parametrize(
    ("are_due", "expected"),
    [
        (True, ["copy:, last before, first before, renewal, in the copy, always", ORIGINAL]),
        (False, ["copy:, always", "original:"]),
    ],
)
def test_what_others_register_meanwhile_is_due_with_the_renewals(are_due: bool, expected: list[str]) -> None:
    program = TAKING_OVER.format(are_due=are_due)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == expected
