"""Limits of the system and of the flow: whoever runs into one fails by name, and the rest goes on."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from routilux import Flow, Routine
from supervisors.places.base import PART_BOUND
from supervisors.places.process.link import WINDOW_LIMIT
from tests.faults.measure import SECONDS, Innocent, check_books
from tests.faults.programs import run_program
from tests.faults.watch import wait_for
from tests.runtime import shapes

STEP = shapes.Source().batch
"""Messages that the source commits at once."""

pytestmark = [pytest.mark.faults, pytest.mark.processes]

# -- Limits of the system

STARVED = """
    import ctypes, json, os, resource, struct, sys, threading
    from routilux import Flow, routine

    limit, uid = getattr(resource, sys.argv[1]), int(sys.argv[2])

    def become(uid):
        "Be a user whose processes can be counted; able, as before, to read the interpreter wherever it lies."
        libc = ctypes.CDLL(None, use_errno=True)
        read_all = (1 << 1) | (1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
        os.setgroups([])
        os.setuid(uid)
        assert libc.capset(struct.pack("Ii", 0x20080522, 0), struct.pack("6I", *[read_all] * 3, 0, 0, 0)) == 0
        for capability in (1, 2):
            assert libc.prctl(47, 2, capability, 0, 0) == 0  # PR_CAP_AMBIENT_RAISE, so that workers have it too

    @routine(events={"seen": ["n"]})
    def relay(n):
        return {"n": n}

    def run():
        flow = Flow("starved")
        flow.add_routine(relay, "relay", placement="process", max_restarts=0)
        flow.output("relay", "seen")
        return flow.execute("relay", {"n": 1})

    def tasks_of(pid):
        try:
            return len(os.listdir(f"/proc/{pid}/task")) if os.stat(f"/proc/{pid}").st_uid == uid else 0
        except FileNotFoundError:
            return 0  # it has ended since

    def used():
        "What the program holds, and what stays from its first job on to start the next workers by."
        if limit == resource.RLIMIT_NOFILE:
            return len(os.listdir("/proc/self/fd")) - 1
        while tasks_of(os.getpid()) > threading.active_count():
            threading.Event().wait(0.001)  # a thread that was joined is still on its last steps
        return sum(tasks_of(pid) for pid in os.listdir("/proc") if pid.isdigit())

    if uid:
        become(uid)
    assert run().status == "completed"
    soft, hard = resource.getrlimit(limit)
    told = []
    for spare in map(int, sys.argv[3:]):
        resource.setrlimit(limit, (used() + spare, hard))
        try:
            state = run()
            end = [str(state.status), state.error]
        except Exception as error:
            end = [type(error).__name__, str(error)]
        resource.setrlimit(limit, (soft, hard))
        told.append([*end, str(run().status), threading.active_count()])
    print(json.dumps(told))
"""


def run_starved(folder: Path, limit: str, uid: int, spares: list[int]) -> list[tuple[str, str | None]]:
    """Run a job with so many more than are in use; give how it ended."""
    status, out, err = run_program(STARVED, folder, limit, str(uid), *map(str, spares))
    assert status == 0, err
    told = json.loads(out)
    # The next job works, and nothing is left behind.
    # The one that starts workers stays.
    assert {(after, threads) for _, _, after, threads in told} <= {("completed", 1), ("completed", 2)}
    return [(end, error) for end, error, _, _ in told]


def test_a_job_without_descriptors_fails_by_name_and_the_next_one_works(tmp_path: Path) -> None:
    told = run_starved(tmp_path, "RLIMIT_NOFILE", 0, [0, 1, 2, 4, 8, 12])
    assert {status for status, _ in told} == {"failed"}
    assert all("'relay'" in str(error) and "Too many open files" in str(error) for _, error in told)


@pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0, reason="takes a user of its own, whose processes are counted"
)
@pytest.mark.stress
def test_a_job_without_processes_left_fails_by_name_and_the_next_one_works(tmp_path: Path) -> None:
    told = run_starved(tmp_path, "RLIMIT_NPROC", 54_321, [0, 1, 2, 3, 4])
    assert [status for status, _ in told] == ["StartError", *["failed"] * 4]
    words = ("can't start new thread", "Resource temporarily unavailable")
    assert all(any(word in str(error) for word in words) for _, error in told)


WORN_OUT = """
    import json, os, resource, threading
    from routilux import ErrorHandler, Flow, Routine

    class Victim(Routine):
        def __init__(self):
            super().__init__()
            self.define_slot("input", handler=self.handle)

        def handle(self, n, way):
            if way == "die":
                os._exit(3)
            if way:
                threading.Event().wait()

    def run(way, **options):
        flow = Flow("worn")
        flow.add_routine(Victim(), "victim", placement="process", error_handler=ErrorHandler("stop"), **options)
        job = flow.start(keep_open=True, shutdown=0.2)
        job.send("victim", "input", n=0, way="")
        while not job.state.routine_states["victim"]["handled"]:
            threading.Event().wait(0.01)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        job.send("victim", "input", n=1, way=way)
        if way == "cancel":
            job.cancel()
        else:
            job.close_entry()
        state = job.wait(30)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        in_hand = sum(connection.in_hand for connection in state.connections)
        return [str(state.status), state.error, in_hand, threading.active_count()]

    ways = [("die", {}), ("hang", {"timeout": 0.3}), ("", {"memory_limit": 2**28}), ("cancel", {})]
    print(json.dumps([run(way, **options) for way, options in ways]))
"""


def test_a_program_without_descriptors_left_still_ends_its_workers_and_says_why(tmp_path: Path) -> None:
    status, out, err = run_program(WORN_OUT, tmp_path)
    assert status == 0, err
    died, hung, watched, cancelled = json.loads(out)
    assert "exited with code 3" in died.pop(1)
    assert "took longer than 0.3 s and was ended" in hung.pop(1)
    assert (watched.pop(1), cancelled.pop(1)) == (None, "cancelled")
    assert [died, hung, watched, cancelled] == [[end, 0, 2] for end in ("failed", "failed", "completed", "cancelled")]


FULL = """
    import sys
    from routilux import Flow, routine

    @routine(events={"seen": ["n"]})
    def talk(n):
        print("x" * 200)
        return {"n": n}

    @routine(events={"number": ["n"]})
    def count(up_to):
        for n in range(up_to):
            yield {"n": n}

    flow = Flow("full")
    flow.add_routine(count, "count")
    flow.add_routine(talk, "talk", placement="process")
    flow.connect("count", "number", "talk", "input")
    flow.output("talk", "seen")
    state = flow.execute("count", {"up_to": 500})
    print(state.status, state.error, len(state.results()), file=sys.stderr)
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="takes a device that is always full")
def test_workers_that_print_to_a_full_device_go_on(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        _, _, err = run_program(FULL, tmp_path, stdout=full.fileno())
    assert err.splitlines()[0] == "completed None 500"


# -- Limits of the flow


@pytest.mark.parametrize("where", ["thread", "process"])
def test_a_cycle_with_full_mailboxes_does_not_stand_still(where: str) -> None:
    flow = shapes.loop(shapes.PLACEMENTS[where], capacity=1, rounds=5)
    job = flow.start("source", {"count": 500})
    state = job.wait(SECONDS)
    check_books(job, state)
    assert state.status == "completed", state.error
    sink = state.routine_states["sink"]["state"]
    assert {key: sink[f"input.{key}"] for key in ("last", "count", "sum")} == shapes.sums(500)


class Breeder(Routine):
    """Makes a hundred messages to itself of each."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("again", ["n"])

    def handle(self, n: int) -> None:
        for _ in range(100):
            self.emit("again", n=n)


@pytest.mark.stress
def test_a_cycle_that_makes_more_than_it_ends_stops_the_job_and_is_named() -> None:
    flow = Flow("breeding")
    flow.add_routine(Breeder(), "breeder")
    flow.connect("breeder", "again", "breeder", "trigger")
    job = flow.start("breeder", {"n": 0})
    state = job.wait(SECONDS)
    check_books(job, state)
    assert (state.status, state.error) == (
        "failed",
        "the cycle of breeder holds more messages than cycle_limit allows: it makes more than it ends",
    )


@pytest.mark.parametrize("where", ["thread", "process"])
def test_a_reader_who_takes_nothing_holds_the_flow_within_its_bounds_and_can_end_it(where: str) -> None:
    flow = shapes.chain(shapes.PLACEMENTS[where], capacity=50)
    flow.output("b", "number", capacity=50)
    job = flow.start("source", {"count": 1_000_000})
    [output] = job.ledger.outputs
    stages = [account for account in job.ledger.accounts if account.plan.id in {"a", "b"}]
    wait_for(lambda: output.is_pressing and all(account.is_pressed for account in stages))
    job.cancel("nobody reads")
    state = job.wait(SECONDS)
    check_books(job, state)
    assert (state.status, state.error) == ("cancelled", "nobody reads")
    # The source had so many out before it waited, and one step more; and what a stage had taken before its reader was
    # full was put back unbegun, or came out of it.
    bound = 50 + PART_BOUND + STEP + WINDOW_LIMIT
    assert all(connection.waiting <= bound for connection in state.connections), state.connections
    results = [item["n"] for item in job.results()]
    assert results == list(range(len(results)))


class Flood(Routine):
    """Emits many small messages in one turn."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.produce)
        self.define_event("number", ["n"])

    def produce(self, count: int) -> None:
        for n in range(count):
            self.emit("number", n=n)


@pytest.mark.parametrize("where", ["thread", "process"])
def test_a_flood_of_small_messages_stays_within_the_bounds_and_comes_through(where: str) -> None:
    count, most = 20_000, 0
    flow = Flow("flood")
    flow.add_routine(Flood(), "flood", placement=where)
    flow.add_routine(Innocent(), "relay", placement=where, capacity=100)
    flow.connect("flood", "number", "relay", "input")
    flow.output("relay", "number")
    job = flow.start("flood", {"count": count})
    numbers = []
    for item in job.results():
        numbers.append(item["n"])
        most = max(most, len(job.ledger.accounts[1].mailbox))
    state = job.wait(SECONDS)
    check_books(job, state)
    assert numbers == list(range(count))
    assert most <= 100 + 2 * 1_000  # what a turn that streams may have out without a grant
