"""The pool of shared memory: its bound, who may write and name what, and when a segment is free again."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from supervisors.errors import FrameError, ValueDecodingError
from supervisors.places.process.exchange import Exchange
from supervisors.places.process.own_space import OwnSpace
from supervisors.places.process.segment_pool import Party, SegmentPool
from supervisors.places.process.segments import Lease, round_size
from supervisors.wire.outside import LEAST_BYTES, Leased, Name, find_held, pack_outside, read_names

KIB = 1024
SIZE = LEAST_BYTES


def nothing() -> None:
    """Wake nobody."""


def name(segment: int, *, offset: int = 0, length: int = 100) -> bytes:
    return pack_outside([Name(segment, offset, length)], b"x")


def lend(pool: SegmentPool, party: Party, size: int = SIZE) -> int:
    """Lend a worker a segment, and give its id."""
    assert pool.lend(party, size)
    return party.take_orders().lend[-1]


def test_sizes_are_few_and_waste_at_most_a_quarter() -> None:
    sizes = {round_size(size) for size in range(1, 4 * 1024 * KIB, 4 * KIB)}
    assert len(sizes) <= 30
    for size in range(SIZE, 4 * 1024 * KIB, 4 * KIB):
        assert size <= round_size(size) <= size * 5 // 4
    assert round_size(1) == SIZE


def test_a_worker_may_name_what_was_lent_to_it_and_then_it_is_leased() -> None:
    pool = SegmentPool(10 * SIZE)
    party = pool.enter(nothing)
    segment = lend(pool, party)
    leased = party.lease(name(segment))
    assert [holder.id for holder in leased.leases] == [segment]
    assert not party.take_orders().lend
    del leased
    assert party.take_orders().lend == [segment], "it is warm for whom it served"


def test_a_worker_may_name_what_it_was_shown_while_somebody_has_it() -> None:
    pool = SegmentPool(10 * SIZE)
    writer, reader = pool.enter(nothing), pool.enter(nothing)
    payload = writer.lease(name(lend(pool, writer)))
    segment = payload.leases[0].id
    with pytest.raises(FrameError, match="not given"):
        reader.lease(name(segment))
    assert [new.id for new in reader.present(payload.leases)] == [segment]
    assert not reader.present(payload.leases), "it has the descriptor already"
    assert reader.lease(name(segment)).leases == payload.leases
    del payload
    with pytest.raises(FrameError, match="not given"):
        reader.lease(name(segment))


@pytest.mark.parametrize(("offset", "length"), [(0, SIZE + 1), (SIZE, 1), (2**62, 2**62)])
def test_a_worker_names_no_more_than_there_is(offset: int, length: int) -> None:
    pool = SegmentPool(10 * SIZE)
    party = pool.enter(nothing)
    with pytest.raises(FrameError, match="not given"):
        party.lease(name(lend(pool, party), offset=offset, length=length))


def test_nonsense_from_a_worker_is_a_breach_of_the_protocol() -> None:
    party = SegmentPool(10 * SIZE).enter(nothing)
    for data in (b"\x04", b"\x04\xff\xff\xff\xff", pack_outside([Name(1, -1, 1)], b""), name(5)):
        with pytest.raises(FrameError):
            party.lease(data)
    with pytest.raises(FrameError, match="not given"):
        party.keep([5])


def test_what_a_worker_keeps_is_not_lent_again_until_it_lets_go() -> None:
    pool = SegmentPool(10 * SIZE)
    writer, reader = pool.enter(nothing), pool.enter(nothing)
    payload = writer.lease(name(lend(pool, writer)))
    segment = payload.leases[0].id
    reader.present(payload.leases)
    reader.keep([segment])
    del payload
    assert not writer.take_orders().lend
    reader.let_go([segment])
    assert writer.take_orders().lend == [segment]


def test_the_end_of_a_worker_lets_go_all_that_it_kept_and_gives_up_what_it_wrote() -> None:
    pool = SegmentPool(10 * SIZE)
    writer, reader = pool.enter(nothing), pool.enter(nothing)
    lend(pool, writer)
    payload = writer.lease(name(lend(pool, writer)))
    segment = payload.leases[0].id
    reader.present(payload.leases)
    reader.keep([segment])
    writer.leave()
    assert pool.used == SIZE, "what others have stays"
    del payload
    assert pool.used == SIZE
    reader.leave()
    other = pool.enter(nothing)
    other.take_orders()
    assert pool.used == 0


def test_a_worker_that_is_gone_is_lent_nothing() -> None:
    pool = SegmentPool(10 * SIZE)
    party = pool.enter(nothing)
    party.leave()
    assert not pool.lend(party, SIZE)
    assert pool.used == 0


def test_there_is_never_more_than_the_limit() -> None:
    pool = SegmentPool(2 * SIZE)
    party = pool.enter(nothing)
    assert pool.lend(party, SIZE)
    assert pool.lend(party, SIZE)
    assert not pool.lend(party, SIZE)
    assert not pool.may_hold(2 * SIZE + 1)
    assert pool.may_hold(2 * SIZE)


def test_there_are_never_more_segments_than_may_be() -> None:
    pool = SegmentPool(100 * SIZE, most_segments=2)
    party = pool.enter(nothing)
    assert [pool.lend(party, SIZE) for _ in range(3)] == [True, True, False]


def test_what_nobody_has_is_given_up_for_others_and_those_are_told_who_know_it() -> None:
    pool = SegmentPool(2 * SIZE)
    one, other = pool.enter(nothing), pool.enter(nothing)
    payloads = [one.lease(name(lend(pool, one))) for _ in range(2)]
    other.present(payloads[0].leases)
    segments = {payload.leases[0].id for payload in payloads}
    payloads.clear()
    assert pool.lend(other, 2 * SIZE)
    assert set(one.take_orders().detach) == segments
    assert set(other.take_orders().detach) <= segments


def test_what_is_lent_and_not_used_is_asked_back_for_others() -> None:
    pool = SegmentPool(2 * SIZE)
    woken: list[bool] = []
    one, other = pool.enter(lambda: woken.append(True)), pool.enter(nothing)
    segment = lend(pool, one, 2 * SIZE)
    assert not pool.lend(other, SIZE)
    assert woken
    assert one.is_called
    assert one.take_orders().is_reclaiming
    one.let_go([segment])
    assert pool.lend(other, SIZE)


def test_what_is_warm_is_not_lent_ahead_while_somebody_waits() -> None:
    pool = SegmentPool(2 * SIZE)
    party = pool.enter(nothing)
    segment = lend(pool, party)
    party.let_go([segment])
    pool.add_waiting(nothing)
    assert not party.take_orders().lend
    pool.remove_waiting(nothing)
    assert party.take_orders().lend == [segment]


def test_those_who_wait_are_woken_when_a_lease_ends() -> None:
    pool = SegmentPool(SIZE)
    party = pool.enter(nothing)
    payload = party.lease(name(lend(pool, party)))
    woken: list[bool] = []
    pool.add_waiting(lambda: woken.append(True))
    del payload
    assert woken == [True]


def test_the_parent_reads_what_it_wrote_and_its_view_keeps_that() -> None:
    pool = SegmentPool(SIZE)
    space = OwnSpace(pool, pool.lend_own)
    payload = space.share(b"in", [memoryview(b"a" * SIZE)])
    assert isinstance(payload, Leased)
    (view,) = space.find(payload, read_names(payload)[0])
    assert view.readonly
    del payload
    assert space.share(b"in", [memoryview(b"b" * SIZE)]) is None, "the view is still there"
    assert bytes(view) == b"a" * SIZE
    del view
    assert space.share(b"in", [memoryview(b"b" * SIZE)]) is not None


def test_a_view_that_is_shared_again_is_not_copied() -> None:
    pool = SegmentPool(SIZE)
    space = OwnSpace(pool, pool.lend_own)
    payload = space.share(b"in", [memoryview(b"a" * SIZE)])
    assert payload is not None
    (view,) = space.find(payload, read_names(payload)[0])
    again = space.share(b"out", [view[10:]])
    assert again is not None
    assert read_names(again)[0] == [Name(read_names(payload)[0][0].segment, 10, SIZE - 10)]


def test_what_was_written_in_place_is_not_copied_and_not_written_again_while_its_writer_looks() -> None:
    pool = SegmentPool(SIZE)
    space = OwnSpace(pool, pool.lend_own)
    room = space.empty(SIZE)
    assert room is not None
    room[:] = b"c" * SIZE
    payload = space.share(b"in", [room])
    assert payload is not None
    del payload
    assert space.empty(SIZE) is None, "its writer still has it"
    del room
    assert space.empty(SIZE) is not None


def test_room_that_was_not_used_is_lent_again() -> None:
    pool = SegmentPool(SIZE)
    space = OwnSpace(pool, pool.lend_own)
    for _ in range(3):
        room = space.empty(SIZE)
        assert room is not None
        del room


def test_a_payload_of_others_is_not_read_by_its_names() -> None:
    pool = SegmentPool(SIZE)
    space = OwnSpace(pool, pool.lend_own)
    payload = space.share(b"in", [memoryview(b"a" * SIZE)])
    assert payload is not None
    with pytest.raises(ValueDecodingError, match="not here"):
        find_held(bytes(payload), read_names(payload)[0])


def test_what_is_leased_when_the_pool_closes_can_be_read_until_it_is_let_go() -> None:
    pool = SegmentPool(4 * SIZE)
    space = OwnSpace(pool, pool.lend_own)
    payload = space.share(b"in", [memoryview(b"a" * SIZE)])
    assert payload is not None
    (lease,) = payload.leases
    assert isinstance(lease, Lease)
    pool.close()
    assert lease.segment.fd == -1, "it takes no descriptor any more"
    assert bytes(find_held(payload, read_names(payload)[0])[0]) == b"a" * SIZE
    assert pool.lend_own(SIZE) is None
    assert not pool.may_hold(SIZE)


def test_a_lease_that_ends_within_a_collection_of_garbage_is_noted() -> None:
    pool = SegmentPool(SIZE)
    party = pool.enter(nothing)
    cycle: list[Any] = [party.lease(name(lend(pool, party)))]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert len(party.take_orders().lend) == 1


def test_a_worker_that_waits_is_served_refused_or_left_to_wait() -> None:
    pool = SegmentPool(SIZE)
    blocked: list[int] = []
    helps = True
    exchange = Exchange(pool, blocked.append, lambda: helps)
    rung: list[bool] = []
    exchange.begin(lambda: rung.append(True))
    party = exchange.enter(0)
    assert exchange.serve(party, SIZE) is True
    payload = exchange.lease(0, name(party.take_orders().lend[0]))
    assert exchange.serve(party, 2 * SIZE) is False, "it will never fit"
    exchange.note_waiting(1)
    assert exchange.serve(party, SIZE) is None
    helps = False
    assert exchange.serve(party, SIZE) is False
    rung.clear()
    del payload
    assert rung == [True]
    assert exchange.is_called
    assert exchange.serve(party, SIZE) is True
    exchange.note_waiting(0)
    assert blocked == [1, 0]


def test_a_worker_that_was_never_started_names_nothing() -> None:
    with pytest.raises(FrameError, match="never started"):
        Exchange(SegmentPool(SIZE)).lease(3, name(1))


def pick(data: Any, some: Any) -> Any:
    """Draw one of some things, by its place: a thing that was drawn would be kept by whoever drew it."""
    things = list(some)
    return things[data.draw(st.integers(0, len(things) - 1))]


class PoolMachine(RuleBasedStateMachine):
    """A pool beside a naive model: who has each segment, in dicts that are sets in their order."""

    LIMIT = 6 * SIZE

    def __init__(self) -> None:
        super().__init__()
        self.pool = SegmentPool(self.LIMIT)
        self.parties: dict[int, Party] = {}
        self.lent: dict[int, dict[int, None]] = {}
        """What each may write."""
        self.kept: dict[int, dict[int, None]] = {}
        self.payloads: list[Leased] = []

    def holders_of(self, held: dict[int, dict[int, None]]) -> list[int]:
        return [index for index in self.parties if held[index]]

    @rule()
    def enter(self) -> None:
        index = len(self.lent)
        self.lent[index], self.kept[index] = {}, {}
        self.parties[index] = self.pool.enter(nothing)

    @precondition(lambda self: self.parties)
    @rule(data=st.data(), size=st.sampled_from([SIZE, 2 * SIZE, 3 * SIZE, 7 * SIZE]))
    def ask(self, data: Any, size: int) -> None:
        index = pick(data, self.parties)
        self.pool.lend(self.parties[index], size)
        held = {holder.id for payload in self.payloads for holder in payload.leases}
        for segment in self.parties[index].take_orders().lend:
            assert segment not in held
            assert all(segment not in some for some in (*self.kept.values(), *self.lent.values()))
            self.lent[index][segment] = None

    @precondition(lambda self: self.holders_of(self.lent))
    @rule(data=st.data())
    def report(self, data: Any) -> None:
        index = pick(data, self.holders_of(self.lent))
        segment = pick(data, self.lent[index])
        self.payloads.append(self.parties[index].lease(name(segment)))
        del self.lent[index][segment]

    @precondition(lambda self: self.payloads and self.parties)
    @rule(data=st.data(), then=st.sampled_from(["keep", "forward", "nothing"]))
    def deliver(self, data: Any, then: str) -> None:
        index, payload = pick(data, self.parties), pick(data, self.payloads)
        self.parties[index].present(payload.leases)
        if then == "keep":
            self.parties[index].keep([payload.leases[0].id])
            self.kept[index][payload.leases[0].id] = None
        elif then == "forward":
            self.payloads.append(self.parties[index].lease(bytes(payload)))

    @precondition(lambda self: self.payloads)
    @rule(data=st.data())
    def commit(self, data: Any) -> None:
        del self.payloads[data.draw(st.integers(0, len(self.payloads) - 1))]

    @precondition(lambda self: self.holders_of(self.kept))
    @rule(data=st.data())
    def let_go(self, data: Any) -> None:
        index = pick(data, self.holders_of(self.kept))
        segment = pick(data, self.kept[index])
        del self.kept[index][segment]
        self.parties[index].let_go([segment])

    @precondition(lambda self: self.parties)
    @rule(data=st.data())
    def give_back(self, data: Any) -> None:
        index = pick(data, self.parties)
        self.parties[index].let_go(list(self.lent[index]))
        self.lent[index] = {}

    @precondition(lambda self: self.parties)
    @rule(data=st.data())
    def die(self, data: Any) -> None:
        index = pick(data, self.parties)
        self.parties.pop(index).leave()
        self.lent[index], self.kept[index] = {}, {}

    @invariant()
    def is_within_its_bound(self) -> None:
        assert 0 <= self.pool.used <= self.LIMIT

    @invariant()
    def what_is_held_is_there(self) -> None:
        for payload in self.payloads:
            for holder in payload.leases:
                assert isinstance(holder, Lease)
                assert holder.segment.fd != -1
                assert holder.segment.live_lease is holder

    def teardown(self) -> None:
        for party in self.parties.values():
            party.leave()
        self.payloads.clear()
        with self.pool.lock:
            self.pool.settle_held()
        assert self.pool.used == 0
        assert len(self.pool) == 0


TestPool = PoolMachine.TestCase
