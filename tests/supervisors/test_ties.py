from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from supervisors.behavior import Behavior, Context, Link, Monitor, Ref
from supervisors.life import Life
from supervisors.messages import Down, Exit, Linked, Terminate, Unlinked
from supervisors.reasons import Abandoned, Killed, Normal, Raised, Reason, Shutdown
from supervisors.ref import LifeRef
from supervisors.testing import StepHost
from supervisors.ties import Ties
from tests.supervisors.recorder import END, WAIT, Recorder, World, do, hold, raiser

# -- monitors


def test_a_monitor_brings_exactly_one_down_with_the_reason(world: World) -> None:
    watcher, target, monitors = Recorder(), world.start(Recorder(), "target"), list[Monitor]()
    ref = world.start(watcher, "watcher")
    do(ref, lambda ctx: monitors.append(ctx.monitor(target)))
    target.signal(Terminate(Shutdown("enough")))
    assert target.wait_ended(WAIT) == Shutdown("enough")
    world.settle(ref)
    assert watcher.got == [Down(target, Shutdown("enough"), monitors[0])]


def test_each_monitor_has_a_down_of_its_own(world: World) -> None:
    watcher, target, monitors = Recorder(), world.start(Recorder(), "target"), list[Monitor]()
    ref = world.start(watcher, "watcher")
    for _ in range(3):
        do(ref, lambda ctx: monitors.append(ctx.monitor(target)))
    do(ref, lambda ctx: ctx.demonitor(monitors[1]))
    target.kill()
    world.settle(ref)
    assert watcher.got == [Down(target, Killed(), monitors[0]), Down(target, Killed(), monitors[2])]


def test_a_monitor_on_a_dead_reference_answers_at_once(world: World) -> None:
    watcher, target = Recorder(), world.start(Recorder(), "target")
    ref = world.start(watcher, "watcher")
    target.signal(END)
    assert target.wait_ended(WAIT) == END.reason
    monitor = do(ref, lambda ctx: ctx.monitor(target))
    world.settle(ref)
    assert watcher.got == [Down(target, END.reason, monitor)]


def test_an_actor_may_monitor_itself_and_its_child_apart_from_what_a_parent_is_told(world: World) -> None:
    parent = Recorder()
    ref = world.start(parent)
    child = do(ref, lambda ctx: ctx.start(Recorder(), "child"))
    monitor = do(ref, lambda ctx: ctx.monitor(child))
    do(ref, lambda ctx: ctx.monitor(ctx.ref))
    child.signal(END)
    assert child.wait_ended(WAIT) == END.reason
    world.settle(ref)
    assert parent.got == [Down(child, END.reason), Down(child, END.reason, monitor)]


@pytest.mark.parametrize("flush", [True, False])
def test_a_down_that_is_on_its_way_comes_unless_it_is_flushed(world: World, flush: bool) -> None:
    watcher, target = Recorder(), world.start(Recorder(), "target")
    ref = world.start(watcher, "watcher")

    def kill_and_take_back(ctx: Context) -> Monitor:
        monitor = ctx.monitor(target)
        target.kill()
        ctx.demonitor(monitor, flush=flush)
        ctx.demonitor(monitor, flush=flush)
        return monitor

    monitor = do(ref, kill_and_take_back)
    world.settle(ref)
    assert watcher.got == ([] if flush else [Down(target, Killed(), monitor)])


@pytest.mark.parametrize("flush", [True, False])
def test_a_monitor_that_was_taken_back_brings_nothing(world: World, flush: bool) -> None:
    watcher, target = Recorder(), world.start(Recorder(), "target")
    ref = world.start(watcher, "watcher")
    do(ref, lambda ctx: ctx.demonitor(ctx.monitor(target), flush=flush))
    target.kill()
    world.settle(ref)
    assert watcher.got == []


def test_a_monitor_taken_back_after_its_down_changes_nothing(world: World) -> None:
    watcher, target = Recorder(), world.start(Recorder(), "target")
    ref = world.start(watcher, "watcher")
    monitor = do(ref, lambda ctx: ctx.monitor(target))
    target.kill()
    world.settle(ref)
    do(ref, lambda ctx: ctx.demonitor(monitor))
    assert len(watcher.got) == 1


def test_nobody_takes_back_the_monitor_of_another(world: World) -> None:
    watcher, target = Recorder(), world.start(Recorder(), "target")
    ref, other = world.start(watcher, "watcher"), world.start(Recorder(), "other")
    monitor = do(ref, lambda ctx: ctx.monitor(target))
    do(other, lambda ctx: ctx.demonitor(monitor))
    target.kill()
    world.settle(ref)
    assert watcher.got == [Down(target, Killed(), monitor)]


def test_an_abandoned_child_is_told_to_those_who_monitor_it_once(threads: World) -> None:
    watcher = Recorder()
    parent, ref = threads.start(Recorder(), "parent"), threads.start(watcher, "watcher")
    child = do(parent, lambda ctx: ctx.start(Recorder(), "child"))
    do(ref, lambda ctx: ctx.monitor(child))
    release = hold(child)
    do(parent, lambda ctx: ctx.abandon(child))
    [down] = watcher.wait_for(1)
    assert isinstance(down, Down)
    assert isinstance(down.reason, Abandoned)
    release.set()
    threads.settle(ref)
    assert len(watcher.got) == 1


# -- links


def linked(world: World, **declared: bool) -> tuple[Recorder, LifeRef, Recorder, LifeRef]:
    """Two actors, tied by the first."""
    one, two = Recorder(**declared), Recorder(**declared)
    first, second = world.start(one, "first"), world.start(two, "second")
    do(first, lambda ctx: ctx.link(second))
    return one, first, two, second


@pytest.mark.parametrize("dies", ["first", "second"])
def test_an_unclean_end_takes_the_other_along_in_both_directions(world: World, dies: str) -> None:
    _, first, _, second = linked(world)
    dead, other = (first, second) if dies == "first" else (second, first)
    dead.tell(raiser(ValueError("bad")))
    reason = dead.wait_ended(WAIT)
    assert isinstance(reason, Raised)
    assert other.wait_ended(WAIT) == reason


@pytest.mark.parametrize("dies", ["first", "second"])
@pytest.mark.parametrize("reason", [Normal(), Shutdown("x")])
def test_a_clean_end_takes_nobody_along(world: World, dies: str, reason: Reason) -> None:
    one, first, two, second = linked(world)
    dead, other, behavior = (first, second, two) if dies == "first" else (second, first, one)
    dead.signal(Terminate(reason))
    assert dead.wait_ended(WAIT) == reason
    world.settle(other)
    assert other.reason is None
    assert behavior.got == []


@pytest.mark.parametrize("dies", ["first", "second"])
@pytest.mark.parametrize("reason", [Normal(), Killed()])
def test_one_that_traps_exits_is_handed_every_end_once(world: World, dies: str, reason: Reason) -> None:
    one, first, two, second = linked(world, traps_exits=True)
    dead, other, behavior = (first, second, two) if dies == "first" else (second, first, one)
    if reason == Killed():
        dead.kill()
    else:
        dead.signal(Terminate(reason))
    assert dead.wait_ended(WAIT) == reason
    world.settle(other)
    [told] = behavior.got
    assert isinstance(told, Exit)
    assert (told.ref, told.reason) == (dead, reason)
    assert other.reason is None


def test_an_unclean_end_goes_along_a_chain_of_links_and_stops_where_it_is_trapped(world: World) -> None:
    trap = Recorder(traps_exits=True)
    refs = [world.start(Recorder(), f"a{number}") for number in range(4)]
    refs += [world.start(trap, "trap"), world.start(Recorder(), "behind")]
    for left, right in itertools.pairwise(refs):
        do(left, lambda ctx, right=right: ctx.link(right))
    refs[2].kill()
    for ref in refs[:4]:
        assert ref.wait_ended(WAIT) == Killed()
    world.settle(*refs[4:])
    assert [ref.reason for ref in refs[4:]] == [None, None]
    assert [told.reason for told in trap.got if isinstance(told, Exit)] == [Killed()]


@pytest.mark.parametrize("who", ["first", "second"])
def test_untied_by_either_neither_is_told_any_more(world: World, who: str) -> None:
    one, first, two, second = linked(world, traps_exits=True)
    world.settle(second)
    unties, other = (first, second) if who == "first" else (second, first)
    do(unties, lambda ctx: ctx.unlink(other))
    second.kill()
    first.signal(END)
    assert first.wait_ended(WAIT) == END.reason
    assert one.got == two.got == []


def test_an_exit_that_is_on_its_way_does_not_come_after_unlink(world: World) -> None:
    one, first, _, second = linked(world, traps_exits=True)
    do(first, lambda ctx: [second.kill(), ctx.unlink(second)])
    world.settle(first)
    assert one.got == []


@pytest.mark.parametrize("who", ["first", "second"])
def test_two_that_were_untied_may_be_tied_again_by_either(world: World, who: str) -> None:
    one, first, two, second = linked(world, traps_exits=True)
    do(first, lambda ctx: ctx.unlink(second))
    world.settle(second)
    ties, other = (first, second) if who == "first" else (second, first)
    do(ties, lambda ctx: ctx.link(other))
    world.settle(first, second)
    second.kill()
    world.settle(first)
    assert [type(told) for told in one.got] == [Exit]
    assert two.got == []


def test_one_that_ties_before_it_knows_that_the_other_has_untied_is_tied() -> None:
    own, other = FakeRef("own"), FakeRef("other")
    ties, link = Ties(), Link((other, own))
    ties.accept(own, Linked(link))
    link.untie()  # by the other; what tells of it is on its way
    ties.link(own, other)
    ties.accept(own, Unlinked(link))
    [message] = other.got
    assert isinstance(message, Linked)
    assert ties.is_current(Exit(other, Killed(), message.link))


def test_two_that_tie_each_other_at_the_same_time_are_told_once(world: World) -> None:
    one, two = Recorder(traps_exits=True), Recorder(traps_exits=True)
    first, second = world.start(one, "first"), world.start(two, "second")
    # Both have made a link before either learns of the other's.
    first.tell(lambda ctx: ctx.link(second))
    second.tell(lambda ctx: ctx.link(first))
    world.settle(first, second)
    second.kill()
    world.settle(first)
    assert [type(told) for told in one.got] == [Exit]


def test_the_second_exit_of_two_links_between_the_same_actors_counts_no_more() -> None:
    own, other = FakeRef("own"), FakeRef("other")
    ties, crossing = Ties(), Link((other, own))
    ties.link(own, other)
    ties.accept(own, Linked(crossing))
    [message] = other.got
    assert isinstance(message, Linked)
    assert ties.is_current(Exit(other, Killed(), message.link))
    assert not ties.is_current(Exit(other, Killed(), crossing))


def test_unlink_ends_both_links_that_were_made_at_the_same_time() -> None:
    own, other = FakeRef("own"), FakeRef("other")
    ties, crossing = Ties(), Link((other, own))
    ties.link(own, other)
    ties.accept(own, Linked(crossing))
    ties.unlink(other)
    assert not crossing.is_tied
    assert [type(message) for message in other.got] == [Linked, Unlinked, Unlinked]
    assert own.watchers == other.watchers == {}


def test_a_link_that_is_untied_before_it_stands_on_its_watches_takes_them_back() -> None:
    class Hasty(FakeRef):
        def signal(self, message: object) -> bool:
            assert isinstance(message, Linked)
            message.link.untie()
            return True

    own, other = FakeRef("own"), Hasty("other")
    Ties().link(own, other)
    assert own.watchers == other.watchers == {}


def test_nobody_is_tied_to_itself_and_two_are_tied_once(world: World) -> None:
    one, first, _, second = linked(world, traps_exits=True)
    do(first, lambda ctx: [ctx.link(second), ctx.link(ctx.ref), ctx.unlink(ctx.ref)])
    world.settle(second)
    do(second, lambda ctx: ctx.link(first))
    second.kill()
    world.settle(first)
    assert len(one.got) == 1


def test_a_link_to_a_dead_reference_is_answered_at_once(world: World) -> None:
    trap, target = Recorder(traps_exits=True), world.start(Recorder(), "target")
    ref, plain = world.start(trap, "trap"), world.start(Recorder(), "plain")
    target.kill()
    do(ref, lambda ctx: ctx.link(target))
    world.settle(ref)
    assert [type(told) for told in trap.got] == [Exit]
    plain.tell(lambda ctx: ctx.link(target))
    assert plain.wait_ended(WAIT) == Killed()


def test_an_actor_given_up_inside_link_is_told_of_to_the_other(threads: World) -> None:
    trap = Recorder(traps_exits=True)
    other, ref = threads.start(trap, "trap"), threads.start(Recorder(), "ref")
    ref.tell(lambda ctx: [ctx.ref.kill(), ctx.link(other)])
    [told] = trap.wait_for(1)
    assert isinstance(told, Exit)
    assert told.reason == Killed()


# -- what is left behind


def test_one_that_lives_long_remembers_none_of_the_many_who_came_and_went(world: World) -> None:
    hub = world.start(Recorder(traps_exits=True), "hub")
    world.settle(hub)
    before = left_in(hub)
    for number in range(150):
        guest = world.start(Recorder(), f"guest {number}")
        do(guest, lambda ctx: [ctx.link(hub), ctx.monitor(hub), ctx.monitor(hub)])
        do(hub, lambda ctx, guest=guest: [ctx.monitor(guest), ctx.link(guest)])
        if number % 3 == 0:
            do(guest, lambda ctx: ctx.unlink(hub))
        if number % 3 == 1:
            do(hub, lambda ctx, guest=guest: ctx.unlink(guest))
        guest.signal(END)
        assert guest.wait_ended(WAIT) == END.reason
        world.settle(hub)
    assert left_in(hub) == before


def test_monitors_and_links_made_and_taken_back_leave_nothing_behind(world: World) -> None:
    hub, peer = world.start(Recorder(), "hub"), world.start(Recorder(), "peer")
    world.settle(hub, peer)
    before = left_in(hub), left_in(peer)

    def churn(ctx: Context) -> None:
        for _ in range(1_000):
            ctx.demonitor(ctx.monitor(peer))
            ctx.link(peer)
            ctx.unlink(peer)

    do(hub, churn)
    world.settle(hub, peer)
    assert (left_in(hub), left_in(peer)) == before


# -- a thousand seeded schedules


class Member(Behavior):
    """Ties itself to others and unties itself as it is drawn, and keeps account of what must come of it."""

    traps_exits = True

    def __init__(self, peers: list[Ref]) -> None:
        self.monitors: dict[Monitor, Ref] = {}
        self.taken_back: set[Monitor] = set()
        self.downs: Counter[Monitor] = Counter()
        self.exits: Counter[Ref] = Counter()
        self.linked: Counter[Ref] = Counter()
        self.unlinked: set[Ref] = set()
        self.unwanted = 0
        self._peers = peers
        self._left = 8

    def on_start(self, ctx: Context) -> None:
        ctx.set_timer(ctx.random.random(), "act")

    def on_message(self, message: object, ctx: Context) -> None:
        match message:
            case Down(_, _, monitor):
                self.unwanted += monitor in self.taken_back
                self.downs[monitor] += 1
            case Exit(ref, _, _):
                self.exits[ref] += 1
            case _:
                self._act(ctx)

    def _act(self, ctx: Context) -> None:
        self._left -= 1
        if self._left == 0:
            return
        ctx.set_timer(ctx.random.random(), "act")
        peer = ctx.random.choice(self._peers)
        drawn = ctx.random.random()
        if drawn < 0.3:
            self.monitors[ctx.monitor(peer)] = peer
        elif drawn < 0.45 and self.monitors:
            monitor = ctx.random.choice(list(self.monitors))
            ctx.demonitor(monitor)
            self.taken_back.add(monitor)
        elif drawn < 0.75:
            if not self.exits[peer]:  # each link to a dead reference is answered anew
                ctx.link(peer)
                self.linked[peer] += peer is not ctx.ref
        elif drawn < 0.9:
            ctx.unlink(peer)
            self.unlinked.add(peer)
        elif drawn < 0.95:
            ctx.stop(Normal())
        else:
            raise ValueError


def test_every_tie_is_told_once_in_a_thousand_schedules() -> None:
    ended = 0
    for seed in range(1_000):
        host = StepHost(seed, hurry=0.2)
        peers: list[Ref] = []
        members = {host.start(member, name): member for name in "abc" for member in [Member(peers)]}
        peers.extend(members)
        host.run()
        for ref, member in members.items():
            ended += ref.reason is not None
            assert member.unwanted == 0, f"seed {seed}"
            if ref.reason is None:
                check_member(members, ref, member, f"seed {seed}")
    assert 500 < ended < 2_500


def check_member(members: dict[LifeRef, Member], ref: LifeRef, member: Member, told: str) -> None:
    expected = {
        monitor: 1
        for monitor, peer in member.monitors.items()
        if peer.reason is not None and (monitor not in member.taken_back or member.downs[monitor])
    }
    assert dict(member.downs) == expected, told
    for peer, other in members.items():
        made = member.linked[peer] + other.linked[ref]
        is_untied = peer in member.unlinked or ref in other.unlinked
        if peer.reason is None or not made:
            assert member.exits[peer] == 0, told
        elif is_untied:
            assert member.exits[peer] <= 1, told
        else:
            assert member.exits[peer] == 1, told
    alive = [each for each in members if each.reason is None]
    ties = life_of(ref)._ties
    assert all(each in alive for each in ties._links), told
    assert all(link.is_tied for links in ties._links.values() for link in links), told
    watching = sum(monitor.ref is ref for each in alive for monitor in life_of(each)._ties._monitors)
    links = {link for each in alive for links in life_of(each)._ties._links.values() for link in links}
    assert left_in(ref)[0] == watching + sum(ref in link.refs for link in links), told


class FakeRef:
    """A reference whose messages and watches are looked at by the test."""

    reason: Reason | None = None

    def __init__(self, name: str) -> None:
        self.name = self.path = name
        self.got: list[object] = []
        self.watchers: dict[int, Callable[[Reason], object]] = {}

    def tell(self, message: object) -> bool:
        raise NotImplementedError

    def signal(self, message: object) -> bool:
        self.got.append(message)
        return True

    def ask(self, message: object, timeout: float | None = None) -> Any:
        raise NotImplementedError

    def watch(self, notify: Callable[[Reason], object]) -> Callable[[], bool]:
        key = len(self.watchers)
        self.watchers[key] = notify
        return lambda: self.watchers.pop(key, None) is not None

    def kill(self) -> None:
        raise NotImplementedError


def life_of(ref: LifeRef) -> Life:
    assert isinstance(ref.life, Life)
    return ref.life


def left_in(ref: LifeRef) -> tuple[int, int, int]:
    life = life_of(ref)
    return len(life._watchers), len(life._ties._monitors), len(life._ties._links)
