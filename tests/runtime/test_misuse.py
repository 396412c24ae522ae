"""Calls at the wrong moment: typed errors that say what to do, never a hang; and what may be done twice."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, JobState, JobStatus, Routine, routine
from routilux.errors import (
    EmitOutsideTurnError,
    EntryError,
    FlowRunningError,
    JobEndedError,
    JobTimeoutError,
    MomentError,
    NotADeadLetterError,
    OptionError,
    OutsideTurnError,
    RoutineInUseError,
    UnknownRoutineError,
    WaitInsideHandlerError,
)
from routilux.runtime.job import Job


class Caller(Routine):
    """Calls what it is given with its own job, on its own thread, and keeps what that gave or raised."""

    def __init__(self, call: Callable[[Job], object]) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_slot("trigger", handler=self.handle)
        self.define_event("said", ["n"])
        self.call = call
        self.jobs: list[Job] = []
        self.is_started = threading.Event()
        self.came: list[object] = []

    def handle(self, n: int = 0) -> None:
        assert self.is_started.wait(10)
        try:
            self.came.append(self.call(self.jobs[0]))
        except BaseException as error:  # noqa: BLE001
            self.came.append(error)
        if n == 0:
            self.emit("said", n=n)


def call_inside(call: Callable[[Job], object]) -> Any:
    """Give what `call` gave or raised in a handler of the job it is called with."""
    caller = Caller(call)
    flow = Flow("inside")
    flow.add_routine(caller, "caller", capacity=1)
    flow.output("caller", "said")
    job = flow.start("caller", keep_open=True)
    caller.jobs.append(job)
    caller.is_started.set()
    next(job.results())
    job.close_entry()
    state = job.wait(30)
    assert state.status in {JobStatus.COMPLETED, JobStatus.CANCELLED}, state.error
    return caller.came[0]


def leave_with(job: Job) -> None:
    with job:
        pass


def await_it(job: Job) -> None:
    async def wait() -> None:
        await job

    asyncio.run(wait())


def send_twice(job: Job) -> None:
    job.send("caller", "input", n=1)
    job.send("caller", "input", n=2)  # there is room for one


WAITS: dict[str, tuple[Callable[[Job], object], str]] = {
    "wait": (lambda job: job.wait(), "job.wait()"),
    "wait with a timeout": (lambda job: job.wait(0.1), "job.wait()"),
    "results": (lambda job: list(job.results()), "job.results()"),
    "collect": (lambda job: job.collect(), "job.collect()"),
    "stream": (lambda job: next(job.stream("caller", "said")), "reading a stream"),
    "with": (leave_with, "the end of `with job`"),
    "await": (await_it, "await job"),
    "cancel and wait": (lambda job: job.cancel_and_wait(), "job.wait()"),
    "send": (send_twice, "job.send to 'caller', which has no room,"),
}


@pytest.mark.parametrize("way", WAITS)
def test_a_handler_that_waits_for_its_own_job_is_told_so_at_once(way: str) -> None:
    call, attempted = WAITS[way]
    error = call_inside(call)
    assert type(error) is WaitInsideHandlerError
    assert isinstance(error, MomentError)
    assert (error.routine_id, error.attempted) == ("caller", attempted)
    assert str(error).startswith(
        f"{attempted} in a handler of routine 'caller' waits for job '{error.job_id}', which waits for that handler; "
    )


class Calling(logging.Handler):
    """A log handler that calls what it is given, and keeps what that gave or raised."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__()
        self.call = call
        self.came: list[object] = []

    def emit(self, _record: logging.LogRecord) -> None:
        try:
            self.came.append(self.call())
        except MomentError as error:
            self.came.append(error)


@contextmanager
def calling_when_logged(call: Callable[[], object]) -> Iterator[list[object]]:
    handler, logger = Calling(call), logging.getLogger("routilux")
    logger.addHandler(handler)
    try:
        yield handler.came
    finally:
        logger.removeHandler(handler)


class Refusing(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("said", ["n"])

    def handle(self, n: int) -> None:
        raise ValueError(n)


@pytest.mark.parametrize("way", ["wait", "wait with a timeout", "results", "collect", "with", "cancel and wait"])
def test_a_log_handler_that_waits_for_the_job_that_logs_is_told_so_at_once(way: str) -> None:
    call, attempted = WAITS[way]
    flow = Flow("logs")
    flow.add_routine(Refusing(), "refusing", error_handler=ErrorHandler("continue"))
    job = flow.start(keep_open=True)
    with calling_when_logged(lambda: call(job)) as came:
        job.send("refusing", "input", n=1)
        job.close_entry()
        job.wait(30)
    [error] = came
    assert type(error) is WaitInsideHandlerError
    assert (error.routine_id, error.attempted) == (None, attempted)
    assert str(error).startswith(f"{attempted} on a thread of that job (in a log handler?) waits for job {job.id!r}")


def test_a_log_handler_may_look_at_the_job_that_logs_but_for_its_very_end() -> None:
    is_held, is_inside = threading.Event(), threading.Event()

    class Staying(Refusing):
        def handle(self, n: int) -> None:
            if n == 1:
                raise ValueError(n)
            is_inside.set()
            is_held.wait(30)

    flow = Flow("logs")
    flow.add_routine(Staying(), "staying", error_handler=ErrorHandler("continue"))
    job = flow.start(keep_open=True, shutdown=0.0)
    with calling_when_logged(lambda: job.state) as came:
        job.send("staying", "input", n=1)
        job.send("staying", "input", n=2)
        assert is_inside.wait(10)
        job.cancel()  # leaves the thread behind, which the log is told
        job.wait(30)
        is_held.set()
    assert [type(one) for one in came] == [JobState, WaitInsideHandlerError]


def test_waiting_by_the_flow_in_a_handler_is_told_so_too() -> None:
    flows: list[Flow] = []
    caller = Caller(lambda job: JobState.wait_for_completion(flows[0], job.state))
    flows.append(Flow("waits"))
    flows[0].add_routine(caller, "caller")
    job = flows[0].start("caller")
    caller.jobs.append(job)
    caller.is_started.set()
    assert job.wait(30).status == "completed"
    assert type(caller.came[0]) is WaitInsideHandlerError


ALLOWED: dict[str, tuple[Callable[[Job], object], object]] = {
    "state": (lambda job: job.state.status, "running"),
    "cancel": (lambda job: job.cancel("from inside"), None),
    "send": (lambda job: job.send("caller", "input", n=1), None),
    "close_entry": (lambda job: job.close_entry(), None),
    "dead_letters": (lambda job: job.dead_letters, []),
    "is_over": (lambda job: job.is_over, False),
}


@pytest.mark.parametrize("call", ALLOWED)
def test_a_handler_may_do_to_its_job_what_needs_no_wait(call: str) -> None:
    act, expected = ALLOWED[call]
    assert call_inside(act) == expected


def test_a_send_from_a_handler_without_any_time_is_refused_for_want_of_room() -> None:
    def send(job: Job) -> None:
        job.send("caller", "input", n=1)
        job.send("caller", "input", timeout=0.0, n=2)

    assert type(call_inside(send)) is JobTimeoutError


@routine
def double(n: int) -> dict[str, int]:
    return {"n": 2 * n}


def double_in_a_job(n: int, placement: str) -> int:
    flow = Flow("inner")
    flow.add_routine(double, "double", placement=placement)
    flow.output("double", "output")
    return int(flow.execute("double", {"n": n}).results()[0]["n"])


@routine
def nest(n: int, placement: str) -> dict[str, int]:
    return {"n": double_in_a_job(n, placement)}


@pytest.mark.processes
@pytest.mark.parametrize("inner", ["thread", "process"])
@pytest.mark.parametrize("outer", ["thread", "process"])
def test_a_handler_may_start_another_job_and_wait_for_it(outer: str, inner: str) -> None:
    flow = Flow("outer")
    flow.add_routine(nest, "nest", placement=outer)
    flow.output("nest", "output")
    state = flow.execute("nest", {"n": 21, "placement": inner})
    assert (state.status, [item["n"] for item in state.results()]) == ("completed", [42]), state.error


class Identified(Routine):
    """Tells its job's id."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.run)
        self.define_event("told", ["job_id"])

    def run(self) -> None:
        self.emit("told", job_id=self.job_id)


@pytest.mark.processes
@pytest.mark.parametrize("placement", ["thread", "process"])
def test_a_handler_knows_its_jobs_id(placement: str) -> None:
    flow = Flow("identified")
    flow.add_routine(Identified(), "x", placement=placement)
    flow.output("x", "told")
    state = flow.execute("x")
    assert state.results() == [{"job_id": state.job_id}]


def test_there_is_no_job_id_outside_of_a_handler() -> None:
    with pytest.raises(OutsideTurnError, match="job_id exists only while a handler of that routine runs"):
        _ = Identified().job_id


# A routine object, and a flow, of which a job runs.


@contextmanager
def held_job(flow: Flow, routine_id: str, **options: Any) -> Iterator[Job]:
    """A job that is open for messages, and over at the end of the block."""
    flow.add_routine(Identified(), routine_id, **options) if routine_id not in flow.routines else None
    with flow.start(keep_open=True) as job:
        yield job


def test_an_object_that_runs_for_one_flow_cannot_be_started_by_another() -> None:
    shared = Identified()
    first, second = Flow("first"), Flow("second")
    first.add_routine(shared, "one")
    second.add_routine(shared, "two")
    with held_job(first, "one") as job:
        with pytest.raises(RoutineInUseError) as raised:
            second.start("two")
        assert str(raised.value) == (
            f"routine 'two' of flow 'second' is the very object that runs as 'one' in job {job.id!r} of flow 'first'; "
            "wait for that job's end, give each flow an object of its own, or use placement='process', "
            "which runs a copy"
        )
        with held_job(first, "one") as another:  # two jobs of one flow may share it
            assert another.id != job.id
    assert second.execute("two").status == "completed"


@pytest.mark.processes
def test_an_object_that_runs_as_a_copy_may_be_started_anywhere() -> None:
    shared = Identified()
    first, second = Flow("first"), Flow("second")
    first.add_routine(shared, "one", placement="process")
    second.add_routine(shared, "two")
    with held_job(first, "one"):
        assert second.execute("two").status == "completed"
    with held_job(second, "two"):
        assert first.execute("one").status == "completed"


def test_a_function_may_run_in_several_flows_at_once() -> None:
    first, second = Flow("first"), Flow("second")
    for flow in (first, second):
        flow.add_routine(double, "double")
    with held_job(first, "double"):
        assert second.execute("double", {"n": 1}).status == "completed"


CHANGES: dict[str, Callable[[Flow], object]] = {
    "add_routine": lambda flow: flow.add_routine(Identified(), "new"),
    "connect": lambda flow: flow.connect("x", "told", "y", "trigger"),
    "output": lambda flow: flow.output("y", "told"),
    "set_error_handler": lambda flow: flow.set_error_handler(ErrorHandler("continue")),
    "error_handler": lambda flow: setattr(flow, "error_handler", ErrorHandler("continue")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_flow_cannot_be_changed_while_a_job_of_it_runs(change: str) -> None:
    flow = Flow("changed")
    for routine_id in ("x", "y"):
        flow.add_routine(Identified(), routine_id)
    with held_job(flow, "x") as job, pytest.raises(FlowRunningError) as raised:
        CHANGES[change](flow)
    assert str(raised.value) == (
        f"flow 'changed' cannot be changed ({change.removeprefix('set_')}) while job {job.id!r} of it runs; change it "
        "before the start or after the end (job.wait()), or build another flow"
    )
    CHANGES[change](flow)
    assert flow.execute("y").status in {"completed", "failed"}


def test_a_flow_may_be_changed_by_whoever_awaited_its_job() -> None:
    flow = Flow("awaited")
    flow.add_routine(Identified(), "x")

    async def run() -> None:
        await flow.start("x")
        flow.add_routine(Identified(), "y")

    for _ in range(20):
        asyncio.run(run())
        flow = Flow("awaited")
        flow.add_routine(Identified(), "x")


def test_every_running_job_of_a_flow_that_is_changed_is_named() -> None:
    flow = Flow("twice")
    with held_job(flow, "x") as first, held_job(flow, "x") as second, pytest.raises(FlowRunningError) as raised:
        flow.add_routine(Identified(), "y")
    assert raised.value.job_ids == (first.id, second.id)
    assert f"while jobs {first.id!r}, {second.id!r} of it run;" in str(raised.value)


# `emit` where no turn of the routine runs.


class Leaking(Routine):
    """Hands its `emit` to others."""

    def __init__(self, call: Callable[[Leaking], object]) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.run)
        self.define_event("said", ["n"])
        self.call = call
        self.came: list[object] = []

    def run(self) -> None:
        self.came.append(self.call(self))


def emit_on_a_thread(leaking: Leaking) -> object:
    came: list[object] = []

    def emit() -> None:
        try:
            leaking.emit("said", n=1)
        except EmitOutsideTurnError as error:
            came.append(error)

    thread = threading.Thread(target=emit)
    thread.start()
    thread.join()
    return came[0]


WORDS = "Leaking.emit('said') works inside a handler of that routine, on the handler's own thread; here no turn runs"


def test_emit_from_a_thread_of_the_handlers_own_is_refused() -> None:
    leaking = Leaking(emit_on_a_thread)
    flow = Flow("leaking")
    flow.add_routine(leaking, "x")
    assert flow.execute("x").status == "completed"
    assert str(leaking.came[0]) == WORDS


def test_emit_after_the_end_of_the_job_is_refused() -> None:
    leaking = Leaking(lambda leaking: leaking.emit)
    flow = Flow("leaking")
    flow.add_routine(leaking, "x")
    assert flow.execute("x").status == "completed"
    emit: Any = leaking.came[0]
    with pytest.raises(EmitOutsideTurnError) as raised:
        emit("said", n=1)
    assert str(raised.value) == WORDS


def test_emit_while_the_object_is_made_is_refused() -> None:
    class Early(Leaking):
        def __init__(self) -> None:
            super().__init__(lambda _: None)
            self.emit("said", n=1)

    with pytest.raises(EmitOutsideTurnError, match="here no turn runs"):
        Early()


def test_what_an_abandoned_handler_emits_goes_nowhere() -> None:
    gate, begun, over = threading.Event(), threading.Event(), threading.Event()

    def hang(leaking: Leaking) -> None:
        begun.set()
        assert gate.wait(30)
        leaking.emit("said", n=1)
        over.set()

    flow = Flow("abandoned")
    flow.add_routine(Leaking(hang), "x")
    flow.output("x", "said")
    job = flow.start("x")
    assert begun.wait(10)
    job.cancel(shutdown=0.0)
    state = job.wait(30)
    gate.set()
    assert over.wait(10)
    assert (state.status, list(job.results())) == ("cancelled", [])
    assert job.state.routine_states["x"]["stats"]["emitted"] == 0


# What is done twice, or after the end.


def test_everything_may_be_done_again_after_the_end() -> None:
    flow = Flow("over")
    flow.add_routine(double, "double")
    flow.output("double", "output")
    with flow.start("double", {"n": 2}, keep_open=True) as job:
        job.close_entry()
        job.close_entry()
    with job:
        pass
    job.cancel("too late")
    job.cancel("too late", shutdown=0.0)
    job.close_entry()
    first, second = job.wait(), job.wait(0.0)
    assert (first.status, second.status, job.state.status) == ("completed",) * 3
    assert first.error is None
    assert job.cancel_and_wait().status == "completed"
    assert job.state.results() == [{"n": 4}]
    assert list(job.results()) == []
    assert list(job.stream("double", "output")) == []
    job.collect()
    with pytest.raises(JobEndedError, match=f"job {job.id!r} is completed and takes nothing more: a message to"):
        job.send("double", "input", n=1)
    assert flow.wait_for(job.id) is True


def test_a_job_that_was_cancelled_twice_keeps_the_first_reason() -> None:
    flow = Flow("cancelled")
    flow.add_routine(double, "double")
    job = flow.start(keep_open=True)
    job.cancel("first")
    job.cancel("second")
    assert job.wait(30).error == "first"


def test_results_that_two_threads_iterate_come_once_each() -> None:
    flow = Flow("shared")
    flow.add_routine(double, "double", capacity=5)
    flow.output("double", "output", capacity=5)
    got: list[list[int]] = [[], []]
    with flow.start(keep_open=True) as job:
        readers = [
            threading.Thread(target=lambda into=into: into.extend(item["n"] for item in job.results())) for into in got
        ]
        for reader in readers:
            reader.start()
        for n in range(500):
            job.send("double", "input", n=n)
        job.close_entry()
        job.wait(30)
        for reader in readers:
            reader.join()
    assert sorted(got[0] + got[1]) == [2 * n for n in range(500)]
    assert all(each == sorted(each) for each in got)


@pytest.mark.parametrize("carry", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_job_cannot_be_pickled_or_copied(carry: Callable[[Job], object]) -> None:
    flow = Flow("pickled")
    with held_job(flow, "x") as job, pytest.raises(TypeError) as raised:
        carry(job)
    assert str(raised.value) == (
        f"job {job.id!r} cannot be pickled or copied: it runs in this program; hand on its id or its `state`"
    )


@pytest.mark.parametrize("seconds", ["5", -1, float("nan"), True, [1]])
def test_a_shutdown_that_is_no_time_is_refused_where_it_is_given(seconds: Any) -> None:
    flow = Flow("times")
    flow.add_routine(Refusing(), "refusing")
    with pytest.raises(OptionError, match="expected shutdown to be a number of seconds of at least 0, got "):
        flow.start(keep_open=True, shutdown=seconds)
    job = flow.start(keep_open=True)
    with pytest.raises(OptionError, match="expected shutdown to be a number of seconds of at least 0, got "):
        job.cancel(shutdown=seconds)
    assert job.status in {JobStatus.PENDING, JobStatus.RUNNING}  # nothing came of that call
    job.cancel(shutdown=float("inf"))
    assert job.wait(30).status == "cancelled"


@pytest.mark.parametrize(
    ("reason", "told"),
    [("lunch", "lunch"), ("", "cancelled"), (None, "cancelled"), (ValueError("bad row"), "bad row"), (7, "7")],
)
def test_what_a_job_is_cancelled_for_is_told_as_text(reason: object, told: str) -> None:
    flow = Flow("reasons")
    flow.add_routine(Refusing(), "refusing")
    job = flow.start(keep_open=True)
    job.cancel(reason)
    assert job.wait(30).error == told


@pytest.mark.parametrize("capacity", ["x", 0, -1, 2.5, None, True])
def test_a_stream_that_could_keep_nothing_is_refused(capacity: Any) -> None:
    flow = Flow("taps")
    flow.add_routine(Refusing(), "refusing")
    with flow.start(keep_open=True) as job, pytest.raises(OptionError, match="expected capacity to be a number of at "):
        job.stream("refusing", "said", capacity=capacity)


def test_a_snapshot_does_not_grow_while_results_are_collected() -> None:
    flow = Flow("growing")
    flow.add_routine(Saying(), "saying")
    flow.output("saying", "said")
    job = flow.start(keep_open=True)
    collector = threading.Thread(target=job.collect)
    collector.start()
    job.send("saying", "input", n=1)
    before = next(state for state in iter(lambda: job.state, None) if state.results())
    job.send("saying", "input", n=2)
    job.close_entry()
    collector.join(30)
    assert before.results() == [{"n": 1}]
    assert job.wait(30).results() == [{"n": 1}, {"n": 2}]


class Saying(Refusing):
    def handle(self, n: int) -> None:
        self.emit("said", n=n)


def make_named() -> Flow:
    flow = Flow("named")
    flow.add_routine(double, "double")
    return flow


@pytest.mark.parametrize("timeout", ["x", True, float("nan"), [1]], ids=repr)
def test_a_timeout_that_is_no_time_is_refused_where_it_is_given(timeout: Any) -> None:
    with make_named().start(keep_open=True) as job:
        with pytest.raises(OptionError, match="expected timeout to be a number of seconds, or None"):
            job.wait(timeout)
        job.close_entry()


class Passing(Routine):
    """Has no entry; in a circle with one that has, it is passed a number until that is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("number", handler=self.pass_on)
        self.define_event("number", ["n"])

    def pass_on(self, n: int = 3) -> None:
        if n:
            self.emit("number", n=n - 1)


class Beginning(Passing):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.pass_on)


def circle_of(*routines: Routine) -> Flow:
    flow = Flow("circle")
    ids = [flow.add_routine(each, f"r{number}") for number, each in enumerate(routines)]
    for number, routine_id in enumerate(ids):
        flow.connect(routine_id, "number", ids[(number + 1) % len(ids)], "number")
    return flow


def test_in_a_circle_the_entry_is_the_only_routine_that_has_one() -> None:
    state = circle_of(Passing(), Beginning()).execute()
    assert [routine["handled"] for routine in state.routine_states.values()] == [2, 2]
    with pytest.raises(UnknownRoutineError, match=r"entry_routine_id \(say which\).*'r0', 'r2'"):
        circle_of(Beginning(), Passing(), Beginning()).execute()
    with pytest.raises(UnknownRoutineError, match=r"entry_routine_id \(say which\)"):
        circle_of(Passing(), Passing()).execute()


def test_a_routine_that_is_fed_is_no_entry_by_itself_where_another_is_fed_by_nobody() -> None:
    flow = Flow("line")
    flow.add_routine(Passing(), "first")
    flow.add_routine(Beginning(), "second")
    flow.connect("first", "number", "second", "number")
    with pytest.raises(UnknownRoutineError, match=r"entry_routine_id \(say which\)"):
        flow.execute()


def test_names_and_letters_that_are_none_are_refused_by_what_they_are() -> None:
    flow = make_named()
    odd: Any = ["x"]
    with pytest.raises(UnknownRoutineError, match=r"the flow has no routine \['x'\]"):
        flow.execute(odd)
    with flow.start(keep_open=True) as job:
        with pytest.raises(UnknownRoutineError, match=r"the flow has no routine \['x'\]"):
            job.send(odd, "x")
        for letters in (5, [5]):
            with pytest.raises(NotADeadLetterError, match="a value of type int is not among the dead letters"):
                job.redeliver(letters)  # type: ignore[arg-type]
        job.close_entry()


def test_an_entry_that_takes_no_first_message_is_refused_before_the_job_starts() -> None:
    class Sink(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("input", handler=lambda n: n)

    flow = Flow()
    flow.add_routine(Sink(), "sink")
    with pytest.raises(EntryError, match=r"Sink cannot be the entry: it has no slot 'trigger'"):
        flow.execute("sink")
