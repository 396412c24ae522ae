"""What a parent sends to a worker: what goes together is written together."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator

import pytest

from supervisors.places.process.link import Link
from supervisors.places.process.outgoing import Outgoing
from supervisors.places.process.segment_pool import Party, SegmentPool
from supervisors.wire.frames import MAX_FRAME_BYTES, Attach, Deliver, Lend, ToWorker, WorkerReader
from supervisors.wire.outside import LEAST_BYTES

INCARNATION = 1


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
        self.outgoing = Outgoing(ours, INCARNATION, MAX_FRAME_BYTES, Link(0), self.party, lambda _waits: None)

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


def test_what_a_worker_may_write_goes_ahead_of_its_requests_and_in_the_same_write(channel: Channel) -> None:
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
    again, delivered = channel.read_once()
    assert again == lend
    assert isinstance(delivered, Deliver)
    assert list(delivered.seqs) == [1, 2]


def test_where_there_is_nothing_to_send_nothing_is_written(channel: Channel) -> None:
    channel.outgoing.flush()
    channel.outgoing.send_orders()
    with pytest.raises(BlockingIOError):
        channel.read_once()
