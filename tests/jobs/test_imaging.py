"""Books become an image, and the image the same books again."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from routilux import Flow, Routine
from routilux.accounts import RetryWait
from routilux.books import COUNTS, AccountBooks, Books, OutputBooks
from routilux.dead_letters import DeadLetter
from routilux.jobs.imaging import (
    Clocks,
    count_messages,
    image_job,
    image_routine,
    image_states,
    image_topology,
    read_books,
    summarize_routine,
)
from routilux.messages import Message, Once, unite
from routilux.records.schema import Header, HistoryPosition, Image
from routilux.routing import compile_plan
from routilux.serial.carried import Carried
from routilux.serial.registry import default as registry
from routilux.tracking.meters import Measured, Spent
from routilux.turn.state import OBJECT_KEY, begin_states, from_stored, to_stored
from supervisors.reasons import Crashed, ErrorRecord, Raised
from tests.tracking.samples import sketch_of

CODEC = Carried(registry, allow_pickle=False)
THERE = Clocks(1_000.0, 1_700_000_000.0)
HERE = Clocks(5.0, 1_700_009_000.0)


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


def make_plan() -> Any:
    flow = Flow("imaging")
    flow.add_routine(First(), "first")
    flow.add_routine(Second(), "second", placement="process", workers=2)
    flow.connect("first", "out", "second", "input")
    flow.output("second", "result")
    return compile_plan(flow)


PLAN = make_plan()
counts = st.integers(0, 2**40)
quarters = st.integers(0, 40_000).map(lambda number: number / 4)
once = st.lists(
    st.builds(Once, st.text(max_size=5), st.binary(max_size=5)), max_size=3, unique_by=lambda item: item.key
).map(tuple)
data = st.dictionaries(st.text(max_size=4), st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), st.text()))
messages = st.builds(
    Message,
    edge=st.integers(0, len(PLAN.edges) - 1),
    seq=counts,
    payload=data.map(lambda value: CODEC.encode(value, "")),
    key=st.integers(0, 2**127 - 2),
    failures=st.integers(0, 9),
    crashes=st.integers(0, 9),
    redelivered=st.booleans(),
    released=counts,
    stepped=counts,
    once=once,
)
many = st.lists(messages, max_size=3).map(tuple)
sent = st.integers(0, int(THERE.now) * 4).map(lambda number: number / 4)
singles = st.builds(lambda message, at: replace(message, sent_at=at), messages, sent)


def made_of(members: list[Message], at: float, told: Message) -> Message:
    """Give a set, as it is after some tries."""
    whole = unite(tuple(replace(member, sent_at=at) for member in members))
    return replace(whole, released=told.released, stepped=told.stepped, once=told.once)


sets = st.builds(made_of, st.lists(messages, min_size=1, max_size=3), sent, messages)
waiting = st.lists(singles | sets, max_size=3).map(tuple)
reasons = st.one_of(
    st.builds(Raised, st.builds(ErrorRecord, st.text(max_size=5), st.text(max_size=5), st.text(max_size=5))),
    st.builds(Crashed, signal=st.just(9), pid=st.integers(1, 2**15)),
)
values = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False), st.binary())
states = st.dictionaries(st.text(max_size=4), st.one_of(values, st.lists(st.binary(), max_size=3)), max_size=4)


@st.composite
def accounts(draw: st.DrawFn, index: int) -> AccountBooks:
    routine = PLAN.routines[index]
    letters = [
        DeadLetter(routine.id, message, draw(reasons), draw(st.integers(1, 9)), draw(st.integers(0, 900)) / 4)
        for message in draw(many)
    ]
    if letters and draw(st.booleans()):
        whole = made_of([letter.message for letter in letters], 0.0, draw(messages))
        whole = replace(whole, parts=tuple(letter.message for letter in letters))
        letters = [letter._replace(given_up_with=whole) for letter in letters]
    waits = st.builds(RetryWait, waiting.map(list), st.integers(1_000, 9_000).map(float), st.booleans())
    return AccountBooks(
        committed=tuple(draw(states) for _ in range(routine.options.workers)),
        versions=(),
        in_hand=draw(waiting),
        waiting=draw(waiting),
        retries=tuple(draw(st.lists(waits, max_size=2))),
        letters=tuple(letters),
        status=draw(st.sampled_from(["pending", "running", "skipped"])),
        error=draw(st.none() | st.text()),
        is_skipped=draw(st.booleans()),
        counts=dict(zip(COUNTS, draw(st.tuples(*[counts] * len(COUNTS))), strict=True)),
        spent=tuple(draw(st.lists(st.builds(Spent, quarters, counts), max_size=2))),
        measured=draw(st.none() | st.builds(measure, st.lists(quarters, max_size=5), quarters)),
        merging=draw(st.lists(singles, max_size=3).map(tuple)),
    )


def measure(values: list[float], recent_seconds: float) -> Measured:
    return Measured(sketch_of(values), sketch_of(values), len(values), recent_seconds)


edges = st.lists(counts, min_size=len(PLAN.edges), max_size=len(PLAN.edges))
times = st.lists(st.none() | quarters, min_size=len(PLAN.edges), max_size=len(PLAN.edges))
books = st.builds(
    Books,
    sent=edges,
    handled=edges,
    dead=edges,
    skipped=edges,
    accounts=st.tuples(*[accounts(index) for index in range(len(PLAN.routines))]),
    outputs=st.tuples(st.builds(OutputBooks, many, many)),
    is_entry_open=st.booleans(),
    memos=st.dictionaries(st.integers(0, 2**127 - 2), once, max_size=3),
    first_at=times,
    last_at=times,
    seconds=quarters,
)


def to_image(held: Books, clocks: Clocks) -> Image:
    ids = [routine.id for routine in PLAN.routines]
    routines = [image_routine(id_, account, clocks, CODEC) for id_, account in zip(ids, held.accounts, strict=True)]
    position = HistoryPosition(1, 0)
    header = Header("job", "imaging", 1, 1, "running", None, "asked", 0.0, 0.0, None, "3", "0", [], [], 0)
    return Image(
        header,
        image_topology(PLAN, {}),
        image_job(held, PLAN, [], position, position, clocks, CODEC),
        routines,
        [state for id_, account in zip(ids, held.accounts, strict=True) for state in image_states(id_, account, CODEC)],
    )


def wait_on(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Each has waited for as long as it had: time in which nobody ran the job is no waiting."""
    return tuple(
        replace(message, sent_at=HERE.now - (THERE.now - message.sent_at), parts=wait_on(message.parts))
        for message in messages
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(books)
def test_books_come_back_as_they_were_by_other_clocks(held: Books) -> None:
    image = to_image(held, THERE)
    again = read_books(image, PLAN, HERE, CODEC)
    shift = HERE.now - THERE.now
    wall = THERE.wall_offset - HERE.wall_offset
    moved = tuple(
        account._replace(
            in_hand=wait_on(account.in_hand),
            waiting=wait_on(account.waiting),
            merging=wait_on(account.merging),
            retries=tuple(
                wait._replace(due_at=wait.due_at + shift, messages=list(wait_on(wait.messages)))
                for wait in account.retries
            ),
            letters=(),
        )
        for account in held.accounts
    )
    assert again._replace(accounts=tuple(a._replace(letters=()) for a in again.accounts)) == held._replace(
        accounts=moved,
        first_at=[None if at is None else at + wall for at in held.first_at],
        last_at=[None if at is None else at + wall for at in held.last_at],
    )
    for before, after in zip(held.accounts, again.accounts, strict=True):
        for old, new in zip(before.letters, after.letters, strict=True):
            assert new._replace(at=0.0, codec=CODEC) == old._replace(at=0.0, codec=CODEC)
            assert abs(new.at - (old.at + wall)) < 1e-3
    assert to_image(read_books(image, PLAN, THERE, CODEC), THERE) == image


def test_a_class_whose_file_was_changed_since_into_no_python_has_no_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "changing.py").write_text("import routilux\n\n\nclass Changing(routilux.Routine):\n    pass\n")
    changing = importlib.import_module("changing")
    (tmp_path / "changing.py").write_text("class Changing(\n")
    flow = Flow("changing")
    flow.add_routine(changing.Changing(), "it")
    [routine] = image_topology(compile_plan(flow), {}).routines
    assert (routine.kind, routine.source) == ("Changing", "")


def test_what_a_list_shows_is_what_there_is() -> None:
    message = Message(0, 1, b"", 7)
    waits = (RetryWait([message, message], 1.0, holds=False),)
    counted = dict.fromkeys(COUNTS, 0) | {"dead": 4, "handled": 9}
    held = AccountBooks(
        (), (), (message,), (message,) * 3, waits, (), "running", "no", is_skipped=False, counts=counted
    )
    shown = summarize_routine("first", held)
    assert shown.waiting == count_messages(held) == 6
    assert (shown.id, shown.status, shown.error, shown.dead, shown.handled) == ("first", "running", "no", 4, 9)


def test_a_payload_by_reference_becomes_what_its_codec_makes_of_it() -> None:
    message = Message(0, 1, {"n": (1, {2})}, 7)
    held = AccountBooks((), (), (message,), (), (), (), "running", None, is_skipped=False, counts={})
    image = image_routine("first", held, THERE, CODEC)
    assert CODEC.decode(image.in_hand[0].payload) == {"n": (1, {2})}


def test_a_state_that_was_left_out_has_no_image() -> None:
    held = AccountBooks(({"a": 1}, None), (1, 1), (), (), (), (), "running", None, is_skipped=False, counts={})
    assert [(state.routine_id, state.worker) for state in image_states("second", held, CODEC)] == [("second", 0)]


def test_the_source_of_a_class_is_known_again() -> None:
    first, second = image_topology(make_plan(), {}), image_topology(make_plan(), {})
    assert [shape.source for shape in first.routines] == [shape.source for shape in second.routines]
    assert first.routines[0].source != first.routines[1].source


class Whole(Second):
    """Its state is one value."""

    state_policy = "value"


@pytest.mark.parametrize("before", ["thread", "process", "ray"])
@pytest.mark.parametrize("now", ["thread", "process", "ray"])
def test_a_state_that_is_one_value_goes_on_at_any_placement_and_comes_back(before: str, now: str) -> None:
    def planned(placement: str) -> Any:
        flow = Flow("whole")
        whole = Whole()
        whole.state = {"total": [3]}
        flow.add_routine(whole, "whole", placement=placement)
        return compile_plan(flow)

    def stored(committed: Any) -> Any:
        return to_stored(committed, CODEC)

    was, is_ = planned(before), planned(now)
    (began,) = begin_states(was.routines[0].options, was.routines[0].routine, CODEC)
    shape = is_.routines[0].routine
    again = from_stored(stored(began), shape.state_policy, CODEC, by_reference=not is_.routines[0].runs_apart)
    assert stored(again) == stored(began)
    assert isinstance(again[OBJECT_KEY], bytes) == (now != "thread"), "what runs apart is given bytes"
