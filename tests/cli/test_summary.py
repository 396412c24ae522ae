from __future__ import annotations

import pytest

from routilux import Flow
from routilux.cli.picture import draw_job
from routilux.cli.summary import CAUSES_SHOWN, group_causes, kind_of, summarize, tell_example
from routilux.facts import Fact
from routilux.ids import to_bytes
from routilux.jobs.history import HistoryCut
from routilux.jobs.machine import JobStatus
from routilux.routing import compile_plan, names_of
from supervisors.reasons import (
    Abandoned,
    Crashed,
    DeadlineExceeded,
    ErrorRecord,
    Killed,
    OutOfMemory,
    Reason,
    StartFailed,
)
from tests.cli.views import busy_job, letter, raised, state
from tests.runtime import shapes

ID = "0" * 8
CENSUS = f"""\
census, job ab12: completed after 2.0 s
routine  status     handled  per s  failed  retries  restarts  dead  skipped  left
parse    completed      200    100       3        1         1     2        0     0
given up: 2
  2 x parse: raised SyntaxError
      such as message {ID}: null bytes"""


def test_a_summary_tells_the_end_the_figures_and_the_causes() -> None:
    letters = [
        letter(raised("SyntaxError", "invalid syntax (a.py, line 3)")),
        letter(raised("SyntaxError", "null bytes")),
    ]
    assert summarize(state(dead_letters=letters)) == CENSUS


def test_a_narrow_summary_leaves_columns_out() -> None:
    lines = summarize(state(), 50).split("\n")
    assert lines[1] == "routine  handled  failed  restarts  dead  left"


def test_what_is_left_goes_last_from_a_narrow_summary() -> None:
    assert summarize(state(), 22).split("\n")[1] == "routine  handled  left"


@pytest.mark.parametrize(
    ("status", "word"),
    [("paused", "paused"), ("failed", "stopped"), ("cancelled", "cancelled"), ("running", "running")],
)
def test_a_routine_of_a_job_that_rests_does_not_run(status: str, word: str) -> None:
    told = state(status=JobStatus(status))
    told.update_routine_state("parse", status="running")
    assert summarize(told).split("\n")[2].split()[:2] == ["parse", word]
    told.update_routine_state("parse", status="error_continued")
    assert summarize(told).split("\n")[2].split()[:2] == ["parse", "error_continued"]
    lines = draw_job(busy_job()._replace(status=status), 160)
    assert lines[2].text.split()[:2] == ["read", word]


def test_the_error_of_a_failed_job_is_told_escaped() -> None:
    text = summarize(state(status=JobStatus.FAILED, error="routine 'parse': raised ValueError: \x1b[2J"))
    assert text.split("\n")[1] == r"  routine 'parse': raised ValueError: \x1b[2J"


def test_causes_are_grouped_by_routine_and_kind_the_most_frequent_first() -> None:
    letters = [
        letter(raised("ValueError", "row 1"), "load"),
        letter(Crashed(signal=9, pid=12, peak_bytes=2**20)),
        letter(raised("ValueError", "row 1")),
        letter(Crashed(signal=9, pid=13, peak_bytes=2**21)),
        letter(raised("ValueError", "row 2")),
        letter(raised("ValueError", "row 3")),
    ]
    assert group_causes(letters) == [
        ("parse", "raised ValueError", 3, letters[5]),
        ("parse", "process was ended by SIGKILL", 2, letters[3]),
        ("load", "raised ValueError", 1, letters[0]),
    ]


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (raised("mine.Odd", "a\nb: c"), "raised mine.Odd"),
        (raised("KeyError"), "raised KeyError"),
        (Crashed(exit_code=3, pid=7), "process exited with code 3 without finishing its work"),
        (OutOfMemory(7, 2**30), "process was ended by the system as memory ran out"),
        (Killed(7), "process was killed"),
        (DeadlineExceeded(2.0, 7), "took longer than 2 s and was ended"),
        (StartFailed(ErrorRecord("E", "no\nway", "")), "could not start: E: no"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_kind_of_a_cause_leaves_out_what_is_different_each_time(reason: Reason, kind: str) -> None:
    assert kind_of(reason) == kind


TRACEBACK = """Traceback (most recent call last):
  File "/home/user/mine.py", line 3, in handle
    parse(text)
  File "/home/user/parts/other.py", line 12, in parse
    raise ValueError(text)
ValueError: row 17
"""
FAULT = (
    "Fatal Python error: Segmentation fault",
    "Current thread 0x00007f (most recent call first):",
    '  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at',
    '  File "/home/user/mine.py", line 7 in handle',
    "Extension modules: one\x1b[2J (total: 1)",
)


@pytest.mark.parametrize(
    ("reason", "details"),
    [
        (raised("ValueError", "row 17\nand more", TRACEBACK), ["row 17", "at other.py:12 in parse"]),
        (raised("KeyError"), []),
        (Crashed(signal=9, pid=7, peak_bytes=120 * 2**20), ["process 7", "peak 120 MiB"]),
        (
            Crashed(signal=11, pid=7, last_output=FAULT),
            ["process 7", "at mine.py:7 in handle", "last wrote 'Fatal Python error: Segmentation fault'"],
        ),
        (Crashed(exit_code=3, last_output=("bye\x1b[2J  ",)), [r"last wrote 'bye\x1b[2J'"]),
        (OutOfMemory(7, 2**30), ["process 7", "peak 1,024 MiB"]),
        (Abandoned(TRACEBACK), ["at other.py:12 in parse"]),
    ],
    ids=["raised", "bare", "killed", "fault", "exit", "memory", "abandoned"],
)
def test_the_details_tell_what_the_kind_does_not(reason: Reason, details: list[str]) -> None:
    assert tell_example(reason) == details


def test_deaths_are_told_with_what_is_known_of_one_of_them() -> None:
    letters = [letter(Crashed(11, None, 7, 2**27, FAULT)), letter(raised("E", "a\x1b[2J" + "b" * 500, TRACEBACK))]
    assert summarize(state(dead_letters=letters)).split("\n")[-5:] == [
        "  1 x parse: process was ended by SIGSEGV",
        f"      message {ID}: process 7; at mine.py:7 in handle; peak 128 MiB",
        "        last wrote 'Fatal Python error: Segmentation fault'",
        "  1 x parse: raised E",
        f"      message {ID}: a" + r"\x1b[2J" + "b" * 39 + "...; at other.py:12 in parse",
    ]


def test_the_error_of_a_stopped_job_is_told_with_its_place() -> None:
    flow = Flow("census")
    flow.add_routine(shapes.Stage(), "parse")
    plan = compile_plan(flow)
    facts = [Fact("stop", 0, 0, to_bytes(17), 1, 0.0, reason=raised("ValueError", "row 17", TRACEBACK))]
    error = "routine 'parse': raised ValueError: row 17"
    told = state(status=JobStatus.FAILED, error=error, history=HistoryCut(names_of(plan), tuple(facts), 1, 0, 0.0))
    assert summarize(told).split("\n")[1:3] == [
        f"  {error}",
        f"      message {ID}: at other.py:12 in parse",
    ]


def test_a_message_that_was_tried_again_is_told_with_its_tries() -> None:
    given = letter(raised("ValueError", "row 17"))._replace(attempts=3)
    assert summarize(state(dead_letters=[given])).split("\n")[-1] == f"      message {ID}, tried 3 times: row 17"


def test_only_so_many_causes_get_a_line() -> None:
    letters = [letter(raised(f"E{number}", "x")) for number in range(CAUSES_SHOWN + 2)]
    assert summarize(state(dead_letters=letters)).split("\n")[-1] == "  and 2 more causes"


def test_results_are_counted() -> None:
    assert summarize(state(outputs={("a", "done"): [1, 2]})).split("\n")[-1] == "results: a.done 2"


def test_dead_letters_that_were_not_kept_are_still_counted() -> None:
    lines = summarize(state(dead_letters=[letter(raised("KeyError", "1"))])).split("\n")
    assert "given up: 2, of which the newest 1 were kept" in lines


def test_threads_that_were_left_behind_are_told_by_routine() -> None:
    given = state()
    given.routine_states["parse"]["stats"]["abandoned"] = 2
    assert summarize(given).split("\n")[-1] == "threads left behind in their handlers: parse 2"
