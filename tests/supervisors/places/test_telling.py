"""What a worker on another machine says is told whole and in order, with what can be seen of it, until its end."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator

import pytest

from supervisors.places.process.page import Page, create_page_file
from supervisors.places.ray import telling
from supervisors.places.ray.engine import OBJECTS_UNTOLD, News, Piece
from supervisors.places.ray.telling import Mouth, Teller

PATIENCE = 30.0


@pytest.fixture
def page() -> Iterator[Page]:
    fd = create_page_file(b"")
    page = Page(fd)
    page.clear()
    yield page
    page.close()
    os.close(fd)


def news_of(piece: Piece | None) -> News:
    assert piece is not None
    assert piece.news is not None
    return piece.news


def test_all_that_was_said_is_one_piece_and_what_is_seen_another(page: Page) -> None:
    mouth = Mouth()
    teller = Teller(mouth, page, lambda: 7)
    mouth.say_put()
    mouth.sendall(bytearray(b"frame"))
    mouth.say_stdout(b"out")
    mouth.say_stderr(b"err")
    mouth.sendall(bytearray(b"s"))
    mouth.drop((3, 4))
    mouth.say_stack("at")
    piece = teller.next()
    assert piece == Piece(b"frames", 1, (None, 0.0, 0), News(b"out", b"err", "at", 7, (3, 4), news_of(piece).used))
    page.begin(2, 1.5, 9)
    piece = teller.next()
    assert piece == Piece(b"", 0, (9, 1.5, 2), News(b"", b"", None, 7, (), news_of(piece).used))


def test_objects_wait_for_what_is_said_next_unless_they_are_many(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "LOOK_SECONDS", 30.0)
    mouth = Mouth()
    teller = Teller(mouth, page, lambda: 0)
    taken: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
    threading.Thread(target=lambda: taken.put(teller.next())).start()
    for _ in range(OBJECTS_UNTOLD - 1):
        mouth.say_put()
    with pytest.raises(queue.Empty):
        taken.get(timeout=0.1)
    mouth.say_put()
    piece = taken.get(timeout=10.0)
    assert piece is not None
    assert piece.put == OBJECTS_UNTOLD


def test_the_last_piece_tells_what_it_has_used_and_nothing_is_behind_it(page: Page) -> None:
    mouth = Mouth()
    teller = Teller(mouth, page, lambda: 0)
    mouth.sendall(bytearray(b"bye"))
    mouth.close()
    mouth.break_off()  # who has said all need not mind
    piece = teller.next()
    assert piece is not None
    assert piece.channel == b"bye"
    assert news_of(teller.next()).used is not None
    assert teller.next() is None
    assert teller.next() is None


def test_who_cannot_be_heard_is_told(page: Page) -> None:
    mouth = Mouth()
    mouth.break_off()
    with pytest.raises(ConnectionAbortedError, match=r"^the connection to its parent broke$"):
        Teller(mouth, page, lambda: 0).next()


def test_who_says_too_much_waits_until_it_is_taken(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "HELD_BYTES", 4)
    mouth = Mouth()
    teller = Teller(mouth, page, lambda: 0)
    mouth.say_stdout(b"much")
    thread = threading.Thread(target=mouth.say_stdout, args=(b" more",))
    thread.start()
    mouth.say_stderr(b"another kind")
    thread.join(0.05)
    assert thread.is_alive()
    assert news_of(teller.next()).stdout == b"much"
    assert news_of(teller.next()).stdout == b" more"
    thread.join(PATIENCE)
    assert not thread.is_alive()
