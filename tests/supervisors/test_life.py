from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from supervisors.actor import PykkaHost
from supervisors.asking import AskableMailbox
from supervisors.behavior import Answer, Behavior, Context
from supervisors.errors import ActorEndedError
from supervisors.life import Life
from supervisors.mailbox import Mailbox
from supervisors.messages import Down, HandedOver, Kill, Started, Suspend, Terminate
from supervisors.parking import Poller
from supervisors.reasons import Abandoned, Killed, Normal, Raised, Reason, Shutdown, StartFailed
from supervisors.ref import LifeRef
from supervisors.telemetry import EVENTS, Telemetry
from supervisors.testing import StepHost
from tests.supervisors.recorder import END, WAIT, Recorder, World, do, hold, open_world, raiser

# -- suspend, resume, get_state


def suspended(world: World, behavior: Behavior, **options: Any) -> LifeRef:
    ref = world.start(behavior, **options)
    world.settle(ref)
    ref.suspend()
    ref.get_state(WAIT)  # answered after it, as both go by the control lane
    assert ref.is_suspended
    return ref


def test_a_suspended_actor_takes_no_data_until_it_is_resumed(world: World) -> None:
    behavior = Recorder()
    ref = suspended(world, behavior)
    for number in range(3):
        ref.tell(number)
    assert ref.get_state(WAIT) == []
    assert ref.resume()
    world.settle(ref)
    assert behavior.got == [0, 1, 2]
    assert not ref.is_suspended


def test_control_is_held_and_replayed_in_order_ahead_of_what_came_later(world: World) -> None:
    behavior = Recorder()
    ref = suspended(world, behavior)
    for message in ("a", "b", "c"):
        ref.signal(message)
    assert ref.get_state(WAIT) == []
    ref.tell("data")
    ref.resume()
    ref.signal("d")
    world.settle(ref)
    assert behavior.got == ["a", "b", "c", "d", "data"]


def test_a_second_suspension_holds_what_came_after_the_first(world: World) -> None:
    behavior = Recorder()
    ref = suspended(world, behavior)
    for send in (lambda: ref.signal("a"), ref.resume, ref.suspend, lambda: ref.signal("b")):
        send()
    assert ref.get_state(WAIT) == ["a"]
    ref.resume()
    world.settle(ref)
    assert behavior.got == ["a", "b"]


def test_suspending_twice_is_undone_by_one_resume_and_a_resume_too_many_is_nothing(world: World) -> None:
    behavior = Recorder()
    ref = suspended(world, behavior)
    ref.suspend()
    ref.resume()
    ref.resume()
    ref.tell("data")
    world.settle(ref)
    assert behavior.got == ["data"]


def test_timers_are_held_and_fire_in_order_once_it_is_resumed(world: World) -> None:
    behavior = Recorder()
    ref = world.start(behavior)
    do(ref, lambda ctx: [ctx.set_timer(2.0, "second"), ctx.set_timer(1.0, "first"), ctx.set_timer(50.0, "far")])
    ref.suspend()
    world.advance(10.0)
    assert ref.get_state(WAIT) == []
    ref.signal("control")
    ref.resume()
    if world.is_threaded:
        world.settle(ref)
    else:
        assert isinstance(world.host, StepHost)
        world.host.run_until(lambda: len(behavior.got) == 3)
    assert behavior.got == ["control", "first", "second"]


def test_time_passes_for_others_while_one_with_timers_is_suspended() -> None:
    host, other = StepHost(3), Recorder()
    behavior = Recorder()
    ref = host.start(behavior, "suspended")
    ref.ask(lambda ctx: ctx.set_timer(1.0, "held"))
    ref.suspend()
    host.start(other, "other").tell(lambda ctx: ctx.set_timer(5.0, "mine"))
    host.run()
    assert other.got == ["mine"]
    assert behavior.got == []


def test_terminate_overtakes_what_is_held_and_resumes(world: World) -> None:
    behavior = Recorder(handles_terminate=True)
    ref = suspended(world, behavior)
    ref.signal("held")
    ref.tell("data")
    ref.signal(END)
    world.settle(ref)
    assert behavior.got == [END, "held", "data"]
    do(ref, lambda ctx: ctx.stop(Normal()))
    assert ref.wait_ended(WAIT) == Normal()


def test_a_suspended_actor_that_is_asked_to_end_does(world: World) -> None:
    behavior = Recorder()
    ref = suspended(world, behavior)
    ref.signal("held")
    ref.signal(END)
    assert ref.wait_ended(WAIT) == END.reason
    assert behavior.got == []


def test_kill_overtakes_what_is_held_where_it_is_handed_over(world: World) -> None:
    behavior = Recorder(handles_kill=True)
    ref = suspended(world, behavior)
    ref.signal("held")
    ref.kill()
    world.settle(ref)
    assert behavior.got == [Kill(), "held"]


def test_notices_of_children_wait_until_their_parent_is_resumed(world: World) -> None:
    parent = Recorder()
    ref = world.start(parent)
    child = do(ref, lambda ctx: ctx.start(Recorder(), "child"))
    ref.suspend()
    child.signal(END)
    assert child.wait_ended(WAIT) == END.reason
    assert ref.get_state(WAIT) == []
    ref.resume()
    world.settle(ref)
    assert parent.got == [Down(child, END.reason)]


def test_a_monitor_taken_back_after_resume_flushes_a_notice_that_was_held(world: World) -> None:
    watcher, target = Recorder(), world.start(Recorder(), "target")
    ref = world.start(watcher, "watcher")
    monitor = do(ref, lambda ctx: ctx.monitor(target))
    ref.suspend()
    ref.signal(lambda ctx: ctx.demonitor(monitor))
    target.kill()
    assert ref.get_state(WAIT) == []
    ref.resume()
    world.settle(ref)
    assert watcher.got == []


def test_what_a_suspended_actors_poller_watches_is_served() -> None:
    class Watcher(Recorder):
        uses_poller = True

        def __init__(self) -> None:
            super().__init__()
            self.ends = socket.socketpair()
            self.called = threading.Event()

        def on_start(self, ctx: Context) -> None:
            assert isinstance(ctx.parker, Poller)
            ctx.parker.watch(self.ends[0].fileno(), selectors.EVENT_READ, self._on_readable)

        def _on_readable(self, _: int) -> None:
            self.ends[0].recv(1)
            self.called.set()

        def on_stop(self, reason: Reason, ctx: Context) -> None:
            for end in self.ends:
                end.close()

    watcher = Watcher()
    with open_world("threads") as world:
        ref = suspended(world, watcher)
        ref.tell("data")
        watcher.ends[1].send(b"x")
        assert watcher.called.wait(WAIT)
        assert ref.get_state(WAIT) == []


def test_a_dead_actor_is_neither_suspended_nor_resumed(world: World) -> None:
    ref = world.start(Recorder())
    ref.signal(END)
    assert ref.wait_ended(WAIT) is not None
    assert not ref.suspend()
    assert not ref.resume()


def test_the_state_of_a_plain_behaviour_is_a_copy_of_its_attributes(world: World) -> None:
    class Plain(Behavior):
        def __init__(self) -> None:
            self.count = 3

    behavior = Plain()
    state = world.start(behavior).get_state(WAIT)
    assert state == {"count": 3}
    assert state is not vars(behavior)


def test_a_behaviour_that_cannot_tell_its_state_goes_on(world: World) -> None:
    class Secret(Recorder):
        def get_state(self) -> Any:
            raise PermissionError("mine")

    ref = world.start(Secret())
    with pytest.raises(PermissionError, match="mine"):
        ref.get_state(WAIT)
    assert do(ref, lambda _: "alive") == "alive"


def test_the_state_may_be_reported_later_and_is_dead_with_the_actor(world: World) -> None:
    class Elsewhere(Recorder):
        is_asked = threading.Event()

        def report_state(self, answer: Answer) -> None:
            self.answer = answer
            self.is_asked.set()

    behavior = Elsewhere()
    ref = world.start(behavior)
    with pytest.raises(TimeoutError):
        ref.get_state(0.01)
    assert behavior.is_asked.wait(WAIT)
    behavior.answer.set_reply("late")
    ref.kill()
    assert ref.wait_ended(WAIT) == Killed()


def test_kill_is_an_ordinary_message_to_a_behaviour_that_does_not_handle_it(world: World) -> None:
    behavior = Recorder()
    ref = suspended(world, behavior)
    ref.signal(Kill())
    assert ref.get_state(WAIT) == []
    ref.resume()
    world.settle(ref)
    assert behavior.got == [Kill()]


# -- the start


def test_a_maker_is_called_on_the_actors_own_thread(threads: World) -> None:
    def make() -> Behavior:
        made.append(threading.current_thread().name)
        return Recorder()

    made: list[str] = []
    ref = threads.start(make)
    threads.settle(ref)
    assert made == ["actor"]


def test_a_class_is_a_maker(world: World) -> None:
    assert do(world.start(Recorder), lambda _: "made") == "made"


def started_below(world: World, child: Any, parent: Recorder) -> tuple[LifeRef, LifeRef]:
    ref = world.start(parent, "parent")
    return ref, do(ref, lambda ctx: ctx.start(child, "child", wants_started=True))


def test_a_child_that_is_ready_when_on_start_returns_is_told_once(world: World) -> None:
    parent = Recorder()
    ref, child = started_below(world, Recorder, parent)
    do(child, lambda ctx: ctx.acknowledge("again"))
    world.settle(ref)
    assert parent.got == [Started(child, None)]


def test_one_that_acknowledges_is_ready_when_it_says_so(world: World) -> None:
    parent = Recorder()
    ref, child = started_below(world, Recorder(acknowledges=True), parent)
    world.settle(child)
    world.settle(ref)
    assert parent.got == []
    do(child, lambda ctx: [ctx.acknowledge({"port": 80}), ctx.acknowledge("again")])
    world.settle(ref)
    assert parent.got == [Started(child, {"port": 80})]


def test_what_a_maker_gives_that_is_no_behaviour_is_handed_over_before_the_child_ends(world: World) -> None:
    parent = Recorder()
    ref, child = started_below(world, lambda: [1, 2], parent)
    assert child.wait_ended(WAIT) == Normal()
    world.settle(ref)
    [started, down] = parent.got
    assert isinstance(started, Started)
    assert isinstance(started.info, HandedOver)
    assert (started.ref, started.info.result) == (child, [1, 2])
    assert down == Down(child, Normal())


@pytest.mark.parametrize("where", ["maker", "on_start", "before it acknowledges"])
def test_a_child_that_fails_before_it_is_ready_could_not_start(world: World, where: str) -> None:
    class Fails(Recorder):
        def on_start(self, ctx: Context) -> None:
            raise ValueError("no")

    def make() -> Behavior:
        raise ValueError("no")

    parent = Recorder()
    made = {"maker": make, "on_start": Fails()}.get(where, Recorder(acknowledges=True))
    ref, child = started_below(world, made, parent)
    child.tell(raiser(ValueError("no")))
    reason = child.wait_ended(WAIT)
    assert isinstance(reason, StartFailed)
    assert reason.error.text == "no"
    world.settle(ref)
    assert parent.got == [Down(child, reason)]


def test_a_failure_after_the_acknowledgement_is_none_of_the_start(world: World) -> None:
    ref = world.start(Recorder(acknowledges=True))
    do(ref, lambda ctx: ctx.acknowledge())
    ref.tell(raiser(ValueError()))
    assert isinstance(ref.wait_ended(WAIT), Raised)


def test_what_makes_a_poller_must_say_so(threads: World) -> None:
    class Polls(Behavior):
        uses_poller = True

    silent = threads.start(lambda: Polls(), "silent")  # noqa: PLW0108  the class would say so
    reason = silent.wait_ended(WAIT)
    assert isinstance(reason, StartFailed)
    assert "uses a poller" in reason.error.text
    loud = threads.start(Polls, "loud")
    loud.signal(END)
    assert loud.wait_ended(WAIT) == END.reason


def test_one_that_was_given_up_before_it_was_ready_is_not_told_as_ready_afterwards(threads: World) -> None:
    inside, release = threading.Event(), threading.Event()

    class Slow(Recorder):
        def on_start(self, ctx: Context) -> None:
            inside.set()
            assert release.wait(WAIT)
            ctx.acknowledge("late")

    parent = Recorder()
    ref, child = started_below(threads, Slow, parent)
    assert inside.wait(WAIT)
    do(ref, lambda ctx: ctx.abandon(child))
    release.set()
    wait_finished(child)
    threads.settle(ref)
    assert [type(message) for message in parent.got] == [Down]


def test_one_that_was_given_up_while_it_was_made_is_not_started(threads: World) -> None:
    inside, release = threading.Event(), threading.Event()
    behavior = Recorder()

    def make() -> Behavior:
        inside.set()
        assert release.wait(WAIT)
        return behavior

    ref = threads.start(make)
    assert inside.wait(WAIT)
    ref.kill()
    release.set()
    wait_finished(ref)
    assert behavior.ended == []


def test_a_started_that_comes_after_the_down_is_dropped(world: World) -> None:
    parent = Recorder()
    ref, child = started_below(world, Recorder, parent)
    child.signal(END)
    assert child.wait_ended(WAIT) == END.reason
    ref.signal(Started(child, "late"))
    world.settle(ref)
    assert parent.got == [Started(child, None), Down(child, END.reason)]


# -- kill, abandon, give up


def test_a_killed_actor_is_over_at_once_and_takes_nothing_more(world: World) -> None:
    behavior, told = Recorder(), list[Reason]()
    ref = world.start(behavior)
    world.settle(ref)
    ref.watch(told.append)
    ref.kill()
    ref.kill()
    assert ref.reason == Killed()
    assert told == [Killed()]
    assert not ref.tell("late")
    assert not ref.signal("late")
    wait_finished(ref, world)
    assert behavior.ended == [Killed()]
    assert behavior.got == []


def test_an_actor_may_be_killed_before_its_first_call_and_by_itself(world: World) -> None:
    behavior = Recorder()
    ref = world.start(behavior, "early")
    ref.kill()
    assert ref.reason == Killed()
    other = world.start(Recorder(), "other")
    other.tell(lambda ctx: [ctx.ref.kill(), ctx.stop(Normal())])
    assert other.wait_ended(WAIT) == Killed()


def test_the_children_of_a_killed_actor_end_although_its_call_goes_on(threads: World) -> None:
    parent = threads.start(Recorder(), "parent")
    child = do(parent, lambda ctx: ctx.start(Recorder(), "child"))
    release = hold(parent)
    parent.kill()
    assert child.wait_ended(WAIT) == Shutdown("parent ended")
    assert not life_of(parent).is_finished
    release.set()


def test_a_child_that_an_actor_starts_after_it_was_given_up_is_asked_to_end(threads: World) -> None:
    started: list[Any] = []
    parent = threads.start(Recorder(), "parent")
    inside, release = threading.Event(), threading.Event()

    def kill_and_start(ctx: Context) -> None:
        ctx.ref.kill()
        started.append(ctx.start(Recorder(), "child"))
        inside.set()
        assert release.wait(WAIT)

    parent.tell(kill_and_start)
    assert inside.wait(WAIT)
    assert started[0].wait_ended(WAIT) == Shutdown("parent ended")
    release.set()


@pytest.mark.parametrize("make", [AskableMailbox, Mailbox])
@pytest.mark.parametrize("way", ["kill", "abandon", "end"])
def test_senders_that_wait_for_room_are_let_go_when_their_actor_ends(
    threads: World, way: str, make: type[Mailbox]
) -> None:
    class Watched(make):  # type: ignore[valid-type, misc]
        """Tells when a sender waits for room."""

        is_waiting = threading.Event()

        def _put_in_turn(self, *args: Any, **options: Any) -> bool:
            is_in: bool = super()._put_in_turn(*args, **options)
            if not is_in:
                self.is_waiting.set()
            return is_in

    parent = threads.start(Recorder(), "parent")
    mailbox = Watched(1, overflow="wait")
    child = do(parent, lambda ctx: ctx.start(Recorder(), "child", mailbox=mailbox))
    release = hold(child)
    child.tell("fills it")
    results: list[bool] = []
    sender = threading.Thread(target=lambda: results.append(child.tell("waits")), daemon=True)
    sender.start()
    assert mailbox.is_waiting.wait(WAIT)
    match way:
        case "kill":
            child.kill()
        case "abandon":
            do(parent, lambda ctx: ctx.abandon(child))
        case _:
            child.signal(END)
            release.set()
    sender.join(WAIT)
    assert results == [False]
    release.set()


def test_a_successor_is_not_ended_by_what_was_meant_for_the_one_that_was_given_up(threads: World) -> None:
    mailbox, second = Mailbox(), Recorder()
    parent = threads.start(Recorder(), "parent")
    child = do(parent, lambda ctx: ctx.start(Recorder(), "child", mailbox=mailbox))
    release = hold(child)
    child.tell("data")
    child.signal(Suspend())
    asked = child.ask_future("asked")
    child.signal(Terminate(Shutdown("the first")))
    do(parent, lambda ctx: ctx.abandon(child))
    successor = do(parent, lambda ctx: ctx.start(second, "child", mailbox=mailbox))
    successor.tell("more")
    assert second.wait_for(2) == ["data", "more"]
    assert asked.exception(WAIT) is not None
    release.set()
    wait_finished(child)
    assert successor.reason is None


def test_what_is_put_into_the_control_lane_for_a_successor_is_not_dropped_by_the_late_end(threads: World) -> None:
    mailbox, second = Mailbox(), Recorder()
    first = threads.start(Recorder(), "first", mailbox=mailbox)
    release = hold(first)
    first.kill()
    successor = threads.start(second, "second", mailbox=mailbox)
    successor.suspend()
    release.set()
    wait_finished(first)
    successor.signal("for the second")
    successor.resume()
    assert second.wait_for(1) == ["for the second"]


def test_an_actor_is_finished_when_its_last_call_has_returned(threads: World) -> None:
    ref = threads.start(Recorder())
    release = hold(ref)
    ref.kill()
    assert not life_of(ref).is_finished
    release.set()
    wait_finished(ref)
    ended = threads.start(Recorder(), "ended")
    is_finished: list[bool] = []
    ended.watch(lambda _: is_finished.append(life_of(ended).is_finished))
    ended.signal(END)
    assert ended.wait_ended(WAIT) == END.reason
    assert is_finished == [True]


def test_only_a_child_that_runs_can_be_abandoned(world: World) -> None:
    ref, other = world.start(Recorder(), "parent"), world.start(Recorder(), "other")
    child = do(ref, lambda ctx: ctx.start(Recorder(), "child"))
    child.signal(END)
    assert child.wait_ended(WAIT) == END.reason
    assert do(ref, lambda ctx: ctx.abandon(child)) == ""
    assert do(ref, lambda ctx: ctx.abandon(other)) == ""
    assert (child.reason, other.reason) == (END.reason, None)


def test_a_kill_that_races_with_the_end_leaves_one_reason_and_one_notice() -> None:
    for seed in range(300):
        host, parent, told = StepHost(seed), Recorder(), list[Reason]()
        above = host.start(parent, "parent")
        child = do(above, lambda ctx: ctx.start(Recorder(), "child"))
        child.watch(told.append)
        child.signal(END)
        for _ in range(host.random.randrange(4)):
            host.step()
        child.kill()
        for _ in range(host.random.randrange(4)):
            host.step()
        above.tell(lambda ctx, child=child: ctx.abandon(child))
        host.run()
        [down] = parent.got
        assert down == Down(child, told[0]), f"seed {seed}"
        assert len(told) == 1, f"seed {seed}"


# -- the end, and who is told


def test_watchers_that_come_while_an_actor_ends_are_each_told_once(threads: World) -> None:
    for number in range(30):
        ref = threads.start(Recorder(), f"a{number}")
        told: list[Reason] = []
        start = threading.Barrier(4)

        def watch(ref: LifeRef = ref, told: list[Reason] = told, start: threading.Barrier = start) -> None:
            start.wait(WAIT)
            for _ in range(50):
                ref.watch(told.append)

        watchers = [threading.Thread(target=watch) for _ in range(3)]
        for watcher in watchers:
            watcher.start()
        start.wait(WAIT)
        ref.signal(END)
        for watcher in watchers:
            watcher.join(WAIT)
        assert ref.wait_ended(WAIT) == END.reason
        wait_finished(ref)
        assert told == [END.reason] * 150


def test_a_watch_taken_back_tells_whether_it_never_was_and_never_will_be_called(threads: World) -> None:
    for number in range(100):
        ref, told = threads.start(Recorder(), f"a{number}"), list[Reason]()
        unwatches = [ref.watch(told.append) for _ in range(20)]
        ref.signal(END)
        taken_back = sum(unwatch() for unwatch in unwatches)
        wait_finished(ref)
        assert not any(unwatch() for unwatch in unwatches)
        assert len(told) == 20 - taken_back


def test_an_exception_on_stop_keeps_nobody_from_being_told(world: World) -> None:
    class Bad(Recorder):
        def on_stop(self, reason: Reason, ctx: Context) -> None:
            raise SystemExit(1)

    parent = Recorder()
    ref, child = started_below(world, Bad, parent)
    child.signal(END)
    assert child.wait_ended(WAIT) == END.reason
    world.settle(ref)
    assert parent.got[-1] == Down(child, END.reason)


def test_what_an_actor_does_on_its_last_call_still_has_effect(world: World) -> None:
    class Leaves(Recorder):
        def on_stop(self, reason: Reason, ctx: Context) -> None:
            self.child = ctx.start(Recorder(), "child")
            ctx.set_timer(0.0, "never")
            ctx.monitor(self.child)

    behavior = Leaves()
    ref = world.start(behavior)
    ref.signal(END)
    assert ref.wait_ended(WAIT) == END.reason
    assert isinstance(behavior.child, LifeRef)
    assert behavior.child.wait_ended(WAIT) == Shutdown("actor ended")


# -- what telemetry is told


class Heard:
    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, float], dict[str, Any]]] = []

    def __call__(self, event: str, measurements: dict[str, float], metadata: dict[str, Any]) -> None:
        self.told.append((event, measurements, metadata))

    def of(self, path: str) -> list[tuple[str, dict[str, float], dict[str, Any]]]:
        return [each for each in self.told if each[2].get("path") == path]


def listening(host: Telemetry) -> Heard:
    heard = Heard()
    host.attach("test", EVENTS, heard)
    return heard


def test_the_start_and_the_end_of_an_actor_are_told_with_the_seconds_it_lived() -> None:
    telemetry = Telemetry()
    heard = listening(telemetry)
    with open_world("threads", telemetry) as world:
        ref = world.start(Recorder())
        world.settle(ref)
        world.clock.advance(4.0)
        ref.signal(END)
        assert ref.wait_ended(WAIT) == END.reason
    assert heard.told == [
        ("actor.started", {}, {"path": "actor", "pid": None}),
        ("actor.ended", {"seconds": 4.0}, {"path": "actor", "reason": END.reason}),
    ]


def test_an_actor_that_ended_before_it_was_ready_is_never_told_as_started() -> None:
    host = StepHost(0)
    host.start(Recorder(acknowledges=True), "a").tell(lambda ctx: [ctx.ref.kill(), ctx.acknowledge("late")])
    host.run()
    assert [event for event, _, _ in host.told] == ["actor.ended"]


def test_one_killed_before_its_first_call_has_lived_no_longer_than_that() -> None:
    host = StepHost(0)
    host.clock.advance(1_000.0)
    host.start(Recorder(), "a").kill()
    host.run()
    assert host.told == [("actor.ended", {"seconds": 0.0}, {"path": "a", "reason": Killed()})]


@pytest.mark.parametrize("end", ["asked", "killed"])
def test_messages_that_were_not_taken_are_told_as_they_were_sent(end: str) -> None:
    telemetry = Telemetry()
    heard = listening(telemetry)
    with open_world("threads", telemetry) as world:
        ref = world.start(Recorder())
        release = hold(ref)
        ref.tell("told")
        ref.ask_future("asked")
        ref.ask_future("cancelled").cancel()
        ref.actor_ref.stop(block=False)  # type: ignore[attr-defined]
        if end == "killed":
            ref.kill()
        else:
            ref.signal(END)
            release.set()
            assert ref.wait_ended(WAIT) == END.reason
        release.set()
    undelivered = [each for each in heard.told if each[0] == "actor.undelivered"]
    assert undelivered == [("actor.undelivered", {"count": 2}, {"path": "actor", "messages": ("told", "asked")})]


def test_an_actor_that_took_everything_has_nothing_undelivered_nor_has_a_mailbox_that_lives_on(world: World) -> None:
    for number, mailbox in enumerate([None, Mailbox()]):
        ref = world.start(Recorder(), f"a{number}", mailbox=mailbox)
        world.settle(ref)
        if mailbox is not None:
            ref.suspend()
            ref.tell("left for who comes next")
        ref.signal(END)
        assert ref.wait_ended(WAIT) == END.reason
    if isinstance(world.host, StepHost):
        assert "actor.undelivered" not in {event for event, _, _ in world.host.told}


def test_an_abandoned_child_is_told_with_its_stack() -> None:
    telemetry = Telemetry()
    heard = listening(telemetry)
    with open_world("threads", telemetry) as world:
        parent = world.start(Recorder(), "parent")
        child = do(parent, lambda ctx: ctx.start(Recorder(), "child"))
        release = hold(child)
        stack = do(parent, lambda ctx: ctx.abandon(child))
        release.set()
        wait_finished(child)
    assert "in wait" in stack
    events = {event: metadata for event, _, metadata in heard.of("parent/child")}
    assert list(events) == ["actor.started", "actor.ended", "actor.abandoned"]
    assert events["actor.abandoned"]["stack"] == stack
    assert events["actor.ended"]["reason"] == Abandoned(stack)


def test_a_handler_that_fails_keeps_no_actor_from_starting_and_no_watcher_from_being_told() -> None:
    def fail(*_: object) -> None:
        raise SystemExit(1)

    telemetry = Telemetry()
    with open_world("threads", telemetry) as world:
        parent = Recorder()
        ref = world.start(parent)
        telemetry.attach("bad", EVENTS, fail)
        child = do(ref, lambda ctx: ctx.start(Recorder(), "child", wants_started=True))
        assert parent.wait_for(1) == [Started(child, None)]
        telemetry.attach("bad", ["actor.ended"], fail)
        child.signal(END)
        assert parent.wait_for(2)[1:] == [Down(child, END.reason)]
        assert telemetry.handlers() == ()


def test_a_behaviour_may_tell_events_of_its_own_tree(world: World) -> None:
    telemetry = Telemetry()
    heard = listening(telemetry)
    if isinstance(world.host, PykkaHost):
        world.host.note = telemetry.tell
    do(world.start(Recorder()), lambda ctx: ctx.note("child.ended", {"seconds": 1.0}, {"id": "x"}))
    told = world.host.told if isinstance(world.host, StepHost) else heard.told
    assert ("child.ended", {"seconds": 1.0}, {"id": "x"}) in told


def life_of(ref: LifeRef) -> Life:
    assert isinstance(ref.life, Life)
    return ref.life


def wait_finished(ref: LifeRef, world: World | None = None) -> None:
    """Wait until the last call of an actor has returned."""
    if world is not None and isinstance(world.host, StepHost):
        world.host.run()
    else:
        terminated: Callable[[float], bool] = ref.wait_terminated  # type: ignore[attr-defined]
        assert terminated(WAIT)
    assert life_of(ref).is_finished


class Debtor(Behavior):
    """Takes asks and answers none; ends when it is killed."""

    handles_kill = True

    def __init__(self) -> None:
        self.owed: list[Answer | None] = []

    def on_message(self, message: object, ctx: Context) -> None:
        if isinstance(message, Kill):
            ctx.stop(Killed())
        else:
            self.owed.append(ctx.defer())


def test_every_answer_that_is_owed_is_answered_at_the_end() -> None:
    host = StepHost(1)
    ref = host.start(Debtor(), "debtor")
    futures = [ref.ask_future(index) for index in range(3)]
    host.run()
    ref.signal(Terminate(Shutdown("enough")))
    host.run()
    assert ref.reason == Shutdown("enough")
    for future in futures:
        with pytest.raises(ActorEndedError, match="enough"):
            future.result(0)


def test_a_suspended_actor_is_killed_all_the_same() -> None:
    host = StepHost(1)
    ref = host.start(Debtor(), "debtor")
    ref.suspend()
    host.run()
    ref.kill()
    host.run()
    assert ref.reason == Killed()


def test_asking_none_keeps_nobody_behind_it_waiting() -> None:
    class Echo(Behavior):
        def on_message(self, message: object, ctx: Context) -> None:
            ctx.reply(message)

    host = StepHost(1)
    ref = host.start(Echo(), "echo")
    host.run()
    futures = [ref.ask_future(message) for message in (None, "behind")]
    host.run()
    assert [future.result(0) for future in futures] == [None, "behind"]
