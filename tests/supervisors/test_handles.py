"""Handles on real threads: stable over restarts, and the tree as it is seen from outside."""

from __future__ import annotations

import threading

import pytest

from supervisors.actor import PykkaHost
from supervisors.behavior import Behavior, Context
from supervisors.dynamic import DynamicSupervisor
from supervisors.errors import ActorEndedError, ChildStateError, SpecError, StartError, UnknownChildError
from supervisors.handles import start_supervisor
from supervisors.policy import Intensity
from supervisors.pool import start_dynamic_supervisor, start_pool
from supervisors.reasons import Raised, Shutdown
from supervisors.ref import LifeRef
from supervisors.spec import ChildSpec
from supervisors.supervisor import Supervisor
from supervisors.telemetry import EVENTS, Telemetry
from tests.supervisors.drivers import LOOSE, NO_WAIT, Numbered, Worker

WAIT = 10.0


def spec(id_: str = "a", start: type[Behavior] = Worker, **fields: object) -> ChildSpec:
    return ChildSpec(id_, start, **{"backoff": NO_WAIT, **fields})  # type: ignore[arg-type]


def test_a_handle_follows_its_child_from_one_incarnation_to_the_next() -> None:
    with start_supervisor([spec()], intensity=LOOSE) as top:
        child = top.child("a")
        first = child.ref
        assert child.ask("leave", WAIT) is None
        while child.restarts == 0:
            child.wait_running(WAIT)
        assert child.ref is not first
        assert child.ask("hello", WAIT) == "hello"
        assert child.restarts == 1
        assert isinstance(first, LifeRef)
        assert first.tell("late") is False
        top.terminate_child("a")
        assert child.tell("nobody") is False
        with pytest.raises(ChildStateError, match="wait_running waits for it"):
            _ = child.ref
        with pytest.raises(ChildStateError, match="is stopped"):
            child.wait_running(WAIT)
        assert top.restart_child("a").state == "running"
        assert child.ask("hello", WAIT) == "hello"
        with pytest.raises(UnknownChildError):
            top.child("b")


def test_a_handle_of_a_nested_supervisor_outlives_its_incarnations() -> None:
    inner = spec("in", Supervisor, args=([spec("x")],), kwargs={"intensity": Intensity(0, 5.0)})
    with start_supervisor([inner], intensity=LOOSE) as top:
        handle, child = top.supervisor("in"), top.child("in")
        assert handle.which_child("x").state == "running"
        handle.child("x").ref.signal("raise")
        while child.restarts == 0:
            child.wait_running(WAIT)
        child.wait_running(WAIT)
        assert handle.which_child("x").state == "running"
        node = top.tree()
        assert [(below.id, below.type, below.state, below.restarts) for below in node.children] == [
            ("in", "supervisor", "running", 1)
        ]
        assert [below.id for below in node.children[0].children] == ["x"]
        assert "in  supervisor running, restarted once, the last end: raised" in str(node)


def test_a_context_ends_its_tree_and_a_handle_tells_why_it_ended() -> None:
    with start_supervisor([spec()]) as top:
        assert top.wait(0.0) is None
        assert top.count_children() == (1, 1, 0, 1)
        assert top.get_child_spec("a").id == "a"
        assert top.start_child(spec("b")).state == "running"
        top.terminate_child("b")
        top.delete_child("b")
        assert [info.id for info in top.which_children()] == ["a"]
    assert top.wait(WAIT) == Shutdown("stopped")
    assert top.stop(WAIT) is True
    with pytest.raises(ActorEndedError):
        top.which_children()


def test_a_tree_that_does_not_start_raises_the_cause_and_leaves_nothing() -> None:
    def fail() -> object:
        raise OSError("no such disk")

    with pytest.raises(StartError, match="child 'b' of supervisor supervisor could not start: OSError: no such disk"):
        start_supervisor([spec(), ChildSpec("b", fail)])
    with pytest.raises(SpecError, match="options"):
        start_supervisor(Supervisor([]), strategy="one_for_all")


def test_options_beside_a_dynamic_supervisor_that_is_made_are_refused() -> None:
    with pytest.raises(SpecError, match=r"options: expected none .*\['max_children'\]"):
        start_dynamic_supervisor(DynamicSupervisor(), max_children=1)


def test_a_flag_that_cannot_be_changed_leaves_all_as_it_was() -> None:
    with start_supervisor([spec()]) as top:
        before = top.ref.get_state()
        with pytest.raises(SpecError, match="intensity: expected an Intensity, got 3"):
            top.reconfigure(strategy="one_for_all", intensity=3)  # type: ignore[arg-type]  # that is the point
        assert {**top.ref.get_state(), "children": ()} == {**before, "children": ()}


def test_a_suspended_supervisor_takes_up_what_has_happened_when_it_is_resumed() -> None:
    with start_supervisor([spec()], intensity=LOOSE) as top:
        child = top.child("a")
        gone = threading.Event()
        assert top.ref.suspend()
        top.ref.get_state(WAIT)
        assert top.tree().state == "suspended"
        assert isinstance(child.ref, LifeRef)
        child.ref.watch(lambda _: gone.set())
        child.ref.signal("raise")
        assert gone.wait(WAIT)
        assert child.restarts == 0
        assert top.ref.resume()
        while child.restarts == 0:
            child.wait_running(WAIT)


def test_an_actor_that_is_linked_to_a_supervisor_does_not_end_it() -> None:
    class Linked(Behavior):
        def on_start(self, ctx: Context) -> None:
            ctx.link(top.ref)

        def on_message(self, message: object, ctx: Context) -> None:
            raise ValueError(message)

    with start_supervisor([spec()]) as top:
        ref = PykkaHost().start(Linked(), "linked")
        ref.wait_started(WAIT)
        ended = threading.Event()
        ref.watch(lambda _: ended.set())
        ref.tell("end")
        assert ended.wait(WAIT)
        assert top.which_child("a").state == "running"
        assert ref.wait_terminated(WAIT)


def test_what_was_handed_over_ends_with_a_supervisor_that_fails_itself() -> None:
    class Failing(Supervisor):
        def on_child_down(self, child: object, reason: object, ctx: Context) -> None:
            raise LookupError("in a hook")

    handed = PykkaHost().start(Worker(), "handed")
    top = start_supervisor(Failing([ChildSpec("h", lambda: handed), spec("b")]))
    top.child("b").ref.signal("raise")
    assert isinstance(top.wait(WAIT), Raised)
    assert handed.wait_terminated(WAIT)
    assert handed.reason == Shutdown("its supervisor ended")


def test_what_is_handed_over_after_its_time_is_asked_to_end() -> None:
    inside, release = threading.Event(), threading.Event()
    handed = PykkaHost().start(Worker(), "handed")

    def late() -> object:
        inside.set()
        release.wait(WAIT)
        return handed

    with start_supervisor([]) as top, pytest.raises(StartError, match=r"was not ready within 0.01 s"):
        top.start_child(ChildSpec("late", late, start_timeout=0.01))
    assert inside.is_set()
    release.set()
    assert handed.wait_terminated(WAIT)


def test_what_happens_to_children_is_told() -> None:
    told: list[str] = []
    telemetry = Telemetry()
    telemetry.attach("test", EVENTS, lambda event, *_: told.append(event))
    top = start_supervisor([spec()], host=PykkaHost(telemetry=telemetry), intensity=Intensity(1, 60.0))
    for _ in range(2):
        child = top.child("a")
        seen = child.restarts
        child.ref.signal("raise")
        while child.restarts == seen and top.ref.reason is None:
            try:
                child.wait_running(WAIT)
            except ActorEndedError:
                break
    assert isinstance(top.wait(WAIT), Raised)
    assert [event for event in told if event.startswith(("child", "supervisor"))] == [
        "child.started",
        "child.ended",
        "child.restarting",
        "child.started",
        "child.ended",
        "supervisor.escalated",
    ]


def test_a_pool_is_asked_in_turns_by_key_and_all_at_once() -> None:
    with start_pool(ChildSpec("p", Numbered), 3, with_number="number") as pool:
        assert {pool.ask("arguments", WAIT)[1]["number"] for _ in range(3)} == {0, 1, 2}
        by_key = [pool.ask("arguments", WAIT, key="k")[1]["number"] for _ in range(3)]
        assert len(set(by_key)) == 1
        assert pool.broadcast("x") == 3
        pool.resize(5)
        assert [child.id for child in pool.partitions] == [f"p-{number}" for number in range(5)]
        pool.resize(1)
        assert pool.broadcast("x") == 1
        with pytest.raises(SpecError):
            pool.start_child(spec())


def test_a_dynamic_supervisor_gives_handles_too() -> None:
    with start_dynamic_supervisor(spec("w"), intensity=LOOSE) as many:
        info = many.start_child()
        assert many.child(info.id).wait_running(WAIT).id == "w-1"
        assert many.get_child_spec("w-1").id == "w"
        many.terminate_child(info.ref)  # type: ignore[arg-type]  # it runs
        assert many.which_children() == ()
