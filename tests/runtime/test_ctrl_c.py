"""Ctrl-C once ends a job in its time, twice at once; the interrupt comes out, and nothing is left."""

from __future__ import annotations

import signal
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from routilux import Flow, JobStatus, Routine
from tests.runtime.programs import COMMAND, Ended, start_command, start_program

SHUTDOWN = 30.0
"""Seconds that turns in hand get in these programs: far more than a test waits."""

WAYS = ("execute", "wait", "leave", "body")
"""How a program waits: the functions of `PROGRAM`."""
USUAL = {("execute", "thread"), ("wait", "process"), ("body", "process")}
"""What `make test` takes: each once, of ways that are the same for both placements."""
CASES = [
    pytest.param(way, placement, marks=[] if (way, placement) in USUAL else [pytest.mark.stress])
    for placement in ("thread", "process")
    for way in WAYS
]
PROGRAM = """
    from routilux.runtime.running import running

    class Told(Sleeper):
        def run(self):
            super().run()
            print("turn is over", flush=True)

    seconds = float(sys.argv[3])
    flow = Flow("sleepers")
    flow.add_routine(Told(1.0 if sys.argv[2] == "patient" else 600), "sleeper", placement=sys.argv[1])
    flow.output("sleeper", "begun")

    def start():
        return flow.start("sleeper", shutdown=seconds)

    def execute():
        flow.execute("sleeper", shutdown=seconds)

    def wait():
        job = start()
        try:
            job.wait()
        except KeyboardInterrupt:
            job.cancel_and_wait()
            raise

    def leave():
        with start():
            pass

    def body():
        with start():
            time.sleep(600)

    def watch():
        "Tell when the main thread waits, and when the job is being ended: a signal before that is no second one."
        main = threading.main_thread().ident
        while not (running.of(flow) and sys._current_frames()[main].f_code.co_name in ("park", "body")):
            threading.Event().wait(0.01)
        job_id = running.of(flow)[0]
        ledger = running.find(job_id).ledger
        await_sleep(job_id)
        print("waiting", flush=True)
        while ledger.is_open:
            threading.Event().wait(0.01)
        print("ending", flush=True)

    threading.Thread(target=watch, daemon=True).start()
    try:
        {"execute": execute, "wait": wait, "leave": leave, "body": body}[sys.argv[4]]()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        # The prompt is back: the next job in the same program works.
        again = Flow("again")
        echo = routine(lambda data: data)
        again.add_routine(echo, "echo", placement="process")
        print(again.execute("echo").status, flush=True)
"""


def interrupt_program(folder: Path, placement: str, way: str, *, times: int, turn: str, seconds: float) -> Ended:
    with start_program(folder, PROGRAM, placement, turn, str(seconds), way) as program:
        program.await_line("waiting")
        program.interrupt()
        if times > 1:
            program.await_line("ending")
            program.interrupt()
        return program.finish()


@pytest.mark.processes
@pytest.mark.parametrize(("way", "placement"), CASES)
def test_ctrl_c_lets_turns_in_hand_end_and_comes_out(tmp_path: Path, placement: str, way: str) -> None:
    ended = interrupt_program(tmp_path, placement, way, times=1, turn="patient", seconds=SHUTDOWN)
    label = "" if placement == "thread" else "[sleeper] "
    assert (ended.code, ended.errors) == (0, "")
    lines = [line for line in ended.out.splitlines() if line != "ending"]
    assert lines == [f"{label}turn is over", "interrupted", "completed"]


@pytest.mark.processes
@pytest.mark.parametrize(("way", "placement"), CASES)
def test_a_second_ctrl_c_ends_the_job_at_once(tmp_path: Path, placement: str, way: str) -> None:
    ended = interrupt_program(tmp_path, placement, way, times=2, turn="hangs", seconds=SHUTDOWN)
    assert (ended.code, ended.out.splitlines()) == (0, ["interrupted", "completed"])
    assert ended.seconds < SHUTDOWN / 2
    if placement == "process":
        assert ended.errors == ""
    else:
        assert ended.errors.startswith(
            "job's end: routine 'sleeper' is still in its handler on a thread, which cannot be ended"
        )


FLOW_FILE = """
    import time
    from routilux import Flow, Routine

    class Hanging(Routine):
        def __init__(self):
            super().__init__()
            self.define_slot("trigger", handler=self.run)

        def run(self):
            print("begun", flush=True)
            time.sleep(600)

    flow = Flow("hanging")
    flow.add_routine(Hanging(), "sleeper", placement="{placement}")
"""


@pytest.mark.processes
@pytest.mark.parametrize("placement", ["thread", pytest.param("process", marks=pytest.mark.stress)])
@pytest.mark.parametrize(
    ("number", "times", "code"),
    [
        pytest.param(signal.SIGINT, 1, 130, marks=pytest.mark.stress),  # waits for the whole of the shutdown time
        (signal.SIGINT, 2, 130),
        pytest.param(signal.SIGTERM, 2, 143, marks=pytest.mark.stress),
    ],
)
def test_a_command_with_a_hung_handler_ends_with_the_signals_status(
    tmp_path: Path, placement: str, number: signal.Signals, times: int, code: int
) -> None:
    (tmp_path / "hanging.py").write_text(textwrap.dedent(FLOW_FILE).replace("{placement}", placement))
    command = [*COMMAND, "run", "hanging.py:flow", "--plain"]
    with start_command(command, tmp_path) as program:
        program.await_line("begun" if placement == "thread" else "[sleeper] begun")
        program.await_error("hanging")  # the first line of its watch: from here it waits
        program.interrupt(number)
        program.await_error("cancelling job")
        if times > 1:
            program.interrupt(number)
        ended = program.finish()
    assert (ended.code, ended.out) == (code, "")
    assert ended.seconds < 4.0 or times == 1
    assert "Traceback" not in ended.errors
    assert ("is still in its handler" in ended.errors) == (placement == "thread")


# The same without signals: less time by a second cancel.


class Gated(Routine):
    """Handles a message until it is let go."""

    def __init__(self, gate: threading.Event, begun: threading.Event) -> None:
        super().__init__()
        self.gate, self.begun = gate, begun
        self.define_slot("trigger", handler=self.run)

    def run(self) -> None:
        self.begun.set()
        assert self.gate.wait(30)


@pytest.fixture
def gated() -> Iterator[tuple[Flow, threading.Event, threading.Event]]:
    """A flow whose handler waits at a gate, which is open at the end."""
    gate, begun = threading.Event(), threading.Event()
    flow = Flow("gated")
    flow.add_routine(Gated(gate, begun), "gated")
    yield flow, gate, begun
    gate.set()


@pytest.mark.parametrize("first", [{}, {"shutdown": 100.0}])
def test_a_further_cancel_leaves_less_time_and_keeps_the_first_reason(
    gated: tuple[Flow, threading.Event, threading.Event], first: dict[str, float]
) -> None:
    flow, _gate, begun = gated
    job = flow.start("gated", shutdown=100.0)
    assert begun.wait(10)
    job.cancel("first", **first)
    job.cancel("second", shutdown=0.0)
    state = job.wait(30)
    assert (state.status, state.error) == (JobStatus.CANCELLED, "first")


def test_a_further_cancel_never_gives_more_time(gated: tuple[Flow, threading.Event, threading.Event]) -> None:
    flow, _gate, begun = gated
    job = flow.start("gated", shutdown=100.0)
    assert begun.wait(10)
    job.cancel(shutdown=0.0)
    job.cancel(shutdown=1_000.0)
    assert job.wait(30).status == JobStatus.CANCELLED


@pytest.mark.processes
def test_a_cancel_without_any_time_kills_the_worker_and_keeps_its_message() -> None:
    flow = Flow("killed")
    flow.add_routine(Sleeping(), "x", placement="process")
    flow.output("x", "begun")
    job = flow.start("x", shutdown=100.0)
    next(job.results())
    job.cancel(shutdown=0.0)
    state = job.wait(30)
    assert (state.status, state.routine_states["x"]["stats"]["waiting"]) == (JobStatus.CANCELLED, 1)


class Sleeping(Routine):
    """Tells that it has begun, and sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.run)
        self.define_event("begun", ["n"])

    def run(self) -> None:
        for n in range(1_001):
            self.emit("begun", n=n)
        threading.Event().wait(600)
