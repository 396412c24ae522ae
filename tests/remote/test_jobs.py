"""Whole jobs on remote workers: pools, partitions, early emissions, generators, what is done once; and how they end."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from routilux import ErrorHandler, Flow, Job, Routine
from routilux.cli.main import main
from routilux.stores.memory import MemoryStore
from supervisors.reasons import Crashed
from tests.runtime import shapes
from tests.runtime.kept import Gate, Numbers, at_gate, finish, leave_at_gate, numbers, wait_until
from tests.runtime.test_delivery import check_sink
from tests.runtime.test_pools import Spin, Users, Visits, ordered_flow
from tests.supervisors.places.fake_cluster import FakeCluster

pytestmark = pytest.mark.processes
RETRY = ErrorHandler("retry", max_retries=20, retry_delay=0.0)
COUNT = 600


def kill_some(cluster: FakeCluster, job: Job, routine_id: str, at: tuple[int, ...], seed: int = 5) -> None:
    """Kill an agent whenever a routine has handled so many."""
    drawn = random.Random(seed)
    account = next(account for account in job.ledger.accounts if account.plan.id == routine_id)
    for handled in at:
        wait_until(lambda: account.handled >= handled)  # noqa: B023  it is called at once
        alive = [agent for agent in tuple(cluster.agents) if agent.process.is_alive()]
        if alive:
            drawn.choice(alive).process.kill()


def test_an_ordered_pool_keeps_the_order_while_its_workers_are_killed(cluster: FakeCluster) -> None:
    job = ordered_flow(Spin(), 3, placement="ray", max_restarts=100, capacity=50).start("source", {"count": COUNT})
    kill_some(cluster, job, "sink", (50, 200, 350))
    state = job.wait(60)
    check_sink(state, ("input",), COUNT)
    assert sum(worker.get("count", 0) for worker in state.routine_states["work"]["state"]) == COUNT
    assert len(cluster.agents) > 3


def test_each_key_is_counted_alone_and_once_while_workers_are_killed(cluster: FakeCluster) -> None:
    users, count = 11, 500
    flow = Flow("users")
    flow.add_routine(Users(users), "source")
    pool = {"placement": "ray", "workers": 3, "ordered": True, "partition_by": "user", "max_restarts": 100}
    flow.add_routine(Visits(), "visits", error_handler=RETRY, capacity=50, **pool)
    flow.connect("source", "number", "visits", "input", param_mapping={"who": "user"})
    flow.output("visits", "visit", capacity=50)
    job = flow.start("source", {"count": count})
    results = []
    with job:
        for item in job.results():
            results.append(item)
            if len(results) in {60, 200, 340}:
                random.Random(len(results)).choice(
                    [agent for agent in tuple(cluster.agents) if agent.process.is_alive()]
                ).process.kill()
    state = job.wait(60)
    assert state.status == "completed", state.error
    assert state.routine_states["visits"]["state"] == {
        ("user", user): {"count": len(range(user, count, users))} for user in range(users)
    }
    for user in range(users):
        came = [(item["n"], item["count"]) for item in results if tuple(item["user"]) == ("user", user)]
        assert came == [(n, at + 1) for at, n in enumerate(range(user, count, users))]


class Streaming(Routine):
    """Emits far more than is held, and dies in the middle of the first try."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.define_slot("trigger", handler=self.run)
        self.define_event("number", ["n"])

    def run(self) -> None:
        for n in range(self.count):
            self.emit("number", n=n)
            if n == 2 * self.count // 3 and not self.redelivered:
                os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("atomic", [False, True])
def test_what_a_turn_has_let_out_before_its_worker_died_comes_once(cluster: FakeCluster, atomic: bool) -> None:
    count = 2_400
    flow = Flow("streaming")
    flow.add_routine(Streaming(count), "source", placement="ray", error_handler=RETRY, atomic=atomic)
    flow.add_routine(shapes.Sink(), "sink", capacity=100)
    flow.connect("source", "number", "sink", "input")
    state = flow.execute("source")
    check_sink(state, ("input",), count)
    assert len(cluster.agents) == 2
    (death,) = [record for record in state.get_execution_history("source") if record.kind == "error"]
    assert isinstance(death.reason, Crashed)
    assert death.reason.detail == "the actor died unexpectedly before finishing this task"


class Paying(Routine):
    """Does something outside once for each message, and dies behind that in its first try; in steps, or not."""

    def __init__(self, file: Path, *, steps: bool) -> None:
        super().__init__()
        self.file = file
        self.define_slot("input", handler=self.step if steps else self.pay)
        self.define_event("paid", ["n", "line"])

    def write(self) -> int:
        with self.file.open("a") as file:
            file.write("paid\n")
        return len(self.file.read_text().splitlines())

    def pay(self, n: int) -> None:
        line = self.once("pay", self.write)
        if n == 2 and not self.redelivered:
            os.kill(os.getpid(), signal.SIGKILL)
        self.emit("paid", n=n, line=line)

    def step(self, n: int) -> Iterator[None]:
        line = self.once("pay", self.write)
        self.state["steps"] = self.state.get("steps", 0) + 1
        yield
        if n == 2 and not self.redelivered:
            os.kill(os.getpid(), signal.SIGKILL)
        self.emit("paid", n=n, line=line)


@pytest.mark.parametrize("steps", [False, True])
def test_what_is_done_once_is_done_once_though_its_worker_dies(
    cluster: FakeCluster, tmp_path: Path, steps: bool
) -> None:
    flow = Flow("paying")
    flow.add_routine(Numbers(), "numbers")
    flow.add_routine(Paying(tmp_path / "book", steps=steps), "paying", placement="ray", error_handler=RETRY)
    flow.connect("numbers", "number", "paying", "input")
    flow.output("paying", "paid")
    state = flow.execute("numbers", {"upto": 5})
    assert [(item["n"], item["line"]) for item in state.results()] == [(n, n + 1) for n in range(5)]
    assert (tmp_path / "book").read_text().count("paid") == 5
    if steps:
        assert state.routine_states["paying"]["state"]["steps"] in {5, 6}, "the step ahead of its death may count"
    assert len(cluster.agents) >= 2


class Deadly(Routine):
    """Dies at each number."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.die)

    def die(self) -> None:
        os._exit(3)


def test_a_message_may_take_fewer_workers_with_it_than_it_has_tries(cluster: FakeCluster) -> None:
    flow = Flow("deadly")
    handler = ErrorHandler("retry", max_retries=5, retry_delay=0.0, then="continue", max_crashes=1)
    flow.add_routine(Deadly(), "deadly", placement="ray", error_handler=handler, max_restarts=100)
    state = flow.execute("deadly")
    assert state.status == "completed"
    (letter,) = state.dead_letters
    assert letter.attempts == 2
    assert letter.cause.endswith("was lost: the actor died unexpectedly before finishing this task")


def test_workers_that_die_again_and_again_end_the_job(cluster: FakeCluster) -> None:
    flow = Flow("deadly")
    flow.add_routine(Deadly(), "deadly", placement="ray", error_handler=RETRY, max_restarts=2)
    state = flow.execute("deadly")
    assert state.status == "failed"
    assert "more than 2 fruitless restarts in 5 s" in (state.error or "")
    assert len(cluster.agents) == 3


@pytest.mark.parametrize("policy", ["requeue", "abort"])
def test_a_pause_finds_a_remote_worker_at_a_message(cluster: FakeCluster, tmp_path: Path, policy: str) -> None:
    file = tmp_path / "gate"
    job = numbers(Gate(file), placement="ray").start("numbers", {"upto": 8})
    wait_until(at_gate(file).exists)
    if policy == "requeue":
        job.pause(timeout=0.05, on_timeout="requeue")
        file.touch()
        job.resume()
    else:
        with pytest.raises(TimeoutError):
            job.pause(timeout=0.05, on_timeout="abort")
        file.touch()
    done = finish(job).results()
    assert [item["n"] for item in done] == list(range(8))
    # Of those that were in the hands of a worker that was ended nobody knows which one it was on.
    redelivered = {item["n"] for item in done if item["redelivered"]}
    assert ({3} <= redelivered <= {3, 4, 5, 6, 7}) if policy == "requeue" else redelivered == set()
    assert {item["attempt"] for item in done} == {1}
    assert len(cluster.agents) == (2 if policy == "requeue" else 1)


@pytest.mark.parametrize(("before", "after"), [("ray", "thread"), ("ray", "process"), ("process", "ray")])
def test_a_job_that_was_left_goes_on_elsewhere(cluster: FakeCluster, tmp_path: Path, before: str, after: str) -> None:
    store, file = MemoryStore(), tmp_path / "gate"
    flow = numbers(Gate(file), placement=before)
    job = flow.start("numbers", {"upto": 8}, store=store, job_id="moved")
    assert leave_at_gate(job, file).status == "paused"
    assert cluster.users == 0 or before == "ray"
    flow.set_options("worker", placement=after)
    state = finish(Flow.resume(store, "moved", flow=flow))
    assert [item["n"] for item in state.results()] == list(range(8))
    assert state.routine_states["worker"]["state"]["seen"] == list(range(8))
    assert not any(item["redelivered"] for item in state.results())


def test_a_background_checkpoint_waits_for_no_remote_handler(cluster: FakeCluster, tmp_path: Path) -> None:
    file = tmp_path / "gate"
    job = numbers(Gate(file), placement="ray").start("numbers", {"upto": 8}, store=MemoryStore(), checkpoint_every=0.02)
    wait_until(at_gate(file).exists)
    before = job.checkpoint().number
    wait_until(lambda: job.checkpoint().number > before + 1)
    file.touch()
    assert [item["n"] for item in finish(job).results()] == list(range(8))
    assert len(cluster.agents) == 1


@pytest.mark.parametrize("how", ["while it starts", "while it works"])
def test_a_job_is_cancelled_in_its_time_whatever_the_cluster_does(
    cluster: FakeCluster, tmp_path: Path, how: str
) -> None:
    if how == "while it starts":
        cluster.is_begun.clear()
    job = numbers(Gate(tmp_path / "gate"), placement="ray").start("numbers", {"upto": 8}, shutdown=0.1)
    if how == "while it works":
        wait_until(at_gate(tmp_path / "gate").exists)
    job.cancel("enough")
    assert job.wait(20).status == "cancelled"
    assert cluster.is_begun.is_set() or cluster.entered == 0
    cluster.is_begun.set()


def test_two_jobs_share_a_cluster_that_is_left_once_by_each(cluster: FakeCluster) -> None:
    jobs = [
        shapes.chain(("thread", "ray", "thread", "thread")).start("source", {"count": COUNT}, keep_open=at == 0)
        for at in range(2)
    ]
    check_sink(jobs[1].wait(60), ("input",), COUNT)
    wait_until(lambda: cluster.users <= 2)
    assert cluster.users >= 1
    jobs[0].close_entry()
    check_sink(jobs[0].wait(60), ("input",), COUNT)


def test_a_routine_that_has_all_it_needs_does_not_wait_for_workers_that_have_no_room(
    make_cluster: Callable[..., FakeCluster],
) -> None:
    cluster = make_cluster(cpus=1.0)
    flow = Flow("narrow")
    flow.add_routine(Numbers(), "numbers")
    flow.add_routine(shapes.Stage(), "stage", placement="ray", workers=3)
    flow.connect("numbers", "number", "stage", "input")
    state = flow.start("numbers", {"upto": 50}).wait(20)
    assert state.status == "completed", state.error
    assert state.routine_states["stage"]["handled"] == 50
    assert len(cluster.agents) == 3


def test_a_death_is_told_wherever_one_looks_for_it(
    cluster: FakeCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "was lost: the actor died unexpectedly before finishing this task"
    flow = Flow("deadly")
    flow.add_routine(Deadly(), "deadly", placement="ray", error_handler=ErrorHandler("continue"))
    state = flow.start("deadly", store=str(tmp_path / "jobs"), job_id="told").wait(60)
    assert told in state.dead_letters[0].cause
    (record,) = [record for record in state.get_execution_history("deadly") if record.kind == "error"]
    assert told in record.detail
    for command in (["show"], ["show", "--history"]):
        assert main([*command, "told", "--store", str(tmp_path / "jobs")]) in {0, 1}
        assert told in " ".join(capsys.readouterr().out.split()), command
    assert main(["report", "told", "--store", str(tmp_path / "jobs"), "-o", str(tmp_path / "page.html")]) == 0
    assert told in (tmp_path / "page.html").read_text()


def test_what_waits_for_a_remote_worker_is_bounded(cluster: FakeCluster, tmp_path: Path) -> None:
    file = tmp_path / "gate"
    job = numbers(Gate(file), placement="ray", capacity=10).start("numbers", {"upto": 300})
    wait_until(at_gate(file).exists)
    source, worker = job.ledger.accounts
    wait_until(lambda: source.is_pressed)
    assert len(worker.mailbox) <= 20  # what its window takes from there may be more or less
    assert len(worker.mailbox) + worker.count_in_hand < 300
    file.touch()
    assert [item["n"] for item in finish(job).results()] == list(range(300))
