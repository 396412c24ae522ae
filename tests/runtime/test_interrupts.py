"""Ctrl-C, many times and at any moment: no lock stays taken, no message is half sent, no wait is for ever.

`ROUTILUX_STRESS=1` (`make stress`) sends 5,000 signals instead of 300.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from routilux.runtime.interrupts import DEFERRED, Uninterrupted

SIGNALS = 5_000 if os.environ.get("ROUTILUX_STRESS") == "1" else 300

PROGRAM = """
    import json, signal, sys
    from routilux import Flow, Routine
    from routilux.errors import JobTimeoutError

    SIGNALS, ending = int(sys.argv[1]), sys.argv[2]

    class Relay(Routine):
        def __init__(self):
            super().__init__()
            self.define_slot("input", handler=self.handle)
            self.define_event("seen", ["n"])

        def handle(self, n):
            self.emit("seen", n=n)

    # Raises inside of a call that is tried, and once a call: what is tested is the job, not this program.
    is_armed, came = False, 0

    def interrupt(_number, _frame):
        global is_armed, came
        came += 1
        if is_armed:
            is_armed = False
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)

    def attempt(call, *args, **options):
        "Give (whether it came to its end, what it gave)."
        global is_armed
        try:
            is_armed = True
            given = call(*args, **options)
            is_armed = False
            return True, given
        except KeyboardInterrupt:
            return False, None

    def insist(call, *args, **options):
        while not (done := attempt(call, *args, **options))[0]:
            pass
        return done[1]

    def read(results):
        try:
            return next(results)
        except StopIteration:
            return None

    def wait_a_moment(job):
        try:
            job.wait(0.001)
        except JobTimeoutError:
            pass

    flow = Flow("interrupted")
    flow.add_routine(Relay(), "a", capacity=8)
    flow.add_routine(Relay(), "b", capacity=8)
    flow.connect("a", "seen", "b", "input")
    flow.output("b", "seen", capacity=8)
    job = flow.start(keep_open=True)
    print("ready", flush=True)

    def holds():
        # In this order: what is outstanding no more has become a result.
        return job.ledger.outstanding or len(job.ledger.outputs[0].mailbox)

    sent, perhaps, received, lost, n = [], [], [], 0, 0
    while came < SIGNALS:
        for _ in range(8):
            done, _nothing = attempt(job.send, "a", "input", n=n)
            (sent if done else perhaps).append(n)
            n += 1
        attempt(wait_a_moment, job)
        attempt(lambda: job.state)
        attempt(lambda: job.stream("b", "seen").close())
        while holds():
            done, item = attempt(lambda: read(job.results()))
            if done:
                received.append(item["n"])
            else:
                lost += 1  # or not: an interrupt may have come before it was taken

    if ending == "close":
        insist(job.close_entry)
        for item in iter(lambda: insist(lambda: read(job.results())), None):
            received.append(item["n"])
    else:
        insist(job.cancel)
    state = insist(job.wait, 60)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    job.ledger.check()
    print(json.dumps({
        "status": str(state.status), "error": state.error, "came": came,
        "sent": sent, "perhaps": perhaps, "received": received, "lost": lost,
        "handled": [state.routine_states[name]["handled"] for name in "ab"],
        "conserved": all(connection.is_conserved for connection in state.connections),
    }), flush=True)
"""


@pytest.mark.processes
@pytest.mark.parametrize(("ending", "status"), [("close", "completed"), ("cancel", "cancelled")])
def test_a_job_survives_ctrl_c_at_any_moment_and_ends_as_it_is_told(tmp_path: Path, ending: str, status: str) -> None:
    told = run_interrupted(tmp_path, ending, seed=20)
    assert (told["status"], told["conserved"]) == (status, True), told["error"]
    assert told["came"] >= SIGNALS
    received = told["received"]
    assert received == sorted(set(received))  # in order, none twice
    assert set(received) <= {*told["sent"], *told["perhaps"]}
    # What was sent for certain came out, but for what a reader was interrupted at.
    assert len(set(told["sent"]) - set(received)) <= told["lost"]
    assert all(len(told["sent"]) <= count <= len(told["sent"]) + len(told["perhaps"]) for count in told["handled"])


def run_interrupted(folder: Path, ending: str, seed: int) -> dict[str, Any]:
    """Run the program under a rain of SIGINT until it has ended; give what it tells."""
    path = folder / "program.py"
    path.write_text(textwrap.dedent(PROGRAM))
    rng = random.Random(seed)
    over = threading.Event()
    with subprocess.Popen(
        [sys.executable, "-X", "faulthandler", str(path), str(SIGNALS), ending],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"

        def rain() -> None:
            while not over.wait(rng.uniform(0.0001, 0.003)):
                program.send_signal(signal.SIGINT)

        cloud = threading.Thread(target=rain)
        cloud.start()
        try:
            out, errors = program.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            program.send_signal(signal.SIGABRT)  # it shows where its threads hang
            out, errors = program.communicate()
        finally:
            over.set()
            cloud.join()
    assert program.returncode == 0, errors
    told: dict[str, Any] = json.loads(out)
    return told


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """What a handler of SIGINT and one of SIGTERM heard; the first raises."""
    numbers: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        numbers.append(number)
        raise KeyboardInterrupt

    before = (
        signal.signal(signal.SIGINT, interrupt),
        signal.signal(signal.SIGTERM, lambda number, _frame: numbers.append(number)),
    )
    yield numbers
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGTERM, before[1])


def take_step(step: Callable[[], object]) -> None:
    with Uninterrupted():
        step()


def test_a_step_is_completed_before_a_handler_raises(heard: list[int]) -> None:
    done = []

    def step() -> None:
        signal.raise_signal(signal.SIGINT)
        done.append(list(heard))

    with pytest.raises(KeyboardInterrupt):
        take_step(step)
    assert (done, heard) == ([[]], [signal.SIGINT])


def test_every_signal_of_a_step_is_handed_to_its_own_handler_afterwards(heard: list[int]) -> None:
    handlers = [signal.getsignal(number) for number in DEFERRED]

    def step() -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert heard == []

    with pytest.raises(KeyboardInterrupt):
        take_step(step)
    assert heard == [signal.SIGTERM, signal.SIGINT]
    assert [signal.getsignal(number) for number in DEFERRED] == handlers


def test_a_signal_is_handed_on_though_the_handler_of_one_before_it_raises(heard: list[int]) -> None:
    def step() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        take_step(step)
    assert heard == [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_handler_that_looks_at_the_program_waits_for_the_step_too(number: signal.Signals) -> None:
    # It may ask for the state of the job whose lock the step holds.
    heard: list[int] = []
    before = signal.signal(number, lambda came, _frame: heard.append(came))
    try:
        with Uninterrupted():
            signal.raise_signal(number)
            assert heard == []
        assert heard == [number]
    finally:
        signal.signal(number, before)


def test_a_step_within_a_step_waits_for_the_outer_one(heard: list[int]) -> None:
    def step() -> None:
        take_step(lambda: signal.raise_signal(signal.SIGINT))
        assert heard == []

    with pytest.raises(KeyboardInterrupt):
        take_step(step)
    assert heard == [signal.SIGINT]


def test_a_step_that_fails_is_not_forgotten_over_the_interrupt(heard: list[int]) -> None:
    def step() -> None:
        signal.raise_signal(signal.SIGINT)
        raise ValueError("the step's own")

    with pytest.raises(KeyboardInterrupt) as raised:
        take_step(step)
    assert isinstance(raised.value.__context__, ValueError)


def test_a_handler_that_was_left_behind_swallows_nothing(heard: list[int]) -> None:
    # As when the handler of one signal raised before all of them were replaced.
    program_own = signal.getsignal(signal.SIGINT)
    step = Uninterrupted()
    step.__enter__()
    step._is_inside = False
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert heard == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is program_own


def test_a_handler_that_was_set_inside_of_a_step_stays(heard: list[int]) -> None:
    with Uninterrupted():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_step_on_another_thread_leaves_the_handlers_alone(heard: list[int]) -> None:
    program_own = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def step() -> None:
        with Uninterrupted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
    assert seen == [program_own]
