"""Accounts, and where threads from outside wait: each for itself, until there is something or its time is over."""

from __future__ import annotations

import threading

import pytest

from routilux import Flow, routine
from routilux.accounts import Account, Bell
from routilux.routing import compile_plan
from routilux.tracking.meters import Spent


def ring(bell: Bell, lock: threading.Lock) -> None:
    with lock:
        rung = bell.ring_held()
    for waiter in rung:
        waiter.unpark()


def test_what_is_there_already_is_given_without_a_wait() -> None:
    looks: list[str] = []

    def look() -> str:
        looks.append("look")
        return "there"

    assert Bell(threading.Lock()).wait_for(look, lambda: None) == "there"
    assert looks == ["look"]


def test_a_waiter_looks_again_at_each_ring_until_there_is_something() -> None:
    lock = threading.Lock()
    bell = Bell(lock)
    looked = [threading.Event() for _ in range(4)]
    answers = iter([None, None, None, "there"])

    def look() -> str | None:
        next(event for event in looked if not event.is_set()).set()
        return next(answers)

    found: list[str | None] = []
    waiter = threading.Thread(target=lambda: found.append(bell.wait_for(look, lambda: None)))
    waiter.start()
    for event in looked[:-1]:
        assert event.wait(10)
        ring(bell, lock)
    waiter.join(10)
    assert found == ["there"]


def test_a_ring_while_it_looks_is_not_lost() -> None:
    lock = threading.Lock()
    bell = Bell(lock)
    answers = iter([None, None, "there"])

    def look() -> str | None:
        ring(bell, lock)
        return next(answers)

    assert bell.wait_for(look, lambda: None) == "there"


def test_a_waiter_looks_a_last_time_when_its_time_is_over() -> None:
    answers, left = iter([None, "there"]), iter([0.001, 0.0])
    assert Bell(threading.Lock()).wait_for(lambda: next(answers), lambda: next(left)) == "there"
    assert Bell(threading.Lock()).wait_for(lambda: None, lambda: -1.0) is None


def test_a_waiter_that_is_interrupted_waits_no_more() -> None:
    lock = threading.Lock()
    bell = Bell(lock)
    answers = iter([None])
    with pytest.raises(StopIteration):
        bell.wait_for(lambda: next(answers), lambda: None)
    with lock:
        assert bell.ring_held() == []
    assert bell._waiters == []


@routine(events={})
def nothing(data: object) -> None:
    """Do nothing."""


def test_what_the_processes_of_a_worker_have_used_is_summed_up() -> None:
    flow = Flow("accounts")
    flow.add_routine(nothing, "nothing", placement="process", workers=2)
    account = Account(compile_plan(flow).routines[0], threading.Lock())
    assert account.spent == (Spent(), Spent())
    for cpu_seconds, peak_bytes in ((1.5, 4_000), (2.0, None), (0.5, 3_000)):
        account.note_ended(1, cpu_seconds, peak_bytes)
    assert account.spent == (Spent(), Spent(4.0, 4_000))
