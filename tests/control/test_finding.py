from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from routilux.control import frames
from routilux.control.finding import find_running
from routilux.control.folder import bind, list_sockets, new_path
from routilux.stores.owners import is_from_here


@pytest.fixture(autouse=True)
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("r")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setattr("routilux.control.folder.tempfile.gettempdir", lambda: str(folder))
    monkeypatch.setattr("routilux.control.folder._folders", lambda: [folder / "routilux"])
    return folder


class Programs:
    """Programs that take commands, as far as it takes to say who they are."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.silent: list[socket.socket] = []

    def serve(self, answer: bytes) -> Path:
        path = new_path()
        listener = bind(path)
        listener.setblocking(True)

        def run() -> None:
            with listener, listener.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(answer)

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()
        return path

    def hang(self) -> None:
        self.silent.append(bind(new_path()))


@pytest.fixture
def programs() -> Iterator[Programs]:
    made = Programs()
    yield made
    for thread in made.threads:
        thread.join(10)
    for listener in made.silent:
        listener.close()


def who(job_id: str, created_at: float) -> bytes:
    return frames.to_frame(
        frames.Identity(job_id=job_id, flow_id="f", status="running", created_at=created_at, pid=4711, store="")
    )


def test_running_jobs_say_who_they_are_oldest_first(programs: Programs) -> None:
    programs.serve(who("late", 2.0))
    path = programs.serve(who("early", 1.0))
    found = find_running()
    assert [job.identity.job_id for job in found] == ["early", "late"]
    assert (found[0].owner.pid, found[0].owner.control) == (4711, str(path))


def test_what_does_not_answer_or_answers_something_else_is_left_out(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routilux.control.finding.WHO_SECONDS", 0.2)
    programs.hang()
    programs.serve(b"HTTP/1.1 200 OK")
    programs.serve(b"")
    programs.serve(frames.to_frame(frames.Settled(count=1)))
    programs.serve(frames.to_frame(frames.Refused("ProtocolError", "no")))
    dead = new_path()
    bind(dead).close()
    (dead.parent / "1-0.sock").write_text("no socket")
    assert find_running() == []


def test_a_folder_that_others_may_enter_has_no_jobs_of_ours(programs: Programs, runtime: Path) -> None:
    path = programs.serve(who("a", 1.0))
    assert list_sockets() == [path]
    (runtime / "routilux").chmod(0o755)
    assert list_sockets() == []
    (runtime / "routilux").chmod(0o700)
    find_running()


def test_without_a_folder_nothing_runs() -> None:
    assert find_running() == []


def test_who_answers_is_known_to_be_of_this_machine(programs: Programs) -> None:
    path = programs.serve(who("job", 1.0))
    (found,) = find_running()
    assert (is_from_here(found.owner), found.owner.control) == (True, str(path))
