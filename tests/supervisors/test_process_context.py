"""What a behaviour may do from a process of its own, and what is told of it; without any process."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from supervisors.errors import ActorEndedError, DeadlockError, NotInProcessError, ValueEncodingError
from supervisors.process_context import ProcessContext
from supervisors.reasons import Killed, Normal, Shutdown
from supervisors.wire.requests import NOTHING, Outcome, decode_outcome
from supervisors.wire.values import decode, encode


class Clock:
    def __init__(self) -> None:
        self.reading = 100.0

    def now(self) -> float:
        return self.reading


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ctx(clock: Clock) -> ProcessContext:
    return ProcessContext("child", "parent/child", 7, clock.now)


REFUSED: dict[str, Callable[[Any], object]] = {
    "start": lambda ctx: ctx.start(object, "child"),
    "monitor": lambda ctx: ctx.monitor(ctx.ref),
    "demonitor": lambda ctx: ctx.demonitor(None),
    "link": lambda ctx: ctx.link(ctx.ref),
    "unlink": lambda ctx: ctx.unlink(ctx.ref),
    "abandon": lambda ctx: ctx.abandon(ctx.ref),
    "open_place": lambda ctx: ctx.open_place(None, "place", b""),
    "parker": lambda ctx: ctx.parker,
    "kill": lambda ctx: ctx.ref.kill(),
    "watch": lambda ctx: ctx.ref.watch(print),
    "tell from a thread": lambda ctx: in_thread(lambda: ctx.ref.tell(1)),
    "signal from a thread": lambda ctx: in_thread(lambda: ctx.ref.signal(1)),
    "reply from a thread": lambda ctx: in_thread(functools.partial(ctx.defer().set_reply, 1)),
}


@pytest.mark.parametrize("act", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_refused_with_what_to_do_instead(
    ctx: ProcessContext, act: Callable[[ProcessContext], Any]
) -> None:
    ctx.begin_ask(1)
    with pytest.raises(NotInProcessError) as refused:
        act(ctx)
    assert refused.value.what
    assert refused.value.instead
    again = decode(encode(refused.value))
    assert str(again) == str(refused.value)
    assert ctx.take_outcome() == NOTHING


def in_thread(act: Callable[[], object]) -> None:
    found: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    raise found[0]


def test_an_ask_of_itself_would_wait_for_itself(ctx: ProcessContext) -> None:
    with pytest.raises(DeadlockError, match="parent/child -> parent/child"):
        ctx.ref.ask("anything")


def test_its_address_does_not_travel(ctx: ProcessContext) -> None:
    ctx.begin_ask(1)
    ctx.reply({"ref": ctx.ref})
    ((ask, record, error),) = ctx.take_outcome().failures
    assert ask == 1
    assert "reply['ref']" in record.text
    assert "has its address" in record.text
    assert error is not None
    assert isinstance(decode(error), ValueEncodingError)


def test_what_others_may_wait_for_goes_out_at_once_and_timers_with_the_end_of_the_call(ctx: ProcessContext) -> None:
    sent: list[Outcome] = []
    ctx.send = lambda body: sent.append(decode_outcome(body))
    ctx.set_timer(5.0, "timer")
    assert sent == []
    ctx.begin_ask(3)
    ctx.reply("reply")
    ctx.acknowledge("info")
    ctx.note("event", {"count": 1}, {"plain": [1], "odd": print})
    assert [len(outcome.replies) for outcome in sent] == [1, 0, 0]
    assert sent[0].timers == [(1, 5.0)]
    assert sent[1].acknowledged == encode("info")
    assert sent[2].notes == [("event", {"count": 1.0}, {"plain": [1], "odd": "<built-in function print>"})]
    assert ctx.take_outcome() == NOTHING


def test_the_wait_of_a_timer_is_told_from_the_end_of_the_call(ctx: ProcessContext, clock: Clock) -> None:
    ctx.set_timer(5.0, "late")
    ctx.set_timer(1.0, "due")
    clock.reading += 2.0
    assert ctx.take_outcome().timers == [(1, 3.0), (2, 0.0)]


def test_a_timer_is_taken_back_in_the_parent_only_if_it_was_told_of(ctx: ProcessContext) -> None:
    ctx.set_timer(1.0, "untold").cancel()
    told = ctx.set_timer(1.0, "told")
    assert ctx.take_outcome().timers == [(2, 1.0)]
    told.cancel()
    told.cancel()
    assert ctx.take_outcome() == Outcome(cancelled=[2])
    assert ctx.take_timer(2) is None
    fired = ctx.set_timer(1.0, "fired")
    assert ctx.take_timer(fired.number) is fired
    fired.cancel()
    assert ctx.take_outcome() == Outcome(timers=[(3, 1.0)])


def test_an_ask_is_answered_once(ctx: ProcessContext) -> None:
    ctx.begin_ask(1)
    answer = ctx.defer()
    assert answer is not None
    assert ctx.defer() is None
    ctx.reply("nobody asks any more")
    ctx.fail_present_ask(ValueError("as little"))
    answer.set_dead(Killed(5))
    answer.set_reply("too late")
    outcome = ctx.take_outcome()
    assert outcome.replies == []
    ((ask, _, error),) = outcome.failures
    assert ask == 1
    assert error is not None
    dead = decode(error)
    assert isinstance(dead, ActorEndedError)
    assert dead.reason == Killed(5)


def test_the_first_end_counts_and_must_be_a_reason(ctx: ProcessContext) -> None:
    with pytest.raises(TypeError, match=r"expected one of supervisors\.reasons, got 'tired'"):
        ctx.stop("tired")  # type: ignore[arg-type]
    ctx.stop(Shutdown("first"))
    ctx.stop(Normal())
    assert ctx.ending == Shutdown("first")


def test_the_first_acknowledgement_counts_and_one_that_does_not_travel_is_none(ctx: ProcessContext) -> None:
    with pytest.raises(ValueEncodingError):
        ctx.acknowledge(threading.Lock())
    assert not ctx.is_acknowledged
    ctx.acknowledge(1)
    ctx.acknowledge(2)
    assert ctx.take_outcome() == Outcome(acknowledged=encode(1))
