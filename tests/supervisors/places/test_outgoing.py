"""What a parent sends to a worker: what goes together is written together."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from supervisors.places.process.link import Link
from supervisors.places.process.outgoing import Outgoing
from supervisors.places.process.segment_pool import Party, SegmentPool
from supervisors.wire.frames import MAX_FRAME_BYTES, Attach, Deliver, Go, Lend, Reclaim, ToWorker, WorkerReader
from supervisors.wire.outside import LEAST_BYTES

INCARNATION = 1
WAIT = 10.0


class Channel:
    """A channel, and who reads it."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self.theirs.setblocking(False)
        self.ours = ours
        self.pool = SegmentPool(1 << 20)
        self.party: Party = self.pool.enter(lambda: None)
        self.reader = WorkerReader(INCARNATION, MAX_FRAME_BYTES)
        self.reader.expect(bytes)
        self.watched: list[bool] = []
        self.outgoing = Outgoing(
            ours, INCARNATION, MAX_FRAME_BYTES, Link(0), self.party, self.party.present, self.watched.append
        )

    def read_once(self) -> list[ToWorker]:
        """Read what one call of the system gives."""
        count, ancillary, _flags, _address = self.theirs.recvmsg_into([self.reader.space()], socket.CMSG_SPACE(64))
        for _level, _kind, data in ancillary:
            os.close(int.from_bytes(data[:4], sys.byteorder))
        return self.reader.received(count)

    def close(self) -> None:
        self.party.leave()
        self.pool.close()
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def channel() -> Iterator[Channel]:
    made = Channel()
    yield made
    made.close()


def test_what_a_worker_may_write_goes_with_its_requests(channel: Channel) -> None:
    assert channel.pool.lend(channel.party, LEAST_BYTES)
    channel.outgoing.send_orders()
    frames = channel.read_once()
    while not isinstance(frames[-1], Lend):
        frames += channel.read_once()
    attach, lend = frames
    assert isinstance(attach, Attach)

    channel.party.let_go(lend.ids)
    channel.outgoing.submit([(1, b"one"), (2, b"two")])
    channel.outgoing.flush()
    (delivered,) = channel.read_once()
    assert delivered == Deliver(0, [1, 2], [b"one", b"two"], lend.ids)


def test_what_a_worker_may_write_goes_ahead_of_requests_that_go_in_pieces(channel: Channel) -> None:
    assert channel.pool.lend(channel.party, LEAST_BYTES)
    channel.outgoing.submit([(1, bytes(600_000)), (2, bytes(600_000))])
    channel.outgoing.flush()
    frames = channel.read_once()
    while not isinstance(frames[-1], Deliver):
        channel.outgoing.write()
        frames += channel.read_once()
    attach, lend, delivered = frames
    assert isinstance(attach, Attach)
    assert isinstance(lend, Lend)
    assert delivered == Deliver(0, [1], [bytes(600_000)])


def test_what_a_worker_is_to_give_back_it_is_asked_for_behind_what_it_may_write(channel: Channel) -> None:
    assert channel.pool.lend(channel.party, LEAST_BYTES)
    channel.party.is_reclaiming = True
    channel.outgoing.submit([(1, b"one")])
    channel.outgoing.flush()
    frames = channel.read_once()
    while not isinstance(frames[-1], Deliver):
        frames += channel.read_once()
    assert [type(frame) for frame in frames] == [Attach, Lend, Reclaim, Deliver]
    assert frames[-1] == Deliver(0, [1], [b"one"])


def test_where_there_is_nothing_to_send_nothing_is_written(channel: Channel) -> None:
    channel.outgoing.flush()
    channel.outgoing.send_orders()
    with pytest.raises(BlockingIOError):
        channel.read_once()


def test_what_is_flushed_later_is_written_by_what_that_gives(channel: Channel) -> None:
    channel.outgoing.submit([(1, b"one"), (2, b"two")])
    write = channel.outgoing.flush_later()
    with pytest.raises(BlockingIOError):
        channel.read_once()
    assert write()
    (frame,) = channel.read_once()
    assert isinstance(frame, Deliver)
    assert frame.bodies == [b"one", b"two"]


def test_nothing_else_is_written_between_what_was_made_ready_and_its_writing(channel: Channel) -> None:
    channel.outgoing.submit([(1, b"one")])
    write = channel.outgoing.flush_later()
    actor = threading.Thread(target=channel.outgoing.send, args=(Go(),))
    actor.start()
    assert write()
    actor.join(WAIT)
    frames = channel.read_once()
    if len(frames) == 1:
        frames += channel.read_once()
    assert [type(frame) for frame in frames] == [Deliver, Go]


def test_a_channel_that_takes_no_more_leaves_the_rest_to_the_actor(channel: Channel) -> None:
    body = bytes(900_000)
    channel.outgoing.submit([(1, body)])
    assert not channel.outgoing.flush_later()()
    assert channel.watched == []  # which is the actor's to do
    frames: list[ToWorker] = []
    while not frames:
        frames = channel.read_once()
        channel.outgoing.write()
    assert isinstance(frames[0], Deliver)
    assert frames[0].bodies == [body]
    assert channel.watched[-1:] in ([], [False])


def test_what_waits_for_the_channel_already_goes_first_and_by_the_actor(channel: Channel) -> None:
    channel.outgoing.submit([(1, bytes(900_000))])
    channel.outgoing.flush()
    assert channel.watched == [True]
    channel.outgoing.submit([(2, b"two")])
    assert channel.outgoing.flush_later()()
    frames: list[ToWorker] = []
    while len(frames) < 2:
        frames += channel.read_once()
        channel.outgoing.write()
    assert [frame.seqs for frame in frames if isinstance(frame, Deliver)] == [[1], [2]]
    assert channel.watched == [True, False]


def test_a_channel_is_not_closed_while_something_is_written_to_it_and_takes_nothing_after(channel: Channel) -> None:
    channel.outgoing.submit([(1, b"one")])
    write = channel.outgoing.flush_later()
    closed = threading.Event()
    actor = threading.Thread(target=lambda: (channel.outgoing.close(), closed.set()))
    actor.start()
    assert not closed.is_set()
    assert write()
    assert closed.wait(WAIT)
    actor.join(WAIT)
    assert len(channel.read_once()) == 1
    channel.outgoing.submit([(2, b"two")])
    assert channel.outgoing.flush_later()()
    channel.outgoing.write()
    with pytest.raises(BlockingIOError):
        channel.read_once()
