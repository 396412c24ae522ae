"""Ctrl-C, SIGTERM and the end of a program leave a kept job paused: real programs."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from routilux.keeping.finding import latest
from routilux.runtime.signals import ending_on_signals
from routilux.stores import FileStore
from tests.runtime.programs import start_program

PROGRAM = """
    import signal
    from pathlib import Path

    begun = threading.Event()
    gate = threading.Event()

    class Waiting(Routine):
        def __init__(self):
            super().__init__()
            self.define_slot("trigger", handler=self.run)

        def run(self):
            print("begun", flush=True)
            begun.set()
            gate.wait()

    flow = Flow("waiting")
    flow.add_routine(Waiting(), "waiting")
    options = {"store": Path(sys.argv[1]), "job_id": "a", "shutdown": 0.2}

    def execute():
        flow.execute("waiting", **options)

    def wait():
        with flow.start("waiting", **options):
            begun.wait()
            print("in the body", flush=True)

    def body():
        with flow.start("waiting", **options):
            begun.wait()
            print("in the body", flush=True)
            gate.wait()

    def end():
        job = flow.start("waiting", **options)
        begun.wait()
        print("in the body", flush=True)
        sys.stdin.readline()

    try:
        globals()[sys.argv[2]]()
    except BaseException as error:
        print(type(error).__name__, *error.__notes__, sep="|", flush=True)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        raise
"""


def is_paused(folder: Path) -> tuple[str, str, int]:
    store = FileStore(folder / "jobs")
    assert store.owner("a") is None
    image = latest(store, "a").image
    (point,) = image.job.pause_points
    return image.header.status, point.reason, len(image.routines[0].waiting)


def run(folder: Path, way: str, number: int | None) -> tuple[int, str, str]:
    with start_program(folder, PROGRAM, str(folder / "jobs"), way) as program:
        program.await_line("begun")
        if way != "execute":
            program.await_line("in the body")
        elif number is not None:
            _await_checkpoint(folder)
        if number is not None:
            program.interrupt(number)
        ended = program.finish("\n")
    return ended.code, ended.out, ended.errors


def _await_checkpoint(folder: Path) -> None:
    """Wait until the first checkpoint is there, before which a job has not begun."""
    never = threading.Event()
    while not list((folder / "jobs" / "a").glob("checkpoint-*")):
        assert not never.wait(0.01)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("way", "number", "code", "reason"),
    [
        ("execute", signal.SIGTERM, 143, "interrupted"),
        pytest.param("execute", signal.SIGHUP, 129, "interrupted", marks=pytest.mark.stress),
        ("wait", signal.SIGINT, -signal.SIGINT, "the body of its `with` raised KeyboardInterrupt"),
        pytest.param("body", signal.SIGTERM, 143, "the body of its `with` raised SystemExit", marks=pytest.mark.stress),
        pytest.param("execute", signal.SIGINT, -signal.SIGINT, "interrupted", marks=pytest.mark.stress),
    ],
)
def test_a_signal_leaves_a_kept_job_paused_and_says_how_to_go_on(
    tmp_path: Path, way: str, number: int, code: int, reason: str
) -> None:
    ended = run(tmp_path, way, number)
    assert ended[0] == code, ended
    assert f"|job 'a' is paused and kept in the folder '{tmp_path}/jobs': go on with Flow.resume(store, 'a'" in ended[1]
    status, told, waiting = is_paused(tmp_path)
    assert (status, waiting) == ("paused", 1)
    assert told in {reason, "interrupted"}  # it may come in the last moment of a body


def test_sigterm_ends_with_its_status_each_time_and_sighup_once() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    assert before == (signal.SIG_DFL, signal.SIG_DFL)
    with ending_on_signals():
        for _ in range(2):
            with pytest.raises(SystemExit) as ended:
                signal.raise_signal(signal.SIGTERM)
            assert ended.value.code == 143
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(signal.SIGHUP)
        assert ended.value.code == 129
        signal.raise_signal(signal.SIGHUP)  # the shell's, after the kernel's
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)) == before


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda _number, _frame: None], ids=["nohup", "own"])
def test_what_the_program_has_said_of_a_signal_holds(handler: Any) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        with ending_on_signals():
            assert signal.getsignal(signal.SIGHUP) is handler
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGHUP) is handler
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.processes
def test_a_program_that_ends_leaves_a_kept_job_paused(tmp_path: Path) -> None:
    code, _out, errors = run(tmp_path, "end", None)
    assert code == 0, errors
    assert "still ran when the program ended and was paused; resume it with Flow.resume()" in errors
    status, _reason, waiting = is_paused(tmp_path)
    assert (status, waiting) == ("paused", 1)


SLOW = """
    from routilux.stores import FileStore

    class SlowStore(FileStore):
        is_slow = False

        def put(self, lease, name, parts):
            time.sleep(4 * self.is_slow)
            return super().put(lease, name, parts)

    store = SlowStore(sys.argv[1])
    flow = Flow("waiting")
    flow.add_routine(routine(lambda data: None), "waiting")
    flow.start(store=store, job_id="a", keep_open=True, shutdown=0.1)
    store.is_slow = True
"""


@pytest.mark.processes
@pytest.mark.stress
def test_the_last_checkpoint_of_a_program_may_take_longer_than_handlers_get(tmp_path: Path) -> None:
    with start_program(tmp_path, SLOW, str(tmp_path / "jobs")) as program:
        assert program.finish().code == 0
    assert latest(FileStore(tmp_path / "jobs"), "a").image.header.status == "paused"
