from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator

import pytest

from supervisors.parking import LockParker, Parker, Poller

WAIT = 10.0


@pytest.fixture(params=[LockParker, Poller])
def parker(request: pytest.FixtureRequest) -> Iterator[Parker]:
    made: Parker = request.param()
    yield made
    made.close()


@pytest.fixture
def poller() -> Iterator[Poller]:
    made = Poller()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_an_unpark_before_the_park_is_remembered_once(parker: Parker) -> None:
    parker.unpark()
    parker.unpark()
    parker.park(None)
    parker.park(0.0)  # returns by its timeout


def test_an_unpark_from_another_thread_wakes(parker: Parker) -> None:
    woken = threading.Event()

    def sleep() -> None:
        parker.park(None)
        woken.set()

    thread = threading.Thread(target=sleep, daemon=True)
    thread.start()
    parker.unpark()
    assert woken.wait(WAIT)
    thread.join(WAIT)


def test_a_negative_timeout_is_none_at_all(parker: Parker) -> None:
    parker.park(-1.0)


def test_unpark_after_close_does_nothing(parker: Parker) -> None:
    parker.close()
    parker.unpark()


def test_a_poller_calls_back_for_what_is_ready(poller: Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    got: list[bytes] = []
    poller.watch(one.fileno(), selectors.EVENT_READ, lambda _: got.append(one.recv(10)))
    other.send(b"x")
    poller.park(WAIT)
    assert got == [b"x"]
    poller.unwatch(one.fileno())
    poller.unwatch(one.fileno())
    other.send(b"y")
    poller.park(0.0)
    assert got == [b"x"]


def test_watching_again_replaces_the_callback(poller: Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    one, _ = pair
    got: list[str] = []
    poller.watch(one.fileno(), selectors.EVENT_READ, lambda _: got.append("first"))
    poller.watch(one.fileno(), selectors.EVENT_WRITE, lambda _: got.append("second"))
    poller.park(WAIT)
    assert got == ["second"]
    poller.unwatch(one.fileno())


def test_a_callback_may_unwatch_another_that_is_ready(poller: Poller) -> None:
    with _pairs(2) as ends:
        got: list[int] = []

        def make(index: int) -> None:
            def on_ready(_: int) -> None:
                got.append(index)
                for one, _other in ends:
                    poller.unwatch(one.fileno())

            poller.watch(ends[index][0].fileno(), selectors.EVENT_READ, on_ready)

        make(0)
        make(1)
        for _one, other in ends:
            other.send(b"x")
        poller.park(WAIT)
        assert len(got) == 1


class _pairs:  # noqa: N801  used as a function
    def __init__(self, count: int) -> None:
        self._ends = [socket.socketpair() for _ in range(count)]

    def __enter__(self) -> list[tuple[socket.socket, socket.socket]]:
        return self._ends

    def __exit__(self, *_: object) -> None:
        for one, other in self._ends:
            one.close()
            other.close()
