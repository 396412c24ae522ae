"""An actor whose behaviour runs in a process: seen from outside it is like any other, whatever dies."""

from __future__ import annotations

import functools
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pykka
import pytest

from supervisors.actor import PykkaHost, PykkaRef
from supervisors.asking import Ask, FutureAnswer
from supervisors.behavior import Behavior, Context
from supervisors.errors import (
    ActorEndedError,
    NotInProcessError,
    RemoteError,
    StartError,
    ValueDecodingError,
    ValueEncodingError,
)
from supervisors.mailbox import Mailbox
from supervisors.messages import Down, GetState, Started, Terminate
from supervisors.places.base import PART_BOUND
from supervisors.places.process.outbound import LINGER_SECONDS
from supervisors.process_actor import ProcessActor
from supervisors.reasons import Crashed, Killed, Normal, ProtocolError, Raised, Reason, Shutdown, StartFailed
from supervisors.telemetry import Telemetry
from supervisors.testing import Faults, StepHost
from supervisors.wire.frames import Part, encode_frame
from tests.supervisors import residents
from tests.supervisors.places import bench
from tests.supervisors.residents import FAR, Resident

WAIT = 30.0
"""Seconds that anything may take before a test gives up (arbitrary, generous on a busy machine)."""

processes = pytest.mark.processes


class TellingActor(ProcessActor):
    """Tells when it has heard that it is to end."""

    def __init__(self, make: Callable[[], object]) -> None:
        super().__init__(make)
        self.has_heard = threading.Event()

    def on_message(self, message: object, ctx: Context) -> None:
        super().on_message(message, ctx)
        if isinstance(message, Terminate):
            self.has_heard.set()


class House:
    """A host with one process-backed actor in it, and what became of it."""

    def __init__(self, make: Callable[[], object], mailbox: Mailbox | None = None) -> None:
        self.told: list[tuple[str, dict[str, float], dict[str, Any]]] = []
        telemetry = Telemetry()
        self.host = PykkaHost(seed=1, telemetry=telemetry)
        telemetry.attach("test", ["actor.undelivered"], lambda *event: self.told.append(event))
        self.actor = TellingActor(make)
        self.ref: PykkaRef = self.host.start(self.actor, "resident", mailbox=mailbox)

    def ask(self, *message: Any) -> Any:
        return self.ref.ask(message, WAIT)

    def future(self, *message: Any) -> Future[Any]:
        return self.ref.ask_future(message)

    def end(self) -> Reason:
        """Wait for its end."""
        assert self.ref.wait_terminated(WAIT)
        assert self.ref.reason is not None
        assert self.ref.pid is None
        return self.ref.reason


@contextmanager
def housed(make: Callable[[], object] = Resident, mailbox: Mailbox | None = None) -> Iterator[House]:
    house = House(make, mailbox)
    try:
        yield house
    finally:
        house.ref.kill()
        assert house.ref.wait_terminated(WAIT)


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    path = tmp_path / "diary"
    path.touch()
    return path


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    """A named pipe on which a resident waits."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return str(path)


@contextmanager
def held(fifo: str) -> Iterator[None]:
    """Wait until somebody waits at the pipe, and let it go on after the block."""
    with Path(fifo).open("wb"):
        yield


def release(fifo: str) -> None:
    """Let who waits at the pipe go on; waits until somebody is there."""
    with held(fifo):
        pass


def lines(diary: Path) -> list[str]:
    return diary.read_text().splitlines()


# -- start


@processes
@pytest.mark.parametrize(
    "make",
    [
        Resident,
        lambda: Resident(diary=None),
        functools.partial(Resident, None),
        type("Local", (Resident,), {"__module__": "__main__"}),
    ],
    ids=["class", "closure", "partial", "script"],
)
def test_a_behaviour_runs_in_a_process_of_its_own_under_the_actors_name(make: Callable[[], object]) -> None:
    with housed(make) as house:
        assert house.ref.wait_started(WAIT) is None
        pid, name, path, _ = house.ask("identify")
        assert pid == house.ref.pid != os.getpid()
        assert (name, path) == ("resident", "resident")


@processes
def test_it_is_ready_when_it_says_so_and_its_information_travels() -> None:
    with housed(functools.partial(residents.Late, None, ("acknowledge", ("port", 80)))) as house:
        assert house.ref.wait_started(WAIT) == ("port", 80)
        assert house.ask("give", 1) == 1
    with housed(residents.Late) as house:
        assert house.ask("give", 1) == 1
        assert house.ref.ask(("use", "acknowledge", "late"), WAIT) is None
        assert house.ref.wait_started(WAIT) == "late"


def refuse() -> object:
    raise LookupError("nothing to make")


@processes
@pytest.mark.parametrize(
    ("make", "text", "trace"),
    [
        (refuse, "nothing to make", "in refuse"),
        (functools.partial(Resident, None, ("fail", "bad start")), "bad start", "in on_start"),
        (functools.partial(Resident, None, ("leave", 3)), "3", "in leave"),
        (residents.Clumsy, "info cannot be carried", ""),
        (dict, "must be a Behavior", ""),
        (residents.Polling, "uses_poller", ""),
        (residents.Trapping, "traps_exits", ""),
        (residents.Stepping, "override on_message", ""),
    ],
    ids=["make", "on_start", "sys.exit", "info", "no behaviour", "poller", "exits", "step"],
)
def test_a_start_that_fails_tells_why_with_the_traceback_of_the_process(
    make: Callable[[], object], text: str, trace: str
) -> None:
    with housed(make) as house:
        reason = house.end()
        assert isinstance(reason, StartFailed)
        assert text in reason.error.text
        assert trace in reason.error.traceback
        with pytest.raises(StartError):
            house.ref.wait_started(WAIT)


def test_what_makes_the_behaviour_must_travel() -> None:
    lock = threading.Lock()
    with housed(lambda: lock) as house:
        reason = house.end()
        assert isinstance(reason, StartFailed)
        assert "make" in reason.error.text
        assert "lock" in reason.error.text


@processes
def test_one_that_is_not_needed_stops_itself_before_it_is_ready(diary: Path) -> None:
    with housed(functools.partial(Resident, diary, ("stop",))) as house:
        house.ref.tell("never handled")
        assert house.end() == Normal()
        with pytest.raises(StartError, match="ended normally"):
            house.ref.wait_started(WAIT)
        assert house.told[0][2]["messages"] == ("never handled",)
    assert lines(diary) == ["start", "stop ended normally"]


@processes
def test_one_that_is_asked_to_end_before_it_is_ready_ends_for_that_reason(diary: Path) -> None:
    with housed(functools.partial(Resident, diary)) as house:
        house.ref.signal(Terminate(Shutdown("early")))
        assert house.end() == Shutdown("early")
    assert lines(diary) in ([], ["start", "stop shut down (early)"])


# -- data


@processes
def test_messages_are_handled_in_order_and_asks_answered_in_between() -> None:
    with housed() as house:
        futures = []
        for number in range(1_000):
            house.ref.tell(2 * number)
            futures.append(house.future("count", 2 * number + 1))
        assert [future.result(WAIT) for future in futures] == list(range(2, 2_001, 2))
        assert house.ask("recall") == list(range(2_000))


@processes
def test_an_ask_is_answered_by_what_its_handling_gives() -> None:
    with housed() as house:
        assert house.ask("give", ("any", {1: b"value"})) == ("any", {1: b"value"})
        assert house.ref.ask("nothing", WAIT) is None
        assert house.ref.actor_ref.ask(("give", 7)) == 7


@processes
def test_an_early_reply_comes_before_the_handling_ends(fifo: str) -> None:
    with housed() as house:
        assert house.ask("answer_early", fifo) == "early"
        release(fifo)
        assert house.ask("give", 1) == 1


@processes
def test_an_ask_may_be_answered_later_from_a_message_or_a_timer() -> None:
    with housed() as house:
        first = house.future("owe")
        house.ref.tell(("settle", "by a message"))
        assert first.result(WAIT) == "by a message"
        second, third = house.future("owe"), house.future("owe")
        house.ref.tell(("alarm", 0.0, ("settle", "by a timer")))
        assert [second.result(WAIT), third.result(WAIT)] == ["by a timer"] * 2
        left = house.future("owe")
        house.ref.stop(WAIT)
        with pytest.raises(ActorEndedError):
            left.result(WAIT)


@processes
@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [(("fail", "bad"), ValueError, "bad"), (("fail_oddly",), RemoteError, "onetwo")],
    ids=["exception", "an exception that does not travel"],
)
def test_an_exception_goes_to_the_asker_and_ends_the_actor(
    diary: Path, message: tuple[Any, ...], kind: type[BaseException], text: str
) -> None:
    with housed(functools.partial(Resident, diary)) as house:
        house.ref.tell(1)
        failed, behind = house.ref.ask_future(message), house.future("give", 2)
        house.ref.tell(3)
        error = failed.exception(WAIT)
        assert type(error) is kind
        assert text in str(error)
        reason = house.end()
        assert isinstance(reason, Raised)
        assert message[0] in reason.error.traceback
        if kind is not RemoteError:
            with pytest.raises(kind) as raised:
                failed.result(0)
            assert message[0] in raised.value.__notes__[0]
        with pytest.raises(ActorEndedError) as dead:
            behind.result(WAIT)
        assert dead.value.reason == reason
        (_, measured, told) = house.told[0]
        assert measured == {"count": 2}
        assert told["messages"][1] == 3
    assert lines(diary) == ["start", "got 1", f"stop {reason}"]


@processes
def test_what_would_end_a_program_ends_the_actor_and_not_who_asked() -> None:
    with housed() as house:
        future = house.future("leave", 3)
        with pytest.raises(ActorEndedError, match="SystemExit: 3") as caught:
            future.result(WAIT)
        assert isinstance(caught.value.__cause__, SystemExit)
        assert isinstance(future.exception(WAIT), ActorEndedError)
        reason = house.end()
        assert isinstance(reason, Raised)
        assert "leave" in reason.error.traceback


@processes
def test_what_does_not_travel_is_told_and_the_actor_lives_on(caplog: pytest.LogCaptureFixture) -> None:
    lock, unreadable = threading.Lock(), residents.Unreadable()
    with housed() as house, caplog.at_level(logging.WARNING, "supervisors"):
        for message, kind in ((lock, ValueEncodingError), (unreadable, ValueDecodingError)):
            with pytest.raises(kind):
                house.ask("give", message)
            house.ref.tell(message)
            house.ref.signal(message)
        for make, kind in ((threading.Lock, ValueEncodingError), (residents.Unreadable, ValueDecodingError)):
            with pytest.raises(kind):
                house.ask("give_made", make)
        assert house.ask("recall") == []
        # What is unreadable comes to light in the process, behind the ask of the round before.
        assert [told["messages"] for _, _, told in house.told] == [(lock,), (lock,), (unreadable,), (unreadable,)]
        assert all(told["error"] for _, _, told in house.told)
    assert "did not reach its process" in caplog.text


@processes
def test_a_reply_is_opened_by_the_thread_that_asked() -> None:
    with housed() as house:
        assert house.ask("give_made", residents.Traveller) == threading.current_thread().name
        assert house.ref.actor_ref.ask(("give_made", residents.Traveller)) == threading.current_thread().name
        with pytest.raises(ValueDecodingError, match="not here"):
            house.ref.actor_ref.ask(("give_made", residents.Unreadable))
        with pytest.raises(pykka.ActorDeadError, match="SystemExit"):
            house.ref.actor_ref.ask(("leave", 3))


@processes
def test_a_control_message_is_ahead_of_data_that_is_not_handed_over(fifo: str) -> None:
    with housed() as house:
        house.ref.tell(("wait", fifo))
        for number in range(1_000):
            house.ref.tell(number)
        house.ref.signal("urgent")
        release(fifo)
        got = house.ask("recall")
        assert got.index("urgent") < 999
        got.remove("urgent")
        assert got == list(range(1_000))


# -- what it does by itself


@processes
def test_its_timers_fire_and_can_be_taken_back() -> None:
    with housed() as house:
        fired = house.future("owe")
        house.ref.tell(("alarms",))
        house.ref.tell(("alarm", 0.05, ("settle", True)))
        assert fired.result(WAIT) is True
        assert house.ask("recall") == ["first"]


@processes
def test_what_it_sends_to_itself_is_handled_after_the_present_call_control_first() -> None:
    with housed() as house:
        owed = house.future("owe")
        house.ref.tell(("mutter", 200))
        assert owed.result(WAIT) == "done"
        assert house.ask("recall") == ["word", *range(200)]


@processes
def test_one_that_sends_itself_messages_without_end_still_hears_of_others(diary: Path) -> None:
    with housed(functools.partial(Resident, diary)) as house:
        house.ref.tell(("loop",))
        assert house.ask("give", 1) == 1
        assert house.ref.stop(WAIT)
        assert house.end() == Shutdown("stopped")
    assert lines(diary) == ["start", "stop shut down (stopped)"]


@processes
def test_what_needs_other_actors_is_refused_with_the_way_to_do_it() -> None:
    with housed() as house:
        with pytest.raises(NotInProcessError, match="have its supervisor start it"):
            house.ask("use", "start", Resident, "child")
        assert isinstance(house.end(), Raised)


@processes
def test_what_it_prints_comes_out_under_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with housed() as house:
        house.ask("call", functools.partial(print, "hello"))
        house.ref.stop(WAIT)
    assert "[resident] hello" in capsys.readouterr().out


# -- end


@processes
def test_it_ends_by_the_reason_it_gives_and_what_was_not_begun_comes_back_in_order(diary: Path, fifo: str) -> None:
    with housed(functools.partial(Resident, diary)) as house:
        house.ask("give", None)
        house.ref.tell(("wait", fifo))
        stopped = house.future("stop", "enough")
        for number in range(500):
            house.ref.tell(number)
        release(fifo)
        assert stopped.result(WAIT) is None
        assert house.end() == Shutdown("enough")
        assert house.told == [("actor.undelivered", {"count": 500}, {"path": "resident", "messages": (*range(500),)})]
    assert lines(diary) == ["start", "waits", "stop shut down (enough)"]


@processes
def test_asked_to_end_it_finishes_the_message_it_is_on_and_gives_back_what_it_has_not_begun(
    diary: Path, fifo: str, tmp_path: Path
) -> None:
    last = tmp_path / "last"
    os.mkfifo(last)
    with housed(functools.partial(Resident, diary, (), ("wait", str(last)))) as house:
        house.ask("give", None)
        current = house.future("wait", fifo)
        behind = [house.future("count", number) for number in range(300)]
        # Its worker looks around after what has taken longer than this, and then every so often.
        behind.append(house.future("rest", LINGER_SECONDS))
        back = [house.future("count", number) for number in range(300)]
        with held(fifo):
            house.ref.signal(Terminate(Shutdown("enough")))
            assert house.actor.has_heard.wait(WAIT)
        assert current.result(WAIT) is None
        # Its last call takes as long as it takes.
        release(str(last))
        assert house.end() == Shutdown("enough")
        # None, or some, of the short ones were begun before it has heard of its end.
        outcomes = [type(future.exception(WAIT)) for future in behind + back]
        begun = outcomes.count(type(None))
        assert outcomes == [type(None)] * begun + [ActorEndedError] * (601 - begun)
        assert begun <= len(behind)
        assert house.told[0][1] == {"count": 601 - begun}
    assert lines(diary) == ["start", "waits", "stop shut down (enough)", "waits", "stopped"]


@processes
def test_one_that_handles_its_end_itself_is_handed_that_as_a_message() -> None:
    with housed(residents.Patient) as house:
        assert house.ask("give", 1) == 1
        house.ref.signal(Terminate(Shutdown("enough")))
        assert house.end() == Shutdown("patiently")


@processes
def test_a_last_call_that_raises_changes_no_end_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with housed(functools.partial(Resident, None, (), ("leave", 3))) as house:
        house.ask("give", 1)
        house.ref.stop(WAIT)
        assert house.end() == Shutdown("stopped")
    assert "actor resident raised at its end" in caplog.text


@processes
def test_a_process_that_dies_of_its_last_call_changes_no_end_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with housed(functools.partial(Resident, None, (), ("sink", 3))) as house:
        house.ask("give", 1)
        house.ref.stop(WAIT)
        assert house.end() == Shutdown("stopped")
    assert "did not get to its end" in caplog.text
    assert "code 3" in caplog.text


@processes
@pytest.mark.parametrize("is_suspended", [False, True])
def test_a_kill_ends_the_process_at_once(diary: Path, fifo: str, *, is_suspended: bool) -> None:
    with housed(functools.partial(Resident, diary)) as house:
        house.ask("give", None)
        pid = house.ref.pid
        assert pid is not None
        current = house.future("wait", fifo)
        house.ref.tell("behind")
        with held(fifo):
            if is_suspended:
                house.ref.suspend()
            house.ref.kill()
            assert house.end() == Killed(pid)
        assert not psutil.pid_exists(pid)
        with pytest.raises(ActorEndedError, match=f"process {pid} was killed"):
            current.result(WAIT)
        assert house.told[0][2]["messages"] == ("behind",)
    assert lines(diary) == ["start", "waits"]


@processes
def test_a_kill_ends_one_that_takes_too_long_to_end(fifo: str) -> None:
    with housed(functools.partial(Resident, None, (), ("wait", fifo))) as house:
        house.ask("give", None)
        pid = house.ref.pid
        house.ref.signal(Terminate(Shutdown("enough")))
        with held(fifo):
            house.ref.kill()
            assert house.end() == Killed(pid)


@processes
@pytest.mark.parametrize(
    ("message", "signal_", "exit_code"),
    [
        (("kill",), signal.SIGKILL, None),
        (("kill", int(signal.SIGTERM)), signal.SIGTERM, None),
        (("crash",), signal.SIGSEGV, None),
        (("sink", 0), None, 0),
        (("sink", 7), None, 7),
    ],
    ids=str,
)
def test_a_death_ends_the_actor_and_tells_who_waits(
    message: tuple[Any, ...], signal_: int | None, exit_code: int | None
) -> None:
    with housed() as house:
        house.ask("give", None)
        pid = house.ref.pid
        suspect, behind = house.ref.ask_future(message), house.future("give", 1)
        house.ref.tell("told")
        reason = house.end()
        assert isinstance(reason, Crashed)
        assert (reason.signal, reason.exit_code, reason.pid) == (signal_, exit_code, pid)
        for future in (suspect, behind):
            with pytest.raises(ActorEndedError) as dead:
                future.result(WAIT)
            assert dead.value.reason == reason
        # The suspect is lost with the process; what was behind it is told.
        assert [told["messages"][1:] for _, _, told in house.told] == [("told",)]


@processes
def test_the_end_of_the_channel_and_what_is_no_outcome_end_the_actor() -> None:
    with housed() as house:
        house.ref.tell(("call", hang_up))
        reason = house.end()
        assert isinstance(reason, ProtocolError)
        assert "closed its channel" in reason.detail
    with housed() as house:
        house.ref.tell(("call", lie))
        reason = house.end()
        assert isinstance(reason, ProtocolError)
        assert "not the protocol" in reason.detail


def hang_up() -> None:
    bench.own_channel().shutdown(socket.SHUT_WR)
    threading.Event().wait(FAR)


def lie() -> None:
    bench.own_channel().send(encode_frame(Part(2, 1, b"no outcome"), 1))
    threading.Event().wait(FAR)


@processes
def test_a_mailbox_that_was_handed_in_gets_back_what_was_not_begun_for_the_next_incarnation(
    diary: Path, fifo: str
) -> None:
    mailbox = Mailbox()
    for number in range(100):
        mailbox.put(number)
    mailbox.put(("wait", fifo))
    for number in range(100, 300):
        mailbox.put(number)
    make = functools.partial(Resident, diary)
    with housed(make, mailbox) as house:
        with held(fifo):
            pid = house.ref.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            assert isinstance(house.end(), Crashed)
        assert len(mailbox) == 200
    with housed(make, mailbox) as house:
        mailbox.put(("stop",))
        assert house.end() == Normal()
    written = lines(diary)
    assert written[1:101] == [f"got {number}" for number in range(100)]
    assert written[101:103] == ["waits", "start"]
    assert written[103:] == [*(f"got {number}" for number in range(100, 300)), "stop ended normally"]


# -- looked at


@processes
def test_its_state_is_told_also_while_it_is_suspended_and_takes_no_data_meanwhile() -> None:
    with housed() as house:
        house.ref.tell(1)
        house.ask("alarm", 0.0, "timer")
        while "timer" not in house.ref.get_state(WAIT)["got"]:
            pass
        house.ref.suspend()
        assert house.ref.get_state(WAIT) == {"got": [1, "timer"], "pid": house.ref.pid}
        house.ref.tell(2)
        house.ref.signal(3)
        assert house.ref.get_state(WAIT)["got"] == [1, "timer"]
        house.ref.resume()
        assert house.ask("recall") == [1, "timer", 3, 2]


@processes
def test_a_state_that_does_not_travel_or_cannot_be_told_is_an_error_to_who_asked() -> None:
    with housed(residents.Secretive) as house:
        with pytest.raises(ValueEncodingError, match="lock"):
            house.ref.get_state(WAIT)
        assert house.ask("give", 1) == 1
    with housed(residents.Silent) as house:
        with pytest.raises(LookupError, match="nothing to tell"):
            house.ref.get_state(WAIT)
        assert house.ask("give", 1) == 1


# -- seeded: every order, every death


SEEDS = 80
FAULTS = {"none": Faults(), "crash": Faults(0.01, 0.01, 0.05), "often": Faults(0.05, 0.05, 0.2)}


class World:
    """What the behaviours of one seed, wherever they run, have done."""

    def __init__(self) -> None:
        self.handled: list[int] = []
        self.ends: list[Reason] = []
        self.is_made = False


worlds: dict[int, World] = {}


class Tally(Behavior):
    """Counts; stops, fails or answers later at the numbers it is told."""

    def __init__(self, seed: int, fate: str, at: int) -> None:
        self._world = worlds[seed]
        self._fate = fate
        self._at = at
        self._owed: list[Any] = []
        self._world.is_made = True

    def on_message(self, message: Any, ctx: Context) -> None:
        if isinstance(message, str):
            for number, answer in self._owed:
                answer.set_reply(number)
            self._owed.clear()
            return
        self._world.handled.append(message)
        if message == self._at:
            if self._fate == "stop":
                ctx.stop(Shutdown("by itself"))
            elif self._fate == "raise":
                raise ValueError(message)
        match message % 5:
            case 0:
                answer = ctx.defer()
                if answer is not None:
                    self._owed.append((message, answer))
                    ctx.ref.tell("later")
            case 1:
                answer = ctx.defer()
                if answer is not None:
                    self._owed.append((message, answer))
                    ctx.set_timer(1.0, "later")
            case _:
                ctx.reply(message)

    def on_stop(self, reason: Reason, ctx: Context) -> None:
        self._world.ends.append(reason)


class Owner(Behavior):
    """Starts a tally, sends it numbers, and may end it."""

    def __init__(self, seed: int, fate: str, *, link: bool = False) -> None:
        self.seed = seed
        self.fate = fate
        self.link = link
        self.started: list[Started] = []
        self.downs: list[Reason] = []
        self.asked: dict[int, Future[Any]] = {}
        self.told: list[int] = []
        self._next = 0

    def on_start(self, ctx: Context) -> None:
        make = functools.partial(Tally, self.seed, self.fate, ctx.random.randrange(40))
        self.child: Any = ctx.start(ProcessActor(make), "child", wants_started=True)
        self._last = ctx.random.randrange(60)
        if self.link:
            ctx.link(self.child)
        ctx.set_timer(0.0, "go")

    def on_message(self, message: object, ctx: Context) -> None:
        match message:
            case Started():
                self.started.append(message)
            case Down(_, reason):
                self.downs.append(reason)
            case "go" if self._next < self._last:
                self._send()
                ctx.set_timer(ctx.random.choice([0.0, 0.0, 0.5]), "go")
            case "go":
                self._end(ctx)

    def _send(self) -> None:
        number, self._next = self._next, self._next + 1
        if number % 2:
            self.asked[number] = self.child.ask_future(number)
        elif self.child.tell(number):
            self.told.append(number)

    def _end(self, ctx: Context) -> None:
        match self.fate:
            case "kill":
                self.child.kill()
            case "suspended kill":
                self.child.suspend()
                self.child.kill()
            case "link":
                ctx.stop(Shutdown("owner") if ctx.random.random() < 0.5 else Killed(0))
            case _:
                self.child.signal(Terminate(Shutdown("asked")))


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("fate", ["terminate", "kill", "suspended kill", "stop", "raise", "link"])
def test_whatever_dies_order_is_kept_replies_are_right_and_there_is_one_end(fate: str, faults: Faults) -> None:
    seen: set[type[Reason]] = set()
    for seed in range(SEEDS):
        worlds[seed] = world = World()
        host = StepHost(seed, hurry=0.05, faults=faults)
        owner = Owner(seed, fate, link=fate == "link")
        host.start(owner, "owner")
        host.run()
        told = f"seed {seed}"
        reason = owner.child.reason
        assert reason is not None, told
        seen.add(type(reason))
        if fate != "link":  # there the owner is gone before
            assert owner.downs == [reason], told
        assert (
            len([1 for event, _, data in host.told if event == "actor.ended" and data["path"].endswith("child")]) == 1
        )
        check_reason(world, owner, reason, faults, told)
        check_messages(host, world, owner, reason, told)
    assert len(seen) > 1 or not any(faults)


def check_reason(world: World, owner: Owner, reason: Reason, faults: Faults, told: str) -> None:
    if any(faults) and isinstance(reason, Crashed | StartFailed):
        return
    match owner.fate:
        case "kill" | "suspended kill":
            assert isinstance(reason, Killed), told
            assert world.ends == [], told
            return
        case "terminate":
            assert reason == Shutdown("asked"), told
        case "stop":
            assert reason in (Shutdown("asked"), Shutdown("by itself")), told
        case "raise":
            assert reason == Shutdown("asked") or isinstance(reason, Raised), told
        case "link":
            assert isinstance(reason, Killed | Shutdown), told
    if not any(faults):
        # A process without faults makes its last call, once, for the very reason that is told.
        assert world.ends == [reason] * world.is_made, told


def check_messages(host: StepHost, world: World, owner: Owner, reason: Reason, told: str) -> None:
    # Those that were handled are the first, each once, in order; then may come the one it died in; then what is left.
    count = len(world.handled)
    assert world.handled == list(range(count)), told
    undelivered = [data["messages"] for event, _, data in host.told if event == "actor.undelivered"]
    left = [
        message.message if isinstance(message, Ask) else message for messages in undelivered for message in messages
    ]
    assert left == list(range(left[0], left[0] + len(left)) if left else ()), told
    may_be_lost = {count} if isinstance(reason, Crashed | Killed) else set()
    assert {*owner.told} <= {*world.handled, *left, *may_be_lost}, told
    assert not left or left[0] in {count, *(number + 1 for number in may_be_lost)}, told
    for number, future in owner.asked.items():
        error = future.exception(0)
        if error is None:
            assert future.result(0) == number, told
            assert number < count, told
        elif isinstance(error, ValueError):
            assert error.args == (number,), told
            assert number == count - 1, told
        else:
            assert isinstance(error, ActorEndedError), told
            assert error.reason == reason, told


def test_an_end_by_a_link_lets_the_process_make_its_last_call() -> None:
    worlds[0] = world = World()
    host = StepHost(0)
    child = host.start(ProcessActor(functools.partial(Tally, 0, "none", -1)), "child")
    peer = host.start(Linker(child), "peer")
    host.run()
    peer.signal(Terminate(Shutdown("clean")))
    host.run()
    assert child.reason is None
    peer = host.start(Linker(child), "peer")
    host.run()
    peer.tell("raise")
    host.run()
    assert isinstance(child.reason, Raised)
    assert world.ends == [child.reason]


class Linker(Behavior):
    def __init__(self, other: Any) -> None:
        self._other = other

    def on_start(self, ctx: Context) -> None:
        ctx.link(self._other)

    def on_message(self, message: object, ctx: Context) -> None:
        raise LookupError(message)


def test_one_call_may_answer_more_asks_than_may_be_on_their_way_without_a_grant() -> None:
    host = StepHost(0)
    ref = host.start(ProcessActor(Resident), "resident")
    owed = [ref.ask_future(("owe",)) for _ in range(PART_BOUND + 10)]
    ref.tell(("settle_and_mutter", 7))
    got = ref.ask_future(("recall",))
    host.run(500_000)
    assert {future.result(0) for future in owed} == {7}
    assert got.result(0) == ["after"]


def test_who_asks_for_the_state_of_one_that_dies_is_told() -> None:
    host = StepHost(0)
    ref = host.start(ProcessActor(Resident), "resident")
    host.run()
    answer = FutureAnswer(ref.path, ref.watch)
    ref.signal(GetState(answer))
    ref.kill()
    host.run()
    with pytest.raises(ActorEndedError, match="was killed"):
        answer.future.result(0)


def test_what_is_noted_in_the_process_is_told_in_the_parent_as_text_where_it_does_not_travel() -> None:
    host = StepHost(0)
    ref = host.start(ProcessActor(Resident), "resident")
    ref.tell(("note", 1, "two"))
    host.run()
    (noted,) = [event for event in host.told if event[0] == "resident.noted"]
    assert noted[1] == {"count": 2.0}
    assert noted[2] == {"values": [1, "two"], "odd": "<class 'object'>"}


def test_time_and_randomness_in_a_simulated_process_are_the_hosts() -> None:
    drawn = []
    for _ in range(2):
        host = StepHost(7)
        ref = host.start(ProcessActor(Resident), "resident")
        host.clock.advance(5.0)
        clock, identity = ref.ask_future(("clock",)), ref.ask_future(("identify",))
        host.run()
        assert clock.result(0) == 5.0
        drawn.append(identity.result(0)[3])
    assert drawn[0] == drawn[1]


def test_a_timer_in_a_simulated_process_fires_at_its_time_and_not_while_the_actor_is_suspended() -> None:
    host = StepHost(0)
    ref = host.start(ProcessActor(Resident), "resident")
    ref.tell(("alarm", 3.0, "ring"))
    state = ref.ask_future(("recall",))
    host.run_until(state.done)
    assert (state.result(0), host.now()) == ([], 0.0)
    ref.suspend()
    host.run()
    host.clock.advance(10.0)
    host.run()
    assert ref.get_state()["got"] == []
    ref.resume()
    host.run()
    assert ref.get_state()["got"] == ["ring"]
