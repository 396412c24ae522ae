from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from typing import Any

import pytest

from supervisors.asking import Ask, AskableMailbox, FutureAnswer, PoisonPill
from supervisors.endpoint import End, Endpoint
from supervisors.errors import MailboxClosedError, MailboxFullError
from supervisors.mailbox import Mailbox
from supervisors.reasons import ErrorRecord, Killed, Normal, Raised, Reason, Shutdown

WAIT = 10.0


class FakeHost:
    """A host whose clock stands where the test puts it."""

    def __init__(self) -> None:
        self.time = 100.0
        self.is_outside = True
        self.noted: list[tuple[str, dict[str, float], dict[str, Any]]] = []

    def now(self) -> float:
        return self.time

    def may_wait(self) -> bool:
        return self.is_outside

    def refuse_ring(self, life: Endpoint) -> None:
        raise AssertionError

    def wait_answered(self, life: Endpoint, future: Future[Any], timeout: float | None) -> Any:
        return future.result(timeout)

    def note(self, event: str, measurements: dict[str, float], metadata: dict[str, Any]) -> None:
        self.noted.append((event, measurements, metadata))


def make(mailbox: Mailbox | None = None, parent: Endpoint | None = None) -> tuple[Endpoint, FakeHost]:
    host = FakeHost()
    return Endpoint(host, "a", mailbox=AskableMailbox() if mailbox is None else mailbox, parent=parent), host


def end(endpoint: Endpoint, reason: Reason) -> End | None:
    ended = endpoint.claim_end(reason)
    if ended is not None:
        endpoint.tell_end(ended)
    return ended


def test_the_first_end_counts_and_those_who_watch_are_told_in_the_order_they_came() -> None:
    endpoint, _ = make()
    told: list[tuple[str, Reason]] = []
    for name in "cab":
        endpoint.watch(lambda reason, name=name: told.append((name, reason)))  # type: ignore[misc]
    assert end(endpoint, Normal()) is not None
    assert end(endpoint, Killed()) is None
    assert told == [("c", Normal()), ("a", Normal()), ("b", Normal())]
    assert endpoint.reason == Normal()


def test_a_watch_after_the_end_is_answered_at_once_and_cannot_be_taken_back() -> None:
    endpoint, _ = make()
    end(endpoint, Normal())
    told: list[Reason] = []
    assert endpoint.watch(told.append)() is False
    assert told == [Normal()]


def test_a_watch_between_the_end_and_its_telling_is_answered_once() -> None:
    endpoint, _ = make()
    told: list[Reason] = []
    ended = endpoint.claim_end(Normal())
    assert ended is not None
    endpoint.watch(told.append)
    endpoint.tell_end(ended)
    assert told == [Normal()]


def test_a_watch_that_was_taken_back_is_not_called_and_takes_nothing_back_twice() -> None:
    endpoint, _ = make()
    told: list[Reason] = []
    unwatch, kept = endpoint.watch(told.append), endpoint.watch(told.append)
    assert (unwatch(), unwatch()) == (True, False)
    end(endpoint, Normal())
    assert kept() is False
    assert told == [Normal()]


def test_one_that_raises_when_it_is_told_keeps_no_other_from_being_told(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Reason) -> None:
        raise SystemExit(1)

    endpoint, _ = make()
    told: list[Reason] = []
    endpoint.watch(fail)
    endpoint.watch(told.append)
    end(endpoint, Normal())
    assert told == [Normal()]
    assert "what watched actor a raised" in caplog.text


def test_one_that_is_told_may_watch_and_put_and_take_back() -> None:
    endpoint, _ = make()
    told: list[object] = []

    def act(reason: Reason) -> None:
        told.append(endpoint.put_control("late"))
        endpoint.watch(told.append)
        told.append(unwatch())

    endpoint.watch(act)
    unwatch = endpoint.watch(told.append)
    end(endpoint, Normal())
    assert told == [False, Normal(), False, Normal()]


def test_nothing_is_taken_in_after_the_end() -> None:
    endpoint, _ = make()
    ask = Ask("x", FutureAnswer("a", endpoint.watch))
    end(endpoint, Normal())
    assert not endpoint.put_control("late")
    assert not endpoint.put_ask(ask, None)
    with pytest.raises(MailboxClosedError):
        endpoint.put_data("late", None)


def test_what_a_mailbox_of_its_own_holds_at_the_end_is_undelivered() -> None:
    endpoint, host = make()
    mailbox = endpoint.mailbox
    assert isinstance(mailbox, AskableMailbox)
    wanted, cancelled = (FutureAnswer("a", endpoint.watch) for _ in range(2))
    mailbox.put("told")
    mailbox.put(Ask("asked", wanted))
    mailbox.put(Ask("cancelled", cancelled))
    mailbox.put_pill(PoisonPill("x"))
    mailbox.put_control("control")
    cancelled.future.cancel()
    host.time = 102.5
    end(endpoint, Shutdown("x"))
    assert host.noted == [
        ("actor.undelivered", {"count": 2}, {"path": "a", "messages": ("told", "asked")}),
        ("actor.ended", {"seconds": 2.5}, {"path": "a", "reason": Shutdown("x")}),
    ]
    assert mailbox.close() == ([], [])
    assert wanted.future.done()


def test_of_a_mailbox_that_was_handed_in_the_data_stays_and_the_control_goes() -> None:
    mailbox = Mailbox()
    endpoint, host = make(mailbox)
    mailbox.put("data")
    endpoint.put_control("control")
    end(endpoint, Normal())
    assert [event for event, _, _ in host.noted] == ["actor.ended"]
    mailbox.put("more")
    assert mailbox.close() == ([], ["data", "more"])


def test_an_ask_goes_in_order_with_the_data_unless_that_is_its_givers() -> None:
    for given, lanes in ((AskableMailbox(), (0, 1)), (Mailbox(), (1, 0))):
        endpoint, _ = make(given)
        assert endpoint.put_ask(Ask("x", FutureAnswer("a", endpoint.watch)), None)
        control, data = given.close()
        assert (len(control), len(data)) == lanes


def test_actors_never_wait_for_room_and_others_as_long_as_they_say() -> None:
    endpoint, host = make(AskableMailbox(1, overflow="wait"))
    endpoint.put_data("fills it", None)
    with pytest.raises(MailboxFullError):
        endpoint.put_data("x", 0.001)
    host.is_outside = False
    with pytest.raises(MailboxFullError):
        endpoint.put_data("x", None)


def test_nobody_is_refused_to_wait_for_an_actor_that_has_ended() -> None:
    endpoint, _ = make()
    end(endpoint, Normal())
    endpoint.refuse_ring()


def test_only_a_root_that_ended_badly_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    parent, _ = make()
    bad = Raised(ErrorRecord("ValueError", "bad", "its traceback"))
    end(make(parent=parent)[0], bad)
    end(make()[0], Shutdown("x"))
    assert caplog.text == ""
    end(make()[0], bad)
    assert "actor a raised ValueError: bad\nits traceback" in caplog.text


def test_of_many_that_end_it_at_once_one_does_and_each_watcher_is_told_once() -> None:
    for _ in range(50):
        endpoint, _ = make()
        told: list[Reason] = []
        endpoint.watch(told.append)
        start, ends = threading.Barrier(3), list[End | None]()

        def claim(
            endpoint: Endpoint = endpoint, start: threading.Barrier = start, ends: list[End | None] = ends
        ) -> None:
            start.wait(WAIT)
            ends.append(end(endpoint, Killed()))

        threads = [threading.Thread(target=claim) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert ends.count(None) == 2
        assert told == [Killed()]
