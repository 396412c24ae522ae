"""Async handlers on real event loops: a thousand that wait at once, and pause, cancel and timeout on them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, Job, JobStatus, Routine, routine
from routilux.errors import EmitOutsideTurnError, OutsideTurnError
from routilux.jobs.errors import PauseTimeoutError
from routilux.turn.outbox import COUNT_BOUND
from tests.runtime.programs import run_program

PATIENCE = 30.0
MANY = 1_000


class Numbers(Routine):
    """Emits the numbers below `count`."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.produce)
        self.define_event("number", ["n"])

    def produce(self, count: int) -> None:
        for n in range(count):
            self.emit("number", n=n)


class Room:
    """Where handlers wait until a test lets them out; on whatever loops."""

    def __init__(self) -> None:
        self.inside = 0
        self.peak = 0
        self.cancelled = 0
        self.is_open = False
        self._changed = threading.Condition()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    async def wait(self) -> None:
        loop = asyncio.get_running_loop()
        let_out = loop.create_future()
        with self._changed:
            if self.is_open:
                return
            self._waiting.append((loop, let_out))
            self.inside += 1
            self.peak = max(self.peak, self.inside)
            self._changed.notify_all()
        try:
            await let_out
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            with self._changed:
                self.inside -= 1
                self._changed.notify_all()

    def wait_for(self, inside: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.inside == inside, PATIENCE), self.inside

    def open(self) -> None:
        with self._changed:
            self.is_open = True
            waiting, self._waiting = self._waiting, []
        for loop, let_out in waiting:
            with contextlib.suppress(RuntimeError):  # the loop is over
                loop.call_soon_threadsafe(lambda let_out=let_out: let_out.done() or let_out.set_result(None))


class Waiting(Routine):
    """Waits in a room with each number, and hands it on."""

    def __init__(self, room: Room) -> None:
        super().__init__()
        self.room = room
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    async def handle(self, n: int) -> None:
        await self.room.wait()
        self.state[f"{n}"] = n
        self.emit("number", n=n)


def waiting_flow(added: Routine, **options: Any) -> Flow:
    flow = Flow("waiting")
    flow.add_routine(Numbers(), "numbers")
    flow.add_routine(added, "waiting", **options)
    flow.connect("numbers", "number", "waiting", "input")
    flow.output("waiting", "number")
    return flow


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.open()


def wait_until(is_so: Callable[[], object]) -> None:
    """Wait for what tells nobody."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end
        threading.Event().wait(0.001)


def numbers_of(job: Job) -> list[int]:
    return [item["n"] for item in job.results()]


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
    job = waiting_flow(Waiting(room), concurrency=MANY).start("numbers", {"count": MANY})
    room.wait_for(MANY)
    job.cancel("enough", shutdown=0.1)
    state = job.wait(PATIENCE)
    assert (state.status, room.cancelled) == (JobStatus.CANCELLED, MANY)
    figures = state.routine_states["waiting"]["stats"]
    assert (figures["waiting"], figures["in_hand"]) == (MANY, 0)


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
    assert "0.2 s" in letter.cause
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
    for thread in threading.enumerate():
        if "/loop " in thread.name:
            thread.join(PATIENCE)


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


def test_turns_at_once_do_not_see_each_others_state_and_the_last_commit_of_a_key_wins(room: Room) -> None:
    seen: list[dict[str, Any]] = []

    class Writing(Waiting):
        async def handle(self, n: int) -> None:
            self.state["last"] = n
            self.state["list"] = [*self.state.get("list", []), n]
            await self.room.wait()
            seen.append(dict(self.state))
            self.emit("number", n=n)

    flow = waiting_flow(Writing(room), concurrency=3)
    job = flow.start("numbers", {"count": 3})
    room.wait_for(3)
    room.open()
    state = job.wait(PATIENCE)
    assert seen == [{"last": n, "list": [n]} for n in range(3)]
    assert state.routine_states["waiting"]["state"] == {"last": 2, "list": [2]}


def test_a_turn_sees_what_was_committed_before_it_began() -> None:
    @routine
    async def count(n: int) -> None: ...

    class Counting(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("input", handler=self.handle, merge_strategy="append")
            self.define_event("number", ["n"])

        async def handle(self, n: list[int]) -> None:
            self.state["count"] = self.state.get("count", 0) + 1
            await asyncio.sleep(0)
            self.emit("number", n=(self.state["count"], len(n)))

    state = waiting_flow(Counting()).execute("numbers", {"count": 50})
    assert [item["n"] for item in state.outputs["waiting", "number"]] == [(n, n) for n in range(1, 51)]


class Deed(Routine):
    """Does what it is told to with each number."""

    def __init__(self, do: Callable[[Any, int], Any]) -> None:
        super().__init__()
        self.do = do
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    async def handle(self, n: int) -> None:
        await self.do(self, n)


def run_deed(do: Callable[[Any, int], Any], count: int = 3, **options: Any) -> Any:
    return waiting_flow(Deed(do), **options).execute("numbers", {"count": count})


def test_tasks_that_a_handler_starts_emit_into_its_turn() -> None:
    async def child(self: Routine, n: int) -> None:
        await asyncio.sleep(0)
        self.emit("number", n=n)
        self.state[f"{n}"] = self.message_id

    async def gather(self: Routine, n: int) -> None:
        await asyncio.gather(*(child(self, 10 * n + k) for k in range(3)))
        async with asyncio.TaskGroup() as group:
            group.create_task(child(self, 10 * n + 3))

    state = run_deed(gather, concurrency=3)
    assert [item["n"] for item in state.outputs["waiting", "number"]] == [
        10 * n + k for n in range(3) for k in range(4)
    ]
    assert len(set(state.routine_states["waiting"]["state"].values())) == 3


def test_a_task_that_outlives_its_turn_gets_an_error_and_reaches_no_other_turn() -> None:
    caught: list[BaseException] = []
    turns_over = asyncio.Event()
    tasks = []

    async def child(self: Routine) -> None:
        await turns_over.wait()
        for use in (lambda: self.emit("number", n=-1), lambda: self.message_id):
            try:
                use()
            except RuntimeError as error:
                caught.append(error)

    async def leave(self: Routine, n: int) -> None:
        if n == 0:
            tasks.append(asyncio.create_task(child(self)))
            return
        turns_over.set()
        await tasks[0]
        self.emit("number", n=n)

    state = run_deed(leave, count=2, concurrency=1)
    assert [type(error) for error in caught] == [EmitOutsideTurnError, OutsideTurnError]
    assert [item["n"] for item in state.outputs["waiting", "number"]] == [1]


def test_another_thread_is_in_no_turn_even_with_the_context_of_one() -> None:
    caught: list[BaseException] = []

    def emit(self: Routine) -> None:
        try:
            self.emit("number", n=-1)
        except EmitOutsideTurnError as error:
            caught.append(error)

    async def use_threads(self: Routine, n: int) -> None:
        await asyncio.to_thread(emit, self)
        context = contextvars.copy_context()
        await asyncio.get_running_loop().run_in_executor(None, context.run, emit, self)

    state = run_deed(use_threads, count=1)
    assert state.status == JobStatus.COMPLETED, state.error
    assert len(caught) == 2


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        (lambda: sys.exit(3), "SystemExit: 3"),
        (lambda: asyncio.Future().cancel(), "does not come"),
    ],
)
def test_what_ends_a_program_elsewhere_is_a_failure_of_one_message(deed: Callable[[], Any], told: str) -> None:
    async def child() -> None:
        sys.exit(3)

    async def leave(self: Routine, n: int) -> None:
        if n == 1 and told == "does not come":
            current = asyncio.current_task()
            assert current is not None
            current.cancel()
            await asyncio.sleep(0)
        elif n == 1:
            deed()
        elif n == 2:
            await asyncio.gather(asyncio.create_task(child()), return_exceptions=False)
        self.emit("number", n=n)

    state = run_deed(leave, count=4, concurrency=4, error_handler=ErrorHandler("continue"))
    assert [item["n"] for item in state.outputs["waiting", "number"]] == [0, 3]
    assert len(state.dead_letters) == 2
    assert told == "does not come" or told in state.dead_letters[0].cause


def test_a_turn_that_emits_much_waits_at_its_next_await_until_there_is_room() -> None:
    waits: list[int] = []

    async def emit_much(self: Routine, n: int) -> None:
        for k in range(3):
            for _ in range(COUNT_BOUND):
                self.emit("number", n=k)
            waits.append(k)
            await asyncio.sleep(0)

    flow = Flow("much")
    flow.add_routine(Deed(emit_much), "much", concurrency=2)
    flow.output("much", "number", capacity=COUNT_BOUND)
    job = flow.start(keep_open=True)
    job.send("much", "input", n=0)
    job.close_entry()
    results = job.results()
    first = next(results)
    assert first == {"n": 0}
    assert waits[-1] <= 1  # the second part finds no room
    assert len(list(results)) == 3 * COUNT_BOUND - 1


def test_an_asynchronous_generator_commits_at_each_yield_and_a_pause_finds_it_there(tmp_path: Path) -> None:
    class Source(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("trigger", handler=self.produce)
            self.define_event("number", ["n"])

        async def produce(self, count: int) -> AsyncIterator[None]:
            for n in range(self.state.get("next", 0), count):
                await asyncio.sleep(0)
                self.emit("number", n=n)
                self.state["next"] = n + 1
                yield

    def make() -> Flow:
        flow = Flow("source")
        flow.add_routine(Source(), "source")
        flow.output("source", "number", capacity=10)
        return flow

    job = make().start("source", {"count": 100}, store=tmp_path / "jobs")
    results = job.results()
    came = [next(results)["n"] for _ in range(20)]
    job.pause()
    held = job.state.routine_states["source"]["state"]["next"]
    assert held >= 20
    job.leave()
    again = Flow.resume(tmp_path / "jobs", job.id, flow=make())
    came += numbers_of(again)
    assert came == list(range(100))
    again.wait(PATIENCE)


def test_function_routines_are_async_too() -> None:
    @routine(events={"number": ["n"]})
    async def double(n: int) -> int:
        await asyncio.sleep(0)
        return 2 * n

    @routine(events={"number": ["n"]})
    async def twice(n: int) -> AsyncIterator[int]:
        for k in range(2):
            await asyncio.sleep(0)
            yield n + k

    flow = Flow("functions")
    flow.add_routine(double, concurrency=2)
    flow.add_routine(twice, concurrency=2)
    flow.connect("double", "number", "twice", "input")
    flow.output("twice", "number")
    job = flow.start(keep_open=True)
    for n in range(3):
        job.send("double", "input", n=n)
    job.close_entry()
    assert numbers_of(job) == [0, 1, 2, 3, 4, 5]


def test_a_generator_that_fails_is_closed_outside_of_its_turn() -> None:
    caught: list[BaseException] = []

    class Closing(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("input", handler=self.handle)
            self.define_event("number", ["n"])

        async def handle(self, n: int) -> AsyncIterator[None]:
            try:
                self.emit("number", n=n)
                yield 7  # type: ignore[misc]  # which is refused
            finally:
                try:
                    self.emit("number", n=-1)
                except EmitOutsideTurnError as error:
                    caught.append(error)

    flow = waiting_flow(Closing(), error_handler=ErrorHandler("continue"))
    state = flow.execute("numbers", {"count": 1})
    assert len(caught) == 1
    assert "yields nothing where it commits" in state.dead_letters[0].cause
    assert state.outputs["waiting", "number"] == []


def test_what_is_done_once_is_not_done_again(tmp_path: Path) -> None:
    done: list[int] = []

    async def pay(self: Routine, n: int) -> None:
        await asyncio.sleep(0)
        ticket = self.once("pay", lambda: done.append(n) or len(done))
        if self.attempt == 1:
            raise ValueError(n)
        self.emit("number", n=(n, ticket))

    flow = waiting_flow(Deed(pay), concurrency=4, error_handler=ErrorHandler("retry", retry_delay=0.0))
    state = flow.execute("numbers", {"count": 8}, store=tmp_path / "jobs")
    assert sorted(done) == list(range(8))
    assert [item["n"][0] for item in state.outputs["waiting", "number"]] == list(range(8))


def test_a_background_checkpoint_waits_for_none_of_a_thousand_handlers(room: Room, tmp_path: Path) -> None:
    job = waiting_flow(Waiting(room), concurrency=MANY).start("numbers", {"count": MANY}, store=tmp_path / "jobs")
    room.wait_for(MANY)
    before = job.checkpoint().number
    assert job.checkpoint().number == before + 1
    assert room.inside == MANY
    job.leave(shutdown=0.0)
    again_room = Room()
    again_room.open()
    again = Flow.resume(tmp_path / "jobs", job.id, flow=waiting_flow(Waiting(again_room), concurrency=MANY))
    assert numbers_of(again) == list(range(MANY))
    state = again.wait(PATIENCE)
    assert state.routine_states["waiting"]["state"] == {f"{n}": n for n in range(MANY)}


@pytest.mark.processes
def test_a_program_without_tasks_imports_no_asyncio(tmp_path: Path) -> None:
    text = """
    @routine
    def look(n):
        return {"found": "asyncio" in sys.modules}

    flow = Flow("look")
    flow.add_routine(look, "here")
    flow.add_routine(look, "there", placement="process")
    flow.connect("here", "output", "there", "input", {"found": "n"})
    flow.output("here", "output")
    flow.output("there", "output")
    print([item["found"] for item in flow.execute("here", {"n": 1}).results()])
    """
    ended = run_program(tmp_path, textwrap.dedent(text))
    assert (ended.code, ended.out.split("\n")[0]) == (0, "[False, False]"), ended.errors


class InProcess(Routine):
    """Handles by coroutines in a worker process."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[Any] = []
        self.define_slot("input", handler=self.handle)
        self.define_slot("steps", handler=self.step)
        self.define_event("number", ["n"])

    async def child(self, n: int) -> None:
        await asyncio.sleep(0)
        self.emit("number", n=n)

    async def outlive(self) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.left.append("cancelled")

    async def handle(self, n: int) -> None:
        self.state["count"] = self.state.get("count", 0) + 1
        await asyncio.gather(self.child(10 * n), self.child(10 * n + 1))
        self.left.append(asyncio.create_task(self.outlive()))
        await asyncio.to_thread(lambda: None)
        if n % 2 and self.attempt == 1:
            raise ValueError(n)
        self.state["left"] = [left if isinstance(left, str) else "task" for left in self.left]

    async def step(self, n: int) -> AsyncIterator[None]:
        for k in range(self.state.get(f"{n}", 0), 3):
            await self.child(10 * n + k)
            self.state[f"{n}"] = k + 1
            if k == 1 and self.attempt == 1:
                raise ValueError(n)
            yield


@pytest.mark.processes
@pytest.mark.parametrize(
    ("slot", "expected"), [("input", [0, 1, 10, 11, 20, 21]), ("steps", [0, 1, 2, 10, 11, 12, 20, 21, 22])]
)
def test_async_handlers_run_in_processes_one_at_a_time(slot: str, expected: list[int]) -> None:
    flow = Flow("process")
    handler = ErrorHandler("retry", max_retries=1, retry_delay=0.0)
    flow.add_routine(InProcess(), "it", placement="process", error_handler=handler)
    flow.output("it", "number")
    job = flow.start(keep_open=True)
    for n in range(3):
        job.send("it", slot, n=n)
    job.close_entry()
    assert numbers_of(job) == expected
    state = job.wait(PATIENCE)
    assert (state.status, state.error) == (JobStatus.COMPLETED, None)
    kept = state.routine_states["it"]["state"]
    if slot == "input":
        # Each turn's task was cancelled at its end, before the next one began.
        assert (kept["count"], kept["left"]) == (3, ["task", "cancelled"] * 3 + ["task"])
    else:
        assert kept == {"0": 3, "1": 3, "2": 3}


@pytest.mark.processes
def test_an_async_handler_in_a_process_that_takes_too_long_is_ended_with_it() -> None:
    @routine(events={"number": ["n"]})
    async def hang(n: int) -> int:
        if n == 1:
            await asyncio.sleep(PATIENCE)
        return n

    flow = Flow("hang")
    flow.add_routine(hang, "hang", placement="process", timeout=1.0, error_handler=ErrorHandler("continue"))
    flow.output("hang", "number")
    job = flow.start(keep_open=True)
    for n in range(3):
        job.send("hang", "input", n=n)
    job.close_entry()
    assert numbers_of(job) == [0, 2]
    [letter] = job.wait(PATIENCE).dead_letters
    assert "1 s" in letter.cause
