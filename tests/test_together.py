"""Turns that are committed together: the ledger is what it is where the same turns are committed one by one."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux import Flow, Routine
from routilux.accounts import Account, Tap
from routilux.blocks import Block, messages_of
from routilux.facts import Commits, Fact, count_facts, facts_of
from routilux.ids import to_bytes
from routilux.ledger import Ledger
from routilux.messages import Emission, Message, Once, TurnPart, TurnResult, TurnResults
from routilux.routing import ENTRY, compile_plan
from routilux.tracking.meters import SAMPLES
from supervisors.locking import BriefLock
from supervisors.reasons import Crashed

KILLED = Crashed(signal=9)


class Stage(Routine):
    def __init__(self) -> None:
        super().__init__()
        for slot in ("trigger", "other"):
            self.define_slot(slot, handler=self.handle)
        for event in ("one", "two"):
            self.define_event(event, ["n"])

    def handle(self, n: int) -> None:
        """Is never called: nothing runs here."""


class Books:
    """The ledger of a flow in which some connections have a receiver of their own, and some share one.

    `a` sends `one` to `b` and `c`, and `two` to both slots of `c`, to itself and to an output; `b` sends on to `d`.
    """

    def __init__(self) -> None:
        flow = Flow("books")
        for routine_id in "abcd":
            flow.add_routine(Stage(), routine_id)
        flow.connect("a", "one", "b", "trigger")
        flow.connect("a", "one", "c", "trigger")
        flow.connect("a", "two", "c", "other")
        flow.connect("a", "two", "c", "trigger")
        flow.connect("a", "two", "a", "other")
        flow.output("a", "two")
        flow.connect("b", "one", "d", "trigger")
        plan = compile_plan(flow)
        self.ledger = Ledger(
            plan, BriefLock(), on_quiet=lambda: None, on_facts=lambda: None, on_overflow=lambda _told: None
        )
        self.entry = plan.entries["a", ENTRY]
        self.a, self.b, self.c, self.d = self.ledger.accounts
        self.tap = Tap(1_000, self.ledger.lock)
        self.ledger.add_tap(0, 0, self.tap)
        self.now = 0.0

    def fill(self, count: int) -> None:
        """Let `b` have so many messages that were sent together, and each other routine the same."""
        self.ledger.admit(self.entry, {"n": 0}, name="first")
        [(delivery, _)] = self.ledger.take(self.a)
        emissions: list[Emission] = [(0, {"n": n}, None, ()) for n in range(count)]
        self.commit(self.a, delivery, TurnResult(emissions, []), 0.5)

    def commit(self, account: Account, delivery: int, result: Any, seconds: float) -> None:
        self.now += 1.0
        assert self.ledger.commit(account, 0, [(delivery, result, seconds, self.now)])

    def together(self, account: Account, turns: list[list[int]]) -> None:
        """Commit so many turns of a block, which emitted these events."""
        [(first, block)] = self.ledger.take_blocks(account, len(turns))
        assert isinstance(block, Block)
        assert len(block) == len(turns)
        emissions = [emission for turn in turns for emission in emissions_of(turn)]
        ends = [] if {*map(len, turns)} == {1} else list(itertools.accumulate(map(len, turns)))
        ats = [self.now + 1.0 + n for n in range(len(turns))]
        results = TurnResults(self.now, ats, emissions, ends)
        self.now = ats[-1]
        assert self.ledger.commit(account, 0, [(first, results, ats[-1] - results.began_at, ats[-1])])

    def one_by_one(self, account: Account, turns: list[list[int]]) -> None:
        """The model."""
        [(first, _block)] = self.ledger.take_blocks(account, len(turns))
        for delivery, turn in enumerate(turns, first):
            self.commit(account, delivery, TurnResult(emissions_of(turn), []), 1.0)

    def tell(self) -> list[Any]:
        """All there is, but for when messages were sent: together they are all sent at the end."""
        self.ledger.check()
        with self.ledger.lock:
            facts = list(facts_of(self.ledger.fetch_facts_held()))
            times = self.ledger.fetch_times_held()
        return [
            [[parts(m) for m in messages_of(a.mailbox.waiting_held())] for a in self.ledger.accounts],
            [[parts(m) for m in messages_of(a.entries_in_hand)] for a in self.ledger.accounts],
            [parts(m) for output in self.ledger.outputs for m in output.mailbox.waiting_held()],
            [len(a.mailbox) for a in self.ledger.accounts],
            [(a.handled, a.emitted, a.is_pressing) for a in self.ledger.accounts],
            [(time.routine, time.turns, time.seconds, time.longest) for time in times],
            list(self.tap.mailbox.waiting_held()),
            facts,
            self.ledger.counts(),
            self.ledger.outstanding,
        ]


def emissions_of(events: list[int]) -> list[Emission]:
    return [(event, {"n": n}, None, ()) for n, event in enumerate(events)]


def parts(message: Message) -> tuple[int, int, Any, int]:
    return message.edge, message.seq, message.payload, message.key


TURNS = st.lists(st.lists(st.integers(0, 1), max_size=3), min_size=1, max_size=6)
ONE_EACH = st.integers(0, 1).flatmap(lambda event: st.lists(st.just([event]), min_size=1, max_size=6))


@given(st.lists(TURNS | ONE_EACH, max_size=4), st.integers(1, 30))
def test_what_is_committed_together_is_what_is_committed_one_by_one(rounds: list[list[list[int]]], more: int) -> None:
    together, model = Books(), Books()
    count = sum(map(len, rounds)) + 1 + more
    for books in (together, model):
        books.fill(count)
    # `a` has none that were sent together: it is given those of `b`, as a routine that sends all that there is.
    for turns in rounds:
        for books, commit in ((together, together.together), (model, model.one_by_one)):
            account = books.b
            account.ways, account.is_apart, account.taps = books.a.ways, books.a.is_apart, books.a.taps
            commit(account, turns)
        assert together.tell() == model.tell()
    assert together.b.handled == sum(map(len, rounds))


def test_what_one_event_sends_to_a_receiver_on_two_connections_stays_in_its_order() -> None:
    books = Books()
    books.ledger.admit(books.entry, {"n": 0})
    [(delivery, _)] = books.ledger.take(books.a)
    books.commit(books.a, delivery, TurnResult([(1, {"n": n}, None, ()) for n in range(3)], []), 0.0)
    labels = [books.ledger.plan.edges[m.edge].label for m in messages_of(books.c.mailbox.waiting_held())]
    assert labels == ["a.two -> c.other", "a.two -> c.trigger"] * 3


def test_what_is_sent_together_waits_as_one_where_each_receiver_hears_of_it_once() -> None:
    books = Books()
    books.fill(3)
    [entry] = books.b.mailbox.waiting_held()
    assert isinstance(entry, Block)
    assert (len(entry), len(books.b.mailbox)) == (3, 3)
    books.together(books.b, [[0]] * 3)
    [entry] = books.d.mailbox.waiting_held()
    assert isinstance(entry, Block)
    assert (len(entry), len(books.d.mailbox)) == (3, 3)


def test_no_more_of_a_block_is_taken_than_there_is_room_for() -> None:
    books = Books()
    books.fill(10)
    taken = [books.ledger.take_blocks(books.b, limit) for limit in (4, 1, 0, 99)]
    assert [[len(block) for _, block in blocks] for blocks in taken] == [[4], [1], [], [5]]
    assert [first for blocks in taken for first, _ in blocks] == [2, 6, 7]
    assert (len(books.b.mailbox), books.b.count_in_hand) == (0, 10)
    books.ledger.check()


def test_several_blocks_are_taken_at_once_but_never_past_a_single_message() -> None:
    books = Books()
    books.fill(2)
    books.fill(3)
    with books.ledger.lock:
        books.b.mailbox.append_held(Message(0, 99, {}, 99))
    taken = books.ledger.take_blocks(books.b, 100)
    assert [len(block) for _, block in taken] == [2, 3]
    assert books.ledger.take_blocks(books.b, 100) == []
    assert [message.seq for _, message in books.ledger.take(books.b)] == [99]


def test_nothing_of_a_block_is_taken_while_the_gate_is_held() -> None:
    books = Books()
    books.fill(3)
    books.ledger.hold_gate()
    assert books.ledger.take_blocks(books.b, 3) == []
    assert len(books.b.mailbox) == 3
    books.ledger.open_gate()
    assert len(books.ledger.take_blocks(books.b, 3)) == 1


def test_a_block_that_was_put_back_comes_again_in_order_and_what_its_turns_commit_is_refused() -> None:
    books = Books()
    books.fill(4)
    [(first, block)] = books.ledger.take_blocks(books.b, 3)
    expected = [message.key for message in [*block.messages(), *messages_of(books.b.mailbox.waiting_held())]]
    books.ledger.fence(books.b)
    waiting = list(messages_of(books.b.mailbox.waiting_held()))
    assert [message.key for message in waiting] == expected
    assert [message.redelivered for message in waiting] == [True] * 3 + [False]

    again = books.ledger.take(books.b, 10)
    assert [message.key for _, message in again] == expected[:3]
    late = TurnResults(0.0, [1.0] * 3, emissions_of([0]) * 3, [1, 2, 3])
    assert not books.ledger.commit(books.b, 0, [(first, late, 1.0, 1.0)])
    assert (len(books.d.mailbox), books.b.handled) == (0, 0)
    books.ledger.check()


def test_late_results_of_a_block_take_nothing_of_the_one_that_is_in_hand_now() -> None:
    books = Books()
    books.fill(6)
    [(first, _)] = books.ledger.take_blocks(books.b, 3)
    books.ledger.put_back(books.b, range(first, first + 3))
    books.ledger.take(books.b, 3)
    [(second, _)] = books.ledger.take_blocks(books.b, 3)
    late = TurnResults(0.0, [1.0] * 3, [], [0, 0, 0])
    assert not books.ledger.commit(books.b, 0, [(first, late, 1.0, 1.0)])
    assert books.b.count_in_hand == 6
    assert books.ledger.commit(books.b, 0, [(second, late, 1.0, 1.0)])
    assert books.b.count_in_hand == 3
    books.ledger.check()


@pytest.mark.parametrize("tapped", [False, True])
@pytest.mark.parametrize("count", [1, 2, 2_500])
def test_data_alone_that_a_turn_has_released_is_what_its_emissions_are(count: int, *, tapped: bool) -> None:
    told = []
    for payloads in (None, [{"n": n} for n in range(count)]):
        books = Books()
        if not tapped:
            books.ledger.remove_tap(0, 0, books.tap)
        books.ledger.admit(books.entry, {"n": 0}, name="first")
        [(delivery, _)] = books.ledger.take(books.a)
        emissions = emissions_of([0] * count) if payloads is None else []
        for _ in range(2):
            assert books.ledger.release(books.a, 0, delivery, TurnPart(emissions, None, None, payloads), 1.0)
        assert books.a.in_hand[delivery].released == 2 * count
        books.commit(books.a, delivery, TurnResult([], []), 1.0)
        told.append(books.tell())
    assert told[0] == told[1]


def test_one_in_the_middle_of_a_block_is_done_with_by_itself() -> None:
    books = Books()
    books.fill(6)
    [(first, _)] = books.ledger.take_blocks(books.b, 6)
    numbers = range(first, first + 6)
    books.ledger.commit(books.b, 0, [(numbers[0], TurnResults(0.0, [1.0, 2.0], [], [0, 0]), 2.0, 2.0)])
    assert books.ledger.release(books.b, 0, numbers[2], TurnPart(emissions_of([0, 0]), None), 2.0)
    recorded = books.ledger.record_once(books.b, numbers[2], Once("key", b"1"))
    assert recorded is not None
    failed = books.ledger.count_failure(books.b, numbers[2], KILLED, 2.0, is_crash=True)
    assert failed is not None
    assert (failed.released, failed.failures, failed.crashes, failed.once) == (2, 1, 1, (Once("key", b"1"),))
    books.ledger.put_back(books.b, numbers[3:])
    ticket = books.ledger.set_aside(books.b, numbers[2:3], redelivered=True, due_at=9.0, holds=True)
    books.ledger.put_forward(books.b, ticket)
    waiting = list(messages_of(books.b.mailbox.waiting_held()))
    assert [message.seq for message in waiting] == [3, 4, 5, 6]
    assert [message.failures for message in waiting] == [1, 0, 0, 0]
    books.ledger.check()


def test_a_skipped_routine_is_sent_no_blocks_and_all_of_those_it_had_are_skipped() -> None:
    books = Books()
    books.fill(4)
    books.ledger.take_blocks(books.b, 2)
    books.ledger.skip_routine(books.b, 0.0)
    assert (books.b.skipped, len(books.b.mailbox)) == (2, 0)
    books.ledger.fence(books.b)
    assert books.b.skipped == 4
    books.fill(3)
    assert (books.b.skipped, len(books.b.mailbox)) == (7, 0)
    books.ledger.check()


def test_what_a_block_took_is_sampled_as_often_as_what_single_turns_took() -> None:
    together, model = Books(), Books()
    for books, commit in ((together, together.together), (model, model.one_by_one)):
        books.fill(4 * SAMPLES)
        for _ in range(2):
            commit(books.b, [[]] * 2 * SAMPLES)
            with books.ledger.lock:
                times = [time for time in books.ledger.fetch_times_held() if time.routine == books.b.index]
            [time] = times
            assert (time.turns, time.longest) == (2 * SAMPLES, 1.0)
            books.now += 1.0
            samples = time.samples
        assert len(samples) == pytest.approx(SAMPLES, abs=SAMPLES // 2 + 1)
    assert together.b.next_sample == model.b.next_sample


def test_of_a_routine_s_first_block_no_more_turns_are_samples_than_of_one_that_follows() -> None:
    books = Books()
    books.fill(8 * SAMPLES)
    for _ in range(2):
        books.together(books.b, [[]] * 4 * SAMPLES)
        with books.ledger.lock:
            [time] = [time for time in books.ledger.fetch_times_held() if time.routine == books.b.index]
        assert time.turns == 4 * SAMPLES
        assert len(time.samples) == pytest.approx(SAMPLES, abs=SAMPLES // 4)


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=80), min_size=1, max_size=4))
def test_the_longest_turn_of_all_blocks_is_found(told: list[list[int]]) -> None:
    books = Books()
    books.fill(sum(map(len, told)))
    longest = 0.0
    for took in told:
        [(first, _block)] = books.ledger.take_blocks(books.b, len(took))
        ats = list(itertools.accumulate(map(float, took), initial=books.now))
        books.now = ats[-1]
        results = TurnResults(ats[0], ats[1:], [], [0] * len(took))
        assert books.ledger.commit(books.b, 0, [(first, results, 0.0, books.now)])
        longest = max(longest, *took)
        assert books.b.longest == longest


def test_what_is_told_of_in_parts_is_taken_as_one_where_it_waits_together_and_each_has_waited_its_own_time() -> None:
    books = Books()
    books.fill(6)
    for turns in (2, 1, 3):
        books.now += 10.0
        books.together(books.b, [[0]] * turns)
    waiting = list(messages_of(books.d.mailbox.waiting_held()))
    [(first, block)] = books.ledger.take_blocks(books.d, 99)
    assert list(block.messages()) == waiting
    sent = [13.0] * 2 + [24.0] + [37.0] * 3
    assert [message.sent_at for message in waiting] == sent
    ats = [100.0 + n for n in range(1, 7)]
    assert books.ledger.commit(books.d, 0, [(first, TurnResults(100.0, ats, [], [0] * 6), 6.0, 106.0)])
    with books.ledger.lock:
        [time] = [time for time in books.ledger.fetch_times_held() if time.routine == books.d.index]
    assert time.samples == [(1.0, 100.0 + n - sent_at) for n, sent_at in enumerate(sent)]
    books.ledger.check()


# ---- Facts that are told of together


def test_commits_tell_of_each_turn_when_it_began_and_what_it_emitted() -> None:
    books = Books()
    books.fill(3)
    keys = [message.key for message in messages_of(books.b.mailbox.waiting_held())]
    books.together(books.b, [[0], [], [0]])
    with books.ledger.lock:
        _first, told = books.ledger.fetch_facts_held()
    assert isinstance(told, Commits)
    assert (len(told), told.at, told.kind, told.reason, count_facts([_first, told])) == (3, 4.0, "committed", None, 4)
    edge = told.edge
    assert list(told.facts()) == [
        Fact("committed", books.b.index, edge, to_bytes(key), 1, 2.0 + n, 1.0, (0,) if n != 1 else ())
        for n, key in enumerate(keys)
    ]


def test_connections_are_dated_by_what_is_told_together() -> None:
    books = Books()
    books.fill(5)
    books.together(books.b, [[0], [0], [0]])
    books.together(books.b, [[], [0]])
    with books.ledger.lock:
        books.ledger.fetch_facts_held()
        times = dict(zip([edge.label for edge in books.ledger.plan.edges], books.ledger.sent_at_held(), strict=True))
    assert times["b.one -> d.trigger"] == (4.0, 6.0)
    assert times["a.one -> b.trigger"] == (1.0, 1.0)
