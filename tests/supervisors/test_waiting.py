from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors import waiting
from supervisors.errors import DeadlockError
from supervisors.waiting import enter_actor, present_actor, refuse_ring, waiting_for

WAIT = 10.0


class Actor:
    def __init__(self, path: str) -> None:
        self.path = path
        self.is_answered = False


@pytest.fixture(autouse=True)
def no_actor_left() -> Iterator[None]:
    yield
    enter_actor(None)
    assert waiting._waits == {}


def wait(stack: ExitStack, asker: Actor | None, asked: Actor) -> Actor:
    """Let `asker` wait for `asked` until the stack is unwound, or whoever is given back is answered."""
    enter_actor(asker)
    answer = Actor("answer")
    stack.enter_context(waiting_for(asked, lambda: answer.is_answered))
    return answer


def test_a_thread_is_the_actor_that_has_entered_it_and_no_other_is() -> None:
    actor, seen = Actor("a"), list[object]()
    enter_actor(actor)
    thread = threading.Thread(target=lambda: seen.append(present_actor()))
    thread.start()
    thread.join(WAIT)
    assert present_actor() is actor
    assert seen == [None]


def test_an_actor_must_not_wait_for_itself() -> None:
    actor = Actor("a")
    with ExitStack() as stack, pytest.raises(DeadlockError) as caught:
        wait(stack, actor, actor)
    assert caught.value.ring == ("a", "a")


def test_a_ring_is_refused_at_the_ask_that_would_close_it_and_told_in_order() -> None:
    a, b, c = map(Actor, "abc")
    with ExitStack() as stack:
        wait(stack, a, b)
        wait(stack, b, c)
        with pytest.raises(DeadlockError, match="c -> a -> b -> c"):
            wait(stack, c, a)


def test_looking_for_a_ring_makes_no_edge() -> None:
    a, b = map(Actor, "ab")
    enter_actor(a)
    refuse_ring(b)
    enter_actor(b)
    refuse_ring(a)
    with pytest.raises(DeadlockError):
        refuse_ring(b)


def test_many_may_wait_for_one_and_one_after_another() -> None:
    a, b, c = map(Actor, "abc")
    with ExitStack() as stack:
        wait(stack, a, c)
        wait(stack, b, c)
    with ExitStack() as stack:
        wait(stack, c, a)


def test_a_thread_that_is_no_actor_may_wait_for_anybody() -> None:
    a, b = map(Actor, "ab")
    with ExitStack() as stack:
        wait(stack, a, b)
        wait(stack, None, a)
        refuse_ring(a)


def test_a_wait_that_ends_by_an_exception_is_forgotten() -> None:
    a, b = map(Actor, "ab")
    with suppress(ZeroDivisionError), ExitStack() as stack:
        wait(stack, a, b)
        raise ZeroDivisionError
    with ExitStack() as stack:
        wait(stack, b, a)


def test_one_that_has_answered_may_ask_back_before_the_asker_has_woken_up() -> None:
    a, b, c = map(Actor, "abc")
    with ExitStack() as stack:
        wait(stack, a, b).is_answered = True
        wait(stack, b, a)
        wait(stack, c, b)
        enter_actor(a)
        with pytest.raises(DeadlockError):
            refuse_ring(c)


def test_of_two_asks_that_close_a_ring_together_one_is_refused() -> None:
    for _ in range(50):
        a, b = map(Actor, "ab")
        start, end, refused = threading.Barrier(2), threading.Barrier(2), list[str]()

        def ask(
            asker: Actor, asked: Actor, start: object = start, end: object = end, refused: object = refused
        ) -> None:
            assert isinstance(start, threading.Barrier)
            assert isinstance(end, threading.Barrier)
            assert isinstance(refused, list)
            enter_actor(asker)
            start.wait(WAIT)
            try:
                with waiting_for(asked, lambda: False):
                    end.wait(WAIT)
            except DeadlockError:
                refused.append(asker.path)
                end.wait(WAIT)

        threads = [threading.Thread(target=ask, args=pair) for pair in ((a, b), (b, a))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert len(refused) == 1


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans()), max_size=12))
def test_an_ask_is_refused_just_if_its_way_leads_back(asks: list[tuple[int, int, bool]]) -> None:
    actors = [Actor(str(number)) for number in range(5)]
    waits_for: dict[int, int] = {}
    busy: set[int] = set()
    with ExitStack() as stack:
        for asker, asked, is_answered in asks:
            if asker in busy:
                continue  # it waits, and cannot ask
            if _leads_to(waits_for, asked, asker):
                with pytest.raises(DeadlockError):
                    wait(stack, actors[asker], actors[asked])
                continue
            wait(stack, actors[asker], actors[asked]).is_answered = is_answered
            busy.add(asker)
            if not is_answered:
                waits_for[asker] = asked


def _leads_to(waits_for: dict[int, int], start: int, goal: int) -> bool:
    while start != goal and start in waits_for:
        start = waits_for[start]
    return start == goal
