"""What the golden files of the plain form hold."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np

from routilux import DeadLetter, ErrorHandler, ExecutionRecord, Flow, JobState, JobStatus, Serializable
from routilux.executions import Names, RoutineNames
from routilux.facts import Fact
from routilux.holdings import EdgeCount
from routilux.jobs.history import HistoryCut
from routilux.jobs.recorder import CheckpointInfo
from routilux.jobs.state_form import PausePoint
from routilux.messages import Message
from routilux.routines import Filter, LinesSource
from routilux.serial.serializable import register_serializable
from supervisors.reasons import Raised, record_error
from tests.model.parts import Adder, Helper, Stateless, double_gate, numbers, square


@register_serializable("golden.Holder")
class Holder(Serializable):
    """Holds values."""

    def __init__(self, **held: Any) -> None:
        vars(self).update(held)


def values() -> Holder:
    """Give values of every kind."""
    shared: list[Any] = [1]
    holder = Holder(
        plain=[None, True, -5, 1.5, "text", {"a": []}],
        numbers=[2**80, -(2**80), math.inf, complex(1, -2), Decimal("1.50"), Fraction(1, 3)],
        texts=["\ud800", b"bytes", bytearray(b"more")],
        containers=[(1, (2,)), {1: 2, "$x": 3}, {4}, frozenset({5}), deque([6], 3), range(3), slice(1, None), ...],
        dicts=[OrderedDict(b=1), Counter("aab"), defaultdict(list, {"a": [1]})],
        times=[
            datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
            datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
            date(2026, 1, 2),
            time(1, 2, 3),
            timedelta(1, 2, 3),
        ],
        others=[UUID(int=5), PurePosixPath("a/b"), np.arange(4, dtype="<i2").reshape(2, 2)],
        shared=[shared, shared],
        names=[square.function, ValueError, list[int], dict[str, int | None]],
    )
    holder.itself = holder  # type: ignore[attr-defined]
    return holder


def flow() -> Flow:
    """Give a flow with every part."""
    made = Flow("golden")
    helper, handler = Helper(), ErrorHandler("retry", 2, 0.5, retryable_exceptions=(ValueError, OSError), then="skip")
    made.add_routine(numbers, "numbers")
    made.add_routine(Adder(3, notes=[helper]), "adder", placement="process", timeout=5.0, error_handler=handler)
    made.add_routine(Adder(4, notes=helper), "other", capacity=7)
    made.add_routine(square, "square")
    made.add_routine(Stateless(), "stateless")
    made.add_routine(Filter(double_gate), "filter", error_handler=handler)
    made.add_routine(LinesSource("words.txt", encoding="latin-1"), "lines")
    made.routines["other"].set_config(level=(1, 2))
    made.routines["other"].set_error_handler(handler)
    made.routines["other"].state = {"seen": {1}}
    made.connect("numbers", "number", "adder", "fourth", {"n": "n"})
    made.connect("adder", "sum", "other", "third")
    made.connect("other", "sum", "adder", "second")
    made.connect("other", "sum", "square", "input")
    made.output("square", "output", capacity=9)
    made.set_error_handler(ErrorHandler("continue", is_critical=True))
    return made


def snapshot() -> JobState:
    """Give a snapshot of a job with every part."""
    reason = Raised(record_error(ValueError("two is no number")))
    names = Names((RoutineNames("numbers", ("number",)), RoutineNames("adder", ("sum",))), ("entry -> numbers",))
    facts = (
        Fact("committed", 0, 0, b"\1" * 16, 1, 2.0, 0.5, (0, 0)),
        Fact("failed", 1, -1, b"\2" * 16, 2, 3.0, reason=reason),
    )
    state = JobState(
        job_id="one",
        flow_id="golden",
        status=JobStatus.FAILED,
        routine_states={"adder": {"status": "failed", "state": {"seen": (1, 2)}, "handled": 3, "error": None}},
        connections=[EdgeCount("entry -> numbers", 1, 1, 0, 0, 0, 0, 0)],
        dead_letters=[DeadLetter("adder", Message(0, 1, {"n": 2}, 3), reason, 2, 3.5)],
        created_at=1.0,
        updated_at=4.0,
        error="two is no number",
        history=HistoryCut(names, facts, 2, 0, 100.0),
        outputs={("square", "output"): [{"n": Decimal(4)}]},
        pause_points=[PausePoint(2.5, "lunch", {"at": (1,)}, 1, 2)],
        checkpoint=CheckpointInfo(1, 2, "pause", 2.5, 0, 100, 0.001, 0.002, 0.003),
    )
    state.record_execution("adder", "note", "of mine")
    state._own_records[0] = ExecutionRecord("adder", "note", 5.0, detail="of mine")
    return state
