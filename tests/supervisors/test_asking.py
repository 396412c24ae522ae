from __future__ import annotations

import concurrent.futures
import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pykka
import pytest

from supervisors.actor import PykkaRef
from supervisors.asking import Ask, AskableMailbox, FutureAnswer, PoisonPill
from supervisors.behavior import Answer, Behavior, Context, Ref
from supervisors.errors import (
    ActorEndedError,
    AskTimeoutError,
    DeadlockError,
    MailboxClosedError,
    MailboxFullError,
    SpecError,
)
from supervisors.mailbox import Mailbox, Overflow
from supervisors.messages import Terminate
from supervisors.reasons import Killed, Normal, Raised, Reason, Shutdown
from supervisors.ref import LifeRef
from supervisors.testing import StepHost
from tests.supervisors.recorder import END, WAIT, Recorder, World, do, hold, open_world, raiser

# -- the answer


class End:
    """An actor's end, as an answer sees it."""

    def __init__(self) -> None:
        self.watchers: dict[int, Callable[[Reason], object]] = {}

    def watch(self, notify: Callable[[Reason], object]) -> Callable[[], bool]:
        key = len(self.watchers)
        self.watchers[key] = notify
        return lambda: self.watchers.pop(key, None) is not None

    def come(self, reason: Reason) -> None:
        watchers, self.watchers = self.watchers, {}
        for notify in watchers.values():
            notify(reason)


def test_the_first_answer_counts_and_the_end_is_not_watched_any_more() -> None:
    end = End()
    answer = FutureAnswer("a", end.watch)
    answer.set_reply(1)
    answer.set_reply(2)
    answer.set_error(ValueError())
    answer.set_dead(Normal())
    assert answer.future.result(0) == 1
    assert end.watchers == {}


def test_the_end_of_the_actor_is_the_answer_where_there_is_no_other() -> None:
    end = End()
    answer = FutureAnswer("tree/a", end.watch)
    end.come(Shutdown("done"))
    answer.set_reply("late")
    with pytest.raises(ActorEndedError, match=r"actor tree/a ended without answering: shut down \(done\)") as caught:
        answer.future.result(0)
    assert caught.value.reason == Shutdown("done")


def test_an_actor_that_has_ended_answers_at_once() -> None:
    def watch(notify: Callable[[Reason], object]) -> Callable[[], bool]:
        notify(Normal())
        return lambda: False

    assert isinstance(FutureAnswer("a", watch).future.exception(0), ActorEndedError)


def test_a_cancelled_answer_is_wanted_no_more_and_takes_none() -> None:
    end = End()
    answer = FutureAnswer("a", end.watch)
    assert answer.is_wanted
    assert answer.future.cancel()
    assert not answer.is_wanted
    answer.set_reply(1)
    answer.set_dead(Normal())
    assert answer.future.cancelled()
    assert end.watchers == {}


def test_who_waits_for_several_futures_is_told_of_a_cancelled_one() -> None:
    answer = FutureAnswer("a", End().watch)
    answer.future.cancel()
    assert concurrent.futures.wait([answer.future], timeout=0).not_done == set()


def test_an_answer_is_gone_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        answer = FutureAnswer("a", End().watch)
        future = weakref.ref(answer.future)
        answer.set_reply(1)
        del answer
        assert future() is None
    finally:
        gc.enable()


def test_of_many_that_answer_at_once_one_does() -> None:
    for _ in range(50):
        answer = FutureAnswer("a", End().watch)
        start = threading.Barrier(4)

        def give(act: Callable[[], object], start: threading.Barrier = start) -> None:
            start.wait(WAIT)
            act()

        acts: list[Callable[[], object]] = [
            lambda answer=answer: answer.set_reply(1),  # type: ignore[misc]
            lambda answer=answer: answer.set_error(ValueError()),  # type: ignore[misc]
            lambda answer=answer: answer.set_dead(Normal()),  # type: ignore[misc]
            answer.future.cancel,
        ]
        threads = [threading.Thread(target=give, args=(act,)) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert answer.future.done()


# -- the mailbox


class Owner:
    def __init__(self) -> None:
        self.asks: list[Ask] = []

    def take_up(self, ask: Ask) -> object:
        self.asks.append(ask)
        return ask.message


def make_mailbox(capacity: int | None = None, overflow: Overflow = "reject") -> AskableMailbox:
    mailbox = AskableMailbox(capacity, overflow=overflow)
    mailbox.own(Owner())
    return mailbox


def make_ask(message: object) -> tuple[Ask, Future[Any]]:
    answer = FutureAnswer("a", End().watch)
    return Ask(message, answer), answer.future


def test_of_an_ask_the_message_is_taken_and_a_cancelled_one_is_skipped() -> None:
    mailbox = make_mailbox()
    (first, cancelled), (second, _) = make_ask("first"), make_ask("second")
    cancelled.cancel()
    for message in (first, second, "plain"):
        mailbox.put(message)
    assert [mailbox.try_take() for _ in range(3)] == ["second", "plain", None]
    assert isinstance(mailbox._owner, Owner)
    assert mailbox._owner.asks == [second]


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_an_ask_that_is_dropped_is_answered_that_there_was_no_room(overflow: Overflow) -> None:
    mailbox = make_mailbox(1, overflow)
    (first, one), (second, two) = make_ask("first"), make_ask("second")
    mailbox.put(first)
    mailbox.put(second)
    dropped, kept = (one, two) if overflow == "drop_oldest" else (two, one)
    assert isinstance(dropped.exception(0), MailboxFullError)
    assert not kept.done()
    assert len(mailbox) == 1


def test_a_pill_ends_the_actor_after_all_that_was_before_it() -> None:
    mailbox = make_mailbox()
    mailbox.put("before")
    mailbox.put_pill(PoisonPill("enough"))
    mailbox.put("behind")
    assert mailbox.try_take() == "before"
    assert mailbox.try_take() is None
    assert mailbox.try_take_control() == Terminate(Shutdown("enough"))


@pytest.mark.parametrize("overflow", ["reject", "drop_oldest", "drop_newest", "wait"])
def test_a_pill_finds_its_place_in_a_full_mailbox_and_is_never_dropped(overflow: Overflow) -> None:
    mailbox = make_mailbox(1, overflow)
    mailbox.put("before")
    mailbox.put_pill(PoisonPill("one"))
    mailbox.put_pill(PoisonPill("two"))
    for message in ("behind", "further behind"):
        try:
            mailbox.put(message, 0.0)
        except MailboxFullError:
            assert overflow in {"reject", "wait"}
    while mailbox.try_take_control() is None:
        mailbox.try_take()
    mailbox.try_take()
    assert mailbox.try_take_control() == Terminate(Shutdown("two"))


def test_a_mailbox_of_an_actors_own_is_no_other_actors(world: World) -> None:
    mailbox = AskableMailbox()
    ref = world.start(Recorder(), mailbox=mailbox)
    with pytest.raises(SpecError, match="expected a new one"):
        world.start(Recorder(), "other", mailbox=mailbox)
    assert do(ref, lambda _: "undisturbed") == "undisturbed"


def test_a_closed_mailbox_takes_no_pill() -> None:
    mailbox = make_mailbox()
    mailbox.close()
    with pytest.raises(MailboxClosedError):
        mailbox.put_pill(PoisonPill("late"))


# -- asks of actors, on threads and in steps


def test_an_ask_brings_the_reply_and_comes_after_all_data_before_it(world: World) -> None:
    behavior = Recorder()
    ref = world.start(behavior)
    for number in range(3):
        ref.tell(number)
    assert do(ref, lambda _: list(behavior.got)) == [0, 1, 2]


def test_an_ask_that_nobody_answers_brings_none_and_a_second_reply_is_dropped(world: World) -> None:
    ref = world.start(Recorder())

    def reply_twice(ctx: Context) -> None:
        ctx.reply("first")
        ctx.reply("second")

    assert ref.ask("x", WAIT) is None
    assert ref.ask(reply_twice, WAIT) == "first"


def test_what_the_handling_raises_goes_to_the_asker_and_ends_the_actor(world: World) -> None:
    ref = world.start(Recorder())
    behind = Future[Any]()
    with pytest.raises(LookupError, match="no such thing"):
        ref.ask(raiser(LookupError("no such thing")), WAIT)
    assert isinstance(ref.wait_ended(WAIT), Raised)
    behind = ref.ask_future("late")
    assert isinstance(behind.exception(WAIT), ActorEndedError)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_would_end_a_program_ends_the_actor_and_not_who_asked(world: World, error: BaseException) -> None:
    ref = world.start(Recorder())
    with pytest.raises(ActorEndedError, match=type(error).__name__):
        ref.ask(raiser(error), WAIT)
    assert isinstance(ref.wait_ended(WAIT), Raised)


@pytest.mark.parametrize("make", [AskableMailbox, Mailbox])
def test_an_ask_to_a_dead_actor_raises_at_once(world: World, make: type[Mailbox]) -> None:
    ref = world.start(Recorder(), mailbox=make())
    ref.signal(END)
    assert ref.wait_ended(WAIT) == END.reason
    with pytest.raises(ActorEndedError):
        ref.ask("x")
    with pytest.raises(ActorEndedError):
        ref.get_state()


@pytest.mark.parametrize("make", [AskableMailbox, Mailbox])
def test_asks_that_wait_are_answered_by_the_end(world: World, make: type[Mailbox]) -> None:
    behavior = Recorder()
    ref = world.start(behavior, mailbox=make())
    world.settle(ref)
    ref.suspend()
    asked = [ref.ask_future(number) for number in range(3)]
    ref.signal(END)
    for future in asked:
        if isinstance(world.host, StepHost):
            world.host.run()
        assert isinstance(future.exception(WAIT), ActorEndedError)
    assert behavior.got == []


def test_an_ask_that_is_not_answered_in_time_is_never_handled(world: World) -> None:
    behavior = Recorder()
    ref = world.start(behavior)
    world.settle(ref)
    ref.suspend()
    with pytest.raises(AskTimeoutError, match=r"actor actor did not answer within 0\.01 s"):
        ref.ask("late", 0.01)
    cancelled = ref.ask_future("cancelled")
    assert cancelled.cancel()
    ref.resume()
    assert do(ref, lambda _: list(behavior.got)) == []


def test_an_ask_in_a_control_lane_that_is_cancelled_is_never_handled(threads: World) -> None:
    behavior = Recorder()
    ref = threads.start(behavior, mailbox=Mailbox())
    release = hold(ref)
    assert ref.ask_future("cancelled").cancel()
    with pytest.raises(AskTimeoutError):
        ref.ask("late", 0.0)
    release.set()
    assert do(ref, lambda _: list(behavior.got)) == []


def test_a_reply_in_the_last_moment_is_brought_and_not_called_late() -> None:
    class Last(Future[str]):
        def cancel(self) -> bool:
            self.set_result("just in time")
            return False

    with open_world("threads") as world:
        ref = world.start(Recorder())
        assert ref.life.wait_answered(Last(), 0.0) == "just in time"


def test_an_actors_own_timeout_error_is_no_late_answer(world: World) -> None:
    ref = world.start(Recorder())
    with pytest.raises(TimeoutError, match="of its own") as caught:
        ref.ask(raiser(TimeoutError("of its own")), WAIT)
    assert type(caught.value) is TimeoutError


def test_an_ask_waits_for_room_no_longer_than_for_its_reply(threads: World) -> None:
    ref = start_bounded(threads, Recorder(), "wait")
    release = hold(ref)
    ref.tell("fills it")
    for timeout in (0.0, 0.01):
        with pytest.raises(MailboxFullError):
            ref.ask("no room", timeout)
        with pytest.raises(MailboxFullError):
            ref.ask_future("no room", timeout)
    release.set()
    assert ref.ask("room", WAIT) is None


def test_an_ask_to_a_full_mailbox_is_refused_and_nothing_is_watched(threads: World) -> None:
    ref = start_bounded(threads, Recorder(), "reject")
    release = hold(ref)
    ref.tell("fills it")
    before = watchers_of(ref)
    for _ in range(3):
        with pytest.raises(MailboxFullError):
            ref.ask("no room", WAIT)
        with pytest.raises(MailboxFullError):
            pykka_ref(ref).ask("no room", block=False)
    assert watchers_of(ref) == before
    release.set()


def test_an_actor_never_waits_for_room_when_it_asks(threads: World) -> None:
    full, asker = start_bounded(threads, Recorder(), "wait"), threads.start(Recorder(), "asker")
    release = hold(full)
    full.tell("fills it")
    with pytest.raises(MailboxFullError):
        do(asker, lambda _: full.ask("x"))
    other = threads.start(Recorder(), "other")
    with pytest.raises(MailboxFullError):
        do(other, lambda _: pykka_ref(full).tell("x"))
    release.set()


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_an_ask_that_a_policy_drops_raises_that_there_was_no_room(threads: World, overflow: Overflow) -> None:
    ref = start_bounded(threads, Recorder(), overflow)
    release = hold(ref)
    first = ref.ask_future("first")
    second = ref.ask_future("second")
    release.set()
    errors = [future.exception(WAIT) for future in (first, second)]
    assert [type(error) for error in errors].count(MailboxFullError) == 1
    assert errors.count(None) == 1


def test_pykkas_stop_ends_an_actor_whose_mailbox_is_full(threads: World) -> None:
    for overflow in ("reject", "drop_oldest", "drop_newest", "wait"):
        behavior = Recorder()
        ref = start_bounded(threads, behavior, overflow)  # type: ignore[arg-type]
        release = hold(ref)
        ref.tell("before")
        stopped = pykka_ref(ref).stop(block=False)
        if overflow.startswith("drop"):
            ref.tell("behind")
        release.set()
        assert stopped.get(timeout=WAIT) is True
        assert ref.reason == Shutdown("stopped through its Pykka ref")


def test_an_ask_to_oneself_raises_and_sends_nothing(world: World) -> None:
    for capacity in (None, 1):
        behavior = Recorder()
        mailbox = AskableMailbox(capacity, overflow="drop_oldest")
        ref = world.start(behavior, mailbox=None if capacity is None else mailbox)
        with pytest.raises(DeadlockError) as caught:
            do(ref, lambda ctx: ctx.ref.ask("me"))
        assert caught.value.ring == ("actor", "actor")
        assert behavior.got == []


def test_an_ask_to_oneself_pushes_nothing_out_of_a_full_mailbox(world: World) -> None:
    def ask_oneself(ctx: Context) -> None:
        ctx.mailbox.put("kept")
        with pytest.raises(DeadlockError):
            ctx.ref.ask("me")  # type: ignore[attr-defined]

    behavior = Recorder()
    ref = world.start(behavior, mailbox=AskableMailbox(1, overflow="drop_oldest"))
    ref.ask(ask_oneself, WAIT)
    if world.is_threaded:
        behavior.wait_for(1)
    world.settle()
    assert behavior.got == ["kept"]
    assert ref.mailbox_stats.dropped == 0


@pytest.mark.parametrize("call", [LifeRef.get_state, LifeRef.wait_ended])
def test_who_wants_to_know_of_itself_must_not_wait_for_it(world: World, call: Callable[[Any], object]) -> None:
    ref = world.start(Recorder())
    with pytest.raises(DeadlockError):
        do(ref, lambda ctx: call(ctx.ref))


@pytest.mark.parametrize("size", [2, 3, 5])
def test_an_ask_around_a_ring_raises_instead_of_hanging(world: World, size: int) -> None:
    refs = [world.start(Recorder(), f"a{number}") for number in range(size)]

    def pass_on(number: int) -> Callable[[Context], object]:
        return lambda ctx: ctx.reply(refs[number % size].ask(pass_on(number + 1)))

    with pytest.raises(DeadlockError) as caught:
        refs[0].ask(pass_on(1), WAIT)
    assert caught.value.ring[0] == caught.value.ring[-1]
    assert len(caught.value.ring) == size + 1


def test_an_actor_may_go_on_after_a_deadlock_that_it_expects(world: World) -> None:
    def careful(ctx: Context) -> str:
        try:
            ctx.ref.ask("me")
        except DeadlockError:
            return "caught"
        return "asked"

    ref = world.start(Recorder())
    assert do(ref, careful) == "caught"
    assert do(ref, careful) == "caught"


def test_one_that_has_replied_may_ask_the_asker_back_at_once(threads: World) -> None:
    server, client = threads.start(Recorder(), "server"), threads.start(Recorder(), "client")
    errors: list[BaseException] = []

    def serve(ctx: Context) -> None:
        ctx.reply("reply")
        try:
            client.ask("and you?", WAIT)
        except DeadlockError as error:
            errors.append(error)

    for _ in range(300):
        assert do(client, lambda _: server.ask(serve, WAIT)) == "reply"
    assert errors == []


def test_an_actor_that_ends_while_it_is_asked_around_lets_the_asker_go(threads: World) -> None:
    asker, stuck = threads.start(Recorder(), "asker"), threads.start(Recorder(), "stuck")
    is_asking = threading.Event()
    release = hold(asker)
    stuck.tell(lambda _: [is_asking.set(), asker.ask("x")])
    assert is_asking.wait(WAIT)
    stuck.kill()
    release.set()
    with pytest.raises(ActorEndedError):
        # Its thread waits for the asker still, but nobody waits for an actor that has ended.
        do(asker, lambda _: stuck.ask("y", WAIT))


def test_a_deferred_answer_may_come_later_and_from_another_thread(world: World) -> None:
    owed: list[Answer | None] = []
    ref = world.start(Recorder())
    first = ref.ask_future(lambda ctx: owed.append(ctx.defer()))
    second = ref.ask_future(lambda ctx: owed.append(ctx.defer()))
    world.settle(ref)
    assert not first.done()
    for number, answer in enumerate(owed):
        assert answer is not None
        thread = threading.Thread(target=answer.set_reply, args=(number,))
        thread.start()
        thread.join(WAIT)
    assert (first.result(WAIT), second.result(WAIT)) == (0, 1)


def test_what_is_no_ask_cannot_be_deferred_and_a_reply_to_it_is_dropped(world: World) -> None:
    seen: list[object] = []
    ref = world.start(Recorder())
    ref.tell(lambda ctx: seen.append(ctx.defer()))
    ref.tell(lambda ctx: seen.append(ctx.reply("x")))
    world.settle(ref)
    assert seen == [None, None]


@pytest.mark.parametrize("end", [END, "kill", "raise"])
def test_what_an_actor_still_owes_is_answered_by_its_end_and_all_who_watch_are_told(world: World, end: object) -> None:
    told: list[Reason] = []
    owed: list[Answer | None] = []
    ref = world.start(Recorder())
    futures = [ref.ask_future(lambda ctx: owed.append(ctx.defer())) for _ in range(3)]
    world.settle(ref)
    ref.watch(told.append)
    match end:
        case "kill":
            ref.kill()
        case "raise":
            ref.tell(raiser(ValueError()))
        case _:
            ref.signal(end)
    assert ref.wait_ended(WAIT) is not None
    for future in futures:
        assert isinstance(future.exception(WAIT), ActorEndedError)
    assert told == [ref.reason]
    for answer in owed:
        assert answer is not None
        answer.set_reply("late")


def test_an_ask_of_an_actor_that_is_killed_ends_although_its_call_goes_on(threads: World) -> None:
    ref = threads.start(Recorder())
    inside, release = threading.Event(), threading.Event()

    def linger(ctx: Context) -> None:
        inside.set()
        release.wait(WAIT)
        ctx.reply("too late")

    handled = ref.ask_future(linger)
    assert inside.wait(WAIT)
    waiting = ref.ask_future("x")
    ref.kill()
    for future in (handled, waiting):
        error = future.exception(WAIT)
        assert isinstance(error, ActorEndedError)
        assert error.reason == Killed()
    release.set()


def test_a_step_that_takes_several_asks_answers_each(world: World) -> None:
    class Batch(Behavior):
        def step(self, ctx: Context) -> bool:
            taken: list[object] = []
            while (message := ctx.mailbox.try_take()) is not None:
                taken.append(message)
                if message != "silent":
                    ctx.reply(len(taken))
            return bool(taken)

    ref = world.start(Batch())
    world.settle()
    ref.suspend()
    futures = [ref.ask_future(message) for message in ("a", "silent", "b", "silent")]
    ref.resume()
    if isinstance(world.host, StepHost):
        world.host.run()
    results = [future.result(WAIT) for future in futures]
    assert results[1::2] == [None, None]
    assert None not in results[::2]


def test_many_askers_get_each_their_own_reply(threads: World) -> None:
    ref = threads.start(Recorder())
    wrong: list[object] = []

    def ask(me: int) -> None:
        for number in range(100):
            reply = do(ref, lambda _, number=number: (me, number))
            if reply != (me, number):
                wrong.append(reply)

    askers = [threading.Thread(target=ask, args=(me,)) for me in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(WAIT)
        assert not asker.is_alive()
    assert wrong == []


def test_timeouts_that_race_with_replies_leave_each_ask_with_one_outcome(threads: World) -> None:
    handled: set[int] = set()
    ref = threads.start(Recorder())
    outcomes: list[str] = []
    for number in range(300):
        try:
            reply = do_in(ref, number, handled, timeout=(number % 7) * 1e-5)
        except AskTimeoutError:
            outcomes.append("late")
        else:
            assert reply == number
            assert number in handled
            outcomes.append("came")
    assert len(outcomes) == 300
    assert do(ref, lambda _: "alive") == "alive"
    assert watchers_of(ref) == baseline(threads)


def test_thousands_of_asks_leave_nothing_behind(world: World) -> None:
    ref = world.start(Recorder())
    world.settle(ref)
    before = watchers_of(ref)
    owed: list[Answer | None] = []
    for number in range(500):
        assert ref.ask(number, WAIT) is None
        ref.ask_future("cancelled").cancel()
        ref.get_state(WAIT)
        deferred = ref.ask_future(lambda ctx: owed.append(ctx.defer()))
        world.settle(ref)
        answer = owed.pop()
        assert answer is not None
        answer.set_reply(None)
        assert deferred.done()
    if world.is_threaded:
        for _ in range(100):
            pykka_ref(ref).ask("x", timeout=WAIT)
    assert watchers_of(ref) == before


# -- a thousand seeded schedules


class Client(Behavior):
    """Asks servers, and others ask it; keeps what came of each ask."""

    def __init__(self, servers: list[Ref], asks: int) -> None:
        self.servers = servers
        self.outcomes: list[str] = []
        self._asks = asks

    def on_start(self, ctx: Context) -> None:
        ctx.set_timer(ctx.random.random(), "ask")

    def on_message(self, message: object, ctx: Context) -> None:
        if message != "ask":
            ctx.reply(message)
            return
        timeout = ctx.random.choice([None, 0.0, ctx.random.random()])
        try:
            reply = ctx.random.choice(self.servers).ask(len(self.outcomes), timeout)
        except (ActorEndedError, AskTimeoutError, MailboxFullError, LookupError) as error:
            self.outcomes.append(type(error).__name__)
        else:
            assert reply == len(self.outcomes)
            self.outcomes.append("reply")
        if len(self.outcomes) < self._asks:
            ctx.set_timer(ctx.random.random(), "ask")


class Server(Behavior):
    """Replies at once, later or never, as it is drawn; some time it ends."""

    def __init__(self) -> None:
        self.owed: list[tuple[Answer, object]] = []

    def on_start(self, ctx: Context) -> None:
        ctx.set_timer(ctx.random.random(), self._pay)
        if ctx.random.random() < 0.5:
            ctx.set_timer(2 * ctx.random.random(), lambda ctx: ctx.stop(Normal()))

    def on_message(self, message: object, ctx: Context) -> None:
        if callable(message):
            message(ctx)
            return
        drawn = ctx.random.random()
        if drawn < 0.4:
            ctx.reply(message)
        elif drawn < 0.45:
            raise LookupError(message)
        else:
            answer = ctx.defer()
            assert answer is not None
            self.owed.append((answer, message))

    def _pay(self, ctx: Context) -> None:
        for answer, message in self.owed:
            answer.set_reply(message)
        self.owed.clear()
        ctx.set_timer(0.3, self._pay)


@pytest.mark.parametrize("block", range(2))
def test_every_ask_comes_to_one_end_in_a_thousand_schedules(block: int) -> None:
    seen: set[str] = set()
    for seed in range(block * 500, (block + 1) * 500):
        host = StepHost(seed, hurry=0.1)
        servers: list[Ref] = [host.start(Server(), f"s{number}") for number in range(2)]
        clients = [Client(servers, 2) for _ in range(2)]
        refs = [host.start(client, f"c{number}") for number, client in enumerate(clients)]
        host.run_until(lambda clients=clients: all(len(client.outcomes) == 2 for client in clients))  # type: ignore[misc]
        for client, ref in zip(clients, refs, strict=True):
            assert len(client.outcomes) == 2, f"seed {seed}: {client.outcomes}"
            assert ref.reason is None, f"seed {seed}: {ref.reason}"
            seen.update(client.outcomes)
        for server in servers:
            assert isinstance(server, LifeRef)
            assert watchers_of(server) == 0, f"seed {seed}"
    assert {"reply", "ActorEndedError", "AskTimeoutError"} <= seen


def start_bounded(world: World, behavior: Behavior, overflow: Overflow) -> LifeRef:
    """Start an actor whose own mailbox holds one message."""
    return world.start(behavior, "bounded", mailbox=AskableMailbox(1, overflow=overflow))


def do_in(ref: LifeRef, number: int, handled: set[int], timeout: float) -> Any:
    def handle(ctx: Context) -> None:
        handled.add(number)
        ctx.reply(number)

    return ref.ask(handle, timeout)


def pykka_ref(ref: LifeRef) -> pykka.ActorRef[Any]:
    assert isinstance(ref, PykkaRef)
    return ref.actor_ref


def watchers_of(ref: LifeRef) -> int:
    return len(ref.life._watchers)  # type: ignore[attr-defined]


def baseline(world: World) -> int:
    """What an actor is watched by when nobody does anything with it."""
    ref = world.start(Recorder(), "baseline")
    world.settle(ref)
    return watchers_of(ref)
