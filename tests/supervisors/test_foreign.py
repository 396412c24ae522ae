"""References to actors that somebody else started, on Pykka's own loop."""

from __future__ import annotations

import functools
import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pykka
import pytest

from supervisors.actor import PykkaHost
from supervisors.behavior import Behavior, Context, Link, Ref
from supervisors.errors import StartError
from supervisors.foreign import ForeignRef, as_ref
from supervisors.messages import Down, Exit, Kill, Linked, Resume, Suspend, Terminate, Unlinked
from supervisors.plain import PlainActor
from supervisors.reasons import Killed, Normal, Raised, Reason, Shutdown
from supervisors.testing import StepHost

WAIT = 10.0


class Foreign(pykka.ThreadingActor):
    """Keeps what it is told; does what a callable among it says."""

    def __init__(
        self, *, on_stop: Callable[[], object] | None = None, on_start: Callable[[], object] | None = None
    ) -> None:
        super().__init__()
        self.got: list[Any] = []
        self._on_stop = on_stop
        self._on_start = on_start

    def on_start(self) -> None:
        if self._on_start is not None:
            self._on_start()

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.got.append(message)
        return len(self.got)

    def on_stop(self) -> None:
        if self._on_stop is not None:
            self._on_stop()

    def on_failure(self, *_: Any) -> None:
        self.on_stop()


class Told:
    """What a watch told, and when."""

    def __init__(self) -> None:
        self.reasons: list[Reason] = []
        self._is_told = threading.Semaphore(0)

    def __call__(self, reason: Reason) -> None:
        self.reasons.append(reason)
        self._is_told.release()

    def wait(self) -> Reason:
        assert self._is_told.acquire(timeout=WAIT)
        return self.reasons[-1]


@pytest.fixture(autouse=True)
def no_actors_left() -> Iterator[None]:
    yield
    for ref in pykka.ActorRegistry.get_all():
        ref.stop(timeout=WAIT)


def raiser(error: BaseException) -> Callable[..., None]:
    def act(*_: Any) -> None:
        raise error

    return act


def watchers_of(ref: pykka.ActorRef[Any]) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"watch of {ref}"]


@contextmanager
def disabled_logging() -> Iterator[None]:
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


# -- ends


def test_an_actor_that_is_stopped_ended_normally_when_its_last_hook_has_returned() -> None:
    in_hook, release = threading.Event(), threading.Event()

    def on_stop() -> None:
        in_hook.set()
        assert release.wait(WAIT)

    actor_ref = Foreign.start(on_stop=on_stop)
    ref, told = ForeignRef(actor_ref), Told()
    ref.watch(told)
    stopped = actor_ref.stop(block=False)
    assert in_hook.wait(WAIT)
    assert not actor_ref.is_alive()
    assert ref.reason is None
    assert told.reasons == []
    release.set()
    assert told.wait() == Normal()
    assert ref.reason == Normal()
    assert not ref.is_alive
    assert stopped.get(timeout=WAIT) is True


def test_an_actor_that_failed_raised_what_it_raised_when_its_last_hook_has_returned() -> None:
    in_hook, release = threading.Event(), threading.Event()

    def on_failure() -> None:
        in_hook.set()
        assert release.wait(WAIT)

    actor_ref = Foreign.start(on_stop=on_failure)
    ref, told = ForeignRef(actor_ref), Told()
    ref.watch(told)
    actor_ref.tell(raiser(ValueError("bad")))
    assert in_hook.wait(WAIT)
    assert ref.reason is None
    release.set()
    reason = told.wait()
    assert isinstance(reason, Raised)
    assert (reason.error.type, reason.error.text) == ("ValueError", "bad")
    assert "in act" in reason.error.traceback
    assert ref.reason == reason


def test_why_it_ended_is_known_without_a_watch_and_the_same_for_all_its_refs() -> None:
    actor_ref = Foreign.start()
    first, second, told = ForeignRef(actor_ref), ForeignRef(actor_ref), Told()
    actor_ref.tell(lambda actor: actor.missing)
    second.watch(told)
    reason = told.wait()
    assert isinstance(reason, Raised)
    assert reason == first.reason == second.reason
    assert ForeignRef(actor_ref).reason == reason


def test_an_actor_whose_on_start_raises_has_raised() -> None:
    is_watched = threading.Event()

    def on_start() -> None:
        assert is_watched.wait(WAIT)
        raise OSError("no file")

    actor_ref = Foreign.start(on_start=on_start)
    ref, told = ForeignRef(actor_ref), Told()
    ref.watch(told)
    is_watched.set()
    reason = told.wait()
    assert isinstance(reason, Raised)
    assert reason.error.type == "OSError"


def test_an_exit_that_makes_pykka_stop_everybody_is_told_before_it_does() -> None:
    told, is_over = Told(), threading.Event()

    def on_stop() -> None:
        # Pykka stops this actor next, and waits for it: were the end told later, it would be too late.
        told.wait()
        is_over.set()

    Foreign.start(on_stop=on_stop)
    actor_ref = Foreign.start()
    ForeignRef(actor_ref).watch(told)
    actor_ref.tell(raiser(SystemExit(3)))
    assert is_over.wait(WAIT)
    [reason] = told.reasons
    assert isinstance(reason, Raised)
    assert (reason.error.type, reason.error.text) == ("SystemExit", "3")


@pytest.mark.parametrize("error", [ValueError("in hook"), SystemExit("in hook")])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_a_last_hook_raises_changes_no_reason(error: BaseException) -> None:
    for end, expected in ((lambda actor: actor.stop(), Normal), (raiser(LookupError("first")), Raised)):
        actor_ref = Foreign.start(on_stop=raiser(error))
        told = Told()
        ref = ForeignRef(actor_ref)
        ref.watch(told)
        actor_ref.tell(end)
        reason = told.wait()
        assert isinstance(reason, expected)
        assert ref.reason == reason
        if isinstance(reason, Raised):
            assert reason.error.text == "first"


def test_an_actor_that_is_dead_already_answers_at_once_and_without_a_thread() -> None:
    actor_ref = Foreign.start()
    actor_ref.stop(timeout=WAIT)
    ref, told = ForeignRef(actor_ref), Told()
    unwatch = ref.watch(told)
    assert told.reasons == [Normal()]
    assert not unwatch()
    assert ref.reason == Normal()
    assert watchers_of(actor_ref) == []
    assert not ref.tell("late")
    assert not ref.signal(Terminate(Shutdown("late")))
    ref.kill()
    assert ref.reason == Normal()


def test_why_an_actor_ended_is_known_when_it_has_been_freed() -> None:
    actor_ref = Foreign.start()
    ref, told = ForeignRef(actor_ref), Told()
    ref.watch(told)
    with disabled_logging():  # pytest keeps what is logged, and by its traceback the actor
        actor_ref.tell(raiser(ValueError("bad")))
        reason = told.wait()
    gc.collect()
    assert actor_ref._actor_weakref() is None
    assert ForeignRef(actor_ref).reason == reason == ref.reason


def test_an_actor_that_is_gone_without_pykkas_knowledge_was_killed() -> None:
    actor_ref = Foreign().actor_ref  # never started, and freed
    gc.collect()
    assert actor_ref.is_alive()
    ref, told = ForeignRef(actor_ref), Told()
    ref.watch(told)
    assert told.reasons == [Killed()]


def test_an_actor_that_sets_its_own_stopped_flag_has_ended_normally() -> None:
    actor_ref = Foreign.start()
    told = Told()
    ForeignRef(actor_ref).watch(told)
    actor_ref.tell(lambda actor: actor.actor_stopped.set())
    assert told.wait() == Normal()
    pykka.ActorRegistry.unregister(actor_ref)  # Pykka leaves it there


# -- watching


def test_one_thread_waits_for_an_actor_from_its_first_watch_to_its_end() -> None:
    actor_ref = Foreign.start()
    refs = [ForeignRef(actor_ref) for _ in range(3)]
    assert watchers_of(actor_ref) == []
    told = [Told() for _ in range(6)]
    for number, notify in enumerate(told):
        refs[number % 3].watch(notify)
    [thread] = watchers_of(actor_ref)
    assert thread.daemon
    actor_ref.stop(timeout=WAIT)
    thread.join(WAIT)
    assert not thread.is_alive()
    assert [notify.reasons for notify in told] == [[Normal()]] * 6


def test_a_watch_can_be_taken_back() -> None:
    actor_ref = Foreign.start()
    ref, kept, dropped = ForeignRef(actor_ref), Told(), Told()
    unwatch = ref.watch(dropped)
    too_late = ref.watch(kept)
    assert unwatch()
    assert not unwatch()
    actor_ref.stop(timeout=WAIT)
    kept.wait()
    assert not too_late()
    assert dropped.reasons == []


def test_no_thread_to_wait_with_is_a_start_error(monkeypatch: pytest.MonkeyPatch) -> None:
    actor_ref = Foreign.start()
    ref, told = ForeignRef(actor_ref), Told()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(StartError, match="cannot be watched: can't start"):
            ref.watch(told)
    ref.watch(told)
    actor_ref.stop(timeout=WAIT)
    assert told.wait() == Normal()
    assert len(told.reasons) == 1


def test_every_watch_is_told_exactly_once_whoever_is_first() -> None:
    for _ in range(50):
        actor_ref = Foreign.start()
        refs = [ForeignRef(actor_ref) for _ in range(2)]
        told = [Told() for _ in range(8)]
        deeds: list[Callable[[], object]] = [
            refs[0].kill,
            functools.partial(actor_ref.stop, block=False),
            *(functools.partial(refs[number % 2].watch, notify) for number, notify in enumerate(told)),
        ]
        threads = [threading.Thread(target=deed) for deed in deeds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        for notify in told:
            notify.wait()
        for thread in watchers_of(actor_ref):
            thread.join(WAIT)
        for number, notify in enumerate(told):
            assert notify.reasons == [refs[number % 2].reason]
        assert refs[1].reason == Normal()


def test_an_actor_that_was_watched_is_freed_as_any_other() -> None:
    actor_ref = Foreign.start()
    actor = weakref.ref(actor_ref.ask(lambda actor: actor, timeout=WAIT))
    told = Told()
    ForeignRef(actor_ref).watch(told)
    is_freed = threading.Event()
    weakref.finalize(actor(), is_freed.set)
    gc.disable()  # it must not take the collector to free it
    try:
        actor_ref.stop(timeout=WAIT)
        assert is_freed.wait(WAIT)
    finally:
        gc.enable()
    told.wait()


# -- messages


def test_it_is_told_messages_until_it_ends() -> None:
    actor_ref = Foreign.start()
    ref: Ref = ForeignRef(actor_ref)
    assert ref.name == ref.path == str(actor_ref)
    assert ref.tell("told")
    assert ref.signal("signalled")
    assert actor_ref.proxy().got.get(timeout=WAIT) == ["told", "signalled"]
    actor_ref.stop(timeout=WAIT)
    assert not ref.tell("late")


def test_a_request_to_end_stops_it_after_what_it_was_told() -> None:
    got: list[Any] = []
    actor_ref = Foreign.start()
    ref, told = ForeignRef(actor_ref), Told()
    ref.watch(told)
    ref.tell(lambda actor: got.extend(actor.got))
    assert ref.signal(Terminate(Shutdown("end")))
    assert told.wait() == Normal()
    assert not actor_ref.is_alive()


def test_it_can_be_neither_suspended_nor_ended_by_force() -> None:
    actor_ref = Foreign.start()
    ref, beside, told = ForeignRef(actor_ref), ForeignRef(actor_ref), Told()
    ref.watch(told)
    assert not ref.signal(Suspend())
    assert not ref.signal(Resume())
    assert ref.signal(Kill())
    assert told.reasons == [Killed()]
    assert ref.reason == Killed()
    assert not ref.tell("fenced off")
    assert not ref.signal(Terminate(Shutdown("fenced off")))
    assert actor_ref.is_alive()
    assert beside.reason is None
    late = Told()
    ref.watch(late)
    assert late.reasons == [Killed()]
    ref.kill()
    actor_ref.stop(timeout=WAIT)
    for thread in watchers_of(actor_ref):
        thread.join(WAIT)
    assert told.reasons == [Killed()]
    assert (ref.reason, beside.reason) == (Killed(), Normal())


def test_one_that_hangs_in_its_last_hook_can_still_be_fenced_off() -> None:
    in_hook, release = threading.Event(), threading.Event()

    def on_stop() -> None:
        in_hook.set()
        assert release.wait(WAIT)

    actor_ref = Foreign.start(on_stop=on_stop)
    ref, told = ForeignRef(actor_ref), Told()
    ref.watch(told)
    assert ref.signal(Terminate(Shutdown("end")))
    assert in_hook.wait(WAIT)
    ref.kill()
    assert told.reasons == [Killed()]
    release.set()


@pytest.mark.parametrize(
    ("reason", "is_tied", "lives"),
    [
        (Raised, True, False),
        (Shutdown, True, True),
        (Raised, False, True),
    ],
)
def test_a_link_ends_it_with_the_other_unless_that_ended_cleanly(reason: Any, is_tied: bool, lives: bool) -> None:
    actor_ref = Foreign.start()
    ref, other = ForeignRef(actor_ref), ForeignRef(Foreign.start())
    link = Link((other, ref))
    link.is_tied = is_tied
    assert ref.signal(Linked(link))
    assert ref.signal(Exit(other, Killed() if reason is Raised else reason("x"), link))
    behind = actor_ref.ask("behind what it was told by the link", block=False)
    if lives:
        assert behind.get(timeout=WAIT) == 1
    else:
        with pytest.raises(pykka.ActorDeadError):
            behind.get(timeout=WAIT)


def test_what_is_said_of_its_links_is_never_told_to_it() -> None:
    actor_ref = Foreign.start()
    ref, other = ForeignRef(actor_ref), ForeignRef(Foreign.start())
    link = Link((other, ref))
    assert ref.signal(Linked(link))
    assert ref.signal(Unlinked(link))
    assert actor_ref.ask(lambda actor: list(actor.got), timeout=WAIT) == []
    for each in (actor_ref, other.actor_ref):
        each.stop(timeout=WAIT)


# -- for actors of ours


def test_an_actor_of_ours_monitors_it_and_is_linked_to_it() -> None:
    told: list[Any] = []
    changed = threading.Semaphore(0)

    class Keeper(Behavior):
        traps_exits = True

        def __init__(self, refs: list[Ref]) -> None:
            self.refs = refs

        def on_start(self, ctx: Context) -> None:
            ctx.monitor(self.refs[0])
            ctx.link(self.refs[1])
            ctx.link(self.refs[2])

        def on_message(self, message: object, ctx: Context) -> None:
            if isinstance(message, BaseException):
                raise message
            told.append(message)
            changed.release()

    actors = [Foreign.start() for _ in range(3)]
    refs: list[Ref] = [ForeignRef(actor) for actor in actors]
    keeper = PykkaHost().start(Keeper(refs), "keeper")
    keeper.wait_started(WAIT)
    actors[0].tell(raiser(ValueError("bad")))
    assert changed.acquire(timeout=WAIT)
    actors[1].stop(timeout=WAIT)
    assert changed.acquire(timeout=WAIT)
    [down, gone] = told
    assert isinstance(down, Down)
    assert down.ref is refs[0]
    assert isinstance(down.reason, Raised)
    assert isinstance(gone, Exit)
    assert (gone.ref, gone.reason) == (refs[1], Normal())
    keeper.tell(ValueError("end of the keeper"))
    assert actors[2].actor_stopped.wait(WAIT)
    assert keeper.wait_terminated(WAIT)


def test_every_reference_to_an_actor_leads_to_its_one_address() -> None:
    host = PykkaHost()
    ours, plain = host.start(Behavior(), "ours"), host.start(PlainActor(Foreign), "plain")
    plain_ref = plain.wait_started(WAIT)
    foreign = Foreign.start()
    foreign_ref = as_ref(foreign)
    assert isinstance(foreign_ref, ForeignRef)
    assert foreign_ref.actor_ref is foreign
    assert as_ref(foreign_ref) is foreign_ref
    assert as_ref(ours) is as_ref(ours.actor_ref) is ours
    assert as_ref(plain) is as_ref(plain_ref) is plain
    for nothing in (None, "plain", Foreign, foreign.actor_urn, Behavior()):
        assert as_ref(nothing) is None
    for ref in (ours, plain):
        assert ref.stop(WAIT)
        assert as_ref(ref.actor_ref) is ref


def test_on_the_step_host_too_a_plain_ref_leads_to_its_life() -> None:
    host = StepHost(0)
    ref = host.start(PlainActor(Foreign), "plain")
    host.run()
    [plain_ref] = pykka.ActorRegistry.get_all()
    assert as_ref(plain_ref) is ref
    ref.signal(Terminate(Shutdown("end")))
    host.run()
