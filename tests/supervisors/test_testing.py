from __future__ import annotations

import pytest

from supervisors.behavior import Behavior, Context, Ref
from supervisors.mailbox import Mailbox
from supervisors.messages import Down, Terminate
from supervisors.reasons import Abandoned, Normal, Raised, Reason, Shutdown
from supervisors.testing import ManualClock, ScheduleError, StepHost


class Recorder(Behavior):
    def __init__(self) -> None:
        self.got: list[object] = []
        self.ended: list[Reason] = []

    def on_message(self, message: object, ctx: Context) -> None:
        if callable(message):
            message(ctx)
        else:
            self.got.append(message)

    def on_stop(self, reason: Reason, ctx: Context) -> None:
        self.ended.append(reason)


class Talker(Behavior):
    """Sends to its peers at random, for a while."""

    def __init__(self, peers: list[Ref]) -> None:
        self._peers = peers
        self._left = 20

    def on_start(self, ctx: Context) -> None:
        ctx.set_timer(ctx.random.random(), "talk")

    def on_message(self, message: object, ctx: Context) -> None:
        if message == "talk" and self._left:
            self._left -= 1
            ctx.random.choice(self._peers).tell(self._left)
            ctx.set_timer(ctx.random.random(), "talk")


def talk(seed: int) -> list[str]:
    host = StepHost(seed)
    peers: list[Ref] = []
    peers.extend(host.start(Talker(peers), f"t{index}") for index in range(4))
    host.run()
    return list(host.trace)


def test_the_same_seed_gives_the_same_schedule_and_another_one_another() -> None:
    assert talk(1) == talk(1)
    assert len({tuple(talk(seed)) for seed in range(5)}) == 5


def test_control_comes_first_and_data_in_order() -> None:
    for seed in range(20):
        host, behavior = StepHost(seed), Recorder()
        ref = host.start(behavior, "a")
        ref.tell(1)
        ref.tell(2)
        ref.signal("control")
        host.run()
        assert behavior.got == ["control", 1, 2]


def test_every_order_of_independent_actors_comes_up() -> None:
    orders = set()
    for seed in range(100):
        host = StepHost(seed)
        order: list[str] = []
        for name in "abc":
            host.start(Recorder(), name).tell(lambda ctx, order=order: order.append(ctx.ref.name))
        host.run()
        orders.add("".join(order))
    assert len(orders) == 6


def test_time_passes_only_when_nothing_can_run() -> None:
    host, behavior = StepHost(0), Recorder()
    ref = host.start(behavior, "a")
    ref.tell(lambda ctx: [ctx.set_timer(5.0, "late"), ctx.set_timer(1.0, "early"), ctx.set_timer(2.0, "no").cancel()])
    for number in range(10):
        ref.tell(number)
    host.run_until(lambda: 9 in behavior.got)
    assert host.now() == 0.0
    host.run()
    assert behavior.got[10:] == ["early", "late"]
    assert host.now() == 5.0


def test_a_hurried_clock_lets_timers_overtake_work() -> None:
    overtook = 0
    for seed in range(50):
        host, behavior = StepHost(seed, hurry=0.2), Recorder()
        ref = host.start(behavior, "a")
        ref.tell(lambda ctx: ctx.set_timer(5.0, "timer"))
        for number in range(10):
            ref.tell(number)
        host.run()
        assert sorted(map(str, behavior.got)) == sorted(map(str, [*range(10), "timer"]))
        overtook += behavior.got[-1] != "timer"
    assert overtook


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(1)])
def test_what_a_behaviour_raises_ends_it_and_its_parent_is_told_once(error: BaseException) -> None:
    def fail(_: Context) -> None:
        raise error

    for seed in range(20):
        host, parent, child = StepHost(seed), Recorder(), Recorder()
        refs: list[Ref] = []
        above = host.start(parent, "p")
        above.tell(lambda ctx, refs=refs, child=child: refs.append(ctx.start(child, "c")))
        host.run()
        refs[0].tell(fail)
        refs[0].tell("behind")
        host.run()
        [down] = parent.got
        assert isinstance(down, Down)
        assert down.ref is refs[0]
        assert isinstance(down.reason, Raised)
        assert child.ended == [down.reason]
        assert child.got == []
        assert not refs[0].tell("late")


def test_a_parent_that_ends_takes_its_children_along() -> None:
    host, child = StepHost(3), Recorder()
    above = host.start(Recorder(), "p")
    above.tell(lambda ctx: ctx.start(child, "c"))
    host.run()
    above.signal(Terminate(Shutdown("x")))
    host.run()
    assert child.ended == [Shutdown("p ended")]


def test_a_handed_in_mailbox_outlives_its_actor() -> None:
    host, mailbox = StepHost(0), Mailbox()
    ref = host.start(Recorder(), "first", mailbox=mailbox)
    ref.signal(Terminate(Normal()))
    host.run()
    mailbox.put("data")
    second = Recorder()
    host.start(second, "second", mailbox=mailbox)
    host.run()
    assert second.got == ["data"]


def test_an_abandoned_child_is_told_at_once() -> None:
    class Stubborn(Recorder):
        handles_terminate = True

    host, parent, child = StepHost(1), Recorder(), Stubborn()
    refs: list[Ref] = []
    above = host.start(parent, "p")
    above.tell(lambda ctx: refs.append(ctx.start(child, "c")))
    host.run()
    refs[0].signal(Terminate(Normal()))
    host.run()
    assert parent.got == []
    above.tell(lambda ctx: ctx.abandon(refs[0]))
    host.run()
    assert parent.got == [Down(refs[0], Abandoned(""))]
    assert child.ended == [Abandoned("")]


def test_a_schedule_without_end_is_told_with_its_seed_and_last_steps() -> None:
    host = StepHost(17)
    host.start(Recorder(), "loop").tell(_again)
    with pytest.raises(ScheduleError, match=r"did not end \(seed 17, step 501\)") as caught:
        host.run(max_steps=500)
    assert str(caught.value).count("loop: worked") == 50


def test_a_source_takes_part_until_it_has_nothing_to_do() -> None:
    class Watcher(Behavior):
        uses_poller = True
        steps = 0

        def step(self, ctx: Context) -> bool:
            self.steps += 1
            return False

    left = [0]

    def act() -> bool:
        if not left[0]:
            return False
        left[0] -= 1
        return True

    host, watcher = StepHost(5), Watcher()
    host.add_source(act)
    host.add_source(lambda: False)
    host.start(watcher, "w")
    host.run()
    before, left[0] = watcher.steps, 3
    host.start(Recorder(), "somebody who does something")
    host.run()
    assert left == [0]
    assert watcher.steps > before


def test_a_wait_inside_a_step_lets_the_others_run() -> None:
    host, waiter = StepHost(0), Recorder()
    order: list[str] = []

    def wait(ctx: Context) -> None:
        order.append("waits")
        ctx.mailbox.sleep(ctx.mailbox.rings, None)
        order.append("goes on")

    def ring(_: Context) -> None:
        order.append("rings")
        ref.signal("wake")

    ref = host.start(waiter, "waiter")
    ref.tell(wait)
    other = host.start(Recorder(), "other")
    other.tell(lambda ctx: ctx.set_timer(3.0, ring))
    host.run()
    assert order == ["waits", "rings", "goes on"]
    assert waiter.got == ["wake"]


def test_a_wait_that_nobody_ends_is_told() -> None:
    host = StepHost(9)
    host.start(Recorder(), "waiter").tell(lambda ctx: ctx.mailbox.sleep(ctx.mailbox.rings, None))
    with pytest.raises(ScheduleError, match=r"waiter waits inside its step.*seed 9"):
        host.run()


def test_a_wait_with_a_timeout_ends_by_the_clock() -> None:
    host = StepHost(9)
    host.start(Recorder(), "waiter").tell(lambda ctx: ctx.mailbox.sleep(ctx.mailbox.rings, 2.5))
    host.run()
    assert host.now() == 2.5


def test_a_manual_clock_never_goes_back() -> None:
    clock = ManualClock(10.0)
    clock.advance_to(5.0)
    assert clock.now() == 10.0
    clock.advance(2.0)
    assert clock.now() == 12.0


def _again(ctx: Context) -> None:
    ctx.mailbox.put(_again)
