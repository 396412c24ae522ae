"""One built-in routine in a job of its own: messages in, what it emits out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from routilux import Flow, JobState, Routine


def flow_of(routine: Routine, **options: Any) -> Flow:
    """Give a flow of one routine, `it`, all events of which are outputs."""
    flow = Flow("alone")
    flow.add_routine(routine, "it", **options)
    for event in routine.events:
        flow.output("it", event)
    return flow


def run(routine: Routine, messages: Iterable[dict[str, Any]], slot: str = "input", **options: Any) -> JobState:
    """Send it messages, and give the job's final state."""
    with flow_of(routine, **options).start(keep_open=True) as job:
        for message in messages:
            job.put("it", slot, message)
    state = job.state
    job.ledger.check()
    return state


def emitted(state: JobState, event: str = "output") -> list[Any]:
    """Give what it emitted, once its job is completed."""
    assert state.status == "completed", state.error
    return state.outputs["it", event]


def failure(routine: Routine, message: dict[str, Any], slot: str = "input") -> str:
    """Give the error that a message fails with."""
    state = run(routine, [message], slot)
    assert state.status == "failed"
    assert state.error is not None
    return state.error


def leave_midway(routine: Routine, store: Path) -> list[Any]:
    """Start a source, and leave its job in the middle of it; give what it has emitted and was read by then."""
    job = _pressed_flow(routine).start(store=store, job_id="left")
    results, read = job.results(), []
    while not state_of(job.state):  # it goes no further than somebody reads
        read.append(next(results))
    assert job.leave().status == "paused"
    return read


def go_on(routine: Routine, store: Path) -> JobState:
    """Go on with the job that was left, to its end."""
    with Flow.resume(store, "left", flow=_pressed_flow(routine)) as job:
        pass
    return job.state


def _pressed_flow(routine: Routine) -> Flow:
    flow = Flow("pressed")
    flow.add_routine(routine, "it")
    flow.output("it", "output", capacity=5)
    return flow


def state_of(state: JobState) -> dict[str, Any]:
    """Give its declared state."""
    declared: dict[str, Any] = state.routine_states["it"]["state"]
    return declared
