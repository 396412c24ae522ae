"""Many requests at once on the actor's own thread: what is told together, when, by whom, and what comes back."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from supervisors.places.base import CLOSED, Lost, Port
from supervisors.places.thread import HELD_SECONDS
from supervisors.reasons import Shutdown
from tests.supervisors.places.batches import BatchWorld, Request, advancing, batching
from tests.supervisors.places.threads import PATIENCE, Gate

HALTED = Shutdown("halted")


def give(value: object) -> Request:
    return lambda _port: value


def fail(_port: Port) -> NoReturn:
    raise ValueError("bad")


def two_steps(port: Port) -> Iterator[None]:
    port.stop_with("part", 1)
    yield
    return "stepped"


def test_what_is_run_in_one_go_is_told_together() -> None:
    with batching() as world:
        asked = world.ask_all(*map(give, "abc"))
        world.run(lambda: world.done)
    assert (world.together, list(world.done.values()), world.settled) == ([asked], ["a", "b", "c"], [True])


def test_without_a_flusher_each_result_is_told_at_once() -> None:
    with batching(flushes=False) as world:
        asked = world.ask_all(*map(give, "abc"))
        world.run(lambda: len(world.done) == 3)
    assert world.together == [[seq] for seq in asked]


def test_where_the_flusher_gets_no_thread_each_result_is_told_at_once() -> None:
    with batching() as world:
        world.flusher.has_thread = False
        asked = world.ask_all(*map(give, "abc"))
        world.run(lambda: len(world.done) == 3)
    assert world.together == [[seq] for seq in asked]


def test_none_is_begun_after_the_time_that_results_may_be_held_back() -> None:
    with batching() as world:

        def take_long(_port: Port) -> None:
            world.now += HELD_SECONDS

        one, two, three = world.ask_all(give("a"), take_long, give("c"))
        assert world.place.advance()
        assert world.together == [[one, two]]
        world.run(lambda: len(world.done) == 3)
    assert world.together == [[one, two], [three]]


def test_none_is_begun_while_the_actor_has_something_urgent() -> None:
    with batching() as world:
        one, two = world.ask_all(lambda _port: world.urgent.append("pause"), give("b"))
        assert world.place.advance()
        assert (world.together, world.place.workers()[0].in_hand) == ([[one]], 1)
        world.urgent.clear()
        world.run(lambda: two in world.done)
    assert world.returned == []


def test_what_was_run_before_one_that_takes_long_is_told_by_the_flusher() -> None:
    gate = Gate()
    with batching() as world:
        one, two, three = world.ask_all(give("a"), give("b"), lambda _port: gate.pass_through())
        with advancing(world):
            gate.wait_reached()
            assert world.together == []
            world.flusher.flush()
            assert world.together == [[one, two]]
            assert world.place.workers()[0].current == three
            gate.open()
        assert world.together == [[one, two], [three]]
        flusher, own = world.told_by
        assert flusher is not own
        assert world.settled == [True]


def test_what_is_run_after_the_flusher_looked_is_told_when_it_looks_again() -> None:
    first, second = Gate(), Gate()
    with batching() as world:
        one, two, _three = world.ask_all(
            give("a"), lambda _port: first.pass_through(), lambda _port: second.pass_through()
        )
        with advancing(world):
            first.wait_reached()
            world.flusher.flush()
            first.open()
            second.wait_reached()
            world.flusher.flush()
            assert world.together == [[one], [two]]
            second.open()


def test_a_flusher_that_looks_as_a_batch_is_begun_looks_again() -> None:
    gate = Gate()
    with batching() as world:

        def look_once() -> None:
            if world.flusher.due:
                world.meets_clock = lambda: None
                world.flusher.flush()

        world.meets_clock = look_once
        one, two = world.ask_all(give("a"), lambda _port: gate.pass_through())
        with advancing(world):
            gate.wait_reached()
            world.flusher.flush()
            assert world.together == [[one]]
            gate.open()
        assert world.together == [[one], [two]]


def test_the_flusher_does_not_look_again_where_nothing_else_is_begun() -> None:
    gate = Gate()
    with batching() as world:
        world.ask_all(give("a"), lambda _port: gate.pass_through(), give("c"))
        with advancing(world):
            gate.wait_reached()
            world.now += HELD_SECONDS
            world.flusher.flush()
            assert world.flusher.due == []
            gate.open()
        world.run(lambda: len(world.done) == 3)


def test_a_flusher_that_comes_too_late_finds_nothing() -> None:
    with batching() as world:
        asked = world.ask_all(*map(give, "ab"))
        world.run(lambda: world.done)
        world.flusher.flush()
    assert world.together == [asked]


def test_one_that_fails_comes_behind_those_before_it_and_the_others_come_back_in_order() -> None:
    with batching() as world:
        one, two, three, four = world.ask_all(give("a"), fail, give("c"), give("d"))
        world.run(lambda: world.failed)
        assert (world.together, world.failed) == ([[one]], [(two, "ValueError('bad')", (three, four))])
        assert (world.place.is_still, world.settled) == (True, [False])


def test_one_in_steps_ends_by_itself_behind_those_before_it() -> None:
    with batching() as world:
        one, two, three = world.ask_all(give("a"), two_steps, give("c"))
        world.place.advance()
        assert (world.together, world.parts) == ([[one]], [(two, "part")])
        world.place.advance()
        assert world.together == [[one], [two]]
        world.run(lambda: three in world.done)
    assert list(world.done.values()) == ["a", "stepped", "c"]


def test_those_before_one_that_hands_over_a_part_are_told_first() -> None:
    with batching() as world:
        one, two, three = world.ask_all(give("a"), lambda port: port.part("part", 1), give("c"))
        world.meets_part = lambda: world.together.append([])
        world.run(lambda: three in world.done)
    assert world.together == [[one], [], [two], [three]]
    assert world.parts == [(two, "part")]


def test_a_hold_between_two_steps_gives_the_others_back() -> None:
    with batching() as world:
        _one, two, three = world.ask_all(give("a"), two_steps, give("c"))
        world.place.advance()
        world.place.hold()
        assert (world.returned, world.place.is_still, world.place.room(0)) == ([three], True, 0)
        assert not world.place.advance()
        world.place.release()
        world.run(lambda: two in world.done)
        assert three not in world.done


def test_a_hold_inside_of_a_part_gives_the_others_back_and_its_time_is_not_the_requests() -> None:
    with batching() as world:

        def hold_then_release() -> bool:
            if not world.place.is_still:
                world.place.hold()
                world.now += 60.0
            else:
                world.place.release()
            world.grant()
            return True

        def wait(port: Port) -> None:
            world.grants = False
            port.part("part", 1)
            world.now += 1.0

        world.waits_by = hold_then_release
        _one, two, three = world.ask_all(give("a"), wait, give("c"))
        world.place.advance()
        assert (world.returned, list(world.done)[-1]) == ([three], two)
        assert world.seconds[two] == pytest.approx(1.0)


def test_one_between_two_steps_is_lost_with_the_others_unbegun() -> None:
    with batching() as world:
        one, two, three = world.ask_all(give("a"), two_steps, give("c"))
        world.place.advance()
        world.place.kill(0, HALTED)
    assert (world.lost, world.together, world.settled) == ([(HALTED, Lost(two, (), (three,)))], [[one]], [False])


def test_a_close_gives_back_what_was_not_begun() -> None:
    with batching() as world:
        asked = world.ask_all(*map(give, "ab"))
        world.close()
    assert (world.lost, world.done) == ([(CLOSED, Lost(None, (), tuple(asked)))], {})


def test_one_that_is_aborted_is_told_of_no_more() -> None:
    with batching() as world:
        world.ask_all(give("a"), two_steps, give("c"))
        world.place.advance()
        told = list(world.together)
        world.place.abort()
        world.flusher.flush()
        assert not world.place.advance()
        assert (world.together, world.lost, world.returned) == (told, [], [])
        world.closed = 1


def test_where_results_are_refused_the_others_come_back_and_the_place_goes_on() -> None:
    with batching() as world:

        def refuse(_port: Port) -> None:
            world.refuses = True
            world.urgent.append("stop")

        _one, three = world.ask_all(refuse, give("c"))
        world.place.advance()
        assert (world.returned, world.settled, world.place.is_still) == ([three], [False], True)
        world.refuses = False
        world.urgent.clear()
        asked = world.ask_all(*map(give, "ab"))
        world.run(lambda: world.done)
    assert list(world.done) == asked


def test_where_results_were_refused_the_service_begins_anew() -> None:
    # What it ran behind them may have gone on from what they had changed.
    with batching() as world:
        world.ask_all(give("a"), give("b"))
        world.refuses = True
        world.place.advance()
        world.refuses = False
        assert world.booted == 2
        world.ask_all(give("c"))
        world.run(lambda: world.done)
    assert world.booted == 2


def test_where_a_part_is_refused_the_others_come_back() -> None:
    with batching() as world:

        def hand_over(port: Port) -> None:
            world.refuses = True
            port.part("part", 1)

        _one, _two, three = world.ask_all(give("a"), hand_over, give("c"))
        world.place.advance()
        assert (world.returned, world.failed, world.settled) == ([three], [], [False])


def raise_once(world: BatchWorld) -> None:
    """Let the listener raise at what it is told next."""

    def meets_done() -> NoReturn:
        world.meets_done = lambda: None
        raise LookupError("not the request's")

    world.meets_done = meets_done


def swallow(port: Port) -> str:
    try:
        port.part("part", 1)
    except LookupError:
        return "swallowed"
    return "not reached"


@pytest.mark.parametrize("last", [give("b"), fail, two_steps, swallow], ids=["plain", "fails", "steps", "swallows"])
def test_what_the_listener_raises_is_not_the_failure_of_the_request(last: Request) -> None:
    with batching() as world:
        raise_once(world)
        world.ask_all(give("a"), last)
        with pytest.raises(LookupError, match="not the request"):
            world.place.advance()
        assert (world.failed, world.done, world.parts) == ([], {}, [])
        end(world)


@pytest.mark.parametrize("last", [give("b"), fail, two_steps, swallow], ids=["plain", "fails", "steps", "swallows"])
def test_what_the_listener_raises_on_the_flushers_thread_is_raised_when_the_request_has_ended(last: Request) -> None:
    gate = Gate()

    def pass_then(port: Port) -> Any:
        gate.pass_through()
        return last(port)

    with batching() as world:
        raise_once(world)
        world.ask_all(give("a"), pass_then)
        with pytest.raises(LookupError, match="not the request"), advancing(world):  # noqa: PT012  it is raised there
            gate.wait_reached()
            world.flusher.flush()
            gate.open()
        assert (world.failed, world.done, world.parts) == ([], {}, [])
        end(world)


def test_an_error_that_comes_as_the_batch_ends_is_raised_too() -> None:
    # The flusher is inside of the listener when the last request has returned, so that the place waits for it.
    gate, inside, has_returned = Gate(), Gate(), threading.Event()

    def raise_late() -> None:
        inside.pass_through()
        raise_once(world)
        world.meets_done()

    def pass_through(_port: Port) -> None:
        gate.pass_through()
        world.meets_clock = note_return

    def note_return() -> None:
        # Read for the first time at the request's end, and then by the place.
        world.meets_clock = has_returned.set

    with batching() as world:
        world.meets_done = raise_late
        world.ask_all(give("a"), pass_through)
        with pytest.raises(LookupError, match="not the request"), advancing(world):  # noqa: PT012  it is raised there
            gate.wait_reached()
            with world.flusher.flushing():
                inside.wait_reached()
                gate.open()
                assert has_returned.wait(PATIENCE)
                inside.open()
        assert world.done == {}
        end(world)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="copies are made by fork")
@pytest.mark.processes
@pytest.mark.parametrize(
    "comes_back",
    [give("copied"), fail, two_steps, lambda port: port.part("part", 1)],
    ids=["returns", "fails", "steps", "part"],
)
def test_a_copy_that_a_request_makes_by_fork_ends_where_it_comes_back(comes_back: Request) -> None:
    def fork(port: Port) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, which is what is tested
            pid = os.fork()  # noqa: TID251
        if pid == 0:
            result: int = comes_back(port)
            return result
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    with batching() as world:
        asked = world.ask_all(give("a"), fork, give("c"))
        world.run(lambda: len(world.done) == 3)
    expected = 1 if comes_back is fail else 0
    assert (world.together, list(world.done.values())) == ([asked], ["a", expected, "c"])


def end(world: BatchWorld) -> None:
    """As an actor whose place raised does."""
    world.place.abort()
    world.closed = 1
