"""What a worker says that is not the protocol, or cannot say any more."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, JobState, Routine
from routilux.messages import TurnResult, TurnResults
from routilux.turn import codec
from routilux.turn.codec import WireCodec
from routilux.turn.values import PICKLED
from supervisors.wire.frames import DoneBatch, encode_frame
from supervisors.wire.outside import here
from tests.faults.deeds import close_channel, own_channel
from tests.faults.measure import SECONDS, check_books

pytestmark = [pytest.mark.faults, pytest.mark.processes]

BAD = 7
COUNT = 20


class Liar(Routine):
    """Hands every number on; its process says nonsense of one of them, at each of the first tries.

    Args:
        nonsense: does so in place of a report.
        tries: how often.
    """

    def __init__(self, nonsense: Callable[[], None], tries: int = 1_000) -> None:
        super().__init__()
        self.nonsense = nonsense
        self.tries = tries
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        self.emit("number", n=n)
        if n == BAD and self.attempt <= self.tries:
            self.nonsense()


def tell_result(result: Any) -> None:
    codec.WireCodec.result = lambda *_: result  # type: ignore[method-assign, assignment]


def tell_nothing_readable() -> None:
    tell_result(b"nonsense")


def tell_of_no_such_event() -> None:
    tell_result(TurnResult([(1, None, b"", ())], []))


def tell_of_no_data() -> None:
    tell_result(TurnResult([(0, None, None, ())], []))


def tell_no_readable_failure() -> None:
    codec.WireCodec.failure = lambda *_args, **_kwargs: b"nonsense"  # type: ignore[method-assign]
    raise ValueError


def write_into_the_channel() -> None:
    os.write(own_channel(), b"this is not a frame")


NONSENSE = [
    tell_nothing_readable,
    tell_of_no_such_event,
    tell_of_no_data,
    tell_no_readable_failure,
    write_into_the_channel,
]
CASES = [*NONSENSE[:2], *(pytest.param(other, marks=pytest.mark.stress) for other in NONSENSE[2:])]


def run_liar(liar: Liar, handler: ErrorHandler, **options: Any) -> JobState:
    flow = Flow("nonsense")
    flow.add_routine(liar, "liar", placement="process", error_handler=handler, **options)
    flow.output("liar", "number")
    with flow.start(keep_open=True) as job:
        for n in range(COUNT):
            job.send("liar", "input", n=n)
    check_books(job, job.state)
    return job.state


@pytest.mark.parametrize("nonsense", CASES)
def test_nonsense_of_a_process_costs_the_message_it_was_about_alone(nonsense: Callable[[], None]) -> None:
    state = run_liar(Liar(nonsense), ErrorHandler("continue"))
    assert state.status == "completed", state.error
    assert [item["n"] for item in state.results()] == [n for n in range(COUNT) if n != BAD]
    [letter] = state.dead_letters
    assert (letter.data, letter.attempts) == ({"n": BAD}, 1)
    assert letter.cause.startswith("broke the channel's protocol: ")
    assert state.routine_states["liar"]["failed"] == 1


@pytest.mark.parametrize("nonsense", CASES)
def test_a_message_of_which_its_process_said_nonsense_is_tried_again_as_after_a_death(
    nonsense: Callable[[], None],
) -> None:
    state = run_liar(Liar(nonsense, tries=2), ErrorHandler("retry", retry_delay=0.0, max_crashes=2))
    assert state.status == "completed", state.error
    assert [item["n"] for item in state.results()] == list(range(COUNT))
    assert state.routine_states["liar"]["retries"] == 2


def test_the_culprit_is_found_in_a_pool_too() -> None:
    state = run_liar(Liar(write_into_the_channel), ErrorHandler("continue"), workers=2)
    assert state.status == "completed", state.error
    assert sorted(item["n"] for item in state.results()) == [n for n in range(COUNT) if n != BAD]
    assert [letter.data for letter in state.dead_letters] == [{"n": BAD}]


def tell_of_a_batch() -> None:
    """Say that its message was run as one of a block, which goes to no worker of this pool."""
    port: Any = here.space.port  # type: ignore[union-attr]
    port._outbound.flush()
    now = time.monotonic()
    payload = PICKLED.encode({"n": BAD}, "payload")
    results = TurnResults(now, WireCodec().times([now]), [], [1], [payload])  # type: ignore[arg-type]  as it travels
    os.write(own_channel(), encode_frame(DoneBatch(port.seq, results, 0.0), 1))
    port.confirm(b"")  # waits for its end


@pytest.mark.parametrize("options", [{}, {"ordered": True}, {"partition_by": "n"}], ids=str)
def test_a_worker_of_a_pool_that_tells_of_blocks_costs_the_message_it_was_about_alone(options: dict[str, Any]) -> None:
    state = run_liar(Liar(tell_of_a_batch), ErrorHandler("continue"), workers=2, **options)
    assert state.status == "completed", state.error
    assert sorted(item["n"] for item in state.results()) == [n for n in range(COUNT) if n != BAD]
    [letter] = state.dead_letters
    assert letter.data == {"n": BAD}
    assert letter.cause.startswith("broke the channel's protocol: ")


def test_nonsense_stops_the_job_where_that_is_what_failures_do() -> None:
    state = run_liar_to_the_end(ErrorHandler("stop"))
    assert state.status == "failed"
    assert "is not the protocol" in (state.error or "")
    assert not state.dead_letters


def test_a_process_that_says_nonsense_each_time_is_a_crash_loop_where_its_message_is_tried_again() -> None:
    handler = ErrorHandler("retry", max_retries=100, retry_delay=0.0)
    state = run_liar_to_the_end(handler, max_restarts=0)
    assert state.status == "failed"
    assert "is not the protocol" in (state.error or "")
    assert "fruitless restarts" in (state.error or "")


def run_liar_to_the_end(handler: ErrorHandler, **options: Any) -> JobState:
    flow = Flow("nonsense")
    flow.add_routine(Liar(tell_nothing_readable), "liar", placement="process", error_handler=handler, **options)
    job = flow.start(keep_open=True)
    job.send("liar", "input", n=BAD)
    return job.wait()


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
    assert "it has lost its channel: OSError: [Errno 9] Bad file descriptor" in state.error
    assert state.routine_states["silent"]["stats"]["waiting"] == COUNT
    # The worker's own last words, under its name.
    assert all(line.startswith("[silent] ") for line in "".join(capfd.readouterr()).splitlines())
