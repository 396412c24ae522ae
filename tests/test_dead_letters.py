"""The newest dead letters are kept, by their number, and their reasons in full as far as there is room."""

from __future__ import annotations

import pickle

import pytest

from routilux.causes import LEFT_OUT
from routilux.dead_letters import DeadLetter, DeadLetters
from routilux.messages import Message
from supervisors.errors import ValueDecodingError
from supervisors.reasons import ErrorRecord, Raised
from supervisors.wire.values import encode


def letter(seq: int, traceback: str = "") -> DeadLetter:
    message = Message(0, seq, {"n": seq}, seq)
    return DeadLetter("parse", message, Raised(ErrorRecord("ValueError", "bad", traceback)), 1, 0.0)


def test_a_letter_tells_its_cause_and_what_it_carried() -> None:
    assert letter(3).cause == "raised ValueError: bad"
    assert letter(3).data == {"n": 3}
    assert letter(3)._replace(message=Message(0, 3, encode({"n": 4}), 3)).data == {"n": 4}
    with pytest.raises(ValueDecodingError):
        _ = letter(3)._replace(message=Message(0, 3, b"nonsense", 3)).data
    assert pickle.loads(pickle.dumps(letter(3))) == letter(3)


def test_only_the_newest_are_kept() -> None:
    kept = DeadLetters(capacity=3)
    letters = [letter(seq) for seq in range(5)]
    for one in letters:
        kept.add(one)
    assert list(kept) == letters[2:]
    assert [kept.holds(one) for one in letters] == [False, False, True, True, True]


def test_old_reasons_keep_their_line_alone() -> None:
    kept = DeadLetters(reasons_bytes=25_000)
    letters = [letter(seq, "x" * 10_000) for seq in range(4)]
    for one in letters:
        kept.add(one)
    assert [one.reason.error.traceback for one in kept if isinstance(one.reason, Raised)] == [
        LEFT_OUT,
        LEFT_OUT,
        "x" * 10_000,
        "x" * 10_000,
    ]
    assert {one.cause for one in kept} == {"raised ValueError: bad"}
    assert all(map(kept.holds, letters)), "it is the same letter, with less to say"


def test_room_of_letters_that_are_gone_is_there_for_others() -> None:
    kept = DeadLetters(reasons_bytes=25_000)
    letters = [letter(seq, "x" * 10_000) for seq in range(3)]
    for one in letters[:2]:
        kept.add(one)
    kept.remove(letters[0])
    kept.add(letters[2])
    assert list(kept) == letters[1:]


def test_another_letter_about_the_same_message_is_not_the_same() -> None:
    kept = DeadLetters()
    kept.add(letter(1))
    assert not kept.holds(letter(1))
