"""Messages are named by the beginnings of their ids, as short as can be and never those of another one."""

from __future__ import annotations

import pytest

from routilux.keeping.messages import DEAD, KeptMessage, match_messages, short_ids
from routilux.records.schema import MessageImage


def kept(digits: str) -> KeptMessage:
    return KeptMessage("parse", DEAD, MessageImage(0, 1, bytes.fromhex(digits.ljust(32, "0")), b""))


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        ([], []),
        (["abcd"], ["ab"]),
        (["abcd", "abce", "b000"], ["abcd", "abce", "b0"]),
        (["abcd", "abcd"], ["ab"]),
        (["a000", "b000", "c000"], ["a0", "b0", "c0"]),
    ],
)
def test_a_name_has_as_many_digits_as_it_takes_and_two_at_least(ids: list[str], names: list[str]) -> None:
    assert list(short_ids(ids, 2).values()) == names


def test_a_beginning_means_all_whose_ids_begin_so() -> None:
    messages = [kept("ab01"), kept("ab02"), kept("cd")]
    assert [len(match_messages(messages, start)) for start in ("ab", "ab01", "c", "e", "")] == [2, 1, 1, 0, 3]


def test_a_whole_id_means_that_message_alone() -> None:
    messages = [kept("ab01"), kept("ab01"), kept("ab02")]
    assert match_messages(messages, messages[0].id) == messages[:2]
