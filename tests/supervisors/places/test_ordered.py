"""A pool told of in order: what its listener hears, whatever its workers do."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from supervisors.errors import FrameError, RequestTooLongError
from supervisors.places import ordered
from supervisors.places.base import CLOSED, Finished, Lost, Worker
from supervisors.places.ordered import OrderedPlace
from supervisors.reasons import Crashed, DeadlineExceeded, ProtocolError, Reason, Shutdown

CRASHED = Crashed(signal=9)
UNWANTED = Shutdown("not wanted")


class Pool:
    """Workers that do what a test says: they take requests, and report what it wants."""

    def __init__(self, workers: int, window: int = 4) -> None:
        self.hands: list[deque[int] | None] = [deque() for _ in range(workers)]
        self.window = window
        self.bodies: list[tuple[int, int, Any]] = []
        """What was submitted: worker, number and body."""
        self.told: list[tuple[str, int, Any]] = []
        self.too_long: set[int] = set()
        self.listener: Any = None

    def __call__(self, listener: Any) -> Any:
        self.listener = listener
        return self

    # -- Place

    def start(self, number: int, boot: Any) -> None:
        self.hands[number] = deque()
        self.listener.on_ready(number)

    def room(self, number: int) -> int:
        hand = self.hands[number]
        return 0 if hand is None else self.window - len(hand)

    def submit(self, number: int, requests: Iterable[tuple[int, Any]]) -> None:
        for seq, body in requests:
            if seq in self.too_long:
                raise RequestTooLongError(seq, 2, 1)
            hand = self.hands[number]
            assert hand is not None
            assert len(hand) < self.window
            hand.append(seq)
            self.bodies.append((number, seq, body))

    def flush(self) -> None: ...

    def advance(self) -> bool:
        return False

    def kill(self, number: int, reason: Reason) -> None:
        self.told.append(("kill", number, reason))

    def close(self, timeout: float, reason: Reason = CLOSED) -> None: ...

    def workers(self) -> tuple[Worker, ...]:
        return tuple(
            Worker(number, 1, 100 + number, True, len(hand), hand[0] if hand else None, None)
            for number, hand in enumerate(self.hands)
            if hand is not None
        )

    # -- what the workers do

    def take(self, number: int, seq: int) -> deque[int]:
        hand = self.hands[number]
        assert hand is not None
        assert hand[0] == seq
        return hand

    def done(self, number: int, seq: int, body: Any = b"done") -> None:
        self.take(number, seq).popleft()
        self.listener.on_done(number, [(seq, body, 0.1, 1.0)])

    def part(self, number: int, seq: int, body: Any = b"part") -> bool:
        self.take(number, seq)
        accepted: bool = self.listener.on_part(number, seq, body)
        return accepted

    def fail(self, number: int, seq: int) -> None:
        hand = self.take(number, seq)
        hand.popleft()
        returned = tuple(hand)
        hand.clear()
        self.listener.on_failed(number, seq, b"failed", returned)

    def die(self, number: int, ran: int = 0, reason: Reason = CRASHED) -> None:
        hand = self.hands[number]
        assert hand is not None
        held = tuple(hand)
        self.hands[number] = None
        suspect = held[ran] if len(held) > ran else None
        self.listener.on_lost(number, reason, Lost(suspect, held[:ran], held[ran + 1 :]))


class Listener:
    """Notes what it is told; refuses to read what it is told not to."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.calls: list[int] = []
        """How many results each call told of."""
        self.unreadable: set[Any] = set()

    def on_ready(self, number: int) -> None:
        self.heard.append(("ready", number))

    def on_part(self, number: int, seq: int, body: Any) -> bool:
        self._read(body)
        self.heard.append(("part", seq))
        return True

    def on_done(self, number: int, finished: Sequence[Finished]) -> bool:
        for _seq, body, _seconds, _at in finished:
            self._read(body)
        self.calls.append(len(finished))
        self.heard += [("done", seq) for seq, *_ in finished]
        return True

    def on_returned(self, number: int, seqs: tuple[int, ...]) -> None:
        self.heard.append(("returned", number, seqs))

    def on_failed(self, number: int, seq: int, body: Any, returned: tuple[int, ...]) -> None:
        self._read(body)
        assert returned == ()
        self.heard.append(("failed", seq))

    def on_overdue(self, number: int, seq: int, reason: Reason) -> None:
        self.heard.append(("fallen", seq, type(reason)))

    def on_lost(self, number: int, reason: Reason, lost: Lost) -> None:
        self.heard.append(("lost", number, type(reason), lost))

    def on_closed(self) -> None:
        self.heard.append("closed")

    def request_for(self, number: int, seq: int, *, may_have_run: bool) -> Any:
        return ("again" if may_have_run else "asked", number, seq)

    def on_refused(self, number: int, seq: int, reason: Reason) -> None:
        self.heard.append(("refused", seq))

    def on_left(self, seq: int, *, is_done: bool) -> None: ...

    def size_of(self, body: Any) -> int:
        return len(body)

    def may_overtake(self, body: Any) -> bool:
        return bool(body == b"urgent")

    def _read(self, body: Any) -> None:
        if body in self.unreadable:
            raise FrameError("unreadable")


class Scene:
    """A pool, its listener, and the place between."""

    def __init__(self, workers: int = 2, limit: int = 100, *, is_one: bool = True) -> None:
        self.pool, self.listener = Pool(workers), Listener()
        self.place = OrderedPlace(self.pool, self.listener, workers=workers, limit=limit, is_one=is_one)

    def submit(self, *given: tuple[int, int]) -> None:
        for number, seq in given:
            self.place.submit(number, [(seq, b"request")])

    def tell(self) -> list[Any]:
        """Let all be told that may be; gives that."""
        while self.place.advance():
            pass
        heard, self.listener.heard = self.listener.heard, []
        return heard


def test_what_comes_before_its_turn_waits() -> None:
    scene = Scene()
    scene.submit((0, 1), (1, 2), (0, 3))
    scene.pool.part(1, 2)
    scene.pool.done(1, 2)
    assert scene.tell() == []
    scene.pool.done(0, 1)
    assert scene.tell() == [("done", 1), ("part", 2), ("done", 2)]
    scene.pool.done(0, 3)
    assert scene.tell() == [("done", 3)]


def test_results_of_one_worker_that_have_their_turn_are_told_together() -> None:
    scene = Scene()
    scene.submit((0, 1), (1, 2), (1, 3), (1, 4), (0, 5))
    for seq in (2, 3, 4):
        scene.pool.done(1, seq)
    scene.pool.done(0, 1)
    scene.pool.done(0, 5)
    assert scene.tell() == [("done", seq) for seq in (1, 2, 3, 4, 5)]
    assert scene.listener.calls == [1, 3, 1]
    assert scene.place.free == 100


def test_a_result_among_others_that_cannot_be_read_ends_its_worker_when_all_before_it_are_told() -> None:
    scene = Scene(1)
    scene.listener.unreadable.add(b"nonsense")
    scene.submit((0, 1), (0, 2), (0, 3), (0, 4))
    for seq, body in ((1, b"done"), (2, b"done"), (3, b"nonsense"), (4, b"done")):
        scene.pool.done(0, seq, body)
    assert scene.tell() == [("done", 1), ("done", 2)]
    assert [told[0] for told in scene.pool.told] == ["kill"]


def test_what_may_overtake_does() -> None:
    scene = Scene()
    scene.submit((0, 1), (1, 2))
    assert scene.pool.part(1, 2, b"urgent")
    assert scene.tell() == [("part", 2)]


def test_a_failure_is_told_in_its_turn_and_what_it_gave_back_goes_to_its_worker_after_it() -> None:
    scene = Scene()
    scene.submit((0, 1), (1, 2), (0, 3), (1, 4))
    scene.pool.fail(1, 2)
    assert scene.tell() == []
    assert scene.place.room(1) == 0
    scene.pool.done(0, 1)
    assert scene.tell() == [("done", 1), ("failed", 2)]
    scene.pool.done(0, 3)
    assert scene.tell() == []
    # Tried again it comes first, and then what stood behind it.
    scene.submit((1, 5))
    assert scene.tell() == []
    scene.pool.done(1, 5)
    assert scene.tell() == [("done", 5), ("done", 3)]
    assert scene.pool.bodies[-1] == (1, 4, ("asked", 1, 4))
    scene.pool.done(1, 4)
    assert scene.tell() == [("done", 4)]


def test_a_failure_that_is_passed_by_lets_the_others_go_on() -> None:
    scene = Scene()
    scene.submit((0, 1), (1, 2))
    scene.pool.done(1, 2)
    scene.pool.fail(0, 1)
    assert scene.tell() == [("failed", 1)]
    scene.place.pass_by(0)
    assert scene.tell() == [("done", 2)]


def test_with_an_order_for_each_worker_a_failure_holds_up_its_own_alone() -> None:
    scene = Scene(is_one=False)
    for number, seq in ((0, 1), (1, 2), (0, 3), (1, 4)):
        scene.place.assign(number, seq)
    assert scene.tell() == []
    assert [(number, seq) for number, seq, _ in scene.pool.bodies] == [(0, 1), (0, 3), (1, 2), (1, 4)]
    scene.pool.fail(0, 1)
    scene.pool.done(1, 2)
    assert scene.tell() == [("failed", 1), ("done", 2)]
    scene.place.assign(0, 5)
    scene.pool.done(1, 4)
    assert scene.tell() == [("done", 4)]
    scene.place.pass_by(0)
    scene.tell()
    assert [seq for _, seq, _ in scene.pool.bodies[-2:]] == [3, 5]


def test_what_is_assigned_waits_for_room() -> None:
    scene = Scene(1, is_one=False)
    for seq in range(6):
        scene.place.assign(0, seq)
    scene.tell()
    assert len(scene.pool.bodies) == 4
    scene.pool.done(0, 0)
    scene.tell()
    assert scene.pool.bodies[-1] == (0, 4, ("asked", 0, 4))


def test_a_worker_that_dies_runs_all_again_that_was_not_told_and_fails_in_its_turn_by_what_it_was_on() -> None:
    scene = Scene()
    scene.submit((0, 1), (1, 2), (1, 3), (1, 4), (1, 5))
    scene.pool.part(1, 2)
    scene.pool.done(1, 2)
    scene.pool.die(1, ran=1)  # 3 had run, 4 was the one
    assert scene.tell() == [("lost", 1, Crashed, Lost(None, (), ()))]
    scene.place.start(1, b"boot")
    scene.tell()
    assert scene.pool.bodies[-2:] == [(1, 2, ("again", 1, 2)), (1, 3, ("again", 1, 3))]
    scene.pool.done(0, 1)
    scene.pool.done(1, 2)
    scene.pool.done(1, 3)
    assert scene.tell() == [("done", 1), ("done", 2), ("done", 3), ("fallen", 4, Crashed)]
    scene.place.pass_by(1)
    scene.tell()
    assert scene.pool.bodies[-1] == (1, 5, ("asked", 1, 5))


def test_what_stood_behind_one_that_took_too_long_may_have_been_begun() -> None:
    scene = Scene()
    scene.submit((0, 1), (0, 2))
    scene.pool.die(0, reason=DeadlineExceeded(1.0))
    scene.tell()
    scene.place.start(0, b"boot")
    scene.place.pass_by(0)
    scene.tell()
    assert scene.pool.bodies[-1] == (0, 2, ("again", 0, 2))


def test_a_death_at_the_head_is_told_as_one() -> None:
    scene = Scene()
    scene.submit((0, 1), (1, 2))
    scene.pool.part(0, 1)
    scene.pool.die(0)
    assert scene.tell() == [("lost", 0, Crashed, Lost(1, (), ()))]


def test_a_failure_that_was_not_told_stands_when_its_worker_dies_but_not_what_it_had_handed_over() -> None:
    scene = Scene()
    scene.submit((0, 1), (1, 2))
    scene.pool.part(1, 2)
    scene.pool.fail(1, 2)
    scene.pool.die(1)
    scene.pool.done(0, 1)
    assert scene.tell() == [("lost", 1, Crashed, Lost(None, (), ())), ("done", 1), ("failed", 2)]


def test_who_is_killed_gives_all_back_and_nothing_of_it_is_told() -> None:
    scene = Scene()
    scene.submit((0, 1), (1, 2), (1, 3))
    scene.pool.done(1, 2)
    scene.place.kill(1, UNWANTED)
    scene.pool.done(0, 1)
    assert scene.tell() == [("done", 1)]
    assert not scene.pool.part(1, 3)
    scene.pool.die(1, reason=UNWANTED)
    assert scene.tell() == [("lost", 1, Shutdown, Lost(3, (2,), ()))]


def test_who_is_killed_after_it_has_died_gives_all_back_too() -> None:
    scene = Scene()
    scene.submit((0, 1), (1, 2))
    scene.pool.die(1)
    scene.tell()
    assert [(worker.number, worker.in_hand, worker.is_ready) for worker in scene.place.workers()] == [
        (0, 1, True),
        (1, 1, False),
    ]
    scene.place.kill(1, UNWANTED)
    scene.pool.die(0)
    scene.place.kill(0, UNWANTED)
    assert scene.tell() == [("returned", 1, (2,)), ("lost", 0, Shutdown, Lost(None, (1,), ()))]


@pytest.mark.parametrize("what", ["part", "done", "failed"])
def test_who_hands_over_what_cannot_be_read_is_ended_for_it(what: str) -> None:
    scene = Scene()
    scene.submit((0, 1), (1, 2), (0, 3))
    scene.listener.unreadable = {what.encode()}
    {"part": scene.pool.part, "done": scene.pool.done, "failed": scene.pool.fail}[what](0, 1)
    assert scene.tell() == []
    [(verb, number, reason)] = scene.pool.told
    assert (verb, number, type(reason)) == ("kill", 0, ProtocolError)
    scene.listener.unreadable = set()
    scene.pool.die(0, reason=reason)
    assert scene.tell() == [("lost", 0, ProtocolError, Lost(1, (), ()))]
    scene.place.start(0, b"boot")
    scene.place.pass_by(0)
    scene.tell()
    assert scene.pool.bodies[-1][:2] == (0, 3)


def test_who_handed_that_over_and_has_died_since_fails_by_it() -> None:
    scene = Scene()
    scene.submit((0, 1), (1, 2))
    scene.listener.unreadable = {b"bad"}
    scene.pool.done(1, 2, b"bad")
    scene.pool.hands[1] = None  # its end is not told so far
    scene.pool.done(0, 1)
    assert scene.tell() == [("done", 1), ("fallen", 2, ProtocolError)]


def test_a_request_that_has_become_too_long_is_refused_in_its_turn() -> None:
    scene = Scene()
    scene.submit((0, 1), (1, 2), (1, 3))
    scene.pool.fail(1, 2)
    scene.pool.done(0, 1)
    scene.tell()
    scene.pool.too_long = {3}
    scene.submit((1, 4))
    scene.tell()
    scene.pool.done(1, 4)
    assert scene.tell() == [("done", 4), ("refused", 3)]


def test_the_line_is_bounded_in_number_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(limit=6)
    assert [scene.place.room(number) for number in range(2)] == [3, 3]
    scene.submit((0, 1), (1, 2), (1, 3), (1, 4))
    assert [scene.place.room(number) for number in range(2)] == [1, 1]
    monkeypatch.setattr(ordered, "KEPT_BYTES", 5)
    scene.pool.done(1, 2, b"12345")
    assert [scene.place.room(number) for number in range(2)] == [0, 0]
    scene.pool.done(0, 1, b"")
    scene.tell()
    assert all(scene.place.room(number) for number in range(2))


def test_at_its_close_all_that_cannot_be_told_comes_back_in_order() -> None:
    scene = Scene()
    scene.submit((0, 1), (1, 2), (0, 3), (1, 4))
    scene.place.close(1.0)
    scene.pool.done(1, 2)
    for number in range(2):
        scene.pool.die(number, reason=CLOSED)
    scene.listener.heard.clear()
    scene.place.on_closed()
    assert scene.tell() == [("lost", 0, Shutdown, Lost(None, (1, 2, 3, 4), ())), "closed"]
