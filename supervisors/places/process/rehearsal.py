"""Short lives of workers in their zygote: what an interpreter notes about code that it has run is shared then.

Owns these lives: a channel with nobody at its other end, and a few requests. Never has a second thread.

An interpreter that runs code notes where methods were found and which version a class has, and after some runs puts
other instructions in the place of those that it was given (PEP 659). In a worker each such note is on a page that it
shares with its zygote until then. So the zygote runs what all its workers will run.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import NamedTuple

from supervisors.places.base import CLOSED, Service
from supervisors.places.copies import make_mark
from supervisors.places.process.attached import Attached
from supervisors.places.process.deputy import Deputy
from supervisors.places.process.inbound import Inbound
from supervisors.places.process.outbound import Outbound
from supervisors.places.process.page import Page, create_page_file
from supervisors.places.process.port import RequestPort
from supervisors.places.process.running import Loop
from supervisors.wire.frames import Boot, Deliver, Ready, Stop, ToWorker, WorkerReader, encode_frame
from supervisors.wire.values import decode_code, encode_code

LIVES = 8
"""Lives of each part: code is written anew after so many runs (CPython 3.11: `QUICKENING_WARMUP_DELAY`)."""


class Part(NamedTuple):
    """What a worker may come to run.

    Args:
        make: gives the service; its class and arguments travel, as those of a worker do.
        requests: what it is given, one after another.
    """

    make: Callable[[], Service]
    requests: Sequence[bytes]


parts: list[Part] = []
"""What is rehearsed; modules that are imported for all workers add to it."""


def rehearse() -> None:
    """Live the lives.

    Raises:
        OSError: no descriptors are left.
    """
    for part in parts:
        for _ in range(LIVES):
            with ExitStack() as stack:
                _live(part, stack)


def _live(part: Part, stack: ExitStack) -> None:
    """As `worker.run`, but for what is done to the process."""
    channel, far_end = (stack.enter_context(end) for end in socket.socketpair())
    page_fd = create_page_file(b"")
    stack.callback(os.close, page_fd)
    page = Page(page_fd)
    stack.callback(page.close)
    inbound, outbound = Inbound(channel, WorkerReader(1)), Outbound(channel, 1)
    stack.callback(inbound.close)
    inbound.attached = attached = Attached(outbound.send)
    far_end.sendall(encode_frame(Boot(0, "", b"", 0, {}, encode_code(part.make(), "service"), b""), 1))
    boot = inbound.receive_boot()
    service: Service = decode_code(boot.service)
    service.boot(boot.number, boot.boot)
    inbound.expect(service.request_type, service.batch_type)
    outbound.send(Ready(os.getpid()))
    mark = make_mark()
    deputy = _Prompter(inbound, outbound, page)
    deputy.step_back()
    deputy.expect(far_end, part.requests)
    port = attached.port = RequestPort(inbound, outbound, page, deputy, mark, attached)
    Loop(service, inbound, outbound, page, deputy, attached, port, mark).run()


class _Prompter(Deputy):
    """A deputy that never begins, and says what is next whenever there is nothing to run."""

    def expect(self, far_end: socket.socket, requests: Sequence[bytes]) -> None:
        """Say these at the other end of the channel, and then that it is over."""
        self._far_end = far_end
        delivered = (Deliver(0, [seq], [request]) for seq, request in enumerate(requests))
        self._frames: Iterator[ToWorker] = chain(delivered, [Stop(CLOSED)])

    def rest(self) -> None:
        """Let the next one be heard."""
        super().rest()
        self._far_end.sendall(encode_frame(next(self._frames), 1))
