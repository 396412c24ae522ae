"""What is said of failures: the words, as a table, and how many lines there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import routilux
from routilux import Flow
from routilux.frames import LEFT_OUT
from routilux.routing import compile_plan
from routilux.runtime.commands import Failure
from routilux.runtime.reports import (
    FREE_LINES,
    LINE_LENGTH,
    Outcome,
    Throttle,
    tell_end,
    tell_failure,
    tell_in_full,
    tell_left_out,
    tell_stack,
    tell_unreadable,
)
from supervisors.policy import FailurePolicy, Strategy
from supervisors.reasons import (
    Abandoned,
    Crashed,
    DeadlineExceeded,
    ErrorRecord,
    Killed,
    OutOfMemory,
    Raised,
    Reason,
    StartFailed,
)
from tests.runtime import shapes

BAD_ROW = Raised(ErrorRecord("ValueError", "bad row 17", "Traceback\n  File x\nValueError: bad row 17\n", ("a note",)))
KILLED = Crashed(signal=9, pid=4711, last_output=("last", "words\x1b[2J"))
RETRY = FailurePolicy(Strategy.RETRY)


def flow() -> Flow:
    flow = Flow("read")
    flow.add_routine(shapes.Source(), "read")
    flow.add_routine(shapes.Stage(), "parse")
    flow.connect("read", "number", "parse", "input")
    return flow


PLAN = compile_plan(flow())
[EDGE] = [edge.index for edge in PLAN.edges if edge.source == "read"]


def failure(reason: Reason, **parts: Any) -> Failure:
    given = {
        "routine": 1,
        "case": 1,
        "worker": 0,
        "has_message": True,
        "failures": 1,
        "crashes": 0,
        "is_retryable": True,
        "is_lost": False,
        "is_fruitless": False,
        "uptime": 0.0,
        "edge": EDGE,
        "message_id": "2a",
    }
    return Failure(**{**given, **parts}, reason=reason)


MESSAGE = "routine 'parse': message 2a (read.number -> parse.input), "
IDLE = "routine 'parse': worker 2, with no message in hand: "
LOST: dict[str, Any] = {"is_lost": True}
NONE: dict[str, Any] = {"is_lost": True, "has_message": False, "worker": 2}


@pytest.mark.parametrize(
    ("given", "policy", "outcome", "line"),
    [
        (
            failure(BAD_ROW),
            RETRY,
            Outcome(Strategy.RETRY, 1.0),
            MESSAGE + "try 1 of 4: raised ValueError: bad row 17; tried again in 1 s",
        ),
        (
            failure(BAD_ROW, failures=2),
            RETRY,
            Outcome(Strategy.RETRY),
            MESSAGE + "try 2 of 4: raised ValueError: bad row 17; tried again now",
        ),
        (
            failure(BAD_ROW, failures=4),
            RETRY,
            Outcome(Strategy.STOP, gives_up=True),
            MESSAGE + "try 4 of 4: raised ValueError: bad row 17; given up (dead letter); the job stops",
        ),
        (
            failure(BAD_ROW),
            FailurePolicy(Strategy.CONTINUE),
            Outcome(Strategy.CONTINUE, gives_up=True),
            MESSAGE + "try 1 of 1: raised ValueError: bad row 17; given up (dead letter)",
        ),
        (
            failure(BAD_ROW),
            FailurePolicy(),
            Outcome(Strategy.STOP),
            MESSAGE + "try 1 of 1: raised ValueError: bad row 17; the job stops",
        ),
        (
            failure(BAD_ROW),
            FailurePolicy(Strategy.SKIP),
            Outcome(Strategy.SKIP, gives_up=True),
            MESSAGE + "try 1 of 1: raised ValueError: bad row 17; given up (dead letter); the routine is skipped",
        ),
        (
            failure(KILLED, **LOST),
            RETRY,
            Outcome(Strategy.RETRY, 0.25, restart_delay=0.0),
            MESSAGE
            + "try 1 of 4: process 4711 was ended by SIGKILL (last wrote 'words\\x1b[2J'); tried again in 0.25 s; "
            "its worker is replaced now",
        ),
        (
            failure(KILLED, **LOST),
            FailurePolicy(Strategy.SKIP),
            Outcome(Strategy.SKIP, gives_up=True),
            MESSAGE + "try 1 of 1: process 4711 was ended by SIGKILL (last wrote 'words\\x1b[2J'); given up (dead "
            "letter); the routine is skipped; its worker is not replaced",
        ),
        (
            failure(DeadlineExceeded(2.0, 4711), **LOST),
            RETRY,
            Outcome(Strategy.STOP, loop="more than 3 fruitless restarts in 5 s"),
            MESSAGE + "try 1 of 4: took longer than 2 s and was ended; "
            "the job stops: more than 3 fruitless restarts in 5 s",
        ),
        (
            failure(KILLED, **NONE),
            RETRY,
            Outcome(Strategy.CONTINUE, restart_delay=0.1),
            IDLE + "process 4711 was ended by SIGKILL (last wrote 'words\\x1b[2J'); its worker is replaced in 0.1 s",
        ),
        (
            failure(KILLED, **NONE),
            RETRY,
            Outcome(Strategy.CONTINUE, restart_delay=0.01),
            IDLE + "process 4711 was ended by SIGKILL (last wrote 'words\\x1b[2J'); its worker is replaced now",
        ),
        (
            failure(StartFailed(ErrorRecord("RuntimeError", "cannot be here", "")), **NONE),
            RETRY,
            Outcome(Strategy.CONTINUE, restart_delay=0.1),
            IDLE + "could not start: RuntimeError: cannot be here; its worker is replaced in 0.1 s",
        ),
        (
            failure(BAD_ROW),
            RETRY,
            None,
            MESSAGE + "try 1 of 4: raised ValueError: bad row 17; the job is ending",
        ),
    ],
)
def test_a_failure_is_told_in_one_line(
    given: Failure, policy: FailurePolicy, outcome: Outcome | None, line: str
) -> None:
    assert tell_failure(given, outcome, PLAN, policy) == line


def test_failures_before_it_that_got_no_line_are_told_of() -> None:
    outcome = Outcome(Strategy.CONTINUE, gives_up=True)
    line = tell_failure(failure(BAD_ROW), outcome, PLAN, FailurePolicy(Strategy.CONTINUE), 1_234)
    assert line.endswith("; given up (dead letter) (1,234 before it got no line)")
    assert (
        tell_left_out("parse", 1) == "routine 'parse': 1 more failure got no line here; the job's state tells of them"
    )
    assert tell_left_out("parse", 1_234).startswith("routine 'parse': 1,234 more failures got no line here")


def test_a_result_that_cannot_be_read_is_told_in_one_line() -> None:
    assert tell_unreadable("read", EDGE, "2b", BAD_ROW, PLAN) == (
        "routine 'read': result 2b (read.number -> parse.input): raised ValueError: bad row 17; given up (dead letter)"
    )


def test_what_others_wrote_is_escaped_and_cut_and_what_follows_stays_readable() -> None:
    reason = Raised(ErrorRecord("ValueError", "first\nsecond\x1b[2J" + "x" * 10_000, ""))
    line = tell_failure(failure(reason), Outcome(Strategy.RETRY, 1.0), PLAN, RETRY, 17)
    assert line.isprintable()
    assert len(line) == LINE_LENGTH
    assert r"raised ValueError: first\nsecond\x1b[2Jxxx" in line
    assert line.endswith("...; tried again in 1 s (17 before it got no line)")
    assert len(tell_end("\n" * 1_000)) == LINE_LENGTH


def test_long_names_leave_room_for_the_cause() -> None:
    routine = shapes.Source()
    routine.define_event("e" * 500, ["n"])
    long = Flow("long")
    long.add_routine(routine, "r" * 64)
    long.add_routine(shapes.Stage(), "parse" + "p" * 59)
    long.connect("r" * 64, "e" * 500, "parse" + "p" * 59, "input")
    plan = compile_plan(long)
    [edge] = [edge.index for edge in plan.edges if edge.event == "e" * 500]
    outcome = Outcome(Strategy.STOP, loop="more than 3 fruitless restarts in 5 s")
    line = tell_failure(failure(KILLED, edge=edge, **LOST), outcome, plan, RETRY)
    assert len(line) <= LINE_LENGTH
    assert (
        "process 4711 was ended by SIGKILL (last wrote 'words\\x1b[2J'); the job stops: more than 3 fruitless" in line
    )


TRACEBACK = """\
Traceback (most recent call last):
  File "/home/user/flows.py", line 12, in parse
    raise ValueError(row)
ValueError: bad row 17"""
FAULT = (
    "about to read\x07",
    "Fatal Python error: Segmentation fault",
    "Current thread 0x00007f (most recent call first):",
    '  File "/home/user/flows.py", line 7 in handle',
)


@pytest.mark.parametrize(
    ("reason", "limit", "told"),
    [
        (
            Raised(ErrorRecord("ValueError", "bad row 17", TRACEBACK)),
            None,
            "raised ValueError: bad row 17 (at flows.py:12 in parse); the job stops",
        ),
        (
            Raised(ErrorRecord("MemoryError", "", TRACEBACK)),
            2**30,
            "raised MemoryError (at flows.py:12 in parse; its memory_limit is 1,024 MiB); the job stops",
        ),
        (
            Raised(ErrorRecord("bdb.BdbQuit", "", TRACEBACK)),
            2**30,
            (
                "raised bdb.BdbQuit (at flows.py:12 in parse; a worker has no terminal to be asked at: use "
                "placement='thread' meanwhile); the job stops"
            ),
        ),
        (Raised(ErrorRecord("bdb.BdbQuit", "", "")), None, "raised bdb.BdbQuit; the job stops"),
        (
            StartFailed(ErrorRecord("OSError", "[Errno 24] Too many open files", "")),
            None,
            (
                "could not start: OSError: [Errno 24] Too many open files (the limit of open files is reached: raise "
                "it by ulimit -n); the job stops"
            ),
        ),
        (
            Crashed(signal=11, pid=7, peak_bytes=300 * 2**20, last_output=FAULT),
            2**30,
            (
                "process 7 was ended by SIGSEGV (at flows.py:7 in handle; peak 300 MiB of 1,024 MiB allowed; last "
                "wrote 'about to read\\x07'); the job stops"
            ),
        ),
        (
            Crashed(exit_code=3, pid=7, last_output=("bye", "")),
            None,
            "process 7 exited with code 3 without finishing its work (last wrote 'bye'); the job stops",
        ),
        (
            OutOfMemory(7, 2**31, 2**30),
            2**30,
            "process 7 held 2,048 MiB, over its memory_limit of 1,024 MiB; the job stops",
        ),
        (
            DeadlineExceeded(2.0, 7, 'Thread 1 (most recent call first):\n  File "/home/user/a.py", line 3 in wait'),
            None,
            "took longer than 2 s and was ended (at a.py:3 in wait); the job stops",
        ),
        (Killed(7), None, "process 7 was killed; the job stops"),
        (Abandoned(""), None, "its thread did not end in time and was abandoned; the job stops"),
    ],
    ids=[
        "raised",
        "memory error",
        "debugger",
        "on a thread",
        "files",
        "segfault",
        "exit",
        "memory",
        "deadline",
        "killed",
        "abandoned",
    ],
)
def test_a_line_says_where_in_the_users_code_and_what_a_death_left_behind(
    reason: Reason, limit: int | None, told: str
) -> None:
    flow = Flow("read")
    options: dict[str, Any] = {} if limit is None else {"placement": "process", "memory_limit": limit}
    flow.add_routine(shapes.Stage(), "parse", **options)
    plan = compile_plan(flow)
    line = tell_failure(failure(reason, routine=0, edge=0), Outcome(Strategy.STOP), plan, FailurePolicy())
    assert line.partition("try 1 of 1: ")[2] == told


def test_a_stack_is_told_without_our_frames_or_in_full() -> None:
    ours = str(Path(routilux.__file__).parent / "turn" / "execution.py")
    head, *rest = TRACEBACK.splitlines()
    full = "\n".join([head, f'  File "{ours}", line 3, in advance', "    call()", *rest])
    reason = Raised(ErrorRecord("ValueError", "bad row 17", full + "\n\x1b[2J"))
    escaped = r"\x1b[2J"
    assert tell_stack(reason, in_full=True) == f"{full}\n{escaped}"
    assert tell_stack(reason, in_full=False) == f"{TRACEBACK}\n{escaped}\n{LEFT_OUT}"
    assert tell_stack(KILLED, in_full=False) == ""


@pytest.mark.parametrize(
    ("reason", "lines"),
    [
        (BAD_ROW, ["Traceback", "  File x", "ValueError: bad row 17", "a note"]),
        (StartFailed(ErrorRecord("E", "", "Traceback\n")), ["Traceback"]),
        (KILLED, ["last", r"words\x1b[2J"]),
        (Abandoned("File x, line 3\nFile y\x1b\n"), ["File x, line 3", r"File y\x1b"]),
    ],
    ids=["raised", "start", "crashed", "abandoned"],
)
def test_in_full_all_is_told_that_is_known_line_by_line(reason: Reason, lines: list[str]) -> None:
    assert tell_in_full(reason).split("\n") == lines


def test_the_first_failures_are_told_and_then_one_a_second() -> None:
    throttle = Throttle()
    assert [throttle.admit(0.0) for _ in range(FREE_LINES)] == [0] * FREE_LINES
    times = [(0.0, None), (0.5, None), (0.999, None), (1.0, 3), (1.5, None), (2.0, 1), (9.0, 0), (9.0, None)]
    assert [throttle.admit(now) for now, _ in times] == [told for _, told in times]
    assert throttle.admit(9.1, is_grave=True) == 1, "the end of a routine is never left out"
    assert throttle.admit(9.2) is None
    assert throttle.take_left_out() == 1
    assert throttle.take_left_out() == 0


def test_failures_that_come_slowly_are_all_told() -> None:
    throttle = Throttle()
    assert [throttle.admit(float(now)) for now in range(100)] == [0] * 100
