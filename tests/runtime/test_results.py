"""Results that cannot be read where they arrive cost themselves alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from routilux import Flow, Job, JobState, Routine
from supervisors.errors import ValueDecodingError
from supervisors.reasons import Raised

pytestmark = pytest.mark.processes

COUNT = 10
BAD = 4


class Explosive:
    """A payload that travels, and does something else than to arrive."""

    def __init__(self, deed: Callable[[], None]) -> None:
        self.deed = deed

    def __reduce__(self) -> tuple[Any, ...]:
        return self.deed, ()


def explode() -> None:
    raise RuntimeError("it does not unpickle")


def leave() -> None:
    sys.exit(3)


def interrupt() -> None:
    raise KeyboardInterrupt


class Sender(Routine):
    def __init__(self, deed: Callable[[], None]) -> None:
        super().__init__()
        self.deed = deed
        self.define_slot("trigger", handler=self.handle)
        self.define_event("value", ["value"])

    def handle(self, count: int) -> None:
        for n in range(count):
            self.emit("value", value=Explosive(self.deed) if n == BAD else n)


def sender(deed: Callable[[], None], capacity: int | None = None) -> Flow:
    flow = Flow("sender")
    flow.add_routine(Sender(deed), "sender", placement="process")
    flow.output("sender", "value", capacity=capacity)
    return flow


def check_one_dead(state: JobState, told: str) -> None:
    assert state.status == "completed", state.error
    [letter] = state.dead_letters
    assert (letter.routine_id, letter.attempts) == ("sender", 1)
    assert isinstance(letter.reason, Raised)
    assert told in letter.cause
    assert told in letter.reason.error.traceback
    with pytest.raises(ValueDecodingError):
        _ = letter.data
    assert state.routine_states["sender"]["dead"] == 1
    [count] = [count for count in state.connections if count.dead]
    assert (count.label, count.sent, count.handled, count.waiting) == ("sender.value -> output", COUNT, COUNT - 1, 0)
    assert all(count.is_conserved for count in state.connections)


REST = [{"value": n} for n in range(COUNT) if n != BAD]


@pytest.mark.parametrize("capacity", [None, 2])
@pytest.mark.parametrize(("deed", "told"), [(explode, "does not unpickle"), (leave, "SystemExit")])
def test_a_result_that_cannot_be_read_is_a_dead_letter_and_the_others_arrive(
    deed: Callable[[], None], told: str, capacity: int | None
) -> None:
    state = sender(deed, capacity).execute("sender", {"count": COUNT})
    check_one_dead(state, told)
    assert state.results() == REST


def test_reading_goes_on_also_after_the_job_is_over() -> None:
    job = sender(explode).start("sender", {"count": COUNT})
    before = job.wait(30)
    assert before.dead_letters == []
    assert list(job.results()) == REST
    check_one_dead(job.state, "does not unpickle")
    check_one_dead(job.wait(), "does not unpickle")
    assert before.dead_letters == []
    job.ledger.check()


def test_an_interrupt_while_a_value_is_read_is_none_of_its_own_and_passes() -> None:
    job = sender(interrupt).start("sender", {"count": COUNT})
    job.wait(30)
    results = job.results()
    assert [next(results) for _ in range(BAD)] == REST[:BAD]
    with pytest.raises(KeyboardInterrupt):
        next(results)
    assert list(job.results()) == REST[BAD:]
    check_one_dead(job.state, "KeyboardInterrupt")


def test_a_result_that_could_not_be_read_can_be_read_again() -> None:
    with sender(explode).start(keep_open=True) as job:
        job.send("sender", "trigger", count=COUNT)
        results = job.results()
        assert [next(results) for _ in REST] == REST
        assert job.redeliver(routine_id="sender") == 1
        assert job.state.dead_letters == []
    check_one_dead(job.state, "does not unpickle")


def read_tap(job: Job) -> list[object]:
    stream, items = job.stream("sender", "value"), []
    job.send("sender", "trigger", count=COUNT)
    job.close_entry()
    while True:
        try:
            items.append(next(stream)["value"])
        except ValueDecodingError as error:
            items.append(type(error))
        except StopIteration:
            return items


def test_a_tap_raises_at_its_readers_line_and_goes_on_with_the_next() -> None:
    expected: list[object] = [ValueDecodingError if n == BAD else n for n in range(COUNT)]
    with sender(explode).start(keep_open=True) as job:
        assert read_tap(job) == expected
    check_one_dead(job.state, "does not unpickle")
