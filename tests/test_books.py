"""Books: a cut by reference stays true while the job goes on, and a ledger begins where another one was."""

from __future__ import annotations

from typing import Any

from routilux import Flow, Routine
from routilux.books import Books, copy_committed
from routilux.ids import to_id
from routilux.ledger import Ledger
from routilux.messages import Emission, Once, StateOp, TurnPart, TurnResult, add_once
from routilux.routing import compile_plan
from supervisors.locking import BriefLock
from supervisors.reasons import ErrorRecord, Raised

FAILED = Raised(ErrorRecord("ValueError", "no", ""))


class First(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=lambda: None)
        self.define_event("out", ["n"])


class Second(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=lambda n: n)
        self.define_event("result", ["n"])


def make_ledger() -> Ledger:
    flow = Flow("books")
    flow.add_routine(First(), "first")
    flow.add_routine(Second(), "second")
    flow.connect("first", "out", "second", "input")
    flow.output("second", "result")

    def nothing(*_: Any) -> None:
        pass

    plan = compile_plan(flow)
    return Ledger(plan, BriefLock(), on_quiet=nothing, on_facts=nothing, on_overflow=nothing, job_id="job")


def cut(ledger: Ledger, known: Any = None) -> Books:
    with ledger.lock:
        return ledger.copy_held(known or {})


def out(n: int) -> Emission:
    return (0, {"n": n}, None, ())


def busy_ledger() -> Ledger:
    """A ledger with something in every place."""
    ledger = make_ledger()
    first, second = ledger.accounts
    entry = ledger.plan.entries["first", ""]
    for n in range(8):
        ledger.admit(entry, {"n": n})
    for delivery, _ in ledger.take(first, 3):
        ops = [StateOp("set", "n", delivery), StateOp("append", "\0slot:x", b"chunk")]
        ledger.commit(first, 0, [(delivery, TurnResult([out(delivery)], ops), 0.1, 1.0)])
    ((dead, _), (retried, _), (held, _)) = ledger.take(first, 3)
    for delivery in (dead, retried):
        ledger.count_failure(first, delivery, FAILED, 2.0, is_crash=False)
    ledger.bury(first, dead, FAILED, 3.0)
    ledger.set_aside(first, (retried,), redelivered=True, due_at=50.0, holds=True)
    ledger.record_once(first, held, Once("k", b"v"))
    ledger.release(first, 0, held, TurnPart([out(77)], None), 4.0)
    ((done, _),) = ledger.take(second, 1)
    ledger.commit(second, 0, [(done, TurnResult([(0, {"n": 1}, None, ())], []), 0.1, 5.0)])
    ledger.check()
    return ledger


def test_a_cut_stays_true_while_the_job_goes_on() -> None:
    ledger = busy_ledger()
    books = cut(ledger)
    told = repr(books)
    first, second = ledger.accounts
    (held,) = list(first.in_hand)
    ledger.release(first, 0, held, TurnPart([out(78)], [StateOp("set", "n", 99)]), 6.0)
    ledger.record_once(first, held, Once("l", b"w"))
    ledger.count_failure(first, held, FAILED, 6.0, is_crash=True)
    ledger.bury(first, held, FAILED, 6.0)
    for account in (first, second):
        for ticket in list(account.in_retry):
            ledger.put_forward(account, ticket)
        while taken := ledger.take(account, 1):
            ops = [StateOp("append", "\0slot:x", b"later"), StateOp("del", "n", None)]
            ledger.commit(account, 0, [(taken[0][0], TurnResult([], ops), 0.1, 7.0)])
    ledger.redeliver_all(None, 8.0)
    ledger.skip_routine(first, 9.0)
    ledger.take_output(ledger.outputs[0])
    ledger.close_entry()
    ledger.check()
    assert repr(books) == told
    assert repr(cut(ledger)) != told


def test_what_a_skipped_routine_had_in_hand_is_skipped_by_the_ledger_after() -> None:
    before = make_ledger()
    first = before.accounts[0]
    before.admit(before.plan.entries["first", ""], {"n": 1})
    before.take(first, 1)
    before.skip_routine(first, 1.0)  # by another worker of its pool
    books = cut(before)
    after = make_ledger()
    after.restore(books, {})
    after.check()
    assert (after.outstanding, len(after.accounts[0].mailbox)) == (0, 0)
    assert after.accounts[0].skipped == 1


def test_a_ledger_goes_on_where_another_one_was() -> None:
    before = busy_ledger()
    books = cut(before)
    after = make_ledger()
    after.restore(books, {})
    after.check()
    assert after.outstanding == before.outstanding
    again = cut(after)
    first, was = again.accounts[0], books.accounts[0]
    assert first.in_hand == ()
    assert [m.seq for m in first.waiting] == [m.seq for m in (*was.in_hand, *was.waiting)]
    assert [m.redelivered for m in first.waiting] == [True] + [False] * len(was.waiting)
    assert (first.waiting[0].released, first.waiting[0].once) == (1, (Once("k", b"v"),))
    assert (first.retries, first.letters, first.counts) == (was.retries, was.letters, was.counts)
    assert first.committed == was.committed
    assert (again.sent, again.handled, again.dead, again.skipped) == (
        books.sent,
        books.handled,
        books.dead,
        books.skipped,
    )
    assert (again.accounts[1], again.outputs) == (books.accounts[1]._replace(versions=(0,)), books.outputs)
    # And what is emitted again has the same id.
    ids = []
    for ledger in (before, after):
        account = ledger.accounts[0]
        delivery = next(iter(account.in_hand), None) or ledger.take(account, 1)[0][0]
        ledger.commit(account, 0, [(delivery, TurnResult([out(78)], []), 0.1, 9.0)])
        ids.append(ledger.accounts[1].mailbox.waiting_held()[-1].id)
    assert ids[0] == ids[1]


def test_what_a_routine_failed_by_is_tried_again() -> None:
    before = busy_ledger()
    before.accounts[0].status, before.accounts[0].error = "failed", "no"
    after = make_ledger()
    after.restore(cut(before), {})
    account = after.accounts[0]
    assert (account.status, account.error) == ("pending", "no")


def test_what_was_done_once_waits_for_its_message_over_any_number_of_runners() -> None:
    before = busy_ledger()
    books = cut(before)
    known = books.accounts[0].waiting[0]
    # The id of a message that the first turn to come will emit.
    other = make_ledger()
    other.restore(books, {})
    delivery, _ = other.take(other.accounts[0], 1)[0]
    other.commit(other.accounts[0], 0, [(delivery, TurnResult([out(5)], []), 0.1, 9.0)])
    to_come = list(other.accounts[1].mailbox.waiting_held())[-1]
    memos = {known.key: (Once("k", b"1"),), to_come.key: (Once("c", b"2"),), 12345: (Once("n", b"3"),)}
    ledger = make_ledger()
    ledger.restore(books, memos)
    assert set(cut(ledger).memos) == {to_come.key, 12345}
    later = make_ledger()
    later.restore(cut(ledger), {to_come.key: (Once("c", b"other"), Once("d", b"4"))})
    delivery, _ = later.take(later.accounts[0], 1)[0]
    later.commit(later.accounts[0], 0, [(delivery, TurnResult([out(5)], []), 0.1, 9.0)])
    emitted = list(later.accounts[1].mailbox.waiting_held())[-1]
    assert to_id(emitted.key) == to_come.id
    assert emitted.once == (Once("c", b"2"), Once("d", b"4"))
    assert set(cut(later).memos) == {12345}


def test_the_first_of_each_key_is_kept() -> None:
    a, b, other = Once("a", b"1"), Once("b", b"2"), Once("a", b"9")
    assert add_once((a,), (other, b)) == (a, b)
    assert add_once((), (a, b)) == (a, b)
    assert add_once((a,), ()) == (a,)


def test_a_state_that_has_not_changed_is_not_copied_again() -> None:
    ledger = busy_ledger()
    account = ledger.accounts[0]
    account.committed[0].update({f"key {n}": n for n in range(200_000)})
    books = cut(ledger)
    assert books.accounts[0].committed[0] == account.committed[0]
    known = {(0, 0): account.versions[0]}
    again = cut(ledger, known)
    assert again.accounts[0].committed == (None,)
    ledger.release(account, 0, next(iter(account.in_hand)), TurnPart([], [StateOp("set", "n", 1)]), 1.0)
    assert cut(ledger, known).accounts[0].committed[0] is not None


def test_a_copied_state_has_lists_of_its_own_and_shares_all_else() -> None:
    value = b"bytes"
    committed = {"a": 1, "b": value, "c": [b"chunk"]}
    copied = copy_committed(committed)
    committed["c"].append(b"more")  # type: ignore[attr-defined]
    committed["a"] = 2
    assert copied == {"a": 1, "b": value, "c": [b"chunk"]}
    assert copied["b"] is value
