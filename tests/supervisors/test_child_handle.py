"""What a handle of one child does beside telling and asking, and handles of nested supervisors."""

from __future__ import annotations

import threading

import pytest

from supervisors.behavior import Behavior, Context
from supervisors.dynamic import DynamicSupervisor
from supervisors.errors import AskTimeoutError, ChildStateError, SpecError, UnknownChildError
from supervisors.handles import start_supervisor
from supervisors.partition import PartitionSupervisor
from supervisors.policy import Backoff, Intensity
from supervisors.pool import DynamicHandle, PoolHandle
from supervisors.reasons import Normal
from supervisors.spec import IGNORE, ChildSpec
from supervisors.supervisor import Supervisor

WAIT = 10.0
_LOOSE = Intensity(1_000, 1.0)


class Worker(Behavior):
    def __init__(self) -> None:
        self.seen: list[object] = []

    def on_message(self, message: object, ctx: Context) -> None:
        match message:
            case "raise":
                raise ValueError(message)
            case "leave":
                ctx.stop(Normal())
            case (threading.Event() as entered, threading.Event() as release):
                entered.set()
                release.wait(WAIT)
            case "seen":
                ctx.reply(self.seen)
            case _:
                self.seen.append(message)


def spec(name: str, restart: str = "permanent") -> ChildSpec:
    return ChildSpec(name, Worker, restart=restart, backoff=Backoff(delay=0.0))  # type: ignore[arg-type]  # for brevity


def test_the_next_incarnation_is_waited_for_after_an_ask_that_failed() -> None:
    with start_supervisor([spec("a")], intensity=_LOOSE) as top:
        child = top.child("a")
        for number in range(1, 51):
            old = child.ref
            with pytest.raises(ValueError, match="raise"):
                child.ask("raise", WAIT)
            info = child.wait_running(WAIT, after=old)
            assert info.ref is not old
            assert info.restarts == number
            assert child.ask("seen", WAIT) == []


def test_nobody_waits_longer_than_the_timeout_for_an_incarnation_that_does_not_end() -> None:
    with start_supervisor([spec("a")]) as top, pytest.raises(AskTimeoutError, match="child 'a' was still"):
        top.child("a").wait_running(0.01, after=top.child("a").ref)


@pytest.mark.parametrize(("restart", "error"), [("transient", ChildStateError), ("temporary", UnknownChildError)])
def test_a_child_that_will_not_run_again_is_not_waited_for(restart: str, error: type[Exception]) -> None:
    with start_supervisor([spec("a", restart)]) as top:
        child = top.child("a")
        old = child.ref
        child.tell("leave")
        with pytest.raises(error):
            child.wait_running(WAIT, after=old)


def test_a_suspended_child_tells_its_state_and_goes_on_when_it_is_resumed() -> None:
    with start_supervisor([spec("a")]) as top:
        child = top.child("a")
        assert child.suspend()
        child.tell("later")
        assert child.get_state(WAIT) == {"seen": []}
        assert child.resume()
        assert child.ask("seen", WAIT) == ["later"]


def test_a_nested_supervisor_is_had_by_a_handle_of_its_kind() -> None:
    specs = [
        ChildSpec("inner", Supervisor, ([spec("a")],)),
        ChildSpec("pool", PartitionSupervisor, (spec("w"), 2)),
        ChildSpec("many", DynamicSupervisor, (spec("m"),)),
    ]
    with start_supervisor(specs) as top:
        assert [info.id for info in top.supervisor("inner").which_children()] == ["a"]
        assert top.supervisor("pool", PoolHandle).ask("seen", WAIT) == []
        assert top.supervisor("many", DynamicHandle).start_child().id == "m-1"


def test_a_worker_is_no_supervisor() -> None:
    with start_supervisor([spec("a")]) as top:
        with pytest.raises(SpecError, match="child 'a' is a worker"):
            top.supervisor("a")
        assert top.child("a").restarts == 0


def test_a_child_that_is_not_needed_is_told_as_stopped_when_it_is_added() -> None:
    with start_supervisor([]) as top:
        assert top.start_child(ChildSpec("a", lambda: IGNORE)).state == "stopped"
        assert top.start_child(spec("b")).state == "running"


def test_threads_that_were_left_behind_are_counted_in_the_state_of_their_supervisor() -> None:
    entered, release = threading.Event(), threading.Event()
    with start_supervisor([spec("a")]) as top:
        top.reconfigure(children=[ChildSpec("a", Worker, shutdown=0.01)])
        top.child("a").tell((entered, release))
        assert entered.wait(WAIT)
        top.terminate_child("a")
        assert top.get_state()["abandoned"] == 1
        release.set()
