"""Large arrays on their way between threads, processes and remote workers: where they are, and when they are lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routilux import ErrorHandler, Flow, JobState, Routine
from routilux.jobs.errors import CheckpointFailedError
from routilux.stores.memory import MemoryStore
from supervisors.errors import ValueDecodingError
from tests.runtime.kept import wait_until
from tests.runtime.test_buffers import MIB, PROCESS, THREAD, Adding, Arrays, Seeing, array_of, line, seen
from tests.supervisors.places.fake_cluster import FakeCluster

pytestmark = pytest.mark.processes
RAY = {"placement": "ray"}
STORES = pytest.mark.parametrize("store", [False, True], ids=["no store", "store"])


def kept(*, store: bool) -> dict[str, Any]:
    return {"store": MemoryStore()} if store else {}


class Passing(Routine):
    """Hands on what comes, as it is, and keeps the last of it."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("array", ["number", "array"])

    def handle(self, number: int, array: Any) -> None:
        self.state["last"] = array
        self.emit("array", number=number, array=array)


def check(state: JobState, count: int, added: int = 0) -> None:
    check_items(seen(state), count, added)


def check_items(items: Iterable[dict[str, Any]], count: int, added: int = 0) -> None:
    assert [(item["number"], item["first"], item["last"], item["size"]) for item in items] == [
        (number, number + added, number + added, MIB) for number in range(count)
    ]


@STORES
def test_arrays_go_from_threads_to_remote_workers_to_processes_and_back(cluster: FakeCluster, store: bool) -> None:
    flow = line(
        ("passing", Passing(), RAY),
        ("adding", Adding(), RAY),
        ("housed", Passing(), PROCESS),
        ("home", Passing(), THREAD),
        ("again", Passing(), RAY),
        ("last", Seeing(), PROCESS),
    )
    check(flow.execute("arrays", {"count": 6}, **kept(store=store)), 6, added=1)
    # Put by the first thread, by `adding`, and by the second thread, which has its own: what is passed on is not put.
    assert cluster.stored <= 3 * 6


def test_arrays_that_go_to_remote_workers_alone_are_put_into_the_store_at_once(cluster: FakeCluster) -> None:
    flow = Flow("far")
    flow.add_routine(Arrays(), "arrays")
    flow.add_routine(Seeing(), "see", placement="ray")
    flow.connect("arrays", "array", "see", "input")
    flow.output("see", "seen")
    job = flow.start("arrays", {"count": 0}, keep_open=True)
    wait_until(lambda: bool(cluster.agents))  # without a cluster they wait in this machine's memory
    job.send("arrays", "trigger", count=6)
    job.close_entry()
    job.wait(60)
    check_items(job.results(), 6)
    assert cluster.stored == 6


def test_without_a_connection_arrays_go_to_remote_workers_and_back_too(
    make_cluster: Callable[..., FakeCluster],
) -> None:
    cluster = make_cluster(is_open=False)
    check(line(("adding", Adding(), RAY), ("see", Seeing(), RAY)).execute("arrays", {"count": 6}), 6, added=1)
    assert cluster.stored > 6


def test_an_array_that_a_process_looks_at_is_not_written_over_meanwhile(cluster: FakeCluster) -> None:
    flow = Flow("held")
    flow.add_routine(Arrays(), "arrays", placement="ray")
    flow.add_routine(Passing(), "one", **PROCESS)
    flow.add_routine(Passing(), "two", **PROCESS)
    flow.add_routine(Seeing(), "see", **PROCESS)
    for reader in ("one", "two"):
        flow.connect("arrays", "array", reader, "input")
        flow.connect(reader, "array", "see", "input")
    flow.output("see", "seen")
    items = seen(flow.execute("arrays", {"count": 12}))
    assert sorted((item["number"], item["first"], item["last"]) for item in items) == [
        (number, number, number) for number in range(12) for _ in range(2)
    ]


@STORES
def test_what_remote_workers_give_out_outlasts_the_cluster(cluster: FakeCluster, store: bool) -> None:
    flow = Flow("out")
    flow.add_routine(Arrays(), "arrays", placement="ray")
    flow.add_routine(Passing(), "passing", placement="ray")
    flow.connect("arrays", "array", "passing", "input")
    flow.add_routine(Seeing(), "see", placement="ray")
    flow.connect("passing", "array", "see", "input")
    flow.output("passing", "array")
    job = flow.start("arrays", {"count": 3}, **kept(store=store))
    state = job.wait(60)
    cluster.objects.clear()
    assert (state.status, cluster.users) == ("completed", 0), state.error
    for number, item in enumerate(job.results()):
        np.testing.assert_array_equal(item["array"], array_of(number))
    np.testing.assert_array_equal(job.state.routine_states["passing"]["state"]["last"], array_of(2))


class Refusing(Routine):
    """Raises at every array."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)

    def handle(self, number: int, array: Any) -> None:
        raise ValueError(number)


@pytest.mark.parametrize("source", [RAY, THREAD], ids=["ray", "thread"])
def test_what_could_not_be_handled_outlasts_the_cluster(cluster: FakeCluster, source: dict[str, Any]) -> None:
    cluster.enter()  # it is there from the first array on
    flow = Flow("refused")
    flow.add_routine(Arrays(), "arrays", **source)
    flow.add_routine(Refusing(), "refusing", error_handler=ErrorHandler("continue"), **RAY)
    flow.connect("arrays", "array", "refusing", "input")
    job = flow.start("arrays", {"count": 2})
    assert job.wait(60).status == "completed"
    assert cluster.stored == 2
    cluster.leave()
    cluster.objects.clear()
    for number, letter in enumerate(job.dead_letters):
        np.testing.assert_array_equal(letter.data["array"], array_of(number))
    assert len(job.dead_letters) == 2


def test_no_more_of_it_is_brought_than_may_be_in_shared_memory(cluster: FakeCluster) -> None:
    flow = Flow("refused")
    flow.add_routine(Arrays(), "arrays", **RAY)
    flow.add_routine(Refusing(), "refusing", error_handler=ErrorHandler("continue"), **RAY)
    flow.connect("arrays", "array", "refusing", "input")
    job = flow.start("arrays", {"count": 4}, shared_memory_limit=2 * MIB)
    assert job.wait(60).status == "completed"
    last, before, *older = reversed(job.dead_letters)
    for letter in (last, before):
        assert letter.data["array"].size == MIB
    for letter in older:
        with pytest.raises(ValueDecodingError):
            letter.data  # noqa: B018


class Waits(Routine):
    """Waits at the first array for a file."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.define_slot("input", handler=self.handle)
        self.define_event("seen", ["number"])

    def handle(self, number: int, array: Any) -> None:
        if number == 0:
            wait_until(self.file.exists)
        self.emit("seen", number=number)


class Wary(Routine):
    """Raises at one array, until a file is there."""

    def __init__(self, file: Path, at: int = 1) -> None:
        super().__init__()
        self.file, self.at = file, at
        self.define_slot("input", handler=self.handle)
        self.define_event("seen", ["number", "first", "last", "size"])

    def handle(self, number: int, array: Any) -> None:
        if number == self.at and not self.file.exists():
            raise FileNotFoundError(self.file)
        self.emit("seen", number=number, first=int(array[0]), last=int(array[-1]), size=array.size)


@pytest.mark.parametrize("where", [RAY, PROCESS, THREAD], ids=["ray", "process", "thread"])
def test_a_failed_job_is_resumed_without_the_cluster_that_its_arrays_were_in(
    cluster: FakeCluster, tmp_path: Path, where: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    flow = line(("passing", Passing(), RAY), ("wary", Wary(tmp_path / "go"), where))
    store = MemoryStore()
    state = flow.start("arrays", {"count": 4}, store=store, job_id="failed").wait(60)
    assert state.status == "failed"
    assert "could not be kept" not in caplog.text
    cluster.objects.clear()
    (tmp_path / "go").touch()
    flow.set_options("passing", placement="thread")
    flow.set_options("wary", placement="process" if where == RAY else "ray")
    job = Flow.resume(store, "failed", flow=flow)
    job.wait(60)
    check_items(job.results(), 4)


@pytest.mark.parametrize("where", [RAY, PROCESS, THREAD], ids=["ray", "process", "thread"])
def test_an_array_that_is_lost_with_its_node_fails_the_turn_that_wants_it(
    cluster: FakeCluster, tmp_path: Path, where: dict[str, Any]
) -> None:
    flow = Flow("lost")
    flow.add_routine(Arrays(), "arrays", placement="ray")
    flow.add_routine(Seeing(), "see", error_handler=ErrorHandler("continue"), **where)
    flow.connect("arrays", "array", "see", "input")
    flow.output("see", "seen")
    cluster.loses = {2}
    state = flow.execute("arrays", {"count": 3})
    assert [item["number"] for item in seen(state)] == [0, 2]
    (letter,) = state.dead_letters
    assert "lost" in str(letter.reason)


def test_what_is_lost_costs_a_checkpoint_and_not_those_behind_it(
    cluster: FakeCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flow = line(("waiting", Waits(tmp_path / "go"), {"error_handler": ErrorHandler("continue"), **RAY}))
    flow.set_options("arrays", placement="ray")
    cluster.loses = {2}
    job = flow.start("arrays", {"count": 3}, store=MemoryStore())
    wait_until(lambda: job.ledger.accounts[0].handled == 1)
    with pytest.raises(CheckpointFailedError, match="is lost"):
        job.checkpoint()
    (tmp_path / "go").touch()
    job.wait(60)
    assert caplog.text.count("could not be kept") == 1
    assert [item["number"] for item in job.results()] == [0, 2]


def test_where_the_store_is_full_arrays_of_threads_go_with_their_messages(cluster: FakeCluster) -> None:
    cluster.is_full = True
    check(line(("passing", Passing(), RAY), ("see", Seeing(), RAY)).execute("arrays", {"count": 2}), 2)
