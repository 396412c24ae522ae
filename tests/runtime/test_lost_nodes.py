"""A machine of a cluster that is lost is one event in a job's history; and workers there are shown as those here."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from routilux import Flow, Job, JobState, Ray
from routilux.cli.main import main
from routilux.cli.picture import draw_job
from routilux.control.client import ask
from routilux.control.finding import find_running
from routilux.control.frames import Stacks, StacksTold
from routilux.keeping.history import StoredHistory
from routilux.observe import observe
from routilux.routing import compile_plan
from routilux.runtime.reports import NODE_LENGTH, tell_lost_node
from routilux.stores import FileStore
from supervisors.places.ray.engine import chosen
from tests.rays import show_ray
from tests.runtime.remote import BURN_SECONDS, Work
from tests.runtime.waiting import PATIENCE
from tests.supervisors.places.fake_cluster import FakeCluster

pytestmark = pytest.mark.processes

WHY = "health check failed"
LOST = f"node a was lost ({WHY}), and with it the workers of parse[0], parse[1], tally"


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    folder = tmp_path_factory.mktemp("r") / "routilux"
    monkeypatch.setattr("routilux.control.folder._folders", lambda: [folder])
    show_ray(monkeypatch)
    cluster = FakeCluster(nodes=("a", "b"))
    monkeypatch.setattr(chosen, "engine", cluster)
    yield cluster
    cluster.close()


@contextmanager
def running(placed: dict[str, str], store: Path | None = None, **options: Any) -> Iterator[Job]:
    """Run a job of which each routine is on the node that is named with it."""
    flow = Flow("remote")
    for routine_id, node in placed.items():
        own = options if routine_id == "parse" else {}
        flow.add_routine(Work(), routine_id, placement="ray", ray=Ray(label_selector={"node": node}), **own)
        flow.output(routine_id, "done")
    with flow.start(keep_open=True, store=store, takes_commands=True) as job:
        await_nodes(job, set(placed.values()), sum(account.plan.options.pool for account in job.ledger.accounts))
        yield job


def wait_until(is_so: Callable[[], object]) -> None:
    """Wait for what tells nobody, and takes a while: agents are started."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end
        threading.Event().wait(0.02)


def have_done(job: Job, routines: list[str], what: str) -> None:
    """Have routines do something, and wait for it."""
    for routine_id in routines:
        job.send(routine_id, "input", what=what)
    for routine_id in routines:
        assert next(job.results(routine_id)) == {"what": what}


def await_nodes(job: Job, nodes: set[str], count: int) -> None:
    """Wait until so many workers are there, on these nodes together."""

    def are_there() -> bool:
        listed = [worker for account in job.ledger.accounts for worker in account.list_workers() if worker.is_ready]
        return len(listed) == count and {worker.node for worker in listed} == nodes

    wait_until(are_there)


def losses(state: JobState) -> list[str]:
    return [record.detail for record in state.get_execution_history("", kind="node_lost")]


def test_a_lost_node_is_one_record_and_one_line_that_say_what_it_took(
    cluster: FakeCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    placed = {"parse": "a", "count": "b", "tally": "a"}
    with running(placed, tmp_path / "jobs", workers=2) as job:
        have_done(job, list(placed), "first")
        cluster.lose_node("a", WHY)
        await_nodes(job, {"b"}, 4)
        have_done(job, list(placed), "second")
        job.close_entry()
        state = job.wait(30.0)
    assert losses(state) == losses(JobState.from_bytes(state.to_bytes())) == [LOST]
    assert state.current_routine_id in placed
    lines = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert lines[0].getMessage() == LOST
    assert sum(f"on node a was lost: its node was lost: {WHY}" in line.getMessage() for line in lines) == 3
    assert len(lines) == 4
    kept = StoredHistory(FileStore(tmp_path / "jobs"), job.id)
    assert [(record.routine_id, record.detail) for record in kept if record.kind == "node_lost"] == [("", LOST)]
    assert {record.kind for record in kept.records("parse")} == {"start", "emit", "completed"}
    where = [job.id, "--store", str(tmp_path / "jobs")]
    told = {}
    for command in (["show", *where, "--history"], ["report", *where], ["trace", *where]):
        assert main(command) == 0
        told[command[0]] = capsys.readouterr().out
    assert f"  node_lost  {LOST}\n" in told["show"]
    assert "Lost nodes (1)" in told["report"]
    assert LOST in told["report"]
    assert "the job as a whole" in told["trace"]
    assert LOST in told["trace"]


def test_a_node_that_cannot_be_reached_is_lost_if_and_when_the_cluster_says_so(
    cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    with running({"tally": "a"}) as job:
        cluster.cut_off("a")
        await_nodes(job, {"b"}, 1)
        have_done(job, ["tally"], "meanwhile")
        cluster.settle("a", "")
        cluster.nodes.append("c")
        cluster.cut_off("b")
        await_nodes(job, {"c"}, 1)
        assert losses(job.state) == []
        cluster.settle("b", WHY)
        assert losses(job.state) == [f"node b was lost ({WHY}), and with it the workers of tally"]
        cluster.nodes.append("d")
        cluster.cut_off("c")
        await_nodes(job, {"d"}, 1)
        job.close_entry()
        job.wait(30.0)
    cluster.settle("c", "what nobody wants to know any more")
    assert "any more" not in caplog.text


def test_what_workers_there_use_is_what_they_tell(cluster: FakeCluster) -> None:
    with running({"tally": "a"}) as job:
        have_done(job, ["tally"], "burn")
        (account,) = job.ledger.accounts
        wait_until(lambda: account.list_workers()[0].used is not None)
        view = observe(job)
        (worker,) = view.routine("tally").workers
        assert (worker.pid, worker.node) == (cluster.agents[0].process.pid, "a")
        assert worker.cpu_percent is not None
        assert f"  tally  pid {worker.pid} on a  cpu" in "\n".join(line.text for line in draw_job(view, 200))
        (usage,) = job.tracker.get_routine_performance("tally").workers
        assert usage.node == "a"
        assert usage.rss_bytes == worker.rss_bytes
        assert usage.peak_bytes >= worker.rss_bytes
        job.close_entry()
        job.wait(30.0)
        (ended,) = job.tracker.get_routine_performance("tally").workers
    assert ended.cpu_seconds >= BURN_SECONDS
    assert (ended.pid, ended.rss_bytes, ended.node) == (None, None, "")
    assert ended.peak_bytes >= usage.peak_bytes


def test_a_worker_there_tells_its_stack_and_its_message_fails_with_the_name_of_the_node(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    with running({"tally": "a"}) as job:
        job.send("tally", "input", what="wait")
        (account,) = job.ledger.accounts
        wait_until(lambda: any(worker.current is not None for worker in account.list_workers()))
        (found,) = find_running()
        told = ask(found.owner, Stacks(job_id=job.id))
        assert isinstance(told, StacksTold)
        (stack,) = told.stacks
        assert (stack.routine, stack.worker) == ("tally", 0)
        assert stack.where == f"pid {cluster.agents[0].process.pid} on a"
        assert "in handle" in stack.text
        assert main(["ps", job.id, "--pid", "tally"]) == 1
        assert "runs on Ray, on a, and a process id there" in capsys.readouterr().err
        cluster.lose_node("a", WHY)
        state = job.wait(30.0)
    (record,) = state.get_execution_history(kind="error")
    assert record.detail.endswith(f"on node a was lost: its node was lost: {WHY}")
    assert state.error == f"routine 'tally': {record.detail}"
    kinds = [record.kind for record in state.history]
    assert kinds.index("node_lost") < kinds.index("error")


def test_a_line_about_a_lost_node_has_an_end() -> None:
    flow = Flow("wide")
    flow.add_routine(Work(), "parse", placement="ray", workers=1_000)
    told = tell_lost_node("a", WHY, (("parse", tuple(range(1_000))),), compile_plan(flow))
    assert NODE_LENGTH - 100 < len(told) <= NODE_LENGTH + 100
