"""Large buffers are put into the store once, named by who puts them and who passes them on, and held until claimed."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import pytest

from supervisors.errors import FrameError, ValueDecodingError
from supervisors.places.process.own_space import OwnSpace
from supervisors.places.process.segment_pool import SegmentPool
from supervisors.places.ray.engine import Demand
from supervisors.places.ray.objects import LEAST_OBJECT_BYTES, ObjectSpace, ObjectTable, StoreSpace
from supervisors.wire import sharing
from supervisors.wire.memory import lend
from supervisors.wire.outside import Leased, materialize, read_names
from tests.supervisors.places.fake_cluster import FakeCluster

BIG = bytearray(range(256)) * (LEAST_OBJECT_BYTES // 256)


class Worker:
    """A worker's space, and its parent's table, with nothing in between."""

    def __init__(self, cluster: FakeCluster, table: ObjectTable) -> None:
        self.cluster, self.table = cluster, table
        self.dropped: list[int] = []
        self.space = ObjectSpace(self._put, self._drop, lambda carried: cluster.fetch(int(carried)))

    def _put(self, number: int, buffers: Sequence[memoryview]) -> None:
        self.table.note(self, number, self.cluster.put(buffers))

    def _drop(self, numbers: Sequence[int]) -> None:
        self.dropped += numbers
        self.table.drop(self, numbers)

    def emit(self, value: Any) -> Leased:
        """Encode a value as a turn does, and claim it as a commit does."""
        data = sharing.share(value, "payload", self.space)
        self.space.sent()
        return self.table.lease(0, data)

    def give(self, payload: Leased) -> None:
        """Get what a request names, whose references are carried as their numbers."""
        self.space.give([[(lease.id, b"%d" % lease.reference) for lease in payload.leases]])  # type: ignore[attr-defined]

    def take(self, payload: Leased) -> Any:
        """Get a payload as a request, and decode it."""
        self.give(payload)
        return sharing.decode(bytes(payload), self.space)


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    cluster.enter()
    return cluster


@pytest.fixture
def table(cluster: FakeCluster) -> ObjectTable:
    return ObjectTable(cluster)


def test_a_large_value_goes_by_its_name_and_is_there_for_others_threads_and_files(
    cluster: FakeCluster, table: ObjectTable
) -> None:
    payload = Worker(cluster, table).emit({"a": Big(BIG)})
    assert len(payload) < 1_000
    assert payload.count_held() == len(BIG)
    assert Worker(cluster, table).take(payload)["a"].held == BIG
    assert sharing.decode(materialize(payload), None)["a"].held == BIG


def test_a_small_one_goes_with_its_buffers(cluster: FakeCluster, table: ObjectTable) -> None:
    worker = Worker(cluster, table)
    data = sharing.share({"a": Big(BIG[:-1])}, "payload", worker.space)
    assert cluster.objects == {}
    assert sharing.decode(data, worker.space)["a"].held == BIG[:-1]


def test_what_is_passed_on_is_not_put_again(cluster: FakeCluster, table: ObjectTable) -> None:
    payload = Worker(cluster, table).emit({"a": Big(BIG)})
    second = Worker(cluster, table)
    passed = second.emit({"b": second.take(payload)["a"]})
    assert len(cluster.objects) == 1
    assert passed.leases == payload.leases
    assert Worker(cluster, table).take(passed)["b"].held == BIG


def test_what_a_turn_put_and_did_not_send_is_dropped(cluster: FakeCluster, table: ObjectTable) -> None:
    worker = Worker(cluster, table)
    data = sharing.share({"a": Big(BIG)}, "payload", worker.space)
    worker.space.end_turn()
    assert worker.dropped == [name.segment for name in read_names(data)[0]]
    with pytest.raises(FrameError, match="has not told of"):
        table.lease(0, data)


def test_what_nobody_claimed_ends_with_its_worker_and_what_was_claimed_does_not(
    cluster: FakeCluster, table: ObjectTable
) -> None:
    worker = Worker(cluster, table)
    payload = worker.emit({"a": Big(BIG)})
    lost = sharing.share({"a": Big(BIG)}, "payload", worker.space)
    table.leave(worker)
    gc.collect()
    with pytest.raises(FrameError):
        table.lease(0, lost)
    assert Worker(cluster, table).take(payload)["a"].held == BIG


def test_requests_that_were_given_back_leave_nothing_behind_the_next_one(
    cluster: FakeCluster, table: ObjectTable
) -> None:
    worker, other = Worker(cluster, table), Worker(cluster, table)
    returned, run = (other.emit({"a": Big(BIG)}) for _ in range(2))
    worker.give(returned)
    assert worker.take(run)["a"].held == BIG
    with pytest.raises(ValueDecodingError, match="not to be had"):
        sharing.decode(bytes(returned), worker.space)


def test_what_threads_share_is_put_where_the_store_takes_it_and_else_is_near(
    cluster: FakeCluster, table: ObjectTable
) -> None:
    near = OwnSpace(pool := SegmentPool(100 * len(BIG)), pool.lend_own)
    space = StoreSpace(table, near)

    def put(held: Any) -> int:
        payload = sharing.share({"a": Big(held)}, "payload", space)
        assert sharing.decode(payload, space)["a"].held == held
        return cluster.stored

    assert put(BIG) == 1
    assert put(BIG[:-1]) == 1, "it is too small"
    cluster.is_full = True
    assert put(BIG) == 1
    cluster.is_full = False
    assert put(BIG) == 2
    table.close(())
    cluster.leave()
    assert put(BIG) == 2, "there is no cluster any more"
    pool.close()


def test_who_comes_when_the_job_has_ended_needs_no_cluster(
    cluster: FakeCluster, table: ObjectTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(cluster, table)
    assert table.share(b"", [memoryview(BIG)]) is not None
    assert cluster.users == 2
    put = cluster.put

    def put_meanwhile(buffers: Sequence[memoryview]) -> int:
        table.close([])
        return put(buffers)

    monkeypatch.setattr(cluster, "put", put_meanwhile)
    assert table.share(b"", [memoryview(BIG)]) is None
    monkeypatch.undo()
    assert table.share(b"", [memoryview(BIG)]) is None
    worker._put(1, [memoryview(BIG)])
    table.leave(worker)
    assert cluster.users == 1


def test_an_object_that_is_lost_is_told_by_the_turn_that_wants_it(cluster: FakeCluster, table: ObjectTable) -> None:
    payload = Worker(cluster, table).emit({"a": Big(BIG)})
    cluster.objects.clear()
    with pytest.raises(ValueDecodingError, match="is lost"):
        Worker(cluster, table).take(payload)
    with pytest.raises(ValueDecodingError, match="is lost"):
        materialize(payload)


def test_a_name_of_another_length_is_refused(cluster: FakeCluster, table: ObjectTable) -> None:
    payload = Worker(cluster, table).emit({"a": Big(BIG)})
    cluster.objects[1] = [bytes(BIG) + b"more"]
    with pytest.raises(ValueDecodingError, match="was named as one of"):
        Worker(cluster, table).take(payload)


def test_a_demand_needs_nothing_but_a_processor_by_itself() -> None:
    assert Demand() == Demand(1.0, 0.0, None, {}, {}, None, None)


class Big:
    """A value with one buffer."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Big, (lend(memoryview(self.held)),)
