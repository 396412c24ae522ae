"""Supervision over seeded schedules, and the same on threads."""

from __future__ import annotations

import math
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from supervisors.actor import PykkaHost, PykkaRef
from supervisors.behavior import Behavior, Context, Ref
from supervisors.errors import StartError
from supervisors.life import LifeRef
from supervisors.mailbox import Mailbox
from supervisors.messages import Down, Terminate
from supervisors.policy import Backoff, Intensity
from supervisors.reasons import Abandoned, Normal, Raised, Reason, Shutdown, StartFailed
from supervisors.spec import ChildSpec
from supervisors.supervisor import Child, Supervisor
from supervisors.testing import StepHost

WAIT = 10.0
LOOSE = Intensity(10_000, 1.0)
NONE = Backoff(delay=0.0)
NAMES = ("a", "b", "c", "d")


@dataclass
class World:
    """What the children of a test did, in order."""

    events: list[tuple[str, str]] = field(default_factory=list)
    live: dict[str, Ref] = field(default_factory=dict)
    at_once: Counter[str] = field(default_factory=Counter)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def note(self, what: str, name: str) -> None:
        with self.changed:
            self.events.append((what, name))
            self.changed.notify_all()

    def wait_for(self, *event: str, count: int = 1) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.events.count((event[0], event[1])) >= count, WAIT), self.events

    def named(self, what: str) -> list[str]:
        return [name for kind, name in self.events if kind == what]


class Worker(Behavior):
    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name

    def on_start(self, ctx: Context) -> None:
        self._world.at_once[self._name] += 1
        assert self._world.at_once[self._name] == 1, "two incarnations at once"
        self._world.live[self._name] = ctx.ref
        self._world.note("start", self._name)

    def on_message(self, message: object, ctx: Context) -> None:
        match message:
            case "raise":
                raise ValueError(self._name)
            case "leave":
                ctx.stop(Normal())
            case _:
                self._world.note(str(message), self._name)

    def on_stop(self, reason: Reason, ctx: Context) -> None:
        self._world.at_once[self._name] -= 1
        self._world.live.pop(self._name, None)
        self._world.note("stop", self._name)


class Stubborn(Worker):
    handles_terminate = True


class Watched(Supervisor):
    """Keeps what its hooks were told."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.downs: list[tuple[str, Reason]] = []
        self.left_behind: list[str] = []

    def on_child_down(self, child: Child, reason: Reason, ctx: Context) -> None:
        self.downs.append((child.spec.id, reason))

    def on_child_abandoned(self, child: Child, stack: str, ctx: Context) -> None:
        self.left_behind.append(child.spec.id)


def make(world: World, strategy: str = "one_for_one", intensity: Intensity = LOOSE, **fields: Any) -> Watched:
    fields = {"backoff": NONE, **fields}
    specs = [ChildSpec(name, partial(Worker, world, name), **fields) for name in NAMES]
    return Watched(specs, strategy=strategy, intensity=intensity)


def started(seed: int, supervisor: Supervisor) -> tuple[StepHost, LifeRef]:
    host = StepHost(seed)
    ref = host.start(supervisor, "top")
    host.run()
    return host, ref


@pytest.mark.parametrize(
    ("strategy", "restarted"), [("one_for_one", "b"), ("one_for_all", "abcd"), ("rest_for_one", "bcd")]
)
def test_the_strategy_says_who_is_started_again(strategy: str, restarted: str) -> None:
    for seed in range(100):
        world = World()
        host, _ = started(seed, make(world, strategy))
        assert sorted(world.named("start")) == sorted(NAMES)
        world.events.clear()
        world.live["b"].tell("raise")
        host.run()
        assert sorted(world.named("start")) == list(restarted)
        # The others are ended the last first, before any is started again.
        stops = [name for name in world.named("stop") if name != "b"]
        assert stops == sorted(stops, reverse=True)
        kinds = [kind for kind, _ in world.events]
        assert kinds == sorted(kinds, reverse=True)
        assert set(world.live) == set(NAMES)


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
def test_whatever_dies_when_all_children_run_in_the_end(strategy: str) -> None:
    for seed in range(1_000):
        world, draw = World(), random.Random(seed)
        # Without a deadline: in a hurry, one that is slow to end would be left behind.
        backoff = Backoff(delay=draw.choice([0.0, 0.1]), jitter=0.5)
        supervisor = make(world, strategy, backoff=backoff, shutdown=math.inf, start_timeout=math.inf)
        host = StepHost(seed, hurry=0.05)
        ref = host.start(supervisor, "top")
        for _ in range(draw.randrange(1, 6)):
            for _ in range(draw.randrange(40)):
                host.step()
            if world.live:
                name = draw.choice(sorted(world.live))
                world.live[name].signal(draw.choice(["raise", "leave"]))
        host.run()
        assert set(world.live) == set(NAMES), f"seed {seed}"
        ref.signal(Terminate(Shutdown("over")))
        host.run()
        assert world.live == {}
        assert ref.reason == Shutdown("over")
        assert world.named("stop")[-4:] == list("dcba"), f"seed {seed}"
        assert len(world.named("start")) == len(world.named("stop")) == len(supervisor.downs)
        assert host._actors == []


@pytest.mark.parametrize(
    ("restart", "how", "is_started_again"),
    [
        ("permanent", "leave", True),
        ("permanent", "raise", True),
        ("transient", "leave", False),
        ("transient", "raise", True),
        ("temporary", "leave", False),
        ("temporary", "raise", False),
    ],
)
def test_the_restart_type_says_after_which_end(restart: str, how: str, *, is_started_again: bool) -> None:
    world = World()
    host, _ = started(0, make(world, restart=restart))
    world.live["a"].tell(how)
    host.run()
    assert world.named("start").count("a") == 1 + is_started_again


@pytest.mark.parametrize(("restart", "comes_back"), [("transient", True), ("temporary", False)])
def test_a_restart_of_all_brings_back_what_ended_cleanly_unless_it_is_temporary(
    restart: str, *, comes_back: bool
) -> None:
    world = World()
    specs = [
        ChildSpec("first", lambda: Worker(world, "first"), restart=restart),  # type: ignore[arg-type]
        ChildSpec("second", lambda: Worker(world, "second")),
    ]
    host, _ = started(1, Watched(specs, strategy="one_for_all", intensity=LOOSE))
    world.live["first"].tell("leave")
    host.run()
    assert set(world.live) == {"second"}
    world.live["second"].tell("raise")
    host.run()
    assert ("first" in world.live) == comes_back


def test_more_restarts_than_the_intensity_allows_end_the_supervisor() -> None:
    for seed in range(50):
        world = World()
        supervisor = make(world, intensity=Intensity(2, 5.0))
        host, ref = started(seed, supervisor)
        for _ in range(3):
            world.live["a"].tell("raise")
            host.run()
        assert world.live == {}
        reason = ref.reason
        assert isinstance(reason, Raised)
        assert "child 'a' raised ValueError: a, which makes more than 2 restarts within 5 s" in str(reason)
        assert world.named("stop")[-3:] == list("dcb")


def test_restarts_outside_the_period_are_forgotten() -> None:
    world = World()
    host, ref = started(0, make(world, intensity=Intensity(1, 5.0)))
    for _ in range(5):
        world.live["a"].tell("raise")
        host.run()
        host.clock.advance(6.0)
    assert ref.reason is None


def test_waits_before_restarts_grow_and_begin_anew_after_a_steady_life() -> None:
    world = World()
    host, _ = started(0, make(world, backoff=Backoff(delay=1.0)))
    waits = []
    for pause in (0.0, 0.0, 0.0, 100.0):
        host.clock.advance(pause)
        before = host.now()
        world.live["a"].tell("raise")
        host.run()
        waits.append(host.now() - before)
    assert waits == [1.0, 2.0, 4.0, 1.0]


def test_a_child_that_does_not_end_is_abandoned_after_its_time_and_the_rest_goes_on() -> None:
    world = World()
    specs = [
        ChildSpec("a", lambda: Worker(world, "a")),
        ChildSpec("b", lambda: Stubborn(world, "b"), shutdown=2.0),
        ChildSpec("c", lambda: Worker(world, "c")),
    ]
    supervisor = Watched(specs)
    host, ref = started(4, supervisor)
    ref.signal(Terminate(Shutdown("over")))
    host.run()
    assert host.now() == 2.0
    assert supervisor.left_behind == ["b"]
    assert supervisor.abandoned == 1
    assert supervisor.downs == [("c", Shutdown("asked by top")), ("b", Abandoned("")), ("a", Shutdown("asked by top"))]
    assert ref.reason == Shutdown("over")


def test_without_a_deadline_a_child_is_waited_for() -> None:
    world = World()
    supervisor = Watched([ChildSpec("b", lambda: Stubborn(world, "b"), shutdown=math.inf)])
    host, ref = started(4, supervisor)
    ref.signal(Terminate(Shutdown("over")))
    host.run()
    assert ref.reason is None
    world.live["b"].tell("leave")
    host.run()
    assert ref.reason == Shutdown("over")


def test_a_restart_that_raises_counts_as_a_death_and_is_tried_again() -> None:
    world = World()
    left = [0]

    def start() -> Behavior:
        if left[0]:
            left[0] -= 1
            raise StartError("not yet")
        return Worker(world, "b")

    for strategy in ("one_for_one", "one_for_all", "rest_for_one"):
        world.events.clear()
        specs = [
            ChildSpec("a", lambda: Worker(world, "a")),
            ChildSpec("b", start),
            ChildSpec("c", lambda: Worker(world, "c")),
        ]
        supervisor = Watched(specs, strategy=strategy, intensity=LOOSE)
        host, ref = started(2, supervisor)
        left[0] = 2
        world.live["b"].tell("raise")
        host.run()
        assert set(world.live) == {"a", "b", "c"}
        assert [type(reason) for name, reason in supervisor.downs if name == "b"] == [Raised, StartFailed, StartFailed]
        ref.signal(Terminate(Shutdown("over")))
        host.run()


def test_a_start_that_never_works_ends_the_supervisor_and_what_it_had_started() -> None:
    world = World()

    def start() -> Behavior:
        raise OSError("never")

    specs = [ChildSpec("a", lambda: Worker(world, "a")), ChildSpec("b", start)]
    _, ref = started(0, Watched(specs, intensity=Intensity(3, 60.0)))
    assert "never" in str(ref.reason)
    assert world.live == {}


def test_a_stale_down_changes_nothing() -> None:
    world = World()
    supervisor = make(world)
    host, ref = started(0, supervisor)
    old = world.live["a"]
    old.tell("raise")
    host.run()
    ref.signal(Down(old, Normal()))
    host.run()
    assert world.named("start").count("a") == 2
    assert supervisor.downs == [("a", supervisor.downs[0][1])]


def test_data_in_a_mailbox_of_the_childs_giver_outlives_its_incarnations() -> None:
    world, mailbox = World(), Mailbox()
    specs = [ChildSpec("a", lambda: Worker(world, "a"), mailbox=lambda: mailbox, backoff=NONE)]
    host, _ = started(0, Watched(specs))
    for message in ("raise", "one", "two"):
        mailbox.put(message)
    host.run()
    assert world.events == [("start", "a"), ("stop", "a"), ("start", "a"), ("one", "a"), ("two", "a")]


def test_a_message_that_is_none_of_its_own_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    host, ref = started(0, make(World()))
    ref.tell("hello")
    host.run()
    assert ref.reason is None
    assert "does not know str" in caplog.text


def test_a_hook_that_raises_ends_the_supervisor_and_its_children() -> None:
    class Bad(Supervisor):
        def on_child_down(self, child: Child, reason: Reason, ctx: Context) -> None:
            raise LookupError("in a hook")

    world = World()
    host, ref = started(0, Bad([ChildSpec(name, partial(Worker, world, name)) for name in NAMES]))
    world.live["a"].tell("raise")
    host.run()
    assert "in a hook" in str(ref.reason)
    assert world.live == {}


def test_a_supervisor_below_a_supervisor_is_started_again_with_its_children() -> None:
    world = World()
    inner = ChildSpec("inner", lambda: make(world, intensity=Intensity(0, 5.0)), shutdown=None, backoff=NONE)
    host, ref = started(6, Supervisor([inner], intensity=LOOSE))
    world.live["a"].tell("raise")
    host.run()
    assert set(world.live) == set(NAMES)
    assert len(world.named("start")) == 8
    ref.signal(Terminate(Shutdown("over")))
    host.run()
    assert world.named("stop")[-4:] == list("dcba")


# -- on threads


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
def test_on_threads_children_come_back_and_all_threads_end(strategy: str) -> None:
    world = World()
    ref = PykkaHost(seed=1).start(make(world, strategy), "top")
    for name in NAMES:
        world.wait_for("start", name)
    for count in (2, 3):
        world.live["d"].tell("raise")
        world.wait_for("start", "d", count=count)
    ref.signal(Terminate(Shutdown("over")))
    assert ref.wait_terminated(WAIT)
    assert ref.reason == Shutdown("over")
    assert world.named("stop")[-4:] == list("dcba")


def test_on_threads_a_hung_child_is_left_behind_with_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    inside, release = threading.Event(), threading.Event()

    class Hung(Behavior):
        def on_start(self, ctx: Context) -> None:
            inside.set()
            release.wait(WAIT)

    refs: list[PykkaRef] = []

    class Keeping(Supervisor):
        def on_child_abandoned(self, child: Child, stack: str, ctx: Context) -> None:
            super().on_child_abandoned(child, stack, ctx)
            if isinstance(child.ref, PykkaRef):
                refs.append(child.ref)

    ref = PykkaHost().start(Keeping([ChildSpec("hung", Hung, shutdown=0.01)]), "top")
    assert inside.wait(WAIT)
    ref.signal(Terminate(Shutdown("over")))
    assert ref.wait_terminated(WAIT)
    assert "in on_start" in caplog.text
    release.set()
    assert refs[0].wait_terminated(WAIT)


def test_on_threads_pykkas_stop_ends_a_supervisor_in_order() -> None:
    world = World()
    ref = PykkaHost().start(make(world), "top")
    for name in NAMES:
        world.wait_for("start", name)
    assert ref.actor_ref.stop(timeout=WAIT) is True
    assert ref.wait_terminated(WAIT)
    assert world.named("stop") == list("dcba")
