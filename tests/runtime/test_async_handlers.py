"""Async handlers on real event loops: a thousand that wait at once, and pause, cancel and timeout on them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from routilux import ErrorHandler, JobStatus, Routine
from routilux.errors import JobEndedError
from routilux.jobs.errors import PauseTimeoutError
from tests.runtime.waiting import (
    PATIENCE,
    Deed,
    Room,
    Waiting,
    join_loops,
    numbers_of,
    wait_until,
    waiting_flow,
)

MANY = 1_000


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.open()


def test_a_thousand_handlers_wait_at_once_and_commit_in_order(room: Room) -> None:
    job = waiting_flow(Waiting(room), concurrency=MANY).start("numbers", {"count": 2 * MANY})
    room.wait_for(MANY)
    room.open()
    assert numbers_of(job) == list(range(2 * MANY))
    state = job.wait(PATIENCE)
    assert state.status == JobStatus.COMPLETED
    assert room.peak == MANY
    assert state.routine_states["waiting"]["state"] == {f"{n}": n for n in range(2 * MANY)}


def test_a_pause_waits_for_a_thousand_handlers_and_the_job_goes_on_after_it(room: Room) -> None:
    job = waiting_flow(Waiting(room), concurrency=MANY).start("numbers", {"count": MANY + 50})
    room.wait_for(MANY)
    with pytest.raises(PauseTimeoutError) as caught:
        job.pause(timeout=0.1)
    assert "'waiting'" in str(caught.value)
    assert job.state.status == JobStatus.RUNNING
    paused = threading.Thread(target=job.pause)
    paused.start()
    wait_until(lambda: job._ledger.hold)
    room.open()
    paused.join(PATIENCE)
    assert job.state.status == JobStatus.PAUSED
    assert job.state.routine_states["waiting"]["handled"] <= MANY
    job.resume()
    assert numbers_of(job) == list(range(MANY + 50))
    job.wait(PATIENCE)


def test_a_pause_may_put_a_thousand_handlers_back_to_be_run_again(room: Room) -> None:
    job = waiting_flow(Waiting(room), concurrency=MANY).start("numbers", {"count": MANY})
    room.wait_for(MANY)
    job.pause(timeout=0.1, on_timeout="requeue")
    assert job.state.status == JobStatus.PAUSED
    room.wait_for(0)
    assert room.cancelled == MANY
    job.resume()
    room.wait_for(MANY)
    room.open()
    assert numbers_of(job) == list(range(MANY))
    state = job.wait(PATIENCE)
    assert (state.status, state.routine_states["waiting"]["failed"]) == (JobStatus.COMPLETED, 0)


def test_a_cancelled_job_cancels_a_thousand_handlers_when_their_time_is_over(room: Room) -> None:
    """Whether the last of them has ended when the job has is not promised.

    The job's end is: `shutdown` seconds and a moment after. On a machine so busy that the cancelled ones get nothing
    done in that moment, their loop is left behind, and ends by itself; so what is exact about it at any load is below.
    That none is left behind where time stands still is shown of the place, with a thousand as well
    (`supervisors/places/test_looped.py`).
    """
    job = waiting_flow(Waiting(room), concurrency=MANY).start("numbers", {"count": MANY})
    room.wait_for(MANY)
    job.cancel("enough", shutdown=0.1)
    state = job.wait(PATIENCE)
    told = state.routine_states["waiting"]
    figures = told["stats"]
    assert (state.status, told["handled"], told["failed"], told["state"]) == (JobStatus.CANCELLED, 0, 0, {})
    assert (figures["waiting"], figures["in_hand"]) == (MANY, 0)
    join_loops()
    assert (room.cancelled, room.inside) == (MANY, 0)  # each once
    assert numbers_of(job) == []


def test_a_timeout_cancels_each_of_a_thousand_turns(room: Room) -> None:
    handler = ErrorHandler("continue")
    flow = waiting_flow(Waiting(room), concurrency=MANY, timeout=0.5, error_handler=handler)
    state = flow.execute("numbers", {"count": MANY})
    told = state.routine_states["waiting"]
    assert (state.status, room.cancelled, room.inside) == (JobStatus.COMPLETED, MANY, 0)
    assert (told["failed"], told["restarts"], told["stats"]["abandoned"]) == (MANY, 0, 0)
    assert [letter.data for letter in state.dead_letters] == [{"n": n} for n in range(MANY)]
    assert {letter.cause for letter in state.dead_letters} == {"took longer than 0.5 s and was cancelled"}


def test_a_stop_leaves_none_behind_that_lets_itself_be_cancelled(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Waiting):
        async def handle(self, n: int) -> None:
            if n == 0:
                while room.inside < 3:  # noqa: ASYNC110  until the others wait
                    await asyncio.sleep(0)
                raise ValueError(n)
            await super().handle(n)

    state = waiting_flow(Failing(room), concurrency=4).execute("numbers", {"count": 4})
    assert (state.status, room.cancelled) == (JobStatus.FAILED, 3)
    assert state.routine_states["waiting"]["stats"]["abandoned"] == 0
    assert "left behind" not in caplog.text


def test_a_timeout_cancels_the_turns_that_take_too_long_and_no_others(room: Room) -> None:
    class Some(Waiting):
        async def handle(self, n: int) -> None:
            if n % 2 and self.attempt == 1:
                await self.room.wait()
            self.emit("number", n=n)

    handler = ErrorHandler("retry", max_retries=1, retry_delay=0.0)
    flow = waiting_flow(Some(room), concurrency=MANY, ordered=False, timeout=0.5, error_handler=handler)
    job = flow.start("numbers", {"count": MANY})
    assert sorted(numbers_of(job)) == list(range(MANY))
    state = job.wait(PATIENCE)
    told = state.routine_states["waiting"]
    assert state.status == JobStatus.COMPLETED
    assert (told["failed"], told["retries"], told["restarts"], room.cancelled) == (MANY / 2, MANY / 2, 0, MANY / 2)


def test_the_reason_of_a_timeout_is_told_as_of_a_thread(room: Room) -> None:
    flow = waiting_flow(Waiting(room), concurrency=2, timeout=0.2, error_handler=ErrorHandler("continue"))
    state = flow.execute("numbers", {"count": 1})
    [letter] = state.dead_letters
    assert letter.cause == "took longer than 0.2 s and was cancelled"
    assert (state.status, room.cancelled) == (JobStatus.COMPLETED, 1)


def test_a_handler_that_swallows_its_cancel_is_left_behind_and_what_it_does_reaches_nobody(room: Room) -> None:
    late: list[Any] = []

    class Stubborn(Waiting):
        async def handle(self, n: int) -> None:
            if n == 1 and self.attempt == 1:
                with contextlib.suppress(asyncio.CancelledError):
                    await self.room.wait()
                await self.room.wait()
                self.emit("number", n=-1)
                late.append(n)
                return
            self.emit("number", n=n)

    handler = ErrorHandler("retry", max_retries=1, retry_delay=0.0)
    flow = waiting_flow(Stubborn(room), concurrency=4, timeout=0.2, error_handler=handler)
    job = flow.start("numbers", {"count": 8}, keep_open=True)
    results = job.results()
    assert [next(results)["n"] for _ in range(8)] == list(range(8))
    assert job.state.routine_states["waiting"]["stats"]["abandoned"] == 1
    room.open()
    wait_until(lambda: late)
    job.close_entry()
    assert list(results) == []
    state = job.wait(PATIENCE)
    assert late == [1]
    assert (state.status, state.routine_states["waiting"]["restarts"]) == (JobStatus.COMPLETED, 0)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_handler_that_blocks_the_loop_is_given_up_with_it_and_the_others_run_again(concurrency: int) -> None:
    freed = threading.Event()
    runs: Counter[int] = Counter()

    class Blocking(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("input", handler=self.handle)
            self.define_event("number", ["n"])

        async def handle(self, n: int) -> None:
            runs[n] += 1
            await asyncio.sleep(0.05)
            if n == 2 and self.attempt == 1:
                freed.wait(PATIENCE)
            self.emit("number", n=n)

    handler = ErrorHandler("retry", max_retries=1, retry_delay=0.0)
    flow = waiting_flow(Blocking(), concurrency=concurrency, timeout=0.3, error_handler=handler)
    try:
        state = flow.execute("numbers", {"count": 6})
    finally:
        freed.set()
    assert [item["n"] for item in state.outputs["waiting", "number"]] == list(range(6))
    told = state.routine_states["waiting"]
    assert (told["failed"], told["retries"], told["restarts"]) == (1, 1, 1)
    assert runs[2] == 2
    join_loops()


@pytest.mark.parametrize("ordered", [True, False])
def test_random_failures_and_waits_lose_and_double_nothing(ordered: bool) -> None:
    class Random(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.random = random.Random(7)
            self.define_slot("input", handler=self.handle)
            self.define_event("number", ["n"])

        async def handle(self, n: int) -> None:
            self.state[f"{n}"] = self.attempt
            self.emit("number", n=n)
            for _ in range(self.random.randrange(3)):
                await asyncio.sleep(self.random.random() / 1_000)
            if self.random.random() < 0.1:
                raise ValueError(n)

    handler = ErrorHandler("retry", max_retries=100, retry_delay=0.0)
    flow = waiting_flow(Random(), concurrency=50, ordered=ordered, error_handler=handler)
    state = flow.execute("numbers", {"count": 500})
    came = [item["n"] for item in state.outputs["waiting", "number"]]
    assert (sorted(came) if not ordered else came) == list(range(500))
    assert all(count.sent == count.handled for count in state.connections if not count.label.endswith("output"))
    assert set(state.routine_states["waiting"]["state"]) == {f"{n}" for n in range(500)}


@pytest.mark.parametrize(("seed", "ordered"), [(1, True), (2, False), (3, True)])
def test_tasks_pauses_and_turns_put_back_lose_and_double_nothing(seed: int, ordered: bool) -> None:
    draw = random.Random(seed)

    class Drawn(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("input", handler=self.handle)
            self.define_event("number", ["n"])

        async def child(self, n: int, k: int) -> None:
            for j in range(5):
                await asyncio.sleep(draw.random() / 1_000)
                self.emit("number", n=(n, k, j))

        async def handle(self, n: int) -> None:
            async with asyncio.TaskGroup() as group:
                for k in range(3):
                    group.create_task(self.child(n, k))
            self.state[f"{n}"] = n
            if draw.random() < 0.1:
                raise ValueError(n)

    handler = ErrorHandler("retry", max_retries=1_000, retry_delay=0.0)
    flow = waiting_flow(Drawn(), capacity=50, concurrency=10, ordered=ordered, atomic=True, error_handler=handler)
    job = flow.start("numbers", {"count": 60})
    came: list[tuple[int, int, int]] = []
    for item in job.results():
        came.append(item["n"])
        if draw.random() < 0.05:
            with contextlib.suppress(PauseTimeoutError, JobEndedError):
                job.pause(timeout=draw.choice([0.0, 5.0]), on_timeout=draw.choice(["abort", "requeue"]))
                sent = [count.sent for count in job.state.connections]
                assert sent == [count.sent for count in job.state.connections]
                job.resume()
    assert sorted(came) == [(n, k, j) for n in range(60) for k in range(3) for j in range(5)]
    numbers = [n for n, _, _ in came]
    assert not ordered or numbers == sorted(numbers)
    state = job.wait(PATIENCE)
    assert (state.status, state.error) == (JobStatus.COMPLETED, None)
    assert state.routine_states["waiting"]["state"] == {f"{n}": n for n in range(60)}


def test_a_loop_that_is_lost_behind_one_that_failed_costs_no_order_and_no_try() -> None:
    freed = threading.Event()
    runs: Counter[int] = Counter()

    async def work(self: Routine, n: int) -> None:
        runs[n] += 1
        if n == 0 and self.attempt <= 2:
            raise ValueError(n)
        if n == 1 and runs[n] == 1:
            await asyncio.sleep(0.05)
            freed.wait(PATIENCE)  # while the first one waits for its next try
        self.emit("number", n=(n, self.attempt))

    handler = ErrorHandler("retry", max_retries=3, retry_delay=2.0, retry_backoff=1.0)
    flow = waiting_flow(Deed(work), concurrency=4, timeout=0.2, error_handler=handler)
    try:
        state = flow.execute("numbers", {"count": 4})
    finally:
        freed.set()
    assert [item["n"] for item in state.outputs["waiting", "number"]] == [(0, 3), (1, 1), (2, 1), (3, 1)]
    told = state.routine_states["waiting"]
    assert (told["failed"], told["restarts"], runs[1]) == (2, 1, 2)
    join_loops()
