"""The turn of an async handler: its state, its tasks, its steps, and what of it runs elsewhere."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, JobStatus, Routine, routine
from routilux.errors import EmitOutsideTurnError, OnceError, OutsideTurnError
from routilux.turn.outbox import COUNT_BOUND, SECONDS_BOUND
from tests.runtime.programs import run_program
from tests.runtime.waiting import (
    PATIENCE,
    Deed,
    Room,
    Waiting,
    numbers_of,
    run_deed,
    waiting_flow,
)

MANY = 1_000


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.open()


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
        uses = (
            lambda: self.emit("number", n=-1),
            lambda: self.message_id,
            lambda: self.state,
            lambda: setattr(self, "state", {}),
            self.stats,
            lambda: self.increment_stat("n"),
        )
        for use in uses:
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
    assert [type(error) for error in caught] == [EmitOutsideTurnError, *[OutsideTurnError] * 5]
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


def test_what_a_turn_sets_in_its_context_its_tasks_see_and_no_other_turn(room: Room) -> None:
    tag = contextvars.ContextVar("tag", default=-1)
    before: list[int] = []

    async def child(self: Routine) -> None:
        await asyncio.sleep(0)
        self.emit("number", n=tag.get())

    async def work(self: Routine, n: int) -> None:
        before.append(tag.get())
        tag.set(n)
        await room.wait()
        await asyncio.create_task(child(self))

    job = waiting_flow(Deed(work), concurrency=3).start("numbers", {"count": 3})
    room.wait_for(3)
    room.open()
    assert numbers_of(job) == [0, 1, 2]
    assert before == [-1, -1, -1]
    job.wait(PATIENCE)


class Handing(Routine):
    """Hands work to a thread, which cannot have the state."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def work(self) -> str:
        try:
            return f"{self.state}"
        except OutsideTurnError as error:
            return type(error).__name__

    async def handle(self, n: int) -> None:
        self.state["n"] = n
        self.emit("number", n=await asyncio.to_thread(self.work))
        self.emit("number", n=Handing().work())  # of another object it is what a job would begin with


@pytest.mark.parametrize("placement", ["thread", pytest.param("process", marks=pytest.mark.processes)])
def test_a_thread_of_a_handler_gets_no_state_that_is_not_its_turns(placement: str) -> None:
    state = waiting_flow(Handing(), placement=placement).execute("numbers", {"count": 2})
    assert [item["n"] for item in state.outputs["waiting", "number"]] == ["OutsideTurnError", "{}"] * 2
    assert state.routine_states["waiting"]["state"] == {"n": 1}


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


@pytest.mark.parametrize("placement", ["thread", pytest.param("process", marks=pytest.mark.processes)])
def test_what_waits_is_done_once_too(placement: str, tmp_path: Path) -> None:
    flow = Flow("paying")
    handler = ErrorHandler("retry", max_retries=1, retry_delay=0.0)
    flow.add_routine(Paying(tmp_path), "waiting", placement=placement, error_handler=handler)
    flow.output("waiting", "number")
    job = flow.start(keep_open=True, store=tmp_path / "jobs")
    for n in range(4):
        job.send("waiting", "input", n=n)
    job.close_entry()
    assert [item["n"] for item in job.results()] == [(n, f"receipt for {n}") for n in range(4)]
    assert sorted((tmp_path / "paid").read_text().split()) == ["0", "1", "2", "3"]
    assert job.wait(PATIENCE).routine_states["waiting"]["retries"] == 4


class Paying(Routine):
    """Pays once for each message, by a function that waits, and fails after that at the first try."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.paid = folder / "paid"
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    async def pay(self, n: int) -> str:
        await asyncio.sleep(0)
        with self.paid.open("a") as paid:
            paid.write(f"{n}\n")
        return self.once("receipt", lambda: f"receipt for {n}")

    async def handle(self, n: int) -> None:
        receipt = await self.once("pay", partial(self.pay, n))
        if self.attempt == 1:
            raise ValueError(n)
        self.emit("number", n=(n, receipt))


def test_what_is_done_once_may_wait_and_may_not_touch_its_turn() -> None:
    told: list[str] = []

    def note(error: BaseException) -> None:
        told.append(f"{type(error).__name__}: {error}")

    async def refused(self: Routine) -> int:
        await asyncio.sleep(0)
        for use in (lambda: self.emit("number", n=-1), lambda: setattr(self, "state", {}), lambda: self.once("a", int)):
            try:
                use()
            except OnceError as error:
                note(error)

        async def child() -> None:
            self.emit("number", n=-2)

        await asyncio.gather(child(), return_exceptions=True)
        return len(self.state)

    async def work(self: Routine, n: int) -> None:
        self.state["n"] = n
        first = asyncio.ensure_future(self.once("a", partial(refused, self)))
        await asyncio.sleep(0)
        self.emit("number", n="beside it")  # the turn goes on meanwhile
        try:
            await self.once("a", partial(refused, self))
        except OnceError as error:
            note(error)
        self.emit("number", n=await first)
        self.emit("number", n=await self.once("a", partial(refused, self)))
        try:
            self.once("b", lambda: asyncio.sleep(0))
        except OnceError as error:
            note(error)

    state = run_deed(work, count=1)
    assert state.status == JobStatus.COMPLETED, state.error
    assert [item["n"] for item in state.outputs["waiting", "number"]] == ["beside it", 1, 1]
    assert len(told) == 5
    for words in (
        "cannot emit",
        "cannot replace",
        "gave a coroutine",
        "done by another task",
        "within its own function",
    ):
        assert any(words in text for text in told), words


def test_what_is_done_once_and_ends_after_its_turn_is_not_recorded() -> None:
    caught: list[BaseException] = []
    is_over = asyncio.Event()

    async def late() -> int:
        await is_over.wait()
        return 1

    async def work(self: Routine, n: int) -> None:
        async def leave() -> None:
            try:
                await self.once("late", late)
            except OutsideTurnError as error:
                caught.append(error)

        if n == 0:
            tasks.append(asyncio.create_task(leave()))
            await asyncio.sleep(0)
            return
        is_over.set()
        await tasks[0]
        self.emit("number", n=n)

    tasks: list[Any] = []
    state = run_deed(work, count=2)
    assert [item["n"] for item in state.outputs["waiting", "number"]] == [1]
    assert "nothing was recorded" in str(caught[0])


def test_a_plain_handler_cannot_do_once_what_waits() -> None:
    async def pay() -> None: ...

    class Plain(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("input", handler=self.handle)
            self.define_event("number", ["n"])

        def handle(self, n: int) -> None:
            self.once("pay", pay)

    state = waiting_flow(Plain(), error_handler=ErrorHandler("continue")).execute("numbers", {"count": 1})
    assert "a plain handler cannot await it" in state.dead_letters[0].cause


def test_a_turn_that_emits_now_and_then_holds_no_lock_for_ever_that_the_first_one_waits_for() -> None:
    second_has_it, lock = asyncio.Event(), asyncio.Lock()

    async def work(self: Routine, n: int) -> None:
        if n == 0:
            await second_has_it.wait()
        async with lock:
            second_has_it.set()
            for _ in range(3):
                self.emit("number", n=n)
                await asyncio.sleep(SECONDS_BOUND)  # so that the next one is let out early

    state = run_deed(work, count=2, concurrency=2)
    assert [item["n"] for item in state.outputs["waiting", "number"]] == [0, 0, 0, 1, 1, 1]


def test_what_the_tasks_of_a_handler_emit_waits_for_room_too() -> None:
    made = 0

    async def child(self: Routine) -> None:
        nonlocal made
        for _ in range(10 * COUNT_BOUND):
            self.emit("number", n=made)
            made += 1
            if made % 100 == 0:
                await asyncio.sleep(0)

    async def work(self: Routine, n: int) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child(self))

    flow = Flow("much")
    flow.add_routine(Deed(work), "much")
    flow.output("much", "number", capacity=COUNT_BOUND)
    job = flow.start(keep_open=True)
    job.send("much", "input", n=0)
    job.close_entry()
    results = job.results()
    came = [next(results)["n"] for _ in range(COUNT_BOUND // 2)]
    assert made <= 3 * COUNT_BOUND
    came += [item["n"] for item in results]
    assert came == list(range(10 * COUNT_BOUND))


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


class Mixed(Routine):
    """Has handlers of every kind, on one loop."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("input", "plain", "steps"):
            self.define_slot(name, handler=getattr(self, f"handle_{name}"))
        self.define_event("number", ["n"])

    async def handle_input(self, n: int) -> None:
        await asyncio.sleep(0)
        self.emit("number", n=("async", n))

    def handle_plain(self, n: int) -> None:
        asyncio.get_running_loop()
        self.emit("number", n=("plain", n))

    def handle_steps(self, n: int) -> Iterator[None]:
        for k in range(2):
            self.emit("number", n=("step", 10 * n + k))
            self.state[f"{n}"] = self.state.get(f"{n}", 0) + 1
            yield


@pytest.mark.parametrize("concurrency", [1, 5])
def test_plain_handlers_and_generators_of_such_a_routine_run_on_its_loop(concurrency: int) -> None:
    flow = Flow("mixed")
    flow.add_routine(Mixed(), "mixed", concurrency=concurrency)
    flow.output("mixed", "number")
    job = flow.start(keep_open=True)
    for n in range(2):
        for slot in ("input", "plain", "steps"):
            job.send("mixed", slot, n=n)
    job.close_entry()
    expected = []
    for n in range(2):
        expected += [("async", n), ("plain", n), ("step", 10 * n), ("step", 10 * n + 1)]
    assert [item["n"] for item in job.results()] == expected
    state = job.wait(PATIENCE)
    assert state.status == JobStatus.COMPLETED, state.error
    assert state.routine_states["mixed"]["state"] == {"0": 2, "1": 2}


@dataclass
class Record:
    seen: list[int] = field(default_factory=list)


class Recording(Deed):
    state_type = Record


class Valued(Deed):
    state_policy = "value"


@pytest.mark.parametrize(("kind", "first"), [(Recording, Record([2])), (Valued, (2,))])
def test_a_state_that_is_one_object_is_replaced_by_the_last_commit(kind: type[Deed], first: Any) -> None:
    started: list[int] = []

    async def note(self: Routine, n: int) -> None:
        started.append(n)
        if isinstance(self.state, Record):
            self.state.seen.append(n)
        else:
            self.state = (*(self.state or ()), n)
        while len(started) < 3:  # noqa: ASYNC110  until all have begun
            await asyncio.sleep(0)

    state = waiting_flow(kind(note), concurrency=3).execute("numbers", {"count": 3})
    assert state.status == JobStatus.COMPLETED, state.error
    assert state.routine_states["waiting"]["state"] == first


def test_a_state_may_be_changed_in_place_by_one_async_handler_at_a_time(tmp_path: Path) -> None:
    class InPlace(Deed):
        state_policy = "in_place"

    async def count(self: Routine, n: int) -> None:
        self.state["count"] = self.state.get("count", 0) + 1
        await asyncio.sleep(0)
        self.emit("number", n=self.state["count"])

    job = waiting_flow(InPlace(count)).start("numbers", {"count": 50}, store=tmp_path / "jobs", keep_open=True)
    job.checkpoint()
    job.close_entry()
    assert numbers_of(job) == list(range(1, 51))
    assert job.wait(PATIENCE).routine_states["waiting"]["state"] == {"count": 50}
