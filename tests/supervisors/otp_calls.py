"""What OTP's documentation says of a supervisor's calls and of how a child ends, as scenarios (see `otp`)."""

from __future__ import annotations

from typing import Any

import pytest

from supervisors.behavior import Behavior, Context
from supervisors.calls import (
    AwaitChild,
    CountChildren,
    DeleteChild,
    GetChildSpec,
    Reconfigure,
    RestartChild,
    StartChild,
    TerminateChild,
    WhichChild,
)
from supervisors.errors import (
    ActorEndedError,
    ChildExistsError,
    ChildStateError,
    SpecError,
    StartError,
    UnknownChildError,
)
from supervisors.messages import Terminate
from supervisors.policy import Backoff, Intensity
from supervisors.reasons import Abandoned, Killed, Raised, Shutdown
from supervisors.spec import IGNORE
from supervisors.supervisor import Supervisor
from tests.supervisors.drivers import Driver, Slow, Stubborn, Unneeded, Worker, start_unless
from tests.supervisors.otp import THREAD, one_by_one, scenario

# -- children that are not needed


def unneeded() -> object:
    """Find that no child is needed."""
    return IGNORE


@scenario("start: ignore", backings=THREAD)
def a_child_that_is_not_needed_counts_as_started(d: Driver) -> None:
    one_by_one(d, d.spec("a", unneeded), d.spec("b", Unneeded), d.spec("c"))
    assert d.states() == {"a": "stopped", "b": "stopped", "c": "running"}
    assert d.call(CountChildren()) == (3, 1, 0, 3)


@scenario("start: ignore", backings=THREAD)
def a_temporary_child_that_is_not_needed_is_forgotten(d: Driver) -> None:
    one_by_one(d, d.spec("a", unneeded, restart="temporary"), d.spec("b"))
    assert d.states() == {"b": "running"}
    info = d.call(StartChild(d.spec("c", unneeded, restart="temporary")))
    assert (info.state, info.ref) == ("stopped", None)
    assert d.states() == {"b": "running"}


@scenario("start_child/2", backings=THREAD)
def a_child_that_is_not_needed_is_kept_and_may_be_asked_for_again(d: Driver) -> None:
    one_by_one(d)
    assert d.call(StartChild(d.spec("a", unneeded))).state == "stopped"
    assert d.states() == {"a": "stopped"}
    assert d.call(RestartChild("a")).state == "stopped"
    with pytest.raises(ChildExistsError, match="which is stopped"):
        d.call(StartChild(d.spec("a")))


# -- calls


@scenario("start_child/2")
def a_child_that_is_added_comes_last(d: Driver) -> None:
    one_by_one(d, *d.specs("ab"), strategy="rest_for_one")
    assert d.call(StartChild(d.spec("c"))).state == "running"
    d.forget()
    d.lose("b")
    d.wait_running("abc")
    assert d.started() == list("bc")
    d.stop()
    assert d.ended()[-3:] == list("cba")


@scenario("start_child/2", is_hurried=False)
def a_second_child_of_the_same_id_is_refused_whatever_the_first_does(d: Driver) -> None:
    one_by_one(d, d.spec("a"), d.spec("b"), d.spec("c", backoff=Backoff(delay=10.0)))
    d.call(TerminateChild("b"))
    d.end("raise", "c")
    for id_, state in {"a": "running", "b": "stopped", "c": "restarting"}.items():
        with pytest.raises(ChildExistsError, match=f"has a child '{id_}' already, which is {state}"):
            d.call(StartChild(d.spec(id_)))
    assert d.states() == {"a": "running", "b": "stopped", "c": "restarting"}


@scenario("start_child/2")
def a_child_that_does_not_start_is_not_added(d: Driver) -> None:
    failures = d.failures()
    one_by_one(d, d.spec("a"))
    failures.add(1)
    with pytest.raises(StartError, match=r"child 'b' of supervisor top could not start: .*not yet"):
        d.call(StartChild(d.spec("b", start_unless, args=(failures,))))
    assert d.states() == {"a": "running"}
    assert d.call(StartChild(d.spec("b", start_unless, args=(failures,)))).state == "running"


@scenario("terminate_child/2")
def a_terminated_child_stays_down_and_a_temporary_one_is_forgotten(d: Driver) -> None:
    one_by_one(d, *d.specs("ab"), d.spec("c", restart="temporary"))
    assert d.call(TerminateChild("b")) is None
    assert d.call(TerminateChild("b")) is None
    assert d.call(TerminateChild("c")) is None
    assert d.states() == {"a": "running", "b": "stopped"}
    for id_ in "cx":
        with pytest.raises(UnknownChildError, match=f"there is no child '{id_}'; there are"):
            d.call(TerminateChild(id_))
    assert d.reason_of("b") == Shutdown("asked by top")


@scenario("terminate_child/2", is_hurried=False)
def terminating_a_child_that_waits_to_be_started_again_keeps_it_down(d: Driver) -> None:
    one_by_one(d, d.spec("a", backoff=Backoff(delay=10.0)), d.spec("b"))
    d.end("raise", "a")
    d.call(TerminateChild("a"))
    assert d.states() == {"a": "stopped", "b": "running"}
    d.let_pass(20.0)
    assert d.states() == {"a": "stopped", "b": "running"}
    assert d.call(RestartChild("a")).state == "running"


@scenario("terminate_child/2", is_hurried=False)
def terminating_one_of_a_group_that_waits_leaves_the_others_to_be_started(d: Driver) -> None:
    one_by_one(d, *d.specs("abc", backoff=Backoff(delay=10.0)), strategy="one_for_all")
    d.end("raise", "a")
    d.wait(lambda: len(d.ended()) == 3)
    d.call(TerminateChild("b"))
    assert d.states() == {"a": "restarting", "b": "stopped", "c": "restarting"}
    d.let_pass(10.0)
    d.wait_running("ac")
    assert d.states()["b"] == "stopped"


@scenario("terminate_child/2", backings=THREAD)
def terminating_a_child_that_starts_is_told_to_who_started_it(d: Driver) -> None:
    one_by_one(d)
    start = d.send(StartChild(d.spec("a", Slow)))
    assert d.states() == {"a": "starting"}
    assert d.call(TerminateChild("a")) is None
    with pytest.raises(ChildStateError, match="child 'a' was ended before it was running"):
        d.answer(start)
    assert d.states() == {}


@scenario("restart_child/2", is_hurried=False)
def only_a_stopped_child_can_be_restarted(d: Driver) -> None:
    one_by_one(d, d.spec("a"), d.spec("b"), d.spec("c", backoff=Backoff(delay=10.0)))
    d.call(TerminateChild("b"))
    d.end("raise", "c")
    assert d.call(RestartChild("b")).state == "running"
    for id_, state in {"a": "running", "c": "restarting"}.items():
        with pytest.raises(ChildStateError, match=f"child '{id_}' cannot be restarted: it is {state}"):
            d.call(RestartChild(id_))
    with pytest.raises(UnknownChildError):
        d.call(RestartChild("x"))


@scenario("restart_child/2")
def a_restart_asked_for_that_fails_leaves_the_child_stopped(d: Driver) -> None:
    failures = d.failures()
    one_by_one(d, d.spec("a", start_unless, args=(failures,)))
    d.call(TerminateChild("a"))
    failures.add(1)
    with pytest.raises(StartError, match="not yet"):
        d.call(RestartChild("a"))
    assert d.states() == {"a": "stopped"}
    assert d.told("child.restarting") == []
    assert d.call(RestartChild("a")).state == "running"


@scenario("delete_child/2", is_hurried=False)
def only_a_stopped_child_can_be_deleted(d: Driver) -> None:
    one_by_one(d, d.spec("a"), d.spec("b"), d.spec("c", backoff=Backoff(delay=10.0)))
    d.call(TerminateChild("b"))
    d.end("raise", "c")
    assert d.call(DeleteChild("b")) is None
    for id_, state in {"a": "running", "c": "restarting"}.items():
        with pytest.raises(ChildStateError, match=f"child '{id_}' cannot be deleted: it is {state}"):
            d.call(DeleteChild(id_))
    with pytest.raises(UnknownChildError):
        d.call(DeleteChild("b"))
    assert d.states() == {"a": "running", "c": "restarting"}
    assert d.call(StartChild(d.spec("b"))).state == "running"


@scenario("which_children/1, count_children/1", is_hurried=False)
def children_are_listed_and_counted_by_what_they_are(d: Driver) -> None:
    inner = d.spec("in", Supervisor, args=(d.specs("x"),))
    one_by_one(d, d.spec("a"), d.spec("b"), d.spec("c", backoff=Backoff(delay=10.0)), inner)
    d.call(TerminateChild("b"))
    d.end("raise", "c")
    assert d.states() == {"a": "running", "b": "stopped", "c": "restarting", "in": "running"}
    assert d.call(CountChildren()) == (4, 2, 1, 3)
    assert d.states("in") == {"x": "running"}
    told = d.call(WhichChild("c"))
    assert (told.type, told.ref, told.restarts) == ("worker", None, 0)
    assert "told to" in str(told.last_reason)
    assert d.call(WhichChild("in")).type == "supervisor"


@scenario("get_childspec/2")
def a_spec_is_given_as_it_was(d: Driver) -> None:
    spec = d.spec("a", restart="transient")
    one_by_one(d, spec)
    assert d.call(GetChildSpec("a")) is spec
    with pytest.raises(UnknownChildError):
        d.call(GetChildSpec("b"))


@scenario("beyond OTP: wait_running", is_hurried=False)
def who_waits_for_a_child_is_answered_when_it_runs_however_often_that_fails(d: Driver) -> None:
    failures = d.failures()
    one_by_one(d, d.spec("a", start_unless, args=(failures,), backoff=Backoff(delay=1.0)))
    failures.add(1)
    d.end("raise", "a")
    waiting = d.send(AwaitChild("a"))
    d.let_pass(1.0)
    d.wait(lambda: len(d.told("child.start_failed")) == 1)
    assert not waiting.done()
    d.let_pass(2.0)
    assert d.answer(waiting).state == "running"


@scenario("beyond OTP: wait_running", is_hurried=False)
def who_waits_for_a_child_that_is_given_up_is_told(d: Driver) -> None:
    one_by_one(d, d.spec("a", backoff=Backoff(delay=1.0)))
    d.end("raise", "a")
    waiting = d.send(AwaitChild("a"))
    d.call(TerminateChild("a"))
    with pytest.raises(ChildStateError):
        d.answer(waiting)
    with pytest.raises(ChildStateError, match="is stopped"):
        d.call(AwaitChild("a"))


@scenario("beyond OTP: wait_running", backings=THREAD)
def who_waits_for_a_temporary_child_that_its_siblings_take_along_is_told(d: Driver) -> None:
    one_by_one(d, d.spec("a"), strategy="one_for_all")
    start = d.send(StartChild(d.spec("b", Slow, restart="temporary")))
    assert d.states() == {"a": "running", "b": "starting"}
    d.end("raise", "a")
    with pytest.raises(ChildStateError, match="child 'b' was ended before it was running"):
        d.answer(start)
    d.wait_running("a")
    assert d.states() == {"a": "running"}


# -- ending a child


@scenario("Child specification: shutdown", is_hurried=False)
def a_child_to_be_killed_is_not_asked(d: Driver) -> None:
    one_by_one(d, d.spec("a"), d.spec("b", shutdown="brutal_kill"))
    d.call(TerminateChild("b"))
    assert isinstance(d.reason_of("b"), Killed)
    assert d.states() == {"a": "running", "b": "stopped"}


@scenario("Child specification: shutdown", is_hurried=False, backings=THREAD)
def a_child_that_does_not_end_in_its_time_is_left_behind_and_the_rest_goes_on(d: Driver) -> None:
    one_by_one(d, d.spec("a"), d.spec("b", Stubborn, shutdown=2.0), d.spec("c"))
    d.ref.signal(Terminate(Shutdown("over")))
    d.wait(lambda: d.ended() == ["c"])
    d.let_pass(2.0)
    assert d.wait_end() == Shutdown("over")
    assert d.ended() == list("cba")
    assert isinstance(d.reason_of("b"), Abandoned)


@scenario("Child specification: shutdown", is_hurried=False, backings=THREAD)
def a_child_without_a_deadline_is_waited_for(d: Driver) -> None:
    one_by_one(d, d.spec("a"), d.spec("b", Stubborn))
    d.ref.signal(Terminate(Shutdown("over")))
    d.let_pass(1e6)
    assert d.states() == {"a": "running", "b": "stopping"}
    d.tell("leave", "b")
    assert d.wait_end() == Shutdown("over")


@scenario("Child specification: shutdown", is_hurried=False, backings=THREAD)
def a_supervisor_is_given_all_the_time_its_children_need(d: Driver) -> None:
    inner = d.spec("in", Supervisor, args=([d.spec("a", Stubborn, shutdown=100.0)],), shutdown=None)
    one_by_one(d, inner)
    d.ref.signal(Terminate(Shutdown("over")))
    d.ask_until(lambda: d.states("in") == {"a": "stopping"})
    d.let_pass(99.0, "in")
    assert d.states() == {"in": "stopping"}
    d.let_pass(1.0, "in")
    d.wait_end()
    assert d.ended() == ["a", "in"]


@scenario("Child specification: start", is_hurried=False, backings=THREAD)
def a_child_that_is_not_ready_in_time_has_not_started(d: Driver) -> None:
    one_by_one(d)
    start = d.send(StartChild(d.spec("a", Slow, start_timeout=3.0)))
    assert d.states() == {"a": "starting"}
    d.let_pass(3.0)
    with pytest.raises(StartError, match="child 'a' was not ready within 3 s"):
        d.answer(start)
    assert d.states() == {}


@scenario("Child specification: start", is_hurried=False, backings=THREAD)
def a_child_that_is_ready_after_its_time_is_not_taken_for_running(d: Driver) -> None:
    one_by_one(d)
    d.send(StartChild(d.spec("a", Slow, start_timeout=3.0)))
    ref = d.child_ref("a")
    d.call(CountChildren())
    ref.tell("be ready")
    d.let_pass(3.0)
    assert d.states() in ({}, {"a": "running"})
    assert len(d.started("a")) == len(d.states())


@scenario("Child specification: start", backings=THREAD)
def what_a_child_tells_when_it_is_ready_is_given_with_it(d: Driver) -> None:
    one_by_one(d)
    start = d.send(StartChild(d.spec("a", Slow)))
    d.child_ref("a").tell("be ready")
    assert d.answer(start).info == "info of its own"
    d.call(TerminateChild("a"))
    assert d.call(WhichChild("a")).info is None


@scenario("beyond OTP: nothing waits inside a supervisor", backings=THREAD)
def a_supervisor_answers_while_a_child_starts_and_another_ends(d: Driver) -> None:
    one_by_one(d, d.spec("a", Stubborn))
    start = d.send(StartChild(d.spec("b", Slow)))
    end = d.send(TerminateChild("a"))
    assert d.states() == {"a": "stopping", "b": "starting"}
    assert (start.done(), end.done()) == (False, False)
    with pytest.raises(ChildStateError, match="it is stopping"):
        d.call(RestartChild("a"))
    d.tell("leave", "a")
    assert d.answer(end) is None
    d.tell("be ready", "b")
    assert d.answer(start).state == "running"


@scenario("start_link/2: the end of a supervisor", backings=THREAD)
def who_still_waits_when_a_supervisor_ends_is_told(d: Driver) -> None:
    one_by_one(d)
    start = d.send(StartChild(d.spec("a", Slow)))
    waiting = d.send(AwaitChild("a"))
    d.stop()
    for future in (start, waiting):
        with pytest.raises((ActorEndedError, ChildStateError)):
            d.answer(future)


# -- references that a start hands over


class Parent(Behavior):
    """Starts actors for others; they are its own children."""

    def on_message(self, message: object, ctx: Context) -> None:
        ctx.reply(ctx.start(Worker(), str(message)))


@scenario("start: a pid, or a pid with information", backings=THREAD)
def a_start_may_hand_over_a_reference_and_information(d: Driver) -> None:
    one_by_one(d, d.spec("maker", Parent))
    maker = d.child_ref("maker")
    ref = d.answer(maker.ask_future("w"))
    info = d.call(StartChild(d.spec("a", lambda: (ref, "info"), restart="transient")))
    assert (info.ref, info.info) == (ref, "info")
    d.call(TerminateChild("a"))
    assert ref.reason == Shutdown("asked by top")


@scenario("start: a pid, or a pid with information", backings=THREAD)
def what_was_handed_over_is_one_supervisors_and_ends_with_it(d: Driver) -> None:
    one_by_one(d, d.spec("maker", Parent))
    ref = d.answer(d.child_ref("maker").ask_future("w"))
    d.call(StartChild(d.spec("a", lambda: ref)))
    for wrong in (ref, d.ref, 3):
        with pytest.raises(StartError, match="expected a behaviour, a reference to an actor that is nobody's child"):
            d.call(StartChild(d.spec("b", lambda wrong=wrong: wrong)))
    d.stop()
    assert d.ended() == ["a", "maker"]


# -- reconfiguration


@scenario("code_change/3: changed flags")
def flags_can_be_changed_while_children_run(d: Driver) -> None:
    one_by_one(d, *d.specs("ab"))
    d.call(Reconfigure("one_for_all", Intensity(1, 60.0), "all_significant", ()))
    d.forget()
    d.lose("b")
    d.wait(lambda: d.started() == list("ab"))
    d.child_ref("a").signal("raise")
    assert isinstance(d.wait_end(), Raised)


@scenario("code_change/3: changed specifications")
def specs_are_replaced_from_the_next_start_on_and_new_ones_are_added(d: Driver) -> None:
    failures = d.failures()
    one_by_one(d, *d.specs("ab"))
    ref = d.child_ref("a")
    new = d.spec("a", start_unless, args=(failures,), restart="transient")
    d.call(Reconfigure(None, None, None, (new, d.spec("c"))))
    assert d.child_ref("a") is ref
    assert d.call(GetChildSpec("a")) is new
    assert d.states() == {"a": "running", "b": "running", "c": "stopped"}
    assert d.call(RestartChild("c")).state == "running"
    failures.add(1)
    d.lose("a")
    assert len(d.told("child.start_failed")) == 1


@scenario("code_change/3: changed flags")
def a_change_that_cannot_be_changes_nothing(d: Driver) -> None:
    one_by_one(d, d.spec("a", restart="transient", significant=True), auto_shutdown="any_significant")
    wrong: list[tuple[Any, ...]] = [
        ("sideways", None, None, ()),
        ("one_for_all", 3, None, ()),
        ("one_for_all", None, "never", ()),
        ("one_for_all", None, None, (d.spec("b"), d.spec("b"))),
        ("one_for_all", None, None, (d.spec("b"), 3)),
    ]
    before = d.ref.life.behavior.get_state()  # type: ignore[attr-defined]
    for fields in wrong:
        with pytest.raises(SpecError):
            d.call(Reconfigure(*fields))
    assert d.ref.life.behavior.get_state() == before  # type: ignore[attr-defined]
