"""What becomes of messages that failed: every message in one place, whatever is done about it and however often."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from routilux import Flow, Routine
from routilux.accounts import Account
from routilux.blocks import messages_of
from routilux.dead_letters import DeadLetter, DeadLetters
from routilux.errors import NotADeadLetterError, RoutineSkippedError
from routilux.ids import to_bytes
from routilux.ledger import Admission, Ledger
from routilux.messages import Message, TurnPart, TurnResult, TurnResults
from routilux.routing import ENTRY, compile_plan
from supervisors.locking import BriefLock
from supervisors.reasons import Crashed

KILLED = Crashed(signal=9)


class Stage(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        """Is never called: nothing runs here."""


class Books:
    """The ledger of a flow of two stages with an output, and what it told."""

    def __init__(self, capacity: int = 1_000) -> None:
        flow = Flow("books")
        for routine_id in ("a", "b"):
            flow.add_routine(Stage(), routine_id, capacity=capacity)
        flow.connect("a", "number", "b", "trigger")
        flow.output("b", "number", capacity=3)
        plan = compile_plan(flow)
        self.quiet = 0
        self.ledger = Ledger(
            plan, BriefLock(), on_quiet=self._count, on_facts=lambda: None, on_overflow=lambda _cycle: None
        )
        self.entry = plan.entries["a", ENTRY]
        self.a, self.b = self.ledger.accounts
        [self.output] = self.ledger.outputs

    def _count(self) -> None:
        self.quiet += 1

    def kill(self, account: Account, n: int = 0, released: int = 0) -> DeadLetter:
        """Let a new message of `a` become a dead letter."""
        assert self.ledger.admit(self.entry, {"n": n}) is Admission.ADMITTED
        [(delivery, _)] = self.ledger.take(account)
        if released:
            part = TurnPart([(0, {"n": n}, None, ())] * released, None)
            assert self.ledger.release(account, 0, delivery, part, 0.0)
        self.ledger.count_failure(account, delivery, KILLED, 0.0, is_crash=True)
        self.ledger.bury(account, delivery, KILLED, 0.0)
        return list(account.dead_letters)[-1]


def waiting(account: Account) -> list[Message]:
    return list(account.mailbox.waiting_held())


def test_a_redelivered_letter_goes_to_the_tail_as_if_it_had_never_been_tried() -> None:
    books = Books()
    letter = books.kill(books.a, 1, released=2)
    books.ledger.admit(books.entry, {"n": 2})
    assert books.ledger.redeliver([letter], 5.0) == 1
    other, again = waiting(books.a)
    assert other.payload == {"n": 2}
    assert (again.id, again.payload, again.failures, again.crashes, again.redelivered) == (
        letter.message.id,
        {"n": 1},
        0,
        0,
        True,
    )
    assert again.released == 2, "what had gone out goes out no second time (R3)"
    assert (list(books.a.dead_letters), books.a.dead) == ([], 0)
    assert letter.message.failures == 1, "a letter that somebody holds never changes"
    books.ledger.check()


def test_a_redelivery_is_told_to_the_history() -> None:
    books = Books()
    letter = books.kill(books.a)
    books.ledger.redeliver([letter], 5.0)
    with books.ledger.lock:
        last = books.ledger.fetch_facts_held()[-1]
    assert (last.kind, last.routine, last.edge, last.key, last.at) == (
        "redelivered",
        0,
        books.entry,
        to_bytes(letter.message.key),
        5.0,
    )


def test_a_letter_given_twice_is_put_back_once_and_is_none_any_more() -> None:
    books = Books()
    letter = books.kill(books.a)
    assert books.ledger.redeliver([letter, letter], 0.0) == 1
    with pytest.raises(NotADeadLetterError, match=f"message {letter.message.id} of routine 'a'"):
        books.ledger.redeliver([letter], 0.0)
    assert len(waiting(books.a)) == 1


def test_nothing_is_put_back_when_one_of_them_cannot_be() -> None:
    books, others = Books(), Books()
    letter, foreign = books.kill(books.a), others.kill(others.a)
    wrong: list[Any] = [foreign, letter._replace(routine_id="b"), letter._replace(routine_id="c"), "no letter"]
    for one in wrong:
        with pytest.raises(NotADeadLetterError):
            books.ledger.redeliver([letter, one], 0.0)
    assert list(books.a.dead_letters) == [letter]
    assert waiting(books.a) == []


def test_a_skipped_routine_takes_nothing_back() -> None:
    books = Books()
    letter, other = books.kill(books.a), books.kill(books.a)
    books.ledger.skip_routine(books.a, 0.0)
    with pytest.raises(RoutineSkippedError, match="'a'"):
        books.ledger.redeliver([letter], 0.0)
    with pytest.raises(RoutineSkippedError, match="'a'"):
        books.ledger.redeliver_all(books.a, 0.0)
    assert books.ledger.redeliver_all(None, 0.0) == 0
    assert list(books.a.dead_letters) == [letter, other]


def test_all_are_put_back_oldest_first_of_one_routine_or_of_all() -> None:
    books = Books()
    for n in range(3):
        books.kill(books.a, n)
    assert books.ledger.redeliver_all(books.b, 0.0) == 0
    assert books.ledger.redeliver_all(books.a, 0.0) == 3
    assert [message.payload for message in waiting(books.a)] == [{"n": n} for n in range(3)]
    assert books.ledger.redeliver_all(None, 0.0) == 0


def test_a_job_that_is_ending_takes_nothing_back() -> None:
    books = Books()
    letter = books.kill(books.a)
    books.ledger.close_entry()
    assert books.quiet == 1
    assert books.ledger.redeliver([letter], 0.0) is None
    assert books.ledger.redeliver_all(None, 0.0) is None

    books = Books()
    letter = books.kill(books.a)
    books.ledger.close_gate()
    assert books.ledger.redeliver([letter], 0.0) is None
    assert list(books.a.dead_letters) == [letter]


def test_a_closed_entry_does_not_matter_while_something_is_left_to_do() -> None:
    books = Books()
    letter = books.kill(books.a)
    books.ledger.admit(books.entry, {"n": 2})
    books.ledger.close_entry()
    assert books.ledger.redeliver([letter], 0.0) == 1
    for _ in range(2):
        assert books.quiet == 0
        [(delivery, _)] = books.ledger.take(books.a)
        books.ledger.commit(books.a, 0, [(delivery, TurnResult([], []), 0.0, 0.0)])
    assert books.quiet == 1


def test_a_mailbox_that_is_full_of_redelivered_letters_holds_back_those_who_send() -> None:
    books = Books(capacity=2)
    for n in range(3):
        books.kill(books.a, n)
    assert books.ledger.redeliver_all(books.a, 0.0) == 3
    assert books.ledger.admit(books.entry, {"n": 4}) is Admission.FULL


def test_a_result_that_cannot_be_read_is_a_dead_letter_of_who_emitted_it_and_comes_again() -> None:
    books = Books()
    books.ledger.admit(books.entry, {"n": 1})
    for account in (books.a, books.b):
        [(delivery, _)] = books.ledger.take(account)
        result = TurnResult([(0, {"n": 1}, None, ())], [])
        assert books.ledger.commit(account, 0, [(delivery, result, 0.0, 0.0)])
    message = books.ledger.take_output(books.output)
    assert message is not None
    books.ledger.bury_result(books.output, message, KILLED, 7.0)
    books.ledger.check()
    [letter] = books.b.dead_letters
    assert (letter.routine_id, letter.attempts, letter.at, books.b.dead) == ("b", 1, 7.0, 1)
    assert [count.dead for count in books.ledger.counts()][message.edge] == 1

    assert books.ledger.redeliver_all(books.b, 0.0) == 1
    again = books.ledger.take_output(books.output)
    assert again is not None
    assert (again.id, again.payload) == (message.id, {"n": 1})
    books.ledger.check()


def test_a_letter_that_is_let_go_is_dropped_without_the_lock() -> None:
    books, was_free = Books(), []
    lock = books.ledger.lock

    class Last:
        def __del__(self) -> None:
            was_free.append(lock.try_acquire())
            if was_free[-1]:
                lock.release()

    for account in (books.a, books.b):
        account.dead_letters = DeadLetters(capacity=1)
        account.dead_letters.add(DeadLetter(account.plan.id, Message(0, 1_000, {"n": Last()}, 1_000), KILLED, 1, 0.0))
    books.kill(books.a)
    books.ledger.bury_result(books.output, Message(0, 1_001, {"n": 1}, 1_001), KILLED, 0.0)
    assert was_free == [True, True]


class Wanderings(RuleBasedStateMachine):
    """Messages go any way there is; none is ever lost, doubled or in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books(capacity=5)
        self.ledger = self.books.ledger
        self.tickets: list[tuple[Account, int]] = []
        self.old: list[DeadLetter] = []

    accounts = st.integers(0, 1)

    @rule(count=st.integers(1, 5))
    def send(self, count: int) -> None:
        for n in range(count):
            self.ledger.admit(self.books.entry, {"n": n})

    @rule(which=accounts, limit=st.integers(1, 4))
    def take(self, which: int, limit: int) -> None:
        account = self.ledger.accounts[which]
        if not account.blocks:  # as its place has no room before these are done with
            self.ledger.take_blocks(account, limit) or self.ledger.take(account, limit)

    @rule(which=accounts, emissions=st.integers(0, 3))
    def commit(self, which: int, emissions: int) -> None:
        account = self.ledger.accounts[which]
        for delivery in list(account.in_hand)[:1]:
            result = TurnResult([(0, {"n": 0}, None, ())] * emissions, [])
            assert self.ledger.commit(account, 0, [(delivery, result, 0.0, 0.0)])

    @rule(which=accounts, counts=st.lists(st.integers(0, 2), min_size=1, max_size=4))
    def commit_together(self, which: int, counts: list[int]) -> None:
        account = self.ledger.accounts[which]
        if account.blocks:
            offset, block = account.blocks[0]
            counts = counts[: len(block)]
            ends = list(itertools.accumulate(counts))
            results = TurnResults(0.0, [1.0] * len(counts), [(0, {"n": n}, None, ()) for n in range(ends[-1])], ends)
            assert self.ledger.commit(account, 0, [(offset + block.start, results, 1.0, 1.0)])

    @rule(which=accounts, way=st.sampled_from(["bury", "bury", "put_back", "set_aside"]))
    def fail(self, which: int, way: str) -> None:
        account = self.ledger.accounts[which]
        for delivery in list(account.in_hand)[:1]:
            self.ledger.count_failure(account, delivery, KILLED, 0.0, is_crash=True)
            if way == "bury":
                self.ledger.bury(account, delivery, KILLED, 0.0)
            elif way == "put_back":
                self.ledger.put_back(account, [delivery], redelivered=True)
            else:
                ticket = self.ledger.set_aside(account, [delivery], redelivered=True, due_at=1.0, holds=False)
                self.tickets.append((account, ticket))

    @precondition(lambda self: self.tickets)
    @rule()
    def try_again(self) -> None:
        self.ledger.put_forward(*self.tickets.pop(0))

    @rule(data=st.data())
    def redeliver_some(self, data: st.DataObject) -> None:
        letters = [letter for account in self.ledger.accounts for letter in account.dead_letters]
        chosen = data.draw(st.lists(st.sampled_from(letters), max_size=4)) if letters else []
        is_ending = self.ledger._takes_nothing_back()
        if not is_ending and any(self.ledger._is_skipped(letter) for letter in chosen):
            with pytest.raises(RoutineSkippedError):
                self.ledger.redeliver(chosen, 0.0)
            return
        count = self.ledger.redeliver(chosen, 0.0)
        assert count == (None if is_ending else len({letter.message.id for letter in chosen}))
        if count:
            self.old += chosen

    @rule()
    def redeliver_all(self) -> None:
        before = sum(account.dead for account in self.ledger.accounts)
        count = self.ledger.redeliver_all(None, 0.0)
        assert sum(account.dead for account in self.ledger.accounts) == before - (count or 0)

    @precondition(lambda self: self.old)
    @rule()
    def redeliver_an_old_one(self) -> None:
        if not self.ledger._takes_nothing_back():
            with pytest.raises(NotADeadLetterError):
                self.ledger.redeliver(self.old[-1:], 0.0)

    @rule(is_readable=st.booleans())
    def read(self, is_readable: bool) -> None:
        message = self.ledger.take_output(self.books.output)
        if message is not None and not is_readable:
            self.ledger.bury_result(self.books.output, message, KILLED, 0.0)

    @rule(which=accounts, sure=st.integers(0, 4))
    def skip(self, which: int, sure: int) -> None:
        if sure == 4:
            self.ledger.skip_routine(self.ledger.accounts[which], 0.0)

    @rule(sure=st.integers(0, 4))
    def close(self, sure: int) -> None:
        if sure == 4:
            self.ledger.close_entry()

    @invariant()
    def it_adds_up(self) -> None:
        self.ledger.check()
        assert all(count.is_conserved for count in self.ledger.counts())
        for account in self.ledger.accounts:
            assert account.dead == len(account.dead_letters)
        assert (self.books.quiet == 1) == (self.ledger._is_quiet)
        assert not (self.ledger._is_quiet and self.ledger.outstanding)

    @invariant()
    def each_message_is_in_one_place(self) -> None:
        places = [message.id for message in self.books.output.mailbox.waiting_held()]
        for account in self.ledger.accounts:
            places += [message.id for message in messages_of(waiting(account))]
            places += [message.id for message in messages_of(account.entries_in_hand)]
            places += [message.id for wait in account.in_retry.values() for message in wait.messages]
            places += [letter.message.id for letter in account.dead_letters]
        assert len(places) == len(set(places))


TestWanderings = Wanderings.TestCase
