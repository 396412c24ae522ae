"""What is documented of supervisors of many children of one kind, as scenarios (see `otp`).

The words are those of Elixir's `DynamicSupervisor` and `PartitionSupervisor`.
"""

from __future__ import annotations

from typing import Any

import pytest

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
from supervisors.dynamic import DynamicSupervisor, StartDynamic, TerminateDynamic
from supervisors.errors import (
    ActorEndedError,
    ChildStateError,
    MaxChildrenError,
    SpecError,
    StartError,
    UnknownChildError,
)
from supervisors.messages import Terminate
from supervisors.partition import GetPartitions, PartitionSupervisor, Resize
from supervisors.policy import Backoff, Intensity
from supervisors.reasons import Raised, Shutdown
from supervisors.spec import ChildSpec
from tests.supervisors.drivers import LOOSE, Driver, Failures, Numbered, Stubborn, Worker, start_unless
from tests.supervisors.otp import THREAD, scenario


def dynamic(d: Driver, template: ChildSpec | None, **options: Any) -> None:
    """Start a dynamic supervisor."""
    d.start(DynamicSupervisor(template, **{"intensity": LOOSE, **options}))


def add(d: Driver, *args: Any, spec: ChildSpec | None = None, **kwargs: Any) -> Any:
    """Have one more child."""
    return d.call(StartDynamic(spec, args, kwargs))


def pool(d: Driver, size: int, template: ChildSpec | None = None, **options: Any) -> None:
    """Start a pool."""
    options = {"intensity": LOOSE, **options}
    d.start(PartitionSupervisor(d.spec("p") if template is None else template, size, **options))


# -- dynamic supervisors


@scenario("DynamicSupervisor.start_child/2")
def dynamic_children_are_started_on_demand_with_arguments_of_their_own(d: Driver) -> None:
    dynamic(d, d.spec("w", Numbered, args=(1,), kwargs={"a": 1, "b": 1}))
    assert d.states() == {}
    assert add(d, 2, b=2).id == "w-1"
    assert add(d, spec=d.spec("other")).id == "other-2"
    assert d.answer(d.child_ref("w-1").ask_future("arguments")) == ((1, 2), {"a": 1, "b": 2})
    d.lose("w-1")
    assert d.answer(d.child_ref("w-1").ask_future("arguments")) == ((1, 2), {"a": 1, "b": 2})
    assert d.states() == {"w-1": "running", "other-2": "running"}
    assert d.call(GetChildSpec("w-1")).args == (1, 2)


@scenario("DynamicSupervisor: :max_children", is_hurried=False)
def no_more_dynamic_children_are_started_than_there_may_be(d: Driver) -> None:
    dynamic(d, d.spec("w", backoff=Backoff(delay=10.0)), max_children=2)
    add(d)
    add(d)
    d.end("raise", "w-1")
    for _ in range(2):
        with pytest.raises(MaxChildrenError, match="has 2 children, as many as it may"):
            add(d)
    d.call(TerminateDynamic("w-1"))
    assert add(d).id == "w-3"
    assert d.call(CountChildren()) == (2, 2, 0, 2)


@scenario("DynamicSupervisor: restart values")
def dynamic_children_are_started_again_by_their_restart_type_or_forgotten(d: Driver) -> None:
    dynamic(d, None)
    for number, (restart, how, is_again) in enumerate(
        (
            ("permanent", "leave", True),
            ("transient", "raise", True),
            ("transient", "leave", False),
            ("temporary", "raise", False),
        ),
        start=1,
    ):
        id_ = add(d, spec=d.spec("w", restart=restart)).id
        assert id_ == f"w-{number}"
        if is_again:
            seen = len(d.started(id_))
            d.end(how, id_)
            d.wait(lambda id_=id_, seen=seen: len(d.started(id_)) > seen)
        else:
            d.end(how, id_)
    assert d.states() == {"w-1": "running", "w-2": "running"}


@scenario("DynamicSupervisor.start_child/2")
def a_dynamic_child_that_does_not_start_is_not_added(d: Driver) -> None:
    failures = d.failures()
    dynamic(d, d.spec("w", start_unless, args=(failures,)))
    failures.add(1)
    with pytest.raises(StartError, match="not yet"):
        add(d)
    assert d.states() == {}
    with pytest.raises(SpecError, match="significant"):
        add(d, spec=d.spec("x", restart="transient", significant=True))


@scenario("DynamicSupervisor.start_child/2")
def a_dynamic_child_that_does_not_start_again_is_tried_again(d: Driver) -> None:
    failures = d.failures()
    dynamic(d, d.spec("w", start_unless, args=(failures,)))
    add(d)
    failures.add(2)
    d.lose("w-1")
    assert len(d.told("child.start_failed")) == 2


@scenario("DynamicSupervisor.terminate_child/2")
def a_dynamic_child_is_ended_by_its_name_or_its_live_incarnation(d: Driver) -> None:
    dynamic(d, d.spec("w"))
    first, second = add(d), add(d)
    d.lose("w-1")
    with pytest.raises(UnknownChildError):
        d.call(TerminateDynamic(first.ref))
    d.call(TerminateDynamic(second.ref))
    assert d.states() == {"w-1": "running"}
    d.call(TerminateDynamic("w-1"))
    assert d.states() == {}
    with pytest.raises(UnknownChildError):
        d.call(TerminateDynamic("w-1"))
    assert d.ended() == ["w-1", "w-2", "w-1"]


@scenario("DynamicSupervisor: shutdown", is_hurried=False, backings=THREAD)
def dynamic_children_are_all_ended_at_once(d: Driver) -> None:
    dynamic(d, d.spec("w", Stubborn, shutdown=2.0))
    for _ in range(5):
        add(d)
    d.ref.signal(Terminate(Shutdown("over")))
    assert set(d.states().values()) == {"stopping"}
    d.let_pass(2.0)
    assert d.wait_end() == Shutdown("over")
    assert len(d.ended()) == 5


@scenario("DynamicSupervisor: :max_restarts")
def too_many_restarts_end_a_dynamic_supervisor(d: Driver) -> None:
    dynamic(d, d.spec("w"), intensity=Intensity(1, 5.0))
    for _ in range(3):
        add(d)
    d.lose("w-1")
    d.call(Reconfigure(None, Intensity(0, 5.0), None, ()))
    d.child_ref("w-2").signal("leave")
    assert isinstance(d.wait_end(), Raised)
    assert sorted(d.ended()) == ["w-1", "w-1", "w-2", "w-3"]


@scenario("DynamicSupervisor: shutdown", is_hurried=False, backings=THREAD)
def no_dynamic_child_is_started_while_the_supervisor_ends(d: Driver) -> None:
    dynamic(d, d.spec("w", Stubborn, shutdown=2.0))
    add(d)
    d.ref.signal(Terminate(Shutdown("over")))
    assert d.states() == {"w-1": "stopping"}
    start = d.send(StartDynamic(None, (), {}))
    d.let_pass(2.0)
    d.wait_end()
    with pytest.raises(ActorEndedError):
        d.answer(start)


@scenario("DynamicSupervisor: counting", is_hurried=False)
def a_dynamic_child_that_waits_is_told_as_such_and_can_be_waited_for(d: Driver) -> None:
    dynamic(d, d.spec("w", backoff=Backoff(delay=10.0)))
    add(d)
    d.end("raise", "w-1")
    assert d.call(WhichChild("w-1")).state == "restarting"
    assert d.call(CountChildren()) == (1, 0, 0, 1)
    waiting = d.send(AwaitChild("w-1"))
    d.let_pass(10.0)
    assert d.answer(waiting).state == "running"
    d.end("raise", "w-1")
    waiting = d.send(AwaitChild("w-1"))
    d.call(TerminateDynamic("w-1"))
    with pytest.raises(ChildStateError):
        d.answer(waiting)


@scenario("DynamicSupervisor: what it does not do")
def a_dynamic_supervisor_refuses_the_calls_of_others(d: Driver) -> None:
    dynamic(d, d.spec("w"))
    add(d)
    for call in (RestartChild("w-1"), DeleteChild("w-1"), Reconfigure("one_for_all", None, None, ())):
        with pytest.raises(SpecError):
            d.call(call)
    assert d.states() == {"w-1": "running"}


# -- pools


@scenario("PartitionSupervisor: :with_arguments")
def partitions_are_numbered_and_told_so(d: Driver) -> None:
    pool(d, 3, d.spec("p", Numbered), with_number="number")
    assert d.started() == ["p-0", "p-1", "p-2"]
    for number in range(3):
        assert d.answer(d.child_ref(f"p-{number}").ask_future("arguments")) == ((), {"number": number})
    d.lose("p-1")
    assert d.started("p-1") == ["p-1", "p-1"]
    assert [child.name for child in d.call(GetPartitions())] == ["p-0", "p-1", "p-2"]


@scenario("PartitionSupervisor.resize!/2")
def a_pool_grows_in_order_and_shrinks_from_the_end(d: Driver) -> None:
    pool(d, 1)
    d.call(Resize(4))
    assert d.started() == ["p-0", "p-1", "p-2", "p-3"]
    d.call(Resize(2))
    assert d.ended() == ["p-3", "p-2"]
    assert d.states() == {"p-0": "running", "p-1": "running"}
    d.call(Resize(2))
    for wrong in (0, -1, True, "3"):
        with pytest.raises(SpecError, match="partitions: expected a number, 1 or more"):
            d.call(Resize(wrong))  # type: ignore[arg-type]  # that is the point


@scenario("PartitionSupervisor.resize!/2", backings=THREAD, is_hurried=False)
def a_pool_that_grows_again_waits_for_those_that_are_still_ending(d: Driver) -> None:
    pool(d, 3, d.spec("p", Stubborn, shutdown=5.0))
    shrink, grow = d.send(Resize(1)), d.send(Resize(3))
    assert d.states() == {"p-0": "running", "p-1": "starting", "p-2": "starting"}
    assert (shrink.done(), grow.done()) == (False, False)
    for _ in range(2):
        d.let_pass(5.0)
    d.answer(shrink)
    d.answer(grow)
    assert d.started()[-2:] == ["p-1", "p-2"]
    assert d.ended() == ["p-2", "p-1"]
    d.ref.signal(Terminate(Shutdown("over")))
    for _ in range(3):
        d.let_pass(5.0)
    d.wait_end()


def stubborn_or_failing(failures: Failures, number: int) -> Worker:
    """Give one that does not end when it is asked to, as the last of three."""
    return Stubborn() if number == 2 else start_unless(failures)


@scenario("PartitionSupervisor.resize!/2", backings=THREAD)
def a_partition_that_is_taken_away_while_it_fails_is_not_started_again(d: Driver) -> None:
    failures = d.failures()
    pool(d, 3, d.spec("p", stubborn_or_failing, args=(failures,)), with_number="number")
    last = d.child_ref("p-2")
    failures.add(200)
    d.end("raise", "p-1")
    shrink = d.send(Resize(1))
    d.ask_until(lambda: d.states() == {"p-0": "running"})
    last.tell("leave")
    assert d.answer(shrink) is None
    assert d.call(CountChildren()) == (1, 1, 0, 1)
    d.stop()
    assert d.started("p-1") == ["p-1"]


@scenario("PartitionSupervisor: what it does not do")
def the_children_of_a_pool_are_its_partitions_and_no_others(d: Driver) -> None:
    pool(d, 2)
    d.call(TerminateChild("p-1"))
    for call in (StartChild(d.spec("x")), DeleteChild("p-1"), Reconfigure(None, None, None, (d.spec("x"),))):
        with pytest.raises(SpecError):
            d.call(call)
    assert d.states() == {"p-0": "running", "p-1": "stopped"}
    with pytest.raises(SpecError, match="template: restart"):
        PartitionSupervisor(d.spec("p", restart="temporary"), 2)


@scenario("PartitionSupervisor.resize!/2", backings=THREAD)
def who_waits_for_a_partition_that_is_taken_away_is_told(d: Driver) -> None:
    pool(d, 2)
    d.call(TerminateChild("p-1"))
    d.call(Reconfigure(None, None, None, ()))
    restart = d.send(RestartChild("p-1"))
    d.call(Resize(1))
    try:
        assert d.answer(restart).state == "running"
    except ChildStateError as error:
        assert "was ended before it was running" in str(error)  # noqa: PT017  both may be
    assert d.states() == {"p-0": "running"}
