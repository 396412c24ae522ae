"""What goes in, through and out of the places of a job's messages."""

from __future__ import annotations

import pytest

from routilux.ledger import Admission
from routilux.messages import Emission, Once, TurnPart, TurnResult
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
    emission = Emission(0, {"n": 1}, None)
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

    books.ledger.commit(books.a, 0, delivery, TurnResult([emission], []), 0.0, 0.0)
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
