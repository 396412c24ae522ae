from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from routilux import Routine
from routilux.context import current_turn
from routilux.errors import OnceError, OutsideTurnError
from routilux.messages import Once
from supervisors.errors import ValueDecodingError, ValueEncodingError
from supervisors.places.base import RequestAbandoned
from tests.turn.strict import STRICT
from tests.turn.worker import Worker

PLACES = pytest.mark.parametrize("is_local", [True, False], ids=["thread", "process"])


class Trying(Routine):
    """Does what a test says, as its handler."""

    def __init__(self, deed: Callable[[Trying], Any]) -> None:
        super().__init__()
        self.deed = deed
        self.define_slot("in", lambda: self.deed(self))
        self.define_event("out")


def run(deed: Callable[[Trying], Any], **options: Any) -> Worker:
    worker = Worker(Trying(deed), **options)
    worker.run()
    return worker


def recorded(worker: Worker) -> dict[str, Any]:
    assert worker.message is not None
    return {once.key: worker.values.decode(once.value) for once in worker.message.once}


class Fails:
    """A function that was run is told; it fails the first times."""

    def __init__(self, *results: Any) -> None:
        self.results = list(results)
        self.calls = 0

    def __call__(self) -> Any:
        self.calls += 1
        result = self.results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result


@PLACES
def test_the_same_key_gives_the_same_result_within_a_turn(is_local: bool) -> None:
    fn, got = Fails([1], [2]), []

    def deed(it: Trying) -> None:
        got.extend([it.once("a", fn), it.once("a", fn)])
        got[0].append("changed")
        got.append(it.once("a", fn))

    worker = run(deed, is_local=is_local)
    assert (fn.calls, got) == (1, [[1, "changed"], [1], [1]])
    assert recorded(worker) == {"a": [1]}


@PLACES
def test_a_message_that_is_run_again_is_given_what_was_recorded(is_local: bool) -> None:
    fn, got = Fails("first", "second"), []

    def deed(it: Trying) -> None:
        got.append(it.once("a", fn))
        if len(got) == 1:
            raise ValueError

    worker = Worker(Trying(deed), is_local=is_local)
    with pytest.raises(ValueError, match=r"^$"):
        worker.run()
    worker.boot()
    worker.begin_again()
    worker.finish()
    assert (fn.calls, got) == (1, ["first", "first"])


@PLACES
def test_another_message_has_nothing_of_it(is_local: bool) -> None:
    fn = Fails(1, 2)
    worker = run(lambda it: it.emit("out", got=it.once("a", fn)), is_local=is_local)
    worker.run()
    assert [data for _, data in worker.emitted] == [{"got": 1}, {"got": 2}]


@PLACES
def test_what_was_recorded_stays_past_the_yields_of_a_generator(is_local: bool) -> None:
    fn, got = Fails(1, 2), []

    def deed(it: Trying) -> Iterator[None]:
        got.append(it.once("a", fn))
        yield
        got.append(it.once("a", fn))
        if len(got) == 2:
            raise ValueError

    worker = Worker(Trying(deed), is_local=is_local)
    with pytest.raises(ValueError, match=r"^$"):
        worker.run()
    worker.begin_again()
    worker.finish()
    assert (fn.calls, got) == (1, [1, 1, 1, 1])


@PLACES
@pytest.mark.parametrize(
    ("at", "when"), [*((key, when) for key in range(3) for when in ("refuses", "refuses_after")), (3, "at the end")]
)
def test_a_death_at_any_point_never_gives_two_results_for_a_key(at: int, when: str, is_local: bool) -> None:
    effects: list[int] = []
    given: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}
    runs = 0

    def do(key: int) -> int:
        effects.append(key)
        return len(effects)

    def deed(it: Trying) -> None:
        nonlocal runs
        runs += 1
        for key in range(3):
            if runs == 1 and key == at:
                setattr(worker, when, RequestAbandoned())
            given[key].add(it.once(str(key), partial(do, key)))
        if runs == 1:
            raise RequestAbandoned

    worker = Worker(Trying(deed), is_local=is_local)
    with pytest.raises(RequestAbandoned):
        worker.run()
    known = recorded(worker)
    worker.refuses = worker.refuses_after = None
    worker.boot()
    worker.begin_again()
    worker.finish()

    assert {str(key): results for key, results in given.items()} == {k: {v} for k, v in recorded(worker).items()}
    assert known.items() <= recorded(worker).items()
    # A function ran again only if its result had not arrived.
    assert sorted(effects) == sorted([0, 1, 2, *([at] if when == "refuses" else [])])


@PLACES
def test_a_handler_that_goes_on_after_a_refused_recording_is_not_committed(is_local: bool) -> None:
    never = Fails()

    def deed(it: Trying) -> None:
        worker.refuses = RequestAbandoned()
        with pytest.raises(RequestAbandoned):
            it.once("a", lambda: 1)
        worker.refuses = None
        with pytest.raises(RequestAbandoned):
            it.once("b", never)
        it.emit("out", x=1)

    worker = Worker(Trying(deed), is_local=is_local)
    with pytest.raises(RequestAbandoned):
        worker.run()
    assert (worker.out, recorded(worker), never.calls) == ([], {}, 0)


def test_a_turn_that_was_given_up_has_no_more_effects() -> None:
    never = Fails()
    worker = Worker(Trying(lambda it: it.once("a", never)))
    worker.was_given_up = RequestAbandoned()
    with pytest.raises(RequestAbandoned):
        worker.run()
    assert never.calls == 0


@PLACES
def test_a_function_that_raises_is_run_again(is_local: bool) -> None:
    fn, got = Fails(KeyError("no"), 2), []

    def deed(it: Trying) -> None:
        with pytest.raises(KeyError):
            it.once("a", fn)
        assert current_turn() is worker.execution
        got.append(it.once("a", fn))

    worker = Worker(Trying(deed), is_local=is_local)
    worker.run()
    assert (fn.calls, got, recorded(worker)) == (2, [2], {"a": 2})


@PLACES
def test_a_result_that_cannot_be_carried_is_refused_with_its_path(is_local: bool) -> None:
    def deed(it: Trying) -> None:
        with pytest.raises(ValueEncodingError) as caught:
            it.once("charge", lambda: {"items": [1, {2}]})
        assert caught.value.path == "once('charge')['items'][1]"

    assert recorded(run(deed, is_local=is_local, values=STRICT)) == {}


class Gone:
    """Comes back from no bytes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


@PLACES
def test_a_result_that_cannot_be_read_again_is_not_recorded(is_local: bool) -> None:
    def deed(it: Trying) -> None:
        with pytest.raises(ValueDecodingError) as caught:
            it.once("a", Gone)
        assert caught.value.__notes__ == ["It is what the function of once('a') gave."]

    assert recorded(run(deed, is_local=is_local)) == {}


def test_functions_within_functions_are_recorded_first() -> None:
    fn = Fails(1, 2)

    def deed(it: Trying) -> None:
        assert it.once("outer", lambda: it.once("inner", fn) + 10) == 11
        assert it.once("inner", fn) == 1

    worker = run(deed)
    assert worker.message is not None
    assert [once.key for once in worker.message.once] == ["inner", "outer"]


def test_a_function_that_uses_its_own_key_is_refused() -> None:
    def deed(it: Trying) -> None:
        with pytest.raises(OnceError, match=r"once\('a'\) in routine 'r' is used within its own function"):
            it.once("a", lambda: it.once("b", lambda: it.once("a", lambda: 1)))

    assert recorded(run(deed)) == {}


def test_a_function_leaves_nothing_in_its_turn() -> None:
    def deed(it: Trying) -> None:
        it.state = {"n": 1}
        with pytest.raises(OnceError, match=r"the function of once\('a'\) in routine 'r' cannot emit 'out'"):
            it.once("a", lambda: it.emit("out"))
        with pytest.raises(OnceError, match="cannot replace the state"):
            it.once("a", lambda: setattr(it, "state", {}))

    worker = run(deed)
    assert (worker.out, worker.state, recorded(worker)) == ([], {"n": 1}, {})


@PLACES
def test_a_function_that_gives_the_state_gives_a_copy_of_it(is_local: bool) -> None:
    def deed(it: Trying) -> None:
        it.state["n"] = [1]
        it.once("a", lambda: [it.state])
        it.state["n"].append(2)
        it.emit("out", was=it.once("a", list))

    worker = run(deed, is_local=is_local, values=STRICT)
    assert worker.emitted == [(0, {"was": [{"n": [1]}]})]


def test_a_function_can_look_at_its_turn() -> None:
    def deed(it: Trying) -> None:
        it.state["n"] = 5

        def look() -> list[Any]:
            turn = current_turn()
            assert turn is not None
            told = [turn.routine_id, it.job_id, it.message_id, it.attempt, it.redelivered]
            return [it.state["n"], turn.routine is it, *told]

        it.emit("out", seen=it.once("a", look), id=it.message_id)

    (_, data), *_ = run(deed).emitted
    assert data["seen"] == [5, True, "r", "j", data["id"], 1, False]


@pytest.mark.parametrize("key", [None, 3, b"a", "\ud800"], ids=repr)
def test_a_key_is_text(key: Any) -> None:
    def deed(it: Trying) -> None:
        with pytest.raises(OnceError, match="a key of once"):
            it.once(key, lambda: 1)

    run(deed)


def test_a_key_may_be_of_a_class_of_text() -> None:
    class Name(str):
        __slots__ = ()

    worker = run(lambda it: it.once(Name("a"), lambda: 1), is_local=False)
    assert worker.message is not None
    assert [type(once.key) for once in worker.message.once] == [str]


def test_it_exists_only_while_a_handler_runs() -> None:
    routine = Trying(lambda it: None)  # noqa: ARG005
    with pytest.raises(OutsideTurnError, match=r"Trying\.once exists only while a handler of that routine runs"):
        routine.once("a", lambda: 1)

    def close(it: Trying) -> Iterator[None]:
        try:
            yield
        finally:
            with pytest.raises(OutsideTurnError):
                it.once("a", lambda: 1)

    worker = Worker(Trying(close))
    worker.begin().advance()
    worker.service.settle(accepted=False)


def test_what_was_recorded_is_a_pair() -> None:
    assert Once("a", b"x") == ("a", b"x")


@PLACES
def test_an_asynchronous_function_is_refused(is_local: bool) -> None:
    async def pay() -> int:
        raise AssertionError

    def handle(self: Trying) -> None:
        with pytest.raises(OnceError, match=r"the function of once\('a'\) is asynchronous"):
            self.once("a", pay)

    assert recorded(run(handle, is_local=is_local)) == {}
