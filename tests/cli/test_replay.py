"""`routilux replay`: one recorded message once more, here, as its turn is run in a job, and nothing of it is kept."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from routilux.cli import messages
from routilux.cli.errors import UsageError
from routilux.cli.main import main
from routilux.cli.target import load_flow
from routilux.keeping.finding import latest
from routilux.stores import FileStore
from tests.runtime.kept import wait_until

FLOWS = """
import asyncio
import os
from pathlib import Path
from routilux import ErrorHandler, Flow, Routine, batch, routine

BAD = {2, 5}

class Read(Routine):
    def __init__(self):
        super().__init__()
        self.define_slot("trigger", handler=self.read)
        self.define_event("line", ["n"])
    def read(self, upto=6):
        for n in range(upto):
            self.emit("line", n=n)

class Parse(Routine):
    def __init__(self):
        super().__init__()
        self.define_slot("source", handler=self.parse)
        self.define_event("parsed", ["n", "pid"])
        self.define_event("unheard", ["n"])
    def parse(self, n):
        print("parsing", n)
        self.state["files"] = self.state.get("files", 0) + 1
        if n in BAD:
            raise ValueError(f"bad payload {n}")
        self.emit("unheard", n=n)
        self.emit("parsed", n=n, pid=os.getpid())

class Awaiting(Parse):
    async def parse(self, n):
        await asyncio.sleep(0)
        Parse.parse(self, n)

class Stepping(Parse):
    def parse(self, n):
        self.state["begun"] = n
        self.emit("parsed", n=n, pid=0)
        yield
        if n in BAD:
            raise ValueError("in the middle")
        self.state["ended"] = n

class Doing(Parse):
    def parse(self, n):
        self.once("write", lambda: Path(f"done-{n}").touch(exist_ok=False))
        if n in BAD:
            raise ValueError("after it was done")

class Listing(Parse):
    state_type = list
    state_policy = "in_place"
    def parse(self, n):
        if n in BAD:
            raise ValueError("not listed")
        self.state.append(n)

class Gathering(Routine):
    def __init__(self):
        super().__init__()
        self.define_slot("source", handler=self.gather, merge_strategy=batch(3))
        self.define_event("parsed", ["numbers"])
    def gather(self, n):
        if BAD.intersection(n):
            raise ValueError(f"bad set {n}")
        self.emit("parsed", numbers=n)

def build(routine=Parse, **options):
    flow = Flow("replayed")
    flow.add_routine(Read(), "read")
    flow.add_routine(routine(), "parse", error_handler=ErrorHandler("continue"), **options)
    flow.connect("read", "line", "parse", "source")
    flow.output("parse", "parsed")
    return flow

class Giving(Parse):
    def parse(self, n):
        if n in BAD:
            self.state[5] = n

def giving(): return build(Giving)
def threads(): return build()
def processes(): return build(placement="process", workers=2)
def keyed(): return build(placement="process", partition_by="n")
def awaiting(): return build(Awaiting)
def stepping(): return build(Stepping)
def doing(): return build(Doing)
def listing(): return build(Listing)
def gathering(): return build(Gathering)

@routine
def later(n):
    raise RuntimeError("it was run")

def waiting():
    flow = Flow("waiting")
    flow.add_routine(later, "later")
    return flow

class Odd:
    def __reduce__(self):
        return unmake, ()

def unmake():
    raise ValueError("cannot be made again")

@routine(events={"made": ["value"]})
def make():
    return Odd()

def unread():
    flow = Flow("unread")
    flow.add_routine(make, "make", placement="process")
    flow.output("make", "made")
    return flow
"""


@pytest.fixture(autouse=True)
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "rflows.py").write_text(FLOWS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("rflows", None)


def run(name: str, **keeping: Any) -> None:
    """Run a job of that name to its end."""
    job = load_flow(f"rflows:{name}").start(store="jobs", job_id=name, target=f"rflows:{name}", **keeping)
    job.wait()


def mend() -> None:
    """Change the code of the flows as somebody does who has found the fault."""
    path = Path("rflows.py")
    path.write_text(path.read_text().replace("BAD = {2, 5}", "BAD = set()"))
    del sys.modules["rflows"]


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(words)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def message_of(capsys: pytest.CaptureFixture[str], job: str, number: int = 0) -> str:
    status, out, _ = told(capsys, "show", job, "--store", "jobs", "--messages", "--json")
    assert status == 0
    return str(json.loads(out.splitlines()[number])["message_id"])


def kept() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path("jobs").rglob("*") if path.is_file()}


def replay(capsys: pytest.CaptureFixture[str], job: str, *words: str, number: int = 0) -> tuple[int, str, str]:
    message, before = message_of(capsys, job, number), kept()
    answer = told(capsys, "replay", job, message[:8], "--store", "jobs", *words)
    assert kept() == before  # whatever it did
    return answer


def test_a_handler_that_raises_again_is_told_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    run("threads")
    status, out, err = replay(capsys, "threads")
    assert status == 1
    assert re.fullmatch(
        r"message [0-9a-f]{32} of routine 'parse', by read.line -> parse.source\n"
        r"  given up, tried 1 x: raised ValueError: bad payload 2\n"
        r"  data: {'n': 2}\n"
        r"it raised after \S+ s; nothing of it is kept\n"
        r"Traceback .*\n  File \".*rflows.py\", line \d+, in parse\n.*\nValueError: bad payload 2\n",
        out,
        re.DOTALL,
    )
    assert err == "with rflows:threads, by which the job was run here last\nparsing 2\n"


def test_what_is_refused_at_the_end_of_a_turn_is_told_without_frames_of_ours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("giving")
    status, out, _ = replay(capsys, "giving")
    assert (status, "routilux/" in out, "StateError: " in out) == (1, False, True)
    monkeypatch.setenv("ROUTILUX_FULL_TRACEBACK", "1")
    assert "routilux/turn/" in replay(capsys, "giving")[1]


def test_a_mended_handler_tells_what_it_emits_and_changes(capsys: pytest.CaptureFixture[str]) -> None:
    run("threads")
    mend()
    status, out, _ = replay(capsys, "threads")
    assert status == 0
    assert out.splitlines()[4:] == [
        "emitted:",
        "  unheard: {'n': 2}",
        f"  parsed: {{'n': 2, 'pid': {os.getpid()}}}",
        "state:",
        "  files: 4 -> 5",
    ]


@pytest.mark.processes
def test_what_ran_in_processes_is_run_here_with_the_state_of_one_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    run("processes")
    mend()
    counts = []
    for worker in "01":
        status, out, _ = replay(capsys, "processes", "--worker", worker, "--json")
        answer = json.loads(out)
        assert (status, answer["raised"]) == (0, None)
        assert [sent["event"] for sent in answer["emitted"]] == ["unheard", "parsed"]
        assert str(os.getpid()) in answer["emitted"][1]["data"]
        counts.append(int(answer["state"]["files"]["after"]))
    assert sum(counts) == 4 + 2  # of both workers, and one more each
    status, _, err = replay(capsys, "processes", "--worker", "2")
    assert (status, "has 2 states, 0 to 1; got 2" in err) == (2, True)


@pytest.mark.processes
def test_of_a_partitioned_routine_it_is_the_state_of_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    run("keyed")
    mend()
    status, out, _ = replay(capsys, "keyed")
    assert status == 0
    assert re.search(r"\n  of key [25]: \(not there\) -> {'files': 1}\n$", out)


def test_an_async_handler_is_run_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    run("awaiting")
    mend()
    status, out, _ = replay(capsys, "awaiting")
    assert status == 0
    assert out.endswith("state:\n  files: 4 -> 5\n")


def test_of_a_generator_that_raises_it_is_told_what_it_had_committed(capsys: pytest.CaptureFixture[str]) -> None:
    run("stepping")
    status, out, _ = replay(capsys, "stepping")
    assert status == 1
    assert out.endswith(
        "emitted ahead of that:\n  parsed: {'n': 2, 'pid': 0}\nstate committed ahead of that:\n  begun: 5 -> 2\n"
    )
    mend()
    status, out, _ = replay(capsys, "stepping")
    assert status == 0
    assert out.endswith("state:\n  begun: 5 -> 2\n  ended: 4 -> 2\n")


def test_what_was_done_once_is_not_done_again(capsys: pytest.CaptureFixture[str]) -> None:
    run("doing")
    assert Path("done-2").exists()
    mend()
    assert replay(capsys, "doing")[0] == 0  # doing it twice would raise


def test_a_state_that_is_changed_in_place_is_told_before_and_after(capsys: pytest.CaptureFixture[str]) -> None:
    run("listing")
    mend()
    status, out, _ = replay(capsys, "listing")
    assert status == 0
    assert out.endswith("state:\n  (the state): [0, 1, 3, 4] -> [0, 1, 3, 4, 2]\n")


def test_a_message_of_a_set_is_run_with_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    run("gathering")
    status, out, _ = replay(capsys, "gathering", number=1)
    assert status == 1
    assert "data: {'n': 0}\n  data: {'n': 1}\n  data: {'n': 2}\n" in out
    assert "ValueError: bad set [0, 1, 2]" in out
    mend()
    assert "  parsed: {'numbers': [0, 1, 2]}\n" in replay(capsys, "gathering", number=1)[1]


def test_a_message_that_waits_for_others_cannot_be_alone(capsys: pytest.CaptureFixture[str]) -> None:
    job = load_flow("rflows:gathering").start(store="jobs", job_id="gathering", keep_open=True)
    job.send("read", "trigger", upto=1)
    wait_until(lambda: job.state.routine_states["parse"]["stats"]["merging"] == 1)
    job.pause()
    job.leave()
    status, _, err = replay(capsys, "gathering")
    assert (status, "waits for others" in err) == (2, True)


def test_a_message_that_waits_is_run_with_the_flow_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    job = load_flow("rflows:waiting").start("later", {"n": 1}, store="jobs", job_id="waiting")
    job.wait()  # it has failed, and its message waits
    status, _, err = replay(capsys, "waiting")
    assert (status, "say with --flow which flow job 'waiting' is of" in err) == (2, True)
    status, out, _ = replay(capsys, "waiting", "--flow", "rflows:waiting")
    assert status == 1
    assert out.splitlines()[1].startswith("  waiting, tried 1 x, in checkpoint 1-")
    assert "RuntimeError: it was run" in out


def test_the_beginning_of_an_id_means_one_message_or_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    run("threads")
    first, second = message_of(capsys, "threads"), message_of(capsys, "threads", 1)
    shown = f"'' is the beginning of several: {first[:8]} (parse, dead), {second[:8]} (parse, dead)"
    with pytest.raises(UsageError, match=re.escape(shown)):
        messages.find_message(latest(FileStore("jobs"), "threads").image, "")
    status, _, err = told(capsys, "replay", "threads", "nobody", "--store", "jobs")
    assert (status, "there is no message 'nobody' in the newest checkpoint; there are" in err) == (2, True)
    load_flow("rflows:stepping").start("read", {"upto": 1}, store="jobs", job_id="done").wait()
    assert told(capsys, "show", "done", "--store", "jobs", "--messages", "--json") == (0, "", "")
    status, _, err = told(capsys, "replay", "done", "1", "--store", "jobs")
    assert (status, "no message waits, is handled or was given up" in err) == (2, True)


@pytest.mark.processes
def test_a_result_that_could_not_be_read_has_no_handler(capsys: pytest.CaptureFixture[str]) -> None:
    job = load_flow("rflows:unread").start("make", store="jobs", job_id="unread", allow_pickle=True, keep_open=True)
    job.close_entry()
    assert list(job.results("make", "made")) == []
    job.wait()
    status, out, err = replay(capsys, "unread", "--flow", "rflows:unread", "--allow-pickle")
    assert (status, out) == (2, "")
    assert "is a result of routine 'make' that could not be read: no handler is called with it" in err


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function that has the debugger read lines."""

    def type_(*lines: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return type_


@pytest.mark.parametrize("name", ["threads", "awaiting"])
def test_the_debugger_stops_where_the_handler_raised_inside_of_its_turn(
    name: str, capsys: pytest.CaptureFixture[str], typed: Any
) -> None:
    run(name)
    typed("p (n, self.state['files'], self.attempt)", "q")
    status, out, err = replay(capsys, name, "--pdb")
    assert status == 1
    assert "-> raise ValueError" in out
    assert "(2, 4, 2)" in out  # the state is as committed again
    assert "it raised ValueError: bad payload 2 (" in err


@pytest.mark.parametrize("name", ["threads", "awaiting", "stepping"])
def test_the_debugger_stops_at_the_first_line_of_the_handler(
    name: str, capsys: pytest.CaptureFixture[str], typed: Any
) -> None:
    run(name)
    typed("p ('n', n)", "c")
    status, out, _ = replay(capsys, name, "--break")
    assert status == 1
    assert "(Pdb) ('n', 2)" in out
    first = {
        "threads": 'print("parsing", n)',
        "awaiting": "await asyncio.sleep(0)",
        "stepping": 'self.state["begun"] = n',
    }
    assert out.index(f"-> {first[name]}") < out.index("(Pdb) ('n', 2)")


def test_who_leaves_the_debugger_has_interrupted_it(capsys: pytest.CaptureFixture[str], typed: Any) -> None:
    run("threads")
    typed("q")
    status, out, err = replay(capsys, "threads", "--break")
    assert (status, "Traceback" in out) == (130, False)
    assert err.endswith("the debugger was left; nothing is kept\n")


def test_messages_are_listed_with_names_that_mean_one_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("threads")
    status, out, _ = told(capsys, "show", "threads", "--store", "jobs", "--messages")
    assert status == 0
    titles, first, cause, *_ = out.splitlines()
    assert titles.split() == ["message", "routine", "is", "tried", "size", "by"]
    name = message_of(capsys, "threads")[:8]
    assert first.split() == [name, "parse", "dead", "1", "5", "B", "read.line", "->", "parse.source"]
    assert cause == "  raised ValueError: bad payload 2"
    monkeypatch.setattr(messages, "MESSAGES_SHOWN", 1)
    _, out, err = told(capsys, "show", "threads", "--store", "jobs", "--messages")
    assert len(out.splitlines()) == 3
    assert err == "and 1 more: --json tells all, and --routine ID those of one\n"
    status, _, err = told(capsys, "show", "threads", "--store", "jobs", "--messages", "--routine", "read")
    assert (status, err) == (0, "no message waits, is handled or was given up\n")
    status, _, err = told(capsys, "show", "threads", "--store", "jobs", "--messages", "--routine", "raed")
    assert (status, "did you mean 'read'?" in err) == (2, True)
