from __future__ import annotations

import shlex

import pytest

from routilux.cli.stored import in_words_of_commands


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3 messages are lost: drop=['parse.state']", "3 messages are lost: --drop parse.state"),
        ("drop=['source.n -> slow.input']", "--drop 'source.n -> slow.input'"),
        ('drop=["it\'s.state"], or', """--drop 'it'"'"'s.state', or"""),
        (
            "rename={'a b': its new id}, or drop=['a b.state']",
            "--rename 'a b'=NEW, or --drop 'a b.state'",
        ),
        ("give on_timeout='requeue'", "give --on-timeout requeue"),
        ("say allow_pickle=True", "say --allow-pickle"),
    ],
)
def test_what_an_error_says_to_do_may_be_pasted_into_a_shell(text: str, words: str) -> None:
    assert in_words_of_commands(text) == words


def test_a_connection_that_is_dropped_is_one_word_of_the_shell() -> None:
    told = in_words_of_commands("drop=['source.n -> slow.input']")
    assert shlex.split(told) == ["--drop", "source.n -> slow.input"]
