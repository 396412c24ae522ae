"""Tests of `supervisors.wire.copying`."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisors.wire import copying
from supervisors.wire.copying import Copier
from supervisors.wire.memory import PAGE_BYTES

SIZE = 4 * PAGE_BYTES + 5
ALL_AROUND = 3
DEADLINE = 30.0


@pytest.fixture
def copier(monkeypatch: pytest.MonkeyPatch) -> Iterator[Copier]:
    monkeypatch.setattr(copying, "_LONG_BYTES", 1)
    monkeypatch.setattr(copying, "SHARED_BYTES", PAGE_BYTES)
    monkeypatch.setattr(copying, "usable_cpus", lambda: 2)
    monkeypatch.setattr(copying, "_has_room", lambda: True)
    monkeypatch.setattr(copying, "_keep_apart", lambda _thread: True)
    copier = Copier()
    yield copier
    copier.close()


def make_target() -> Any:
    return (ctypes.c_ubyte * (SIZE + 2 * ALL_AROUND))()


def make_source() -> memoryview:
    return memoryview(os.urandom(SIZE))


def is_copied(target: Any, source: memoryview) -> bool:
    edge = bytes(ALL_AROUND)
    return bytes(target) == edge + bytes(source) + edge


def serving() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "supervisors-copies"]


def test_a_buffer_is_copied_to_where_it_is_to_be(copier: Copier) -> None:
    for _ in range(50):
        target, source = make_target(), make_source()
        copier.write(target, ALL_AROUND, source)
        assert is_copied(target, source)
    assert len(serving()) == 1


@pytest.mark.parametrize("long", [1_000_000, 1], ids=["at-once", "beside-others"])
def test_what_is_short_is_copied_without_a_second_thread(long: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_LONG_BYTES", long)
    target, source, copier = make_target(), make_source(), Copier()
    copier.write(target, ALL_AROUND, source)
    assert is_copied(target, source)
    assert not serving()


def test_the_caller_does_the_second_half_too_where_the_thread_does_not_get_to_it(copier: Copier) -> None:
    started, go_on = threading.Event(), threading.Event()

    def keep_busy() -> None:
        started.set()
        assert go_on.wait(DEADLINE)

    copier.write(make_target(), ALL_AROUND, make_source())
    copier._halves.put(Busy(keep_busy))  # type: ignore[arg-type]  # what its thread sees of a half
    assert started.wait(DEADLINE)
    target, source = make_target(), make_source()
    copier.write(target, ALL_AROUND, source)
    assert is_copied(target, source)
    go_on.set()


def test_a_half_is_copied_once_and_keeps_nothing_then() -> None:
    class Kept:
        """Something that is kept."""

    target, source = make_target(), make_source()
    kept = Kept()
    weak = weakref.ref(kept)
    half = copying._Half(ctypes.addressof(target), copying.address_of(source), SIZE, kept)
    del kept
    assert weak() is not None
    half.try_copy()
    assert weak() is None
    target[0] ^= 1
    changed = bytes(target)
    half.try_copy()
    half.wait_copied()
    assert bytes(target) == changed


@pytest.mark.parametrize("reason", ["processors", "threads", "busy", "elsewhere"])
def test_where_there_is_no_other_thread_the_caller_copies_all(
    copier: Copier, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason == "processors":
        monkeypatch.setattr(copying, "usable_cpus", lambda: 1)
    elif reason == "threads":
        monkeypatch.setattr(threading.Thread, "start", _refuse)
    elif reason == "busy":
        monkeypatch.setattr(copying, "_has_room", lambda: False)
    else:
        monkeypatch.setattr(copying, "_keep_apart", lambda _thread: False)
    for _ in range(2):
        target, source = make_target(), make_source()
        copier.write(target, ALL_AROUND, source)
        assert is_copied(target, source)
    assert copier._halves.empty()


@pytest.mark.parametrize("is_there", [True, False], ids=["behind", "ahead"])
def test_a_start_that_a_signal_cuts_short_leaves_no_second_one_to_be_waited_for(
    is_there: bool,
    copier: Copier,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start

    def be_interrupted(thread: threading.Thread) -> None:
        if is_there:
            start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", be_interrupted)
    with pytest.raises(KeyboardInterrupt):
        copier.write(make_target(), ALL_AROUND, make_source())
    monkeypatch.setattr(threading.Thread, "start", start)
    target, source = make_target(), make_source()
    copier.write(target, ALL_AROUND, source)
    assert is_copied(target, source)
    assert len(serving()) == is_there
    end = threading.Thread(target=copier.close, daemon=True)
    end.start()
    end.join(DEADLINE)
    assert not end.is_alive()
    assert not serving()


def test_after_its_end_the_caller_copies_all(copier: Copier) -> None:
    copier.write(make_target(), ALL_AROUND, make_source())
    copier.close()
    assert not serving()
    target, source = make_target(), make_source()
    copier.write(target, ALL_AROUND, source)
    copier.close()
    assert is_copied(target, source)
    assert not serving()


def test_several_threads_copy_at_a_time(copier: Copier) -> None:
    right: list[bool] = []

    def copy_some() -> None:
        for _ in range(20):
            target, source = make_target(), make_source()
            copier.write(target, ALL_AROUND, source)
            right.append(is_copied(target, source))

    threads = [threading.Thread(target=copy_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert right == [True] * 80


@pytest.mark.skipif(copying._getcpu is None, reason="no way to tell where a thread runs")
def test_the_second_thread_keeps_off_the_processor_of_the_first() -> None:
    all_of_them = os.sched_getaffinity(0)
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait, args=(DEADLINE,))
    thread.start()
    try:
        own = min(all_of_them)
        os.sched_setaffinity(0, {own})
        assert not copying._keep_apart(thread)
        os.sched_setaffinity(0, all_of_them)
        if len(all_of_them) > 1:
            assert copying._keep_apart(thread)
            assert thread.native_id is not None
            assert len(os.sched_getaffinity(thread.native_id)) == len(all_of_them) - 1
    finally:
        os.sched_setaffinity(0, all_of_them)
        go_on.set()
        thread.join(DEADLINE)


@pytest.mark.parametrize(
    ("told", "has_room"),
    [("0.52 0.58 0.59 2/467 25339\n", True), ("0.52 0.58 0.59 3/467 25339\n", False), (None, True)],
    ids=["room", "busy", "untold"],
)
def test_a_processor_has_room_while_fewer_threads_run_than_there_are(
    told: str | None, has_room: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "loadavg"
    if told is not None:
        file.write_text(told)
    monkeypatch.setattr(copying, "_RUNNING", str(file))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert copying._has_room() == has_room


class Busy:
    """Looks to the thread like a half, and takes as long as it is told."""

    def __init__(self, do: Callable[[], None]) -> None:
        self.try_copy = do


def _refuse(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
