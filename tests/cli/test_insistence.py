"""What signals do that come again and again, but for what only a terminal shows (see `test_ctrl_c`)."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from routilux.cli.insistence import insisting, tell_first, tell_second, tell_third

ROOT = Path(__file__).resolve().parents[2]


class FakeJob(NamedTuple):
    id: str = "a\x1b1"
    store: str | None = None


ALONE: Any = FakeJob()
KEPT: Any = FakeJob(store="the folder 'jobs'")


@pytest.mark.parametrize(
    ("job", "told"),
    [
        (
            ALONE,
            [
                r"cancelling job a\x1b1: what is in hand is given a moment to end",
                "  once more ends it at once; a third time kills this program",
                "ending what is in hand now (once more kills this program)",
                r"killed; job a\x1b1 was not kept",
            ],
        ),
        (
            KEPT,
            [
                r"pausing job a\x1b1: what is in hand is given a moment to end",
                "  once more puts it back at once, to be run again; a third time kills this program",
                "putting back what is in hand, to be run again now (once more kills this program)",
                r"killed; job a\x1b1 is kept in the folder 'jobs' as of its last checkpoint, to be resumed",
            ],
        ),
    ],
)
def test_each_signal_says_what_it_does_and_what_the_next_one_would(job: Any, told: list[str]) -> None:
    assert [*tell_first(job).split("\n"), tell_second(job), tell_third(job)] == told


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_signals_are_counted_inside_alone_and_by_the_outer_one_of_two() -> None:
    before = handlers()
    with insisting(ALONE, io.StringIO()):
        outer = handlers()
        assert outer[0] is not before[0]
        assert outer[1] is before[1] is signal.SIG_DFL  # it has no handler in Python
        with insisting(ALONE, io.StringIO()):
            assert handlers() == outer
        assert handlers() == outer
    assert handlers() == before


def test_the_first_two_come_out_as_they_would_and_the_second_is_told() -> None:
    read, write = os.pipe()
    with os.fdopen(read) as told, os.fdopen(write, "w") as out, insisting(ALONE, out):
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert told.readline() == "ending what is in hand now (once more kills this program)\n"


def test_what_cannot_be_told_hinders_nothing() -> None:
    with insisting(ALONE, io.StringIO()):  # it has no descriptor
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)


@pytest.mark.processes
def test_the_third_ends_a_program_whose_words_nobody_takes() -> None:
    program = """
import os, signal
from routilux.cli.insistence import insisting
from tests.cli.test_insistence import ALONE
read, write = os.pipe()
os.set_blocking(write, False)
try:
    while True:
        os.write(write, bytes(4096))
except BlockingIOError:
    os.set_blocking(write, True)
with os.fdopen(write, "w") as out, insisting(ALONE, out):
    for _ in range(3):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            pass
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False)
    assert ended.returncode == 130


def test_a_thread_that_no_signal_reaches_counts_none() -> None:
    before, inside = handlers(), []

    def wait() -> None:
        with insisting(ALONE, io.StringIO()):
            inside.extend(handlers())

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    assert inside == before == handlers()
