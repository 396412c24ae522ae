"""The lock for brief steps: both ways of taking it are one and the same lock."""

from __future__ import annotations

import threading

import pytest

from supervisors.locking import BriefLock


def test_both_ways_of_taking_it_exclude_each_other() -> None:
    lock = BriefLock()

    with lock:
        assert lock.try_acquire() is False
        assert lock.patient.acquire(blocking=False) is False
    assert lock.try_acquire() is True
    assert lock.patient.locked()
    lock.release()
    assert not lock.patient.locked()


def test_it_is_let_go_when_the_body_raises() -> None:
    lock = BriefLock()

    with pytest.raises(ValueError), lock:
        raise ValueError

    assert lock.try_acquire() is True


def test_many_threads_that_wait_for_it_take_turns() -> None:
    lock = BriefLock()
    total = 0

    def add() -> None:
        nonlocal total
        for _ in range(500):
            if not lock.try_acquire():
                lock.wait()
            try:
                seen = total
                total = seen + 1
            finally:
                lock.release()

    threads = [threading.Thread(target=add) for _ in range(4)]
    with lock:
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()

    assert total == 2_000
