"""Jobs that go on elsewhere, with the flow as it was or with another one: left and resumed in one program."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from routilux import ErrorHandler, Flow, Routine, register, routine
from routilux.errors import JobEndedError, OptionError, StateError
from routilux.jobs.errors import CheckpointFailedError, NotResumableError, ResumeRefusedError
from routilux.keeping.finding import latest
from routilux.keeping.history import StoredHistory
from routilux.keeping.saving import save
from routilux.records.errors import DamagedCheckpointError, SealError
from routilux.records.schema import StateImage
from routilux.stores.base import Store
from routilux.stores.errors import JobExistsError, JobOwnedError, UnknownJobError
from routilux.stores.files import FileStore
from routilux.stores.memory import MemoryStore
from routilux.stores.owners import this_process
from supervisors.errors import ValueEncodingError
from tests.runtime.kept import STORES, Failing, Gate, Numbers, finish, leave_at_gate, numbers, wait_until

KEY = b"a key of 24 bytes, guess"


@pytest.fixture(params=list(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](tmp_path / "jobs")


def start_and_leave(store: Store, flow: Flow, file: Path, **keeping: Any) -> None:
    """Start a job of ten numbers, and leave it when its worker is at 3."""
    job = flow.start("numbers", {"upto": 10}, store=store, job_id="j", **keeping)
    wait_until(lambda: job.state.routine_states["numbers"]["handled"])
    assert leave_at_gate(job, file, "evening").status == "paused"


@pytest.mark.parametrize("placement", ["thread", pytest.param("process", marks=pytest.mark.processes)])
def test_a_job_goes_on_where_it_was_left_with_new_code(store: Store, tmp_path: Path, placement: str) -> None:
    file = tmp_path / "open"
    start_and_leave(store, numbers(Gate(file), placement=placement), file)

    class Better(Gate):
        def handle(self, n: int) -> None:
            self.state["better"] = self.state.get("better", 0) + 1
            super().handle(n)

    state = finish(Flow.resume(store, "j", flow=numbers(Better(file), placement=placement)))
    assert state.status == "completed", state.error
    told = state.routine_states["worker"]
    assert told["state"]["seen"] == list(range(10))
    assert 0 < told["state"]["better"] < 10
    assert told["handled"] == 10
    assert [routine["status"] for routine in state.routine_states.values()] == ["completed", "completed"]
    assert [item["n"] for item in state.results()] == list(range(10)), "those of before are there too"
    assert not any(item["redelivered"] for item in state.results()), "what waits in a job that was left was not run"
    history = StoredHistory(store, "j")
    kinds = [(record.routine_id, record.kind) for record in history]
    assert kinds.count(("worker", "emit")) == 10
    assert history.problems == []


def test_a_job_that_is_done_at_once_ends_each_time(tmp_path: Path) -> None:
    store, file = MemoryStore(), tmp_path / "open"
    flow = numbers(Gate(file))
    start_and_leave(store, flow, file)
    for number in range(20):
        Flow.fork(store, "j", f"fork-{number}")
        assert finish(Flow.resume(store, f"fork-{number}", flow=flow)).status == "completed"


def test_a_failed_job_goes_on_with_the_message_that_stopped_it_and_its_tries_begin_anew(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "mended"
    flow = numbers(Failing(file), error_handler=ErrorHandler("stop"))
    job = flow.start("numbers", {"upto": 6}, store=store, job_id="j")
    assert job.wait(60).status == "failed"
    again = Flow.resume(store, "j", flow=flow).wait(60)
    assert again.status == "failed"
    assert again.routine_states["worker"]["failed"] == 2
    file.touch()
    state = finish(Flow.resume(store, "j", flow=flow))
    assert state.status == "completed"
    assert state.routine_states["worker"]["status"] == "completed"
    assert [item["n"] for item in state.results()] == list(range(6))
    assert state.results()[3]["attempt"] == 1
    with pytest.raises(NotResumableError, match="job 'j' is completed; there is nothing left to go on with"):
        Flow.resume(store, "j", flow=flow)


def test_a_cancelled_job_is_not_resumed(store: Store) -> None:
    flow = Flow("idle")
    flow.add_routine(Numbers(), "numbers")
    job = flow.start(keep_open=True, store=store, job_id="j")
    job.cancel("enough")
    job.wait(60)
    with pytest.raises(NotResumableError) as caught:
        Flow.resume(store, "j", flow=flow)
    assert (caught.value.job_id, caught.value.status) == ("j", "cancelled")
    assert "it cannot be resumed: fork it to run what it had left" in str(caught.value)
    assert store.owner("j") is None, "its lease is given back"


def test_an_open_job_stays_open_and_skipped_routines_stay_skipped(store: Store, tmp_path: Path) -> None:
    flow = numbers(Failing(tmp_path / "never", at=0), error_handler=ErrorHandler("skip"))
    job = flow.start(keep_open=True, store=store, job_id="j")
    job.send("worker", "input", n=0)
    wait_until(lambda: job.state.routine_states["worker"]["status"] == "skipped")
    job.leave()
    job = Flow.resume(store, "j", flow=flow)
    job.send("worker", "input", n=1)
    assert job.status == "running"
    job.close_entry()
    state = finish(job)
    assert state.routine_states["worker"]["status"] == "skipped"
    assert state.routine_states["worker"]["skipped"] == 1


def test_retries_wait_on_and_count_on_and_dead_letters_come_back(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "mended"
    retry = ErrorHandler("retry", max_retries=5, retry_delay=300.0, max_retry_delay=300.0)
    slow = numbers(Failing(file, at=1), error_handler=retry)
    job = slow.start(keep_open=True, store=store, job_id="slow")
    job.send("worker", "input", n=1)
    wait_until(lambda: job.state.routine_states["worker"]["stats"]["in_retry"])
    job.leave()
    wait = latest(store, "slow").image.routines[1].retries[0]
    assert 200 < wait.seconds < 600
    job = Flow.resume(store, "slow", flow=slow)
    (again,) = next(account for account in job.ledger.accounts if account.plan.id == "worker").in_retry.values()
    assert again.messages[0].failures == 1
    job.leave()
    rest = latest(store, "slow").image.routines[1].retries[0]
    assert 0 < rest.seconds <= wait.seconds

    lossy = numbers(Failing(file, at=1), error_handler=ErrorHandler("continue"))
    job = lossy.start(keep_open=True, store=store, job_id="lossy")
    job.send("worker", "input", n=1)
    wait_until(lambda: job.dead_letters)
    job.leave()
    job = Flow.resume(store, "lossy", flow=lossy)
    (letter,) = job.dead_letters
    assert (letter.data, letter.attempts) == ({"n": 1}, 1)
    assert "FileNotFoundError" in letter.cause
    file.touch()
    assert job.redeliver(letter) == 1
    job.close_entry()
    assert [item["n"] for item in finish(job).results()] == [1]


class Merging(Routine):
    """Gathers, by two strategies."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("listed", handler=self.take, merge_strategy="append")
        self.define_slot("added", handler=self.take, merge_strategy=lambda old, new: {"n": old["n"] + new["n"]})
        self.define_event("now", ["n"])

    def take(self, n: Any) -> None:
        self.emit("now", n=n)


def test_what_slots_have_gathered_goes_on(store: Store) -> None:
    flow = Flow("merging")
    flow.add_routine(Merging(), "merging")
    flow.output("merging", "now")
    job = flow.start(keep_open=True, store=store, job_id="j")
    for slot in ("listed", "added"):
        job.send("merging", slot, n=1)
        job.send("merging", slot, n=2)
    wait_until(lambda: job.state.routine_states["merging"]["handled"] == 4)
    job.leave()
    job = Flow.resume(store, "j", flow=flow)
    job.send("merging", "listed", n=3)
    job.send("merging", "added", n=4)
    job.close_entry()
    assert [item["n"] for item in finish(job).results()][-2:] == [[1, 2, 3], 7]


class Remembering(Routine):
    """Draws something once, and waits."""

    drawn: ClassVar[list[int]] = []

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.define_slot("trigger", handler=self.go)
        self.define_event("drawn", ["value", "message"])

    def go(self) -> None:
        def draw() -> int:
            self.drawn.append(len(self.drawn))
            return len(self.drawn)

        value = self.once("draw", draw)
        wait_until(self.file.exists)
        self.emit("drawn", value=value, message=self.message_id)


def test_what_was_done_once_is_not_done_again(store: Store, tmp_path: Path) -> None:
    Remembering.drawn.clear()
    file = tmp_path / "open"
    flow = Flow("once")
    flow.add_routine(Remembering(file), "r")
    flow.output("r", "drawn")
    job = flow.start("r", store=store, job_id="j")
    wait_until(lambda: Remembering.drawn)
    wait_until(lambda: job.ledger.accounts[0].in_hand and next(iter(job.ledger.accounts[0].in_hand.values())).once)
    message = next(iter(job.ledger.accounts[0].in_hand.values())).id
    job.checkpoint()
    Flow.fork(store, "j", "newer")
    file.touch()
    finish(job)
    flow2 = Flow("once")
    flow2.add_routine(Remembering(file), "r")
    flow2.output("r", "drawn")
    assert finish(Flow.resume(store, "newer", flow=flow2)).results() == [{"value": 1, "message": message}]
    assert len(Remembering.drawn) == 1


def test_pauses_are_told_over_generations(store: Store) -> None:
    flow = Flow("idle")
    flow.add_routine(Numbers(), "numbers")
    job = flow.start(keep_open=True, store=store, job_id="j")
    job.pause("lunch", {"by": "me"})
    job.resume()
    job.leave("evening")
    job = Flow.resume(store, "j", flow=flow)
    job.pause("tea")
    job.leave()
    points = latest(store, "j").image.job.pause_points
    assert [(point.reason, point.generation) for point in points] == [("lunch", 1), ("evening", 1), ("tea", 2)]
    assert points[0].checkpoint is not None
    assert [point.number for point in points] == sorted(point.number for point in points)


# ---- with another flow


def test_routines_slots_and_events_get_new_names(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "open"
    start_and_leave(store, numbers(Gate(file)), file)

    class Renamed(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("source", handler=self.handle)
            self.define_event("result", ["n"])

        def handle(self, n: int) -> None:
            self.state["seen"] = [*self.state["seen"], n]
            self.emit("result", n=n)

    flow = Flow("numbers")
    flow.add_routine(Numbers(), "count")
    flow.add_routine(Renamed(), "work")
    flow.connect("count", "number", "work", "source")
    flow.output("work", "result")
    with pytest.raises(ResumeRefusedError) as caught:
        Flow.resume(store, "j", flow=flow)
    assert any("'numbers.number -> worker.input'" in loss for loss in caught.value.losses)
    rename = {"numbers": "count", "worker": "work", "worker.input": "source", "worker.done": "work.result"}
    job = Flow.resume(store, "j", flow=flow, rename=rename)
    state = finish(job)
    assert state.routine_states["work"]["state"]["seen"] == list(range(10))
    assert [item["n"] for item in state.results()] == list(range(10))


@register("tests.resuming.Total")
class Total(msgspec.Struct):
    sum: int = 0
    count: int = 0


class Adding(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.add)

    def add(self, n: int) -> None:
        self.state["sum"] = self.state.get("sum", 0) + n


class Totalling(Adding):
    state_type: ClassVar[type] = Total
    state_policy: ClassVar[str] = "value"

    def __init__(self) -> None:
        super().__init__()
        self.state = Total()

    def add(self, n: int) -> None:
        self.state = Total(self.state.sum + n, self.state.count + 1)


def one(routine: Routine) -> Flow:
    flow = Flow("one")
    flow.add_routine(routine, "r")
    return flow


def run_and_leave(store: Store, flow: Flow, *numbers: int, resume: bool = False, **options: Any) -> Any:
    """Give the state of `r` after it has added some numbers."""
    if resume:
        job = Flow.resume(store, "j", flow=flow, **options)
    else:
        job = flow.start(keep_open=True, store=store, job_id="j", **options)
    for n in numbers:
        job.send("r", "trigger", n=n)
    wait_until(lambda: not job.ledger.outstanding)
    return job.leave().routine_states["r"]["state"]


def test_a_state_is_migrated_from_a_dict_to_an_object_and_back(store: Store) -> None:
    assert run_and_leave(store, one(Adding()), 1, 2) == {"sum": 3}
    with pytest.raises(ResumeRefusedError, match=r"which was dict and is Total\(sum, count\): migrate=\{'r': "):
        Flow.resume(store, "j", flow=one(Totalling()))
    migrate: dict[str, Any] = {"r": lambda old: Total(old["sum"], 2)}
    assert run_and_leave(store, one(Totalling()), 4, resume=True, migrate=migrate) == Total(7, 3)
    migrate = {"r": lambda old: {"sum": old.sum}}
    assert run_and_leave(store, one(Adding()), 1, resume=True, migrate=migrate) == {"sum": 8}
    assert run_and_leave(store, one(Totalling()), 1, resume=True, drop=["r.state"]) == Total(1, 1), "from the start"


def test_a_migration_that_raises_leaves_the_job_as_it_was(store: Store) -> None:
    run_and_leave(store, one(Adding()), 1, 2)
    with pytest.raises(KeyError, match="count"):
        Flow.resume(store, "j", flow=one(Totalling()), migrate={"r": lambda old: Total(old["sum"], old["count"])})
    assert store.owner("j") is None
    assert run_and_leave(store, one(Adding()), 1, resume=True) == {"sum": 4}


def test_a_migration_that_gives_no_state_is_refused_and_leaves_the_job_as_it_was(store: Store) -> None:
    run_and_leave(store, one(Adding()), 1, 2)
    with pytest.raises(StateError, match="state of Adding: expected dict, got NoneType"):
        Flow.resume(store, "j", flow=one(Adding()), migrate={"r": lambda old: old.update(more=1)})
    with pytest.raises(StateError, match="state of Totalling: expected Total, got dict"):
        Flow.resume(store, "j", flow=one(Totalling()), migrate={"r": lambda old: old})
    assert store.owner("j") is None
    assert run_and_leave(store, one(Adding()), 1, resume=True) == {"sum": 4}


def test_a_state_of_an_older_version_of_its_class_is_migrated_by_its_registration(store: Store) -> None:
    def version(number: int) -> type[Routine]:
        if number == 1:

            @dataclass
            class Score:
                points: int = 0

            register("tests.resuming.Score")(Score)
        else:

            @dataclass
            class Score:  # type: ignore[no-redef]
                points: int = 0
                bonus: int = 0

            migrations = {1: lambda old: {**old, "bonus": 100}}
            register("tests.resuming.Score", version=2, migrations=migrations)(Score)

        class Scoring(Routine):
            state_type: ClassVar[type] = Score
            state_policy: ClassVar[str] = "value"

            def __init__(self) -> None:
                super().__init__()
                self.state = Score()
                self.define_slot("trigger", handler=self.add)

            def add(self, n: int) -> None:
                self.state = Score(self.state.points + n, *([self.state.bonus + 1] if number == 2 else []))

        return Scoring

    assert run_and_leave(store, one(version(1)()), 5).points == 5
    after = run_and_leave(store, one(version(2)()), 1, resume=True)
    assert (after.points, after.bonus) == (6, 101)


# ---- whose it is


def test_a_job_has_one_runner_at_a_time(store: Store) -> None:
    flow = one(Adding())
    job = flow.start(keep_open=True, store=store, job_id="j")
    me = this_process()
    with pytest.raises(JobOwnedError, match=f"job 'j' is run by process {me.pid} on {me.host}: leave or cancel it"):
        Flow.resume(store, "j", flow=flow)
    with pytest.raises(JobExistsError, match="has a job 'j' already: resume it, or choose another id"):
        flow.start(keep_open=True, store=store, job_id="j")
    job.leave()
    with pytest.raises(JobExistsError):
        flow.start(keep_open=True, store=store, job_id="j")
    with pytest.raises(UnknownJobError):
        Flow.resume(store, "other", flow=flow)
    with pytest.raises(OptionError, match="checkpoint_every"):
        Flow.resume(store, "j", flow=flow, checkpoint_every=-1)
    assert store.owner("j") is None
    run_and_leave(store, flow, 1, resume=True)


def test_a_job_whose_program_died_before_its_first_checkpoint_can_be_started(store: Store) -> None:
    store.acquire("j", this_process(), create=True).release()
    assert run_and_leave(store, one(Adding()), 1) == {"sum": 1}


@pytest.mark.parametrize("notices", ["checkpoint", "history", "end"])
def test_a_runner_whose_job_was_taken_over_stops_and_writes_nothing_more(
    notices: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    flow = one(Adding())
    job = flow.start(keep_open=True, store=store, job_id="j")
    store._jobs["j"].lease = None  # as it is where a machine is taken for dead
    other = Flow.resume(store, "j", flow=one(Adding()))
    there = {info.name: info.size_bytes for info in (*store.objects("j"), *store.logs("j")) if "000001" in info.name}
    if notices == "checkpoint":
        with pytest.raises(CheckpointFailedError, match="was taken over by generation 2: generation 1 may not write"):
            job.checkpoint()
    elif notices == "history":
        with contextlib.suppress(JobEndedError):  # it may notice while these come
            for _ in range(1_000):
                job.send("r", "trigger", n=1)
    else:
        with pytest.raises(CheckpointFailedError, match="was taken over"):
            job.leave()
        assert "resumed, the job goes on from the checkpoint before" in caplog.text
    if notices != "end":
        state = job.wait(60)
        assert state.status == "failed"
        assert "job 'j' was taken over by generation 2: generation 1 may not write" in str(state.error)
    names = {info.name: info.size_bytes for info in (*store.objects("j"), *store.logs("j")) if "000001" in info.name}
    assert names.items() <= there.items()
    other.send("r", "trigger", n=5)
    wait_until(lambda: not other.ledger.outstanding)
    assert other.leave().routine_states["r"]["state"] == {"sum": 5}


def test_a_folder_that_was_copied_elsewhere_goes_on_there(tmp_path: Path) -> None:
    flow = one(Adding())
    job = flow.start(keep_open=True, store=tmp_path / "here", job_id="j")
    job.send("r", "trigger", n=3)
    wait_until(lambda: not job.ledger.outstanding)
    job.checkpoint()
    shutil.copytree(tmp_path / "here", tmp_path / "there")  # while it runs
    job.cancel()
    job.wait(60)
    assert run_and_leave(FileStore(tmp_path / "there"), flow, 4, resume=True) == {"sum": 7}


# ---- keys and pickles


def test_a_key_that_is_wrong_or_missing_or_not_needed_is_told(store: Store) -> None:
    flow = one(Adding())
    run_and_leave(store, flow, 1, key=KEY)
    for key in (None, b"another key of 24 bytes."):
        with pytest.raises(SealError):
            Flow.resume(store, "j", flow=flow, key=key)
    assert store.owner("j") is None
    assert run_and_leave(store, flow, 2, resume=True, key=KEY) == {"sum": 3}
    Flow.fork(store, "j", "open", key=KEY)
    with pytest.raises(SealError):
        Flow.fork(store, "j", "closed")
    flow.start(keep_open=True, store=store, job_id="plain").leave()
    with pytest.raises(SealError):
        Flow.resume(store, "plain", flow=flow, key=KEY)


class Foreign:
    """Nobody has registered it."""

    n = 1


class Holding(Adding):
    def add(self, n: int) -> None:
        self.state["thing"] = {"deep": [Foreign()]}


def test_a_pickle_is_refused_where_it_is_written_and_where_it_is_read(store: Store) -> None:
    with pytest.raises(ValueEncodingError, match=r"data\['n'\] cannot be carried"):
        one(Holding()).start("r", {"n": Foreign()}, store=MemoryStore())
    failed = one(Holding()).execute("r", {"n": 1}, store=MemoryStore())
    assert failed.status == "failed"
    assert "state['thing']['deep'][0] cannot be carried" in str(failed.error)
    run_and_leave(store, one(Holding()), 1, allow_pickle=True)
    assert latest(store, "j").image.header.needs == ["pickle"]
    with pytest.raises(ResumeRefusedError, match="values that were written as pickles: give allow_pickle=True if you"):
        Flow.resume(store, "j", flow=one(Holding()))
    state = run_and_leave(store, one(Holding()), 1, resume=True, allow_pickle=True)
    assert isinstance(state["thing"]["deep"][0], Foreign)


def test_pickles_among_results_and_pauses_are_needed_too(store: Store) -> None:
    class Giving(Adding):
        def __init__(self) -> None:
            super().__init__()
            self.define_event("out", ["value"])

        def add(self, n: int) -> None:
            self.emit("out", value=Foreign())

    flow = one(Giving())
    flow.output("r", "out")
    run_and_leave(store, flow, 1, allow_pickle=True)
    assert latest(store, "j").image.header.needs == ["pickle"]
    job = flow.start(keep_open=True, store=store, job_id="k", allow_pickle=True)
    job.pause("", Foreign())
    job.leave()
    assert latest(store, "k").image.header.needs == ["pickle"]


@pytest.mark.parametrize("placement", ["thread", pytest.param("process", marks=pytest.mark.processes)])
def test_results_of_any_kind_that_can_be_kept_are_read_again(placement: str) -> None:
    class Giving(Adding):
        def __init__(self) -> None:
            super().__init__()
            self.define_event("out", ["value"])

        def add(self, n: int) -> None:
            self.emit("out", value=({n}, Total(n)))

    store, flow = MemoryStore(), Flow("giving")
    flow.add_routine(Giving(), "r", placement=placement)
    flow.output("r", "out")
    run_and_leave(store, flow, 1)
    job = Flow.resume(store, "j", flow=flow)
    job.send("r", "trigger", n=2)
    job.close_entry()
    assert [item["value"] for item in finish(job).results()] == [({1}, Total(1)), ({2}, Total(2))]


def test_all_that_waited_in_a_running_job_may_have_been_run(tmp_path: Path) -> None:
    store, file = MemoryStore(), tmp_path / "open"
    job = numbers(Gate(file)).start("numbers", {"upto": 50}, store=store, job_id="j", checkpoint_every=None)
    wait_until(lambda: job.state.routine_states["numbers"]["handled"] == 1)
    wait_until(lambda: job.state.routine_states["worker"]["handled"] == 3)
    job.checkpoint()
    Flow.fork(store, "j", "later")  # as a program that was killed would have left it
    file.touch()
    job.wait()
    state = finish(Flow.resume(store, "later", flow=numbers(Gate(file))))
    assert [(item["n"], item["redelivered"]) for item in state.results()[3:]] == [(n, True) for n in range(3, 50)]


class Told(Routine):
    """Keeps by which ids numbers came."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.keep)

    def keep(self, n: int, **_: Any) -> None:
        self.state[str(n)] = self.message_id


def told_by(file: Path, *ids: str) -> Flow:
    flow = numbers(Gate(file))
    for id_ in ids:
        flow.add_routine(Told(), id_)
        flow.connect("worker", "done", id_, "input")
    return flow


def test_messages_of_a_connection_that_was_renamed_have_the_same_ids_and_no_others_have(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "open"
    start_and_leave(store, told_by(file, "told"), file)
    for new_id in ("same", "renamed"):
        Flow.fork(store, "j", new_id)

    def ids(job_id: str, *told: str, **options: Any) -> list[dict[str, str]]:
        job = Flow.resume(store, job_id, flow=told_by(file, *told), **options)
        finish(job)
        return [job.state.routine_states[id_]["state"] for id_ in told]

    [expected] = ids("same", "told")
    assert len(expected) == 10
    # The other one is called as that one was, and is another one all the same.
    renamed, other = ids("renamed", "new", "told", rename={"told": "new"})
    assert renamed == expected
    assert len(other) == 6
    assert not {*other.values()} & {*expected.values()}
    Flow.fork(store, "renamed", "again", checkpoint=(2, 2))
    assert ids("again", "newer", "told", rename={"new": "newer"}) == [renamed, other]


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x81\x01\x01", b"\x81\xa1a\x91\x01"])
def test_a_state_that_is_none_is_refused_as_damage(store: Store, body: bytes) -> None:
    run_and_leave(store, one(Adding()), 1)
    image = latest(store, "j").image
    lease = store.acquire("j", this_process(), create=False)
    header = msgspec.structs.replace(image.header, generation=lease.generation)
    save(store, lease, msgspec.structs.replace(image, header=header, states=[StateImage("r", 0, body)]))
    lease.release()
    for rename in ({}, {"r": "r"}):
        with pytest.raises(DamagedCheckpointError, match="what should be a state is none"):
            Flow.resume(store, "j", flow=one(Adding()), rename=rename)
    assert store.owner("j") is None


def test_a_function_that_yields_has_each_of_its_values_out_once_though_it_has_no_cursor() -> None:
    here, further = threading.Event(), threading.Event()

    @routine(events={"number": ["n"]})
    def count(upto: int) -> Iterator[int]:
        for n in range(upto):
            if n == 3 and not further.is_set():
                here.set()
                assert further.wait(10)
                raise ConnectionError("not yet")
            yield n

    flow = Flow("counting")
    flow.add_routine(count, "count", error_handler=ErrorHandler("retry", retry_delay=0.0))
    flow.output("count", "number")
    store = MemoryStore()
    with flow.start("count", {"upto": 6}, store=store, job_id="j") as job:
        assert here.wait(10)
        job.checkpoint()
        further.set()
        assert [item["n"] for item in job.results()] == list(range(6))  # after a try that failed
    assert Flow.fork(store, "j", "k", checkpoint=(1, 2)) == "j/1-2"
    with Flow.resume(store, "k", flow=flow) as job:
        assert [item["n"] for item in job.results()] == list(range(6))  # and after a resume
