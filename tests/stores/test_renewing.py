"""Leases are renewed again and again, whatever comes between, until that is to end."""

from __future__ import annotations

import threading

import pytest

from routilux.stores.errors import StoreWriteError
from routilux.stores.renewing import Renewer


class Renewals:
    """What is renewed: tells when it was so many times, and fails at some."""

    def __init__(self, *failing: int) -> None:
        self.failing = failing
        self.count = 0
        self.changed = threading.Condition()
        self.is_done = False

    def renew(self) -> None:
        with self.changed:
            self.count += 1
            self.changed.notify_all()
            if self.count in self.failing:
                raise StoreWriteError("leases", "the server is gone")

    def done(self) -> None:
        self.is_done = True

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.count >= count, 30.0)


def test_they_are_renewed_again_and_again_on_a_thread_that_ends_with_it() -> None:
    renewals = Renewals()
    renewer = Renewer(renewals.renew, renewals.done, 0.01, "a store")
    renewals.wait_for(3)
    renewer.close()
    assert renewals.is_done
    count = renewals.count
    renewer.close()
    assert renewals.count == count


def test_one_that_waits_for_long_ends_at_once() -> None:
    renewals = Renewals()
    Renewer(renewals.renew, renewals.done, 1_000_000.0, "a store").close()
    assert (renewals.count, renewals.is_done) == (0, True)


def test_what_fails_is_told_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    renewals = Renewals(2, 3, 4)
    renewer = Renewer(renewals.renew, renewals.done, 0.01, "a store")
    renewals.wait_for(7)
    renewer.close()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert told[0].startswith("leases of a store are not renewed now")
    assert told[0].endswith("leases could not be written: the server is gone")
    assert told[1] == "leases of a store are renewed again"
