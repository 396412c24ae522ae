from __future__ import annotations

import shlex
import sys

import pytest

from routilux.cli.main import main
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


@pytest.mark.parametrize("words", [["jobs"], ["show", "a"], ["resume", "a"], ["ps", "a"], ["clean", "--all"]])
def test_a_database_takes_an_extra_and_its_password_is_not_told(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setenv("ROUTILUX_STORE", "postgresql://ada:s3cret@db/jobs")
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("routilux: a store in PostgreSQL needs psycopg 3")
    assert told.err.endswith("pip install 'routilux[postgres]'\n")
    assert "s3cret" not in told.err


def test_a_url_that_cannot_be_read_is_refused_and_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "--store", "postgresql://ada:s3/cret@db/jobs"]) == 2
    told = capsys.readouterr().err
    assert "this URL cannot be read" in told
    assert "cret" not in told
