"""Views and states made by hand, for tests of what is drawn."""

from __future__ import annotations

from typing import Any

from routilux.dead_letters import DeadLetter
from routilux.executions import Names
from routilux.figures import RoutineFigures
from routilux.jobs.history import HistoryCut
from routilux.jobs.machine import JobStatus
from routilux.jobs.state import JobState
from routilux.messages import Message
from routilux.observe import JobView, RoutineView, WorkerView
from routilux.tracking.tracker import ExecutionTracker
from supervisors.reasons import ErrorRecord, Raised, Reason

NO_NAMES = Names((), ())


def routine(routine_id: str = "parse", **parts: Any) -> RoutineView:
    given = {
        "placement": "thread",
        "status": "running",
        "capacity": 1000,
        "figures": RoutineFigures(),
        "rate": None,
        "error": None,
        "workers": (),
    }
    return RoutineView(routine_id, **{**given, **parts})


def busy_job() -> JobView:
    """Three routines, one of them with two workers."""
    workers = (WorkerView(0, 4321, 97.6, 55 * 2**20), WorkerView(1, 4322, 88.0, 60 * 2**20))
    return JobView(
        job_id="ab12",
        flow_id="census",
        status="running",
        seconds=12.34,
        routines=(
            routine("read", figures=RoutineFigures(in_hand=1, emitted=1790), rate=0.0, busy=0.12),
            routine(
                "parse",
                placement="process",
                status="error_continued",
                figures=RoutineFigures(handled=12345, waiting=987, in_hand=2, failed=9, dead=4, retries=5, restarts=3),
                rate=101.4,
                busy=0.97,
                error="raised ValueError: bad row 17",
                workers=workers,
            ),
            routine("tally", figures=RoutineFigures(handled=12340, waiting=37), rate=2.5, busy=0.03),
        ),
        program=WorkerView(0, 99, 12.0, 40 * 2**20),
    )


def letter(reason: Reason, routine_id: str = "parse") -> DeadLetter:
    return DeadLetter(routine_id, Message(0, 1, {}, 1), reason, 1, 0.0)


def raised(kind: str, text: str = "", traceback: str = "") -> Raised:
    return Raised(ErrorRecord(kind, text, traceback))


def state(**parts: Any) -> JobState:
    """A job that ran for two seconds, of the ten from its beginning to its end."""
    figures = RoutineFigures(handled=200, failed=3, dead=2, retries=1, restarts=1)
    told = {"status": "completed", "state": {}, "stats": figures._asdict(), "error": None}
    given = {
        "job_id": "ab12",
        "flow_id": "census",
        "status": JobStatus.COMPLETED,
        "routine_states": {"parse": told},
        "connections": [],
        "dead_letters": [],
        "created_at": 1000.0,
        "updated_at": 1010.0,
        "tracker": ExecutionTracker("ab12", "census", "completed", 1010.0, 2.0, (), ()),
        "error": None,
        "history": HistoryCut(NO_NAMES, (), 0, 0, 0.0),
    }
    return JobState(**{**given, **parts})
