from __future__ import annotations

import threading
import time

import pytest

from routilux.jobs import backlog as module
from routilux.jobs.backlog import BACKLOG_FACTS, Backlog


def test_nobody_waits_while_there_is_room() -> None:
    backlog = Backlog()
    backlog.add(BACKLOG_FACTS - 1)
    started = time.perf_counter()
    backlog.wait()
    assert time.perf_counter() - started < module.PATIENCE_SECONDS / 2


def test_who_makes_too_much_waits_until_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 60.0)
    backlog, has_gone_on = Backlog(), threading.Event()
    backlog.add(BACKLOG_FACTS + 10)

    def make() -> None:
        backlog.wait()
        has_gone_on.set()

    maker = threading.Thread(target=make)
    maker.start()
    backlog.done(10)
    assert not has_gone_on.wait(0.05)
    backlog.done(1)
    assert has_gone_on.wait(10)
    maker.join()


def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    backlog = Backlog()
    backlog.add(2 * BACKLOG_FACTS)
    backlog.wait()
