"""Ctrl-C typed at a terminal where `routilux run` waits: once, twice, three times."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from routilux import Flow, Routine
from routilux.cli.main import main
from routilux.keeping.finding import latest
from routilux.stores import FileStore
from tests.cli.terminals import CTRL_C, PROMPT, Terminal, open_terminal
from tests.runtime.programs import DEADLINE

pytestmark = pytest.mark.processes

FLOW = """
    import logging, threading
    from routilux import Flow, Routine, routine

    class Hanging(Routine):
        "Hangs in its first message."

        def __init__(self, where):
            super().__init__()
            self.where = where
            self.define_slot("trigger", handler=self.run)

        def run(self):
            print("handler begun", flush=True)
            threading.Event().wait(600)

    def build(where):
        flow = Flow("hanging")
        flow.add_routine(Hanging(where), "sleeper", placement=where)
        return flow

    process = build("process")

    def busy():
        @routine(events={"number": ["n"]})
        def count():
            for n in range(100_000):
                yield n

        @routine
        def take(n):
            threading.Event().wait(0.01)

        flow = Flow("busy")
        flow.add_routine(count, "count")
        flow.add_routine(take, "sleeper", placement="process")
        flow.connect("count", "number", "sleeper", "input")
        return flow

    class Stuck(logging.Handler):
        "A log handler that hangs: the job, which tells of its thread, never comes to its end."

        def emit(self, record):
            if "still in its handler" in record.getMessage():
                print("the log hangs", flush=True)
                threading.Event().wait(600)

    def stuck():
        logging.getLogger("routilux").addHandler(Stuck())
        flow = build("thread")
        # And a worker, which has nothing to do.
        flow.add_routine(routine(lambda n: None), "idle", placement="process")
        return flow
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hanging.py").write_text(textwrap.dedent(FLOW))
    return tmp_path


def begin(terminal: Terminal, words: str) -> None:
    """Run the command, and wait until its handler runs and its picture is drawn."""
    terminal.run(f"routilux run hanging.py:{words}")
    terminal.await_text("handler begun")
    terminal.await_text("runs on")


def test_twice_puts_back_what_is_in_hand_and_leaves_a_kept_job_paused(folder: Path) -> None:
    with open_terminal(folder) as terminal:
        begin(terminal, "process --store jobs --job-id nightly")
        terminal.type(CTRL_C)
        terminal.await_text(
            "pausing job nightly: what is in hand is given a moment to end\r\n  once more puts it back at once, to "
            "be run again; a third time kills this program\r\n"
        )
        terminal.type(CTRL_C)
        terminal.await_text("putting back what is in hand, to be run again now (once more kills this program)\r\n")
        terminal.await_text("hanging, job nightly: paused after ")
        terminal.await_text("go on with it by: routilux resume nightly --store jobs\r\n")
        assert terminal.await_status() == 3
    assert "Traceback" not in terminal.shown
    assert FileStore(folder / "jobs").jobs() == ["nightly"]


def test_twice_cancels_a_job_that_is_not_kept(folder: Path) -> None:
    with open_terminal(folder) as terminal:
        begin(terminal, "process")
        terminal.type(CTRL_C)
        terminal.await_text("cancelling job ")
        terminal.await_text("\r\n  once more ends it at once; a third time kills this program\r\n")
        terminal.type(CTRL_C)
        terminal.await_text("ending what is in hand now (once more kills this program)\r\n")
        terminal.await_text("routilux: interrupted\r\n")
        assert terminal.await_status() == 130
    assert "Traceback" not in terminal.shown


def test_three_times_kills_a_program_that_hangs_and_its_job_can_be_resumed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_terminal(folder) as terminal:
        begin(terminal, "stuck --entry sleeper --store jobs --job-id nightly")
        terminal.type(CTRL_C)
        terminal.await_text("pausing job nightly")
        terminal.type(CTRL_C)
        terminal.await_text("the log hangs")
        terminal.type(CTRL_C)
        told = terminal.await_text(PROMPT)
        assert re.search(
            r"killed; job nightly is kept in the folder '.*jobs' as of its last checkpoint, to be res", told
        )
        terminal.run("")
        assert terminal.await_status() == 130
    assert "Traceback" not in terminal.shown
    assert terminal.shown.rfind("\x1b[?25h") > terminal.shown.rfind("\x1b[?25l")  # the cursor is there again
    monkeypatch.chdir(folder)
    assert main(["jobs", "--store", "jobs"]) == 0
    assert " paused " in capsys.readouterr().out
    flow = Flow("hanging")
    flow.add_routine(done_at_once(), "sleeper")
    flow.add_routine(done_at_once(), "idle")
    assert Flow.resume("jobs", "nightly", flow=flow).wait(60).routine_states["sleeper"]["handled"] == 1


def done_at_once() -> Routine:
    class Mended(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("trigger", handler=lambda: None)
            self.define_slot("input", handler=lambda **_all: None)

    return Mended()


def test_a_terminal_that_is_closed_leaves_a_kept_job_paused(folder: Path) -> None:
    with open_terminal(folder) as terminal:
        terminal.run("routilux run hanging.py:busy --store jobs --job-id nightly")
        terminal.await_text("runs on")
        terminal.hang_up()
        assert terminal.await_gone(DEADLINE) == []
    image = latest(FileStore(folder / "jobs"), "nightly").image
    assert (image.header.status, [point.reason for point in image.job.pause_points]) == ("paused", ["interrupted"])
