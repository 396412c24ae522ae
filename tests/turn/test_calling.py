"""The short way to call a handler with what a message carries."""

from __future__ import annotations

import pytest

from routilux import ErrorHandler, Flow, Routine
from routilux.turn.calling import call_by_position
from supervisors.reasons import Raised

NAMES = ("a", "b", "c", "d", "e")


@pytest.mark.parametrize("count", range(1, 6))
def test_a_handler_gets_the_values_of_its_names_by_position_and_is_not_called_where_one_is_missing(count: int) -> None:
    names, called = NAMES[:count], []
    call = call_by_position(lambda *args: called.append(args), names)
    data = {name: number for number, name in enumerate(NAMES)}

    call(data)
    for name in names:
        with pytest.raises(KeyError, match=name):
            call({other: value for other, value in data.items() if other != name})

    assert called == [tuple(range(count))]


class Source(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("item", ["n"])

    def handle(self, count: int) -> None:
        for n in range(count):
            self.emit("item", n=n)


class Looks(Routine):
    """Looks for what is not there."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int) -> None:
        self.seen.append(n)
        if n % 3 == 0:
            raise KeyError("n")


@pytest.mark.parametrize("count", [1, 10])
def test_a_key_error_of_the_handler_is_its_failure_and_calls_it_no_second_time(count: int) -> None:
    flow, looks = Flow("looks"), Looks()
    flow.add_routine(Source(), "source")
    flow.add_routine(looks, "looks", error_handler=ErrorHandler("continue"))
    flow.connect("source", "item", "looks", "input")

    job = flow.start(keep_open=True)
    job.send("source", "trigger", count=count)
    job.close_entry()
    state = job.wait(timeout=60.0)

    assert looks.seen == list(range(count))
    assert (state.status, state.routine_states["looks"]["failed"]) == ("completed", len(range(0, count, 3)))
    assert "KeyError" in state.routine_states["looks"]["error"]


class Defaults(Routine):
    """Fails in all that it does, with a parameter that nobody sends."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int, other: int = 7) -> None:
        try:
            {}[n]
        except KeyError:
            raise ValueError(other)  # noqa: B904  its context is what is looked at


@pytest.mark.parametrize("count", [1, 10])
def test_what_the_short_way_meets_is_no_part_of_what_the_handler_raises(count: int) -> None:
    flow = Flow("defaults")
    flow.add_routine(Source(), "source")
    flow.add_routine(Defaults(), "defaults", error_handler=ErrorHandler("continue"))
    flow.connect("source", "item", "defaults", "input")

    state = flow.execute("source", {"count": count})

    assert len(state.dead_letters) == count
    for n, letter in enumerate(state.dead_letters):
        assert isinstance(letter.reason, Raised)
        assert letter.reason.error.chain == (f"KeyError: {n}",)
