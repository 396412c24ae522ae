"""Pauses with real threads and processes: at any moment, of any flow, and what goes on afterwards is exact."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from routilux import ErrorHandler, Flow, Job, Routine
from routilux.errors import JobEndedError
from routilux.jobs.errors import NotResumableError, PauseInterruptedError, PauseTimeoutError
from routilux.keeping.finding import latest
from routilux.keeping.listing import list_checkpoints
from routilux.keeping.retention import KEEP_PAUSES
from routilux.keeping.verifying import verify
from routilux.stores import FileStore
from routilux.stores.syscalls import Syscalls
from supervisors.actor import PykkaHost
from tests.durability.shapes import Step


def wait_until(is_so: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        threading.Event().wait(0.002)


def handled(job: Job, routine: str) -> int:
    count: int = job.state.routine_states[routine]["handled"]
    return count


# ---- at random moments


class Member(Step):
    """Sends each token on to the next member, counting its hops, until it is told to let them off."""

    def __init__(self, seconds: float = 0.0002) -> None:
        super().__init__(seconds=seconds)
        self.define_slot("round", self.go_round)
        self.define_slot("stop", self.stop)
        self.define_event("on", ["seq", "n"])
        self.define_event("off", ["seq", "n"])

    def go_round(self, seq: int, n: int) -> None:
        self.note("round", seq, n)
        threading.Event().wait(self.seconds)
        self.send("off" if self.state.get("stopped") else "on", n + 1)

    def enter(self, seq: int, n: int) -> None:
        self.note("enter", seq, n)
        self.send("on", n + 1)

    def stop(self) -> None:
        self.state["stopped"] = True


class First(Member):
    """The member by which tokens come in, and leave."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("enter", self.enter)


def make_ring() -> Flow:
    flow = Flow("ring")
    flow.add_routine(First(), "one", capacity=2)
    flow.add_routine(Member(), "two", placement="process", capacity=2)
    flow.add_routine(Member(), "three", capacity=2)
    flow.add_routine(Step(seconds=0.0), "sink")
    for source, target in (("one", "two"), ("two", "three"), ("three", "one")):
        flow.connect(source, "on", target, "round")
    flow.connect("one", "off", "sink", "input")
    return flow


TOKENS = 12


@pytest.mark.processes
@pytest.mark.timeout(900)
@pytest.mark.parametrize("cycles", [30, pytest.param(2_000, marks=pytest.mark.stress)])
def test_a_loop_that_is_paused_again_and_again_is_exact_and_takes_no_more_room(tmp_path: Path, cycles: int) -> None:
    draw, store = random.Random(cycles), FileStore(tmp_path)
    job = make_ring().start(keep_open=True, store=store, job_id="ring", checkpoint_every=0.1)
    for seq in range(1, TOKENS + 1):
        job.send("one", "enter", seq=seq, n=0)
    wait_until(lambda: handled(job, "three") > cycles)
    rss = psutil.Process().memory_info().rss
    for cycle in range(cycles):
        threading.Event().wait(draw.uniform(0.0, 0.008))
        info = job.pause(f"pause {cycle}")
        assert info is not None
        assert job.status == "paused"
        assert latest(store, "ring").image.header.number == info.number
        assert job.resume()
    assert psutil.Process().memory_info().rss - rss < 100_000_000
    kept = list_checkpoints(store, "ring")
    assert len(kept) <= KEEP_PAUSES + 3 + 1
    assert len(latest(store, "ring").image.job.pause_points) == min(cycles, 1_000)
    job.send("one", "stop")
    job.close_entry()
    state = job.wait(60)
    assert (state.status, state.error) == ("completed", None)
    states = {name: told["state"] for name, told in state.routine_states.items()}
    assert all("wrong" not in kept for kept in states.values()), states
    hops = sum(states[name].get(f"sent:{event}", 0) for name in ("one", "two", "three") for event in ("on", "off"))
    assert (states["sink"]["count"], states["sink"]["sum"]) == (TOKENS, hops)
    assert hops > cycles
    assert verify(store, "ring") == []
    store.close()


class Node(Routine):
    """Sends what comes on to all who listen, until it has made its hops."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self.fan = draw.choice([1, 1, 2])
        self.define_slot("input", self.take)
        self.define_event("out", ["hops"])

    def take(self, hops: int) -> None:
        self.state["count"] = self.state.get("count", 0) + 1
        if hops:
            for _ in range(self.fan):
                self.emit("out", hops=hops - 1)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("flows", [12, pytest.param(1_000, marks=pytest.mark.stress)])
def test_any_flow_with_small_mailboxes_and_cycles_comes_to_rest_and_goes_on(tmp_path: Path, flows: int) -> None:
    for seed in range(flows):
        draw = random.Random(seed)
        flow, names = Flow(f"random{seed}"), [f"n{index}" for index in range(draw.randint(2, 5))]
        for name in names:
            flow.add_routine(Node(draw), name, capacity=2)
        wanted = {(draw.choice(names), draw.choice(names)) for _ in range(draw.randint(2, 7))}
        for source, target in sorted(wanted):
            flow.connect(source, "out", target, "input")
        job = flow.start(keep_open=True, store=FileStore(tmp_path), job_id=flow.flow_id)
        for _ in range(4):
            job.send(draw.choice(names), "input", hops=draw.randint(2, 7))
        for _ in range(2):
            threading.Event().wait(draw.uniform(0.0, 0.004))
            job.pause(timeout=20)
            before = {name: told["state"] for name, told in job.state.routine_states.items()}
            threading.Event().wait(draw.uniform(0.0, 0.002))
            assert {name: told["state"] for name, told in job.state.routine_states.items()} == before
            job.resume()
        job.close_entry()
        state = job.wait(30)
        assert (state.status, state.error) == ("completed", None), seed
        assert all(count.is_conserved for count in state.connections)


# ---- handlers that hang


class Hanging(Routine):
    """Waits for a file before it counts, for its message 2."""

    def __init__(self, gate: Path) -> None:
        super().__init__()
        self.gate = gate
        self.define_slot("input", self.take)

    def take(self, n: int) -> None:
        if n == 2:
            (self.gate.parent / f"began-{time.monotonic_ns()}").touch()
            while not self.gate.exists():
                threading.Event().wait(0.005)
        self.state["seen"] = [*self.state.get("seen", ()), n]
        self.state["attempts"] = [*self.state.get("attempts", ()), self.attempt]


PLACES: dict[str, dict[str, Any]] = {
    "thread": {},
    "timed": {"timeout": 60.0},
    "process": {"placement": "process"},
}
everywhere = pytest.mark.parametrize("place", PLACES)


def _start_hanging(tmp_path: Path, place: str, **keeping: Any) -> tuple[Job, Path]:
    gate = tmp_path / "gate" / "open"
    gate.parent.mkdir()
    flow = Flow("hanging")
    flow.add_routine(Hanging(gate), "hanging", **PLACES[place])
    job = flow.start(keep_open=True, store=tmp_path / "jobs", job_id="job", shutdown=0.2, **keeping)
    for n in (1, 2, 3):
        job.send("hanging", "input", n=n)
    wait_until(lambda: list(gate.parent.glob("began-*")))
    return job, gate


def _assert_all_came(job: Job) -> None:
    job.close_entry()
    state = job.wait(30)
    assert (state.status, state.error) == ("completed", None)
    assert state.routine_states["hanging"]["state"] == {"seen": [1, 2, 3], "attempts": [1, 1, 1]}


@pytest.mark.processes
@everywhere
def test_a_pause_that_is_over_time_names_who_hangs_and_leaves_no_trace(tmp_path: Path, place: str) -> None:
    job, gate = _start_hanging(tmp_path, place)
    with pytest.raises(PauseTimeoutError) as caught:
        job.pause(timeout=0.2)
    (busy,) = caught.value.busy
    assert busy.routine_id == "hanging"
    assert busy.message_id
    assert place != "thread" or "take" in busy.stack
    assert job.status == "running"
    assert job.state.routine_states["hanging"]["handled"] == 1
    gate.touch()
    _assert_all_came(job)


@pytest.mark.processes
@everywhere
def test_a_pause_puts_what_hangs_back_and_it_is_run_again(tmp_path: Path, place: str) -> None:
    job, gate = _start_hanging(tmp_path, place)
    info = job.pause(timeout=0.2, on_timeout="requeue")
    assert info is not None
    assert info.messages == 2
    assert job.status == "paused"
    image = latest(FileStore(tmp_path / "jobs"), "job").image
    (routine,) = image.routines
    assert routine.in_hand == []
    assert [message.seq for message in routine.waiting] == [2, 3]
    assert routine.waiting[0].redelivered
    gate.touch()
    threading.Event().wait(0.1)  # on a thread it goes on now, and its commit is refused
    assert handled(job, "hanging") == 1
    job.resume()
    _assert_all_came(job)


@pytest.mark.processes
@everywhere
def test_what_was_put_back_goes_on_in_another_job(tmp_path: Path, place: str) -> None:
    job, gate = _start_hanging(tmp_path, place)
    job.pause(timeout=0.2, on_timeout="requeue")
    state = job.leave()
    assert state.status == "paused"
    gate.touch()
    flow = Flow("hanging")
    flow.add_routine(Hanging(gate), "hanging", **PLACES[place])
    _assert_all_came(Flow.resume(tmp_path / "jobs", "job", flow=flow))


@pytest.mark.processes
@everywhere
def test_a_pause_without_a_limit_waits_for_the_turn_and_checkpoints_wait_for_none(tmp_path: Path, place: str) -> None:
    job, gate = _start_hanging(tmp_path, place, checkpoint_every=0.02)
    first = job.checkpoint()  # returns while the handler hangs
    assert first.messages == 2
    wait_until(lambda: (last := job.last_checkpoint) is not None and last.number >= first.number + 3)
    threading.Timer(0.3, gate.touch).start()
    info = job.pause(timeout=None)
    assert info is not None
    assert info.messages <= 1
    job.resume()
    _assert_all_came(job)


# ---- in the middle of a turn


class Streaming(Routine):
    """Emits so much in one turn that it streams."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", self.go)
        self.define_event("out", ["seq", "n"])

    def go(self, upto: int) -> None:
        for seq in range(1, upto + 1):
            self.emit("out", seq=seq, n=seq)
        self.state["done"] = True


class Gated(Step):
    """Takes a message in some milliseconds until the gate is open, so that the stream is not over before."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__(seconds=0.0)
        self.gate = gate

    def meet_trouble(self, seq: int) -> None:
        self.gate.wait(0.005)


STREAMED = 6_000


@pytest.mark.processes
@pytest.mark.parametrize("place", ["thread", "process"])
def test_a_turn_that_streams_rests_in_its_middle_and_is_gone_on_with_elsewhere(tmp_path: Path, place: str) -> None:
    gate = threading.Event()

    def make() -> Flow:
        flow = Flow("streaming")
        flow.add_routine(Streaming(), "source", **PLACES[place])
        flow.add_routine(Gated(gate), "sink", capacity=50)
        flow.connect("source", "out", "sink", "input")
        return flow

    job = make().start("source", {"upto": STREAMED}, store=tmp_path, job_id="job")
    wait_until(lambda: handled(job, "sink") > 20)
    for _ in range(3):
        info = job.pause(timeout=20)
        assert info is not None
        before = handled(job, "sink")
        assert handled(job, "source") == 0
        threading.Event().wait(0.02)
        assert handled(job, "sink") == before
        job.resume()
        wait_until(lambda before=before: handled(job, "sink") > before)  # type: ignore[misc]
    job.pause(timeout=20)
    assert handled(job, "sink") < STREAMED
    job.leave()
    gate.set()
    state = Flow.resume(tmp_path, "job", flow=make()).wait(60)
    assert state.status == "completed"
    sink = state.routine_states["sink"]["state"]
    assert "wrong" not in sink
    assert (sink["count"], sink["sum"]) == (STREAMED, STREAMED * (STREAMED + 1) // 2)


class Failing(Routine):
    """Fails at its first try, and tells when it is tried again."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", self.take)

    def take(self) -> None:
        if self.attempt == 1:
            raise ValueError("not yet")
        self.state["at"] = time.monotonic()


def test_what_is_left_of_a_wait_for_the_next_try_is_kept(tmp_path: Path) -> None:
    def make() -> Flow:
        flow = Flow("failing")
        flow.add_routine(Failing(), "r", error_handler=ErrorHandler("retry", retry_delay=1.2))
        return flow

    job = make().start(keep_open=True, store=tmp_path, job_id="job")
    job.send("r", "input")
    wait_until(lambda: job.state.routine_states["r"]["retries"] == 1)
    threading.Event().wait(0.4)
    job.pause()
    job.leave()
    (wait,) = latest(FileStore(tmp_path), "job").image.routines[0].retries
    assert 0.0 < wait.seconds <= 0.85
    threading.Event().wait(0.3)  # time that passes while nobody has it is no part of the wait
    begun = time.monotonic()
    job = Flow.resume(tmp_path, "job", flow=make())
    job.close_entry()
    state = job.wait(30)
    assert state.status == "completed"
    assert state.routine_states["r"]["state"]["at"] - begun >= wait.seconds - 0.05


class Dying(Routine):
    """Kills its process at its first tries."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", self.take)

    def take(self, n: int) -> None:
        if self.attempt <= 3:
            os.kill(os.getpid(), signal.SIGKILL)
        self.state["seen"] = [*self.state.get("seen", ()), n]


@pytest.mark.processes
def test_a_job_is_paused_while_its_workers_die_and_are_replaced(tmp_path: Path) -> None:
    flow = Flow("dying")
    handler = ErrorHandler("retry", max_retries=5, retry_delay=0.01)
    flow.add_routine(Dying(), "r", placement="process", max_restarts=1_000, error_handler=handler)
    job = flow.start(keep_open=True, store=tmp_path, job_id="job")
    for n in (1, 2):
        job.send("r", "input", n=n)
    draw = random.Random(1)
    for _ in range(8):
        threading.Event().wait(draw.uniform(0.0, 0.15))
        job.pause(timeout=20)
        job.resume()
    job.close_entry()
    state = job.wait(60)
    assert (state.status, state.routine_states["r"]["state"]) == ("completed", {"seen": [1, 2]})


# ---- all at once


def _do_all_at_once(deeds: list[Callable[[], object]], draw: random.Random) -> list[BaseException]:
    """Do each on a thread of its own at a moment of its own; give what was raised that should not be."""
    unexpected: list[BaseException] = []

    def run(deed: Callable[[], object], after: float) -> None:
        threading.Event().wait(after)
        try:
            deed()
        except (JobEndedError, PauseInterruptedError):
            pass
        except BaseException as error:  # noqa: BLE001  the test tells it
            unexpected.append(error)

    threads = [threading.Thread(target=run, args=(deed, draw.uniform(0.0, 0.02))) for deed in deeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return unexpected


@pytest.mark.parametrize("rounds", [12, pytest.param(1_000, marks=pytest.mark.stress)])
@pytest.mark.timeout(900)
def test_pauses_and_ends_that_race_leave_one_end_that_is_kept(tmp_path: Path, rounds: int) -> None:
    store = FileStore(tmp_path)
    for seed in range(rounds):
        draw, job_id = random.Random(seed), f"race{seed}"
        flow = Flow("race")
        flow.add_routine(Step(seconds=0.0003), "step")
        job = flow.start(keep_open=True, store=store, job_id=job_id, checkpoint_every=0.005)
        for seq in range(1, 11):
            job.send("step", "input", seq=seq, n=seq)
        deeds: list[Callable[[], object]] = [
            job.pause,
            job.resume,
            job.close_entry,
            job.checkpoint,
            job.pause,
            job.resume,
        ]
        deeds.append(draw.choice([job.leave, lambda job=job: job.cancel("enough"), job.close_entry]))
        assert _do_all_at_once(deeds, draw) == [], seed
        if job.status == "paused" and not job.is_over:
            with contextlib.suppress(JobEndedError):  # it was left, and has not quite ended
                job.resume()
        state = job.wait(30)
        assert state.status in {"completed", "cancelled", "paused"}, (seed, state.error)
        assert latest(store, job_id).image.header.status == state.status == job.status, seed
        if state.status == "paused":
            resumed = Flow.resume(store, job_id, flow=flow)
            resumed.close_entry()
            state = resumed.wait(30)
        else:
            with pytest.raises(NotResumableError):
                Flow.resume(store, job_id, flow=flow)
        if state.status == "completed":
            step = state.routine_states["step"]["state"]
            assert ("wrong" in step, step["count"]) == (False, 10), seed
    store.close()


def test_a_job_whose_entry_is_closed_while_it_is_paused_ends_when_it_is_resumed(tmp_path: Path) -> None:
    flow = Flow("quiet")
    flow.add_routine(Step(), "step")
    job = flow.start(keep_open=True, store=tmp_path, job_id="job")
    job.pause()
    job.close_entry()
    threading.Event().wait(0.05)
    assert job.status == "paused"
    assert not job.is_over
    assert job.leave().status == "paused"
    job = Flow.resume(tmp_path, "job", flow=flow)  # which finds its entry closed, and nothing to do
    assert job.wait(10).status == "completed"


class SlowDevice(Syscalls):
    """A device that takes its time, and tells when it is asked."""

    def __init__(self) -> None:
        self.is_slow = False
        self.asked, self.may_go_on = threading.Event(), threading.Event()

    def fsync(self, descriptor: int) -> None:
        if self.is_slow:
            self.asked.set()
            self.may_go_on.wait(10)
        super().fsync(descriptor)


@pytest.mark.parametrize("deed", ["resume", "cancel", "leave", "close_entry"])
def test_what_is_wanted_while_a_pause_is_being_written_comes_after_it(tmp_path: Path, deed: str) -> None:
    store = FileStore(tmp_path, calls=(calls := SlowDevice()))
    flow = Flow("slow")
    flow.add_routine(Step(), "step")
    job = flow.start(keep_open=True, store=store, job_id="job")
    calls.is_slow = True
    came: list[object] = []

    def do(name: str) -> None:
        try:
            came.append((name, getattr(job, name)()))
        except JobEndedError as error:
            came.append((name, error))

    pausing = threading.Thread(target=do, args=("pause",))
    pausing.start()
    assert calls.asked.wait(10)
    doing = threading.Thread(target=do, args=(deed,))
    doing.start()
    threading.Event().wait(0.05)
    calls.is_slow = False
    calls.may_go_on.set()
    for thread in (pausing, doing):
        thread.join(20)
        assert not thread.is_alive()
    if deed == "resume":
        assert dict(came)["resume"] is True  # type: ignore[call-overload]
        assert job.status == "running"
        job.close_entry()
    elif deed == "close_entry":
        assert job.status == "paused"
        job.resume()
    expected = {"cancel": "cancelled", "leave": "paused"}.get(deed, "completed")
    assert job.wait(20).status == job.status == expected
    assert latest(store, "job").image.header.status == expected
    store.close()


def test_a_resumed_job_that_is_done_before_its_starter_looks_comes_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Flow("short")
    flow.add_routine(Step(seconds=0.0), "step")
    job = flow.start(keep_open=True, store=tmp_path, job_id="job")
    job.pause()  # so that all of it waits
    job.leave()
    job = Flow.resume(tmp_path, "job", flow=flow)
    job.send("step", "input", seq=1, n=1)
    job.pause()
    job.close_entry()
    job.leave()
    start = PykkaHost.start

    def start_slowly(self: PykkaHost, *args: Any) -> Any:
        root = start(self, *args)
        threading.Event().wait(0.2)  # meanwhile its actors have done all there is
        return root

    monkeypatch.setattr(PykkaHost, "start", start_slowly)
    job = Flow.resume(tmp_path, "job", flow=flow)
    assert job.wait(10).status == "completed"


def test_a_job_without_a_store_whose_entry_is_closed_while_it_is_paused_ends_when_it_is_resumed() -> None:
    flow = Flow("quiet")
    flow.add_routine(Step(), "step")
    job = flow.start(keep_open=True)
    job.pause()
    job.close_entry()
    assert job.status == "paused"
    assert job.resume()
    assert job.wait(10).status == "completed"


# ---- much


def fill(tmp_path: Path, count: int) -> Iterator[Job]:
    """Give a job with so many messages that wait."""
    gate = tmp_path / "gate"
    flow = Flow("much")
    flow.add_routine(Gate(gate), "gate", capacity=count + 1)
    job = flow.start(keep_open=True, store=tmp_path / "jobs", job_id="job")
    for seq in range(1, count + 1):
        job.send("gate", "input", seq=seq, n=seq)
    yield job
    gate.touch()


class Gate(Step):
    """Holds its first message until there is a file."""

    def __init__(self, gate: Path) -> None:
        super().__init__(seconds=0.0)
        self.gate = gate
        self.define_slot("held", self.take)

    def take(self, seq: int, n: int) -> None:
        while seq == 1 and not self.gate.exists():
            threading.Event().wait(0.001)
        self.note("input", seq, n)


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.stress)])
def test_a_pause_keeps_what_waits_however_much_it_is(tmp_path: Path, count: int) -> None:
    (job,) = fill(tmp_path, count)  # and opens the gate
    info = job.pause(timeout=None)
    assert info is not None
    done = handled(job, "gate")
    assert info.messages == count - done
    job.leave()
    flow = Flow("much")
    flow.add_routine(Gate(tmp_path / "gate"), "gate", capacity=count + 1)
    job = Flow.resume(tmp_path / "jobs", "job", flow=flow)
    job.close_entry()
    step = job.wait(100).routine_states["gate"]["state"]
    assert ("wrong" in step, step["count"], step["sum"]) == (False, count, count * (count + 1) // 2)
