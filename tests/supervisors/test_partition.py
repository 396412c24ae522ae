"""Which partition a message goes to, and what a change of their number moves."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.behavior import Behavior
from supervisors.calls import WhichChildren
from supervisors.children import Child, ChildState
from supervisors.errors import SpecError
from supervisors.partition import PartitionRouter, PartitionSupervisor, Resize, rendezvous
from supervisors.policy import Intensity
from supervisors.spec import ChildSpec
from tests.supervisors.drivers import LOOSE, StepDriver

KEYS = st.recursive(
    st.one_of(st.text(), st.binary(), st.integers(), st.floats(), st.none(), st.booleans()),
    lambda keys: st.tuples(keys, keys),
    max_leaves=4,
)
COUNTS = st.integers(1, 40)


@given(key=KEYS, before=COUNTS, after=COUNTS)
def test_only_keys_that_must_move_do_when_the_number_changes(key: Any, before: int, after: int) -> None:
    was, now = rendezvous(key, before), rendezvous(key, after)
    if after >= before:
        assert now == was or before <= now < after  # it stays, or a new partition wins it
    elif was < after:
        assert now == was  # its partition is still there


def test_keys_are_spread_about_evenly() -> None:
    found = [0] * 8
    for number in range(8_000):
        found[rendezvous(f"key {number}", 8)] += 1
    assert max(found) < 1.2 * min(found)


def test_where_a_key_belongs_is_the_same_in_every_program() -> None:
    keys = ["user 7", b"user 7", 7, 7.0, None, ("user", 7)]
    assert [rendezvous(key, 100) for key in keys] == EXPECTED


EXPECTED = [9, 7, 2, 6, 16, 86]


@pytest.mark.parametrize("key", [object(), frozenset({1}), ("a", object())])
def test_a_key_that_is_not_written_the_same_everywhere_is_refused(key: Any) -> None:
    with pytest.raises(SpecError, match="key: expected text, bytes"):
        rendezvous(key, 3)


class Busy:
    reason = None

    """A reference with so many messages waiting."""

    def __init__(self, waiting: int) -> None:
        self.mailbox_stats = self
        self.waiting = waiting


def make(*waiting: int | None) -> list[Child]:
    children = []
    for number, count in enumerate(waiting):
        child = Child(ChildSpec(f"p-{number}", Behavior))
        if count is not None:
            child.state, child.ref = ChildState.RUNNING, Busy(count)  # type: ignore[assignment]  # a fake
        children.append(child)
    return children


def test_in_turns_passes_by_those_that_do_not_run() -> None:
    router, partitions = PartitionRouter(), make(0, None, 0)
    assert [router.choose(partitions).name for _ in range(6)] == ["p-0", "p-2", "p-2", "p-0", "p-2", "p-2"]


def test_the_least_busy_one_that_runs_is_chosen_and_equals_take_turns() -> None:
    router = PartitionRouter("least_busy")
    assert router.choose(make(3, 1, 2)).name == "p-1"
    assert router.choose(make(3, None, 2)).name == "p-2"
    assert {router.choose(make(1, 1)).name for _ in range(4)} == {"p-0", "p-1"}


def test_one_is_chosen_even_when_none_runs() -> None:
    assert PartitionRouter().choose(make(None, None)).name == "p-0"
    with pytest.raises(SpecError, match="routing: expected one of"):
        PartitionRouter("by luck")  # type: ignore[arg-type]  # that is the point


def test_a_key_keeps_its_partition_while_that_is_down() -> None:
    up, down = make(0, 0, 0), make(None, None, None)
    router = PartitionRouter()
    assert [router.choose_by_key(up, key).name for key in "abcdef"] == [
        router.choose_by_key(down, key).name for key in "abcdef"
    ]


@given(seed=st.integers(0, 1_000), sizes=st.lists(st.integers(1, 6), min_size=1, max_size=6), steps=st.integers(0, 12))
def test_however_a_pool_is_resized_it_comes_to_the_last_size_and_never_has_a_number_twice(
    seed: int, sizes: list[int], steps: int
) -> None:
    d = StepDriver(seed, hurry=0.05 * (seed % 2))
    supervisor = PartitionSupervisor(d.spec("p"), 3, intensity=LOOSE)
    d.start(supervisor)
    resizes = []
    for size in sizes:
        resizes.append(d.send(Resize(size)))
        for _ in range(steps):
            d.host.step()
        # Messages flow meanwhile, to whichever partition is chosen.
        child = PartitionRouter().choose_by_key(supervisor.children, size)
        if child.ref is not None:
            child.ref.tell("x" if size % 2 else "raise")
    d.host.run()
    assert all(future.done() and future.exception(0) is None for future in resizes)
    infos = d.call(WhichChildren())
    assert [info.id for info in infos] == [f"p-{number}" for number in range(sizes[-1])]
    assert {info.state for info in infos} == {"running"}
    up: set[str] = set()
    for event in d.log:
        if event.kind == "child.started":
            assert event.id not in up
            up.add(event.id)
        elif event.kind == "child.ended":
            up.discard(event.id)
    d.close()


def test_the_intensity_of_a_pool_grows_with_it_unless_it_was_given() -> None:
    for given_, before, after in ((None, 6, 12), (Intensity(1, 2.0), 1, 1)):
        d = StepDriver(0)
        supervisor = PartitionSupervisor(d.spec("p"), 2, intensity=given_)
        d.start(supervisor)
        assert supervisor.get_state()["intensity"].max_restarts == before
        d.call(Resize(4))
        assert supervisor.get_state()["intensity"].max_restarts == after
        d.close()
