from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from routilux.control import frames
from routilux.control.client import ask
from routilux.control.errors import CommandRefusedError, ControlError, ProtocolError, UnreachableError
from routilux.control.folder import bind, new_path
from routilux.stores.base import Owner
from routilux.stores.owners import this_process


@pytest.fixture(autouse=True)
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("r")))


def serve(answer: bytes) -> tuple[Owner, Callable[[], None]]:
    """Give an owner that answers one command so, and what waits for its end."""
    path = new_path()
    listener = bind(path)
    listener.setblocking(True)

    def run() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(1000)
            connection.sendall(answer)

    thread = threading.Thread(target=run)
    thread.start()
    return this_process(str(path)), thread.join


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (frames.to_frame(frames.Refused("PauseTimeoutError", "busy")), CommandRefusedError, "busy"),
        (b"", UnreachableError, "it ended before it answered"),
        (b"RC", ProtocolError, "ends in its middle"),
        (frames.to_frame(frames.Resumed(was_paused=True))[:-1], ProtocolError, "ends in its middle"),
        (b"HTTP/1.1 200 OK", ProtocolError, "does not begin"),
        (b"RC\x01\0\xff\xff\xff\xff", ProtocolError, "are announced"),
        (frames.to_frame(frames.Resume("a")), ProtocolError, "it is no answer"),
    ],
)
def test_what_is_no_answer_is_a_typed_error(answer: bytes, error: type[ControlError], told: str) -> None:
    owner, join = serve(answer)
    with pytest.raises(error, match=told):
        ask(owner, frames.Resume("a"))
    join()


def test_an_answer_that_does_not_come_in_time_is_told() -> None:
    path = new_path()
    with bind(path), pytest.raises(UnreachableError, match=r"did not answer in time$"):
        ask(this_process(str(path)), frames.Status("a"), timeout=0.05)
    with bind(new := new_path()), pytest.raises(UnreachableError, match="what was asked may still be carried out"):
        ask(this_process(str(new)), frames.Cancel("a"), timeout=0.05)


def test_who_cannot_be_reached_is_told() -> None:
    owner = this_process()
    with pytest.raises(UnreachableError, match="takes no commands"):
        ask(owner, frames.Resume("a"))
    with pytest.raises(UnreachableError, match="commands stay on one machine"):
        ask(msgspec.structs.replace(owner, host="elsewhere"), frames.Resume("a"))
    path = new_path()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    path.chmod(0o600)
    with pytest.raises(UnreachableError, match="takes no commands any more"):
        ask(this_process(str(path)), frames.Resume("a"))
    os.unlink(path)  # noqa: PTH108  the shortest
    with pytest.raises(UnreachableError, match="No such file"):
        ask(this_process(str(path)), frames.Resume("a"))


def test_a_socket_that_others_may_use_is_not_used() -> None:
    path = new_path()
    with bind(path):
        Path(path).chmod(0o606)
        with pytest.raises(ControlError, match="is open to others"):
            ask(this_process(str(path)), frames.Resume("a"))
