"""Nodes in doubt turn out to be lost, or to be there; and nobody looks at them for longer than that takes."""

from __future__ import annotations

import queue
import threading

from supervisors.places.ray.watching import PATIENCE_SECONDS, NodeWatch

PATIENCE = 30.0


class World:
    """The nodes as a script has them: each look takes the next of what was put."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        self.told: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self.watch = NodeWatch(lambda: self.looks.get(timeout=PATIENCE), clock=lambda: self.now, period=0.0)

    def doubt(self, node_id: str) -> None:
        self.watch.add(node_id, lambda why: self.told.put((node_id, why)))

    def await_told(self, count: int) -> list[tuple[str, str]]:
        return [self.told.get(timeout=PATIENCE) for _ in range(count)]


def is_watched() -> bool:
    return any(thread.name == "supervisors-ray-nodes" for thread in threading.enumerate())


def test_one_that_is_found_lost_is_settled_with_the_reason_and_others_stay_in_doubt() -> None:
    world = World()
    world.doubt("a")
    world.doubt("b")
    world.looks.put({"c": "long ago"})
    world.looks.put({"b": "no power"})
    assert world.await_told(1) == [("b", "no power")]
    world.looks.put({"a": "no way", "b": "no power"})
    assert world.await_told(1) == [("a", "no way")]
    world.watch.forget()
    assert not is_watched()


def test_one_that_is_still_there_after_its_time_is_let_rest_and_the_next_doubt_is_looked_at_again() -> None:
    world = World()
    world.doubt("a")
    world.now = PATIENCE_SECONDS
    world.looks.put({})
    assert world.await_told(1) == [("a", "")]
    world.doubt("a")
    world.looks.put({"a": "no power"})
    assert world.await_told(1) == [("a", "no power")]
    world.watch.forget()
    world.doubt("b")
    world.looks.put({"b": "no power"})
    assert world.await_told(1) == [("b", "no power")]
    world.watch.forget()
    assert not is_watched()


def test_what_is_forgotten_is_told_no_more_and_its_thread_ends() -> None:
    looked, go_on = threading.Event(), threading.Event()
    told: list[str] = []

    def find_lost() -> dict[str, str]:
        looked.set()
        assert go_on.wait(PATIENCE)
        return {}

    watch = NodeWatch(find_lost, period=PATIENCE)
    watch.add("a", told.append)
    assert looked.wait(PATIENCE)
    go_on.set()
    watch.forget()
    assert not is_watched()
    assert told == []
