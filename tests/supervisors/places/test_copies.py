"""A process is told from its copies, however these were made."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

import pytest

from supervisors.places import copies
from supervisors.places.copies import Mark, make_mark
from tests.supervisors.places.bench import Bench, driven


def fork() -> int:
    return os.fork()  # noqa: TID251  it is what is tested


def fork_past_the_interpreter() -> int:
    # Not by `CDLL`, which lets the interpreter go for the call: in the copy nobody would give it back.
    pid: int = ctypes.PyDLL(None).fork()
    return pid


@pytest.mark.parametrize("make", [make_mark, copies._ProcessMark])
@pytest.mark.parametrize("copy", [fork, fork_past_the_interpreter])
def test_a_mark_is_set_where_it_was_made_and_not_in_a_copy(make: Callable[[], Mark], copy: Callable[[], int]) -> None:
    mark = make()
    pid = copy()
    if pid == 0:
        os._exit(7 if mark[0] else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    assert mark[0]


class Copying(Bench):
    """Makes a copy of its process that nobody counts, and waits for its end."""

    def copy(self, _port: object) -> int:
        pid = fork_past_the_interpreter()
        return 0 if pid == 0 else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.processes
def test_a_copy_made_past_the_interpreter_ends_where_its_request_returns() -> None:
    with driven(service=Copying()) as driver:
        asked = driver.ask("copy")
        behind = [driver.ask("echo", n) for n in range(5)]
        driver.run(lambda: len(driver.done) == 6)
    assert driver.done == {asked: 0, **dict(zip(behind, range(5), strict=True))}
    assert driver.order == [asked, *behind]
