"""What a worker has of its owner's shared memory: what it may write, what it tells of what it keeps."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator
from typing import Any

import pytest

from supervisors.errors import ValueDecodingError
from supervisors.places.process.attached import Attached
from supervisors.wire.frames import FromWorker, Gone, Kept
from supervisors.wire.memory import create_segment
from supervisors.wire.outside import LEAST_BYTES, Name, pack_outside, read_names

SIZE = LEAST_BYTES
PATIENCE = 30.0


class Asked:
    """Is asked for room, and has a list of what to do each time."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[int, list[int]]] = []

    def want(self, size: int, returned: list[int]) -> bool:
        self.asked.append((size, returned))
        answer = self.answers.pop(0)
        if callable(answer):
            answer()
            return True
        return bool(answer)


class Worker:
    """A worker's memory, and what it told."""

    def __init__(self) -> None:
        self.told: queue.SimpleQueue[FromWorker] = queue.SimpleQueue()
        self.attached = Attached(self.told.put)
        self._fds: list[int] = []

    def give(self, segment: int, *, is_own: bool, size: int = SIZE) -> None:
        fd = create_segment(size)
        self._fds.append(fd)
        self.attached.attach([(segment, size, is_own)], [os.dup(fd)])
        if is_own:
            self.attached.lend([segment])

    def close(self) -> None:
        self.attached.close()
        for fd in self._fds:
            os.close(fd)

    def next_told(self) -> FromWorker:
        return self.told.get(timeout=PATIENCE)

    def end_turn(self) -> None:
        self.attached.tell_kept()
        self.attached.sent()
        self.attached.end_turn()


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.close()


def share(worker: Worker, data: bytes | memoryview) -> bytes:
    shared = worker.attached.share(b"in", [memoryview(data)])
    assert shared is not None
    return shared


def segment_in(data: bytes) -> int:
    return read_names(data)[0][0].segment


def read(worker: Worker, segment: int, length: int = SIZE) -> memoryview:
    name = Name(segment, 0, length)
    (view,) = worker.attached.find(pack_outside([name], b""), [name])
    return view


def test_what_it_writes_and_sends_may_not_be_written_again_until_it_is_lent_again(worker: Worker) -> None:
    worker.give(1, is_own=True)
    worker.attached.port = port = Asked(False, lambda: worker.attached.lend([1]))
    assert segment_in(share(worker, b"a" * SIZE)) == 1
    assert worker.attached.used
    worker.end_turn()
    assert not worker.attached.used
    assert worker.attached.share(b"in", [memoryview(b"b" * SIZE)]) is None
    assert segment_in(share(worker, b"b" * SIZE)) == 1
    assert [size for size, _ in port.asked] == [SIZE, SIZE]
    assert worker.told.empty(), "none of it was kept"


def test_what_it_wrote_and_did_not_send_is_written_again(worker: Worker) -> None:
    worker.give(1, is_own=True)
    data = share(worker, b"a" * SIZE)
    worker.attached.withdraw(data)
    assert segment_in(share(worker, b"b" * SIZE)) == 1
    worker.attached.end_turn()  # it failed
    assert segment_in(share(worker, b"c" * SIZE)) == 1


def test_a_segment_that_two_values_name_stays_until_both_are_taken_back(worker: Worker) -> None:
    worker.give(1, is_own=True)
    room = worker.attached.empty(SIZE)
    assert room is not None
    one, other = share(worker, room), share(worker, room)
    del room
    worker.attached.port = Asked(False)
    worker.attached.withdraw(one)
    assert worker.attached.empty(SIZE) is None
    worker.attached.withdraw(other)
    assert worker.attached.empty(SIZE) is not None


def test_the_smallest_that_fits_is_written_and_none_that_is_far_too_large(worker: Worker) -> None:
    for segment, size in ((1, 8 * SIZE), (2, 2 * SIZE), (3, SIZE)):
        worker.give(segment, is_own=True, size=size)
    worker.attached.port = port = Asked(False)
    assert segment_in(share(worker, b"a" * SIZE)) == 3
    assert segment_in(share(worker, b"a" * SIZE)) == 2
    assert worker.attached.share(b"in", [memoryview(b"a" * SIZE)]) is None
    assert port.asked == [(SIZE, [1])], "it gives back what it has no use for"


def test_what_is_kept_is_told_before_the_end_of_the_turn_and_once_it_is_gone(worker: Worker) -> None:
    worker.give(1, is_own=False)
    view = read(worker, 1)
    worker.end_turn()
    assert worker.next_told() == Kept([1])
    part = view[10:20]
    del view
    read(worker, 1)
    worker.end_turn()
    assert worker.told.empty(), "it is known"
    del part
    assert worker.next_told() == Gone([1])
    kept = read(worker, 1)
    worker.end_turn()
    assert worker.next_told() == Kept([1])
    del kept
    assert worker.next_told() == Gone([1])


def test_what_is_not_kept_is_not_told(worker: Worker) -> None:
    worker.give(1, is_own=False)
    view = read(worker, 1)
    share(worker, view)
    del view
    worker.end_turn()
    assert worker.told.empty()


def test_what_is_handed_on_is_not_copied(worker: Worker) -> None:
    worker.give(1, is_own=False)
    view = read(worker, 1)
    assert read_names(share(worker, view[64:]))[0] == [Name(1, 64, SIZE - 64)]


def test_what_it_does_not_use_is_given_back_when_that_is_asked_and_the_rest_at_the_end_of_its_turn(
    worker: Worker,
) -> None:
    for segment in (1, 2):
        worker.give(segment, is_own=True)
    room = worker.attached.empty(SIZE)
    worker.attached.give_back()
    assert worker.next_told() == Gone([1])
    del room
    worker.end_turn()
    assert worker.next_told() == Gone([2])
    worker.attached.give_back()
    assert worker.next_told() == Gone([])


def test_what_was_made_and_is_kept_is_told_too(worker: Worker) -> None:
    worker.give(1, is_own=True)
    room = worker.attached.empty(SIZE)
    worker.end_turn()
    assert worker.next_told() == Kept([1])
    worker.attached.port = Asked(False)
    assert worker.attached.empty(SIZE) is None
    del room
    assert worker.next_told() == Gone([1])
    worker.attached.lend([1])
    assert worker.attached.empty(SIZE) is not None


def test_what_was_not_given_or_was_given_up_cannot_be_read(worker: Worker) -> None:
    with pytest.raises(ValueDecodingError, match="not given"):
        read(worker, 1)
    worker.give(1, is_own=False)
    with pytest.raises(ValueDecodingError, match="not given"):
        read(worker, 1, SIZE + 1)
    view = read(worker, 1)
    worker.attached.detach([1])
    with pytest.raises(ValueDecodingError, match="not given"):
        read(worker, 1)
    assert bytes(view[:3]) == bytes(3), "who looks at it may go on"


def test_a_descriptor_that_did_not_arrive_is_missed_by_who_reads_the_segment(worker: Worker) -> None:
    worker.attached.attach([(1, SIZE, False)], [])
    with pytest.raises(ValueDecodingError, match="not given"):
        read(worker, 1)


def test_without_a_request_nobody_waits_for_room(worker: Worker) -> None:
    assert worker.attached.empty(SIZE) is None
