"""Rounds, one fact at a time, with a keeper that only notes what it is told."""

from __future__ import annotations

from typing import Any

from supervisors.behavior import Behavior
from supervisors.children import Child, ChildState
from supervisors.rounds import Round, RoundDue
from supervisors.spec import ChildSpec


class Keeper:
    """Starts and ends children when the test says so."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def start(self, child: Child, ctx: Any) -> None:
        self.asked.append(f"start {child.name}")
        child.state = ChildState.STARTING

    def stop(self, child: Child, ctx: Any) -> None:
        if child.state is not ChildState.STOPPING:
            self.asked.append(f"stop {child.name}")
            child.state = ChildState.STOPPING


class Timers:
    """Keeps the timers that are set."""

    def __init__(self) -> None:
        self.set: list[tuple[float, object]] = []

    def set_timer(self, delay: float, message: object) -> None:
        self.set.append((delay, message))


def make(*states: ChildState) -> list[Child]:
    children = [Child(ChildSpec(id_, Behavior)) for id_ in "abcd"[: len(states)]]
    for child, state in zip(children, states, strict=True):
        child.state = state
    return children


UP, DOWN, STOPPING = ChildState.RUNNING, ChildState.STOPPED, ChildState.STOPPING


def test_children_are_ended_one_at_a_time_and_then_started_one_at_a_time() -> None:
    children, keeper, ctx = make(UP, UP), Keeper(), Timers()
    round_ = Round(children, children)
    for child in reversed(children):
        assert round_.proceed(keeper, ctx)  # type: ignore[arg-type]  # fakes
        assert round_.proceed(keeper, ctx)  # type: ignore[arg-type]
        child.state = DOWN
    for child in children:
        assert round_.proceed(keeper, ctx)  # type: ignore[arg-type]
        assert round_.proceed(keeper, ctx)  # type: ignore[arg-type]
        child.state = UP
    assert not round_.proceed(keeper, ctx)  # type: ignore[arg-type]
    assert keeper.asked == ["stop b", "stop a", "start a", "start b"]


def test_the_wait_begins_when_all_are_down() -> None:
    children, keeper, ctx = make(UP, DOWN), Keeper(), Timers()
    round_ = Round(children, children, delay=3.0)
    assert round_.proceed(keeper, ctx)  # type: ignore[arg-type]
    assert ctx.set == []
    children[0].state = DOWN
    assert round_.proceed(keeper, ctx)  # type: ignore[arg-type]
    (delay, due), *_ = ctx.set
    assert delay == 3.0
    assert isinstance(due, RoundDue)
    assert round_.proceed(keeper, ctx)  # type: ignore[arg-type]
    assert keeper.asked == ["stop a"]
    due.round.is_waiting = False
    assert round_.proceed(keeper, ctx)  # type: ignore[arg-type]
    assert keeper.asked == ["stop a", "start a"]


def test_a_round_whose_children_were_all_taken_out_is_over_at_once_even_while_it_waits() -> None:
    children, keeper, ctx = make(DOWN, DOWN), Keeper(), Timers()
    round_ = Round((), children, delay=3.0)
    assert round_.proceed(keeper, ctx)  # type: ignore[arg-type]
    round_.take_out(children)
    assert not round_.proceed(keeper, ctx)  # type: ignore[arg-type]


def test_a_child_that_is_taken_out_while_it_starts_is_not_waited_for() -> None:
    children, keeper, ctx = make(DOWN, DOWN), Keeper(), Timers()
    round_ = Round((), children)
    assert round_.proceed(keeper, ctx)  # type: ignore[arg-type]
    round_.take_out(children[:1])
    assert round_.proceed(keeper, ctx)  # type: ignore[arg-type]
    assert keeper.asked == ["start a", "start b"]


def test_a_child_that_is_up_when_its_turn_comes_is_passed_by() -> None:
    children, keeper, ctx = make(UP, DOWN), Keeper(), Timers()
    round_ = Round((), children)
    assert round_.proceed(keeper, ctx)  # type: ignore[arg-type]
    assert keeper.asked == ["start b"]


def test_ending_many_looks_at_each_of_them_once() -> None:
    looks = [0]

    class Counted(Child):
        @property
        def is_up(self) -> bool:
            looks[0] += 1
            return super().is_up

    children: list[Child] = [Counted(ChildSpec(str(number), Behavior)) for number in range(1_000)]
    for child in children:
        child.state = UP
    keeper, ctx = Keeper(), Timers()
    round_ = Round(children, ())
    for child in reversed(children):
        assert round_.proceed(keeper, ctx)  # type: ignore[arg-type]
        child.state = DOWN
    assert not round_.proceed(keeper, ctx)  # type: ignore[arg-type]
    assert looks[0] <= 2 * len(children)
