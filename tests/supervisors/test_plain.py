"""Ordinary Pykka actors under our own life, on threads and on the step host."""

from __future__ import annotations

import functools
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pykka
import pytest

from supervisors.actor import BehaviorActor, PykkaHost, PykkaRef
from supervisors.behavior import Behavior, Context
from supervisors.errors import ActorEndedError, DeadlockError, SpecError, StartError
from supervisors.handles import start_supervisor
from supervisors.inbox import STOPPED
from supervisors.mailbox import Mailbox
from supervisors.messages import Down, Started, Terminate
from supervisors.plain import PlainActor, is_plain_actor
from supervisors.policy import Backoff
from supervisors.process_actor import ProcessActor
from supervisors.reasons import Abandoned, Killed, Normal, Raised, Shutdown, StartFailed
from supervisors.spec import ChildSpec
from supervisors.supervisor import Supervisor
from supervisors.testing import StepHost
from supervisors.wire.values import encode_code

WAIT = 10.0
SEEDS = range(60)
END = Terminate(Shutdown("end of test"))


class Counter(pykka.ThreadingActor):
    """As a user may write one: it knows nothing of us."""

    def __init__(self, start: int = 0, *, log: list[Any] | None = None) -> None:
        super().__init__()
        self.count = start
        self.log: list[Any] = [] if log is None else log

    def on_start(self) -> None:
        self.log.append(("on_start", threading.current_thread().name))

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.log.append(message)
        return len(self.log)

    def on_stop(self) -> None:
        self.log.append(("on_stop", self.actor_ref.is_alive()))

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        self.log.append(("on_failure", exception_type, exception_value, traceback is not None))
        self.log.append(("is_alive", self.actor_ref.is_alive()))

    def add(self, number: int) -> int:
        self.count += number
        return self.count


@contextmanager
def running(make: Callable[[], Any], **options: Any) -> Iterator[tuple[PykkaRef, pykka.ActorRef[Any]]]:
    ref = PykkaHost().start(make, "actor", **options)
    try:
        yield ref, ref.wait_started(WAIT)
    finally:
        ref.signal(END)
        assert ref.wait_terminated(WAIT)
    assert ref.actor_ref not in pykka.ActorRegistry.get_all()


@pytest.fixture
def bystander() -> Iterator[pykka.ActorRef[Counter]]:
    """An actor of the program's that has nothing to do with us."""
    ref = Counter.start()
    yield ref
    assert ref.is_alive()
    assert ref.ask(lambda actor: actor.add(1), timeout=WAIT) == 1
    assert ref.stop(timeout=WAIT)


def raiser(error: BaseException) -> Callable[[Any], None]:
    def act(_: Any) -> None:
        raise error

    return act


def held(actor_ref: pykka.ActorRef[Any]) -> threading.Event:
    """Hold the actor inside a message until the event that is given back is set."""
    inside, release = threading.Event(), threading.Event()

    def act(_: Any) -> None:
        inside.set()
        assert release.wait(WAIT)

    actor_ref.tell(act)
    assert inside.wait(WAIT)
    return release


# -- messages


def test_tell_ask_and_proxies_work_from_anywhere() -> None:
    with running(functools.partial(PlainActor, Counter, 5)) as (ref, actor_ref):
        actor_ref.tell("told")
        assert actor_ref.ask("asked", timeout=WAIT) == 3
        proxy = actor_ref.proxy()
        assert proxy.add(2).get(timeout=WAIT) == 7
        proxy.add.defer(3)
        assert proxy.count.get(timeout=WAIT) == 10
        proxy.count = 1
        assert proxy.add(1).map(lambda count: count * 10).get(timeout=WAIT) == 20
        assert proxy.count.join(proxy.count).get(timeout=WAIT) == [2, 2]
        assert ref.tell("by our own ref")
        assert ref.ask(lambda actor: actor.log, WAIT) == [
            ("on_start", "actor"),
            "told",
            "asked",
            "by our own ref",
        ]


def test_none_is_a_message_like_any_other() -> None:
    with running(functools.partial(PlainActor, Counter)) as (_, actor_ref):
        release = held(actor_ref)
        actor_ref.tell(None)
        asked = actor_ref.ask(None, block=False)
        actor_ref.tell("behind")
        release.set()
        assert asked.get(timeout=WAIT) == 3
        assert actor_ref.ask(lambda actor: actor.log[1:], timeout=WAIT) == [None, None, "behind"]


def test_messages_keep_their_order_whichever_ref_they_came_by() -> None:
    with running(functools.partial(PlainActor, Counter)) as (ref, actor_ref):
        release = held(actor_ref)
        for number in range(0, 1_000, 2):
            actor_ref.tell(number)
            ref.tell(number + 1)
        assert not actor_ref.actor_inbox.empty()
        release.set()
        assert actor_ref.ask(lambda actor: actor.log[1:], timeout=WAIT) == list(range(1_000))
        assert actor_ref.actor_inbox.empty()


def test_a_mailbox_that_was_handed_in_outlives_the_actor_and_keeps_pykkas_messages_out_of_its_data() -> None:
    mailbox = Mailbox()
    log: list[Any] = []
    with running(functools.partial(PlainActor, Counter, log=log), mailbox=mailbox) as (ref, actor_ref):
        release = held(actor_ref)
        mailbox.put("data")
        actor_ref.tell(None)
        stopped = actor_ref.stop(block=False)
        assert len(mailbox) == 1
        release.set()
        assert stopped.get(timeout=WAIT) is True
        assert ref.wait_terminated(WAIT)
        assert ref.reason == Shutdown(STOPPED)
    assert log[1:] == [None, ("on_stop", False)]
    with running(functools.partial(PlainActor, Counter), mailbox=mailbox) as (ref, _):
        mailbox.put(lambda actor: actor.stop())
        assert ref.wait_terminated(WAIT)
        assert len(mailbox) == 0


# -- the object


def test_the_object_is_of_the_very_class_that_was_given() -> None:
    class Registered(Counter):
        subclasses: ClassVar[list[type]] = []
        made = 0

        def __init_subclass__(cls, *, kind: str) -> None:
            cls.subclasses.append(cls)

        def __init__(self) -> None:
            super().__init__()
            type(self).made += 1

    with running(functools.partial(PlainActor, Registered)) as (_, actor_ref):
        assert actor_ref.ask(type, timeout=WAIT) is Registered
        assert actor_ref.actor_class is Registered
        assert actor_ref.ask(lambda actor: isinstance(actor, Counter), timeout=WAIT)
        assert pykka.ActorRegistry.get_by_class(Counter) == [actor_ref]
        assert pykka.ActorRegistry.get_by_class_name("Registered") == [actor_ref]
    assert Registered.made == 1
    assert Registered.subclasses == []


def test_init_and_hooks_run_on_the_actors_own_thread() -> None:
    class Threads(pykka.ThreadingActor):
        def __init__(self) -> None:
            self.seen = [threading.current_thread()]
            super().__init__()

        def on_start(self) -> None:
            self.seen.append(threading.current_thread())

    with running(lambda: PlainActor(Threads)) as (_, actor_ref):
        seen = actor_ref.proxy().seen.get(timeout=WAIT)
        assert [thread.name for thread in seen] == ["actor", "actor"]
        assert seen[0].daemon


def test_its_registry_entry_exists_once_and_the_carrier_has_none() -> None:
    assert pykka.ActorRegistry.get_all() == []
    with running(functools.partial(PlainActor, Counter)) as (ref, actor_ref):
        assert pykka.ActorRegistry.get_all() == [actor_ref]
        assert ref.actor_ref is actor_ref
        assert pykka.ActorRegistry.get_by_urn(actor_ref.actor_urn) is actor_ref
    assert pykka.ActorRegistry.get_all() == []


def test_what_an_ended_actor_held_is_freed_though_its_address_is_kept() -> None:
    with running(functools.partial(PlainActor, Counter)) as (ref, actor_ref):
        actor = weakref.ref(actor_ref.ask(lambda actor: actor, timeout=WAIT))
        assert actor() is not None
    gc.collect()
    assert actor() is None
    assert ref.reason is not None
    assert not actor_ref.is_alive()


def test_an_answer_that_is_kept_does_not_keep_who_gave_it() -> None:
    with running(functools.partial(PlainActor, Counter)) as (ref, actor_ref):
        actor = weakref.ref(actor_ref.ask(lambda actor: actor, timeout=WAIT))
        kept = actor_ref.ask("kept", block=False)
        assert kept.get(timeout=WAIT) == 2
        life = weakref.ref(ref.life)
    del ref, actor_ref
    gc.collect()
    assert (actor(), life()) == (None, None)
    assert kept.get() == 2


def test_its_state_is_its_own_attributes_and_a_copy() -> None:
    with running(functools.partial(PlainActor, Counter, 3)) as (ref, actor_ref):
        state = ref.get_state(WAIT)
        assert state == {"count": 3, "log": [("on_start", "actor")]}
        state["count"] = 0
        assert actor_ref.proxy().count.get(timeout=WAIT) == 3


def test_a_suspended_actor_takes_nothing_until_it_is_resumed() -> None:
    with running(functools.partial(PlainActor, Counter)) as (ref, actor_ref):
        ref.suspend()
        future = actor_ref.proxy().add(1)
        assert ref.get_state(WAIT)["count"] == 0
        ref.resume()
        assert future.get(timeout=WAIT) == 1


# -- failures


def test_a_told_message_that_raises_ends_it_by_on_failure() -> None:
    log: list[Any] = []
    error = ValueError("bad")
    with running(functools.partial(PlainActor, Counter, log=log)) as (ref, actor_ref):
        release = held(actor_ref)
        actor_ref.tell(raiser(error))
        behind = actor_ref.ask("behind", block=False)
        release.set()
        with pytest.raises(pykka.ActorDeadError, match="raised ValueError: bad"):
            behind.get(timeout=WAIT)
        assert ref.wait_terminated(WAIT)
        assert isinstance(ref.reason, Raised)
        assert ref.reason.error.type == "ValueError"
        assert not actor_ref.is_alive()
    assert log[1:] == [("on_failure", ValueError, error, True), ("is_alive", False)]


def test_a_deferred_call_that_raises_ends_it_as_a_told_message_does() -> None:
    with running(functools.partial(PlainActor, Counter)) as (ref, actor_ref):
        actor_ref.proxy().add.defer("no number")
        assert ref.wait_terminated(WAIT)
        assert isinstance(ref.reason, Raised)
        assert ref.reason.error.type == "TypeError"


def test_an_ask_that_raises_goes_to_its_asker_and_the_actor_lives_on() -> None:
    with running(functools.partial(PlainActor, Counter)) as (ref, actor_ref):
        with pytest.raises(LookupError, match="by Pykka"):
            actor_ref.ask(raiser(LookupError("by Pykka")), timeout=WAIT)
        with pytest.raises(LookupError, match="by ours"):
            ref.ask(raiser(LookupError("by ours")), WAIT)
        with pytest.raises(TypeError):
            actor_ref.proxy().add("no number").get(timeout=WAIT)
        with pytest.raises(AttributeError):
            actor_ref.ask(pykka.messages.ProxyGetAttr(("missing",)), timeout=WAIT)
        assert actor_ref.proxy().add(1).get(timeout=WAIT) == 1
        assert ref.reason is None


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_is_no_exception_ends_this_actor_alone(
    error: BaseException, bystander: pykka.ActorRef[Counter], caplog: pytest.LogCaptureFixture
) -> None:
    log: list[Any] = []
    with running(functools.partial(PlainActor, Counter, log=log)) as (ref, actor_ref):
        actor_ref.tell(raiser(error))
        assert ref.wait_terminated(WAIT)
        assert isinstance(ref.reason, Raised)
        assert ref.reason.error.type == type(error).__name__
    assert log[1:] == [("on_stop", False)]
    assert bystander.is_alive()


def test_an_asker_is_told_of_an_exit_by_an_error_that_ends_nobody_else(bystander: pykka.ActorRef[Counter]) -> None:
    with running(functools.partial(PlainActor, Counter)) as (ref, actor_ref):
        # Asked by an actor on Pykka's own loop, which stops all others when its handler lets a SystemExit out.
        asked = bystander.ask(lambda _: actor_ref.ask(raiser(SystemExit(3)), timeout=WAIT), block=False)
        with pytest.raises(pykka.ActorDeadError, match=r"SystemExit\(3\)") as caught:
            asked.get(timeout=WAIT)
        assert isinstance(caught.value.__cause__, SystemExit)
        assert ref.wait_terminated(WAIT)


@pytest.mark.parametrize("error", [OSError("no"), SystemExit(1)])
def test_an_actor_that_cannot_start_ends_without_another_hook(error: BaseException) -> None:
    log: list[Any] = []

    class Unstartable(Counter):
        def on_start(self) -> None:
            raise error

    ref = PykkaHost().start(PlainActor(Unstartable, log=log), "actor")
    with pytest.raises(StartError, match="could not start"):
        ref.wait_started(WAIT)
    assert ref.wait_terminated(WAIT)
    assert isinstance(ref.reason, StartFailed)
    assert not ref.actor_ref.is_alive()
    assert log == []
    assert pykka.ActorRegistry.get_all() == []


def test_an_actor_that_cannot_be_made_is_a_failed_start() -> None:
    class Forgetful(pykka.ThreadingActor):
        def __init__(self) -> None:
            self.ready = True

    class Abstract(pykka.Actor):
        pass

    for start, told in [
        (PlainActor(Forgetful), r"did not call super\(\).__init__"),
        (PlainActor(Counter, 1, 2, 3), "positional argument"),
        (PlainActor(Abstract), "abstract"),
    ]:
        ref = PykkaHost().start(start, "actor")
        with pytest.raises(StartError, match=told):
            ref.wait_started(WAIT)
        assert ref.wait_terminated(WAIT)
        assert isinstance(ref.reason, StartFailed)
        assert not ref.actor_ref.is_alive()
    assert pykka.ActorRegistry.get_all() == []


@pytest.mark.parametrize("hook", ["on_stop", "on_failure"])
def test_what_a_last_hook_raises_is_logged_and_hides_nothing(hook: str, caplog: pytest.LogCaptureFixture) -> None:
    class Bad(Counter):
        pass

    setattr(Bad, hook, lambda *_: raiser(SystemExit("cannot close"))(None))
    with running(functools.partial(PlainActor, Bad)) as (ref, actor_ref):
        if hook == "on_failure":
            actor_ref.tell(raiser(ValueError()))
        else:
            actor_ref.tell(lambda actor: actor.stop())
        assert ref.wait_terminated(WAIT)
        assert isinstance(ref.reason, Raised if hook == "on_failure" else Shutdown)
        assert not actor_ref.is_alive()
    assert "cannot close" in caplog.text


# -- ends


def test_stop_from_inside_and_outside_ends_it_after_what_was_queued_before() -> None:
    for stop in (lambda actor_ref: actor_ref.tell(lambda actor: actor.stop()), lambda actor_ref: actor_ref.stop()):
        log: list[Any] = []
        with running(functools.partial(PlainActor, Counter, log=log)) as (ref, actor_ref):
            release = held(actor_ref)
            actor_ref.tell("before")
            stopper = threading.Thread(target=stop, args=(actor_ref,))
            stopper.start()
            release.set()
            stopper.join(WAIT)
            assert ref.wait_terminated(WAIT)
            assert ref.reason == Shutdown(STOPPED)
            assert log[1:] == ["before", ("on_stop", False)]
            assert actor_ref.actor_stopped.is_set()
            assert actor_ref.stop(timeout=WAIT) is False
            with pytest.raises(pykka.ActorDeadError):
                actor_ref.tell("late")
            with pytest.raises(pykka.ActorDeadError):
                actor_ref.ask("late", timeout=WAIT)
            with pytest.raises(ActorEndedError):
                ref.ask("late", WAIT)


def test_what_comes_after_a_stop_is_not_handled() -> None:
    log: list[Any] = []
    with running(functools.partial(PlainActor, Counter, log=log)) as (_, actor_ref):
        release = held(actor_ref)
        stopped = actor_ref.stop(block=False)
        actor_ref.tell("behind")
        asked = actor_ref.ask("behind", block=False)
        again = actor_ref.stop(block=False)
        release.set()
        with pytest.raises(pykka.ActorDeadError):
            asked.get(timeout=WAIT)
        assert stopped.get(timeout=WAIT) is True
        assert again.get(timeout=WAIT) is True
    assert log[1:] == [("on_stop", False)]


def test_a_supervisors_request_ends_it_ahead_of_its_data() -> None:
    log: list[Any] = []
    with running(functools.partial(PlainActor, Counter, log=log)) as (ref, actor_ref):
        release = held(actor_ref)
        actor_ref.tell("behind")
        ref.signal(Terminate(Shutdown("now")))
        release.set()
        assert ref.wait_terminated(WAIT)
        assert ref.reason == Shutdown("now")
    assert log[1:] == [("on_stop", False)]


def test_an_actor_that_sets_its_own_stopped_flag_ends_as_on_pykkas_loop() -> None:
    log: list[Any] = []
    with running(functools.partial(PlainActor, Counter, log=log)) as (ref, actor_ref):
        actor_ref.tell(lambda actor: actor.actor_stopped.set())
        assert ref.wait_terminated(WAIT)
        assert ref.reason == Normal()


def test_a_killed_actor_is_dead_for_everybody_at_once_and_gives_back_what_it_holds_later() -> None:
    log: list[Any] = []
    with running(functools.partial(PlainActor, Counter, log=log)) as (ref, actor_ref):
        release = held(actor_ref)
        asked = actor_ref.ask("waiting", block=False)
        stopped = actor_ref.stop(block=False)
        ref.kill()
        assert ref.reason == Killed()
        assert not actor_ref.is_alive()
        assert pykka.ActorRegistry.get_all() == []
        with pytest.raises(pykka.ActorDeadError):
            asked.get(timeout=WAIT)
        assert stopped.get(timeout=WAIT) is True
        with pytest.raises(pykka.ActorDeadError):
            actor_ref.tell("late")
        assert log[1:] == []
        release.set()
        assert ref.wait_terminated(WAIT)
    assert log[1:] == [("on_stop", False)]


def test_an_actor_killed_while_it_starts_is_not_left_in_the_registry() -> None:
    making, release = threading.Event(), threading.Event()
    alive: list[bool] = []

    class Slow(Counter):
        def on_start(self) -> None:
            alive.append(self.actor_ref.is_alive())

        def __init__(self) -> None:
            super().__init__()
            making.set()
            assert release.wait(WAIT)

    ref = PykkaHost().start(PlainActor(Slow), "actor")
    assert making.wait(WAIT)
    ref.kill()
    release.set()
    assert ref.wait_terminated(WAIT)
    assert alive == [False]
    assert not ref.actor_ref.is_alive()
    assert pykka.ActorRegistry.get_all() == []


# -- asks that would never be answered


def test_an_ask_of_itself_raises_instead_of_hanging() -> None:
    with running(functools.partial(PlainActor, Counter)) as (_, actor_ref):
        proxy = actor_ref.proxy()
        for ask in (
            lambda actor: actor.actor_ref.ask("me"),
            lambda _: proxy.add(1).get(),
            lambda _: proxy.add(1).map(str).get(timeout=WAIT),
            lambda _: pykka.get_all([proxy.count]),
        ):
            with pytest.raises(DeadlockError, match="actor -> actor"):
                actor_ref.ask(ask, timeout=WAIT)
        assert actor_ref.is_alive()


def test_a_ring_of_asks_raises_in_the_one_that_closes_it() -> None:
    with (
        running(functools.partial(PlainActor, Counter)) as (_, one),
        running(functools.partial(PlainActor, Counter)) as (ours, two),
    ):

        def ask_back(_: Any) -> str:
            with pytest.raises(DeadlockError):
                one.proxy().count.get(timeout=WAIT)
            return "refused"

        assert one.ask(lambda _: two.ask(ask_back), timeout=WAIT) == "refused"
        assert one.ask(lambda _: ours.ask(ask_back), timeout=WAIT) == "refused"
        assert two.ask(lambda _: one.ask("fine"), timeout=WAIT) > 0


def test_work_that_an_actor_gives_to_itself_by_proxy_is_done_later() -> None:
    class Cooperative(pykka.ThreadingActor):
        def __init__(self) -> None:
            super().__init__()
            self._in_future = self.actor_ref.proxy()
            self._kept: Any = None

        def start_work(self) -> None:
            self._kept = self._in_future.do_part(3)

        def do_part(self, left: int) -> str:
            if left:
                self._in_future.do_part(left - 1)
            return f"part {left}"

        def result(self) -> Any:
            return self._kept.get()  # it is there by now: no ask to wait for

    with running(functools.partial(PlainActor, Cooperative)) as (_, actor_ref):
        proxy = actor_ref.proxy()
        proxy.start_work().get(timeout=WAIT)
        assert proxy.result().get(timeout=WAIT) == "part 3"


def test_an_actor_that_waits_for_its_own_stop_is_told_and_stops() -> None:
    with running(functools.partial(PlainActor, Counter)) as (ref, actor_ref):
        with pytest.raises(DeadlockError):
            actor_ref.ask(lambda actor: actor.actor_ref.stop(), timeout=WAIT)
        assert ref.wait_terminated(WAIT)
        assert ref.reason == Shutdown(STOPPED)


def test_several_threads_may_wait_for_one_answer_each_for_its_own_time() -> None:
    with running(functools.partial(PlainActor, Counter)) as (_, actor_ref):
        release = held(actor_ref)
        future = actor_ref.ask("x", block=False)
        got: list[Any] = []
        patient = threading.Thread(target=lambda: got.append(future.get(timeout=WAIT)))
        patient.start()
        with pytest.raises(pykka.Timeout):
            future.get(timeout=0.0)
        release.set()
        patient.join(WAIT)
        assert got == [future.get()]


# -- below a supervisor


class Watcher(Behavior):
    """Starts one child, and keeps what it is told of it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self.told: list[Any] = []
        self.changed = threading.Condition()

    def on_start(self, ctx: Context) -> None:
        ctx.start(self._make, "child", wants_started=True)

    def on_message(self, message: object, ctx: Context) -> None:
        if callable(message):
            message(ctx)
            return
        with self.changed:
            self.told.append(message)
            self.changed.notify_all()

    def wait_for(self, count: int) -> list[Any]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.told) >= count, WAIT), self.told
            return list(self.told)


def test_its_parent_is_handed_the_plain_ref_and_told_of_the_end_when_it_is_dead_for_pykka() -> None:
    parent = Watcher(functools.partial(PlainActor, Counter))
    with running(lambda: parent) as (_, _parents):
        [started] = parent.wait_for(1)
        assert isinstance(started, Started)
        assert isinstance(started.info, pykka.ActorRef)
        assert started.info.proxy().add(4).get(timeout=WAIT) == 4
        assert started.info.stop(timeout=WAIT)
        assert parent.wait_for(2)[1] == Down(started.ref, Shutdown(STOPPED))


def test_an_abandoned_child_is_dead_for_pykka_when_its_parent_is_told() -> None:
    parent = Watcher(functools.partial(PlainActor, Counter))
    seen: list[bool] = []
    with running(lambda: parent) as (above, _):
        [started] = parent.wait_for(1)
        release = held(started.info)
        started.ref.watch(lambda _: seen.append(started.info.is_alive()))
        above.tell(lambda ctx: ctx.abandon(started.ref))
        assert isinstance(parent.wait_for(2)[1].reason, Abandoned)
        release.set()
        assert started.ref.wait_terminated(WAIT)
    assert seen == [False]


def test_a_supervisor_starts_it_again_and_nobody_elses_actors_notice(bystander: pykka.ActorRef[Counter]) -> None:
    refs: list[pykka.ActorRef[Any]] = []
    is_started = threading.Semaphore(0)

    class Announced(Counter):
        def on_start(self) -> None:
            refs.append(self.actor_ref)
            is_started.release()

    spec = ChildSpec("counter", functools.partial(PlainActor, Announced), backoff=Backoff(delay=0.0))
    supervisor = PykkaHost().start(Supervisor([spec]), "top")
    for error in (ValueError("bad"), SystemExit(2)):
        assert is_started.acquire(timeout=WAIT)
        assert pykka.ActorRegistry.get_by_class(Announced) == [refs[-1]]
        refs[-1].tell(raiser(error))
    assert is_started.acquire(timeout=WAIT)
    assert [ref.is_alive() for ref in refs] == [False, False, True]
    assert supervisor.stop(WAIT)
    assert not refs[-1].is_alive()
    assert pykka.ActorRegistry.get_all() == [bystander]
    assert bystander.proxy().count.get(timeout=WAIT) == 0


# -- makers


def test_only_classes_of_others_are_plain_actors() -> None:
    class Abstract(pykka.Actor):
        pass

    assert is_plain_actor(Counter)
    assert is_plain_actor(Abstract)
    assert is_plain_actor(pykka.ThreadingActor)
    for other in (pykka.Actor, BehaviorActor, PlainActor, Behavior, object, Counter.start, "Counter", None):
        assert not is_plain_actor(other)
        if other is not None:
            with pytest.raises(SpecError, match=r"actor_class: expected a class derived from pykka\.Actor"):
                PlainActor(other)  # type: ignore[arg-type]


def test_a_maker_can_be_carried_to_another_process_with_its_class() -> None:
    class Carried(pykka.ThreadingActor):
        def __init__(self, word: str, *, times: int) -> None:
            super().__init__()
            self.word = word * times

        def say(self) -> str:
            return self.word

    program = (
        "import sys\n"
        "from supervisors.actor import PykkaHost\n"
        "from supervisors.wire.values import decode_code\n"
        "for size in (int(word) for word in sys.argv[1:]):\n"
        "    ref = PykkaHost().start(decode_code(sys.stdin.buffer.read(size)), 'carried')\n"
        "    print(ref.wait_started(10).proxy().say().get(timeout=10))\n"
        "    assert ref.stop(10)\n"
    )
    makers = [functools.partial(PlainActor, Carried, "ab", times=2), PlainActor(Carried, "c", times=3)]
    codes = [encode_code(maker, "maker") for maker in makers]
    done = subprocess.run(
        [sys.executable, "-c", program, *(str(len(code)) for code in codes)],
        input=b"".join(codes),
        timeout=60,
        capture_output=True,
        check=False,
    )
    assert done.stderr == b""
    assert done.stdout.split() == [b"abab", b"ccc"]


# -- on the step host


@contextmanager
def stepping(seed: int) -> Iterator[StepHost]:
    host = StepHost(seed)
    yield host
    host.run()
    assert pykka.ActorRegistry.get_all() == [], seed


@pytest.mark.parametrize("seed", SEEDS)
def test_stepwise_it_does_what_it_does_on_threads(seed: int) -> None:
    log: list[Any] = []
    infos: list[Any] = []

    class Parent(Behavior):
        def on_start(self, ctx: Context) -> None:
            ctx.start(functools.partial(PlainActor, Counter, log=log), "child", wants_started=True)

        def on_message(self, message: object, ctx: Context) -> None:
            infos.append(message)
            if isinstance(message, Down):
                ctx.stop(Normal())

    with stepping(seed) as host:
        host.start(Parent(), "parent")
        host.run()
        started = infos[0]
        actor_ref = started.info
        assert pykka.ActorRegistry.get_all() == [actor_ref]
        proxy = actor_ref.proxy()
        # On one thread, `get` itself lets the actors go on.
        assert proxy.add(2).get() == 2
        with pytest.raises(TypeError):
            proxy.add("no number").get(timeout=1.0)
        actor_ref.tell(None)
        actor_ref.tell(raiser(ValueError("bad")))
        behind = actor_ref.ask("behind", block=False)
        assert actor_ref.is_alive()
        with pytest.raises(pykka.ActorDeadError):
            behind.get()
        assert not actor_ref.is_alive()
        host.run()
    assert isinstance(infos[1].reason, Raised)
    assert [entry if entry is None else entry[0] for entry in log] == ["on_start", None, "on_failure", "is_alive"]
    assert log[-1] == ("is_alive", False)


@pytest.mark.parametrize("seed", SEEDS)
def test_stepwise_actors_ask_each_other_and_are_stopped_in_the_middle_of_it(seed: int) -> None:
    class Front(pykka.ThreadingActor):
        def __init__(self, back: Any) -> None:
            super().__init__()
            self._back = back
            self.answers: list[Any] = []

        def work(self, number: int) -> None:
            try:
                self.answers.append(self._back.add(number).get())
            except pykka.ActorDeadError:
                self.answers.append("dead")

    with stepping(seed) as host:
        back = host.start(functools.partial(PlainActor, Counter), "back")
        host.run()
        [back_ref] = pykka.ActorRegistry.get_by_class(Counter)
        front = host.start(functools.partial(PlainActor, Front, back_ref.proxy()), "front")
        host.run()
        [front_ref] = pykka.ActorRegistry.get_by_class(Front)
        front_proxy = front_ref.proxy()
        for _ in range(5):
            front_proxy.work.defer(1)
        host.run_until(lambda: host.random.random() < 0.1)
        if seed % 2:
            back_ref.stop()
        else:
            back.kill()
        answers = front_proxy.answers.get()
        answered = [answer for answer in answers if answer != "dead"]
        assert answers == [*range(1, len(answered) + 1), *["dead"] * (5 - len(answered))]
        assert front_ref.stop() is True
        assert (front.reason, back.reason) == (Shutdown(STOPPED), Shutdown(STOPPED) if seed % 2 else Killed())


@pytest.mark.parametrize("seed", SEEDS)
def test_stepwise_a_supervisor_keeps_plain_actors_running(seed: int) -> None:
    lives: list[str] = []

    class Fragile(Counter):
        def on_start(self) -> None:
            lives.append(f"started, beside {len(pykka.ActorRegistry.get_by_class(Fragile)) - 1}")

        def on_stop(self) -> None:
            lives.append("stopped")

        def on_failure(self, *_: Any) -> None:
            lives.append("failed")

    with stepping(seed) as host:
        top = host.start(Supervisor([ChildSpec("fragile", functools.partial(PlainActor, Fragile))]), "top")
        for error in (ValueError("bad"), SystemExit(3)):
            host.run()
            [actor_ref] = pykka.ActorRegistry.get_all()
            actor_ref.tell(raiser(error))
        host.run()
        top.signal(END)
        host.run()
        assert top.reason == END.reason
    begun = "started, beside 0"
    assert lives == [begun, "failed", begun, "stopped", begun, "stopped"]


def test_stepwise_a_get_with_a_timeout_takes_simulated_time() -> None:
    with stepping(0) as host:
        ref = host.start(functools.partial(PlainActor, Counter), "actor")
        host.run()
        [actor_ref] = pykka.ActorRegistry.get_all()
        ref.suspend()
        future = actor_ref.ask("x", block=False)
        with pytest.raises(pykka.Timeout):
            future.get(timeout=3_600.0)
        assert host.now() == 3_600.0
        ref.resume()
        assert future.get(timeout=5.0) == 2
        ref.signal(END)


# -- in a process of its own


class Resident(pykka.ThreadingActor):
    """Lives in a process, and does there what actors do."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.got: list[object] = []

    def on_receive(self, message: Any) -> Any:
        match message:
            case "fail":
                raise ValueError(message)
            case "remind":
                self.actor_ref.tell("reminder")
                return len(self.got)
            case "ask myself":
                return self.actor_ref.ask("anything")
            case "leave":
                self.stop()
                return "leaving"
            case "got":
                return self.got
            case int():
                return message * self.factor
        self.got.append(message)
        return None


def check_resident(ask: Callable[[object], Any]) -> None:
    assert ask(4) == 12
    with pytest.raises(ValueError, match="fail"):
        ask("fail")
    assert ask("remind") == 0
    assert ask("got") == ["reminder"], "an ask that failed has not ended it"
    with pytest.raises(DeadlockError):
        ask("ask myself")
    assert ask("leave") == "leaving"


@pytest.mark.processes
def test_it_runs_in_a_process_of_its_own_and_is_supervised_there() -> None:
    spec = ChildSpec("resident", Resident, (3,), backing="process", restart="transient")
    with start_supervisor([spec]) as top:
        child = top.child("resident")
        assert child.pid not in {None, os.getpid()}
        assert child.info is None, "its Pykka ref is of no use here"
        ref = child.ref
        ended = threading.Event()
        ref.watch(lambda _reason: ended.set())
        check_resident(lambda message: child.ask(message, WAIT))
        assert ended.wait(WAIT)
        assert ref.reason == Shutdown(STOPPED)
    assert not pykka.ActorRegistry.get_by_class(Resident)


def test_in_a_simulated_process_it_does_the_same_in_every_order() -> None:
    for seed in range(50):
        host = StepHost(seed)
        ref = host.start(ProcessActor(functools.partial(PlainActor, Resident, 3)), "resident")
        check_resident(lambda message, ref=ref: ref.ask(message, None))  # type: ignore[misc]  # bound at once
        host.run()
        assert ref.reason == Shutdown(STOPPED)
