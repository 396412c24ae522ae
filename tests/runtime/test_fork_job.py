"""New jobs of what a kept checkpoint of another holds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from routilux import ErrorHandler, Flow, Routine
from routilux.jobs.errors import NotResumableError
from routilux.keeping.finding import latest
from routilux.keeping.listing import list_checkpoints
from routilux.stores.base import Lease, Store
from routilux.stores.errors import JobExistsError, MissingObjectError, StoreWriteError, UnknownJobError
from routilux.stores.memory import MemoryStore
from routilux.stores.owners import this_process
from tests.runtime.kept import STORES, Failing, Numbers, finish, numbers, wait_until

KEY = b"a key of 24 bytes, guess"
LARGE = "x" * 200_000


@pytest.fixture(params=list(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](tmp_path / "jobs")


class Adding(Routine):
    """Adds numbers up; its state is large."""

    def __init__(self) -> None:
        super().__init__()
        self.state = {"sum": 0, "large": LARGE}
        self.define_slot("trigger", handler=self.add)
        self.define_event("sum", ["sum", "message"])

    def add(self, n: int) -> None:
        self.state["sum"] += n
        self.emit("sum", sum=self.state["sum"], message=self.message_id)


def adding() -> Flow:
    flow = Flow("adding")
    flow.add_routine(Adding(), "r")
    flow.output("r", "sum")
    return flow


def test_a_fork_of_a_running_job_is_independent_of_it(store: Store) -> None:
    job = adding().start(keep_open=True, store=store, job_id="j", keep_checkpoints=9, key=KEY)
    sums = {}
    for n in (1, 2, 3):
        job.send("r", "trigger", n=n)
        wait_until(lambda: not job.ledger.outstanding)
        info = job.checkpoint()
        sums[info.generation, info.number] = sum(range(n + 1))
    (older, _), (_, middle), (newest, _) = sums.items()
    assert middle == 3
    assert Flow.fork(store, "j", "of-newest", key=KEY) == f"j/{newest[0]}-{newest[1]}"
    assert Flow.fork(store, "j", "of-older", checkpoint=older, key=KEY) == f"j/{older[0]}-{older[1]}"
    header = latest(store, "of-older", key=KEY).image.header
    assert (header.status, header.forked_from, header.generation, header.number) == ("paused", "j/1-2", 1, 1)
    job.send("r", "trigger", n=100)
    job.close_entry()
    before = finish(job).results()
    store.remove(store.acquire("j", this_process(), create=False))
    ids = {item["message"] for item in before}
    for name, start in (("of-newest", 6), ("of-older", 1)):
        other = Flow.resume(store, name, flow=adding(), key=KEY)
        other.send("r", "trigger", n=10)
        other.close_entry()
        state = finish(other)
        assert state.results()[-1]["sum"] == start + 10
        assert state.results()[-1]["message"] not in ids, "what comes in new is another message"
        assert state.routine_states["r"]["state"]["large"] == LARGE
        assert latest(store, name, key=KEY).image.header.forked_from is not None


def test_a_fork_goes_on_with_what_a_cancelled_or_failed_job_had_left(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "mended"
    failing = numbers(Failing(file), error_handler=ErrorHandler("stop"))
    assert failing.start("numbers", {"upto": 6}, store=store, job_id="failed").wait(60).status == "failed"
    waiting = numbers(Failing(file), error_handler=ErrorHandler("retry", max_retries=9, retry_delay=30.0))
    job = waiting.start("numbers", {"upto": 6}, store=store, job_id="cancelled")
    wait_until(lambda: job.state.routine_states["worker"]["stats"]["in_retry"])
    wait_until(lambda: job.state.routine_states["numbers"]["handled"])
    job.cancel("enough")
    job.wait(60)
    with pytest.raises(NotResumableError, match="fork it"):
        Flow.resume(store, "cancelled", flow=failing)
    file.touch()
    for job_id, attempt in (("failed", 1), ("cancelled", None)):
        Flow.fork(store, job_id, f"of-{job_id}")
        if attempt is None:
            wait = latest(store, "of-cancelled").image.routines[1].retries
            assert [message.failures for one in wait for message in one.messages] == [1], "its tries count on"
            continue
        state = finish(Flow.resume(store, f"of-{job_id}", flow=failing))
        assert state.status == "completed"
        assert [item["n"] for item in state.results()] == list(range(6))
        assert state.results()[3]["attempt"] == attempt
        assert latest(store, job_id).image.header.status == "failed", "nothing of it was changed"


def test_a_fork_of_a_completed_job_has_nothing_left_to_do(store: Store) -> None:
    job = adding().start("r", {"n": 1}, store=store, job_id="j")
    finish(job)
    Flow.fork(store, "j", "again")
    state = finish(Flow.resume(store, "again", flow=adding()))
    assert (state.status, [item["sum"] for item in state.results()]) == ("completed", [1])


def test_what_cannot_be_forked_is_told(store: Store) -> None:
    adding().start(keep_open=True, store=store, job_id="j").leave()
    with pytest.raises(UnknownJobError):
        Flow.fork(store, "other", "new")
    with pytest.raises(MissingObjectError):
        Flow.fork(store, "j", "new", checkpoint=(1, 99))
    with pytest.raises(JobExistsError):
        Flow.fork(store, "j", "j")
    assert store.jobs() == ["j"]


class Full(MemoryStore):
    """Takes no checkpoint of a fork while it is full."""

    is_full = True

    def put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        if self.is_full and lease.job_id == "new":
            raise StoreWriteError("a checkpoint", "the disk is full")
        return super().put(lease, name, parts)


def test_a_fork_that_could_not_be_written_can_be_tried_again() -> None:
    store = Full()
    adding().start(keep_open=True, store=store, job_id="j").leave()
    with pytest.raises(StoreWriteError):
        Flow.fork(store, "j", "new")
    assert list_checkpoints(store, "new") == []
    store.is_full = False
    assert Flow.fork(store, "j", "new").startswith("j/1-")
    Flow.resume(store, "new", flow=adding()).leave()


def test_a_resume_that_cannot_be_written_leaves_the_job_to_be_resumed() -> None:
    store = Full()
    store.is_full = False
    adding().start(keep_open=True, store=store, job_id="new").leave()
    store.is_full = True
    with pytest.raises(OSError, match="the disk is full"):
        Flow.resume(store, "new", flow=adding())
    store.is_full = False
    assert latest(store, "new").image.header.status == "paused"
    Flow.resume(store, "new", flow=adding()).leave()


class Charging(Routine):
    """Has an effect outside, once for each message that its source sends it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.define_slot("input", handler=self.charge)

    def charge(self, n: int) -> None:
        self.once("charge", lambda: self.write(n))

    def write(self, n: int) -> None:
        with self.file.open("a") as file:
            file.write(f"{n}\n")


def test_what_was_done_once_after_the_checkpoint_is_not_done_again_in_a_fork_of_it(
    store: Store, tmp_path: Path
) -> None:
    def charging() -> Flow:
        flow = Flow("charging")
        flow.add_routine(Numbers(), "numbers")
        flow.add_routine(Charging(tmp_path / "charged"), "charge")
        flow.connect("numbers", "number", "charge", "input")
        return flow

    state = finish(charging().start("numbers", {"upto": 5}, store=store, job_id="j", keep_checkpoints=9))
    assert state.status == "completed", state.error
    Flow.fork(store, "j", "again", checkpoint=(1, 1))
    state = finish(Flow.resume(store, "again", flow=charging()))
    assert state.routine_states["charge"]["handled"] == 5
    assert (tmp_path / "charged").read_text() == "0\n1\n2\n3\n4\n"
