"""The books of a job, as a checkpoint has them: each message is somewhere, or it is told of which connection."""

from __future__ import annotations

import pytest

from routilux.accounts import RetryWait
from routilux.books import COUNTS, AccountBooks, Books, OutputBooks
from routilux.messages import Message
from supervisors.errors import InternalError


def message(edge: int, seq: int) -> Message:
    return Message(edge, seq, {}, seq)


ACCOUNT = AccountBooks(
    committed=({},),
    versions=(0,),
    in_hand=(message(0, 4),),
    waiting=(message(0, 5), message(1, 1)),
    retries=(RetryWait([message(0, 3)], 1.0, holds=True),),
    letters=(),
    status="running",
    error=None,
    is_skipped=False,
    counts=dict.fromkeys(COUNTS, 0),
)
BOOKS = Books(
    sent=[5, 1, 2],
    handled=[1, 0, 1],
    dead=[1, 0, 0],
    skipped=[0, 0, 0],
    accounts=(ACCOUNT,),
    outputs=(OutputBooks((message(2, 2),), (message(2, 1),)),),
    is_entry_open=False,
)
LABELS = ["a.x -> b.y", "entry -> b", "b.z -> output"]


def test_messages_that_wait_are_in_hand_are_tried_again_or_are_results_all_count() -> None:
    BOOKS.check(LABELS)
    assert [held.seq for held in ACCOUNT.held] == [4, 5, 1, 3]


@pytest.mark.parametrize(("edge", "label"), [*enumerate(LABELS)])
def test_a_message_too_few_or_too_many_is_told_with_its_connection(edge: int, label: str) -> None:
    for by, told in ((1, "+1"), (-1, "-1")):
        sent = [count + by * (number == edge) for number, count in enumerate(BOOKS.sent)]
        with pytest.raises(InternalError) as caught:
            BOOKS._replace(sent=sent).check(LABELS)
        assert str(caught.value) == f"what was cut does not add up: {label}: {told}"
