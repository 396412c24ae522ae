from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.errors import MailboxClosedError, MailboxFullError
from supervisors.mailbox import Mailbox
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


@given(
    st.one_of(st.none(), st.integers(1, 4)),
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["put", "control", "append"]), st.integers()),
            st.tuples(st.just("prepend"), st.lists(st.integers(), max_size=3)),
            st.tuples(st.sampled_from(["take", "take_control", "drain", "close"]), st.none()),
        ),
        max_size=30,
    ),
)
def test_it_behaves_as_two_plain_queues(capacity: int | None, moves: list[tuple[str, object]]) -> None:
    mailbox, model = Mailbox(capacity), _Model(capacity)
    for move, value in moves:
        assert _move(mailbox, move, value) == getattr(model, move)(value)
        assert len(mailbox) == len(model.data)


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


class _Model:
    def __init__(self, capacity: int | None) -> None:
        self.capacity = capacity
        self.data: deque[object] = deque()
        self.lane: deque[object] = deque()
        self.closed = False

    def put(self, value: object) -> object:
        if self.closed:
            return "closed"
        if self.capacity is not None and len(self.data) >= self.capacity:
            return "full"
        self.data.append(value)
        return None

    def control(self, value: object) -> object:
        if self.closed:
            return "closed"
        self.lane.append(value)
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
    "put": Mailbox.put,
    "control": Mailbox.put_control,
    "take": lambda mailbox, _: mailbox.try_take(),
    "take_control": lambda mailbox, _: mailbox.try_take_control(),
    "close": lambda mailbox, _: mailbox.close(),
    "drain": lambda mailbox, _: _held(mailbox, mailbox.drain_held),
    "append": lambda mailbox, value: _held(mailbox, lambda: mailbox.append_held(value)) or None,
    "prepend": lambda mailbox, value: _held(mailbox, lambda: mailbox.prepend_held(value)) or None,
}
