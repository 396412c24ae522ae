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

from routilux.cli.main import main
from routilux.keeping.listing import list_checkpoints
from routilux.stores.owners import this_process
from routilux.stores.postgres import PostgresStore
from tests.durability.test_pauses import wait_until
from tests.postgres.servers import TestServer
from tests.postgres.test_leases import ELSEWHERE

ROOT = Path(__file__).resolve().parents[2]
FLOWS = """
import os
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
        threading.Event().wait(float(os.environ.get("SLOW", "0.001")))
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
Run = Callable[..., int]
Told = Callable[..., tuple[int, str, str]]
Make = Callable[..., PostgresStore]


def is_kept(store: PostgresStore) -> bool:
    return "a" in store.jobs() and bool(list_checkpoints(store, "a"))


@pytest.fixture
def shown(guarded: str) -> str:
    """What is shown of the store."""
    return PostgresStore(guarded).url


@pytest.fixture
def told(
    guarded: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Told]:
    """Carries out a command in this program; checks that it does not tell the password."""
    (tmp_path / "flows.py").write_text(FLOWS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("ROUTILUX_STORE", guarded)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("r")))

    def tell(*words: str) -> tuple[int, str, str]:
        status = main(words)
        out, err = capsys.readouterr()
        assert PASSWORD.search(out + err) is None, out + err
        return status, out, err

    yield tell
    sys.modules.pop("flows", None)


@pytest.fixture
def run(told: Told, tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Starts `routilux run` in another program, and gives its process id: it would take minutes."""
    begun: list[subprocess.Popen[str]] = []

    def start(*words: str) -> int:
        process = subprocess.Popen(
            [sys.executable, "-m", "routilux", "run", *words, "--param", "upto=1000"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "SLOW": "0.1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process.pid

    yield start
    for process in begun:
        process.kill()
        out, err = process.communicate()
        assert PASSWORD.search(out + err) is None, out + err


def test_a_job_is_paused_in_one_program_and_resumed_in_another(
    told: Told, run: Run, make_store: Make, shown: str, guarded: str
) -> None:
    store = make_store(url=guarded)
    assert told("jobs") == (2, "", f"routilux: --store: no job was ever kept in the database {shown!r}\n")
    run("flows.py:flow", "--job-id", "a", "--checkpoint-every", "0.2")
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
    while "raised ValueError: thirteen" not in told("ps", "a")[1]:
        pass
    assert told("checkpoint", "a")[0] == 0
    status, _, err = told("pause", "a", "--leave", "--reason", "evening")
    assert status == 0
    assert f"routilux resume a --store {shown}" in err
    wait_until(lambda: store.owner("a") is None)
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
    told: Told, run: Run, make_store: Make, shown: str, guarded: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = make_store(url=guarded)
    pid = run("flows.py:flow", "--job-id", "a")
    wait_until(lambda: is_kept(store))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: store.owner("a") is None)  # at once: it is seen here that it is gone
    status, out, err = told("jobs")
    assert (status, " LOST " in out) == (0, True)
    assert err.endswith(f"go on with routilux resume a --store {shown}\n")
    status, _, err = told("resume", "a", "--plain")
    assert status == 0, err
    assert "is held by process" in caplog.text


def test_a_job_that_another_machine_runs_is_left_to_it(told: Told, run: Run, make_store: Make, guarded: str) -> None:
    store = make_store(url=guarded, lease_seconds=8.0)
    pid = run("flows.py:flow", "--job-id", "a")
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
    assert store._leases._renewer is not None
    store._leases._renewer.close()
    status, _, err = told("resume", "a", "--plain")
    assert status == 0, err
    assert store.acquire("a", this_process(), create=False).generation > lease.generation


def test_what_the_guide_shows_is_what_one_types(told: Told, run: Run, make_store: Make, guarded: str) -> None:
    page = (ROOT / "docs" / "guides" / "postgresql.md").read_text(encoding="utf-8")
    lines = [line.removeprefix("$ ") for line in page.splitlines() if line.startswith("$ ")]
    typed = [shlex.split(line.replace(URL, guarded)) for line in lines]
    assert [words[1] for words in typed] == ["run", "jobs", "resume"]
    assert all(guarded in words for words in typed)
    store = make_store(url=guarded)
    pid = run(*typed[0][2:])
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
