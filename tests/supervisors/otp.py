"""What OTP's documentation says of `supervisor`, as scenarios that know nothing of their host.

Each is run by `test_otp` over seeded schedules, on threads and on processes; `drivers` says what can
be done to a tree. Those of calls and of ends are in `otp_calls`, those of dynamic supervisors and pools in
`otp_many`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from supervisors.calls import RestartChild, StartChild, TerminateChild
from supervisors.errors import ActorEndedError, SpecError, UnknownChildError
from supervisors.policy import Backoff, Intensity
from supervisors.reasons import Raised, Shutdown, StartFailed
from supervisors.spec import AutoShutdown, ChildSpec, RestartType
from supervisors.supervisor import Supervisor
from tests.supervisors.drivers import LOOSE, Driver, Slow, start_unless


class Scenario(NamedTuple):
    """One documented behaviour.

    Args:
        run: what is done and seen.
        section: where OTP's documentation says it.
        is_hurried: whether it holds on a machine so slow that timers go off between any two steps.
        backings: what its workers may run on.
    """

    run: Callable[[Driver], None]
    section: str
    is_hurried: bool
    backings: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.run.__name__


SCENARIOS: list[Scenario] = []
BOTH = ("thread", "process")
THREAD = ("thread",)


def scenario(
    section: str, *, is_hurried: bool = True, backings: tuple[str, ...] = BOTH
) -> Callable[[Callable[[Driver], None]], Callable[[Driver], None]]:
    """Have a function of a driver run on all hosts."""

    def register(run: Callable[[Driver], None]) -> Callable[[Driver], None]:
        SCENARIOS.append(Scenario(run, section, is_hurried, backings))
        return run

    return register


def one_by_one(d: Driver, *specs: ChildSpec, **options: Any) -> None:
    """Start a supervisor of these."""
    d.start(Supervisor(specs, **{"intensity": LOOSE, **options}))


# -- starting and stopping


@scenario("Starting and stopping")
def children_are_started_in_order(d: Driver) -> None:
    one_by_one(d, *d.specs("abcd"))
    assert d.started() == list("abcd")


@scenario("Starting and stopping")
def children_are_ended_in_reverse_order(d: Driver) -> None:
    one_by_one(d, *d.specs("abcd"))
    d.stop(Shutdown("over"))
    assert d.ended() == list("dcba")
    assert d.ref.reason == Shutdown("over")
    assert d.reason_of("a") == Shutdown("asked by top")


@scenario("Starting and stopping")
def a_failed_start_ends_those_before_in_reverse_order_and_tells_the_cause(d: Driver) -> None:
    failures = d.failures()
    failures.add(1)
    one_by_one(d, *d.specs("ab"), d.spec("c", start_unless, args=(failures,)), d.spec("d"))
    reason = d.wait_end()
    assert isinstance(reason, StartFailed)
    assert "child 'c' of supervisor top could not start: supervisors.errors.StartError: not yet" in str(reason)
    assert (d.started(), d.ended()) == (list("ab"), list("ba"))


@scenario("Starting and stopping")
def a_tree_is_started_depth_first_and_ended_in_reverse(d: Driver) -> None:
    inner = d.spec("in", Supervisor, args=(d.specs("bc"),))
    one_by_one(d, d.spec("a"), inner, d.spec("d"))
    assert d.started() == ["a", "b", "c", "in", "d"]
    d.stop()
    assert d.ended() == ["d", "c", "b", "in", "a"]


@scenario("Starting and stopping")
def a_start_that_fails_deep_in_a_tree_fails_the_whole_of_it(d: Driver) -> None:
    failures = d.failures()
    failures.add(1)
    inner = d.spec("in", Supervisor, args=([d.spec("b"), d.spec("c", start_unless, args=(failures,))],))
    one_by_one(d, d.spec("a"), inner)
    assert "child 'in' of supervisor top could not start" in str(d.wait_end())
    assert "not yet" in str(d.ref.reason)
    assert d.ended() == ["b", "a"]


@scenario("Starting and stopping", backings=THREAD)
def a_supervisor_that_is_ended_while_it_starts_ends_what_it_has_started(d: Driver) -> None:
    one_by_one(d)
    inner = d.spec("in", Supervisor, args=([d.spec("a"), d.spec("b", Slow), d.spec("c")],))
    start = d.send(StartChild(inner))
    d.wait(lambda: d.started() == ["a"])
    assert d.states() == {"in": "starting"}
    d.stop()
    assert d.started() == ["a"]
    assert d.ended() == ["b", "a", "in"]
    with pytest.raises(ActorEndedError):
        d.answer(start)


# -- restart strategies


def _restarts_of(d: Driver, strategy: str, lost: str) -> list[str]:
    one_by_one(d, *d.specs("abcd"), strategy=strategy)
    d.forget()
    d.lose(lost)
    assert d.running() == "abcd"
    # The others are ended the last first, before any is started again.
    others = [id_ for id_ in d.ended() if id_ != lost]
    assert others == sorted(others, reverse=True)
    kinds = [event.kind for event in d.log if event.kind != "child.restarting"]
    assert kinds == sorted(kinds)
    return d.started()


@scenario("Restart strategy")
def one_for_one_starts_the_lost_child_alone_again(d: Driver) -> None:
    assert _restarts_of(d, "one_for_one", "b") == ["b"]


@scenario("Restart strategy")
def one_for_all_ends_all_others_and_starts_all_again_in_order(d: Driver) -> None:
    assert _restarts_of(d, "one_for_all", "b") == list("abcd")


@scenario("Restart strategy")
def rest_for_one_ends_those_after_and_starts_them_again_in_order(d: Driver) -> None:
    assert _restarts_of(d, "rest_for_one", "b") == list("bcd")


def _many_are_lost_at_once(d: Driver, strategy: str) -> None:
    one_by_one(d, *d.specs("abcd"), strategy=strategy)
    for ref in [d.child_ref(id_) for id_ in "adbc"]:
        ref.signal("raise")
    d.wait(lambda: set(d.ended()) == set("abcd"))
    d.wait(lambda: all(info.state == "running" for info in d.peek()))
    assert d.running() == "abcd"
    d.stop()
    assert d.ended()[-4:] == list("dcba")


@scenario("Restart strategy")
def all_that_are_lost_at_once_come_back_one_for_one(d: Driver) -> None:
    _many_are_lost_at_once(d, "one_for_one")


@scenario("Restart strategy")
def all_that_are_lost_at_once_come_back_one_for_all(d: Driver) -> None:
    _many_are_lost_at_once(d, "one_for_all")


@scenario("Restart strategy")
def all_that_are_lost_at_once_come_back_rest_for_one(d: Driver) -> None:
    _many_are_lost_at_once(d, "rest_for_one")


@scenario("Restart strategy")
def a_restart_that_fails_counts_and_is_tried_again(d: Driver) -> None:
    failures = d.failures()
    one_by_one(d, d.spec("a"), d.spec("b", start_unless, args=(failures,)), d.spec("c"))
    failures.add(2)
    d.lose("b")
    assert d.running() == "abc"
    assert [event.id for event in d.told("child.start_failed")] == ["b", "b"]
    assert len(d.told("child.restarting")) == 3


def _fails_again_in_a_group(d: Driver, strategy: str) -> None:
    failures = d.failures()
    one_by_one(d, d.spec("a"), d.spec("b"), d.spec("c", start_unless, args=(failures,)), d.spec("d"), strategy=strategy)
    failures.add(2)
    d.forget()
    d.lose("b")
    d.wait(lambda: len(d.started("d")) == 1)
    assert d.running() == "abcd"


@scenario("Restart strategy")
def one_for_all_starts_all_again_when_one_of_them_does_not_start(d: Driver) -> None:
    _fails_again_in_a_group(d, "one_for_all")
    assert d.started() == list("ababab" + "cd")


@scenario("Restart strategy")
def rest_for_one_goes_on_from_the_one_that_did_not_start(d: Driver) -> None:
    _fails_again_in_a_group(d, "rest_for_one")
    assert d.started() == list("bcd")


# -- restart types


@scenario("Child specification: restart")
def the_restart_type_says_after_which_end_a_child_is_started_again(d: Driver) -> None:
    types: tuple[RestartType, ...] = ("permanent", "transient", "temporary")
    one_by_one(d, *(d.spec(f"{type_}{how}", restart=type_) for type_ in types for how in ("0", "1", "2", "3")))
    for type_ in types:
        for number, how in enumerate(("leave", "shut down", "raise", "kill")):
            id_ = f"{type_}{number}"
            is_again = type_ == "permanent" or (type_ == "transient" and number >= 2)
            d.lose(id_, how) if is_again else d.end(how, id_)
            assert d.states().get(id_) == ("running" if is_again else None if type_ == "temporary" else "stopped")


@scenario("Child specification: restart")
def a_temporary_child_is_forgotten_also_when_its_siblings_are_the_cause(d: Driver) -> None:
    one_by_one(d, d.spec("a", restart="temporary"), d.spec("b"), strategy="one_for_all")
    d.lose("b")
    assert d.states() == {"b": "running"}
    with pytest.raises(UnknownChildError):
        d.call(RestartChild("a"))


@scenario("Child specification: restart")
def a_group_brings_back_what_had_ended_or_was_terminated(d: Driver) -> None:
    one_by_one(d, d.spec("a", restart="transient"), *d.specs("bc"), strategy="one_for_all")
    d.end("leave", "a")
    d.call(TerminateChild("b"))
    assert d.running() == "c"
    d.lose("c")
    assert d.running() == "abc"


# -- intensity


@scenario("Maximum restart intensity")
def more_restarts_than_allowed_end_all_children_and_the_supervisor(d: Driver) -> None:
    one_by_one(d, *d.specs("abc"), intensity=Intensity(2, 5.0))
    d.lose("a")
    d.lose("b")
    d.forget()
    d.child_ref("a").signal("raise")
    reason = d.wait_end()
    assert isinstance(reason, Raised)
    assert "which makes more than 2 restarts within 5 s" in str(reason)
    assert d.ended() == list("acb")
    assert len(d.told("supervisor.escalated")) == 1


@scenario("Maximum restart intensity")
def no_restart_at_all_may_be_allowed(d: Driver) -> None:
    one_by_one(d, *d.specs("ab"), intensity=Intensity(0, 5.0))
    d.end("leave", "b")
    assert isinstance(d.wait_end(), Raised)


@scenario("Maximum restart intensity", is_hurried=False)
def restarts_before_the_period_are_forgotten(d: Driver) -> None:
    one_by_one(d, d.spec("a"), intensity=Intensity(1, 5.0))
    for _ in range(3):
        d.lose("a")
        d.let_pass(6.0)
    assert d.running() == "a"


@scenario("Maximum restart intensity", is_hurried=False)
def waits_before_restarts_hide_no_death_from_the_count(d: Driver) -> None:
    one_by_one(d, d.spec("a", backoff=Backoff(delay=1.0, factor=1.0)), intensity=Intensity(2, 60.0))
    for _ in range(2):
        d.end("raise", "a")
        assert d.states() == {"a": "restarting"}
        d.let_pass(1.0)
        d.wait_running("a")
    d.end("raise", "a")
    assert isinstance(d.wait_end(), Raised)


@scenario("Maximum restart intensity")
def starts_that_never_work_again_end_the_supervisor(d: Driver) -> None:
    failures = d.failures()
    one_by_one(d, d.spec("a"), d.spec("b", start_unless, args=(failures,)), intensity=Intensity(3, 60.0))
    failures.add(9)
    d.child_ref("b").tell("raise")
    reason = d.wait_end()
    assert "not yet" in str(reason)
    assert "more than 3 restarts" in str(reason)
    assert len(d.told("child.start_failed")) == 3


@scenario("Maximum restart intensity")
def an_escalation_goes_up_until_a_supervisor_copes(d: Driver) -> None:
    strict = Intensity(0, 5.0)
    innermost = d.spec("in", Supervisor, args=(d.specs("ab"),), kwargs={"intensity": strict})
    middle = d.spec("middle", Supervisor, args=([innermost],), kwargs={"intensity": strict})
    one_by_one(d, middle, d.spec("z"))
    d.forget()
    d.end("raise", "middle", "in", "a")
    d.wait(lambda: len(d.started("middle")) == 1)
    assert d.ended() == ["a", "b", "in", "middle"]
    assert d.started() == ["a", "b", "in", "middle"]
    assert isinstance(d.reason_of("middle"), Raised)
    assert "'a' raised ValueError: told to" in str(d.reason_of("middle"))
    assert d.states() == {"middle": "running", "z": "running"}


@scenario("Maximum restart intensity")
def an_escalation_that_nobody_copes_with_ends_the_tree(d: Driver) -> None:
    inner = d.spec("in", Supervisor, args=(d.specs("a"),), kwargs={"intensity": Intensity(0, 5.0)})
    one_by_one(d, d.spec("y"), inner, d.spec("z"), intensity=Intensity(0, 5.0))
    d.end("raise", "in", "a")
    assert "child 'in' raised" in str(d.wait_end())
    assert d.ended() == ["a", "in", "z", "y"]


# -- automatic shutdown


def _auto(d: Driver, mode: AutoShutdown) -> None:
    kinds: dict[str, RestartType] = {"a": "transient", "b": "temporary"}
    specs = [d.spec(id_, restart=kind, significant=True) for id_, kind in kinds.items()]
    one_by_one(d, *specs, d.spec("c", restart="temporary"), d.spec("d"), auto_shutdown=mode)


@scenario("Automatic shutdown")
def by_default_a_supervisor_outlives_all_its_children(d: Driver) -> None:
    one_by_one(d, *d.specs("ab", restart="transient"))
    for id_ in "ab":
        d.end("leave", id_)
    assert d.states() == {"a": "stopped", "b": "stopped"}


@scenario("Automatic shutdown")
def the_first_significant_child_that_ends_by_itself_may_end_the_supervisor(d: Driver) -> None:
    _auto(d, "any_significant")
    d.end("leave", "c")
    d.lose("a", "raise")
    assert d.running() == "abd"
    d.end("raise", "b")
    assert isinstance(d.wait_end(), Shutdown)
    assert "significant child 'b'" in str(d.ref.reason)
    assert d.ended()[-3:] == ["b", "d", "a"]


@scenario("Automatic shutdown")
def the_last_significant_child_that_ends_by_itself_may_end_the_supervisor(d: Driver) -> None:
    _auto(d, "all_significant")
    d.end("leave", "a")
    assert d.states() == {"a": "stopped", "b": "running", "c": "running", "d": "running"}
    d.end("leave", "b")
    assert isinstance(d.wait_end(), Shutdown)


@scenario("Automatic shutdown")
def children_that_are_terminated_by_hand_end_no_supervisor(d: Driver) -> None:
    _auto(d, "any_significant")
    d.call(TerminateChild("a"))
    d.call(TerminateChild("b"))
    assert d.running() == "cd"


@scenario("Automatic shutdown")
def one_terminated_by_hand_is_not_waited_for_by_the_last_one(d: Driver) -> None:
    _auto(d, "all_significant")
    d.call(TerminateChild("a"))
    d.end("leave", "b")
    assert isinstance(d.wait_end(), Shutdown)


@scenario("Automatic shutdown")
def an_automatic_shutdown_may_go_up_the_tree(d: Driver) -> None:
    leaf = d.spec("a", restart="transient", significant=True)
    options = {"auto_shutdown": "any_significant"}
    inner = d.spec("in", Supervisor, args=([leaf],), kwargs=options, restart="transient", significant=True)
    one_by_one(d, inner, d.spec("z"), auto_shutdown="any_significant")
    d.end("leave", "in", "a")
    assert isinstance(d.wait_end(), Shutdown)
    assert d.ended() == ["a", "in", "z"]


@scenario("Automatic shutdown")
def a_permanent_supervisor_is_started_again_after_its_automatic_shutdown(d: Driver) -> None:
    leaf = d.spec("a", restart="transient", significant=True)
    inner = d.spec("in", Supervisor, args=([leaf],), kwargs={"auto_shutdown": "any_significant"})
    one_by_one(d, inner)
    d.end("leave", "in", "a")
    d.wait(lambda: len(d.started("in")) == 2)


@scenario("Automatic shutdown")
def significant_children_are_refused_where_that_means_nothing(d: Driver) -> None:
    with pytest.raises(SpecError, match="child 'a': significant: a permanent child"):
        d.spec("a", significant=True)
    one_by_one(d)
    with pytest.raises(SpecError, match="child 'a': significant: its supervisor has auto_shutdown='never'"):
        d.call(StartChild(d.spec("a", restart="transient", significant=True)))
    assert d.states() == {}
