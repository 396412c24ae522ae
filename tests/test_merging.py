"""Several messages in one turn, on the ledger alone: each is in one place whatever becomes of it, sets stay sets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from routilux import Flow, Routine, batch
from routilux.accounts import Account
from routilux.dead_letters import DeadLetter
from routilux.ids import to_bytes
from routilux.jobs.imaging import Clocks, _read_letters, image_routine
from routilux.ledger import Admission, Ledger
from routilux.messages import Message, Once, TurnPart, TurnResult
from routilux.routing import ENTRY, Plan, compile_plan
from routilux.turn.values import PICKLED
from supervisors.locking import BriefLock
from supervisors.reasons import Crashed

KILLED = Crashed(signal=9)
THREE = batch(3, 2.0)


class Sender(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=lambda n: None)  # noqa: ARG005
        self.define_event("out", ["n"])


class Taker(Routine):
    """Its handlers are never called: nothing runs here."""

    def __init__(self, *, hears: bool = True, rows: Any = THREE) -> None:
        super().__init__()
        self.define_slot("pairs", lambda x, y: None, "all")  # noqa: ARG005
        self.define_slot("rows", lambda n: None, rows)  # noqa: ARG005
        self.define_slot("bye", lambda: None, at_end=hears)
        self.define_event("out")


def make_plan(*, hears: bool = True, limit: int = 1_000, rows: Any = THREE) -> Plan:
    flow = Flow("books")
    for routine_id in ("x", "y", "z"):
        flow.add_routine(Sender(), routine_id)
    flow.add_routine(Taker(hears=hears, rows=rows), "j", capacity=limit)
    flow.connect("x", "out", "j", "pairs", {"n": "x"})
    flow.connect("y", "out", "j", "pairs", {"n": "y"})
    flow.connect("z", "out", "j", "rows")
    flow.output("j", "out")
    return compile_plan(flow)


class Books:
    """The ledger of three senders and a taker, and what it told."""

    def __init__(self, plan: Plan | None = None, **options: Any) -> None:
        self.plan = make_plan() if plan is None else plan
        self.quiet = 0
        self.told: list[str] = []
        self.ledger = Ledger(
            self.plan, BriefLock(), on_quiet=self._count, on_facts=lambda: None, on_overflow=self.told.append, **options
        )
        self.x, self.y, self.z, self.j = self.ledger.accounts

    def _count(self) -> None:
        self.quiet += 1

    def send(self, which: str, count: int = 1, at: float = 0.0) -> None:
        """Let a sender emit so many."""
        account = getattr(self, which)
        for _ in range(count):
            assert self.ledger.admit(self.plan.entries[which, ENTRY], {"n": 0}) is Admission.ADMITTED
            [(delivery, _message)] = self.ledger.take(account)
            assert self.ledger.commit(account, 0, [(delivery, TurnResult([(0, {"n": 0}, None, ())], []), 0.0, at)])

    def take(self, limit: int = 100) -> list[tuple[int, Message]]:
        return self.ledger.take(self.j, limit)

    def commit(self, *deliveries: int) -> None:
        for delivery in deliveries:
            assert self.ledger.commit(self.j, 0, [(delivery, TurnResult([], []), 0.0, 0.0)])

    def count(self, label: str) -> Any:
        [found] = [count for count in self.ledger.counts() if count.label == label]
        return found


def parts(message: Message) -> list[tuple[int, int]]:
    return [(part.edge, part.seq) for part in message.parts]


def test_what_waits_for_others_is_merging_and_keeps_no_job_going() -> None:
    books = Books()
    books.send("x", 2)
    assert books.take() == []
    x = books.count("x.out -> j.pairs")
    assert (x.sent, x.waiting, x.in_hand, x.merging, x.is_conserved) == (2, 0, 0, 2, True)
    assert books.ledger.outstanding == 0
    books.ledger.close_entry()
    assert books.quiet == 1


def test_a_set_is_acknowledged_with_all_its_messages() -> None:
    books = Books()
    books.send("x", 2)
    books.send("y")
    [(delivery, whole)] = books.take()
    assert parts(whole) == [(0, 1), (1, 1)]
    assert books.ledger.outstanding == 2
    books.commit(delivery)
    assert [books.count(f"{s}.out -> j.pairs").handled for s in "xy"] == [1, 1]
    assert (books.j.handled, books.j.merged) == (2, 1)
    books.ledger.check()


def test_the_last_message_that_is_taken_may_be_the_one_that_makes_the_job_quiet() -> None:
    books = Books()
    books.send("x")
    books.ledger.close_entry()
    assert books.quiet == 0
    assert books.take() == []
    assert books.quiet == 1


def test_a_set_that_is_given_up_becomes_a_dead_letter_for_each_message_and_can_come_back() -> None:
    books = Books()
    books.send("z", 3)
    [(delivery, whole)] = books.take()
    books.ledger.record_once(books.j, delivery, Once("a", b"1"))
    books.ledger.release(books.j, 0, delivery, TurnPart([(0, {"n": 1}, None, ())], None), 0.0)
    books.ledger.count_failure(books.j, delivery, KILLED, 0.0, is_crash=True)
    books.ledger.bury(books.j, delivery, KILLED, 0.0)
    letters = list(books.j.dead_letters)
    assert [(letter.message.seq, letter.attempts) for letter in letters] == [(1, 1), (2, 1), (3, 1)]
    told = [fact.key for fact in books.ledger.fetch_facts_held() if fact.kind == "given_up"]
    assert told == [to_bytes(letter.message.key) for letter in letters]
    assert (books.j.dead, books.count("z.out -> j.rows").dead, books.ledger.outstanding) == (3, 3, 0)

    assert books.ledger.redeliver_all(books.j, 0.0) == 3
    [(delivery, again)] = books.take()
    # It is the same set: what it did once, and what its turn let out, is not done again.
    assert (again.id, again.once, again.released, again.redelivered) == (whole.id, (Once("a", b"1"),), 1, True)
    books.commit(delivery)
    books.ledger.check()


def give_up(books: Books) -> Message:
    """Let a batch be given up whose turn has let one emission out."""
    books.send("z", 3)
    [(delivery, whole)] = books.take()
    emission = (0, {"n": 1}, None, ())
    assert books.ledger.release(books.j, 0, delivery, TurnPart([emission], None), 0.0)
    books.ledger.bury(books.j, delivery, KILLED, 0.0)
    return whole


@pytest.mark.parametrize("chosen", [[0], [0, 1], [2], [2, 1, 0], [0, 1, 2]])
def test_a_set_comes_back_as_one_if_all_of_it_does_and_else_message_by_message(chosen: list[int]) -> None:
    books = Books()
    whole = give_up(books)
    letters = list(books.j.dead_letters)
    assert books.ledger.redeliver([letters[at] for at in chosen], 5.0) == len(chosen)
    books.ledger.check()
    waiting = list(books.j.mailbox.data)
    if len(chosen) == 3:
        [again] = waiting
        assert (again.id, again.parts, again.released, again.sent_at) == (whole.id, whole.parts, 1, 5.0)
    else:
        assert [message.seq for message in waiting] == [at + 1 for at in chosen]
        assert not any(message.parts for message in waiting)
    assert books.j.dead == 3 - len(chosen)


@pytest.mark.parametrize(("kept", "parts"), [(3, 3), (2, 0)])
def test_a_set_that_was_given_up_is_known_again_in_another_ledger_if_all_of_it_is_kept(kept: int, parts: int) -> None:
    books = Books()
    whole = give_up(books)
    again = Books(books.plan)
    held = books.ledger.copy_held({})
    account = held.accounts[3]
    images = image_routine("j", account, Clocks(0.0, 0.0), PICKLED)
    images = replace(images, dead_letters=images.dead_letters[:kept])
    letters = tuple(_read_letters(images, Clocks(0.0, 0.0)))
    accounts = (*held.accounts[:3], account._replace(letters=letters))
    again.ledger.restore(held._replace(accounts=accounts), {})
    again.ledger.redeliver_all(again.j, 0.0)
    first = again.j.mailbox.data[0]
    assert len(first.parts) == parts
    assert (first.id == whole.id, first.released) == ((True, 1) if parts else (False, 0))


def test_a_set_that_is_put_back_or_set_aside_stays_one() -> None:
    books = Books()
    books.send("z", 4)
    [(delivery, whole)] = books.take()
    books.ledger.put_back(books.j, [delivery], redelivered=True)
    [(delivery, again)] = books.take()
    assert (again.parts, again.redelivered) == (whole.parts, True)
    ticket = books.ledger.set_aside(books.j, [delivery], redelivered=False, due_at=1.0, holds=True)
    assert books.j.retrying == 3
    books.ledger.check()
    books.ledger.put_forward(books.j, ticket)
    [(delivery, again)] = books.take()
    assert again.parts == whole.parts
    assert [message.seq for message in books.j.merging] == [4]


def test_a_part_of_a_set_s_turn_is_released_once() -> None:
    books = Books()
    books.send("z", 3)
    [(delivery, _whole)] = books.take()
    emission = (0, {"n": 1}, None, ())
    assert books.ledger.release(books.j, 0, delivery, TurnPart([emission], None), 0.0)
    books.ledger.put_back(books.j, [delivery], redelivered=True)
    [(_delivery, again)] = books.take()
    assert (again.released, len(again.parts)) == (1, 3)


def test_a_batch_whose_time_is_over_is_handed_over_before_what_came_later() -> None:
    books = Books()
    books.send("z", 2, at=10.0)
    assert books.take() == []
    assert books.j.flush_at == 12.0
    books.send("z", 1, at=11.0)
    books.ledger.flush_due(books.j, 11.9)
    assert len(books.j.mailbox) == 1
    books.ledger.flush_due(books.j, 12.0)
    [(delivery, whole)] = books.take()
    assert [part.seq for part in whole.parts] == [1, 2]
    assert books.j.flush_at == 13.0
    books.commit(delivery)
    books.ledger.check()


def test_a_batch_whose_time_is_over_is_handed_over_after_those_that_were_put_back() -> None:
    books = Books()
    books.send("z", 7)
    taken = books.take()
    books.ledger.put_back(books.j, [delivery for delivery, _message in taken])
    books.send("z", 1)
    books.ledger.flush_due(books.j, 2.0)
    assert [parts(message) for _delivery, message in books.take()] == [
        [(2, 1), (2, 2), (2, 3)],
        [(2, 4), (2, 5), (2, 6)],
        [(2, 7)],
    ]
    books.ledger.check()


def test_a_quiet_job_hands_its_batches_over_tells_of_the_end_and_gives_up_what_cannot_be_joined() -> None:
    books = Books()
    books.send("x", 2)
    books.send("z")
    assert books.take() == []
    books.ledger.close_entry()
    assert books.quiet == 1
    assert books.ledger.drain(5.0) is None
    [(first, rows)] = books.take()
    assert parts(rows) == [(2, 1)]
    books.commit(first)
    # Not before that is handled: another worker would hear of the end meanwhile.
    assert books.quiet == 2
    assert books.ledger.drain(5.0) is None
    [(second, bye)] = books.take()
    assert books.plan.edges[bye.edge].label == "end -> j.bye"
    assert not bye.parts
    books.commit(second)
    assert books.quiet == 3
    [given_up] = books.ledger.drain(6.0) or ()
    assert given_up[:2] == (3, 2)

    letters = list(books.j.dead_letters)
    assert [(letter.message.seq, letter.attempts, letter.at) for letter in letters] == [(1, 0, 6.0), (2, 0, 6.0)]
    assert letters[0].cause == (
        "raised JoinError: slot 'pairs' takes one message of each connection, and no other came by y.out -> j.pairs"
    )
    assert books.j.error == letters[0].cause
    assert {fact.kind for fact in books.ledger.fetch_facts_held() if fact.reason} == {"unjoined"}
    books.ledger.check()
    assert books.ledger.drain(7.0) == []


def test_a_skipped_routine_passes_over_what_it_had_gathered() -> None:
    books = Books()
    books.send("x", 3)
    books.send("z", 1)
    books.take()
    books.ledger.skip_routine(books.j, 0.0)
    assert (books.j.skipped, list(books.j.merging)) == (4, [])
    books.ledger.check()
    books.send("z", 3)
    assert books.j.skipped == 7
    books.ledger.close_entry()
    assert books.ledger.drain(0.0) == []
    books.ledger.check()
    assert all(count.is_conserved for count in books.ledger.counts())


def test_a_connection_that_is_ahead_holds_up_its_own_sender_alone() -> None:
    books = Books(make_plan(limit=4))
    books.send("x", 4)
    books.take()
    assert (books.x.is_pressed, books.y.is_pressed, books.z.is_pressed) == (True, False, False)
    books.send("y", 1)
    books.take()
    assert books.x.is_pressed
    books.send("y", 1)
    books.take()
    assert not books.x.is_pressed


def test_connections_with_an_ancestor_in_common_hold_up_nobody() -> None:
    flow = Flow("diamond")
    for routine_id in ("x", "y", "z"):
        flow.add_routine(Sender(), routine_id)
    flow.add_routine(Taker(), "j", capacity=2)
    for arm in ("x", "y"):
        flow.connect("z", "out", arm, "trigger")
        flow.connect(arm, "out", "j", "pairs", {"n": arm})
    [pairs, _rows] = compile_plan(flow).routines[3].joins
    assert (pairs.edges, pairs.pressing) == ((1, 3), frozenset())
    [pairs, _rows] = make_plan().routines[3].joins
    assert (pairs.edges, pairs.pressing) == ((0, 1), frozenset({0, 1}))


def test_a_slot_that_gathers_without_end_ends_the_job_with_the_connection_that_is_ahead() -> None:
    books = Books(make_plan(limit=10_000), cycle_limit=3)
    books.send("x", 4)
    books.take()
    [told] = books.told
    assert told == (
        "slot 'pairs' of routine 'j' holds more messages than cycle_limit allows: x.out -> j.pairs brings more than "
        "the others"
    )


def test_a_batch_may_be_longer_than_what_waits_for_others_otherwise() -> None:
    books = Books(cycle_limit=1)
    books.send("z", 3)
    [(_delivery, rows)] = books.take()
    assert (len(rows.parts), books.told) == (3, [])


def test_a_ledger_begins_again_with_what_waited_and_what_was_in_hand() -> None:
    books = Books()
    books.send("x", 2)
    books.send("y", 1)
    books.send("z", 4)
    [(_one, pair), (_two, rows)] = books.take()
    again = Books(books.plan)
    again.ledger.restore(books.ledger.copy_held({}), {})
    again.ledger.check()
    assert again.ledger.outstanding == 5
    assert [message.seq for message in again.j.merging] == [2, 4]
    taken = again.take()
    assert [message.parts for _delivery, message in taken] == [pair.parts, rows.parts]
    assert all(message.redelivered for _delivery, message in taken)


def test_sets_are_taken_apart_where_the_slot_takes_one_at_a_time_now() -> None:
    books = Books()
    books.send("z", 5)
    books.take()
    again = Books(make_plan(rows="override"))
    again.ledger.restore(books.ledger.copy_held({}), {})
    again.ledger.check()
    assert [(message.seq, message.parts) for _delivery, message in again.take()] == [(n, ()) for n in range(1, 6)]


@pytest.mark.parametrize(
    ("strategy", "sets"),
    [
        ("all", [[(2, 1)], [(2, 2)], [(2, 3)], [(2, 4)], [(2, 5)], [(2, 6)], [(2, 7)], [(2, 8)]]),
        (batch(2), [[(2, 1), (2, 2)], [(2, 3), (2, 4)], [(2, 5), (2, 6)], [(2, 7), (2, 8)]]),
        (batch(4), [[(2, 1), (2, 2), (2, 3)], [(2, 4), (2, 5), (2, 6)]]),
    ],
)
def test_sets_that_the_slot_would_not_make_any_more_are_made_anew_in_the_order_of_their_messages(
    strategy: Any, sets: list[list[tuple[int, int]]]
) -> None:
    books = Books()
    books.send("z", 8)
    [(first, _), (second, _)] = books.take()
    # One waits for its retry, one at the head of the mailbox; two messages are still to become one.
    books.ledger.set_aside(books.j, [first], redelivered=True, due_at=0.0, holds=True)
    books.ledger.put_back(books.j, [second])
    again = Books(make_plan(rows=strategy))
    again.ledger.restore(books.ledger.copy_held({}), {})
    again.ledger.check()
    for ticket in list(again.j.in_retry):
        again.ledger.put_forward(again.j, ticket)
    taken = [message for _delivery, message in again.take()]
    assert [parts(message) for message in taken] == sets
    assert taken[0].redelivered
    again.ledger.check()


class Wanderings(RuleBasedStateMachine):
    """Messages go any way there is, and the ledger is begun again; sets stay what they are."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books()
        self.tickets: list[tuple[Account, int]] = []
        self.handled: dict[int, list[int]] = {0: [], 1: [], 2: []}
        self.at = 0.0

    @rule(which=st.sampled_from("xyz"), count=st.integers(1, 4))
    def send(self, which: str, count: int) -> None:
        if self.books.ledger.is_entry_open:
            self.books.send(which, count, self.at)

    @rule(limit=st.integers(1, 4))
    def take(self, limit: int) -> None:
        for _delivery, message in self.books.take(limit):
            edges = [edge for edge, _seq in parts(message)]
            if 2 in edges:
                assert set(edges) == {2}
                assert len(edges) <= 3
            elif edges:
                (_, left), (_, right) = parts(message)
                assert edges == [0, 1]
                assert left == right

    @rule()
    def commit(self) -> None:
        for delivery, message in list(self.books.j.in_hand.items())[:1]:
            self.books.commit(delivery)
            for edge, seq in parts(message):
                self.handled[edge].append(seq)

    @rule(way=st.sampled_from(["bury", "put_back", "set_aside"]))
    def fail(self, way: str) -> None:
        ledger, account = self.books.ledger, self.books.j
        for delivery in list(account.in_hand)[:1]:
            ledger.count_failure(account, delivery, KILLED, 0.0, is_crash=True)
            if way == "bury":
                ledger.bury(account, delivery, KILLED, 0.0)
            elif way == "put_back":
                # As routines with one worker do: nothing of what is behind it is begun.
                ledger.put_back(account, list(account.in_hand), redelivered=True)
            else:
                ticket = ledger.set_aside(account, [delivery], redelivered=True, due_at=1.0, holds=False)
                self.tickets.append((account, ticket))

    @precondition(lambda self: self.tickets)
    @rule()
    def try_again(self) -> None:
        self.books.ledger.put_forward(*self.tickets.pop(0))

    @rule()
    def redeliver(self) -> None:
        self.books.ledger.redeliver_all(None, 0.0)

    @rule(seconds=st.sampled_from([0.0, 1.0, 3.0]))
    def flush(self, seconds: float) -> None:
        self.at += seconds
        self.books.ledger.flush_due(self.books.j, self.at)

    @rule()
    def begin_again(self) -> None:
        books = Books(self.books.plan)
        books.ledger.restore(self.books.ledger.copy_held({}), {})
        assert books.ledger.outstanding == self.books.ledger.outstanding
        is_entry_open = self.books.ledger.is_entry_open
        self.books = books
        self.tickets = [(books.j, ticket) for ticket in books.j.in_retry]
        if not is_entry_open:
            books.ledger.close_entry()

    @rule(sure=st.integers(0, 3))
    def close(self, sure: int) -> None:
        if sure == 3:
            self.books.ledger.close_entry()

    @precondition(lambda self: self.books.quiet)
    @rule()
    def drain(self) -> None:
        if self.books.ledger._is_quiet and self.books.ledger.drain(self.at) is not None:
            assert not list(self.books.j.merging)
            assert self.books.ledger.outstanding == 0

    @invariant()
    def it_adds_up(self) -> None:
        self.books.ledger.check()
        for edge, seqs in self.handled.items():
            assert len(set(seqs)) == len(seqs), f"handled twice on {edge}"
            assert self.books.ledger._handled[edge] == len(seqs)
        assert all(count.is_conserved for count in self.books.ledger.counts())


TestWanderings = Wanderings.TestCase


@pytest.mark.parametrize("count", [1, 2])
def test_the_oldest_dead_letters_are_let_go_for_those_of_a_set(count: int) -> None:
    books = Books()
    books.j.dead_letters = type(books.j.dead_letters)(capacity=count)
    books.send("z", 3)
    [(delivery, _whole)] = books.take()
    books.ledger.bury(books.j, delivery, KILLED, 0.0)
    kept: list[DeadLetter] = list(books.j.dead_letters)
    assert [letter.message.seq for letter in kept] == [1, 2, 3][-count:]
    assert books.j.dead == 3
