"""What the tests of workers on other machines run there: a module of its own, since each worker imports it."""

from __future__ import annotations

import threading
import time

from routilux import Routine


class Work(Routine):
    """Hands on what it is sent; or waits, or takes some processor time, before it does."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("done", ["what"])

    def handle(self, what: str) -> None:
        if what == "wait":
            threading.Event().wait(60.0)
        began = time.process_time()
        while what == "burn" and time.process_time() - began < BURN_SECONDS:
            sum(range(10_000))
        self.emit("done", what=what)


BURN_SECONDS = 1.2
"""Processor time that it takes: enough to be told of."""
