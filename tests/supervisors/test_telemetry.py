from __future__ import annotations

import threading
from typing import Any

import pytest

from supervisors.errors import SpecError
from supervisors.telemetry import EVENTS, Telemetry, attach, detach, telemetry

WAIT = 10.0


class Listener:
    """A handler that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, float], dict[str, Any]]] = []

    def __call__(self, event: str, measurements: dict[str, float], metadata: dict[str, Any]) -> None:
        self.told.append((event, measurements, metadata))

    @property
    def events(self) -> list[str]:
        return [event for event, _, _ in self.told]


def failing(_event: str, _measurements: dict[str, float], _metadata: dict[str, Any]) -> None:
    raise ZeroDivisionError


def test_a_handler_is_told_the_events_it_is_attached_for_and_no_others() -> None:
    host, listener = Telemetry(), Listener()
    host.attach("one", ["actor.started", "actor.ended"], listener)
    host.tell("actor.started", {}, {"path": "a"})
    host.tell("actor.undelivered", {"count": 1}, {})
    host.tell("actor.ended", {"seconds": 2.0}, {"path": "a"})
    assert listener.told == [("actor.started", {}, {"path": "a"}), ("actor.ended", {"seconds": 2.0}, {"path": "a"})]


def test_one_event_may_be_given_as_plain_text() -> None:
    host, listener = Telemetry(), Listener()
    host.attach("one", "actor.ended", listener)
    host.tell("actor.ended", {}, {})
    assert listener.events == ["actor.ended"]


def test_handlers_are_called_in_the_order_in_which_they_were_attached() -> None:
    host, order = Telemetry(), list[str]()
    for name in "cab":
        host.attach(name, EVENTS, lambda *_, name=name: order.append(name))
    host.tell("actor.ended", {}, {})
    assert order == ["c", "a", "b"]
    assert host.handlers() == ("c", "a", "b")


def test_an_unknown_event_and_a_taken_id_are_refused_and_change_nothing() -> None:
    host = Telemetry()
    host.attach("one", EVENTS, Listener())
    with pytest.raises(SpecError, match=r"there is no 'actor\.born'"):
        host.attach("two", ["actor.ended", "actor.born"], Listener())
    with pytest.raises(SpecError, match="a handler 'one' is attached already"):
        host.attach("one", EVENTS, Listener())
    assert host.handlers() == ("one",)


def test_a_detached_handler_is_told_nothing_more_and_its_id_is_free() -> None:
    host, listener = Telemetry(), Listener()
    host.attach("one", EVENTS, listener)
    assert host.detach("one") is True
    assert host.detach("one") is False
    host.tell("actor.ended", {}, {})
    host.attach("one", EVENTS, listener)
    assert listener.told == []


@pytest.mark.parametrize("error", [ZeroDivisionError(), SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_a_handler_raises_it_alone_is_detached_and_that_is_told(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise error

    host, before, after = Telemetry(), Listener(), Listener()
    host.attach("before", EVENTS, before)
    host.attach("bad", EVENTS, fail)
    host.attach("after", EVENTS, after)
    host.tell("actor.ended", {}, {})
    failed = ("telemetry.handler_failed", {}, {"handler": "bad", "event": "actor.ended", "error": type(error).__name__})
    assert before.told == [("actor.ended", {}, {}), failed]
    assert after.told == [failed, ("actor.ended", {}, {})]
    assert host.handlers() == ("before", "after")
    assert "telemetry handler 'bad' raised on 'actor.ended' and was detached" in caplog.text


def test_handlers_that_fail_on_being_told_of_a_failure_are_detached_too() -> None:
    host = Telemetry()
    for name in "abc":
        host.attach(name, EVENTS, failing)
    host.tell("actor.ended", {}, {})
    assert host.handlers() == ()


def test_a_handler_that_tells_the_event_it_is_told_is_detached_and_no_harm_done() -> None:
    host, other = Telemetry(), Listener()
    host.attach("loop", ["actor.ended"], host.tell)
    host.attach("other", EVENTS, other)
    host.tell("actor.ended", {}, {})
    assert host.handlers() == ("other",)
    assert "actor.ended" in other.events


def test_a_handler_may_attach_another_which_hears_the_next_event_first() -> None:
    host, late = Telemetry(), Listener()
    host.attach("one", ["actor.ended"], lambda *_: host.handlers() == ("one",) and host.attach("late", EVENTS, late))
    host.tell("actor.ended", {}, {})
    assert late.told == []
    host.tell("actor.ended", {}, {})
    assert late.events == ["actor.ended"]


def test_a_handler_that_is_detached_by_one_before_it_is_not_called_any_more() -> None:
    host, second = Telemetry(), Listener()
    host.attach("first", EVENTS, lambda *_: host.detach("second"))
    host.attach("second", EVENTS, second)
    host.tell("actor.ended", {}, {})
    assert second.told == []


def test_a_handler_may_detach_itself_and_fail_after_it_without_being_told_of() -> None:
    def leave(*_: object) -> None:
        host.detach("one")
        raise ZeroDivisionError

    host, other = Telemetry(), Listener()
    host.attach("one", EVENTS, leave)
    host.attach("other", EVENTS, other)
    host.tell("actor.ended", {}, {})
    assert other.events == ["actor.ended"]


def test_a_failing_handler_does_not_take_its_successor_of_the_same_id_along() -> None:
    def replace_and_fail(*_: object) -> None:
        host.detach("one")
        host.attach("one", EVENTS, successor)
        raise ZeroDivisionError

    host, successor = Telemetry(), Listener()
    host.attach("one", EVENTS, replace_and_fail)
    host.tell("actor.ended", {}, {})
    host.tell("actor.started", {}, {})
    assert host.handlers() == ("one",)
    assert successor.events == ["actor.started"]


def test_a_failure_in_two_threads_at_once_is_told_once() -> None:
    both = threading.Barrier(2)

    def fail(*_: object) -> None:
        both.wait(WAIT)
        raise ZeroDivisionError

    host, listener = Telemetry(), Listener()
    host.attach("bad", ["actor.ended"], fail)
    host.attach("other", ["telemetry.handler_failed"], listener)
    threads = [threading.Thread(target=host.tell, args=("actor.ended", {}, {})) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert listener.events == ["telemetry.handler_failed"]


def test_attaching_and_detaching_from_many_threads_loses_no_handler() -> None:
    host, stays = Telemetry(), Listener()
    host.attach("stays", EVENTS, stays)
    start = threading.Barrier(4)

    def churn(me: int) -> None:
        start.wait(WAIT)
        for number in range(100):
            host.attach(f"{me}.{number}", EVENTS, Listener())
            host.tell("actor.started", {}, {})
            if number % 2:
                assert host.detach(f"{me}.{number}")

    threads = [threading.Thread(target=churn, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert len(host.handlers()) == 1 + 4 * 50
    assert len(stays.told) == 4 * 100


def test_the_programs_own_handlers_are_attached_and_detached_by_plain_functions() -> None:
    listener = Listener()
    attach("test of telemetry", ["actor.abandoned"], listener)
    try:
        telemetry.tell("actor.abandoned", {}, {})
    finally:
        assert detach("test of telemetry")
    assert listener.events == ["actor.abandoned"]
