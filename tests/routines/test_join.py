from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux import ErrorHandler, Flow, JobState, Routine
from routilux.errors import HandlerError, InvalidNameError, OptionError
from routilux.routines import Join
from routilux.stores.memory import MemoryStore
from tests.routines.running import emitted, flow_of, state_of
from tests.runtime.kept import wait_until

Came = tuple[str, dict[str, Any]]
SIDES = ("left", "right", "third")
SOME = st.lists(st.tuples(st.sampled_from(SIDES), st.integers(0, 2)), max_size=30)


class Model(NamedTuple):
    """What a plain loop makes of messages by their sides."""

    output: list[dict[str, Any]]
    unmatched: list[dict[str, Any]]

    @classmethod
    def of(cls, came: Iterable[Came], sides: tuple[str, ...], key: str | None) -> Model:
        waiting: dict[Any, dict[str, deque[int]]] = {}
        left: dict[int, dict[str, Any]] = {}
        output = []
        for number, (side, message) in enumerate(came):
            of = None if key is None else message[key]
            left[number] = {"side": side, "key": of, "message": message}
            queues = waiting.setdefault(of, {side: deque() for side in sides})
            queues[side].append(number)
            if all(queues.values()):
                parts = [left.pop(queues[side].popleft())["message"] for side in sides]
                output.append({name: value for part in parts for name, value in part.items()})
        return cls(output, list(left.values()))


def send(job: Any, came: Iterable[Came]) -> None:
    for side, message in came:
        job.put("it", side, message)


def run(join: Routine, came: Iterable[Came], **options: Any) -> JobState:
    with flow_of(join, **options).start(keep_open=True) as job:
        send(job, came)
    job.ledger.check()
    state: JobState = job.state
    return state


def found(state: JobState) -> Model:
    return Model(emitted(state), emitted(state, "unmatched"))


def messages_of(drawn: list[tuple[str, int]], sides: tuple[str, ...]) -> list[Came]:
    """Give messages with a parameter of their side, and one that all sides have."""
    return [(side, {"key": key, side: number}) for number, (side, key) in enumerate(drawn) if side in sides]


@given(SOME, st.sampled_from([SIDES, SIDES[:2], SIDES[::-1]]))
def test_pairs_are_those_of_a_plain_loop(drawn: list[tuple[str, int]], sides: tuple[str, ...]) -> None:
    came = messages_of(drawn, sides)
    state = run(Join("key", sides=sides), came)
    assert found(state) == Model.of(came, sides, "key")
    assert state_of(state) == {}


@given(SOME)
def test_without_a_key_the_nth_goes_with_the_nth(drawn: list[tuple[str, int]]) -> None:
    came = [(side, {side: number}) for number, (side, _) in enumerate(drawn)]
    assert found(run(Join(sides=SIDES), came)) == Model.of(came, SIDES, None)


@pytest.mark.processes
def test_they_are_in_a_process() -> None:
    drawn = [(SIDES[n * n % 3], n % 7) for n in range(120)]
    came = messages_of(drawn, SIDES)
    assert found(run(Join("key", sides=SIDES), came, placement="process")) == Model.of(came, SIDES, "key")


@given(SOME, st.integers(0, 30))
def test_what_waits_is_paused_kept_and_resumed(drawn: list[tuple[str, int]], before: int) -> None:
    store, came = MemoryStore(), messages_of(drawn, SIDES[:2])
    job = flow_of(Join("key")).start(keep_open=True, store=store, job_id="kept")
    send(job, came[:before])
    assert job.leave().status == "paused"
    with Flow.resume(store, "kept", flow=flow_of(Join("key"))) as again:
        send(again, came[before:])
    assert found(again.state) == Model.of(came, SIDES[:2], "key")


class Weight:
    """Counts how often it is encoded."""

    encoded = 0

    def __reduce__(self) -> Any:
        Weight.encoded += 1
        return Weight, ()


def test_a_message_is_written_once_however_many_wait() -> None:
    Weight.encoded = 0
    with flow_of(Join("k")).start(keep_open=True) as job:
        send(job, [("left", {"k": n % 2, "weight": Weight()}) for n in range(100)])
        wait_until(lambda: job.state.routine_states["it"]["handled"] == 100)
        assert Weight.encoded == 100
        send(job, [("right", {"k": n % 2}) for n in range(100)])
    assert len(emitted(job.state)) == 100


def test_a_key_may_be_made_of_what_the_sides_call_otherwise() -> None:
    join = Join(lambda data: data.get("order") or data["of"], sides=["goods", "paid"])
    came = [("goods", {"order": 7, "name": "tea"}), ("paid", {"of": 7.0, "euros": 5})]
    assert found(run(join, came)) == Model([{"order": 7, "name": "tea", "of": 7.0, "euros": 5}], [])


def test_names_of_sides_and_keys_are_told_apart_whatever_is_in_them() -> None:
    sides = ("x", "x s5:a", "none")
    came = [("x s5:a", {"k": "i1", "a": 1}), ("x", {"k": "a i1", "b": 2}), ("none", {"k": None, "c": 3})]
    assert found(run(Join("k", sides=sides), came)) == Model.of(came, sides, "k")


def test_what_several_sides_bring_is_to_be_the_same() -> None:
    came = [("left", {"k": 1, "v": [1]}), ("right", {"k": 1.0, "v": [1], "w": None})]
    assert found(run(Join("k"), came)) == Model([{"k": 1, "v": [1], "w": None}], [])


class NoAnswer:
    """As an array of NumPy: compared with another one it gives neither true nor false."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


@pytest.mark.parametrize(("one", "other"), [(1, 2), (NoAnswer(), NoAnswer()), ("1", 1)])
def test_what_is_not_the_same_fails_the_message_and_the_other_waits_on(one: Any, other: Any) -> None:
    came: list[Came] = [("left", {"k": 1, "v": one}), ("right", {"k": 1, "v": other}), ("right", {"k": 1, "w": 3})]
    state = run(Join("k"), came, error_handler=ErrorHandler("continue"))
    assert state.routine_states["it"]["error"].endswith(
        "RecordError: Join: both 'left' and 'right' bring 'v', and not the same: map one of them to another name "
        "(param_mapping)"
    )
    [result] = emitted(state)
    assert (result["k"], result["w"], "v" in result) == (1, 3, True)
    assert emitted(state, "unmatched") == []


@pytest.mark.parametrize(
    ("join", "message", "told"),
    [
        (Join("k"), {"k": []}, "the key of Join: expected None, a bool, number"),
        (Join("k"), {"l": 1}, "slot 'right' of routine 'it' expected 'k', got 'l'"),
        (Join(lambda n: 1 // n), {"n": 0}, "ZeroDivisionError"),
    ],
)
def test_what_fails_is_told(join: Join, message: dict[str, Any], told: str) -> None:
    state = run(join, [("right", message)])
    assert state.status == "failed"
    assert told in str(state.error)


def test_what_cannot_be_is_refused() -> None:
    wrong: Any
    for wrong in ([], ["left"]):
        with pytest.raises(OptionError, match="Join: expected two sides or more, got"):
            Join(sides=wrong)
    for wrong in ("left", 5, ["a", "a"], ["a", ""], [1, 2]):
        with pytest.raises(InvalidNameError, match="sides of Join"):
            Join(sides=wrong)
    with pytest.raises(OptionError, match="Join: its slot 'end' is the one that hears of the end"):
        Join(sides=["begin", "end"])
    with pytest.raises(HandlerError, match="the key of Join"):
        Join(lambda *all: all)


def test_what_a_side_lacks_is_told_before_anything_runs() -> None:
    class Source(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("trigger", self.go)
            self.define_event("output", ["order", "name"])

        def go(self) -> None:
            """Emit nothing."""

    flow = flow_of(Join("key"))
    flow.add_routine(Source(), "source")
    flow.connect("source", "output", "it", "left", {"order": "key"})
    flow.connect("source", "output", "it", "right")
    assert [problem.where for problem in flow.check()] == ["connection source.output -> it.right"]


def test_several_workers_are_refused() -> None:
    [problem] = flow_of(Join(), placement="process", workers=2).check()[:1]
    assert "Join keeps what waits for its partner in its state, and each of 2 workers" in problem.message
