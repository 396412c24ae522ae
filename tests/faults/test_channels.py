"""What a worker says that is not the protocol, or cannot say any more."""

from __future__ import annotations

import msgspec
import pytest

from routilux import Flow, Routine
from routilux.messages import Emission, TurnResult
from routilux.turn import codec
from tests.faults.deeds import close_channel
from tests.faults.measure import SECONDS, check_books

pytestmark = [pytest.mark.faults, pytest.mark.processes]

BAD = 7
COUNT = 20


class Liar(Routine):
    """Hands every number on; the first incarnation of its process says nonsense of one of them.

    Args:
        result: what it says in the place of a result; None for nonsense about a failure.
    """

    def __init__(self, result: bytes | None) -> None:
        super().__init__()
        self.result = result
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        self.emit("number", n=n)
        if n != BAD or self.redelivered:
            return
        if self.result is None:
            codec.WireCodec.failure = lambda *_args, **_kwargs: b"nonsense"  # type: ignore[method-assign]
            raise ValueError
        codec.WireCodec.result = lambda *_: self.result  # type: ignore[method-assign, assignment, return-value]


@pytest.mark.parametrize(
    "result",
    [
        None,
        b"nonsense",
        msgspec.msgpack.encode(TurnResult([Emission(1, None, b"")], [])),  # there is no such event
        msgspec.msgpack.encode(TurnResult([Emission(0, None, None)], [])),  # somebody waits for its data
    ],
)
def test_a_message_of_which_its_process_says_nonsense_is_run_again_by_another(result: bytes | None) -> None:
    flow = Flow("nonsense")
    flow.add_routine(Liar(result), "liar", placement="process")
    flow.output("liar", "number")
    with flow.start(keep_open=True) as job:
        for n in range(COUNT):
            job.send("liar", "input", n=n)
    state = job.state
    assert state.status == "completed", state.error
    assert [item["n"] for item in state.results()] == list(range(COUNT))
    assert state.routine_states["liar"]["restarts"] == 1


def test_a_process_that_says_nonsense_each_time_is_a_crash_loop() -> None:
    flow = Flow("nonsense")
    flow.add_routine(Liar(b"nonsense"), "liar", placement="process", max_restarts=0)
    job = flow.start(keep_open=True)
    job.send("liar", "input", n=BAD)
    state = job.wait()
    assert state.status == "failed"
    assert state.error is not None
    assert "are not a result" in state.error
    assert "fruitless restarts" in state.error


class Silent(Routine):
    """Closes its channel each time it handles a message, so that nobody learns that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int) -> None:
        close_channel()


def test_a_process_that_closes_its_channel_each_time_is_a_crash_loop(capfd: pytest.CaptureFixture[str]) -> None:
    flow = Flow("silent")
    flow.add_routine(Silent(), "silent", placement="process", max_restarts=1)
    job = flow.start(keep_open=True)
    for n in range(COUNT):
        job.send("silent", "input", n=n)
    state = job.wait(SECONDS)
    check_books(job, state)
    assert state.status == "failed"
    assert state.error is not None
    assert "exited with code 1 without finishing its work (more than 1 fruitless restarts" in state.error
    assert state.routine_states["silent"]["stats"]["waiting"] == COUNT
    # The worker's own last words, under its name.
    assert all(line.startswith("[silent] ") for line in "".join(capfd.readouterr()).splitlines())
