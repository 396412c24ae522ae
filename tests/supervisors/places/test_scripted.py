"""The scripted place keeps the contract of `supervisors.places.base`, whatever goes wrong."""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import pytest

from supervisors.errors import InternalError
from supervisors.places.base import PART_BOUND, Execution, Finished, Lost, Place, Port
from supervisors.places.scripted import Faults, ScriptedPlace
from supervisors.reasons import Crashed, Reason, Shutdown, StartFailed

SEEDS = 150
REQUESTS = 30


class Work:
    """One request: `b"<number> <parts> <fate>"`."""

    def __init__(self, request: bytes, port: Port, world: World) -> None:
        number, parts, self._fate = request.split()
        self._number, self._left, self._port, self._world = number, int(parts), port, world

    def advance(self) -> bool:
        self._world.advanced += 1
        if self._left:
            self._left -= 1
            self._port.stop_with(b"part of " + self._number, PART_BOUND)
            return False
        if self._fate == b"fail":
            raise SystemExit(self._number)
        return True

    touched = True

    @property
    def result(self) -> bytes:
        return b"result of " + self._number


class Service:
    request_type: Any = bytes
    result_type: type = bytes
    batch_type: Any = None

    def __init__(self, world: World) -> None:
        self._world = world

    def boot(self, number: int, boot: Any) -> None:
        assert boot == b"boot"

    def begin(self, request: bytes, port: Port) -> Execution:
        if request.endswith(b"refuse"):
            raise ValueError("refused")
        return Work(request, port, self._world)

    def settle(self, *, accepted: bool) -> None:
        self._world.settled[accepted] += 1

    def close(self, reason: Reason) -> None:
        self._world.closed.append(reason)
        if self._world.fails_to_close:
            raise SystemExit(3)

    def describe_failure(self, error: BaseException) -> bytes:
        return repr(error).encode()


class World:
    """A sender who submits in order, resubmits what comes back, and checks the contract."""

    def __init__(
        self,
        seed: int,
        *,
        workers: int = 1,
        faults: Faults = Faults(),  # noqa: B008  frozen
        holds: float = 0.0,
    ) -> None:
        self.holds = holds
        """Of each move, how probable it is that the place is held, or released, before it."""
        self.is_held = False
        self.still = 0
        """How often the place was found still while a request was in progress."""
        self.advanced = 0
        self.random = random.Random(seed)
        self.place = ScriptedPlace(
            lambda: Service(self), self, random.Random(seed), workers=workers, window=3, faults=faults
        )
        self.requests = [self._draw(number) for number in range(REQUESTS)]
        self.waiting = deque(range(REQUESTS))
        self.held: list[list[int]] = [[] for _ in range(workers)]
        self.parts: Counter[int] = Counter()
        self.outcome: dict[int, bytes] = {}
        self.settled: Counter[bool] = Counter()
        self.lost: list[tuple[Reason, Lost]] = []
        self.returned = 0
        self.ungranted: list[tuple[int, int]] = []
        self.is_closed = False
        self.closed: list[Reason] = []
        self.fails_to_close = False
        self.starts_again = True
        for number in range(workers):
            self.place.start(number, b"boot")

    def run(self, moves: int = 200_000) -> None:
        for _ in range(moves):
            self._submit()
            if self.holds and self.random.random() < self.holds:
                self.is_held = not self.is_held
                (self.place.hold if self.is_held else self.place.release)()
            is_still, advanced = self.is_held and self.place.is_still, self.advanced
            if self.ungranted and self.random.random() < 0.3:
                self.place.grant(*self.ungranted.pop(0))
            elif not self.place.tick() and not self.ungranted and not self.waiting and not any(self.held):
                return
            if is_still:
                self.still += any(self.held)
                assert self.place.is_still or self.lost
                assert self.advanced == advanced
        pytest.fail("the place did not come to rest")

    def _draw(self, number: int) -> bytes:
        fate = self.random.choices(["ok", "fail", "refuse"], [8, 1, 1])[0]
        return f"{number} {self.random.choice([0, 0, 0, 2])} {fate}".encode()

    def _submit(self) -> None:
        for number, held in enumerate(self.held):
            while self.waiting and self.place.room(number) and self.random.random() < 0.7:
                seq = self.waiting.popleft()
                held.append(seq)
                self.place.submit(number, [(seq, self.requests[seq])])
        self.place.flush()

    def on_ready(self, number: int) -> None:
        assert self.place.room(number) in {0, 3}  # none when it is to die already
        assert self.held[number] == []

    def on_part(self, number: int, seq: int, body: Any) -> bool:
        assert self.held[number][0] == seq
        assert body == f"part of {seq}".encode()
        self.parts[seq] += 1
        self.ungranted.append((number, seq))
        return True

    def on_done(self, number: int, finished: Sequence[Finished]) -> bool:
        for seq, body, _seconds, _at in finished:
            assert self.held[number].pop(0) == seq
            assert seq not in self.outcome
            assert self.parts[seq] >= int(self.requests[seq].split()[1])
            self.outcome[seq] = body
        return True

    def on_returned(self, number: int, seqs: tuple[int, ...]) -> None:
        kept = len(self.held[number]) - len(seqs)
        assert kept in {0, 1}
        assert list(seqs) == self.held[number][kept:]
        del self.held[number][kept:]
        self.waiting.extendleft(reversed(seqs))
        self.returned += len(seqs)

    def on_failed(self, number: int, seq: int, body: Any, returned: tuple[int, ...]) -> None:
        assert self.held[number].pop(0) == seq
        assert seq not in self.outcome
        assert list(returned) == self.held[number]
        self.held[number].clear()
        self.outcome[seq] = body
        self.waiting.extendleft(reversed(returned))

    def on_lost(self, number: int, reason: Reason, lost: Lost) -> None:
        suspect = () if lost.suspect is None else (lost.suspect,)
        back = (*lost.ran, *suspect, *lost.unbegun)
        assert list(back) == self.held[number]
        self.held[number].clear()
        self.waiting.extendleft(reversed(back))
        self.ungranted = [entry for entry in self.ungranted if entry[0] != number]
        self.lost.append((reason, lost))
        assert self.place.room(number) == 0
        if self.starts_again:
            self.place.start(number, b"boot")

    def on_closed(self) -> None:
        assert not self.is_closed
        self.is_closed = True

    def check_outcome(self) -> None:
        assert sorted(self.outcome) == list(range(REQUESTS))
        for seq, body in self.outcome.items():
            fate = self.requests[seq].split()[2]
            expected = {
                b"ok": f"result of {seq}".encode(),
                b"fail": repr(SystemExit(str(seq).encode())).encode(),
                b"refuse": b"ValueError('refused')",
            }
            assert body == expected[fate]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    "faults", [Faults(), Faults(crash=0.05), Faults(crash_before_commit=0.2), Faults(0.03, 0.1, 0.3)], ids=str
)
def test_every_request_comes_back_exactly_once(workers: int, faults: Faults) -> None:
    for seed in range(SEEDS):
        world = World(seed, workers=workers, faults=faults)
        world.run()
        world.check_outcome()
        if workers == 1:
            assert list(world.outcome) == list(range(REQUESTS)), f"seed {seed}: out of order"
        if not any(faults):
            assert world.settled.total() == REQUESTS
            assert not world.lost


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("faults", [Faults(), Faults(0.03, 0.1, 0.3)], ids=str)
def test_every_request_comes_back_exactly_once_whenever_the_place_is_held(workers: int, faults: Faults) -> None:
    returned = still = 0
    for seed in range(SEEDS):
        world = World(seed, workers=workers, faults=faults, holds=0.1)
        world.run()
        world.check_outcome()
        if workers == 1:
            assert list(world.outcome) == list(range(REQUESTS)), f"seed {seed}: out of order"
        returned += world.returned
        still += world.still
    assert returned > SEEDS
    assert still > SEEDS


@pytest.mark.parametrize("workers", [1, 3])
def test_a_place_that_is_held_comes_to_be_still(workers: int) -> None:
    parked = 0
    for seed in range(SEEDS):
        world = World(seed, workers=workers, faults=Faults(0.01, 0.05, 0.1))
        for _ in range(world.random.randrange(150)):
            world._submit()
            world.place.tick()
        world.place.hold()
        while world.place.tick():
            pass
        assert world.place.is_still, f"seed {seed}"
        parked += any(world.held)
        world.place.release()
        world.run()
        world.check_outcome()
    assert parked


def test_a_death_finds_the_worker_at_every_point() -> None:
    seen = set()
    for seed in range(SEEDS):
        world = World(seed, faults=Faults(0.05, 0.05, 0.1))
        world.run()
        for reason, lost in world.lost:
            if isinstance(reason, Crashed):
                was_inside = lost.suspect is not None
                parts = was_inside and world.parts[lost.suspect or 0] > 0
                seen.add((was_inside, bool(lost.ran), bool(lost.unbegun), parts))
            else:
                assert isinstance(reason, StartFailed)
    assert (False, False, False, False) in seen  # idle
    assert (False, False, True, False) in seen  # before the handler
    assert (True, False, True, True) in seen  # after a part
    assert (False, True, False, False) in seen  # it ran, its result was not sent
    assert (True, True, True, False) in seen


def test_a_kill_is_told_with_its_reason_and_what_was_written_before_comes_first() -> None:
    for seed in range(SEEDS):
        world = World(seed)
        for _ in range(world.random.randrange(60)):
            world._submit()
            world.place.tick()
        world.place.kill(0, Crashed(signal=15))
        world.place.kill(0, Crashed(signal=9))
        assert world.place.room(0) == 0
        world.run()
        assert [reason for reason, _ in world.lost] == [Crashed(signal=15)]
        world.check_outcome()


@pytest.mark.parametrize("workers", [1, 3])
def test_close_ends_all_workers_and_gives_back_what_they_held(workers: int) -> None:
    cut_short = 0
    for seed in range(SEEDS):
        world = World(seed, workers=workers, faults=Faults(crash=0.01))
        for _ in range(world.random.randrange(80)):
            world._submit()
            world.place.tick()
        world.place.close(1.0)
        world.starts_again = False
        while world.place.tick():
            pass
        assert world.is_closed
        assert not world.place.tick()
        assert world.held == [[] for _ in range(workers)]
        assert sorted([*world.outcome, *world.waiting]) == list(range(REQUESTS))
        cut_short += bool(world.lost)
    assert cut_short


def test_a_close_without_a_deadline_lets_every_worker_finish_and_close_its_service() -> None:
    given_back = 0
    for seed in range(SEEDS):
        world = World(seed, workers=2)
        for _ in range(world.random.randrange(80)):
            world._submit()
            world.place.tick()
        world.place.close(math.inf, Shutdown("enough"))
        world.starts_again = False
        while world.place.tick():
            pass
        assert world.is_closed
        assert world.closed == [Shutdown("enough")] * 2
        assert world.place.deaths == 0
        assert all(reason == Shutdown("closed") for reason, _ in world.lost)
        # What it was on is cut short only where it stops between two steps.
        assert all(lost.suspect is None or world.requests[lost.suspect].split()[1] != b"0" for _, lost in world.lost)
        assert sorted([*world.outcome, *world.waiting]) == list(range(REQUESTS))
        given_back += sum(len(lost.unbegun) for _, lost in world.lost)
    assert given_back


def test_a_worker_that_does_not_end_as_asked_is_told_even_if_it_held_nothing() -> None:
    world = World(0)
    world.run()
    world.fails_to_close = True
    world.starts_again = False
    world.place.close(math.inf)
    while world.place.tick():
        pass
    assert [(type(reason), lost) for reason, lost in world.lost] == [(Crashed, Lost(None, (), ()))]
    assert world.is_closed


def test_abort_ends_everything_and_tells_nobody() -> None:
    for seed in range(SEEDS):
        world = World(seed, workers=2)
        for _ in range(world.random.randrange(80)):
            world._submit()
            world.place.tick()
        before = dict(world.outcome)
        world.place.abort()
        assert not world.place.tick()
        assert (world.outcome, world.lost, world.is_closed) == (before, [], False)


def test_it_is_a_place() -> None:
    place: Place = World(0).place
    assert place.next_deadline() is None
    assert not place.advance()


def test_wrong_calls_are_refused() -> None:
    world = World(0)
    with pytest.raises(InternalError, match="cannot be started"):
        world.place.start(0, b"boot")
    with pytest.raises(InternalError, match="no room"):
        world.place.submit(0, [(1, b"")])


def test_a_listing_shows_incarnations() -> None:
    world = World(0, faults=Faults(crash=0.2))
    world.run()
    [worker] = world.place.workers()
    assert worker.incarnation == 1 + len(world.lost)
    assert worker.in_hand == 0
