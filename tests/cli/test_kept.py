"""Commands about jobs in a store: all in this program, but for those of which the end of a program is the point."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from typing import Any

import pytest

from routilux import Job, JobStatus
from routilux.cli.main import main
from routilux.cli.target import load_flow
from routilux.keeping import origin
from routilux.records.packing import pack
from routilux.stores import FileStore, this_process
from tests.runtime.programs import COMMAND, Program, start_command

ROOT = Path(__file__).resolve().parents[2]
FLOWS = """
import sys
import threading
from routilux import ErrorHandler, Flow, Routine, routine

gate = threading.Event()

@routine(events={"number": ["n"]})
def count(upto=3):
    for n in range(upto):
        yield n

class Sum(Routine):
    def __init__(self):
        super().__init__()
        self.define_slot("input", handler=self.add)
        self.define_event("sum", ["total"])
    def add(self, n):
        self.state["total"] = self.state.get("total", 0) + n
        self.state["seen"] = {*self.state.get("seen", ()), n}
        if n == 13:
            raise ValueError("unlucky")
        self.emit("sum", total=self.state["total"])

def build(name="sum"):
    flow = Flow("sums")
    flow.add_routine(count, "count")
    flow.add_routine(Sum(), name, error_handler=ErrorHandler("continue"))
    flow.connect("count", "number", name, "input")
    flow.output(name, "sum")
    return flow

flow = build()

failing = Flow("failing")
failing.add_routine(count, "count")
failing.add_routine(Sum(), "sum")
failing.connect("count", "number", "sum", "input")

def renamed():
    return build("total")

@routine(events={"begun": []})
def hang(data):
    print("begun", flush=True)
    gate.wait()

@routine(events=[])
def listen(data=None):
    print("begun", flush=True)
    sys.stdin.readline()
    print("this waits to be written")

listening = Flow("listening")
listening.add_routine(listen, "listen")

hanging = Flow("hanging")
hanging.add_routine(hang, "hang")
"""


@pytest.fixture(autouse=True)
def flows(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "kflows.py"
    path.write_text(FLOWS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("r")))
    yield path
    sys.modules.pop("kflows", None)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(words)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def told_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    status, out, err = told(capsys, *words, "--store", "jobs", "--json")
    assert status == 0, err
    return json.loads(out)


@contextmanager
def running(job_id: str = "a", target: str = "kflows:flow") -> Iterator[Job]:
    """Run a job that takes messages until it is ended by somebody."""
    job = load_flow(target).start(store="jobs", job_id=job_id, keep_open=True, target=target)
    try:
        yield job
    finally:
        job.cancel_and_wait()


def leave_one(job_id: str = "a", reason: str = "home") -> None:
    with running(job_id) as job:
        job.send("sum", "input", n=13)
        job.send("sum", "input", n=1)
        _await(lambda: job.state.routine_states["sum"]["handled"])
        job.pause("lunch", {"at": (1, 2)})
        job.resume()
        job.leave(reason)


# ---- to run and to resume


def test_a_job_with_a_store_is_kept_and_says_nothing_of_resuming_when_it_is_completed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, err = told(capsys, "run", "kflows.py:flow", "--store", "jobs", "--job-id", "a")
    assert (status, out) == (0, "")
    assert "resume" not in err
    (job,) = told_json(capsys, "jobs")
    assert (job["job_id"], job["status"], job["flow_id"], job["messages"]) == ("a", "completed", "sums", 0)
    status, _out, err = told(capsys, "resume", "a", "--store", "jobs")
    assert status == 1
    assert err.endswith(
        "job 'a' is completed; there is nothing left to go on with: to run it anew, start it with another id\n"
    )


def test_a_job_of_the_same_id_is_not_resumed_silently(capsys: pytest.CaptureFixture[str]) -> None:
    leave_one()
    status, _out, err = told(capsys, "run", "kflows.py:flow", "--store", "jobs", "--job-id", "a")
    assert status == 2
    assert "has a job 'a' already: go on with it by routilux resume a --store jobs\n" in err


def test_a_job_is_resumed_with_what_it_was_started_from(capsys: pytest.CaptureFixture[str]) -> None:
    leave_one()
    status, out, err = told(capsys, "resume", "a", "--store", "jobs", "--timeout", "0.2", "--json")
    assert status == 4  # it stays open to messages: the time ends it
    assert err.startswith("resuming with kflows:flow, by which the job was run here last\n")
    assert json.loads(out)["routines"]["sum"]["handled"] == 1


def test_a_store_from_elsewhere_does_not_say_which_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    leave_one()
    store = FileStore("jobs")
    lease = store.acquire("a", this_process(), create=False)
    store.delete(lease, origin.NAME)
    store.put(lease, origin.NAME, [pack(origin.Origin("kflows:flow", "elsewhere"))])
    lease.release()
    status, _out, err = told(capsys, "resume", "a", "--store", "jobs")
    assert (status, err) == (
        2,
        "routilux: say with --flow which flow job 'a' is of: nothing on this machine says so\n",
    )


def test_a_flow_that_lacks_something_is_refused_with_a_list_and_taken_with_a_rename(
    capsys: pytest.CaptureFixture[str],
) -> None:
    leave_one()
    words = ("resume", "a", "--store", "jobs", "--flow", "kflows:renamed", "--timeout", "0.2")
    status, _out, err = told(capsys, *words)
    assert status == 1
    assert "nothing of it was changed; what stands in the way:\n" in err
    assert "--rename sum=NEW, or --drop sum.state" in err
    assert err.count("\n  - ") >= 1
    assert "--rename OLD=NEW" in err
    assert "Traceback" not in err
    assert origin.find_target(FileStore("jobs"), "a") == "kflows:flow"  # not the one that was refused
    status, _out, err = told(capsys, *words, "--rename", "sum=total")
    assert status == 4, err
    status, _out, err = told(capsys, *words, "--rename", "sum")
    assert (status, err) == (2, "routilux: --rename: expected OLD=NEW, got 'sum'\n")


def test_an_option_that_cannot_be_makes_no_job(capsys: pytest.CaptureFixture[str]) -> None:
    Path("key").write_bytes(b"short")
    words = ("run", "kflows:flow", "--entry", "count", "--store", "jobs", "--key-file", "key")
    status, _out, err = told(capsys, *words)
    assert (status, err) == (2, "routilux: a key is 16 to 64 bytes that nobody can guess, not 5\n")
    assert not Path("jobs").exists()


def test_options_of_keeping_mean_nothing_without_a_store(capsys: pytest.CaptureFixture[str]) -> None:
    status, _out, err = told(capsys, "run", "kflows:flow", "--checkpoint-every", "1", "--job-id", "a")
    assert (status, err) == (
        2,
        "routilux: --checkpoint-every, --job-id means nothing for a job that is not kept: give --store too\n",
    )


def test_a_job_that_failed_says_that_its_message_is_kept_and_how_to_look_at_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, _out, err = told(
        capsys, "run", "kflows:failing", "--param", "upto=14", "--store", "my jobs", "--job-id", "a"
    )
    assert status == 1
    (message,) = re.findall(r"^message ([0-9a-f]{8}) is kept, first in line for routine 'sum'", err, re.MULTILINE)
    replay = f"routilux replay a {message} --store 'my jobs'"
    assert err.endswith(
        f": mend first what it failed by\nsee what its handler does with it by: {replay}\n"
        "then go on with it by: routilux resume a --store 'my jobs'\n"
    )
    status, _out, err = told(capsys, *shlex.split(replay)[1:])
    assert status == 1
    for command in ("skip", "retry"):
        status, _out, err = told(capsys, command, "a", "--all", "--store", "my jobs")
        assert (status, err) == (
            0,
            (
                "job a has no dead letters\nthe message by which it failed is none: it is kept first in line, and "
                "handled again by a resume (routilux show a --messages --store 'my jobs')\n"
            ),
        )
    assert told(capsys, "skip", "a", "--routine", "count", "--store", "my jobs")[2].startswith(
        "routine 'count' of job a has no dead letters\n"
    )


# ---- to look


def test_jobs_are_listed_with_where_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    leave_one("a")
    leave_one("b")
    with running("c") as job:
        status, out, err = told(capsys, "jobs", "--store", "jobs")
        assert (status, err) == (0, "")
        assert [line.split()[:3] for line in out.splitlines()] == [
            ["job", "flow", "status"],
            ["a", "sums", "paused"],
            ["b", "sums", "paused"],
            ["c", "sums", "running"],
        ]
        job.pause()
        assert told_json(capsys, "jobs")[2]["status"] == "paused"
        assert told_json(capsys, "jobs")[2]["owner"]["pid"] == os.getpid()


def test_an_empty_store_and_none(capsys: pytest.CaptureFixture[str]) -> None:
    Path("jobs").mkdir()
    assert told_json(capsys, "jobs") == []
    assert "has no jobs" in told(capsys, "jobs", "--store", "jobs")[2]
    assert told(capsys, "jobs", "--store", "none")[::2] == (2, "routilux: --store: there is no folder 'none'\n")
    assert told(capsys, "show", "x", "--store", "n.sqlite")[::2] == (
        2,
        "routilux: --store: there is no file 'n.sqlite'\n",
    )
    assert not Path("n.sqlite").exists()


def test_a_job_is_shown_without_its_code(capsys: pytest.CaptureFixture[str], flows: Path) -> None:
    leave_one()
    sys.modules.pop("kflows")
    flows.unlink()
    status, out, err = told(capsys, "show", "a", "--store", "jobs")
    assert (status, err) == (0, "go on with: routilux resume a --store jobs\n")
    assert out.startswith("job a of flow sums: paused\n")
    assert re.search(r"^sum +\w+ +1 +0 +1", out, re.MULTILINE)
    assert re.search(r"^paused [-0-9]+ [:0-9]+, checkpoint 1-2: lunch, with {'at': \(1, 2\)}$", out, re.MULTILINE)
    assert re.search(
        r"^  sum: message [0-9a-f]{8}, tried 1 x: raised ValueError: unlucky \(at [a-z_]+\.py:\d+ in \w+\)$",
        out,
        re.MULTILINE,
    )
    assert "kflows" not in sys.modules


def test_a_routine_of_a_paused_job_is_shown_as_paused(capsys: pytest.CaptureFixture[str]) -> None:
    with running("a") as job:
        job.send("sum", "input", n=1)
        _await(lambda: job.state.routine_states["sum"]["handled"])
        job.send("sum", "input", n=2)
        job.pause()
        assert job.state.routine_states["sum"]["status"] == "running"
        out = told(capsys, "show", "a", "--store", "jobs")[1]
        assert re.search(r"^sum +paused ", out, re.MULTILINE)


def test_the_state_of_one_routine_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    leave_one()
    status, out, _err = told(capsys, "show", "a", "--store", "jobs", "--routine", "sum")
    assert status == 0
    assert "state of sum, worker 0: {'total': 1, 'seen': {1}}\n" in out
    shown = told_json(capsys, "show", "a", "--routine", "sum")
    assert list(shown["routines"]) == ["sum"]
    assert shown["routines"]["sum"]["states"] == ["{'total': 1, 'seen': {1}}"]
    assert [point["reason"] for point in shown["pause_points"]] == ["lunch", "home"]
    assert shown["dead_letters"][0]["cause"].startswith("raised ValueError: unlucky")
    status, _out, err = told(capsys, "show", "a", "--store", "jobs", "--routine", "smu")
    assert status == 2
    assert "did you mean 'sum'?" in err


def test_the_history_is_complete_over_all_runners(capsys: pytest.CaptureFixture[str]) -> None:
    leave_one()
    told(capsys, "resume", "a", "--store", "jobs", "--timeout", "0.2")
    status, out, _err = told(capsys, "show", "a", "--store", "jobs", "--history", "--json")
    assert status == 0
    kinds = [json.loads(line)["kind"] for line in out.splitlines()]
    assert kinds == ["error", "continue", "start", "emit", "completed"]
    status, out, _err = told(capsys, "show", "a", "--store", "jobs", "--history", "--routine", "sum")
    assert out.splitlines()[-1].split("  ")[1:3] == ["completed", "sum"]
    assert told(capsys, "show", "a", "--store", "jobs", "--history", "--routine", "count")[1] == ""


def test_foreign_text_does_not_reach_the_terminal_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with running() as job:
        job.pause("\x1b[2J\nboo", "\x1b[31m")
        job.leave()
    status, out, _err = told(capsys, "show", "a", "--store", "jobs")
    assert status == 0
    assert "\x1b" not in out
    assert "\\x1b[2J\\nboo" in out


def test_damage_is_told_and_the_checkpoint_before_is_used(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    leave_one()
    newest = max(Path("jobs/a").glob("checkpoint-*"))
    data = bytearray(newest.read_bytes())
    data[-20] ^= 1
    newest.write_bytes(data)
    status, out, err = told(capsys, "show", "a", "--store", "jobs")
    assert status == 1
    assert "checkpoint 1-3, " in out
    assert "is damaged" in err
    status, out, _err = told(capsys, "verify", "a", "--store", "jobs")
    assert status == 1
    assert out.startswith("a: checkpoint-000001-000004: the checkpoint is damaged")
    assert told(capsys, "fork", "a", "b", "--store", "jobs")[0] == 0
    assert "checkpoint-000001-000004: the checkpoint is damaged" in caplog.text


# ---- to steer


def test_a_job_of_another_terminal_is_paused_kept_and_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    with running() as job:
        status, out, err = told(capsys, "pause", "a", "--store", "jobs", "--reason", "lunch", "--json")
        assert (status, job.status) == (0, "paused")
        assert json.loads(out)["cause"] == "pause"
        assert err.startswith("job a is paused: checkpoint 1-2, 0 messages, ")
        assert job.state.pause_points[0].reason == "lunch"
        status, _out, err = told(capsys, "resume", "a", "--store", "jobs")
        assert (status, job.status) == (0, "running")
        assert err == f"job a goes on in process {os.getpid()} on {os.uname().nodename}\n"
        assert told(capsys, "resume", "a", "--store", "jobs")[2].startswith("job a runs already, in process ")
        for words in (["--flow", "kflows:flow"], ["--placement", "thread=sum"]):
            status, _out, err = told(capsys, "resume", "a", "--store", "jobs", *words)
            assert status == 1
            assert "is run by process" in err
        status, _out, err = told(capsys, "checkpoint", "a", "--store", "jobs")
        assert (status, job.status) == (0, "running")
        assert err.startswith("job a is kept: checkpoint 1-4, ")
        status, _out, err = told(capsys, "pause", "a", "--store", "jobs", "--leave")
        assert (status, job.wait(10).status) == (0, JobStatus.PAUSED)
        assert err.endswith("go on with it by: routilux resume a --store jobs\n")


def test_a_paused_job_is_left_and_cancelled_too(capsys: pytest.CaptureFixture[str]) -> None:
    for job_id, words, status in (("a", ("pause", "--leave"), "paused"), ("b", ("cancel",), "cancelled")):
        with running(job_id) as job:
            job.pause()
            assert told(capsys, words[0], job_id, "--store", "jobs", *words[1:])[0] == 0
            assert job.wait(10).status == status
        assert {job["job_id"]: job["status"] for job in told_json(capsys, "jobs")}[job_id] == status


def test_a_pause_that_takes_too_long_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    load_flow("kflows:hanging")
    gate = sys.modules["kflows"].gate
    try:
        with running("a", "kflows:hanging") as job:
            job.send("hang", "input", n=1)
            _await(lambda: job.state.routine_states["hang"]["stats"]["in_hand"])
            status, _out, err = told(capsys, "pause", "a", "--store", "jobs", "--timeout", "0.05")
            assert status == 1
            assert err.startswith("routilux: job 'a' was not paused and goes on: routine 'hang' is still at message")
            assert err.endswith("(give it more time, or --on-timeout requeue to run these messages again)\n")
            gate.set()
    finally:
        gate.set()


def test_a_job_is_cancelled_where_it_runs_and_where_nobody_runs_it(capsys: pytest.CaptureFixture[str]) -> None:
    with running() as job:
        status, _out, err = told(capsys, "cancel", "a", "--store", "jobs", "--reason", "enough")
        assert (status, job.wait(10).error) == (0, "enough")
        assert err == "job a is cancelled and has left its program: enough\n"
    leave_one("b")
    assert told(capsys, "cancel", "b", "--store", "jobs")[0] == 0
    told_of = {job["job_id"]: job for job in told_json(capsys, "jobs")}
    assert (told_of["b"]["status"], told_of["b"]["error"]) == ("cancelled", "cancelled from the command line")
    assert told(capsys, "cancel", "b", "--store", "jobs")[::2] == (
        1,
        "routilux: job 'b' is over already: it is cancelled\n",
    )
    assert told(capsys, "resume", "b", "--store", "jobs")[0] == 1
    assert told(capsys, "verify", "--all", "--store", "jobs")[0] == 0


def test_who_does_not_run_cannot_be_steered(capsys: pytest.CaptureFixture[str]) -> None:
    leave_one()
    assert told(capsys, "pause", "a", "--store", "jobs")[::2] == (
        1,
        (
            "routilux: job 'a' cannot be paused: nobody runs it, and it is paused; "
            "go on with it by: routilux resume a --store jobs\n"
        ),
    )
    status, _out, err = told(capsys, "checkpoint", "b", "--store", "jobs")
    assert status == 2
    assert err.endswith("has no job 'b'; its jobs are 'a'\n")
    assert told(capsys, "pause", "../a", "--store", "jobs")[0] == 2


# ---- to look after


def test_a_job_is_forked_from_any_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    leave_one()
    status, _out, err = told(capsys, "fork", "a", "b", "--store", "jobs", "--checkpoint", "1-2")
    assert (status, err) == (
        0,
        "job b was made of a/1-2; it is paused\ngo on with it by: routilux resume b --store jobs\n",
    )
    assert told_json(capsys, "show", "b")["forked_from"] == "a/1-2"
    assert told(capsys, "resume", "b", "--store", "jobs", "--timeout", "0.2")[0] == 4
    assert told(capsys, "fork", "a", "b", "--store", "jobs")[0] == 2
    assert told(capsys, "fork", "a", "c", "--store", "jobs", "--checkpoint", "9-9")[::2] == (
        2,
        "routilux: --checkpoint: job 'a' has no checkpoint 9-9; its checkpoints are 1-4, 1-3, 1-2\n",
    )
    assert told(capsys, "fork", "a", "c", "--store", "jobs", "--checkpoint", "9")[::2] == (
        2,
        "routilux: --checkpoint: expected GENERATION-NUMBER, such as 1-12, got '9'\n",
    )


def test_old_checkpoints_are_let_go_of_jobs_that_nobody_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with running("a") as job:
        for _ in range(3):
            job.checkpoint()
        told(capsys, "cancel", "a", "--store", "jobs")
    with running("b"):
        assert told(capsys, "prune", "b", "--store", "jobs", "--keep", "1")[0] == 1
        status, _out, err = told(capsys, "prune", "--all", "--store", "jobs", "--keep", "1")
    assert status == 0
    assert err.startswith("a: 2 checkpoints let go\nb: left alone: job 'b' is run by process")
    assert told_json(capsys, "jobs")[0]["checkpoints"] == 1
    assert told(capsys, "prune", "--store", "jobs", "--keep", "1")[::2] == (2, "routilux: say which job, or --all\n")


def test_a_job_that_others_could_have_written_hides_no_other_one(capsys: pytest.CaptureFixture[str]) -> None:
    leave_one("a")
    leave_one("b")
    for file in Path("jobs/a").glob("checkpoint-*"):
        file.chmod(0o620)
    assert [job["status"] for job in told_json(capsys, "jobs")] == ["unreadable", "paused"]
    status, out, err = told(capsys, "verify", "--all", "--store", "jobs")
    assert status == 1
    assert re.fullmatch("a: .* may be written by others .*\n", out)
    assert err == "b: all is well\n"
    status, _out, err = told(capsys, "prune", "--all", "--store", "jobs", "--keep", "1")
    assert status == 1
    assert re.fullmatch("a: left alone: .* may be written by others .*\nb: .* checkpoints? let go\n", err)


def test_a_sealed_job_needs_its_key(capsys: pytest.CaptureFixture[str]) -> None:
    key = Path("key")
    key.write_bytes(b"0123456789abcdef\n")
    key.chmod(0o600)
    words = ("--store", "jobs", "--key-file", "key")
    assert told(capsys, "run", "kflows:flow", "--job-id", "a", *words)[0] == 0
    assert told(capsys, "show", "a", *words)[0] == 0
    status, _out, err = told(capsys, "show", "a", "--store", "jobs")
    assert status == 1
    assert err == "routilux: the checkpoint is sealed with a key: give it to read it (--key-file FILE)\n"
    key.chmod(0o620)
    status, _out, err = told(capsys, "show", "a", *words)
    assert status == 1
    assert "may be written by others" in err


# ---- programs that end


def _await(is_so: Any) -> None:
    never = threading.Event()
    while not is_so():
        assert not never.wait(0.005)


@contextmanager
def started(*words: str) -> Iterator[Program]:
    """Start a command in this folder; its handler has begun."""
    folder = Path.cwd()
    with ExitStack() as stack:
        with chdir(ROOT):  # whose packages it finds
            program = stack.enter_context(start_command([*COMMAND, *words, "--plain"], folder))
        program.await_line("begun")
        yield program


@pytest.mark.processes
@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.stress), signal.SIGTERM])
def test_a_signal_leaves_a_kept_job_paused(capsys: pytest.CaptureFixture[str], number: signal.Signals) -> None:
    with started("run", "kflows.py:hanging", "--store", "jobs", "--job-id", "a") as program:
        program.await_error("hanging")  # the first line of its watch: from here it waits
        program.interrupt(number)
        program.await_error("pausing job a: what is in hand is given a moment")
        program.interrupt(number)
        ended = program.finish()
    assert ended.code == 3, ended
    assert "go on with it by: routilux resume a --store jobs\n" in ended.errors
    assert "Traceback" not in ended.errors
    shown = told_json(capsys, "show", "a")
    assert (shown["status"], shown["pause_points"][0]["reason"], shown["routines"]["hang"]["waiting"]) == (
        "paused",
        "interrupted",
        1,
    )


@pytest.mark.processes
def test_a_job_whose_output_nobody_reads_any_more_goes_on_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("run", "kflows.py:listening", "--store", "jobs", "--job-id", "a", "--plain")
    with subprocess.Popen(
        [sys.executable, "-m", "routilux", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "begun\n"
        program.stdout.close()
        program.communicate("\n", timeout=60)
    assert program.returncode == 0
    assert told_json(capsys, "jobs")[0]["status"] == "completed"


@pytest.mark.processes
def test_a_job_whose_program_was_killed_is_lost_and_is_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    with started("run", "kflows.py:hanging", "--store", "jobs", "--job-id", "a") as program:
        program.await_error("hanging")
        program.interrupt(signal.SIGKILL)
        program.finish()
    status, out, err = told(capsys, "jobs", "--store", "jobs")
    assert (status, out.splitlines()[1].split()[:3]) == (0, ["a", "hanging", "LOST"])
    assert err == "a: the program that ran it is gone; go on with routilux resume a --store jobs\n"
    assert FileStore("jobs").owner("a") is None
    load_flow("kflows:hanging")
    sys.modules["kflows"].gate.set()
    assert told(capsys, "resume", "a", "--store", "jobs")[0] == 0
    assert told_json(capsys, "jobs")[0]["status"] == "completed"


@pytest.mark.processes
def test_a_job_is_paused_in_a_program_by_another_one(capsys: pytest.CaptureFixture[str]) -> None:
    with started("run", "kflows.py:hanging", "--store", "jobs.sqlite", "--job-id", "a") as program:
        program.await_error("hanging")
        words = ("pause", "a", "--store", "jobs.sqlite", "--timeout", "0.1", "--on-timeout", "requeue")
        status, _out, err = told(capsys, *words)
        assert status == 0, err
        status, _out, err = told(capsys, "cancel", "a", "--store", "jobs.sqlite", "--shutdown", "0")
        assert status == 0, err
        assert program.finish().code == 4


def test_a_job_that_was_never_kept_is_told_to_be_run_again(capsys: pytest.CaptureFixture[str]) -> None:
    FileStore("jobs").acquire("a", this_process(), create=True).release()
    status, out, err = told(capsys, "jobs", "--store", "jobs")
    assert (status, out.splitlines()[1].split()[:3]) == (0, ["a", "not", "begun"])
    assert err.startswith("a: its program was killed before anything of it was kept; run it again")
    assert told(capsys, "show", "a", "--store", "jobs")[0] == 1
    assert told(capsys, "run", "kflows:flow", "--store", "jobs", "--job-id", "a")[0] == 0
