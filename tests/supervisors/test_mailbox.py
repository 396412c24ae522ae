from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from supervisors.errors import MailboxClosedError, MailboxFullError, SpecError
from supervisors.mailbox import Mailbox, MailboxStats, Overflow
from supervisors.parking import LockParker

WAIT = 10.0


def test_both_lanes_give_their_messages_in_the_order_they_came() -> None:
    mailbox = Mailbox()
    for number in range(3):
        mailbox.put(number)
        mailbox.put_control(-number)
    assert [mailbox.try_take() for _ in range(4)] == [0, 1, 2, None]
    assert [mailbox.try_take_control() for _ in range(4)] == [0, -1, -2, None]


def test_put_refuses_what_is_over_the_capacity_and_control_has_no_bound() -> None:
    mailbox = Mailbox(capacity=2)
    mailbox.put(1)
    assert not mailbox.is_full
    mailbox.put(2)
    assert mailbox.is_full
    with pytest.raises(MailboxFullError, match="holds 2 messages"):
        mailbox.put(3)
    mailbox.put_control("control")
    assert len(mailbox) == 2


def test_nothing_is_taken_in_after_close_and_what_was_left_is_given_back() -> None:
    mailbox = Mailbox()
    mailbox.put("data")
    mailbox.put_control("control")
    assert mailbox.close() == (["control"], ["data"])
    assert mailbox.close() == ([], [])
    with pytest.raises(MailboxClosedError):
        mailbox.put(1)
    with pytest.raises(MailboxClosedError):
        mailbox.put_control(1)


def test_messages_within_others_count_for_the_bound_and_go_with_them() -> None:
    mailbox = Mailbox(capacity=5)
    with mailbox.lock:
        mailbox.append_held(["three", "in", "one"])
        mailbox.surplus += 2
        mailbox.append_held("alone")
    assert (len(mailbox), mailbox.is_full, mailbox.stats().waiting) == (4, False, 4)
    mailbox.put("the fifth")
    with pytest.raises(MailboxFullError, match="holds 5 messages"):
        mailbox.put("one too many")
    with mailbox.lock:
        assert mailbox.drain_held() == [["three", "in", "one"], "alone", "the fifth"]
    assert (len(mailbox), mailbox.surplus, mailbox.stats().peak) == (0, 0, 5)


def test_a_closed_mailbox_holds_nothing_within_others_either() -> None:
    mailbox = Mailbox()
    with mailbox.lock:
        mailbox.append_held(["two", "in one"])
        mailbox.surplus += 1
    assert mailbox.close() == ([], [["two", "in one"]])
    assert len(mailbox) == 0


def test_every_way_in_rings() -> None:
    mailbox = Mailbox()
    seen = [mailbox.rings]
    mailbox.put(1)
    seen.append(mailbox.rings)
    mailbox.put_control(1)
    seen.append(mailbox.rings)
    mailbox.ring()
    seen.append(mailbox.rings)
    with mailbox.lock:
        mailbox.append_held(1)
        seen.append(mailbox.rings)
        mailbox.append_control_held(1)
        seen.append(mailbox.rings)
        mailbox.prepend_held([1])
        seen.append(mailbox.rings)
    assert seen == sorted(set(seen))


def test_only_a_sleeper_needs_to_be_unparked() -> None:
    parker = _Parker()
    mailbox = Mailbox()
    mailbox.attach(parker)
    with mailbox.lock:
        assert mailbox.append_held(1) is False
    mailbox.sleep(mailbox.rings, 5.0)
    parker.on_park = lambda: mailbox.put(2)
    mailbox.sleep(mailbox.rings, None)
    assert parker.parked == [5.0, None]
    assert parker.unparked == 1
    mailbox.put(3)
    assert parker.unparked == 1


def test_a_reader_that_saw_an_old_count_does_not_sleep() -> None:
    parker = _Parker()
    mailbox = Mailbox()
    mailbox.attach(parker)
    seen = mailbox.rings
    mailbox.ring()
    mailbox.sleep(seen, None)
    assert parker.parked == [0.0]


def test_a_reader_that_was_replaced_does_not_take_the_sleep_of_the_new_one_away() -> None:
    mailbox = Mailbox()
    old, new = _Parker(), _Parker()
    mailbox.attach(old)

    def replace() -> None:
        mailbox.attach(new)
        mailbox._sleeping = True  # the new reader sleeps

    old.on_park = replace
    mailbox.sleep(mailbox.rings, None)
    mailbox.put(1)
    assert (old.unparked, new.unparked) == (0, 1)


def test_mailboxes_of_one_lock_change_in_one_step() -> None:
    lock = threading.Lock()
    source, target = Mailbox(lock=lock), Mailbox(lock=lock)
    source.put("x")
    with lock:
        target.append_held(source.take_held())
        assert source.waiting_held() == ()
        assert target.waiting_held() == ("x",)
        assert target.drain_held() == ["x"]


def test_a_mailbox_of_no_room_or_of_an_unknown_policy_is_refused() -> None:
    for capacity in (0, -1):
        with pytest.raises(SpecError, match="capacity: expected 1 or more"):
            Mailbox(capacity)
    with pytest.raises(SpecError, match="overflow: expected one of"):
        Mailbox(1, overflow="forget")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("overflow", "left", "dropped", "stats"),
    [
        ("drop_oldest", ["c", "d"], ["a", "b"], MailboxStats(2, 2, received=4, dropped=2, rejected=0, peak=2)),
        ("drop_newest", ["a", "b"], ["c", "d"], MailboxStats(2, 2, received=4, dropped=2, rejected=0, peak=2)),
    ],
)
def test_a_dropping_policy_counts_and_shows_what_it_drops(
    overflow: Overflow, left: list[str], dropped: list[str], stats: MailboxStats
) -> None:
    mailbox = _Noting(2, overflow=overflow)
    for message in "abcd":
        mailbox.put(message)
    assert mailbox.stats() == stats
    assert mailbox.dropped == dropped
    assert mailbox.close() == ([], left)


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_none_is_a_message_that_is_dropped_like_any_other(overflow: Overflow) -> None:
    mailbox = _Noting(1, overflow=overflow)
    mailbox.put(None)
    mailbox.put(None)
    assert mailbox.dropped == [None]
    assert mailbox.stats().dropped == 1


def test_what_is_rejected_is_counted_and_not_received() -> None:
    mailbox = Mailbox(1)
    mailbox.put("in")
    with pytest.raises(MailboxFullError):
        mailbox.put("out")
    assert mailbox.stats() == MailboxStats(1, 1, received=1, dropped=0, rejected=1, peak=1)


def test_the_newest_that_is_dropped_wakes_nobody() -> None:
    mailbox = Mailbox(1, overflow="drop_newest")
    mailbox.put("in")
    seen = mailbox.rings
    mailbox.put("out")
    assert mailbox.rings == seen


def test_control_that_is_put_first_comes_first_in_its_own_order() -> None:
    mailbox = Mailbox()
    mailbox.put_control("later")
    mailbox.put_control_first(iter(["one", "two"]))
    mailbox.put_control("last")
    assert _take_all_control(mailbox) == ["one", "two", "later", "last"]


@pytest.mark.parametrize("timeout", [0.0, -1.0, 0.001])
def test_a_sender_that_waits_in_vain_is_rejected_and_leaves_no_trace(timeout: float) -> None:
    mailbox = Mailbox(1, overflow="wait")
    mailbox.put("first")
    with pytest.raises(MailboxFullError):
        mailbox.put("second", timeout)
    assert mailbox.stats() == MailboxStats(1, 1, received=1, dropped=0, rejected=1, peak=1)
    assert mailbox.try_take() == "first"
    mailbox.put("third", 0.0)
    assert mailbox.try_take() == "third"


@pytest.mark.parametrize("take", ["take", "take_held", "drain"])
def test_senders_that_wait_put_in_the_order_they_came_however_room_is_made(take: str) -> None:
    mailbox = _Watched(1)
    mailbox.put(0)
    senders = [_Sender(mailbox, number) for number in range(1, 4)]
    taken: list[object] = []
    for sender in senders:
        taken.append(_move(mailbox, take, None))
        sender.join()
        with pytest.raises(MailboxFullError):
            mailbox.put("nobody overtakes", 0.0)
    assert [_flat(each) for each in taken] == [0, 1, 2]
    assert mailbox.try_take() == 3


def test_one_that_drains_makes_room_for_all_that_wait() -> None:
    mailbox = _Watched(3)
    for number in range(3):
        mailbox.put(number)
    senders = [_Sender(mailbox, number) for number in range(3, 6)]
    with mailbox.lock:
        assert mailbox.drain_held() == [0, 1, 2]
    for sender in senders:
        sender.join()
    assert mailbox.close() == ([], [3, 4, 5])


def test_a_sender_without_time_does_not_overtake_those_that_wait() -> None:
    mailbox = _Watched(1)
    mailbox.put(0)
    sender = _Sender(mailbox, 1)
    mailbox.hold_senders()
    assert mailbox.try_take() == 0  # there is room, and the one that waits has not taken it yet
    with pytest.raises(MailboxFullError):
        mailbox.put(2, 0.0)
    mailbox.release_senders()
    sender.join()
    assert mailbox.close() == ([], [1])


def test_close_lets_all_go_that_wait_for_room() -> None:
    mailbox = _Watched(1)
    mailbox.put(0)
    senders = [_Sender(mailbox, number) for number in range(3)]
    mailbox.close()
    for sender in senders:
        sender.join()
        assert isinstance(sender.error, MailboxClosedError)


def test_a_sender_whose_receiver_takes_no_more_is_let_go_and_those_behind_it_wait_on() -> None:
    mailbox, is_over = _Watched(1), threading.Event()
    mailbox.put(0)
    errors: list[BaseException] = []

    def send() -> None:
        try:
            mailbox.put(1, is_over=is_over.is_set)
        except MailboxClosedError as error:
            errors.append(error)

    first = threading.Thread(target=send)
    first.start()
    mailbox.wait_queued(1)
    second = _Sender(mailbox, 2)
    with mailbox.lock:
        is_over.set()
        mailbox.wake_senders_held()
    first.join(WAIT)
    assert len(errors) == 1
    assert mailbox.try_take() == 0
    second.join()
    assert mailbox.close() == ([], [2])


def test_a_sender_that_a_signal_tears_out_of_its_wait_leaves_its_place_to_the_next() -> None:
    class Torn(Exception):
        pass

    def tear(*_: object) -> None:
        if not is_torn.is_set():
            is_torn.set()
            raise Torn

    def send_signals() -> None:
        mailbox.wait_queued(1)
        while not is_torn.wait(0.01):  # one that comes just before the sleep begins does not end it
            signal.pthread_kill(main, signal.SIGUSR1)

    mailbox, is_torn = _Watched(1), threading.Event()
    mailbox.put(0)
    main = threading.get_ident()
    before = signal.signal(signal.SIGUSR1, tear)
    helper = threading.Thread(target=send_signals)
    helper.start()
    try:
        with pytest.raises(Torn):
            mailbox.put("torn", WAIT)
    finally:
        is_torn.set()
        helper.join(WAIT)
        signal.signal(signal.SIGUSR1, before)
    assert mailbox.try_take() == 0
    mailbox.put("next", 0.0)
    assert mailbox.close() == ([], ["next"])


@given(
    st.one_of(st.none(), st.integers(1, 4)),
    st.sampled_from(["reject", "drop_oldest", "drop_newest", "wait"]),
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["put", "control", "append"]), st.integers()),
            st.tuples(st.sampled_from(["prepend", "control_first"]), st.lists(st.integers(), max_size=3)),
            st.tuples(st.sampled_from(["take", "take_control", "drain", "drain_control", "close"]), st.none()),
        ),
        max_size=40,
    ),
)
def test_it_behaves_as_two_plain_queues(
    capacity: int | None, overflow: Overflow, moves: list[tuple[str, object]]
) -> None:
    mailbox, model = Mailbox(capacity, overflow=overflow), _Model(capacity, overflow)
    for move, value in moves:
        assert _move(mailbox, move, value) == getattr(model, move)(value)
        assert len(mailbox) == len(model.data)
        assert mailbox.has_control == bool(model.lane)
        assert mailbox.stats() == model.stats()


class MailboxWithWaitingSenders(RuleBasedStateMachine):
    """Threads that wait for room against a naive queue of those who wait."""

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = _Watched(2)
        self.lane: deque[int] = deque()
        self.queue: deque[_Sender] = deque()
        self.closed = False
        self.count = 0

    def settle(self) -> None:
        while self.queue and len(self.lane) < 2:
            sender = self.queue.popleft()
            sender.join()
            assert sender.error is None
            self.lane.append(sender.number)

    @precondition(lambda self: not self.closed and len(self.queue) < 4)
    @rule()
    def put(self) -> None:
        self.count += 1
        if len(self.lane) < 2:
            self.mailbox.put(self.count, 0.0)
            self.lane.append(self.count)
        else:
            self.queue.append(_Sender(self.mailbox, self.count))

    @precondition(lambda self: not self.closed)
    @rule()
    def put_without_waiting(self) -> None:
        self.count += 1
        if len(self.lane) < 2:
            self.mailbox.put(self.count, 0.0)
            self.lane.append(self.count)
        else:
            with pytest.raises(MailboxFullError):
                self.mailbox.put(self.count, 0.0)

    @rule()
    def append_over_the_bound(self) -> None:
        self.count += 1
        with self.mailbox.lock:
            self.mailbox.append_held(self.count)
        self.lane.append(self.count)

    @rule(way=st.sampled_from(["take", "take_held", "drain"]))
    def take(self, way: str) -> None:
        if way == "drain":
            assert _move(self.mailbox, "drain", None) == list(self.lane)
            self.lane.clear()
        elif self.lane:
            assert _move(self.mailbox, way, None) == self.lane.popleft()
        self.settle()

    @rule()
    def close(self) -> None:
        assert self.mailbox.close() == ([], list(self.lane))
        self.lane.clear()
        self.closed = True
        while self.queue:
            sender = self.queue.popleft()
            sender.join()
            assert isinstance(sender.error, MailboxClosedError)

    @invariant()
    def holds_what_the_queue_holds(self) -> None:
        assert len(self.mailbox) == len(self.lane)
        assert len(self.mailbox._senders) == len(self.queue)

    def teardown(self) -> None:
        self.close()


MailboxWithWaitingSenders.TestCase.settings = settings(max_examples=25)
TestMailboxWithWaitingSenders = MailboxWithWaitingSenders.TestCase


def test_no_sender_waits_for_ever_when_many_wait_for_a_few_places() -> None:
    mailbox = Mailbox(2, overflow="wait")
    mailbox.attach(LockParker())
    count, senders = 300, 4
    taken: list[tuple[int, int]] = []

    def send(me: int) -> None:
        for number in range(count):
            mailbox.put((me, number))

    threads = [threading.Thread(target=send, args=(me,), daemon=True) for me in range(senders)]
    for thread in threads:
        thread.start()
    while len(taken) < count * senders:
        seen = mailbox.rings
        message = mailbox.try_take()
        if isinstance(message, tuple):
            taken.append(message)
        else:
            mailbox.sleep(seen, WAIT)
    for thread in threads:
        thread.join(WAIT)
        assert not thread.is_alive()
    for me in range(senders):
        assert [number for sender, number in taken if sender == me] == list(range(count))
    stats = mailbox.stats()
    assert (stats.received, stats.peak, stats.rejected) == (count * senders, 2, 0)


def test_no_message_is_lost_and_no_wake_up_missed_with_many_senders() -> None:
    mailbox = Mailbox()
    mailbox.attach(LockParker())
    count, senders = 2_000, 3
    taken: list[tuple[int, int]] = []

    def read() -> None:
        while len(taken) < count * senders:
            seen = mailbox.rings
            message = mailbox.try_take()
            if isinstance(message, tuple):
                taken.append(message)
            elif message is None:
                mailbox.sleep(seen, None)

    reader = threading.Thread(target=read, daemon=True)

    def send(me: int) -> None:
        for number in range(count):
            mailbox.put((me, number))

    threads = [threading.Thread(target=send, args=(me,)) for me in range(senders)]
    for thread in [reader, *threads]:
        thread.start()
    for thread in [*threads, reader]:
        thread.join(WAIT)
    assert not reader.is_alive()
    for me in range(senders):
        assert [number for sender, number in taken if sender == me] == list(range(count))


class _Parker:
    def __init__(self) -> None:
        self.parked: list[float | None] = []
        self.unparked = 0
        self.on_park: object = None

    def park(self, timeout: float | None) -> None:
        self.parked.append(timeout)
        if callable(self.on_park):
            self.on_park()

    def unpark(self) -> None:
        self.unparked += 1

    def close(self) -> None:
        return


class _Noting(Mailbox):
    """Keeps what its policy drops."""

    def __init__(self, capacity: int, *, overflow: Overflow) -> None:
        super().__init__(capacity, overflow=overflow)
        self.dropped: list[object] = []

    def on_dropped(self, message: object) -> None:
        assert self.lock.acquire(blocking=False), "the lock is not held"  # type: ignore[attr-defined]
        self.lock.release()  # type: ignore[attr-defined]
        self.dropped.append(message)


class _Watched(Mailbox):
    """Lets a test wait until so many senders stand in the queue, and hold them up when they are woken."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity, overflow="wait")
        self._gate = threading.Event()
        self._gate.set()
        self._looked = threading.Condition()

    def wait_queued(self, count: int) -> None:
        with self._looked:
            assert self._looked.wait_for(lambda: len(self._senders) >= count, WAIT)

    def hold_senders(self) -> None:
        self._gate.clear()

    def release_senders(self) -> None:
        self._gate.set()

    def _put_in_turn(self, message: object, turn: LockParker, is_over: Callable[[], bool], *, is_late: bool) -> bool:
        assert is_late or self._gate.wait(WAIT)
        is_in = super()._put_in_turn(message, turn, is_over, is_late=is_late)
        with self._looked:
            self._looked.notify_all()
        return is_in


class _Sender:
    """A thread that puts one message, and waits for room; in the queue when this returns."""

    def __init__(self, mailbox: _Watched, number: int) -> None:
        self.number = number
        self.error: BaseException | None = None
        self._mailbox = mailbox
        place = len(mailbox._senders) + 1
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()
        mailbox.wait_queued(place)

    def join(self) -> None:
        self._thread.join(WAIT)
        assert not self._thread.is_alive(), f"sender {self.number} waits for ever"

    def _send(self) -> None:
        try:
            self._mailbox.put(self.number)
        except MailboxClosedError as error:
            self.error = error


def _take_all_control(mailbox: Mailbox) -> list[object]:
    taken: list[object] = []
    while (message := mailbox.try_take_control()) is not None:
        taken.append(message)
    return taken


def _flat(taken: object) -> object:
    return taken[0] if isinstance(taken, list) else taken


class _Model:
    def __init__(self, capacity: int | None, overflow: str) -> None:
        self.capacity = capacity
        self.overflow = overflow
        self.data: deque[object] = deque()
        self.lane: deque[object] = deque()
        self.closed = False
        self.received = self.dropped = self.rejected = self.peak = 0

    def stats(self) -> MailboxStats:
        return MailboxStats(len(self.data), self.capacity, self.received, self.dropped, self.rejected, self.peak)

    def put(self, value: object) -> object:
        if self.closed:
            return "closed"
        if self.capacity is not None and len(self.data) >= self.capacity:
            if self.overflow in {"reject", "wait"}:
                self.rejected += 1
                return "full"
            self.received += 1
            self.dropped += 1
            if self.overflow == "drop_newest":
                return None
            self.data.popleft()
        else:
            self.received += 1
        self.data.append(value)
        self.peak = max(self.peak, len(self.data))
        return None

    def control(self, value: object) -> object:
        if self.closed:
            return "closed"
        self.lane.append(value)
        return None

    def control_first(self, values: object) -> object:
        assert isinstance(values, list)
        self.lane = deque([*values, *self.lane])
        return None

    def append(self, value: object) -> object:
        self.data.append(value)
        return None

    def prepend(self, values: object) -> object:
        assert isinstance(values, list)
        self.data = deque([*values, *self.data])
        return None

    def take(self, _: object) -> object:
        return self.data.popleft() if self.data else None

    def take_control(self, _: object) -> object:
        return self.lane.popleft() if self.lane else None

    def drain(self, _: object) -> object:
        drained, self.data = list(self.data), deque()
        return drained

    def drain_control(self, _: object) -> object:
        drained, self.lane = list(self.lane), deque()
        return drained

    def close(self, _: object) -> object:
        self.closed = True
        left = (list(self.lane), list(self.data))
        self.lane.clear()
        self.data.clear()
        return left


def _move(mailbox: Mailbox, move: str, value: object) -> object:
    try:
        return _MOVES[move](mailbox, value)
    except MailboxClosedError:
        return "closed"
    except MailboxFullError:
        return "full"


def _held(mailbox: Mailbox, act: Callable[[], object]) -> object:
    with mailbox.lock:
        return act()


_MOVES: dict[str, Callable[[Mailbox, Any], object]] = {
    "put": lambda mailbox, value: mailbox.put(value, 0.0),
    "control": Mailbox.put_control,
    "control_first": Mailbox.put_control_first,
    "take": lambda mailbox, _: mailbox.try_take(),
    "take_held": lambda mailbox, _: _held(mailbox, mailbox.take_held),
    "take_control": lambda mailbox, _: mailbox.try_take_control(),
    "close": lambda mailbox, _: mailbox.close(),
    "drain": lambda mailbox, _: _held(mailbox, mailbox.drain_held),
    "drain_control": lambda mailbox, _: _held(mailbox, mailbox.drain_control_held),
    "append": lambda mailbox, value: _held(mailbox, lambda: mailbox.append_held(value)) or None,
    "prepend": lambda mailbox, value: _held(mailbox, lambda: mailbox.prepend_held(value)) or None,
}
