"""Large arrays on their way through a job: where they lie, who holds them, and what is left when somebody dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from routilux import ErrorHandler, ErrorStrategy, Flow, Job, Routine, buffers, routine
from routilux.errors import OptionError, OutsideTurnError
from routilux.jobs.state import JobState
from routilux.keeping.finding import latest
from routilux.stores.memory import MemoryStore
from supervisors.places.process.attached import Attached
from supervisors.wire.copying import SHARED_BYTES
from supervisors.wire.outside import OUTSIDE, Name, here, pack_outside
from tests.runtime.kept import wait_until

pytestmark = pytest.mark.processes

MIB = 1 << 20
RETRY = ErrorHandler(ErrorStrategy.RETRY, max_retries=20, retry_delay=0.0)


def segment_of(array: Any) -> int:
    """Give the segment that an array lies in, in a worker; 0 for one that lies in none."""
    space = here.space
    assert isinstance(space, Attached)
    found = space._addresses.find(memoryview(array.reshape(-1)))
    return 0 if found is None else found[0].id


def forge() -> None:
    """Let all that this worker emits name a segment that there is not."""
    space: Any = here.space
    space.share = lambda inner, _buffers: pack_outside([Name(5, 0, 5)], inner)


def array_of(number: int, size: int = MIB) -> Any:
    return np.full(size, number % 251, dtype=np.uint8)


class Arrays(Routine):
    """Emits arrays, one a step."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.make)
        self.define_event("array", ["number", "array"])

    def make(self, count: int, size: int = MIB) -> Iterator[None]:
        for number in range(self.state.get("next", 0), count):
            self.state["next"] = number + 1
            self.emit("array", number=number, array=array_of(number, size))
            yield


class Stage(Routine):
    """Hands on what comes, with the segment it lies in."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("array", ["number", "array", "segments"])

    def handle(self, number: int, array: Any, segments: tuple[int, ...] = ()) -> None:
        self.emit("array", number=number, array=array, segments=(*segments, segment_of(array)))


class Adding(Stage):
    """Hands on an array that it has made in place."""

    def handle(self, number: int, array: Any, segments: tuple[int, ...] = ()) -> None:
        made = buffers.empty(array.shape, array.dtype)
        np.add(array, 1, out=made)
        self.emit("array", number=number, array=made, segments=(*segments, segment_of(made)))


class Seeing(Routine):
    """Tells of what comes, on a thread or in a process."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("seen", ["number", "first", "last", "size", "segments", "is_writable"])

    def handle(self, number: int, array: Any, segments: tuple[int, ...] = ()) -> None:
        self.emit(
            "seen",
            number=number,
            first=int(array[0]),
            last=int(array[-1]),
            size=array.size,
            segments=list(segments),
            is_writable=bool(array.flags.writeable),
        )


def line(*stages: tuple[str, Routine, dict[str, Any]]) -> Flow:
    """Wire `Arrays` to stages, each to the next; the last is a `Seeing`, and its event an output."""
    flow = Flow("arrays")
    flow.add_routine(Arrays(), "arrays")
    before = "arrays"
    for name, stage, options in stages:
        flow.add_routine(stage, name, **options)
        flow.connect(before, "array", name, "input")
        before = name
    flow.output(before, "seen")
    return flow


PROCESS = {"placement": "process"}
THREAD = {"placement": "thread"}


def seen(state: JobState) -> list[dict[str, Any]]:
    assert state.status == "completed", state.error
    (items,) = state.outputs.values()
    return list(items)


def pool_of(job: Job) -> Any:
    return job.ledger.codec.space._pool  # type: ignore[attr-defined]


@pytest.mark.parametrize("store", [False, True], ids=["no store", "store"])
@pytest.mark.parametrize("last", [THREAD, PROCESS], ids=["thread", "process"])
def test_arrays_come_as_they_are_and_cannot_be_written(store: bool, last: dict[str, Any]) -> None:
    flow = line(("add", Adding(), PROCESS), ("see", Seeing(), last))
    items = seen(flow.execute("arrays", {"count": 5}, **({"store": MemoryStore()} if store else {})))
    assert [(item["number"], item["first"], item["last"], item["size"]) for item in items] == [
        (number, number + 1, number + 1, MIB) for number in range(5)
    ]
    assert not any(item["is_writable"] for item in items)


def test_all_of_an_array_comes_that_two_threads_copy() -> None:
    class Turning(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("input", handler=self.handle)
            self.define_event("array", ["array"])

        def handle(self, array: Any) -> None:
            self.emit("array", array=array[::-1].copy())

    flow = Flow("turning")
    flow.add_routine(Turning(), "turn", placement="process")
    flow.output("turn", "array")
    sent = np.arange(3 * SHARED_BYTES // 8)
    job = flow.start(keep_open=True)
    with job:
        results = job.results()
        for number in range(4):
            job.send("turn", "input", array=sent + number)
            assert np.array_equal(next(results)["array"], sent[::-1] + number)


def test_an_array_that_is_handed_on_is_not_copied() -> None:
    flow = line(
        ("one", Stage(), PROCESS), ("two", Stage(), PROCESS), ("three", Stage(), PROCESS), ("see", Seeing(), THREAD)
    )
    for item in seen(flow.execute("arrays", {"count": 4})):
        assert len(item["segments"]) == 3
        assert len(set(item["segments"])) == 1


def test_an_array_that_was_made_in_place_is_not_copied() -> None:
    flow = line(("make", Adding(), PROCESS), ("next", Stage(), PROCESS), ("see", Seeing(), THREAD))
    for item in seen(flow.execute("arrays", {"count": 4})):
        made, received = item["segments"]
        assert made == received


def test_a_thread_hands_on_what_it_received_without_a_copy() -> None:
    class Through(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("input", handler=self.handle)
            self.define_event("array", ["number", "array", "segments"])

        def handle(self, **data: Any) -> None:
            self.emit("array", **data)

    flow = line(
        ("one", Stage(), PROCESS), ("thread", Through(), THREAD), ("two", Stage(), PROCESS), ("see", Seeing(), THREAD)
    )
    for item in seen(flow.execute("arrays", {"count": 4})):
        before, after = item["segments"]
        assert before == after


def test_writing_into_a_received_array_raises() -> None:
    class Writing(Seeing):
        def handle(self, number: int, array: Any, segments: tuple[int, ...] = ()) -> None:
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
            with pytest.raises(ValueError, match="WRITEABLE"):
                array.flags.writeable = True
            super().handle(number, array)

    assert len(seen(line(("see", Writing(), PROCESS)).execute("arrays", {"count": 2}))) == 2


class Summing(Seeing):
    """Looks at all there is, several times."""

    def handle(self, number: int, array: Any, segments: tuple[int, ...] = ()) -> None:
        assert [int(array.sum()) for _ in range(4)] == [0] * 4
        super().handle(number, array, segments)


def test_an_array_larger_than_a_frame_goes_through_and_counts_for_no_memory_limit() -> None:
    size = 260 * MIB
    flow = line(("on", Stage(), PROCESS), ("see", Summing(), {**PROCESS, "memory_limit": 200 * MIB}))
    (item,) = seen(flow.execute("arrays", {"count": 1, "size": size}))
    assert item["size"] == size


class Keeping(Seeing):
    """Keeps what comes, and looks at each message whether all of it is still as it was."""

    most: ClassVar[int] = 1_000_000

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[int, Any]] = []

    def handle(self, number: int, array: Any, segments: tuple[int, ...] = ()) -> None:
        self.kept.append((number, array))
        for old, kept in self.kept:
            assert kept[0] == kept[-1] == old % 251
            assert (kept == old % 251).all()
        del self.kept[: -self.most]
        super().handle(number, array)


class KeepingThree(Keeping):
    most = 3


@pytest.mark.parametrize("placement", [THREAD, PROCESS], ids=["thread", "process"])
@pytest.mark.parametrize("kind", [Keeping, KeepingThree])
def test_what_a_handler_keeps_never_changes(kind: type[Keeping], placement: dict[str, Any]) -> None:
    # With more kept than there is room for, what comes then goes without shared memory.
    flow = line(("on", Stage(), PROCESS), ("see", kind(), placement))
    items = seen(flow.execute("arrays", {"count": 40, "size": MIB // 4}, shared_memory_limit=4 * MIB))
    assert [item["number"] for item in items] == list(range(40))


class Telling(Seeing):
    """Tells of each array whether it lies in shared memory, in a worker."""

    def handle(self, number: int, array: Any, segments: tuple[int, ...] = ()) -> None:
        super().handle(number, array, (int(segment_of(array) != 0),))


def test_a_full_pool_presses_back_and_never_grows_beyond_its_limit() -> None:
    flow = line(("on", Adding(), PROCESS), ("see", Telling(), PROCESS))
    job = flow.start("arrays", {"count": 120}, shared_memory_limit=6 * MIB)
    pool, most = pool_of(job), 0
    items = []
    for item in job.results():
        most = max(most, pool.used)
        items.append(item)
    assert job.wait(60).status == "completed"
    assert len(items) == 120
    assert all(item["segments"] == [1] for item in items), "nothing had to go another way"
    assert MIB <= most <= 6 * MIB
    assert len(pool) == 0


@pytest.mark.parametrize("source", [THREAD, PROCESS], ids=["thread", "process"])
def test_a_source_that_is_far_ahead_is_held_back_before_the_pool_is_full(source: dict[str, Any]) -> None:
    class Torrent(Arrays):
        def make(self, count: int, size: int = MIB) -> None:
            for number in range(count):
                self.emit("array", number=number, array=array_of(number, size))

    flow = Flow("torrent")
    flow.add_routine(Torrent(), "torrent", **source)
    flow.add_routine(Adding(), "on", **PROCESS)
    flow.add_routine(Seeing(), "see", **THREAD)
    flow.connect("torrent", "array", "on", "input")
    flow.connect("on", "array", "see", "input")
    flow.output("see", "seen")
    job = flow.start("torrent", {"count": 1_200, "size": MIB // 4}, shared_memory_limit=1024 * MIB)
    pool = pool_of(job)
    most = 0
    for number, item in enumerate(job.results()):
        assert item["number"] == number
        most = max(most, pool.used)
    assert job.wait(60).status == "completed"
    assert most < 200 * MIB, "all of them are 600 MiB, there and back"


def test_arrays_made_for_messages_that_came_together_take_no_more_room_than_one_by_one() -> None:
    class Counting(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("trigger", handler=self.count)
            self.define_event("number", ["number"])

        def count(self, count: int) -> None:
            for number in range(count):
                self.emit("number", number=number)

    class Making(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("input", handler=self.make)
            self.define_event("array", ["number", "array"])

        def make(self, number: int) -> None:
            self.emit("array", number=number, array=array_of(number))

    flow = Flow("blocks")
    flow.add_routine(Counting(), "count")
    flow.add_routine(Making(), "make")
    flow.add_routine(Stage(), "stage", placement="process")
    flow.add_routine(Seeing(), "see")
    flow.connect("count", "number", "make", "input")
    flow.connect("make", "array", "stage", "input")
    flow.connect("stage", "array", "see", "input")
    flow.output("see", "seen")
    items = seen(flow.execute("count", {"count": 60}, shared_memory_limit=6 * MIB))
    assert [(item["number"], item["first"]) for item in items] == [(number, number) for number in range(60)]
    assert all(item["segments"] != [0] for item in items), "nothing had to go another way"


@pytest.mark.parametrize("events", [("array",), ("array", "other")])
@pytest.mark.parametrize("placement", [THREAD, PROCESS], ids=["thread", "process"])
def test_an_array_that_a_turn_emits_behind_something_else_goes_with_its_own_turn(
    placement: dict[str, Any], events: tuple[str, ...]
) -> None:
    class Numbers(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("trigger", handler=self.count)
            self.define_event("number", ["number"])

        def count(self, count: int) -> None:
            for number in range(count):
                self.emit("number", number=number)

    class Two(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("input", handler=self.make)
            for event in events:
                self.define_event(event, ["number", "array"])

        def make(self, number: int) -> None:
            self.emit(events[-1], number=number, array=array_of(number, 1))
            self.emit("array", number=number, array=array_of(number))

    flow = Flow("two")
    flow.add_routine(Numbers(), "numbers")
    flow.add_routine(Two(), "two", **placement)
    flow.add_routine(Seeing(), "see", placement="process")
    flow.connect("numbers", "number", "two", "input")
    for event in events:
        flow.connect("two", event, "see", "input")
    flow.output("see", "seen")
    items = seen(flow.execute("numbers", {"count": 100}))
    assert [item["number"] for item in items] == [number for number in range(100) for _ in range(2)]
    assert [item["size"] for item in items] == [1, MIB] * 100
    assert all(item["first"] == item["last"] == item["number"] for item in items)


def test_results_that_nobody_takes_do_not_hold_up_a_job() -> None:
    flow = Flow("collected")
    flow.add_routine(Arrays(), "arrays")
    flow.add_routine(Adding(), "add", placement="process")
    flow.connect("arrays", "array", "add", "input")
    flow.output("add", "array")
    state = flow.execute("arrays", {"count": 20}, shared_memory_limit=4 * MIB)
    items = seen(state)
    assert [int(item["array"][-1]) for item in items] == [number + 1 for number in range(20)]


def test_a_job_without_shared_memory_does_all_the_same() -> None:
    flow = line(("on", Adding(), PROCESS), ("see", Seeing(), PROCESS))
    items = seen(flow.execute("arrays", {"count": 3}, shared_memory_limit=0))
    assert [item["first"] for item in items] == [1, 2, 3]


def test_results_can_be_read_after_the_end_of_the_job() -> None:
    flow = Flow("late")
    flow.add_routine(Arrays(), "arrays")
    flow.add_routine(Adding(), "add", placement="process")
    flow.connect("arrays", "array", "add", "input")
    flow.output("add", "array")
    job = flow.start("arrays", {"count": 3})
    assert job.wait(60).status == "completed"
    pool = pool_of(job)
    arrays = [item["array"] for item in job.results()]
    assert len(pool) == 0, "it gave up what nobody has"
    assert [int(array[5]) for array in arrays] == [1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        arrays[0][0] = 1


@pytest.mark.parametrize("moment", ["reading", "kept", "written", "emitted", "streaming"])
def test_a_worker_that_is_killed_at_any_moment_loses_and_leaves_nothing(moment: str, tmp_path: Path) -> None:
    class Killed(Stage):
        def handle(self, number: int, array: Any, segments: tuple[int, ...] = ()) -> None:
            self.kept = array
            assert int(array[0]) == int(array[-1]) == number, "what is run again is still there"
            self.die(number, "reading")
            made = buffers.empty(array.shape, array.dtype)
            made[:] = 0
            self.die(number, "written")
            np.add(array, 1, out=made)
            self.emit("array", number=number, array=made)
            self.die(number, "emitted")
            if moment == "streaming":
                for _ in range(70):
                    self.emit("array", number=-1, array=made)
                self.die(number, "streaming")

        def die(self, number: int, now: str) -> None:
            file = tmp_path / f"{number}"
            late = moment == "kept" and now == "reading" and number > 0
            if (now == moment or late) and number % 3 == 1 and not file.exists():
                file.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    flow = line(("on", Killed(), {**PROCESS, "error_handler": RETRY, "max_restarts": 100}), ("see", Seeing(), PROCESS))
    job = flow.start("arrays", {"count": 6}, shared_memory_limit=16 * MIB)
    items = [item for item in job.results() if item["number"] >= 0]
    assert job.wait(60).status == "completed", job.state.error
    assert [(item["number"], item["first"], item["last"]) for item in items] == [(n, n + 1, n + 1) for n in range(6)]
    assert len(list(tmp_path.iterdir())) == 2
    assert len(pool_of(job)) == 0


def test_a_worker_that_waits_for_room_is_let_go_by_a_pause_and_by_a_cancel() -> None:
    entered = threading.Event()
    release = threading.Event()

    class Holding(Seeing):
        def handle(self, number: int, array: Any, segments: tuple[int, ...] = ()) -> None:
            entered.set()
            release.wait(60)
            super().handle(number, array)

    flow = line(("on", Adding(), PROCESS), ("see", Holding(), THREAD))
    job = flow.start("arrays", {"count": 30}, shared_memory_limit=3 * MIB)
    try:
        assert entered.wait(60)
        pool = pool_of(job)
        wait_until(lambda: pool.is_pressed)
        letting_go = threading.Thread(target=lambda: (wait_until(lambda: job.ledger.hold), release.set()))
        letting_go.start()
        job.pause(timeout=60)
        letting_go.join()
        assert job.status == "paused"
        job.resume()
        job.cancel("enough")
        assert job.wait(60).status == "cancelled"
    finally:
        release.set()


@pytest.mark.parametrize("placement", [THREAD, PROCESS], ids=["thread", "process"])
def test_a_paused_job_is_gone_on_with_from_what_its_checkpoint_has_of_its_arrays(placement: dict[str, Any]) -> None:
    store = MemoryStore()
    flow = line(("on", Adding(), PROCESS), ("see", Seeing(), placement))
    job = flow.start("arrays", {"count": 40}, store=store, job_id="kept", shared_memory_limit=64 * MIB)
    wait_until(lambda: job.state.routine_states["on"]["handled"] > 2)
    job.pause(timeout=60)
    kept = [message for known in latest(store, "kept").image.routines for message in (*known.waiting, *known.in_hand)]
    assert all(message.payload[:1] != OUTSIDE for message in kept)
    job.end_early("left")
    resumed = Flow.resume(store, "kept", flow=line(("on", Adding(), PROCESS), ("see", Seeing(), placement)))
    resumed.collect()
    assert [(item["number"], item["first"], item["last"]) for item in seen(resumed.wait(60))] == [
        (number, number + 1, number + 1) for number in range(40)
    ]


class Refusing(Seeing):
    """Fails at what comes."""

    def handle(self, number: int, array: Any, segments: tuple[int, ...] = ()) -> None:
        raise ValueError(f"not {number}")


def test_a_dead_letter_holds_its_array_and_is_redelivered_with_it() -> None:
    skipping = ErrorHandler(ErrorStrategy.CONTINUE)
    flow = line(("on", Adding(), PROCESS), ("see", Refusing(), {**PROCESS, "error_handler": skipping}))
    job = flow.start("arrays", {"count": 3}, keep_open=True, shared_memory_limit=8 * MIB)
    wait_until(lambda: len(job.dead_letters) == 3)
    assert [int(letter.data["array"][-1]) for letter in job.dead_letters] == [1, 2, 3]
    assert job.redeliver() == 3
    wait_until(lambda: len(job.dead_letters) == 3)
    letters = job.dead_letters
    job.close_entry()
    assert job.wait(60).status == "completed"
    assert [int(letter.data["array"][0]) for letter in letters] == [1, 2, 3]


def test_what_several_receive_is_there_once() -> None:
    flow = Flow("fan-out")
    flow.add_routine(Arrays(), "arrays")
    flow.add_routine(Adding(), "add", placement="process")
    flow.connect("arrays", "array", "add", "input")
    for name in ("a", "b"):
        flow.add_routine(Stage(), name, placement="process")
        flow.add_routine(Seeing(), f"see-{name}")
        flow.connect("add", "array", name, "input")
        flow.connect(name, "array", f"see-{name}", "input")
        flow.output(f"see-{name}", "seen")
    state = flow.execute("arrays", {"count": 3})
    assert state.status == "completed", state.error
    a, b = state.outputs.values()
    assert [item["segments"] for item in a] == [item["segments"] for item in b]


@pytest.mark.parametrize("size", [MIB, 1], ids=["large", "small"])
@pytest.mark.parametrize("placement", [THREAD, PROCESS], ids=["thread", "process"])
@pytest.mark.parametrize("strategy", ["append", "all", "latest"])
def test_slots_that_gather_get_arrays(strategy: str, placement: dict[str, Any], size: int) -> None:
    class Gathering(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("input", handler=self.handle, merge_strategy=strategy)
            self.define_event("sum", ["sum"])

        def handle(self, array: Any) -> None:
            arrays = array if isinstance(array, list) else [array]
            self.emit("sum", sum=sum(int(one[-1]) for one in arrays))

    flow = Flow("gathering")
    flow.add_routine(Arrays(), "arrays")
    flow.add_routine(Adding(), "add", placement="process")
    flow.add_routine(Gathering(), "gather", **placement)
    flow.connect("arrays", "array", "add", "input")
    flow.connect("add", "array", "gather", "input")
    flow.output("gather", "sum")
    params = {"count": 4, "size": size}
    sums = [item["sum"] for item in seen(flow.execute("arrays", params, shared_memory_limit=8 * MIB))]
    assert sums == ([1, 3, 6, 10] if strategy == "append" else [1, 2, 3, 4])


def test_what_a_turn_shared_and_did_not_send_is_written_again() -> None:
    class Failing(Stage):
        def handle(self, number: int, array: Any, segments: tuple[int, ...] = ()) -> None:
            self.emit("array", number=number, array=array + 1)
            if self.attempt < 8:
                raise ValueError("again")

    flow = line(("on", Failing(), {**PROCESS, "error_handler": RETRY}), ("see", Seeing(), PROCESS))
    job = flow.start("arrays", {"count": 5}, shared_memory_limit=6 * MIB)
    assert [item["first"] for item in job.results()] == [1, 2, 3, 4, 5]
    assert job.wait(60).status == "completed"


def test_an_array_that_was_released_before_its_turn_was_run_again_comes_once() -> None:
    class Releasing(Stage):
        def handle(self, number: int, array: Any, segments: tuple[int, ...] = ()) -> None:
            for index in range(6):
                self.emit("array", number=index, array=np.full(20 * MIB, index, dtype=np.uint8))
            if self.attempt < 4:
                raise ValueError("again")

    flow = line(("on", Releasing(), {**PROCESS, "error_handler": RETRY}), ("see", Seeing(), PROCESS))
    items = seen(flow.execute("arrays", {"count": 1}, shared_memory_limit=200 * MIB))
    assert [(item["number"], item["first"]) for item in items] == [(index, index) for index in range(6)]


def test_a_worker_that_names_what_it_was_not_given_is_ended() -> None:
    class Forging(Stage):
        def handle(self, number: int, array: Any, segments: tuple[int, ...] = ()) -> None:
            forge()
            self.emit("array", number=number, array=array)

    flow = line(("on", Forging(), {**PROCESS, "max_restarts": 1}), ("see", Seeing(), PROCESS))
    state = flow.execute("arrays", {"count": 1})
    assert state.status == "failed"
    assert "shared memory that it was not given" in str(state.error)


def test_bytes_that_pickle_gives_out_of_band_are_shared_without_numpy() -> None:
    script = """
import pickle, sys
sys.modules["numpy"] = None
from routilux import Flow, buffers, routine

class Block:
    def __init__(self, data):
        self.data = data
    def __reduce_ex__(self, protocol):
        return Block, (pickle.PickleBuffer(self.data),)

@routine(events={"out": ["block"]})
def make():
    return {"block": Block(bytearray(b"x" * 100_000))}

@routine(events={"told": ["kind", "size", "is_read_only"]})
def look(block):
    return {"kind": type(block.data).__name__, "size": len(block.data), "is_read_only": block.data.readonly}

flow = Flow("plain")
flow.add_routine(make, "make")
flow.add_routine(look, "look", placement="process")
flow.connect("make", "out", "look", "input")
flow.output("look", "told")
print(flow.execute("make").outputs["look", "told"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert "'kind': 'memoryview', 'size': 100000, 'is_read_only': True" in done.stdout, done.stderr


def test_without_numpy_making_an_array_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[BaseException] = []

    @routine
    def make() -> None:
        with pytest.raises(ImportError, match=r"pip install 'routilux\[numpy\]'") as caught:
            buffers.empty(10)
        told.append(caught.value)

    monkeypatch.setitem(sys.modules, "numpy", None)
    flow = Flow("lacking")
    flow.add_routine(make, "make")
    assert flow.execute("make").status == "completed"
    assert told


def test_an_array_is_made_inside_a_handler_and_of_what_can_be() -> None:
    with pytest.raises(OutsideTurnError, match="inside a handler"):
        buffers.empty(10)

    @routine(events={"out": ["shapes"]})
    def make() -> dict[str, Any]:
        for wrong in ((-1,), "three", 1.5, (2, None)):
            with pytest.raises(OptionError):
                buffers.empty(wrong)  # type: ignore[arg-type]
        for dtype in (object, "no such type"):
            with pytest.raises(OptionError):
                buffers.empty(5, dtype)
        made = [
            buffers.empty(5),
            buffers.empty((300, 400), "f4"),
            buffers.empty((), int),
            buffers.empty([100_000], "u1"),
        ]
        for array in made:
            array[...] = 3
        return {"shapes": [(array.shape, str(array.dtype)) for array in made]}

    flow = Flow("shapes")
    flow.add_routine(make, "make")
    flow.output("make", "out")
    (item,) = seen(flow.execute("make"))
    assert item["shapes"] == [((5,), "float64"), ((300, 400), "float32"), ((), "int64"), ((100_000,), "uint8")]


def test_arrays_of_all_kinds_come_as_they_are() -> None:
    rng = np.random.default_rng(5)
    arrays = {
        "fortran": np.asfortranarray(rng.random((300, 400))),
        "dates": np.arange(20_000).astype("datetime64[s]"),
        "records": np.zeros(9_000, dtype=[("a", "i4"), ("b", "f8")]),
        "sliced": rng.random((400, 400))[::2],
        "small": np.arange(3),
        "scalar": np.float32(1.5),
        "text": np.array(["ab", "c"] * 20_000),
        "deep": rng.random((10, 20, 30, 40)),
    }

    @routine(events={"out": ["arrays"]})
    def back(arrays: Any) -> dict[str, Any]:
        return {"arrays": arrays}

    for options in ({}, {"store": MemoryStore()}):
        flow = Flow("kinds")
        flow.add_routine(back, "back", placement="process")
        flow.output("back", "out")
        (item,) = seen(flow.execute("back", {"arrays": arrays}, **options))
        for name, array in arrays.items():
            read = item["arrays"][name]
            assert (read.dtype, read.shape) == (array.dtype, array.shape), name
            assert (read == array).all(), name
            assert read.flags.f_contiguous == array.flags.f_contiguous or name == "sliced"


class Hoarder(Routine):
    """Emits an array, keeps it and lets it go, so that another would take its place, were it given back too soon."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("array", ["number", "array"])
        self.kept: Any = None

    def handle(self, number: int, array: Any) -> None:
        assert segment_of(array)
        made = buffers.empty((MIB,), np.uint8)
        made[:] = number % 251
        self.emit("array", number=number, array=made)
        self.kept = made if number % 3 else None


@pytest.mark.parametrize("options", [{"ordered": True}, {"partition_by": "number"}])
def test_what_waits_for_its_turn_in_an_ordered_pool_stays_as_it_was(options: dict[str, Any]) -> None:
    flow = Flow("hoard")
    flow.add_routine(Arrays(), "source")
    flow.add_routine(Hoarder(), "hoarder", placement="process", workers=2, **options)
    flow.connect("source", "array", "hoarder", "input")
    flow.output("hoarder", "array")
    job = flow.start("source", {"count": 60}, shared_memory_limit=16 * MIB)
    seen = {result["number"]: {int(value) for value in np.unique(result["array"])} for result in job.results()}
    assert job.wait(60).status == "completed"
    assert seen == {number: {number % 251} for number in range(60)}
