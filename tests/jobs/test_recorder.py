"""The recorder: the order of what it writes, what it does while a store takes nothing, and what it does not write."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from routilux import Flow, Routine
from routilux.books import Books
from routilux.facts import Fact
from routilux.ids import to_bytes
from routilux.jobs import imaging, recorder
from routilux.jobs.backlog import Backlog
from routilux.jobs.imaging import image_topology
from routilux.jobs.recorder import Custody, KeepFacts, NotSaved, Recorder, Save, Saved
from routilux.keeping.finding import latest
from routilux.keeping.listing import history_name, list_checkpoints, log_reading
from routilux.ledger import Ledger
from routilux.messages import Once, TurnResult
from routilux.records.history_log import read_facts, read_log_header
from routilux.records.log import LogReader
from routilux.records.schema import HistoryPosition
from routilux.routing import compile_plan
from routilux.serial.carried import Carried
from routilux.serial.registry import default as registry
from routilux.stores.base import Lease
from routilux.stores.errors import StoreWriteError
from routilux.stores.memory import MemoryStore
from routilux.stores.owners import this_process
from supervisors.locking import BriefLock
from supervisors.messages import Terminate
from supervisors.reasons import Shutdown
from tests.jobs.contexts import FakeContext

PICKLED = argparse.Namespace(n=1)
"""Of a class that can be imported and is not registered."""


class Echo(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=lambda: None)


class Store(MemoryStore):
    """A store that tells what it is asked for, and takes nothing while it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str]] = []
        self.is_full = False

    def put(self, lease: Lease, name: str, parts: Any) -> int:
        self._look("put", name)
        return super().put(lease, name, parts)

    def append(self, lease: Lease, log: str, data: bytes, *, durable: bool) -> int:
        self._look("append durably" if durable else "append", log)
        return super().append(lease, log, data, durable=durable)

    def _look(self, call: str, name: str) -> None:
        self.calls.append((call, name))
        if self.is_full:
            raise StoreWriteError(name, "it is full")


class Bench:
    def __init__(self, *, allow_pickle: bool = False) -> None:
        flow = Flow("recorder")
        for name in ("a", "b"):
            flow.add_routine(Echo(), name)
        plan = compile_plan(flow)

        def nothing(*_: Any) -> None:
            pass

        self.codec = Carried(registry, allow_pickle=allow_pickle)
        self.ledger = Ledger(
            plan, BriefLock(), on_quiet=nothing, on_facts=nothing, on_overflow=nothing, job_id="job", codec=self.codec
        )
        self.store = Store()
        lease = self.store.acquire("job", this_process(), create=True)
        custody = Custody(
            store=self.store,
            lease=lease,
            codec=self.codec,
            topology=image_topology(plan, {}),
            key=None,
            keep_last=2,
            created_at=1.0,
            forked_from=None,
            base=None,
            wall_offset=100.0,
        )
        self.told: list[Saved | NotSaved] = []
        self.recorder = Recorder(plan, custody, self.told.append, Backlog())
        self.number = 0

    def handle(self, message: Any) -> FakeContext:
        ctx = FakeContext()
        self.recorder.on_message(message, ctx)  # type: ignore[arg-type]
        return ctx

    def facts(self, *numbers: int) -> None:
        self.handle(KeepFacts([Fact("committed", 0, 0, to_bytes(n), 1, float(n), 0.5) for n in numbers]))

    def books(self) -> Books:
        known = next((told.versions for told in reversed(self.told) if isinstance(told, Saved)), {})
        with self.ledger.lock:
            return self.ledger.copy_held(known)

    def save(self, books: Books | None = None) -> Saved | NotSaved:
        self.number += 1
        books = self.books() if books is None else books
        self.handle(Save(self.number, "asked", "running", None, 2.0, 0.0, books, [], HistoryPosition(1, 0)))
        return self.told[-1]

    def history(self) -> list[bytes]:
        history = latest(self.store, "job").image.job.history
        assert history is not None
        reader = LogReader(log_reading(self.store, "job", history_name(1)), end=history.offset)
        header, *batches = [record.body for record in reader]
        names = read_log_header(header).names
        return [fact.key for body in batches for fact in read_facts(body, names)]


def test_the_history_is_durable_before_the_checkpoint_that_says_how_far_it_came() -> None:
    bench = Bench()
    bench.facts(1, 2)
    bench.facts(3)
    saved = bench.save()
    assert isinstance(saved, Saved)
    assert bench.store.calls == [
        ("append", "history-000001"),
        ("append", "history-000001"),
        ("append durably", "history-000001"),
        ("put", "checkpoint-000001-000001"),
    ]
    assert len(bench.history()) == 3
    bench.facts(4)
    assert len(bench.history()) == 3  # what came later is not the checkpoint's


def test_what_a_store_does_not_take_is_kept_for_the_next_try() -> None:
    bench = Bench()
    bench.store.is_full = True
    bench.facts(1)
    bench.facts(2)
    failed = bench.save()
    assert isinstance(failed, NotSaved)
    assert (failed.number, "it is full" in str(failed.error)) == (1, True)
    assert isinstance(failed.error.__cause__, StoreWriteError)
    assert list_checkpoints(bench.store, "job") == []
    bench.store.is_full = False
    bench.facts(3)
    assert isinstance(bench.save(), Saved)
    assert len(bench.history()) == 3


def test_history_beyond_the_bound_is_lost_counted_and_the_rest_written_when_it_can_be(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench()
    bench.store.is_full = True
    bench.facts(1)
    monkeypatch.setattr(recorder, "BACKLOG_BYTES", 1)
    bench.facts(2, 3)
    bench.store.is_full = False
    bench.facts(4)  # there is no room for it yet; but what was kept goes out
    monkeypatch.undo()
    assert "lacks 3 facts" in caplog.text
    bench.facts(5)
    assert isinstance(bench.save(), Saved)
    assert len(bench.history()) == 2


def test_a_state_that_has_not_changed_is_not_encoded_nor_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    large = b"x" * 300_000
    for account in bench.ledger.accounts:
        account.committed[0] = {"large": large + account.plan.id.encode(), "n": 0}
    encoded: list[str] = []
    image_states = imaging.image_states

    def note(routine_id: str, held: Any, codec: Any) -> Any:
        states = image_states(routine_id, held, codec)
        encoded.extend(state.routine_id for state in states)
        return states

    monkeypatch.setattr(imaging, "image_states", note)
    first = bench.save()
    assert isinstance(first, Saved)
    assert (encoded, first.info.size_bytes > 600_000) == (["a", "b"], True)
    encoded.clear()
    second = bench.save()
    assert isinstance(second, Saved)
    assert (encoded, second.info.size_bytes < 10_000) == ([], True)
    bench.ledger.accounts[1].committed[0]["n"] = 1
    bench.ledger.accounts[1].versions[0] += 1
    bench.store.is_full = True
    assert isinstance(bench.save(), NotSaved)
    bench.store.is_full = False
    encoded.clear()
    third = bench.save()
    assert isinstance(third, Saved)
    assert encoded == ["b"]
    assert 300_000 < third.info.size_bytes < 310_000
    image = latest(bench.store, "job").image
    assert [len(state.body) > 300_000 for state in image.states] == [True, True]


def test_the_header_says_what_reading_takes() -> None:
    bench = Bench(allow_pickle=True)
    saved = bench.save()
    assert isinstance(saved, Saved)
    assert latest(bench.store, "job").image.header.needs == []
    bench.ledger.admit(0, {"n": PICKLED})
    bench.save()
    assert latest(bench.store, "job").image.header.needs == ["pickle"]
    assert latest(bench.store, "job").image.header.messages == 1


@pytest.mark.parametrize("where", ["memo", "once"])
def test_the_header_says_what_reading_takes_of_what_was_done_once(where: str) -> None:
    bench = Bench(allow_pickle=True)
    once = Once("k", bench.codec.encode(PICKLED, "once"))
    if where == "memo":
        bench.ledger.restore(bench.books(), {7: (once,)})
    else:
        bench.ledger.admit(0, {})
        account = bench.ledger.accounts[0]
        ((delivery, _),) = bench.ledger.take(account)
        bench.ledger.record_once(account, delivery, once)
    assert isinstance(bench.save(), Saved)
    assert latest(bench.store, "job").image.header.needs == ["pickle"]


def test_what_cannot_be_encoded_costs_the_checkpoint_alone() -> None:
    bench = Bench()
    bench.ledger.admit(0, {"n": object()})
    failed = bench.save()
    assert isinstance(failed, NotSaved)
    assert "payload" in str(failed.error)
    account = bench.ledger.accounts[0]
    ((delivery, _),) = bench.ledger.take(account)
    bench.ledger.commit(account, 0, [(delivery, TurnResult([], []), 0.0, 0.0)])
    assert isinstance(bench.save(), Saved)


def test_it_keeps_what_became_of_the_last() -> None:
    bench = Bench()
    assert (bench.recorder.last, bench.recorder.unkept) == (None, None)
    saved = bench.save()
    assert isinstance(saved, Saved)
    assert (bench.recorder.last, bench.recorder.unkept) == (saved.info, None)
    bench.store.is_full = True
    failed = bench.save()
    assert isinstance(failed, NotSaved)
    assert (bench.recorder.last, bench.recorder.unkept) == (saved.info, failed.error)


def test_old_checkpoints_are_let_go() -> None:
    bench = Bench()
    for _ in range(4):
        bench.save()
    assert [kept.number for kept in list_checkpoints(bench.store, "job")] == [4, 3]


def test_it_ends_when_it_is_asked_to() -> None:
    assert len(Bench().handle(Terminate(Shutdown("over"))).stopped) == 1
