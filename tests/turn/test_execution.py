"""One message being handled: what the handler sees, what goes out, and what a failure leaves."""

# ruff: noqa: ARG005 - handlers take what they are given, and `is_local` is a fixture

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from routilux.context import current_turn
from routilux.errors import EmitOutsideTurnError, ResultError, SlotArgumentError, UnknownEventError
from routilux.ids import to_id
from routilux.messages import Message
from routilux.model.function import routine
from routilux.model.routine import Routine
from routilux.turn.outbox import COUNT_BOUND, SECONDS_BOUND
from routilux.turn.tables import Incoming, Outgoing
from routilux.turn.tracked import VIEW_PARTS, TrackedState
from supervisors.errors import ValueDecodingError, ValueEncodingError
from supervisors.places.base import RequestAbandoned
from supervisors.wire import values
from tests.deeds import DEEDS
from tests.turn.worker import Worker


class Does(Routine):
    """Calls a function with itself and the data."""

    def __init__(self, does: Callable[..., Any], merge: Any = "override", **state: Any) -> None:
        super().__init__()
        self.does = does
        self.define_slot("in", self.handle, merge)
        self.define_event("out")
        self.define_event("other")
        self.state = state

    def handle(self, **data: Any) -> Any:
        return self.does(self, **data)


@pytest.fixture(params=[True, False], ids=["thread", "process"])
def is_local(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(autouse=True)
def no_turn_is_left() -> Iterator[None]:
    yield
    assert current_turn() is None


def test_a_turn_commits_state_and_emissions(is_local: bool) -> None:
    def count(self: Does, n: int) -> None:
        self.state["sum"] = self.state.get("sum", 0) + n
        self.emit("out", n=n)
        self.emit("other", sum=self.state["sum"])

    worker = Worker(Does(count), is_local=is_local)
    worker.run(n=1)
    worker.run(n=2)

    assert worker.state == {"sum": 3}
    assert worker.emitted == [(0, {"n": 1}), (1, {"sum": 1}), (0, {"n": 2}), (1, {"sum": 3})]


def test_the_handler_can_tell_which_message_it_handles(is_local: bool) -> None:
    def tell(self: Does) -> None:
        self.emit("out", id=self.message_id, attempt=self.attempt, redelivered=self.redelivered)

    worker = Worker(Does(tell), is_local=is_local)
    worker.run()
    worker.begin()
    worker.message = Message(0, 7, {} if is_local else values.encode({}), 0x7, failures=2, redelivered=True)
    worker.begin_again()
    worker.finish()

    assert [data for _, data in worker.emitted] == [
        {"id": to_id(1), "attempt": 1, "redelivered": False},
        {"id": to_id(7), "attempt": 3, "redelivered": True},
    ]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_a_failed_turn_leaves_nothing(is_local: bool, error: BaseException) -> None:
    def fail(self: Does, x: list[int]) -> None:
        self.state["list"].append(x)
        self.state["new"] = 1
        self.emit("out", x=x)
        if x[-1] == 2:
            raise error

    worker = Worker(Does(fail, "append", list=[]), is_local=is_local)
    worker.run(x=1)
    with pytest.raises(type(error)):
        worker.run(x=2)
    worker.run(x=3)

    assert worker.state == {"list": [[1], [1, 3]], "new": 1}
    assert worker.emitted == [(0, {"x": [1]}), (0, {"x": [1, 3]})]


def test_a_mapping_renames_and_the_others_keep_their_names(is_local: bool) -> None:
    def tell(self: Does, **data: Any) -> None:
        self.emit("out", **data)

    swap = Incoming("in", (("a", "b"), ("b", "a")))
    last = Incoming("in", (("a", "x"), ("b", "x"), ("missing", "y")))
    worker = Worker(Does(tell), is_local=is_local, incoming={0: swap, 1: last})
    worker.run(edge=0, a=1, b=2, c=3)
    worker.run(edge=1, a=1, b=2, x=3)

    assert [data for _, data in worker.emitted] == [{"c": 3, "b": 1, "a": 2}, {"x": 2}]


def test_two_connections_of_a_slot_gather_together(is_local: bool) -> None:
    def tell(self: Does, **data: Any) -> None:
        self.emit("out", **data)

    worker = Worker(
        Does(tell, "append"), is_local=is_local, incoming={0: Incoming("in", ()), 1: Incoming("in", (("y", "x"),))}
    )
    worker.run(edge=0, x=1)
    worker.run(edge=1, y=2)
    worker.boot()
    worker.run(edge=0, x=3)

    assert worker.emitted[-1] == (0, {"x": [1, 2, 3]})


def test_data_that_does_not_fit_is_told_with_slot_and_routine(is_local: bool) -> None:
    class Two(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("in", self.handle)

        def handle(self, path: str, text: str) -> None:
            raise AssertionError

    worker = Worker(Two(), is_local=is_local)

    with pytest.raises(SlotArgumentError, match=r"slot 'in' of routine 'r' expected 'text', got 'path', 'txt'"):
        worker.run(path="a", txt="b")


def test_a_payload_that_cannot_be_decoded_is_a_failure_of_the_turn(is_local: bool) -> None:
    worker = Worker(Does(lambda self: None), is_local=is_local)
    worker.begin()
    worker.message = Message(0, 9, b"\xff", 0x9)
    worker.begin_again()

    with pytest.raises(ValueDecodingError) as caught:
        worker.finish()
    assert caught.value.__notes__ == [f"It is the payload of message {to_id(9)} for slot 'in' of routine 'r'."]


def test_a_payload_that_is_no_dict_is_a_failure_of_the_turn() -> None:
    worker = Worker(Does(lambda self: None))
    worker.begin()
    worker.message = Message(0, 9, values.encode([1]), 0x9)
    worker.begin_again()

    with pytest.raises(
        ValueDecodingError, match=rf"of message {to_id(9)} for slot 'in' of routine 'r' is a dict .*, got list"
    ):
        worker.finish()


def test_a_thread_decodes_what_a_process_sent() -> None:
    worker = Worker(Does(lambda self, x: self.emit("out", x=x)))
    worker.begin()
    worker.message = Message(0, 1, values.encode({"x": 1}), 0x1)
    worker.begin_again()
    worker.finish()

    assert worker.emitted == [(0, {"x": 1})]


def test_a_handler_that_changes_the_dict_it_is_given_does_not_change_the_message() -> None:
    class Whole(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("in", self.handle)

        def handle(self, data: dict[str, Any]) -> None:
            data.clear()

    worker = Worker(Whole())
    worker.run(x=1)

    assert worker.message is not None
    assert worker.message.payload == {"x": 1}


# Emitting.


def test_an_unknown_event_is_refused_by_the_routines_id() -> None:
    def tell(self: Does) -> None:
        self.emit("outs")

    worker = Worker(Does(tell))
    with pytest.raises(UnknownEventError, match=r"routine 'r' has no event 'outs'.*mean 'out'"):
        worker.run()
    assert worker.out == []


def test_data_goes_out_in_the_forms_that_are_wanted() -> None:
    def tell(self: Does, x: list[int]) -> None:
        self.emit("out", x=x)
        self.emit("other", x=x)

    both, none = Outgoing("out", by_reference=True, encoded=True), Outgoing("other", by_reference=False, encoded=False)
    worker = Worker(Does(tell), outgoing=(both, none))
    data = [1]
    worker.run(x=data)

    (event, reference, encoded, _keys), unwanted = worker.out
    assert (event, reference, unwanted) == (0, {"x": data}, (1, None, None, ()))
    assert reference is not None
    assert reference["x"] is data
    assert encoded is not None
    assert values.decode(encoded) == {"x": [1]}


def test_a_process_keeps_no_references() -> None:
    worker = Worker(
        Does(lambda self: self.emit("out", x=1)),
        is_local=False,
        outgoing=(
            Outgoing("out", by_reference=True, encoded=False),
            Outgoing("other", by_reference=False, encoded=True),
        ),
    )
    worker.run()

    assert worker.emitted == [(0, {"x": 1})]


def test_what_cannot_be_carried_is_an_error_at_the_line_that_emits_it() -> None:
    def emit(self: Does) -> None:
        with pytest.raises(ValueEncodingError) as caught:
            self.emit("out", items=[1, threading.Lock()])
        assert caught.value.path == "emit('out')['items'][1]"
        self.emit("out", items=[])

    worker = Worker(Does(emit), is_local=False)
    worker.run()

    assert worker.emitted == [(0, {"items": []})]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: [state],
        lambda state: {"k": state},
        lambda state: (1, [{"deep": (state,)}]),
        lambda state: [[[[[[state]]]]]],
        lambda state: [[*range(900)], {"a": state}],
    ],
    ids=["list", "dict", "mixed", "deep", "wide"],
)
def test_a_state_inside_of_what_is_emitted_goes_out_as_what_it_holds_now(
    is_local: bool, wrap: Callable[[Any], Any]
) -> None:
    def tell(self: Does) -> None:
        self.emit("out", before=1, value=wrap(self.state))
        self.state["list"].append(1)

    worker = Worker(Does(tell, list=[]), is_local=is_local)
    worker.run()
    worker.run()

    assert [data["value"] for _, data in worker.emitted] == [wrap({"list": []}), wrap({"list": [1]})]


def test_what_holds_no_state_is_handed_over_as_it_is() -> None:
    given = {"rows": [{"n": (1, [2])}], "odd": object()}

    def tell(self: Does) -> None:
        self.state["n"] = 1
        self.emit("out", given=given)

    worker = Worker(Does(tell))
    worker.run()

    assert worker.emitted[0][1]["given"] is given


def test_a_state_in_a_cycle_or_too_far_inside_ends_the_look() -> None:
    cycle: list[Any] = []

    def tell(self: Does) -> None:
        cycle[:] = [*[cycle] * 50, self.state]
        self.emit("out", cycle=cycle)
        self.emit("out", large=[*range(VIEW_PARTS), self.state])

    worker = Worker(Does(tell))
    worker.run()

    first, second = (data for _, data in worker.emitted)
    assert type(first["cycle"][50]) is dict
    assert all(part is first["cycle"] for part in first["cycle"][:50])
    assert type(second["large"][-1]) is TrackedState
    cycle.clear()


def test_the_state_goes_out_as_what_it_holds_now(is_local: bool) -> None:
    def tell(self: Does) -> None:
        self.emit("out", state=self.state)
        self.state["list"].append(1)

    worker = Worker(Does(tell, list=[]), is_local=is_local)
    worker.run()
    worker.run()

    assert worker.emitted == [(0, {"state": {"list": []}}), (0, {"state": {"list": [1]}})]


def test_emitting_from_another_thread_or_after_the_end_is_an_error() -> None:
    kept: list[Any] = []
    errors: list[BaseException] = []

    def keep(self: Does) -> None:
        kept.append(self)
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()

    def try_it() -> None:
        try:
            kept[0].emit("out")
        except EmitOutsideTurnError as error:
            errors.append(error)

    worker = Worker(Does(keep))
    worker.run()
    try_it()

    assert ["no turn runs" in str(error) for error in errors] == [True, True]
    assert worker.out == []


def test_a_turn_that_emits_a_lot_is_released_and_its_repetition_drops_what_went_out(is_local: bool) -> None:
    fails = [True]

    def stream(self: Does) -> None:
        for n in range(2 * COUNT_BOUND + 5):
            self.emit("out", n=n)
        if fails[0]:
            raise ValueError

    worker = Worker(Does(stream), is_local=is_local)
    worker.begin()
    with pytest.raises(ValueError):
        worker.finish()
    assert [len(part) for part in worker.parts] == [COUNT_BOUND, COUNT_BOUND]
    fails[0] = False
    worker.begin_again()
    worker.finish()

    assert [data["n"] for _, data in worker.emitted] == list(range(2 * COUNT_BOUND + 5))
    assert all(part.state is None for part in worker.parts)


def test_an_atomic_turn_goes_out_at_its_commit_alone(is_local: bool) -> None:
    def stream(self: Does) -> None:
        for n in range(COUNT_BOUND + 5):
            self.emit("out", n=n)

    worker = Worker(Does(stream), is_local=is_local, atomic=True)
    worker.run()

    assert worker.parts == []
    assert len(worker.out) == COUNT_BOUND + 5


def test_a_turn_that_emits_slowly_is_released_by_the_clock() -> None:
    now = [0.0]

    def stream(self: Does) -> None:
        for n in range(4):
            self.emit("out", n=n)
            now[0] += SECONDS_BOUND * 0.7

    worker = Worker(Does(stream), clock=lambda: now[0])
    worker.run()

    assert [[reference for _, reference, *_ in part.to_emissions()] for part in worker.parts] == [
        [{"n": 0}, {"n": 1}, {"n": 2}]
    ]


def test_no_emission_is_released_alone_because_the_release_before_it_waited_for_room() -> None:
    now = [0.0]

    class Waiting(Worker):
        def part(self, body: Any, weight: int) -> None:
            super().part(body, weight)
            now[0] += 2.0 * SECONDS_BOUND

    def stream(self: Does) -> None:
        for n in range(COUNT_BOUND + 5):
            self.emit("out", n=n)

    worker = Waiting(Does(stream), clock=lambda: now[0])
    worker.run()

    assert list(map(len, worker.parts)) == [COUNT_BOUND]


def test_a_turn_whose_release_was_refused_fails_even_if_its_handler_swallows_that(is_local: bool) -> None:
    class GivenUp(BaseException):
        pass

    def stream(self: Does) -> None:
        try:
            for n in range(COUNT_BOUND):
                self.emit("out", n=n)
        except BaseException:  # noqa: BLE001 - as a careless handler does
            self.state["swallowed"] = True

    worker = Worker(Does(stream), is_local=is_local)
    worker.refuses = GivenUp()
    with pytest.raises(GivenUp):
        worker.run()

    assert (worker.state, worker.out) == ({}, [])


# Generators (R4).


def test_a_generator_commits_at_each_yield(is_local: bool) -> None:
    def produce(self: Does, count: int) -> Any:
        for n in range(count):
            self.emit("out", n=n)
            self.state["next"] = n + 1
            yield

    worker = Worker(Does(produce), is_local=is_local)
    execution = worker.begin(count=2)

    assert execution.advance() is False
    assert (worker.state, worker.emitted) == ({"next": 1}, [(0, {"n": 0})])
    assert current_turn() is None
    assert execution.advance() is False
    assert (worker.state, len(worker.out)) == ({"next": 2}, 2)
    worker.finish()
    assert [part.state is None for part in worker.parts] == [False, False]


def test_a_generator_goes_on_from_its_last_commit_after_a_failure(is_local: bool) -> None:
    fails = [True]

    def produce(self: Does, count: int) -> Any:
        seen = self.state.setdefault("seen", [])
        for n in range(len(seen), count):
            seen.append(n)
            self.emit("out", n=n)
            if n == 2 and fails[0]:
                raise ValueError
            yield

    worker = Worker(Does(produce), is_local=is_local)
    worker.begin(count=4)
    with pytest.raises(ValueError):
        worker.finish()
    assert worker.state == {"seen": [0, 1]}
    fails[0] = False
    worker.begin_again()
    worker.finish()

    assert worker.state == {"seen": [0, 1, 2, 3]}
    assert [data["n"] for _, data in worker.emitted] == [0, 1, 2, 3]


def test_what_was_released_since_the_last_yield_is_dropped_when_it_runs_again(is_local: bool) -> None:
    fails = [True]

    def produce(self: Does) -> Any:
        for block in range(self.state.get("block", 0), 3):
            for n in range(COUNT_BOUND + 1):
                self.emit("out", n=(block, n))
            if block == 1 and fails[0]:
                raise ValueError
            self.state["block"] = block + 1
            yield

    worker = Worker(Does(produce), is_local=is_local)
    worker.begin()
    with pytest.raises(ValueError):
        worker.finish()
    fails[0] = False
    worker.begin_again()
    worker.finish()

    assert [tuple(data["n"]) for _, data in worker.emitted] == [
        (b, n) for b in range(3) for n in range(COUNT_BOUND + 1)
    ]


def test_a_message_is_gathered_when_it_is_acknowledged_and_not_at_a_yield(is_local: bool) -> None:
    fails = [True]

    def produce(self: Does, x: list[int]) -> Any:
        self.emit("out", x=list(x))
        yield
        if fails[0]:
            raise ValueError

    worker = Worker(Does(produce, "append"), is_local=is_local)
    worker.begin(x=1)
    with pytest.raises(ValueError):
        worker.finish()
    fails[0] = False
    worker.begin_again()
    worker.finish()
    worker.run(x=2)

    assert [data for _, data in worker.emitted] == [{"x": [1]}, {"x": [1]}, {"x": [1, 2]}]


def test_a_generator_that_is_given_up_is_closed_outside_of_any_turn(is_local: bool) -> None:
    found: list[Any] = []

    def produce(self: Does) -> Any:
        try:
            self.state["n"] = 1
            yield
            self.state["n"] = 2
            yield
        finally:
            found.append(current_turn())
            try:
                self.emit("out", late=True)
            except EmitOutsideTurnError as error:
                found.append(type(error))

    worker = Worker(Does(produce), is_local=is_local)
    worker.begin().advance()
    worker.service.settle(accepted=False)

    assert found == [None, EmitOutsideTurnError]
    assert (worker.state, worker.out) == ({"n": 1}, [])


def test_a_generator_that_is_dropped_during_another_turn_is_closed_outside_of_it() -> None:
    found: list[Any] = []
    dropped: list[Any] = []

    def produce(self: Does) -> Any:
        try:
            yield
        finally:
            found.append(current_turn())

    def drop(self: Does) -> None:
        dropped.clear()
        self.emit("out", here=True)

    first, second = Worker(Does(produce)), Worker(Does(drop))
    dropped.append(first.begin())
    dropped[0].advance()
    first.execution = first.service = None  # type: ignore[assignment]
    second.run()

    assert found == [None]
    assert second.emitted == [(0, {"here": True})]


def test_what_a_generator_raises_while_it_is_closed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def produce(self: Does) -> Any:
        try:
            yield
        finally:
            raise ValueError("in finally")

    worker = Worker(Does(produce))
    worker.begin().advance()
    with caplog.at_level(logging.ERROR):
        worker.service.settle(accepted=False)

    assert "raised while it was closed" in caplog.text
    assert "in finally" in caplog.text


def test_a_generator_that_yields_a_value_is_an_error(is_local: bool) -> None:
    def produce(self: Does) -> Any:
        self.emit("out")
        yield 5

    worker = Worker(Does(produce), is_local=is_local)

    with pytest.raises(ResultError, match="slot 'in' of routine 'r' yields nothing where it commits, got int"):
        worker.run()
    assert worker.out == []


def test_a_handler_that_turns_out_to_be_asynchronous_is_an_error() -> None:
    async def work() -> None:
        raise AssertionError

    worker = Worker(Does(lambda self: work()))

    with pytest.raises(ResultError, match="gave a coroutine, and is no 'async def' by itself"):
        worker.run()


def test_a_function_routine_commits_each_value_it_yields(is_local: bool) -> None:
    @routine(events={"number": ["n"]})
    def numbers(count: int) -> Iterator[int]:
        yield from range(count)

    worker = Worker(numbers, is_local=is_local, incoming={0: Incoming("", ())})
    worker.run(count=3)

    assert worker.emitted == [(0, {"n": 0}), (0, {"n": 1}), (0, {"n": 2})]
    assert len(worker.parts) == 3


def test_the_result_of_a_plain_handler_is_nobody_s(is_local: bool) -> None:
    worker = Worker(Does(lambda self: {"n": 1}), is_local=is_local)
    worker.run()

    assert worker.out == []


# Whatever a handler raises.


@pytest.mark.parametrize("name", DEEDS)
def test_whatever_a_handler_raises_fails_its_turn_alone(is_local: bool, name: str) -> None:
    deed, told = DEEDS[name]

    def handle(self: Does, is_bad: bool) -> None:
        self.state["n"] = self.state.get("n", 0) + 1
        self.emit("out", n=self.state["n"])
        if is_bad:
            deed()

    worker = Worker(Does(handle), is_local=is_local)
    worker.run(is_bad=False)
    with pytest.raises(BaseException) as caught:
        worker.run(is_bad=True)
    failure = worker.describe(caught.value)
    worker.run(is_bad=False)

    assert str(failure.error).startswith(told)
    assert (worker.state, worker.emitted) == ({"n": 2}, [(0, {"n": 1}), (0, {"n": 2})])


@pytest.mark.parametrize("name", DEEDS)
def test_whatever_a_generator_raises_fails_its_turn_since_the_last_yield(is_local: bool, name: str) -> None:
    deed, told = DEEDS[name]

    def handle(self: Does, is_bad: bool) -> Any:
        for _ in range(2):
            self.state["n"] = self.state.get("n", 0) + 1
            self.emit("out", n=self.state["n"])
            if is_bad and self.state["n"] == 2:
                deed()
            yield

    worker = Worker(Does(handle), is_local=is_local)
    with pytest.raises(BaseException) as caught:
        worker.run(is_bad=True)
    failure = worker.describe(caught.value)
    worker.run(is_bad=False)

    # Python itself turns these two, since a generator ends by the first.
    expected = f"RuntimeError: generator raised {told.partition(':')[0]}" if name == "stop" else told
    assert str(failure.error).startswith(expected)
    assert (worker.state, [data["n"] for _, data in worker.emitted]) == ({"n": 3}, [1, 2, 3])


@pytest.mark.parametrize("name", DEEDS)
def test_whatever_a_generator_raises_while_it_is_closed_is_logged(
    is_local: bool, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    deed, _told = DEEDS[name]

    def handle(self: Does, is_bad: bool) -> Any:
        try:
            yield
        finally:
            if is_bad:
                deed()

    worker = Worker(Does(handle), is_local=is_local)
    worker.begin(is_bad=True).advance()
    worker.service.settle(accepted=False)
    worker.run(is_bad=False)

    # A generator may well leave by this one: Python takes it as the answer to its closing.
    expected = [] if name == "generator exit" else ["a generator handler raised while it was closed"]
    assert [record.getMessage() for record in caplog.records] == expected


def test_a_generator_that_goes_on_when_it_is_closed_does_so_outside_of_any_turn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found: list[Any] = []
    dropped: list[Any] = []

    def go_on(self: Does) -> Any:
        for _ in range(2):
            try:
                yield
            except GeneratorExit:
                found.append(current_turn())

    first, second = Worker(Does(go_on)), Worker(Does(lambda self: dropped.clear()))
    dropped.append(first.begin())
    dropped[0].advance()
    first.execution = first.service = None  # type: ignore[assignment]
    second.run()

    assert found == [None, None]
    [record] = caplog.records
    assert "generator ignored GeneratorExit" in str(record.exc_text)


def test_an_emission_that_was_refused_has_no_position_when_its_turn_runs_again(is_local: bool) -> None:
    refused: list[int] = []

    def handle(self: Does) -> None:
        for n in range(COUNT_BOUND + 1):
            try:
                self.emit("out", n=threading.Lock() if n == 3 else n)
            except BaseException:  # noqa: BLE001 - what a user may well write
                refused.append(n)
        if self.attempt == 1:
            raise ValueError

    outgoing = (
        Outgoing("out", by_reference=is_local, encoded=True),
        Outgoing("other", by_reference=False, encoded=False),
    )
    worker = Worker(Does(handle), is_local=is_local, outgoing=outgoing)
    worker.begin()
    with pytest.raises(ValueError):
        worker.finish()
    assert worker.message is not None
    assert worker.message.released == COUNT_BOUND
    worker.message = replace(worker.message, failures=worker.message.failures + 1)
    worker.begin_again()
    worker.finish()

    assert refused == [3, 3]
    assert [data["n"] for _, data in worker.emitted] == [n for n in range(COUNT_BOUND + 1) if n != 3]


@pytest.mark.parametrize("refusal", [RequestAbandoned(), ValueError("no"), SystemExit(3)], ids=repr)
def test_a_handler_that_catches_everything_cannot_commit_after_a_release_was_refused(
    is_local: bool, refusal: BaseException
) -> None:
    def handle(self: Does) -> Any:
        for n in range(3 * COUNT_BOUND):
            try:
                self.emit("out", n=n)
            except BaseException:  # noqa: BLE001
                self.state["swallowed"] = True
        try:
            yield
        except BaseException:  # noqa: BLE001
            yield

    worker = Worker(Does(handle), is_local=is_local)
    worker.refuses = refusal
    with pytest.raises(type(refusal)):
        worker.run()

    assert (worker.state, worker.emitted, worker.parts) == ({}, [], [])
