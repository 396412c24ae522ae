from __future__ import annotations

import logging
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pykka
import pytest

from supervisors.actor import PykkaHost, PykkaRef
from supervisors.asking import AskableMailbox
from supervisors.behavior import Behavior, Context
from supervisors.errors import DeadlockError, MailboxClosedError, StartError
from supervisors.life import Life
from supervisors.mailbox import Mailbox
from supervisors.messages import Down, Resume, Terminate
from supervisors.parking import Poller
from supervisors.reasons import Abandoned, Normal, Raised, Reason, Shutdown, StartFailed

WAIT = 10.0
END = Terminate(Shutdown("end of test"))


class Recorder(Behavior):
    """Keeps what it is sent; does what a callable among it says."""

    def __init__(self) -> None:
        self.got: list[object] = []
        self.ended: list[Reason] = []
        self.changed = threading.Condition()

    def on_message(self, message: object, ctx: Context) -> None:
        if callable(message):
            message(ctx)
            return
        with self.changed:
            self.got.append(message)
            self.changed.notify_all()

    def on_stop(self, reason: Reason, ctx: Context) -> None:
        self.ended.append(reason)

    def wait_for(self, count: int) -> list[object]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.got) >= count, WAIT), self.got
            return list(self.got)


@contextmanager
def running(behavior: Behavior, **options: Any) -> Iterator[PykkaRef]:
    ref = PykkaHost().start(behavior, "actor", **options)
    try:
        yield ref
    finally:
        ref.signal(END)
        assert ref.wait_terminated(WAIT)


def raiser(error: BaseException) -> Callable[[Context], None]:
    def act(_: Context) -> None:
        raise error

    return act


def held(ref: PykkaRef) -> threading.Event:
    """Hold the actor inside a message until the event that is given back is set."""
    inside, release = threading.Event(), threading.Event()

    def act(_: Context) -> None:
        inside.set()
        assert release.wait(WAIT)

    assert ref.tell(act)
    assert inside.wait(WAIT)
    return release


def test_control_overtakes_ten_thousand_data_messages() -> None:
    behavior = Recorder()
    with running(behavior) as ref:
        release = held(ref)
        for number in range(10_000):
            ref.tell(number)
        ref.signal("control")
        release.set()
        assert behavior.wait_for(10_001) == ["control", *range(10_000)]


def test_terminate_overtakes_data_and_drops_it() -> None:
    behavior = Recorder()
    with running(behavior) as ref:
        release = held(ref)
        for number in range(100):
            ref.tell(number)
        ref.signal(Terminate(Shutdown("now")))
        release.set()
        assert ref.wait_terminated(WAIT)
        assert behavior.got == []
        assert behavior.ended == [Shutdown("now")]
        assert ref.reason == Shutdown("now")
        assert not ref.tell(1)
        assert not ref.signal(1)


def test_a_behaviour_that_handles_terminate_is_handed_it() -> None:
    behavior = Recorder()
    behavior.handles_terminate = True
    with running(behavior) as ref:
        ref.signal(END)
        assert behavior.wait_for(1) == [END]
        ref.tell(lambda ctx: ctx.stop(Normal()))
        assert ref.wait_terminated(WAIT)
    assert ref.reason == Normal()


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_comes_out_of_an_actor_ends_it_alone(error: BaseException) -> None:
    bystander, parent = Recorder(), Recorder()
    with running(bystander) as other, running(parent) as above:
        child = start_below(above, Recorder())
        child.tell(raiser(error))
        [down] = parent.wait_for(1)
        assert isinstance(down, Down)
        assert down.ref is child
        assert isinstance(down.reason, Raised)
        assert down.reason.error.type == type(error).__name__
        assert child.reason == down.reason
        other.tell("still there")
        assert bystander.wait_for(1) == ["still there"]


@pytest.mark.parametrize("where", ["on_start", "step", "on_message"])
def test_an_exception_anywhere_ends_it_and_on_stop_is_called(where: str) -> None:
    behavior = Recorder()
    setattr(behavior, where, lambda *_: raiser(ZeroDivisionError())(None))  # type: ignore[arg-type]
    with running(behavior) as ref:
        ref.signal("x")
        assert ref.wait_terminated(WAIT)
    assert isinstance(ref.reason, StartFailed if where == "on_start" else Raised)
    assert behavior.ended == [ref.reason]


def test_what_on_stop_raises_is_logged_and_hides_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Bad(Behavior):
        def on_stop(self, reason: Reason, ctx: Context) -> None:
            raise OSError("cannot close")

    parent = Recorder()
    with running(parent) as above:
        child = start_below(above, Bad())
        child.signal(Terminate(Shutdown("x")))
        assert parent.wait_for(1) == [Down(child, Shutdown("x"))]
    assert "cannot close" in caplog.text


def test_a_root_that_ends_badly_is_logged_but_not_by_pykka(caplog: pytest.LogCaptureFixture) -> None:
    with running(Recorder()) as ref:
        ref.tell(raiser(ValueError("nobody hears")))
        assert ref.wait_terminated(WAIT)
    assert "nobody hears" in caplog.text
    assert {record.name for record in caplog.records if record.levelno >= logging.INFO} == {"supervisors"}


def test_a_parent_that_ends_takes_its_children_along() -> None:
    child = Recorder()
    with running(Recorder()) as above:
        ref = start_below(above, child)
        above.tell(raiser(ValueError()))
        assert above.wait_terminated(WAIT)  # the child's thread as well
        assert ref.reason == Shutdown("actor ended")
        assert child.ended == [Shutdown("actor ended")]


def test_timers_fire_in_the_order_they_are_due_and_ahead_of_data() -> None:
    behavior = Recorder()
    with running(behavior) as ref:

        def act(ctx: Context) -> None:
            ctx.set_timer(0.002, "second")
            ctx.set_timer(0.001, "dropped").cancel()
            ctx.set_timer(0.0, "first")
            ctx.set_timer(1e12, "never")

        ref.tell(act)
        assert behavior.wait_for(2) == ["first", "second"]


def test_a_timer_is_not_late_because_of_data() -> None:
    class Busy(Recorder):
        fired = threading.Event()

        def on_start(self, ctx: Context) -> None:
            ctx.set_timer(0.001, "timer")

        def on_message(self, message: object, ctx: Context) -> None:
            self.fired.set()

        def step(self, ctx: Context) -> bool:
            return True

    behavior = Busy()
    with running(behavior):
        assert behavior.fired.wait(WAIT)


def test_no_wake_up_is_lost_between_two_threads() -> None:
    count = 5_000
    behavior = Recorder()
    with running(behavior) as ref:

        def send(lane: Callable[[object], bool]) -> None:
            for number in range(count):
                assert lane(number)

        threads = [threading.Thread(target=send, args=(lane,)) for lane in (ref.tell, ref.signal)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert len(behavior.wait_for(2 * count)) == 2 * count


def test_ping_pong_wakes_the_other_each_time() -> None:
    done = threading.Event()

    class Player(Behavior):
        other: PykkaRef

        def on_message(self, message: object, ctx: Context) -> None:
            assert isinstance(message, int)
            if message == 0:
                done.set()
            else:
                self.other.tell(message - 1)

    one, two = Player(), Player()
    with running(one) as first, running(two) as second:
        one.other, two.other = second, first
        first.tell(2_000)
        assert done.wait(WAIT)


def test_a_mailbox_that_was_handed_in_outlives_its_actor_with_its_data_but_not_its_control() -> None:
    mailbox = Mailbox()
    first = Recorder()
    with running(first, mailbox=mailbox) as ref:
        release = held(ref)
        ref.signal(Terminate(Shutdown("first")))
        ref.tell("data")
        ref.signal(Terminate(Shutdown("stale")))
        release.set()
        assert ref.wait_terminated(WAIT)
        assert not ref.signal("late")
    second = Recorder()
    with running(second, mailbox=mailbox) as ref:
        assert second.wait_for(1) == ["data"]
        mailbox.put("more")
        assert second.wait_for(2) == ["data", "more"]
        assert ref.reason is None


def test_an_abandoned_child_is_told_once_and_takes_nothing_more() -> None:
    parent, child = Recorder(), Recorder()
    with running(parent) as above:
        ref = start_below(above, child, mailbox=Mailbox())
        release = held(ref)
        ref.tell("waiting")
        stacks: list[str] = []
        above.tell(lambda ctx: stacks.extend([ctx.abandon(ref), ctx.abandon(ref)]))
        [down] = parent.wait_for(1)
        assert isinstance(down, Down)
        assert isinstance(down.reason, Abandoned)
        assert "in act" in down.reason.stack
        assert not ref.tell("late")
        release.set()
        assert ref.wait_terminated(WAIT)
        above.tell("after")
        assert parent.wait_for(2)[1:] == ["after"]
        assert child.got == []
        assert child.ended == [down.reason]
        assert stacks[0] == down.reason.stack


def test_a_poller_calls_back_on_the_actors_thread_even_if_the_actor_is_busy() -> None:
    class Watcher(Behavior):
        uses_poller = True

        def __init__(self) -> None:
            self.ends = socket.socketpair()
            self.called = threading.Event()
            self.is_busy = False
            self.thread: threading.Thread | None = None

        def on_start(self, ctx: Context) -> None:
            assert isinstance(ctx.parker, Poller)
            ctx.parker.watch(self.ends[0].fileno(), selectors.EVENT_READ, self.on_readable)

        def on_readable(self, _: int) -> None:
            data = self.ends[0].recv(1)
            self.thread = threading.current_thread()
            self.called.set()
            if data == b"!":
                raise ValueError(data)

        def on_message(self, message: object, ctx: Context) -> None:
            self.is_busy = True

        def step(self, ctx: Context) -> bool:
            return self.is_busy

        def on_stop(self, reason: Reason, ctx: Context) -> None:
            for end in self.ends:
                end.close()

    watcher = Watcher()
    with running(watcher) as ref:
        watcher.ends[1].send(b"x")
        assert watcher.called.wait(WAIT)
        assert watcher.thread is not None
        assert watcher.thread.name == "actor"
        watcher.called.clear()
        ref.signal("be busy")
        watcher.ends[1].send(b"x")
        assert watcher.called.wait(WAIT)
        watcher.ends[1].send(b"!")
        assert ref.wait_terminated(WAIT)
        assert isinstance(ref.reason, Raised)


def test_a_plain_pykka_ref_tells_asks_and_stops() -> None:
    class Counter(Recorder):
        def on_message(self, message: object, ctx: Context) -> None:
            super().on_message(message, ctx)
            ctx.reply(len(self.got))
            ctx.reply("a second reply is dropped")

    behavior = Counter()
    with running(behavior) as ref:
        plain = ref.actor_ref
        plain.tell("one")
        assert plain.ask("two", timeout=WAIT) == 2
        ref.tell("three")
        assert plain.stop(timeout=WAIT) is True
        assert not plain.is_alive()
        assert behavior.got == ["one", "two", "three"]
        assert plain.stop(timeout=WAIT) is False
        with pytest.raises(pykka.ActorDeadError):
            plain.tell("late")
        with pytest.raises(pykka.ActorDeadError):
            plain.ask("late", timeout=WAIT)
        assert ref.wait_terminated(WAIT)
    assert pykka.ActorRegistry.get_all() == []


@pytest.mark.parametrize("mailbox", [None, Mailbox()])
def test_an_ask_gets_the_exception_of_its_handling_and_those_behind_get_a_dead_actor(mailbox: Mailbox | None) -> None:
    with running(Recorder(), mailbox=mailbox) as ref:
        release = held(ref)
        bad = ref.actor_ref.ask(raiser(LookupError("no")), block=False)
        behind = ref.actor_ref.ask("behind", block=False)
        release.set()
        with pytest.raises(LookupError, match="no"):
            bad.get(timeout=WAIT)
        with pytest.raises(pykka.ActorDeadError):
            behind.get(timeout=WAIT)


def test_asks_and_stops_of_an_actor_that_is_given_up_end_at_once() -> None:
    parent = Recorder()
    with running(parent) as above:
        for give_up in (lambda ref: ref.kill(), lambda ref: above.tell(lambda ctx: ctx.abandon(ref))):
            ref = start_below(above, Recorder())
            release = held(ref)
            asked = [ref.actor_ref.ask("waiting", block=False), ref.actor_ref.proxy().actor_urn]
            stopped = ref.actor_ref.stop(block=False)
            give_up(ref)
            for future in asked:
                with pytest.raises(pykka.ActorDeadError, match="before it handled the message"):
                    future.get(timeout=WAIT)
            assert stopped.get(timeout=WAIT) is True
            assert not ref.actor_ref.is_alive()
            assert ref.actor_ref not in pykka.ActorRegistry.get_all()
            with pytest.raises(pykka.ActorDeadError):
                ref.actor_ref.ask("late", timeout=WAIT)
            with pytest.raises(pykka.ActorDeadError):
                ref.actor_ref.tell("late")
            release.set()
            assert ref.wait_terminated(WAIT)


@pytest.mark.parametrize("mailbox", [None, Mailbox()])
def test_a_pykka_ask_that_would_wait_for_itself_raises(mailbox: Mailbox | None) -> None:
    rings: list[tuple[str, ...]] = []

    def wait(get: Callable[[], object]) -> Callable[[Context], None]:
        def act(_: Context) -> None:
            with pytest.raises(DeadlockError) as caught:
                get()
            rings.append(caught.value.ring)

        return act

    with running(Recorder()) as other, running(Recorder(), mailbox=mailbox) as ref:
        plain, proxy = ref.actor_ref, ref.actor_ref.proxy()
        ref.ask(wait(lambda: plain.ask("never")), WAIT)
        ref.ask(wait(lambda: proxy.actor_urn.map(str).get(timeout=WAIT)), WAIT)
        # Around a ring, in which each asks in its own way.
        ref.ask(lambda _: other.actor_ref.ask(wait(lambda: plain.ask("never"))), WAIT)
        plain.ask(lambda _: other.ask(wait(lambda: proxy.actor_urn.get(timeout=WAIT))), timeout=WAIT)
        ref.ask(wait(plain.stop), WAIT)
        assert ref.wait_terminated(WAIT)
    assert [len(ring) for ring in rings] == [2, 2, 3, 3, 2]


def test_an_answer_that_has_come_is_read_without_waiting_for_anybody() -> None:
    kept: list[Any] = []
    with running(Recorder()) as ref:
        ref.ask(lambda _: kept.append(ref.actor_ref.ask(lambda ctx: ctx.reply("later"), block=False)), WAIT)
        ref.ask(lambda _: kept.append(kept[0].get()), WAIT)
    assert kept[1] == "later"


def test_an_asker_by_pykkas_ref_is_told_of_an_exit_by_an_error_that_ends_nobody_else() -> None:
    with running(Recorder()) as ref:
        with pytest.raises(pykka.ActorDeadError, match="SystemExit") as caught:
            ref.actor_ref.ask(raiser(SystemExit(3)), timeout=WAIT)
        assert isinstance(caught.value.__cause__, SystemExit)
        assert ref.wait_terminated(WAIT)


def test_other_pykka_actors_live_on_through_all_that_happens_to_ours() -> None:
    class Other(pykka.ThreadingActor):
        def on_receive(self, message: Any) -> Any:
            return message

    others = [Other.start() for _ in range(2)]
    with running(Recorder()) as above:
        killed, raised = start_below(above, Recorder()), start_below(above, Recorder())
        release = held(killed)
        killed.kill()
        raised.tell(raiser(KeyboardInterrupt()))
        assert raised.wait_terminated(WAIT)
        release.set()
        above.actor_ref.stop()
        assert above.wait_terminated(WAIT)
    assert pykka.ActorRegistry.get_all() == others
    for other in others:
        assert other.ask("alive", timeout=WAIT) == "alive"
        assert other.stop(timeout=WAIT) is True


def test_an_ask_that_nobody_answers_is_answered_with_none() -> None:
    with running(Recorder()) as ref:
        assert ref.actor_ref.ask("x", timeout=WAIT) is None


def test_a_handed_in_mailbox_keeps_pykkas_messages_out_of_its_data() -> None:
    behavior, mailbox = Recorder(), Mailbox()
    with running(behavior, mailbox=mailbox) as ref:
        release = held(ref)
        future = ref.actor_ref.ask("asked", block=False)
        ref.actor_ref.tell("told")
        assert len(mailbox) == 0
        release.set()
        assert future.get(timeout=WAIT) is None
        assert ref.actor_ref.stop(timeout=WAIT) is True
        assert behavior.got == ["asked", "told"]


def test_no_thread_means_a_start_error_and_nothing_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(StartError, match="actor x could not be started"):
        PykkaHost().start(Recorder(), "x")
    assert pykka.ActorRegistry.get_all() == []


def test_a_child_that_got_no_thread_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[BaseException] = []

    def start(ctx: Context) -> None:
        try:
            ctx.start(Recorder(), "child")
        except StartError as error:
            errors.append(error)

    parent = PykkaHost().start(Recorder(), "actor")
    release = held(parent)
    parent.tell(start)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", raiser(RuntimeError("can't start new thread")))
        release.set()
        parent.actor_ref.stop(timeout=WAIT)
    assert len(errors) == 1
    assert parent.wait_terminated(WAIT)


def test_who_waits_for_the_start_is_given_what_was_acknowledged_each_time() -> None:
    class Ready(Recorder):
        acknowledges = True

        def on_start(self, ctx: Context) -> None:
            ctx.acknowledge("port 80")

    with running(Ready()) as ref:
        assert [ref.wait_started(WAIT), ref.wait_started(WAIT)] == ["port 80"] * 2


def test_who_waits_for_a_start_that_fails_is_told_the_cause_each_time() -> None:
    class Bad(Recorder):
        def on_start(self, ctx: Context) -> None:
            raise OSError("port taken")

    with running(Bad()) as ref:
        for _ in range(2):
            with pytest.raises(StartError, match="actor actor could not start: OSError: port taken"):
                ref.wait_started(WAIT)


def test_a_start_that_is_not_done_in_time_may_be_waited_for_again() -> None:
    behavior = Recorder()
    behavior.acknowledges = True
    with running(behavior) as ref:
        with pytest.raises(TimeoutError):
            ref.wait_started(0.0)
        ref.tell(lambda ctx: ctx.acknowledge("now"))
        assert ref.wait_started(WAIT) == "now"


def test_an_actor_whose_start_is_interrupted_while_its_thread_starts_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[PykkaRef] = []
    start_thread = PykkaRef.start_thread

    def start_interrupted(ref: PykkaRef) -> None:
        started.append(ref)
        start_thread(ref)
        raise KeyboardInterrupt

    monkeypatch.setattr(PykkaRef, "start_thread", start_interrupted)
    with pytest.raises(KeyboardInterrupt):
        PykkaHost().start_ready(Recorder(), "actor")
    assert started[0].wait_terminated(WAIT)
    assert started[0].reason == Shutdown("its start was given up")


def test_an_actor_that_ends_before_it_is_ready_has_not_started() -> None:
    behavior = Recorder()
    behavior.acknowledges = True
    with running(behavior) as ref:
        ref.signal(END)
        with pytest.raises(StartError, match="shut down"):
            ref.wait_started(WAIT)


def test_an_actor_killed_while_it_starts_has_not_started_and_its_thread_ends_in_peace() -> None:
    inside, release = threading.Event(), threading.Event()

    class Slow(Recorder):
        def on_start(self, ctx: Context) -> None:
            inside.set()
            assert release.wait(WAIT)

    with running(Slow()) as ref:
        assert inside.wait(WAIT)
        ref.kill()
        with pytest.raises(StartError, match="was killed"):
            ref.wait_started(WAIT)
        release.set()
        # An exception out of the thread would fail this test as a warning.
        assert ref.wait_terminated(WAIT)


def test_for_pykka_an_actor_that_was_killed_is_stopped_although_its_thread_goes_on() -> None:
    with running(Recorder()) as ref:
        release = held(ref)
        stopped = ref.actor_ref.stop(block=False)
        asked = ref.actor_ref.ask("x", block=False)
        ref.kill()
        assert stopped.get(timeout=WAIT) is True
        with pytest.raises(pykka.ActorDeadError):
            asked.get(timeout=WAIT)
        assert not ref.actor_ref.is_alive()
        assert pykka.ActorRegistry.get_all() == []
        assert ref.actor_ref.stop(timeout=WAIT) is False
        release.set()


def test_who_is_told_of_the_end_finds_the_actor_stopped_for_pykka() -> None:
    alive: list[bool] = []
    with running(Recorder()) as ref:
        ref.watch(lambda _: alive.append(ref.actor_ref.is_alive()))
        ref.signal(END)
        assert ref.wait_terminated(WAIT)
    assert alive == [False]


def test_a_bounded_mailbox_of_an_actors_own_ends_with_it() -> None:
    mailbox = AskableMailbox(2, overflow="reject")
    with running(Recorder(), mailbox=mailbox) as ref:
        ref.signal(END)
        assert ref.wait_terminated(WAIT)
    with pytest.raises(MailboxClosedError):
        mailbox.put("late")


def test_the_same_seed_gives_actors_of_one_name_the_same_randomness() -> None:
    drawn: list[float] = []
    for _ in range(2):
        ref = PykkaHost(seed=7).start(Recorder(), "a")
        ref.tell(lambda ctx: drawn.append(ctx.random.random()))
        ref.actor_ref.stop()
        ref.wait_terminated(WAIT)
    assert drawn[0] == drawn[1]


def test_waiting_for_an_actor_that_goes_on_gives_false() -> None:
    with running(Recorder()) as ref:
        assert ref.wait_terminated(0.0) is False


class Polling(Recorder):
    """Waits for file descriptors too, so that others may act for it while it sleeps."""

    uses_poller = True


def wait_asleep(ref: PykkaRef) -> Life:
    """Give the life of an actor that has nothing to do, once it sleeps."""
    life = ref.life
    assert isinstance(life, Life)
    assert isinstance(life.parker, Poller)
    with life.parker.seat:
        return life


def test_what_is_run_here_runs_on_the_calling_thread_while_the_actor_sleeps_on() -> None:
    ran: list[tuple[str, threading.Thread, bool]] = []

    def work() -> Callable[[], bool]:
        ran.append(("work", threading.current_thread(), parker.seat.locked()))
        return finish

    def finish() -> bool:
        ran.append(("finish", threading.current_thread(), parker.seat.locked()))
        return True

    with running(Polling()) as ref:
        life = wait_asleep(ref)
        parker = life.parker
        assert isinstance(parker, Poller)
        assert life.run_here(work)
        here = threading.current_thread()
        assert ran == [("work", here, True), ("finish", here, False)]
        assert ref.tell("later")  # it is woken as ever
        recorder = ref.life.behavior
        assert isinstance(recorder, Polling)
        assert recorder.wait_for(1) == ["later"]


def test_an_actor_is_to_be_woken_when_not_all_was_done_for_it() -> None:
    with running(Polling()) as ref:
        assert not wait_asleep(ref).run_here(lambda: None)
        assert not wait_asleep(ref).run_here(lambda: lambda: False)


def test_an_actor_that_is_rung_while_others_act_for_it_is_to_be_woken() -> None:
    with running(Polling()) as ref:
        life = wait_asleep(ref)

        finished: list[bool] = []

        def work() -> Callable[[], bool]:
            with life.mailbox.lock:
                life.mailbox.append_held("more")
            return lambda: finished.append(True) or True  # type: ignore[func-returns-value]  # it gives None

        life.mailbox.fall_asleep(life.mailbox.rings)
        with life.mailbox.lock:
            assert life.mailbox.ring_held()  # whoever rings a sleeping actor has to wake it, or to act for it
        assert not life.run_here(work)
        assert finished == [True]
        life.mailbox.unpark()
        recorder = life.behavior
        assert isinstance(recorder, Polling)
        assert recorder.wait_for(1) == ["more"]


def test_nobody_acts_for_an_actor_that_is_at_work_or_suspended_or_has_a_control_message() -> None:
    def work() -> None:
        raise AssertionError("it was not to run")

    entered, release = threading.Event(), threading.Event()
    with running(Polling()) as ref:
        life = wait_asleep(ref)
        ref.tell(lambda _: (entered.set(), release.wait(WAIT)))
        assert entered.wait(WAIT)
        assert not life.run_here(work)
        release.set()
        ref.suspend()
        ref.get_state(WAIT)  # handled behind that
        assert not wait_asleep(ref).run_here(work)
        ref.resume()
        ref.get_state(WAIT)
        with life.mailbox.lock:
            life.mailbox.control.append(Resume())  # and it is about to be woken for that
        assert not wait_asleep(ref).run_here(work)
        life.mailbox.ring()


def test_nobody_acts_for_an_actor_that_waits_for_its_mailbox_alone_or_has_ended() -> None:
    def work() -> None:
        raise AssertionError("it was not to run")

    with running(Recorder()) as ref:
        assert isinstance(ref.life, Life)
        assert not ref.life.run_here(work)
    with running(Polling()) as ref:
        life = wait_asleep(ref)
        ref.signal(END)
        ref.wait_terminated(WAIT)
        assert not life.run_here(work)


def test_what_is_run_here_and_raises_ends_the_actor_and_not_its_caller() -> None:
    def work() -> None:
        raise ValueError("a fault of the actor's")

    with running(Polling()) as ref:
        life = wait_asleep(ref)
        assert not life.run_here(work)
        life.mailbox.unpark()
        reason = ref.wait_ended(WAIT)
        assert isinstance(reason, Raised)
        assert reason.error.type.endswith("ValueError")


def test_an_actor_that_wakes_by_a_descriptor_waits_until_who_acts_for_it_is_done() -> None:
    order: list[str] = []
    called = threading.Event()

    class Watcher(Polling):
        def __init__(self) -> None:
            super().__init__()
            self.ends = socket.socketpair()

        def on_start(self, ctx: Context) -> None:
            assert isinstance(ctx.parker, Poller)
            ctx.parker.watch(self.ends[0].fileno(), selectors.EVENT_READ, self.on_readable)

        def on_readable(self, _: int) -> None:
            self.ends[0].recv(1)
            order.append("called back")
            called.set()

        def on_stop(self, reason: Reason, ctx: Context) -> None:
            for end in self.ends:
                end.close()

    watcher = Watcher()
    with running(watcher) as ref:

        def work() -> Callable[[], bool]:
            watcher.ends[1].send(b"x")
            assert not called.wait(0.05)
            order.append("acted for it")
            return lambda: True

        assert wait_asleep(ref).run_here(work)
        assert called.wait(WAIT)
    assert order == ["acted for it", "called back"]


def test_a_program_that_ends_no_actor_still_exits() -> None:
    program = (
        "from supervisors.actor import PykkaHost\n"
        "from supervisors.behavior import Behavior\n"
        "class P(Behavior):\n    uses_poller = True\n"
        "PykkaHost().start(Behavior(), 'a'); PykkaHost().start(P(), 'b')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], timeout=60, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def start_below(above: PykkaRef, behavior: Behavior, **options: Any) -> PykkaRef:
    started: list[Any] = []
    is_started = threading.Event()

    def act(ctx: Context) -> None:
        started.append(ctx.start(behavior, "child", **options))
        is_started.set()

    assert above.tell(act)
    assert is_started.wait(WAIT)
    assert isinstance(started[0], PykkaRef)
    return started[0]
