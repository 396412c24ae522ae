"""Senders of large arrays are held back by what their receivers have in shared memory."""

from __future__ import annotations

import pytest

from routilux import Flow
from routilux.accounts import Account, Output
from routilux.ahead import AHEAD_BYTES, AWAY, is_behind
from routilux.ledger import Admission, Ledger
from routilux.messages import TurnPart
from routilux.routines import Delay
from routilux.routing import ENTRY, compile_plan
from supervisors.locking import BriefLock
from supervisors.wire.outside import Leased, Name
from tests.test_dispositions import Stage

QUARTER = AHEAD_BYTES // 4


class Held:
    """A lease of so many bytes, of this machine's memory or not."""

    id = 1

    def __init__(self, size: int, *, is_here: bool) -> None:
        self.size = size
        self.is_here = is_here

    def view(self, name: Name) -> memoryview:
        return memoryview(bytes(name.length))


def leased(size: int, *, is_here: bool = True) -> Leased:
    return Leased.of(b"named", (Held(size, is_here=is_here),))


class Books:
    """The ledger of a routine that emits, one that receives it, one that is to wait, and an output."""

    def __init__(self) -> None:
        flow = Flow("ahead")
        flow.add_routine(Stage(), "sender")
        flow.add_routine(Stage(), "receiver")
        flow.add_routine(Delay(5.0), "delay")
        flow.connect("sender", "number", "receiver", "trigger")
        flow.output("receiver", "number", capacity=100)
        plan = compile_plan(flow)
        self.ledger = Ledger(
            plan, BriefLock(), on_quiet=lambda: None, on_facts=lambda: None, on_overflow=lambda _cycle: None
        )
        self.entries = plan.entries
        self.sender, self.receiver, self.delay = self.ledger.accounts
        [self.output] = self.ledger.outputs

    def emit(self, account: Account, *payloads: bytes) -> None:
        """Let a turn emit these, and go on."""
        if not account.in_hand:
            index = self.entries[account.plan.id, ENTRY]
            assert self.ledger.admit(index, {"n": 1}) is Admission.ADMITTED
            assert self.ledger.take(account)
        [delivery] = account.in_hand
        part = TurnPart([(0, None, payload, ()) for payload in payloads], None)
        assert self.ledger.release(account, 0, delivery, part, 0.0)


def test_senders_are_held_back_by_what_waits_in_shared_memory_until_half_of_it_was_taken() -> None:
    books = Books()
    books.emit(books.sender, *[leased(QUARTER)] * 3)
    assert not books.sender.is_pressed
    books.emit(books.sender, leased(QUARTER))
    assert books.sender.is_pressed
    assert not books.ledger.has_room(books.sender)

    books.ledger.take(books.receiver)
    assert books.sender.is_pressed
    books.ledger.take(books.receiver)
    assert not books.sender.is_pressed
    assert books.ledger.has_room(books.sender)


def test_one_message_waits_however_large_it_is() -> None:
    books = Books()
    books.emit(books.sender, leased(10 * AHEAD_BYTES))
    assert not books.sender.is_pressed
    books.emit(books.sender, leased(10 * AHEAD_BYTES))
    assert books.sender.is_pressed
    books.ledger.take(books.receiver)
    assert not books.sender.is_pressed


def test_of_what_is_in_a_cluster_more_may_wait() -> None:
    books = Books()
    books.emit(books.sender, *[leased(AHEAD_BYTES, is_here=False)] * (AWAY - 1))
    assert not books.sender.is_pressed
    books.emit(books.sender, leased(AHEAD_BYTES, is_here=False))
    assert books.sender.is_pressed
    for _ in range(AWAY // 2):
        assert books.sender.is_pressed
        books.ledger.take(books.receiver)
    assert not books.sender.is_pressed


def test_what_has_no_shared_memory_does_not_count() -> None:
    books = Books()
    books.emit(books.sender, b"encoded", b"encoded", leased(2 * QUARTER), b"encoded", leased(QUARTER))
    assert not books.sender.is_pressed
    assert is_behind(books.receiver)
    assert not books.receiver.is_pressing


def test_those_outside_are_held_back_too() -> None:
    books = Books()
    entry = books.entries["receiver", ENTRY]
    for _ in range(4):
        assert books.ledger.admit(entry, leased(QUARTER)) is Admission.ADMITTED
    assert books.ledger.admit(entry, leased(QUARTER)) is Admission.FULL


@pytest.mark.parametrize("waits", ["delay", "output"])
def test_what_is_to_wait_holds_nobody_back(waits: str) -> None:
    books = Books()
    if waits == "delay":
        entry = books.entries["delay", ENTRY]
        for _ in range(10):
            assert books.ledger.admit(entry, leased(QUARTER)) is Admission.ADMITTED
    else:
        books.emit(books.receiver, *[leased(QUARTER)] * 10)
    held: Account | Output = books.delay if waits == "delay" else books.output
    assert len(held.mailbox) == 10
    assert not held.is_pressing
