"""Who tells of what was finished a little later: on one thread, which is there when it is needed."""

from __future__ import annotations

import gc
import os
import threading
import warnings
import weakref
from typing import NoReturn

import pytest

from supervisors.places.flusher import Flusher, flusher
from tests.supervisors.places.threads import PATIENCE


class Place:
    """Something that is told of."""

    def __init__(self) -> None:
        self.told = threading.Event()
        self.thread: threading.Thread | None = None

    def tell(self) -> None:
        self.thread = threading.current_thread()
        self.told.set()


def test_all_are_called_back_on_one_thread_that_is_no_callers() -> None:
    places = [Place() for _ in range(100)]
    assert all(flusher.watch(place.tell) for place in places)
    assert all(place.told.wait(PATIENCE) for place in places)
    [thread] = {place.thread for place in places}
    assert thread is not threading.current_thread()
    assert thread is not None
    assert (thread.name, thread.daemon) == ("supervisors-flusher", True)


def test_one_that_was_called_back_is_let_go() -> None:
    place = Place()
    told, seen = place.told, weakref.ref(place)
    flusher.watch(place.tell)
    del place
    assert told.wait(PATIENCE)
    after = Place()
    flusher.watch(after.tell)  # told behind it, so that the first has returned
    assert after.told.wait(PATIENCE)
    gc.collect()
    assert seen() is None


def test_nothing_is_called_back_where_the_system_gives_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    place, other = Place(), Flusher()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert [other.watch(place.tell) for _ in range(2)] == [False, False]
    assert not place.told.is_set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="copies are made by fork")
@pytest.mark.processes
def test_a_copy_made_by_fork_has_a_flusher_of_its_own() -> None:
    place = Place()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, which is what is tested
        pid = os.fork()  # noqa: TID251
    if pid == 0:
        try:
            flusher.watch(place.tell)
            os._exit(0 if place.told.wait(PATIENCE) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not place.told.is_set()
