"""Commands to a job that a second program runs: one program for all of them, which `routilux run` has started."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from routilux.cli.main import main
from routilux.control.client import ask
from routilux.control.finding import RunningJob, find_running
from routilux.control.frames import Look, Seen
from tests.runtime.kept import wait_until
from tests.runtime.programs import COMMAND, Program, start_command

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
FLOWS = """
import logging, os, threading
from routilux import ErrorHandler, Flow, routine

log = logging.getLogger("mine")
never = threading.Event()

@routine(events={"number": ["n"]})
def tick():
    n = 0
    while not os.path.exists("stop"):
        yield n
        n += 1
        never.wait(0.02)

@routine(events={"done": ["n"]})
def work(n):
    if n % 3 == 0:
        raise ValueError(f"unlucky {n}")
    if n % 3 == 1:
        print("printed", n, flush=True)
    log.warning("worked at %d", n)
    never.wait(0.01)
    return n

flow = Flow("ticking")
flow.add_routine(tick, "tick")
flow.add_routine(work, "work", placement="process", workers=2, error_handler=ErrorHandler("continue"))
flow.connect("tick", "number", "work", "input")
flow.output("work", "done")
"""


class Running(NamedTuple):
    """The second program."""

    program: Program
    job_id: str
    pid: int


@contextmanager
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a job in a second program, in folders of its own; the present folder is one of them."""
    folder, runtime = tmp_path_factory.mktemp("flows"), tmp_path_factory.mktemp("r")
    (folder / "ticking.py").write_text(FLOWS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        patch.setattr("routilux.control.folder._folders", lambda: [runtime / "routilux"])
        patch.setattr("routilux.cli.ps.LIVE_SECONDS", 0.1)
        patch.delenv("ROUTILUX_STORE", raising=False)
        command = [sys.executable, "-m", "routilux", "run", "ticking.py:flow", "--plain"]
        with chdir(ROOT), start_command(command, folder) as program:
            readers = [
                threading.Thread(target=_drain, args=(stream,))
                for stream in (program.process.stdout, program.process.stderr)
            ]
            for reader in readers:
                reader.start()
            patch.chdir(folder)
            job = _await(find_running)
            _await(lambda: _has_failed(job))
            yield Running(program, job.identity.job_id, job.identity.pid)
            (folder / "stop").touch()
            assert program.process.wait(30) is not None
            for reader in readers:
                reader.join(10)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with start(tmp_path_factory) as program:
        yield program


def _drain(stream: Any) -> None:
    for _line in stream:
        pass


def _has_failed(job: RunningJob) -> list[RunningJob]:
    """Give it once both workers are there and something was given up."""
    seen = ask(job.owner, Look(job_id=job.identity.job_id))
    assert isinstance(seen, Seen)
    work = seen.view.routine("work")
    return [job] if work.figures.dead and len(work.pids) == 2 else []


def _await(look: Callable[[], Any]) -> Any:
    never = threading.Event()
    while not (found := look()):
        assert not never.wait(0.02)
    return found[0]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def tell(*words: str) -> tuple[int, str, str]:
        status = main(words)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return tell


Told = Callable[..., tuple[int, str, str]]


def test_jobs_lists_what_runs(running: Running, told: Told) -> None:
    status, out, err = told("jobs")
    assert (status, err) == (0, "")
    titles, row = out.splitlines()
    assert titles.split() == ["job", "flow", "status", "for", "pid", "store"]
    assert row.split()[:3] == [running.job_id, "ticking", "running"]
    assert row.endswith("(none)")
    (one,) = json.loads(told("jobs", "--json")[1])
    assert (one["job_id"], one["pid"], one["store"]) == (running.job_id, running.pid, "")


def test_ps_tells_how_each_routine_does(running: Running, told: Told) -> None:
    status, out, _err = told("ps")
    assert status == 0
    assert out.startswith(f"ticking, job {running.job_id}: running, ")
    assert re.search(r"^work +process x2 ", out, re.MULTILINE)
    assert re.search(r"^  work: raised ValueError: unlucky \d+$", out, re.MULTILINE)
    view = json.loads(told("ps", running.job_id[:6], "--json")[1])
    work = view["routines"][1]
    assert (view["program"]["pid"], work["id"], work["placement"]) == (running.pid, "work", "process")
    assert work["rate"] is not None
    pids = [worker["pid"] for worker in work["workers"]]
    assert told("ps", "--pid", "work")[1] == "".join(f"{pid}\n" for pid in pids)
    assert told("ps", "--pid", "tick")[1] == f"{running.pid}\n"
    status, _out, err = told("ps", "--pid", "wrok")
    assert status == 2
    assert err.startswith("routilux: --pid: the job has no routine 'wrok'; ")
    assert "did you mean 'work'?" in err


def test_stack_shows_where_handlers_are(running: Running, told: Told) -> None:
    status, out, err = told("stack", "tick")
    assert status == 0
    assert out.startswith("tick, ")
    assert "never.wait(0.02)" in out
    assert "/routilux/turn/" not in out
    assert err.startswith("[frames of routilux are left out")
    status, out, _err = told("stack", running.job_id, "work", "--json")
    stacks = json.loads(out)
    assert [(stack["routine"], stack["worker"]) for stack in stacks] == [("work", 0), ("work", 1)]
    assert all("most recent call first" in stack["text"] for stack in stacks)
    assert told("stack", "work", "more")[0] == 2
    status, _out, err = told("stack", "wrok")
    assert status == 2
    assert "did you mean 'work'?" in err


def test_tap_shows_what_passes(running: Running, told: Told) -> None:
    status, out, _err = told("tap", "work", "-n", "6")
    assert status == 0
    assert len(out.splitlines()) == 6
    assert re.search(r"^[:.0-9]+  > tick\.number -> work\.input, message [0-9a-f]{8}: n=\d+$", out, re.MULTILINE)
    assert re.search(r"^[:.0-9]+  < done: n=\d+$", out, re.MULTILINE)
    status, out, _err = told("tap", running.job_id, "tick", "-n", "1", "--json")
    passing = json.loads(out)
    assert (passing["direction"], passing["name"], passing["message_id"]) == ("out", "number", "")
    assert told("tap", running.job_id)[0] == 2


def test_logs_show_records_and_lines_of_workers_in_order(running: Running, told: Told) -> None:
    told("tap", "work", "-n", "12")  # by now some have come
    status, out, _err = told("logs", "work")
    assert status == 0
    assert re.search(r" WARNING work\[\d\] [0-9a-f]{8}: worked at \d+$", out, re.MULTILINE)
    assert re.search(r" stdout  work\[\d\]: printed \d+$", out, re.MULTILINE)
    assert re.search(r" WARNING work: routine 'work': message .* raised ValueError: unlucky", out)
    status, out, _err = told("logs", running.job_id, "-n", "3", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == 3
    assert set(lines[0]) == {"at", "level", "routine", "worker", "message_id", "logger", "text"}


def test_dead_letters_are_listed_tried_again_and_let_go(running: Running, told: Told) -> None:
    status, out, err = told("retry")
    assert status == 2
    first = out.splitlines()[0]
    assert re.fullmatch(r"[0-9a-f]{8}  work: tried 1 x, given up .*: raised ValueError: unlucky \d+", first)
    assert "say which by the beginnings of their ids" in err
    wait_until(lambda: len(told("retry")[1].splitlines()) > 3)
    told("pause", running.job_id)  # or they would be given up again at once
    assert told("retry", first[:8])[::2] == (0, f"1 dead letter of job {running.job_id} put back, to be tried again\n")
    status, _out, err = told("skip", running.job_id, first[:8])
    assert status == 2
    assert "is not among the dead letters of the job" in err
    second = told("skip")[1].split()[0]
    assert told("skip", second)[::2] == (0, f"1 dead letter of job {running.job_id} let go\n")
    assert told("skip", "--all", "--routine", "work")[0] == 2
    for which in (("--all",), ("--routine", "work")):
        status, _out, err = told("skip", *which)
        assert status == 2
        assert "name the job of which all that is wanted" in err
    assert re.fullmatch(
        rf"\d+ dead letters? of job {running.job_id} let go\n", told("skip", running.job_id, "--routine", "work")[2]
    )
    assert told("skip")[::2] == (0, f"job {running.job_id} has no dead letters\n")
    told("resume", running.job_id)


@pytest.mark.parametrize("words", [("pause",), ("pause", "--leave"), ("cancel",), ("checkpoint",), ("resume",)])
def test_what_changes_a_job_does_so_to_one_that_is_named(running: Running, told: Told, words: tuple[str, ...]) -> None:
    status, _out, err = told(*words)
    assert status == 2
    assert "the following arguments are required: JOB" in err
    status, _out, err = told(*words, "")
    assert status == 2
    assert "argument JOB: it is empty, as of a variable of the shell that is not set" in err
    assert told("ps", running.job_id)[1].startswith(f"ticking, job {running.job_id}: running")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("ps", ""), "JOB"),
        (("tap", ""), "JOB|ROUTINE"),
        (("skip", "", "12345678"), "JOB|ID"),
        (("skip", "a", "--routine", ""), "--routine"),
        (("pause", "a", "--store", ""), "--store"),
        (("show", "a", "--store", "jobs", "--routine", ""), "--routine"),
        (("fork", "a", "", "--store", "jobs"), "NEW"),
    ],
)
def test_an_empty_word_is_refused(told: Told, words: tuple[str, ...], name: str) -> None:
    status, _out, err = told(*words)
    assert status == 2
    assert f"argument {name}: it is empty" in err


def test_a_job_without_a_store_is_paused_in_memory(running: Running, told: Told) -> None:
    status, out, err = told("pause", running.job_id, "--json")
    assert (status, json.loads(out)) == (0, {"job_id": running.job_id})
    where = f"process {running.pid} on {os.uname().nodename}"
    assert err == (
        f"job {running.job_id} is paused: in the memory of {where}, with which it ends\n"
        f"let it go on with: routilux resume {running.job_id}\n"
    )
    assert told("resume", running.job_id)[2] == f"job {running.job_id} goes on in {where}\n"
    for words in (("checkpoint",), ("pause", "--leave")):
        status, _out, err = told(*words, running.job_id)
        assert status == 1
        assert err.endswith("start it with --store PATH\n")
    status, _out, err = told("show")
    assert status == 1
    assert "is kept nowhere: `routilux ps` tells how it does" in err
    status, out, _err = told("show", "--metrics")
    assert status == 0
    assert out.startswith(f"job {running.job_id} of flow ticking: running, as of ")
    status, out, _err = told("graph", running.job_id[:6])
    assert status == 0
    assert "work" in out
    assert "handled" in out


def test_what_does_not_run_is_told_with_what_does(
    running: Running, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _out, err = told("ps", "nightly")
    assert status == 2
    assert f"no job 'nightly' of yours runs here now; those that do are '{running.job_id}'" in err
    monkeypatch.setenv("ROUTILUX_STORE", "nowhere")
    assert told("ps", running.job_id)[::2] == (2, "routilux: --store: there is no folder 'nowhere'\n")
    Path("empty").mkdir()
    monkeypatch.setenv("ROUTILUX_STORE", "empty")
    assert told("ps", running.job_id[:6], "--pid", "tick")[1] == f"{running.pid}\n"
    assert told("jobs")[2] == f"the folder '{Path('empty').absolute()}' has no jobs\n"
    assert told("jobs", "--running")[1].split()[6] == running.job_id
    status, _out, err = told("ps", running.job_id, "--store", "empty")
    assert status == 2
    assert f"has no job '{running.job_id}'; it has no jobs" in err


def test_top_and_logs_follow_until_the_job_ends_and_say_how(
    told: Told, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with start(tmp_path_factory) as ending, ExitStack() as stack:
        job_id, environment = ending.job_id, {**os.environ, "PYTHONPATH": str(ROOT)}
        # By its id: in another folder of this user others may run.
        top, logs = (
            stack.enter_context(subprocess.Popen([*COMMAND, *view], stdout=-1, stderr=-1, text=True, env=environment))
            for view in (("top", job_id), ("logs", job_id, "-f"))
        )
        assert top.stdout is not None
        assert logs.stdout is not None
        line = top.stdout.readline()
        assert line.startswith(f"ticking, job {job_id}: running, ")
        assert "| work " in line
        assert logs.stdout.readline()
        status, _out, err = told("cancel", job_id, "--reason", "enough")
        assert (status, err) == (0, f"job {job_id} is cancelled and has left its program: enough\n")
        for viewer in (top, logs):
            _out, err = viewer.communicate(timeout=30)
            assert (viewer.returncode, err) == (0, f"job {job_id} is cancelled: enough\n")
        assert ending.program.process.wait(30) == 4
        where = "of one that is kept, say with --store or $ROUTILUX_STORE where"
        assert told("ps")[::2] == (2, f"routilux: no job of yours runs here now; {where}\n")
        assert told("top")[::2] == (2, "routilux: no job of yours runs here now\n")
        assert "no job of yours runs here now" in told("jobs")[2]


def test_a_program_that_is_killed_is_told_as_lost(told: Told, tmp_path_factory: pytest.TempPathFactory) -> None:
    with start(tmp_path_factory) as killed:
        command = [sys.executable, "-m", "routilux", "tap", killed.job_id, "work"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=environment) as tap:
            assert tap.stdout is not None
            assert tap.stdout.readline()
            os.kill(killed.pid, signal.SIGKILL)
            _out, err = tap.communicate(timeout=30)
        assert tap.returncode == 1
        who = f"process {killed.pid} on {os.uname().nodename}"
        assert err == f"routilux: job '{killed.job_id}' is lost: {who}, which ran it, ended without a word\n"
        assert "no job of yours runs here now" in told("jobs")[2]
