from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from routilux.cli.errors import CommandError
from routilux.cli.following import as_asked, follow
from routilux.cli.lookup import Found
from routilux.control import frames
from routilux.control.errors import CommandRefusedError
from routilux.control.folder import bind, new_path
from routilux.stores.base import Owner
from routilux.stores.owners import this_process

LOGGED = frames.Logged(lines=[], missed=0)
COMMAND = frames.Logs(job_id="a", follow=True)


@pytest.fixture
def program(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("r")))
    path = new_path()
    with bind(path) as listener:
        listener.setblocking(True)
        yield listener


def answer(listener: socket.socket, *answers: frames.Answer) -> tuple[Owner, threading.Thread]:
    def run() -> None:
        with listener.accept()[0] as connection:
            connection.recv(1000)
            for one in answers:
                connection.sendall(frames.to_frame(one))

    thread = threading.Thread(target=run)
    thread.start()
    return this_process(str(Path(listener.getsockname()).with_name(Path(listener.getsockname()).name[1:]))), thread


def found(owner: Owner, store_path: str = "jobs") -> Found:
    return Found("a", owner, None, store_path)


def test_answers_come_until_the_job_is_over_which_is_said(
    program: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    owner, thread = answer(program, LOGGED, LOGGED, frames.Ended("failed", "routine 'r'\x1b"))
    assert list(follow(found(owner), owner, COMMAND)) == [LOGGED, LOGGED]
    thread.join()
    told = "job a is failed: routine 'r'\\x1b; go on with it by: routilux resume a --store jobs\n"
    assert capsys.readouterr().err == told


def test_a_program_that_ends_without_a_word_is_told_as_lost(program: socket.socket) -> None:
    owner, thread = answer(program, LOGGED)
    answers = follow(found(owner), owner, COMMAND)
    assert next(answers) == LOGGED
    with pytest.raises(
        CommandError, match=r"is lost: process .* ended without a word; go on with it by: routilux resume"
    ):
        next(answers)
    thread.join()


def test_what_is_refused_is_told_as_it_is(program: socket.socket) -> None:
    owner, thread = answer(program, frames.Refused("UnknownRoutineError", "no such routine"))
    with pytest.raises(CommandRefusedError, match="no such routine"):
        next(follow(found(owner), owner, COMMAND))
    thread.join()


def test_ctrl_c_ends_the_following_alone(program: socket.socket) -> None:
    owner, thread = answer(program, LOGGED)
    answers = follow(found(owner), owner, COMMAND)
    next(answers)
    with pytest.raises(StopIteration):
        answers.throw(KeyboardInterrupt)  # type: ignore[attr-defined]  # it is a generator
    thread.join()


def test_an_answer_of_another_kind_than_was_asked_for_is_an_error() -> None:
    assert as_asked(LOGGED, frames.Logged, "a") is LOGGED
    with pytest.raises(CommandError, match="job 'a' gave another answer than was asked for"):
        as_asked(LOGGED, frames.Ended, "a")
