"""How routines come to rest and go on, and what happens around a pause: whole jobs, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, JobStatus, Routine
from routilux.jobs.checkpoints import Pause
from routilux.jobs.errors import PauseTimeoutError
from routilux.jobs.recorder import CheckpointInfo
from routilux.keeping.finding import latest, load
from routilux.runtime.commands import Cancel, Leave, PauseJob, Rested, ResumeJob
from routilux.runtime.rest import Rest
from routilux.stores.base import Lease
from routilux.stores.errors import StoreWriteError
from routilux.stores.memory import MemoryStore
from routilux.turn.codec import decode_boot
from supervisors.places.scripted import Faults
from tests.runtime.seeded import JOB, SeededJob

SEEDS = range(5)


class Full(MemoryStore):
    """A store that takes nothing while it is full."""

    is_full = False

    def put(self, lease: Lease, name: str, parts: Any) -> int:
        if self.is_full:
            raise StoreWriteError(name, "it is full")
        return super().put(lease, name, parts)


class Handler(Routine):
    """Calls what the test wants."""

    def __init__(self, act: Callable[..., Any], policy: str = "encoded") -> None:
        super().__init__()
        self.act = act
        self.state_policy = policy
        self.define_slot("trigger", handler=self.handle)
        self.define_event("out", ["n"])

    def handle(self, n: int) -> Any:
        return self.act(self, n)


def start(
    act: Callable[..., Any],
    seed: int = 0,
    *,
    policy: str = "encoded",
    store: MemoryStore | None = None,
    every: float | None = None,
    placement: str = "thread",
    faults: Faults = Faults(),  # noqa: B008  frozen
    handler: ErrorHandler | None = None,
) -> SeededJob:
    flow = Flow("rest")
    options: dict[str, Any] = {} if handler is None else {"error_handler": handler}
    flow.add_routine(Handler(act, policy), "one", placement=placement, **options)
    keeping: Any = {"store": store or Full(), "checkpoint_every": every}
    job = SeededJob(flow, seed, faults, keeping=keeping)
    job.run_until(job.supervisor.state_ref.done)
    return job


def pause(job: SeededJob, timeout: float | None = None, on_timeout: str = "abort") -> Future[CheckpointInfo | None]:
    reply: Future[CheckpointInfo | None] = Future()
    job.root.signal(PauseJob(Pause("test", None), timeout, on_timeout, reply))
    return reply


def resume(job: SeededJob) -> Future[bool]:
    reply: Future[bool] = Future()
    job.root.signal(ResumeJob(reply))
    return reply


def end(job: SeededJob) -> Any:
    job.ledger.close_entry()
    job.run_until(job.finished.done)
    return job.finished.result()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_generator_that_changes_its_state_in_place_rests_at_its_yield(seed: int) -> None:
    job: SeededJob
    replies: list[Future[Any]] = []

    def act(one: Handler, n: int) -> Iterator[None]:
        for step in range(one.state.get("step", 0), n):
            one.state["step"] = step + 1
            if step == 5 and not replies:
                replies.append(pause(job, 10.0))
                job.host.wait_inside(lambda: not job.ledger.is_open, None, "the handler")
            yield

    job = start(act, seed, policy="in_place")
    job.send("one", n=40)
    job.run_until(lambda: bool(replies) and replies[0].done())
    (reply,) = replies
    info = reply.result()
    assert info is not None
    image = load(job.kept.store, JOB, info.generation, info.number)  # type: ignore[union-attr]
    (message,) = image.routines[0].in_hand
    (state,) = image.states
    assert job.codec.decode(decode_boot(state.body)[""]) == {"step": 6}
    assert not message.failures
    assert job.state_actor.status is JobStatus.PAUSED
    resume(job)
    assert end(job).status is JobStatus.COMPLETED
    assert job.state("one") == {"step": 40}


def test_a_turn_that_changes_its_state_in_place_does_not_rest_in_the_middle_of_an_emission() -> None:
    job = start(lambda _one, _n: None, policy="in_place")
    account, ledger, told = job.account("one"), job.ledger, list[Rested]()
    rest = Rest(account, ledger, told.append)
    job.send("one", n=1)
    ((delivery, _),) = ledger.take(account)
    number = ledger.hold_gate()
    rest.tell()  # as from inside of an `emit`, which then goes on to its boundary
    assert ledger.has_room(account)
    assert told == []
    ledger.put_back(account, (delivery,))
    rest.tell()
    assert told == [Rested(account.index, number)]


@pytest.mark.parametrize("ends", ["raises", "returns", "emits"])
def test_a_turn_that_was_given_up_by_a_pause_is_run_again_however_it_ends(ends: str) -> None:
    tries: list[bool] = []
    job: SeededJob

    def act(one: Handler, n: int) -> None:
        tries.append(one.redelivered)
        if len(tries) > 1:
            one.state["n"] = n
            return
        reply = pause(job, 1.0, "requeue")
        # The rest of the world goes on while this handler runs.
        job.host.wait_inside(reply.done, None, "the handler")
        assert job.state_actor.status is JobStatus.PAUSED
        resumed = resume(job)
        job.host.wait_inside(resumed.done, None, "the handler")
        if ends == "raises":
            raise ValueError(n)
        one.state["n"] = -1

    job = start(act)
    job.send("one", n=7)
    job.send("one", n=8)
    cut = end(job)
    assert cut.status is JobStatus.COMPLETED, cut.error
    assert tries == [False, True, False]
    assert job.state("one") == {"n": 8}
    assert (cut.routines[0].figures.handled, cut.routines[0].figures.failed) == (2, 0)


def test_a_pause_gives_up_on_a_handler_that_changes_its_state_in_place() -> None:
    job: SeededJob
    found: list[BaseException | None] = []

    def act(one: Handler, n: int) -> None:
        one.state["half"] = n
        reply = pause(job, 1.0, "requeue")
        job.host.wait_inside(reply.done, None, "the handler")
        found.append(reply.exception())
        one.state["whole"] = n

    job = start(act, policy="in_place")
    job.send("one", n=7)
    assert end(job).status is JobStatus.COMPLETED
    assert [type(error) for error in found] == [PauseTimeoutError]
    assert job.state("one") == {"half": 7, "whole": 7}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_checkpoint_comes_while_a_message_of_a_state_in_place_waits_for_its_retry(seed: int) -> None:
    job: SeededJob
    asked: list[Future[CheckpointInfo]] = []

    def act(one: Handler, n: int) -> None:
        if one.attempt == 1:
            asked.append(job.ask_checkpoint())
            job.host.wait_inside(lambda: job.account("one").is_stopping, None, "the handler")
            raise ValueError(n)

    job = start(act, seed, policy="in_place", handler=ErrorHandler("retry", retry_delay=1_000.0, jitter=0.0))
    job.send("one", n=1)
    job.settle(10.0)
    assert asked[0].result(0).messages == 1
    assert end(job).status is JobStatus.COMPLETED


@pytest.mark.parametrize("seed", SEEDS)
def test_a_job_that_becomes_quiet_while_it_is_paused_completes_when_it_goes_on(seed: int) -> None:
    job = start(lambda _one, _n: None, seed, every=0.5)
    job.send("one", n=1)
    job.settle()
    reply = pause(job)
    job.run_until(reply.done)
    job.ledger.close_entry()
    job.settle(60.0)
    assert job.state_actor.status is JobStatus.PAUSED
    assert not job.finished.done()
    # And nothing is written of it by itself: all is as it was.
    assert job.checkpoints is not None
    assert job.checkpoints.last == reply.result()
    resume(job)
    job.run_until(job.finished.done)
    assert job.finished.result().status is JobStatus.COMPLETED


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("how", ["resume", "fail"])
def test_a_job_that_becomes_quiet_while_its_pause_is_written(seed: int, how: str) -> None:
    store = Full()
    job = start(lambda _one, _n: None, seed, store=store)
    job.settle()
    store.is_full = how == "fail"
    reply = pause(job)
    job.run_until(lambda: job.supervisor._pausing.is_kept)
    job.ledger.close_entry()
    job.settle()
    store.is_full = False
    if how == "resume":
        assert job.state_actor.status is JobStatus.PAUSED
        resume(job)
    assert reply.done()
    job.run_until(job.finished.done)
    assert job.finished.result().status is JobStatus.COMPLETED


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("command", [Cancel("enough"), Leave("later")])
def test_an_end_while_a_pause_is_written_is_the_end(seed: int, command: Any) -> None:
    store = Full()
    job = start(lambda _one, _n: None, seed, store=store)
    job.send("one", n=1)
    job.settle()
    reply = pause(job)
    job.run_until(lambda: job.supervisor._pausing.is_kept)
    asked = job.ask_checkpoint()
    job.root.signal(command)
    job.run_until(job.finished.done)
    job.settle()
    assert reply.done()
    assert asked.done()
    status = {Cancel: "cancelled", Leave: "paused"}[type(command)]
    assert str(job.finished.result().status) == status
    newest = latest(store, JOB).image.header
    assert newest.status == status
    assert job.finished.result().checkpoint.number == newest.number  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_owner_changes_while_a_job_is_paused_is_left_with_it(seed: int) -> None:
    def act(_one: Handler, n: int) -> None:
        raise ValueError(n)

    store = Full()
    job = start(act, seed, store=store, handler=ErrorHandler("continue"))
    job.send("one", n=1)
    job.settle()
    reply = pause(job)
    job.run_until(reply.done)
    assert job.ledger.redeliver_all(None, 0.0) == 1
    job.ledger.close_entry()
    job.root.signal(Leave(""))
    job.run_until(job.finished.done)
    image = latest(store, JOB).image
    assert image.header.status == "paused"
    assert not image.job.is_entry_open
    assert [len(image.routines[0].waiting), len(image.routines[0].dead_letters)] == [1, 0]
    assert len(image.job.pause_points) == 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("ends", ["completed", "left"])
def test_a_last_checkpoint_that_cannot_be_written_is_told(
    seed: int, ends: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Full()
    job = start(lambda _one, _n: None, seed, store=store)
    job.send("one", n=1)
    job.run_until(job.ask_checkpoint("start").done)
    store.is_full = True
    if ends == "left":
        job.root.signal(Leave("later"))
    cut = end(job)
    assert str(cut.status) == {"completed": "completed", "left": "paused"}[ends]
    assert "could not be kept" in str(cut.unkept)
    assert (cut.error is None) == (ends == "completed")
    assert sum("could not be kept" in record.getMessage() for record in caplog.records) == 1
    assert cut.checkpoint is not None
    assert latest(store, JOB).image.header.number == cut.checkpoint.number


def test_a_job_that_is_left_with_books_that_do_not_add_up_has_failed() -> None:
    job = start(lambda _one, _n: None)
    job.run_until(job.ask_checkpoint("start").done)
    job.ledger._ways[0].sent += 1
    job.root.signal(Leave("later"))
    while not job.finished.done():
        assert job.host.step()
    cut = job.finished.result()
    assert cut.status is JobStatus.FAILED
    assert "does not add up" in str(cut.error)
    assert "checkpoint 2 of job 'job' could not be kept" in str(cut.unkept)


def test_a_last_checkpoint_that_a_recorder_never_came_to_is_told(caplog: pytest.LogCaptureFixture) -> None:
    class Gone(Full):
        def append(self, lease: Lease, name: str, data: bytes, *, durable: bool) -> int:
            if self.is_full and not durable:
                raise RuntimeError  # a store that hangs here is the same to the job
            return super().append(lease, name, data, durable=durable)

    store = Gone()
    job = start(lambda _one, _n: None, store=store)
    job.run_until(job.ask_checkpoint("start").done)
    job.send("one", n=1)
    job.settle()
    store.is_full = True
    job.root.signal(Leave("later"))
    job.run_until(job.finished.done)
    cut = job.finished.result()
    assert "checkpoint 2 of job 'job' could not be kept: it was not written in time" in str(cut.unkept)
    assert cut.error == str(cut.unkept)
    assert "it was not written in time" in caplog.text


@pytest.mark.parametrize("seed", SEEDS)
def test_workers_that_cannot_start_are_not_started_for_ever_while_a_job_is_paused(seed: int) -> None:
    def act(_one: Handler, _n: int) -> None:
        pass

    job = start(act, seed, placement="process", faults=Faults(start_failure=1.0))
    job.send("one", n=1)
    reply = pause(job, 0.0, "requeue")
    for _ in range(2_000):
        if job.finished.done() or not job.host.step():
            break
    assert job.finished.done()  # a crash loop, as without a pause
    assert reply.done()


@pytest.mark.parametrize("seed", SEEDS)
def test_quick_pauses_and_resumes_are_each_answered(seed: int) -> None:
    def act(one: Handler, n: int) -> Iterator[None]:
        for step in range(one.state.get("step", 0), n):
            one.state["step"] = step + 1
            yield

    job = start(act, seed, placement="process" if seed % 2 else "thread")
    job.send("one", n=30)
    replies: list[Future[Any]] = []
    for turn in range(12):
        replies += [pause(job, 5.0), resume(job), pause(job, 5.0), pause(job)]
        for _ in range(turn):
            job.host.step()
        replies += [resume(job), resume(job)]
    replies.append(resume(job))
    job.settle(20.0)
    if job.state_actor.status is JobStatus.PAUSED:
        resume(job)
    assert end(job).status is JobStatus.COMPLETED
    assert all(reply.done() for reply in replies)
    assert job.state("one") == {"step": 30}
