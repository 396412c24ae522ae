"""A thread routine with a timeout: whatever hangs costs its message alone, and nothing of it is taken later."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, Job, JobState, Routine
from routilux.observe import observe
from routilux.turn.outbox import COUNT_BOUND

BAD = 3
COUNT = 8
TIMEOUT = 0.3
"""Seconds that a test waits for a hang to be noticed; all else that is handled takes a small part of it."""
PATIENCE = 30.0


class Knot:
    """Where handlers hang until the test is over, or lets them go on."""

    def __init__(self) -> None:
        self.freed = threading.Event()
        self.reached = threading.Semaphore(0)
        self._out, self._in = os.pipe()

    def wait(self) -> None:
        """Hang in a lock."""
        self.reached.release()
        self.freed.wait()

    def read(self) -> None:
        """Hang in a system call."""
        self.reached.release()
        os.read(self._out, 1)

    def spin(self) -> None:
        """Hang in Python code."""
        self.reached.release()
        while not self.freed.is_set():
            pass

    def free(self, handler: str = "/handler ") -> None:
        """Let all go on that hang here, now or later, and wait until those threads of them are gone."""
        self.freed.set()
        os.write(self._in, b"x" * 16)
        for thread in threading.enumerate():
            if handler in thread.name:
                thread.join(PATIENCE)

    def close(self) -> None:
        """Free all."""
        self.free()
        os.close(self._out)
        os.close(self._in)


@pytest.fixture
def knot() -> Iterator[Knot]:
    knot = Knot()
    yield knot
    knot.close()


class Hanging(Routine):
    """Hands numbers on, and hangs at one of them in its first tries."""

    def __init__(self, hang: Callable[[], None], tries: int = 1) -> None:
        super().__init__()
        self.hang = hang
        self.tries = tries
        self.runs: Counter[int] = Counter()
        self.define_slot("trigger", handler=self.handle)
        self.define_slot("steps", handler=self.step)
        self.define_slot("stream", handler=self.stream)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        self.runs[n] += 1
        self.state["seen"] = self.state.get("seen", 0) + 1
        self.emit("number", n=n)
        if n == BAD and self.attempt <= self.tries:
            self.hang()
            self.state["late"] = n
            self.emit("number", n=-1)

    def step(self, n: int) -> Any:
        for part in range(self.state.get("step", 0), 4):
            self.emit("number", n=part)
            self.state["step"] = part + 1
            yield
            if part == 1 and self.attempt == 1:
                self.hang()

    def stream(self, n: int) -> None:
        for number in range(2 * COUNT_BOUND):
            self.emit("number", n=number)
        if self.attempt == 1:
            self.hang()
            for _ in range(2 * COUNT_BOUND):
                self.emit("number", n=-1)


def start(routine: Routine, handler: ErrorHandler, **options: Any) -> Job:
    flow = Flow("hangs")
    flow.add_routine(routine, "worker", error_handler=handler, **{"timeout": TIMEOUT, **options})
    flow.output("worker", "number")
    job = flow.start(keep_open=True)
    for n in range(COUNT):
        job.send("worker", "trigger", n=n)
    job.close_entry()
    return job


def numbers(state: JobState) -> list[int]:
    return [item["n"] for item in state.results()]


def run(routine: Routine, handler: ErrorHandler, **options: Any) -> tuple[JobState, list[int]]:
    job = start(routine, handler, **options)
    with job:
        job.collect()
    assert all(connection.is_conserved for connection in job.state.connections)
    return job.state, numbers(job.state)


@pytest.mark.parametrize("way", ["wait", "read", "spin"])
def test_a_message_that_hung_is_tried_again_in_its_place(knot: Knot, way: str) -> None:
    routine = Hanging(getattr(knot, way))
    state, out = run(routine, ErrorHandler("retry", retry_delay=0.0))
    assert state.status == "completed", state.error
    assert out == list(range(COUNT))
    worker = state.routine_states["worker"]
    assert worker["state"] == {"seen": COUNT}
    assert (worker["handled"], worker["failed"], worker["retries"], worker["restarts"]) == (COUNT, 1, 1, 1)
    assert worker["stats"]["abandoned"] == 1
    assert routine.runs[BAD] == 2
    [error] = [record for record in state.history if record.kind == "error"]
    assert error.detail == "took longer than 0.3 s and its thread was abandoned"


def test_continue_gives_up_the_message_that_hung_and_no_other(knot: Knot) -> None:
    state, out = run(Hanging(knot.wait), ErrorHandler("continue"))
    assert state.status == "completed", state.error
    assert out == [n for n in range(COUNT) if n != BAD]
    [letter] = state.dead_letters
    assert (letter.data, letter.attempts) == ({"n": BAD}, 1)
    assert "took longer than 0.3 s" in letter.cause
    assert state.routine_states["worker"]["state"] == {"seen": COUNT - 1}


def test_skip_gives_up_the_routine_that_hung(knot: Knot) -> None:
    state, out = run(Hanging(knot.wait), ErrorHandler("skip"))
    assert state.status == "completed", state.error
    worker = state.routine_states["worker"]
    assert out == list(range(BAD))
    assert (worker["status"], worker["skipped"], worker["restarts"]) == ("skipped", COUNT - BAD - 1, 0)
    assert len(state.dead_letters) == 1


def test_stop_keeps_the_message_that_hung_and_those_behind_it(knot: Knot) -> None:
    job = start(Hanging(knot.wait), ErrorHandler("stop"))
    state = job.wait(PATIENCE)
    assert state.status == "failed"
    assert state.error == "routine 'worker': took longer than 0.3 s and its thread was abandoned"
    assert state.routine_states["worker"]["stats"]["waiting"] == COUNT - BAD
    assert state.routine_states["worker"]["state"] == {"seen": BAD}
    assert [item["n"] for item in job.results()] == list(range(BAD))


def test_what_a_handler_does_after_it_was_given_up_is_refused(knot: Knot) -> None:
    job = start(Hanging(knot.wait), ErrorHandler("retry", retry_delay=0.0))
    with job:
        results = job.results()
        seen = [next(results)["n"] for _ in range(BAD + 1)]
        knot.free("/handler 1")
        seen += [item["n"] for item in results]
    assert seen == list(range(COUNT))
    assert job.state.status == "completed"
    assert job.state.routine_states["worker"]["state"] == {"seen": COUNT}
    assert all(connection.is_conserved for connection in job.state.connections)


def test_a_thread_that_comes_back_is_no_longer_counted(knot: Knot) -> None:
    flow = Flow("back")
    flow.add_routine(Hanging(knot.wait), "worker", error_handler=ErrorHandler("continue"), timeout=TIMEOUT)
    with flow.start(keep_open=True) as job:
        job.send("worker", "trigger", n=BAD)
        stream = job.stream("worker", "number")
        job.send("worker", "trigger", n=0)
        assert next(stream) == {"n": 0}
        assert observe(job).routine("worker").figures.abandoned == 1
        knot.free("/handler 1")
        job.send("worker", "trigger", n=1)
        assert next(stream) == {"n": 1}
    assert job.state.routine_states["worker"]["stats"]["abandoned"] == 0


def test_a_generator_that_hangs_goes_on_from_its_last_commit(knot: Knot) -> None:
    flow = Flow("steps")
    flow.add_routine(
        Hanging(knot.wait), "worker", error_handler=ErrorHandler("retry", retry_delay=0.0), timeout=TIMEOUT
    )
    flow.output("worker", "number")
    with flow.start(keep_open=True) as job:
        job.send("worker", "steps", n=0)
        job.close_entry()
        job.collect()
    assert numbers(job.state) == [0, 1, 2, 3]
    assert job.state.routine_states["worker"]["state"] == {"step": 4}


def test_what_a_stream_had_released_is_not_sent_twice_after_it_hung(knot: Knot) -> None:
    flow = Flow("stream")
    flow.add_routine(
        Hanging(knot.wait), "worker", error_handler=ErrorHandler("retry", retry_delay=0.0), timeout=TIMEOUT
    )
    flow.output("worker", "number")
    with flow.start(keep_open=True) as job:
        job.send("worker", "stream", n=0)
        job.close_entry()
        job.collect()
    assert numbers(job.state) == list(range(2 * COUNT_BOUND))


def test_a_stream_that_waits_for_room_does_not_run_out_of_time() -> None:
    flow = Flow("pressed")
    flow.add_routine(Hanging(lambda: None), "worker", timeout=TIMEOUT)
    flow.output("worker", "number", capacity=COUNT_BOUND // 2)
    clock = threading.Event()
    with flow.start(keep_open=True) as job:
        job.send("worker", "stream", n=0)
        job.close_entry()
        results = job.results()
        seen = [next(results)["n"]]
        clock.wait(2 * TIMEOUT)  # the time in which it would be given up, if this wait counted
        seen += [item["n"] for item in results]
    assert job.state.status == "completed", job.state.error
    assert [n for n in seen if n >= 0] == list(range(2 * COUNT_BOUND))
    assert job.state.routine_states["worker"]["failed"] == 0


def test_too_many_threads_in_their_handlers_stop_the_job_and_it_says_what_helps(knot: Knot) -> None:
    handler = ErrorHandler("retry", max_retries=10, retry_delay=0.0)
    state = start(Hanging(knot.wait, tries=10), handler, max_abandoned=1).wait(PATIENCE)
    assert state.status == "failed"
    assert state.error is not None
    assert "max_abandoned is 1" in state.error
    assert "use placement='process'" in state.error
    assert state.routine_states["worker"]["stats"]["abandoned"] == 2
    assert state.routine_states["worker"]["stats"]["waiting"] == COUNT - BAD


def test_the_log_tells_of_a_hang_at_half_of_its_time_and_at_the_end_of_the_job(
    knot: Knot, caplog: pytest.LogCaptureFixture
) -> None:
    state, _ = run(Hanging(knot.wait), ErrorHandler("continue"), timeout=1.0)
    [letter] = state.dead_letters
    slow, failed, left = [record.getMessage() for record in caplog.records if record.name == "routilux"]
    assert slow.startswith(f"routine 'worker' has been on message {letter.message.id} for 0.")
    assert slow.splitlines()[0].endswith("s (timeout 1 s)")
    assert "given up (dead letter); its worker is replaced" in failed
    assert left.startswith("job's end: routine 'worker' is still in its handler on a thread")
    for text in (slow, left):
        assert "in wait" in text
        assert "in handle" in text


def test_a_cancelled_job_gives_a_handler_its_shutdown_time_and_then_leaves_it_behind(knot: Knot) -> None:
    flow = Flow("cancelled")
    flow.add_routine(Hanging(knot.wait), "worker", timeout=100.0)
    job = flow.start(keep_open=True, shutdown=0.0)
    job.send("worker", "trigger", n=BAD)
    job.send("worker", "trigger", n=0)
    assert knot.reached.acquire(timeout=PATIENCE)
    job.cancel()
    state = job.wait(PATIENCE)
    stats = state.routine_states["worker"]["stats"]
    assert (state.status, stats["waiting"], stats["in_hand"], stats["abandoned"]) == ("cancelled", 2, 0, 1)
    assert all(connection.is_conserved for connection in state.connections)


def test_the_next_job_in_the_same_program_works_on_the_same_routine(knot: Knot) -> None:
    routine = Hanging(knot.wait)
    flow = Flow("again")
    flow.add_routine(routine, "worker", error_handler=ErrorHandler("continue"), timeout=TIMEOUT)
    flow.output("worker", "number")
    assert flow.execute("worker", {"n": BAD}).routine_states["worker"]["failed"] == 1
    after = flow.execute("worker", {"n": 0})
    assert (after.status, numbers(after)) == ("completed", [0])
    assert after.routine_states["worker"]["stats"]["abandoned"] == 0


class Endless(Routine):
    """Emits without end, and lets nothing of it out."""

    def __init__(self) -> None:
        super().__init__()
        self.is_over = threading.Event()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self) -> None:
        try:
            while True:
                self.emit("number", n=0)
        finally:
            self.is_over.set()


def test_an_abandoned_turn_that_goes_on_emitting_ends_though_nothing_of_it_goes_out() -> None:
    routine = Endless()
    flow = Flow("endless")
    flow.add_routine(routine, "worker", error_handler=ErrorHandler("continue"), timeout=TIMEOUT, atomic=True)
    flow.output("worker", "number")
    state = flow.execute("worker", {})
    assert routine.is_over.wait(PATIENCE)
    assert (state.status, state.results(), len(state.dead_letters)) == ("completed", [], 1)
