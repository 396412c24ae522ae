"""The commands, with jobs in PostgreSQL: as with those in a folder; and no password is told by any."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from routilux.keeping.listing import list_checkpoints
from routilux.stores.owners import this_process
from routilux.stores.postgres import PostgresStore
from tests.durability.test_pauses import wait_until
from tests.postgres.servers import TestServer
from tests.postgres.test_leases import ELSEWHERE

ROOT = Path(__file__).resolve().parents[2]
FLOWS = """
import threading
from routilux import ErrorHandler, Flow, Routine

class Numbers(Routine):
    def __init__(self):
        super().__init__()
        self.define_slot("trigger", handler=self.count)
        self.define_event("number", ["n"])
    def count(self, upto):
        for n in range(self.state.get("next", 0), upto):
            self.state["next"] = n + 1
            self.emit("number", n=n)
            yield

class Sum(Routine):
    def __init__(self):
        super().__init__()
        self.define_slot("number", handler=self.add)
    def add(self, n):
        threading.Event().wait(0.005)
        if n == 13:
            raise ValueError("thirteen")
        self.state["sum"] = self.state.get("sum", 0) + n

nightly = flow = Flow("sums")
flow.add_routine(Numbers(), "numbers")
flow.add_routine(Sum(), "sum", error_handler=ErrorHandler("continue"))
flow.connect("numbers", "number", "sum", "number")
"""
PASSWORD = re.compile(r"pa(:|%3A)ss")
URL = "postgresql://nightly@db.example/jobs"
"""What the guide has for one."""
Told = Callable[..., tuple[int, str, str]]
Make = Callable[..., PostgresStore]


def is_kept(store: PostgresStore) -> bool:
    return "a" in store.jobs() and bool(list_checkpoints(store, "a"))


@pytest.fixture
def shown(guarded: str) -> str:
    """What is shown of the store."""
    return PostgresStore(guarded).url


@pytest.fixture
def told(guarded: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Carries out a command; checks that it does not tell the password."""
    (tmp_path / "flows.py").write_text(FLOWS)
    sockets = tmp_path_factory.mktemp("r")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ROUTILUX_STORE": guarded, "XDG_RUNTIME_DIR": str(sockets)}
    begun: list[subprocess.Popen[str]] = []

    def tell(*words: str, waits: bool = True) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "routilux", *words]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        begun.append(process)
        if not waits:
            return process.pid, "", ""
        out, err = process.communicate(timeout=60.0)
        assert PASSWORD.search(out + err) is None, out + err
        return process.returncode, out, err

    yield tell
    for process in begun:
        if process.poll() is None:
            process.kill()
        out, err = process.communicate() if process.stdout and not process.stdout.closed else ("", "")
        assert PASSWORD.search(out + err) is None, out + err


def test_a_job_is_paused_in_one_program_and_resumed_in_another(
    told: Told, make_store: Make, shown: str, guarded: str
) -> None:
    store = make_store(url=guarded)
    assert told("jobs") == (2, "", f"routilux: --store: no job was ever kept in the database {shown!r}\n")
    told("run", "flows.py:flow", "--param", "upto=1000", "--job-id", "a", "--checkpoint-every", "0.2", waits=False)
    wait_until(lambda: is_kept(store))
    status, out, _ = told("jobs", "--json")
    assert status == 0
    assert [(job["job_id"], job["status"]) for job in json.loads(out)] == [("a", "running")]
    assert shown in told("jobs", "--running")[1]
    status, out, err = told("ps", "a")
    assert (status, "sums" in out + err) == (0, True)
    status, _, err = told("run", "flows.py:flow", "--param", "upto=1", "--job-id", "a")
    assert status == 2
    assert err.endswith(f"go on with it by routilux resume a --store {shown}\n")
    assert told("checkpoint", "a")[0] == 0
    status, _, err = told("pause", "a", "--leave", "--reason", "evening")
    assert status == 0
    assert f"routilux resume a --store {shown}" in err
    assert store.owner("a") is None
    status, out, _ = told("show", "a")
    assert (status, "job a of flow sums: paused" in out) == (0, True)
    status, out, _ = told("show", "a", "--messages")
    dead = next(line.split()[0] for line in out.splitlines() if " dead " in line)
    assert told("skip", "a", dead)[0] == 0
    status, _, err = told("resume", "a", "--plain")
    assert status == 0, err
    status, out, _ = told("show", "a", "--routine", "sum")
    assert (status, f"{sum(range(1000)) - 13}" in out.replace(",", "")) == (0, True), out
    assert told("fork", "a", "b")[0] == 0
    assert told("prune", "--all", "--keep", "1")[0] == 0
    assert told("verify", "--all")[0] == 0
    assert told("clean", "--all", "--with-dead-letters")[0] == 0
    assert store.jobs() == ["b"]


def test_a_job_whose_program_was_killed_is_lost_and_resumed(
    told: Told, make_store: Make, shown: str, guarded: str
) -> None:
    store = make_store(url=guarded)
    pid, _, _ = told("run", "flows.py:flow", "--param", "upto=500", "--job-id", "a", waits=False)
    wait_until(lambda: is_kept(store))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: store.owner("a") is None)  # at once: it is seen here that it is gone
    status, out, err = told("jobs")
    assert (status, " LOST " in out) == (0, True)
    assert err.endswith(f"go on with routilux resume a --store {shown}\n")
    status, _, err = told("resume", "a", "--plain")
    assert status == 0, err
    assert "is held by process" in err


def test_a_job_that_another_machine_runs_is_left_to_it(told: Told, make_store: Make, guarded: str) -> None:
    store = make_store(url=guarded, lease_seconds=8.0)
    pid, _, _ = told("run", "flows.py:flow", "--param", "upto=500", "--job-id", "a", waits=False)
    wait_until(lambda: is_kept(store))
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: store.owner("a") is None)
    lease = store.acquire("a", ELSEWHERE, create=False)
    status, _, err = told("resume", "a", "--plain")
    assert status == 1
    assert "on elsewhere: leave or cancel it there first" in err
    assert told("cancel", "a")[0] == 1
    assert " running " in told("jobs")[1]
    assert told("prune", "a", "--keep", "1")[0] == 1
    assert told("clean", "--all", "--status", "paused")[0] == 0
    lease.check()
    # Its machine dies: the lease is renewed no more, and ends while it is waited for.
    assert store._renewer is not None
    store._renewer.close()
    status, _, err = told("resume", "a", "--plain")
    assert status == 0, err
    assert store.acquire("a", this_process(), create=False).generation > lease.generation


def test_what_the_guide_shows_is_what_one_types(told: Told, make_store: Make, guarded: str) -> None:
    page = (ROOT / "docs" / "guides" / "postgresql.md").read_text(encoding="utf-8")
    typed = [shlex.split(line.replace(URL, guarded)) for line in page.splitlines() if line.startswith("routilux ")]
    assert [words[1] for words in typed] == ["run", "jobs", "resume"]
    assert all(guarded in words for words in typed)
    store = make_store(url=guarded)
    pid, _, _ = told(*typed[0][1:], "--param", "upto=500", waits=False)
    wait_until(lambda: "nightly" in store.jobs() and list_checkpoints(store, "nightly"))
    assert " running " in told(*typed[1][1:])[1]
    os.kill(pid, signal.SIGKILL)
    assert " LOST " in told(*typed[1][1:])[1]
    assert told(*typed[2][1:])[0] == 0


def test_a_server_that_does_not_answer_is_told_in_a_line(told: Told, own_server: TestServer) -> None:
    own_server.stop()
    url = f"postgresql://ada:pa%3Ass@127.0.0.1:{own_server.port}/postgres"
    status, out, err = told("jobs", "--store", url)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "could not be read: connection failed" in err
    status, _, err = told("run", "flows.py:flow", "--param", "upto=1", "--store", url)
    assert status == 1
    assert "could not be written: connection failed" in err
    status, _, err = told("jobs", "--store", "postgresql://ada:pa:ss/@db")
    assert status == 2
    assert "this URL cannot be read" in err
