"""What goes in, through and out of the places of a job's messages."""

from __future__ import annotations

import pytest

from routilux.ledger import Admission
from routilux.messages import Once, TurnPart, TurnResult
from routilux.tracking.meters import SAMPLES
from supervisors.errors import InternalError
from tests.test_dispositions import KILLED, Books


def take(books: Books) -> int:
    assert books.ledger.admit(books.entry, {"n": 1}) is Admission.ADMITTED
    [(delivery, _)] = books.ledger.take(books.a)
    return delivery


def test_what_is_recorded_once_is_kept_by_another_object_in_place_of_the_message() -> None:
    books = Books()
    delivery = take(books)
    before = books.a.in_hand[delivery]
    assert books.ledger.record_once(books.a, delivery, Once("a", b"1"))
    assert books.ledger.record_once(books.a, delivery, Once("b", b"2"))

    assert before.once == ()
    assert books.a.in_hand[delivery].once == (Once("a", b"1"), Once("b", b"2"))
    books.ledger.check()


def test_what_was_recorded_goes_with_its_message_through_parts_retries_and_deaths() -> None:
    books = Books()
    once = Once("a", b"1")
    delivery = take(books)
    books.ledger.record_once(books.a, delivery, once)
    emission = (0, {"n": 1}, None, ())
    books.ledger.release(books.a, 0, delivery, TurnPart([emission], None), 0.0)
    books.ledger.release(books.a, 0, delivery, TurnPart([emission], []), 0.0)
    books.ledger.count_failure(books.a, delivery, KILLED, 0.0, is_crash=True)
    ticket = books.ledger.set_aside(books.a, (delivery,), redelivered=True, due_at=0.0, holds=False)
    books.ledger.put_forward(books.a, ticket)
    [(delivery, message)] = books.ledger.take(books.a)
    assert message.once == (once,)

    books.ledger.bury(books.a, delivery, KILLED, 0.0)
    books.ledger.redeliver_all(None, 0.0)
    [(delivery, message)] = books.ledger.take(books.a)
    assert message.once == (once,)

    books.ledger.commit(books.a, 0, [(delivery, TurnResult([emission], []), 0.0, 0.0)])
    assert [message.once for message in books.b.mailbox.waiting_held()] == [(), (), ()]
    books.ledger.check()


def test_what_comes_too_late_is_not_recorded() -> None:
    books = Books()
    delivery = take(books)
    books.ledger.put_back(books.a, (delivery,))
    assert not books.ledger.record_once(books.a, delivery, Once("a", b"1"))
    assert [message.once for message in books.a.mailbox.waiting_held()] == [()]


def test_a_key_is_never_recorded_twice() -> None:
    books = Books()
    delivery = take(books)
    books.ledger.record_once(books.a, delivery, Once("a", b"1"))
    with pytest.raises(InternalError, match=r"once\('a'\) of message .* was recorded twice"):
        books.ledger.record_once(books.a, delivery, Once("a", b"2"))
    assert books.a.in_hand[delivery].once == (Once("a", b"1"),)


def turn(books: Books, at: float, seconds: float, *, emits: int = 0, sent_at: float = 0.0) -> None:
    assert books.ledger.admit(books.entry, {"n": 1}, at=sent_at) is Admission.ADMITTED
    [(delivery, _)] = books.ledger.take(books.a)
    emission = (0, {"n": 1}, None, ())
    assert books.ledger.commit(books.a, 0, [(delivery, TurnResult([emission] * emits, []), seconds, at)])


def test_what_turns_took_and_how_long_their_messages_waited_is_given_once() -> None:
    books = Books()
    turn(books, 5.0, 1.0, sent_at=1.0)
    turn(books, 9.0, 2.0, sent_at=6.5)
    with books.ledger.lock:
        [times] = books.ledger.fetch_times_held()
        assert times == (books.a.index, 2, 3.0, 2.0, [(1.0, 3.0), (2.0, 0.5)])
        assert books.ledger.fetch_times_held() == []
    turn(books, 9.5, 0.25, sent_at=9.0)
    with books.ledger.lock:
        assert books.ledger.fetch_times_held() == [(books.a.index, 1, 0.25, 2.0, [(0.25, 0.25)])]


def test_of_a_routine_with_many_turns_every_so_manieth_is_a_sample_and_all_are_counted() -> None:
    books = Books()
    counts, longest = [], 0.0
    for batch in (SAMPLES, SAMPLES * 4, SAMPLES * 4, 1, 3):
        for number in range(batch):
            turn(books, 1.0, float(number))
        with books.ledger.lock:
            [times] = books.ledger.fetch_times_held()
        longest = max(longest, batch - 1.0)
        assert (times.turns, times.longest, times.seconds) == (batch, longest, sum(range(batch)))
        assert times.samples[0][0] == 0.0, "the first is known in any case"
        counts.append(len(times.samples))
    # The step is what the batch before asks for: of four times as many every fifth, since it is odd.
    assert counts == [SAMPLES, SAMPLES * 4, SAMPLES * 4 // 5 + 1, 1, 3]


def test_what_comes_in_a_rhythm_is_met_at_each_of_its_beats() -> None:
    books = Books()
    for period in (2, 4, 5, 8):
        beats: dict[float, int] = {}
        for batch in range(60):
            for number in range(128):
                turn(books, 1.0, float((batch * 128 + number) % period))
            with books.ledger.lock:
                [times] = books.ledger.fetch_times_held()
            for seconds, _ in times.samples:
                beats[seconds] = beats.get(seconds, 0) + 1
        assert len(beats) == period
        assert min(beats.values()) > 0.5 * sum(beats.values()) / period


def test_connections_are_dated_by_when_they_were_used() -> None:
    books = Books()
    labels = {edge.label: edge.index for edge in books.ledger.plan.edges}
    entry, item = labels["entry -> a"], labels["a.number -> b.trigger"]

    def dates() -> list[tuple[float | None, float | None]]:
        with books.ledger.lock:
            books.ledger.fetch_facts_held()
            found = books.ledger.sent_at_held()
        return [found[entry], found[item]]

    assert dates() == [(None, None), (None, None)]
    turn(books, 2.0, 0.0, emits=2, sent_at=1.0)
    turn(books, 4.0, 0.0, sent_at=3.0)
    assert dates() == [(1.0, 3.0), (2.0, 2.0)]
    turn(books, 6.0, 0.0, emits=1, sent_at=5.0)
    turn(books, 7.0, 0.0, emits=1, sent_at=5.5)
    assert dates() == [(1.0, 5.5), (2.0, 7.0)]
    books.ledger.redeliver([books.kill(books.a, released=1)], 8.0)
    assert dates()[1] == (2.0, 0.0), "by the release, whose time is told as 0.0 here"


def test_the_greatest_depth_of_a_mailbox_is_known_when_it_has_been_emptied() -> None:
    books = Books()
    for depth in (2, 5, 1):
        for n in range(depth):
            books.ledger.admit(books.entry, {"n": n})
        for delivery, _ in books.ledger.take(books.a, 10):
            books.ledger.commit(books.a, 0, [(delivery, TurnResult([], []), 0.0, 1.0)])
    assert (books.a.peak_waiting, len(books.a.mailbox)) == (5, 0)
