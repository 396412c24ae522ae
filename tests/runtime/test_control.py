"""Jobs take commands over their sockets. The commands come from the same program: a socket does not care."""

from __future__ import annotations

import errno
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from routilux import Flow, Job, JobStatus, routine
from routilux.control import frames
from routilux.control.client import ask
from routilux.control.door import Door
from routilux.control.errors import CommandRefusedError, UnreachableError
from routilux.runtime.control import VISITORS
from routilux.stores import FileStore, MemoryStore
from routilux.stores.base import Owner

EVENTS: dict[str, threading.Event] = {}


@routine
def wait(data: Any) -> None:
    """Wait for the test."""
    EVENTS["begun"].set()
    assert EVENTS["gate"].wait(30)


@pytest.fixture(autouse=True)
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("r")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    EVENTS.update(begun=threading.Event(), gate=threading.Event())
    yield folder
    EVENTS["gate"].set()


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "jobs")


def start(store: FileStore | MemoryStore, **options: Any) -> tuple[Job, Owner]:
    flow = Flow("waiting")
    flow.add_routine(wait, "wait")
    job = flow.start(store=store, job_id="a", keep_open=True, **options)
    owner = store.owner("a")
    assert owner is not None
    return job, owner


def test_a_job_does_as_it_is_told_and_tells_how_it_is(store: FileStore) -> None:
    job, owner = start(store)
    kept = ask(owner, frames.Pause("a", "lunch"))
    assert isinstance(kept, frames.Kept)
    assert kept.checkpoint is not None
    assert (kept.checkpoint.cause, job.status, job.state.pause_points[0].reason) == ("pause", "paused", "lunch")
    assert ask(owner, frames.Pause("a")) == kept
    assert ask(owner, frames.Resume("a")) == frames.Resumed(was_paused=True)
    assert ask(owner, frames.Resume("a")) == frames.Resumed(was_paused=False)
    asked = ask(owner, frames.Checkpoint("a"))
    assert isinstance(asked, frames.Kept)
    assert asked.checkpoint == job.last_checkpoint
    now = ask(owner, frames.Status("a"))
    assert isinstance(now, frames.Now)
    assert (now.status, now.checkpoint, [told.id for told in now.routines]) == ("running", asked.checkpoint, ["wait"])
    assert ask(owner, frames.Cancel("a", "enough")) == frames.Ended("cancelled", "enough")
    assert job.wait(10).status is JobStatus.CANCELLED
    with pytest.raises(UnreachableError):
        ask(owner, frames.Status("a"))
    assert list(Path(owner.control).parent.iterdir()) == []


def test_a_job_that_is_left_can_be_resumed_at_once(store: FileStore) -> None:
    job, owner = start(store)
    assert ask(owner, frames.Leave("a", "home")) == frames.Ended("paused", None)
    assert job.wait(10).status is JobStatus.PAUSED
    flow = Flow("waiting")
    flow.add_routine(wait, "wait")
    with Flow.resume(store, "a", flow=flow) as again:
        assert [point.reason for point in again.state.pause_points] == ["home"]


def test_what_the_job_does_not_do_is_refused_with_the_name_of_the_error(store: FileStore) -> None:
    job, owner = start(store)
    job.send("wait", "input", n=1)
    assert EVENTS["begun"].wait(10)
    with pytest.raises(CommandRefusedError, match="routine 'wait' is still at message") as raised:
        ask(owner, frames.Pause("a", timeout=0.05))
    assert raised.value.kind == "PauseTimeoutError"
    with pytest.raises(CommandRefusedError, match="expected on_timeout to be"):
        ask(owner, frames.Pause("a", on_timeout="hope"))
    with pytest.raises(CommandRefusedError, match="was sent a command to job 'b'"):
        ask(owner, frames.Resume("b"))
    EVENTS["gate"].set()
    job.close_entry()
    assert job.wait(10).status is JobStatus.COMPLETED


def test_who_waits_for_a_pause_when_the_job_ends_is_told(store: FileStore) -> None:
    job, owner = start(store, shutdown=20.0)
    job.send("wait", "input", n=1)
    assert EVENTS["begun"].wait(10)
    told: list[CommandRefusedError] = []

    def pause() -> None:
        with pytest.raises(CommandRefusedError) as raised:
            ask(owner, frames.Pause("a", timeout=None))
        told.append(raised.value)

    thread = threading.Thread(target=pause)
    thread.start()
    _await_hold(job)
    job.cancel("enough")
    EVENTS["gate"].set()
    thread.join(20)
    assert [error.kind for error in told] == ["JobEndedError"]
    job.wait(10)


def _await_hold(job: Job) -> None:
    never = threading.Event()
    while not job.ledger.hold:
        assert not never.wait(0.005)


def test_nonsense_closes_its_own_connection_and_nothing_else(store: FileStore) -> None:
    job, owner = start(store)
    for data in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"RC\x01\0\xff\xff\xff\xff",
        b"RC\x01\0\x01\0\0\0\xc1",
        b"RC\x01\0\0\0\0\0xx",
    ):
        with _connect(owner) as visitor:
            visitor.sendall(data)
            assert _read_all(visitor)[:2] == b"RC"
    with _connect(owner):
        pass  # comes and goes
    assert isinstance(ask(owner, frames.Status("a")), frames.Now)
    job.cancel_and_wait()


def test_a_command_may_come_byte_by_byte(store: FileStore) -> None:
    job, owner = start(store)
    with _connect(owner) as visitor:
        for byte in frames.to_frame(frames.Resume("a")):
            visitor.sendall(bytes([byte]))
        assert frames.read_answer(_read_all(visitor)[frames.HEADER_BYTES :]) == frames.Resumed(was_paused=False)
    job.cancel_and_wait()


def test_more_visitors_than_are_let_in_wait_for_room(store: FileStore) -> None:
    job, owner = start(store)
    waiting = [_connect(owner) for _ in range(VISITORS)]
    with _connect(owner) as late:
        late.sendall(frames.to_frame(frames.Resume("a")))
        assert not _is_readable(late, 0.1)
        waiting.pop().close()
        assert _is_readable(late, 10)
    for visitor in waiting:
        visitor.close()
    job.cancel_and_wait()


def test_a_command_whose_sender_has_gone_is_not_carried_out(store: FileStore) -> None:
    job, owner = start(store)
    waiting = [_connect(owner) for _ in range(VISITORS)]
    with _connect(owner) as late:
        late.sendall(frames.to_frame(frames.Cancel("a")))
    waiting.pop().close()  # only now it is let in
    # The job's supervisor is told in this order.
    assert ask(owner, frames.Resume("a"), 10) == frames.Resumed(was_paused=False)
    for visitor in waiting:
        visitor.close()
    job.cancel_and_wait()


def test_a_fault_of_ours_ends_one_visit_alone(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise LookupError("of ours")

    monkeypatch.setattr("routilux.runtime.control.answer_query", fail)
    monkeypatch.setattr("routilux.observe.Sampler.look", fail)
    job, owner = start(store)
    for command in (frames.Letters(job_id="a"), frames.Look(job_id="a")):
        with pytest.raises(CommandRefusedError, match=r"whose log tells more: LookupError") as raised:
            ask(owner, command, 10)
        assert raised.value.kind == "InternalError"
    assert caplog.text.count("LookupError: of ours") == 2
    assert isinstance(ask(owner, frames.Status("a"), 10), frames.Now)
    job.cancel_and_wait()


def test_a_visitor_for_whom_no_descriptor_is_left_waits_and_costs_nothing(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routilux.runtime.control.FULL_SECONDS", 0.02)
    looked: list[float] = []

    class Crowded(Door):
        """Has no descriptor for a visitor, three times."""

        def __init__(self, path: Path, listener: socket.socket) -> None:
            super().__init__(path, listener)
            self.listener = self  # type: ignore[assignment]
            self._real = listener
            self.fileno = listener.fileno

        def accept(self) -> Any:
            looked.append(time.monotonic())
            if len(looked) <= 3:
                raise OSError(errno.EMFILE, "Too many open files")
            return self._real.accept()

        def close(self) -> None:
            self.listener = self._real
            super().close()

    monkeypatch.setattr("routilux.runtime.visits.Door", Crowded)
    job, owner = start(store)
    assert ask(owner, frames.Resume("a"), 10) == frames.Resumed(was_paused=False)
    assert len(looked) == 4
    assert looked[-1] - looked[0] > 0.03, "it was left alone between"
    job.cancel_and_wait()


def test_visitors_are_sent_away_when_the_job_ends(store: FileStore) -> None:
    job, owner = start(store)
    with _connect(owner) as visitor:
        job.cancel_and_wait()
        assert _read_all(visitor) == b""


def test_a_job_in_memory_takes_no_commands() -> None:
    job, owner = start(MemoryStore())
    assert owner.control == ""
    job.cancel_and_wait()


def test_a_job_runs_where_there_can_be_no_socket(
    store: FileStore, runtime: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (runtime / "routilux").mkdir()
    (runtime / "routilux").chmod(0o777)
    job, owner = start(store)
    assert owner.control == ""
    assert "takes no commands from other programs" in caplog.text
    job.cancel_and_wait()


def _connect(owner: Owner) -> socket.socket:
    visitor = socket.socket(socket.AF_UNIX)
    visitor.settimeout(10)
    visitor.connect(owner.control)
    return visitor


def _read_all(visitor: socket.socket) -> bytes:
    data = b""
    while part := visitor.recv(4096):
        data += part
    return data


def _is_readable(visitor: socket.socket, seconds: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(visitor, selectors.EVENT_READ)
        return bool(selector.select(seconds))
