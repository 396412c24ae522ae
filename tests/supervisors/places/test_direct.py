"""What an agent and its parent tell each other by a connection of their own comes whole, in order, to them alone."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import msgspec
import pytest

from supervisors.places.base import Used
from supervisors.places.process.page import NOTHING, PageView
from supervisors.places.ray import direct
from supervisors.places.ray.direct import DirectClient, DirectServer
from supervisors.places.ray.engine import OBJECTS_UNTOLD, DirectAddress, Group, News, Piece

HOST = "127.0.0.1"
PATIENCE = 30.0
AT = PageView(7, 12.25, 3)
"""What the agent's worker is on."""


class End:
    """An agent's end, and what came there."""

    def __init__(self) -> None:
        self.taken: queue.SimpleQueue[tuple[bytes, float, Sequence[Group]]] = queue.SimpleQueue()
        self.broken = threading.Event()
        self.fails = False
        self.server = DirectServer(HOST)

    def take(self, data: memoryview, now: float, groups: Sequence[Group]) -> None:
        if self.fails:
            raise OSError("its worker takes nothing more")
        self.taken.put((bytes(data), now, groups))

    def take_bytes(self, size: int) -> bytes:
        """Give so many bytes that came, in however many parts."""
        data = b""
        while len(data) < size:
            data += self.taken.get(timeout=PATIENCE)[0]
        return data

    def connect(self) -> DirectClient:
        client = DirectClient(self.server.address)
        self.server.begin(lambda: AT, self.take, self.broken.set)
        return client

    def close(self) -> None:
        for thread in threading.enumerate():
            if thread.name == "supervisors-direct":
                thread.join(PATIENCE)
                assert not thread.is_alive()


@pytest.fixture
def end() -> Iterator[End]:
    """Give an agent's end, of whose thread nothing is left once its parent has gone."""
    end = End()
    yield end
    end.close()


@pytest.fixture
def client(end: End) -> Iterator[DirectClient]:
    """Give the parent's."""
    client = end.connect()
    yield client
    client.end()
    client.close()


def news(number: int, stdout: bytes = b"") -> News:
    return News(stdout, b"", None, number)


def told(number: int, stdout: bytes = b"") -> Piece:
    return Piece(b"", 0, AT, news(number, stdout))


FULL = News(
    b"out\xff",
    b"err\n",
    'File "flow.py", line 1 \u2713',
    2**40,
    (1, 2**62),
    Used(1.5, 99.0, 1, 2),
)


def test_what_the_parent_sends_comes_whole_and_in_order(end: End, client: DirectClient) -> None:
    sizes = 1, 100_000, 3_000_000, 2
    for number, size in enumerate(sizes):
        client.send(memoryview(bytes([number]) * size), float(number), ())
    assert end.take_bytes(sum(sizes)) == b"".join(bytes([number]) * size for number, size in enumerate(sizes))


def test_objects_and_the_clock_go_ahead_of_the_bytes_that_they_are_for(end: End, client: DirectClient) -> None:
    groups = [[(2**62, b"carried"), (1, b"")], [(3, b"\xff")]]
    client.send(memoryview(b"requests"), 12.5, groups)
    client.send(memoryview(b"more"), 13.5, ())
    data, now, came = end.taken.get(timeout=PATIENCE)
    assert (data, now) == (b"requests", 12.5)
    assert [[tuple(named) for named in group] for group in came] == groups
    assert end.taken.get(timeout=PATIENCE) == (b"more", 13.5, ())


def test_objects_of_bytes_that_come_in_parts_are_given_once(
    end: End, client: DirectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 3 * direct._PART_BYTES
    client.send(memoryview(bytes(size)), 1.0, [[(1, b"carried")]])
    came: list[Group] = []
    while size:
        data, _now, groups = end.taken.get(timeout=PATIENCE)
        size -= len(data)
        came += groups
    assert [[tuple(named) for named in group] for group in came] == [[(1, b"carried")]]


def test_what_the_agent_tells_comes_whole_and_in_order(end: End, client: DirectClient) -> None:
    large = bytearray(range(256)) * 10_000

    def tell() -> None:
        end.server.tell(FULL)
        end.server.say_put()
        end.server.sendall(bytearray(b"small"))
        end.server.sendall(large)
        end.server.tell(news(2, bytes(3_000_000)))
        end.server.finish()

    teller = threading.Thread(target=tell)
    teller.start()
    heard = client.hear()
    assert [next(heard) for _ in range(2)] == [Piece(b"", 0, AT, FULL), Piece(b"small", 1, AT, None)]
    came = bytearray()
    while len(came) < len(large):
        came += next(heard).channel
    assert came == large
    assert list(heard) == [told(2, bytes(3_000_000))]
    teller.join()


def test_a_worker_that_is_on_nothing_is_told_as_that(end: End, client: DirectClient) -> None:
    end.server._look = lambda: NOTHING
    end.server.sendall(bytearray(b"frame"))
    assert next(client.hear()) == Piece(b"frame", 0, NOTHING, None)


def test_objects_are_told_with_what_is_told_next_or_by_themselves_when_they_are_many(
    end: End, client: DirectClient
) -> None:
    for _ in range(OBJECTS_UNTOLD + 1):
        end.server.say_put()
    end.server.tell(news(0))
    end.server.tell(news(1))
    heard = client.hear()
    assert [next(heard) for _ in range(3)] == [
        Piece(b"", OBJECTS_UNTOLD, AT, None),
        Piece(b"", 1, AT, news(0)),
        Piece(b"", 0, AT, news(1)),
    ]


def test_what_was_told_before_the_end_is_heard(end: End, client: DirectClient) -> None:
    client.send(memoryview(b"boot"), 1.0, ())
    end.taken.get(timeout=PATIENCE)
    end.server.tell(news(0))
    end.server.tell(news(1))
    end.server.finish()
    assert list(client.hear()) == [told(0), told(1)]
    assert end.broken.wait(PATIENCE), "nobody listens any more"


def test_many_threads_may_tell(end: End, client: DirectClient) -> None:
    def tell(letter: bytes) -> None:
        for _ in range(200):
            end.server.sendall(bytearray(letter * 1_000))

    threads = [threading.Thread(target=tell, args=(letter,)) for letter in (b"a", b"b")]
    for thread in threads:
        thread.start()
    heard = client.hear()
    came = b""
    while len(came) < 400_000:
        came += bytes(next(heard).channel)
    said = [came[at : at + 1_000] for at in range(0, len(came), 1_000)]
    assert sorted(said) == [b"a" * 1_000] * 200 + [b"b" * 1_000] * 200
    for thread in threads:
        thread.join()


def test_a_parent_that_goes_away_is_noticed(end: End) -> None:
    client = end.connect()
    client.end()
    client.close()
    assert end.broken.wait(PATIENCE)
    end.close()
    end.server.tell(news(0))  # to nobody: who was to be told of it was


def test_a_parent_that_has_gone_before_its_worker_began_is_noticed_then(end: End) -> None:
    client = DirectClient(end.server.address)
    client.end()
    client.close()
    end.close()
    assert not end.broken.is_set()
    end.server.begin(lambda: AT, end.take, end.broken.set)
    assert end.broken.wait(PATIENCE)


def test_bytes_that_cannot_be_taken_break_it(end: End, client: DirectClient) -> None:
    end.fails = True
    client.send(memoryview(b"boot"), 1.0, ())
    assert end.broken.wait(PATIENCE)


def test_who_waits_at_it_is_let_go_when_it_is_ended(end: End, client: DirectClient) -> None:
    heard: list[Piece] = []
    waiting = threading.Thread(target=lambda: heard.extend(client.hear()))
    waiting.start()
    client.end()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert heard == []
    client.send(memoryview(b"to nobody"), 1.0, ())  # whoever listens to the agent hears of its end
    end.close()
    assert end.taken.empty()


def test_what_is_no_news_ends_it(end: End, client: DirectClient) -> None:
    end.server._tell(b"\xc1")
    with pytest.raises(msgspec.DecodeError):
        list(client.hear())
    assert end.broken.wait(PATIENCE)


def test_what_are_no_objects_break_it(end: End, client: DirectClient) -> None:
    client._end.send(direct._DELIVERY.pack(1.0, 1, 4), b"\xc1", b"boot")
    assert end.broken.wait(PATIENCE)
    assert end.taken.empty()


def test_what_is_longer_than_can_be_is_not_read(
    end: End, client: DirectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "_MOST_BYTES", 1_000)
    end.server.tell(news(0))
    with contextlib.suppress(OSError):
        end.server.tell(news(1, bytes(1_001)))
    assert list(client.hear()) == [told(0)]
    assert end.broken.wait(PATIENCE)


def send_away(address: DirectAddress, said: bytes) -> bytes:
    """Say something as a stranger; gives what is answered until the other side closes."""
    with socket.create_connection((address.host, address.port), PATIENCE) as stranger:
        stranger.sendall(said)
        try:
            stranger.shutdown(socket.SHUT_WR)
            return stranger.recv(100)
        except OSError:  # it was closed, or had been
            return b""


@pytest.mark.parametrize("said", [b"", b"short", bytes(32), bytes(100)])
def test_a_stranger_is_sent_away_and_the_parent_let_in_behind_it(end: End, said: bytes) -> None:
    assert send_away(end.server.address, said) == b""
    client = end.connect()
    client.send(memoryview(b"boot"), 1.0, ())
    assert end.taken.get(timeout=PATIENCE) == (b"boot", 1.0, ())
    client.end()
    client.close()


def test_a_stranger_that_says_nothing_keeps_the_parent_waiting_for_a_while_only(
    end: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "CONNECT_SECONDS", 0.05)
    address = end.server.address
    with socket.create_connection((address.host, address.port), PATIENCE) as stranger:
        assert stranger.recv(1) == b""
    monkeypatch.undo()
    client = end.connect()
    client.end()
    client.close()


def test_a_stranger_that_says_byte_by_byte_is_sent_away_at_once(end: End) -> None:
    address = end.server.address
    with socket.create_connection((address.host, address.port), PATIENCE) as stranger:
        stranger.sendall(address.token[:1])
        stranger.settimeout(direct.CONNECT_SECONDS / 2)
        with contextlib.suppress(ConnectionResetError):
            assert stranger.recv(1) == b""
    client = end.connect()
    client.end()
    client.close()


def test_strangers_do_not_keep_it_listening(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(direct, "time", SimpleNamespace(monotonic=lambda: now[0]))
    end = End()
    assert send_away(end.server.address, b"") == b""
    now[0] += direct.ACCEPT_SECONDS + 1.0
    with contextlib.suppress(ConnectionRefusedError):  # if it waits for one at all, that is the last
        assert send_away(end.server.address, b"") == b""
    end.close()
    with pytest.raises(ConnectionRefusedError):
        end.connect()


def test_both_ends_ask_whether_the_other_is_still_there(end: End, client: DirectClient) -> None:
    for one in (end.server._client, client._end):
        assert one._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert one._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 6


def test_what_could_not_be_sent_whole_is_followed_by_nothing(
    end: End, client: DirectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(direct._End, "send", lambda *_arguments: os.fstat(-1))
        client.send(memoryview(b"not sent"), 1.0, ())
    client.send(memoryview(b"what is behind it"), 2.0, ())
    assert end.broken.wait(PATIENCE)
    assert end.taken.empty()


def test_an_agent_whose_parent_never_comes_listens_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "ACCEPT_SECONDS", 0.01)
    end = End()
    end.close()
    with pytest.raises(ConnectionRefusedError):
        end.connect()
    assert not end.broken.is_set()


def test_one_who_is_not_the_agent_is_not_spoken_with() -> None:
    with socket.create_server((HOST, 0)) as other:

        def answer() -> None:
            client, _ = other.accept()
            with client:
                client.recv(32)
                client.sendall(b"HTTP/1.1 400")

        thread = threading.Thread(target=answer)
        thread.start()
        port = other.getsockname()[1]
        with pytest.raises(ConnectionRefusedError, match=rf"^nobody at 127\.0\.0\.1:{port} knows of this agent$"):
            DirectClient(DirectAddress(HOST, port, bytes(32)))
        thread.join()


def test_it_listens_by_the_newer_kind_of_address_too() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has none")
    taken: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    server = DirectServer("::1")
    client = DirectClient(server.address)
    server.begin(lambda: AT, lambda data, _now, _groups: taken.put(bytes(data)), lambda: None)
    client.send(memoryview(b"boot"), 1.0, ())
    assert taken.get(timeout=PATIENCE) == b"boot"
    client.end()
    client.close()
