"""What a cluster and its agents do wrong costs one worker, with its cause told, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest

from supervisors.errors import StartError
from supervisors.places.base import Lost
from supervisors.places.ray import tunnel
from supervisors.places.ray.agent import VERSION
from supervisors.places.ray.engine import AgentLostError, Demand, DirectAddress, Group, Hello, Piece
from supervisors.places.ray.tunnel import RemoteStarter
from supervisors.reasons import Crashed, Killed, ProtocolError, StartFailed
from supervisors.wire.frames import MAX_FRAME_BYTES
from tests.supervisors.places import test_remote
from tests.supervisors.places.bench import CLOSED, Driver
from tests.supervisors.places.fake_cluster import FakeAgent, FakeCluster

pytestmark = pytest.mark.processes


@contextmanager
def driven(cluster: FakeCluster | None = None, workers: int = 1, **options: Any) -> Iterator[Driver]:
    """Drive a place whose workers are agents of a cluster, of which nothing is left then."""
    cluster = FakeCluster() if cluster is None else cluster
    try:
        with test_remote.driven(cluster, workers, **options) as driver:
            yield driver
    finally:
        cluster.close()


UNAVAILABLE = AgentLostError("the actor is temporarily unavailable")


@contextmanager
def starting(cluster: FakeCluster, workers: int = 1, **options: Any) -> Iterator[Driver]:
    """Give a driver whose workers are being started."""
    starter = RemoteStarter(cluster, "bench", "tests", Demand(), timeout=20.0, is_weighed=False)
    driver = Driver(workers, starter=starter, **options)
    try:
        for number in range(workers):
            driver.place.start(number, b"")
        yield driver
    finally:
        driver.place.abort()
        driver.poller.close()


def end(driver: Driver, how: str) -> None:
    """End a place whose only worker is not there yet, in one of the ways there are."""
    if how == "close":
        driver.place.close(60.0)
        driver.run(lambda: driver.closed)
    elif how == "abort":
        driver.place.abort()
    else:
        driver.place.kill(0, Killed())
        driver.run(lambda: bool(driver.lost))
        assert driver.lost == [(0, Killed(), Lost(None, (), ()))]
        driver.close()
    assert driver.ready == []


@pytest.mark.parametrize("how", ["close", "abort", "kill"])
def test_a_cluster_that_takes_long_to_begin_keeps_nobody_waiting_who_ends(how: str) -> None:
    cluster = FakeCluster()
    cluster.is_begun.clear()
    with starting(cluster) as driver:
        end(driver, how)
        assert cluster.entered == 0
        cluster.is_begun.set()
        cluster.close()
    assert cluster.agents == []


class Late(FakeAgent):
    """Says hello when it is let to, or is ended; what it says then comes all the same."""

    is_let = threading.Event()
    is_asked = threading.Event()

    def say_hello(self, timeout: float) -> Hello:
        hello = super().say_hello(timeout)
        self.is_asked.set()
        assert self.is_let.wait(timeout)
        return hello

    def end(self) -> None:
        super().end()
        self.is_let.set()


@pytest.mark.parametrize("how", ["close", "abort", "kill"])
def test_an_agent_that_says_hello_when_nobody_wants_it_is_ended_before(how: str) -> None:
    cluster = FakeCluster(agent_type=Late)
    Late.is_let.clear()
    Late.is_asked.clear()
    with starting(cluster) as driver:
        assert Late.is_asked.wait(20.0)
        end(driver, how)
        cluster.close()
    assert cluster.entered == 1


def test_an_agent_for_which_there_is_no_room_is_ended_with_its_place() -> None:
    cluster = FakeCluster(cpus=0.0)
    with starting(cluster) as driver:
        while not cluster.agents:
            threading.Event().wait(0.001)
        end(driver, "close")
        cluster.close()  # not after the 20 s that it may wait for room


def test_a_place_that_has_ended_enters_no_cluster() -> None:
    cluster = FakeCluster()
    starter = RemoteStarter(cluster, "bench", "tests", Demand(), timeout=20.0, is_weighed=False)
    starter.membership.hold()
    starter.close()
    with pytest.raises(StartError, match=r"^its place was closed before it was started$"):
        starter.membership.hold()
    assert cluster.users == 1
    starter.membership.let_go()
    starter.close()
    assert (cluster.users, cluster.entered) == (0, 1)


class Dying(FakeAgent):
    """Dies before it says hello, unless somebody has died before it."""

    died = 0

    def say_hello(self, timeout: float) -> Hello:
        if not Dying.died:
            Dying.died = self.process.pid
            self.process.kill()
            self.process.wait()
        return super().say_hello(timeout)


def test_an_agent_that_dies_while_it_starts_is_a_worker_that_did_not() -> None:
    cluster = FakeCluster(agent_type=Dying)
    Dying.died = 0
    with starting(cluster) as driver:
        driver.run(lambda: bool(driver.lost))
        ((_number, reason, lost),) = driver.lost
        assert isinstance(reason, StartFailed)
        assert reason.error.text.endswith("the actor died unexpectedly before finishing this task")
        assert lost == Lost(None, (), ())
        driver.place.start(0, b"")
        driver.run(lambda: driver.ready)
        driver.close()
    cluster.close()


class Old(FakeAgent):
    """Is another version's."""

    def say_hello(self, timeout: float) -> Hello:
        return super().say_hello(timeout)._replace(version=VERSION + 1)


def test_an_agent_of_another_version_is_refused_and_ended() -> None:
    cluster = FakeCluster(agent_type=Old)
    with driven(cluster) as driver:
        ((_number, reason, _lost),) = driver.lost
        assert isinstance(reason, StartFailed)
        assert reason.error.text == (f"node fake has another version of this package ({VERSION + 1}, here {VERSION})")


class Unreachable(FakeAgent):
    """Cannot be reached any more once it was asked for it, and lives on."""

    is_gone = False

    def deliver(self, data: bytes, now: float, groups: Sequence[Group]) -> None:
        super().deliver(data, now, groups)
        if self.is_gone:
            raise UNAVAILABLE

    def read(self, reference: Future[Any]) -> Any:
        answer = super().read(reference)
        if self.is_gone:
            raise UNAVAILABLE
        return answer


def test_an_agent_that_is_given_up_is_ended_and_its_late_words_do_not_count() -> None:
    cluster = FakeCluster(agent_type=Unreachable, is_open=False)
    with driven(cluster) as driver:
        cluster.agents[0].is_gone = True  # type: ignore[attr-defined]
        seq = driver.ask("echo", "said, and never heard")
        driver.run(lambda: bool(driver.lost))
        ((_number, reason, lost),) = driver.lost
        assert str(reason).endswith("was lost: the actor is temporarily unavailable")
        assert lost == Lost(seq, (), ())
        assert driver.done == {}
        cluster.agents[0].process.wait()


class Deaf(FakeAgent):
    """Takes what the worker begins with, and a request; then it raises."""

    error: Exception = UNAVAILABLE
    taken = 0

    def deliver(self, data: bytes, now: float, groups: Sequence[Group]) -> None:
        self.taken += 1
        if self.taken > 2:
            raise self.error
        super().deliver(data, now, groups)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UNAVAILABLE, "was lost: the actor is temporarily unavailable"),
        (TypeError("cannot be serialized"), "was lost: TypeError: cannot be serialized"),
        (ConnectionResetError("reset"), "was lost: ConnectionResetError: reset"),
    ],
    ids=["loss", "error", "system"],
)
def test_a_delivery_that_cannot_be_made_is_the_loss_of_the_agent(error: Exception, told: str) -> None:
    class Own(Deaf):
        pass

    Own.error = error
    with driven(FakeCluster(agent_type=Own, is_open=False)) as driver:
        done = driver.ask("echo", 1)
        driver.run(lambda: done in driver.done)
        seq = driver.ask("echo", 2)
        driver.run(lambda: bool(driver.lost))
        ((_number, reason, lost),) = driver.lost
        assert str(reason).endswith(told)
        assert lost == Lost(seq, (), ())


class Odd(FakeAgent):
    """Has what it tells changed on its way, once it takes requests."""

    def read(self, reference: Future[Any]) -> Any:
        piece = super().read(reference)
        return self.change(piece) if isinstance(piece, Piece) and piece.page[2] else piece

    def change(self, piece: Piece) -> Any:
        """Give what comes instead."""
        raise NotImplementedError


def lose(agent_type: type[FakeAgent]) -> tuple[Any, Lost, int]:
    """Have a worker lost that runs a request; gives why, what was lost, and the request."""
    with driven(FakeCluster(agent_type=agent_type, is_open=False)) as driver:
        seq = driver.ask("echo", "on")
        driver.run(lambda: bool(driver.lost))
        ((_number, reason, lost),) = driver.lost
        assert driver.done == {}
    return reason, lost, seq


def test_an_agent_whose_words_end_early_is_lost() -> None:
    class Brief(Odd):
        def change(self, piece: Piece) -> Any:
            return None

    reason, _lost, _seq = lose(Brief)
    assert isinstance(reason, Crashed)
    assert str(reason).endswith("exited with code 0 without finishing its work")


def test_an_agent_whose_words_make_no_sense_breaks_the_protocol() -> None:
    class Mad(Odd):
        def change(self, piece: Piece) -> Any:
            return piece._replace(channel=b"not a frame, not at all")

    reason, lost, seq = lose(Mad)
    assert isinstance(reason, ProtocolError)
    assert lost == Lost(seq, (), ())


def test_an_engine_that_gives_what_is_no_piece_has_lost_the_agent() -> None:
    class Torn(Odd):
        def change(self, piece: Piece) -> Any:
            return piece[:2]

    reason, lost, seq = lose(Torn)
    assert isinstance(reason, Crashed)
    assert "was lost: AttributeError: " in str(reason)
    assert lost == Lost(seq, (), ())


class Cut(FakeAgent):
    """Is reached by a connection through another program, which can be cut."""

    def say_hello(self, timeout: float) -> Hello:
        hello = super().say_hello(timeout)
        assert hello.address is not None
        address = DirectAddress("127.0.0.1", self._listen(hello.address.port), hello.address.token)
        return hello._replace(address=address)

    def cut(self) -> None:
        """Cut it."""
        for end in self._ends:
            with contextlib.suppress(OSError):  # one end has noticed that the other was cut
                end.shutdown(socket.SHUT_RDWR)

    def _pass_on_end(self, target: socket.socket) -> None:
        target.shutdown(socket.SHUT_WR)

    def _listen(self, port: int) -> int:
        listener = socket.create_server(("127.0.0.1", 0))

        def carry(source: socket.socket, target: socket.socket) -> None:
            with source, target.dup() as own, contextlib.suppress(OSError):
                while data := source.recv(100_000):
                    with contextlib.suppress(OSError):  # that end was cut
                        own.sendall(data)
                self._pass_on_end(own)

        def accept() -> None:
            with listener:
                parent, _ = listener.accept()
            agent = socket.create_connection(("127.0.0.1", port))
            self._ends = parent, agent
            for ends in ((parent, agent), (agent, parent)):
                threading.Thread(target=carry, args=ends).start()

        threading.Thread(target=accept).start()
        return int(listener.getsockname()[1])


def test_an_agent_whose_connection_is_cut_is_lost_with_what_it_had_in_hand() -> None:
    cluster = FakeCluster(agent_type=Cut)
    with driven(cluster) as driver:
        seq = driver.ask("echo", "by another program")
        driver.run(lambda: seq in driver.done)
        seq = driver.ask("wait", 30.0)
        driver.hand_out()
        driver.run(lambda: driver.place.workers()[0].current == seq, look_every=0.01)
        cluster.agents[0].cut()  # type: ignore[attr-defined]
        driver.run(lambda: bool(driver.lost))
        ((_number, reason, lost),) = driver.lost
        assert "the connection to its parent broke" in str(reason)
        assert lost == Lost(seq, (), ())
    for thread in threading.enumerate():
        if "carry" in thread.name:
            thread.join()


class HalfCut(Cut):
    """Does not hear of the cut: whatever is between them forgets the connection, and tells the parent alone."""

    def cut(self) -> None:
        """Cut it on the parent's side."""
        self._ends[0].shutdown(socket.SHUT_RDWR)

    def _pass_on_end(self, target: socket.socket) -> None:
        pass


def test_an_agent_that_does_not_hear_that_its_connection_broke_is_lost_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tunnel, "BROKEN_SECONDS", 0.1)
    cluster = FakeCluster(agent_type=HalfCut)
    with driven(cluster) as driver:
        seq = driver.ask("echo", "by another program")
        driver.run(lambda: seq in driver.done)
        cluster.agents[0].cut()  # type: ignore[attr-defined]
        seq = driver.ask("echo", "to nobody")
        driver.run(lambda: bool(driver.lost))
        ((_number, reason, lost),) = driver.lost
        assert str(reason).endswith("was lost: the connection to it broke")
        assert lost == Lost(seq, (), ())
    for thread in threading.enumerate():
        if "carry" in thread.name:
            thread.join()


class Elsewhere(FakeAgent):
    """Tells an address at which nobody listens."""

    def say_hello(self, timeout: float) -> Hello:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
        return super().say_hello(timeout)._replace(address=DirectAddress("127.0.0.1", port, bytes(32)))


@pytest.mark.parametrize("agent_type", [Elsewhere, FakeAgent])
def test_where_there_is_no_connection_all_goes_by_the_engine(agent_type: type[FakeAgent]) -> None:
    cluster = FakeCluster(agent_type=agent_type, is_open=agent_type is Elsewhere)
    with driven(cluster) as driver:
        asked = [driver.ask("echo", n) for n in range(300)]
        driver.ask("say", "to out", "to err")
        driver.ask("stream", 5, 600)
        driver.run(lambda: len(driver.done) == 302 and len(driver.lines) == 2)
        assert [driver.done[seq] for seq in asked] == list(range(300))
        assert sorted(driver.lines) == [(0, "stderr", "to err"), (0, "stdout", "to out")]
        assert [part for _seq, part in driver.parts] == [0, 1, 2, 3, 4]


class Silent(FakeAgent):
    """Cannot be asked where it is."""

    def ask_stack(self) -> None:
        raise UNAVAILABLE


def test_a_worker_that_cannot_be_asked_for_its_stack_goes_on() -> None:
    with driven(FakeCluster(agent_type=Silent)) as driver:
        driver.place.ask_stacks()
        (at,) = driver.place.read_stacks()
        assert at.text == ""
        seq = driver.ask("echo", "on")
        driver.run(lambda: seq in driver.done)


def test_an_abort_leaves_nothing_with_the_poller_of_its_actor() -> None:
    cluster = FakeCluster()
    with driven(cluster, 2) as driver:
        driver.ask("wait", 30.0)
        driver.hand_out()
        driver.place.abort()
        assert len(driver.poller._callbacks) == 1  # what wakes it
        driver.closed = 1


def test_where_no_thread_can_be_had_the_worker_has_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("supervisors-remote"):
            raise RuntimeError("can't start new thread")
        start(thread)

    cluster = FakeCluster()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with driven(cluster) as driver:
        ((_number, reason, _lost),) = driver.lost
        assert isinstance(reason, StartFailed)
        assert reason.error.text == "can't start new thread"


def test_a_long_frame_is_cut_by_nobody_on_its_way() -> None:
    with driven() as driver:
        size = 8 * 2**20
        assert size < MAX_FRAME_BYTES
        seq = driver.ask("echo", b"x" * size)
        driver.run(lambda: seq in driver.done)
        assert driver.done[seq] == b"x" * size


def test_workers_that_are_killed_and_started_again_and_again_leave_nothing() -> None:
    cluster = FakeCluster()
    with driven(cluster) as driver:
        for _ in range(8):
            driver.place.kill(0, CLOSED)
            driver.run(lambda: driver.lost)
            driver.lost.clear()
            driver.place.start(0, b"")
        driver.run(lambda: len(driver.ready) >= 2)
    assert cluster.entered == 1
