from __future__ import annotations

import threading

import pytest

from supervisors.actor import PykkaRef
from supervisors.asking import AskableMailbox
from supervisors.behavior import Behavior, Context
from supervisors.errors import MailboxFullError
from supervisors.mailbox import MailboxStats, Overflow
from supervisors.messages import Kill
from supervisors.reasons import Abandoned, Killed, Raised, Reason
from supervisors.ref import LifeRef
from supervisors.testing import ScheduleError, StepHost
from tests.supervisors.recorder import END, WAIT, Recorder, World, do, hold, raiser


def test_a_ref_knows_its_actors_names_and_says_them(world: World) -> None:
    ref = world.start(Recorder(), "parent")
    child = do(ref, lambda ctx: ctx.start(Recorder(), "child"))
    assert (child.name, child.path) == ("child", "parent/child")
    assert repr(child) == f"<{type(child).__name__} parent/child>"
    assert do(child, lambda ctx: ctx.ref) is child


def test_a_ref_outlives_its_actor_and_takes_nothing_after_the_end(world: World) -> None:
    ref = world.start(Recorder())
    assert ref.is_alive
    assert ref.reason is None
    ref.signal(END)
    assert ref.wait_ended(WAIT) == END.reason
    assert not ref.is_alive
    assert ref.reason == END.reason
    assert not ref.tell("late")
    assert not ref.signal("late")
    ref.kill()
    assert ref.reason == END.reason


def test_a_ref_tells_the_process_of_an_actor_that_has_one(world: World) -> None:
    class Backed(Behavior):
        pid = 4711

    assert world.start(Backed(), "backed").pid == 4711
    assert world.start(Recorder(), "plain").pid is None


# -- wait_ended


def test_who_waits_for_the_end_is_given_the_reason_each_time(world: World) -> None:
    ref = world.start(Recorder())
    ref.tell(raiser(ValueError("bad")))
    reasons = [ref.wait_ended(WAIT), ref.wait_ended(), ref.wait_ended(0.0)]
    assert isinstance(reasons[0], Raised)
    assert reasons == [ref.reason] * 3


def test_who_waits_no_longer_is_given_none_and_is_forgotten(world: World) -> None:
    ref = world.start(Recorder())
    do(ref, lambda ctx: ctx.set_timer(1_000.0, "later"))
    before = len(ref.life._watchers)  # type: ignore[attr-defined]
    for timeout in (0.0, 0.001, -1.0):
        assert ref.wait_ended(timeout) is None
    assert len(ref.life._watchers) == before  # type: ignore[attr-defined]


def test_several_wait_for_one_end_and_are_woken_together(threads: World) -> None:
    ref, reasons = threads.start(Recorder()), list[Reason | None]()
    waiters = [threading.Thread(target=lambda: reasons.append(ref.wait_ended(WAIT))) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    ref.signal(END)
    for waiter in waiters:
        waiter.join(WAIT)
    assert reasons == [END.reason] * 3


def test_an_actor_that_was_given_up_has_ended_although_its_thread_goes_on(threads: World) -> None:
    parent, killed = threads.start(Recorder(), "parent"), threads.start(Recorder(), "killed")
    abandoned = do(parent, lambda ctx: ctx.start(Recorder(), "abandoned"))
    releases = [hold(killed), hold(abandoned)]
    killed.kill()
    do(parent, lambda ctx: ctx.abandon(abandoned))
    assert killed.wait_ended(WAIT) == Killed()
    assert isinstance(abandoned.wait_ended(WAIT), Abandoned)
    assert isinstance(killed, PykkaRef)
    assert not killed.wait_terminated(0.0)
    for release in releases:
        release.set()


def test_an_actor_that_waits_for_the_end_of_one_that_asks_it_deadlocks_for_neither(threads: World) -> None:
    waiter, other = threads.start(Recorder(), "waiter"), threads.start(Recorder(), "other")
    release = hold(other)
    waiter.tell(lambda _: other.wait_ended())
    other.tell(lambda _: waiter.ask("and you?"))
    release.set()
    # Whoever comes second is refused, and lets the first go.
    reason = other.wait_ended(WAIT)
    waiter.signal(END)
    assert "DeadlockError" in f"{reason} {waiter.wait_ended(WAIT)}"


def test_on_the_seeded_host_an_end_that_cannot_come_is_told() -> None:
    host = StepHost(1)
    ref = host.start(Recorder(), "a")
    with pytest.raises(ScheduleError, match="nothing can wake it"):
        ref.wait_ended()


# -- the mailbox, from outside


def test_the_statistics_of_a_mailbox_are_told(threads: World) -> None:
    ref = threads.start(Recorder(), mailbox=AskableMailbox(2, overflow="drop_oldest"))
    release = hold(ref)
    for number in range(5):
        ref.tell(number)
    assert ref.mailbox_stats == MailboxStats(2, 2, received=6, dropped=3, rejected=0, peak=2)
    release.set()


@pytest.mark.parametrize(
    ("overflow", "got"),
    [("reject", [0, 1]), ("wait", [0, 1]), ("drop_oldest", [2, 3]), ("drop_newest", [0, 1])],
)
def test_a_message_over_the_bound_meets_the_policy(world: World, overflow: Overflow, got: list[int]) -> None:
    behavior = Recorder()
    ref = world.start(behavior, mailbox=AskableMailbox(2, overflow=overflow))
    ref.suspend()
    ref.get_state(WAIT)
    refused = 0
    for number in range(4):
        try:
            ref.tell(number, 0.0)
        except MailboxFullError:
            refused += 1
    ref.resume()
    if world.is_threaded:
        behavior.wait_for(2)
    world.settle()
    assert behavior.got == got
    assert refused == (2 if overflow in {"reject", "wait"} else 0)


def test_a_teller_from_outside_waits_for_room_and_an_actor_does_not(threads: World) -> None:
    behavior = Recorder()
    ref = threads.start(behavior, "full", mailbox=AskableMailbox(1, overflow="wait"))
    release = hold(ref)
    ref.tell("first")
    outside = threading.Thread(target=ref.tell, args=("second",))
    outside.start()
    actor = threads.start(Recorder(), "actor")
    with pytest.raises(MailboxFullError):
        do(actor, lambda _: ref.tell("third"))
    release.set()
    outside.join(WAIT)
    assert behavior.wait_for(2) == ["first", "second"]


def test_kill_is_handed_to_a_behaviour_that_runs_something_elsewhere(world: World) -> None:
    behavior = Recorder(handles_kill=True)
    ref = world.start(behavior)
    world.settle(ref)
    ref.kill()
    world.settle(ref)
    assert behavior.got == [Kill()]
    assert ref.reason is None


def test_timers_go_by_the_clock_of_the_host(world: World) -> None:
    behavior, told = Recorder(), list[float]()
    ref = world.start(behavior)

    def note_time(ctx: Context) -> None:
        told.append(ctx.now())
        ctx.ref.tell("fired")

    do(ref, lambda ctx: [ctx.set_timer(30.0, note_time), ctx.set_timer(20.0, "cancelled").cancel()])
    assert behavior.got == []
    world.advance(30.0)
    assert isinstance(ref, LifeRef)
    if world.is_threaded:
        behavior.wait_for(1)
    else:
        world.settle()
    assert behavior.got == ["fired"]
    assert told == [30.0]
