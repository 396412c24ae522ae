"""The ledger of one worker: order, window, returned requests, and what a death means."""

from __future__ import annotations

import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from supervisors.errors import FrameError
from supervisors.places.base import Lost
from supervisors.places.process.link import WINDOW_LIMIT, Link
from supervisors.places.process.page import PageView


def sent(*numbers: int) -> Link:
    link = Link()
    for number in numbers:
        link.send(number)
    return link


@pytest.mark.parametrize(
    ("durations", "window"),
    [
        ([], 1),
        ([0.0], WINDOW_LIMIT),
        ([1e-6], WINDOW_LIMIT),
        ([0.000_1], 50),
        ([0.001], 5),
        ([0.004], 1),
        ([0.005], 1),
        ([3600.0], 1),
        ([math.inf], WINDOW_LIMIT),  # a worker gone mad does not make the window so
        ([math.nan], WINDOW_LIMIT),
        ([-5.0], WINDOW_LIMIT),
        ([0.000_1] * 50 + [1.0], 1),  # one long request closes it at once
        ([1.0] + [0.000_1] * 60, 49),  # and short ones open it again
    ],
)
def test_the_window_holds_some_milliseconds_of_work(durations: list[float], window: int) -> None:
    link = Link()
    for number, duration in enumerate(durations):
        link.send(number)
        link.done(number, duration)
    assert link.window == window
    assert link.room == window


def test_room_is_what_the_window_has_over_what_is_held() -> None:
    link = sent(1)
    assert link.room == 0
    link.done(1, 0.001)
    for number in range(2, 9):
        link.send(number)
    assert (len(link), link.window, link.room) == (7, 5, 0)


@pytest.mark.parametrize("number", [0, 2, 3, 99])
def test_only_the_oldest_request_can_be_reported(number: int) -> None:
    for report in (
        lambda link: link.done(number, 0.0),
        lambda link: link.failed(number, 0.0),
        lambda link: link.part(number),
    ):
        link = sent(1, 2, 3)
        with pytest.raises(FrameError, match=f"for request {number}, expected request 1"):
            report(link)
        assert link.outstanding == (1, 2, 3)


def test_nothing_can_be_reported_by_an_idle_worker() -> None:
    with pytest.raises(FrameError, match="expected nothing, as it holds no request"):
        Link().done(1, 0.0)


def test_a_failure_returns_what_is_behind_it_and_begins_an_epoch() -> None:
    link = sent(1, 2, 3, 4)
    link.done(1, 0.0)
    assert link.failed(2, 0.0) == (3, 4)
    assert (link.epoch, link.outstanding) == (1, ())
    link.send(5)
    assert link.failed(5, 0.0) == ()
    assert link.epoch == 2


def test_what_could_not_be_read_of_a_worker_is_back_with_its_loss() -> None:
    link = sent(1, 2, 3, 4)
    link.done(1, 0.0)
    link.done(2, 0.0)
    link.take_back(2)
    assert link.lose_for(2) == Lost(2, (), (3, 4))
    link = sent(1, 2, 3)
    link.take_back(1, link.failed(1, 0.0))
    assert link.lose_for(1) == Lost(1, (), (2, 3))


@pytest.mark.parametrize(
    ("culprit", "lost"),
    [(1, Lost(1, (), (2, 3))), (2, Lost(2, (1,), (3,))), (3, Lost(3, (1, 2), ())), (9, Lost(None, (), (1, 2, 3)))],
)
def test_the_end_of_a_worker_for_a_request_parts_those_before_it_from_those_behind(culprit: int, lost: Lost) -> None:
    link = sent(1, 2, 3)
    assert link.lose_for(culprit) == lost
    assert (link.outstanding, link.doubted) == ((), 0)


@pytest.mark.parametrize(
    ("page", "lost", "doubted"),
    [
        (PageView(None, 0.0, 2), Lost(None, (), (3, 4, 5)), 0),  # idle: none of what it holds was begun
        (PageView(3, 0.0, 2), Lost(3, (), (4, 5)), 0),  # on one
        (PageView(None, 0.0, 3), Lost(3, (), (4, 5)), 0),  # one has run, and was not reported
        (PageView(4, 0.0, 3), Lost(None, (3, 4), (5,)), 2),
        (PageView(None, 0.0, 5), Lost(None, (3, 4, 5), ()), 3),
        (PageView(99, 0.0, 2), Lost(None, (), (3, 4, 5)), 0),  # nonsense on its page too
        (PageView(-7, math.nan, 2**64 - 1), Lost(None, (3, 4, 5), ()), 3),
    ],
)
def test_of_a_worker_that_broke_the_protocol_the_one_request_begun_is_the_suspect(
    page: PageView, lost: Lost, doubted: int
) -> None:
    link = sent(1, 2, 3, 4, 5)
    link.done(1, 0.0)
    link.done(2, 0.0)
    assert link.lose_for_breach(page) == lost
    assert (link.outstanding, link.doubted) == ((), doubted)


def test_a_doubted_worker_gets_requests_one_at_a_time_until_so_many_were_reported() -> None:
    link = Link(doubted=3)
    for number, report in ((1, link.done), (2, link.failed), (3, link.done)):
        assert (link.doubted, link.window, link.room) == (4 - number, 1, 1)
        link.send(number)
        assert link.room == 0
        report(number, 0.0)
    assert (link.doubted, link.window) == (0, WINDOW_LIMIT)


def test_what_ran_alone_and_was_not_reported_again_is_the_suspect() -> None:
    link = sent(1, 2, 3)
    assert link.lose(PageView(None, 0.0, 2)) == Lost(None, (1, 2), (3,))
    assert link.doubted == 2
    link = Link(link.doubted)
    link.send(1)
    link.done(1, 0.0)
    link.send(2)
    assert link.lose(PageView(None, 0.0, 2)) == Lost(2, (), ())


def test_what_an_incarnation_was_doubted_for_is_left_for_the_next() -> None:
    link = Link(doubted=3)
    link.send(1)
    link.done(1, 0.0)
    link.send(2)
    assert link.lose(PageView(2, 0.0, 1)) == Lost(2, (), ())
    assert link.doubted == 2


@pytest.mark.parametrize(
    ("page", "lost"),
    [
        (PageView(None, 0.0, 2), Lost(None, (), (3, 4, 5))),  # idle, all that ran has arrived
        (PageView(3, 0.0, 2), Lost(3, (), (4, 5))),  # on the first
        (PageView(None, 0.0, 4), Lost(None, (3, 4), (5,))),  # idle, two results had not arrived
        (PageView(5, 0.0, 4), Lost(5, (3, 4), ())),  # on the third, two had not arrived
        (PageView(3, 0.0, 3), Lost(None, (3,), (4, 5))),  # died between the count and the number: it has run
        (PageView(None, 0.0, 5), Lost(None, (3, 4, 5), ())),
        (PageView(99, 0.0, 2), Lost(None, (), (3, 4, 5))),  # nonsense accuses nobody
        (PageView(None, 0.0, 10**9), Lost(None, (3, 4, 5), ())),
        (PageView(None, 0.0, 0), Lost(None, (), (3, 4, 5))),
    ],
)
def test_a_death_is_told_from_the_page(page: PageView, lost: Lost) -> None:
    link = sent(1, 2, 3, 4, 5)
    link.done(1, 0.0)
    link.done(2, 0.0)
    assert link.lose(page) == lost
    assert link.outstanding == ()


class Worker(RuleBasedStateMachine):
    """A link against a naive worker: every request comes back exactly once, whatever is in flight."""

    def __init__(self) -> None:
        super().__init__()
        self.link = Link()
        self.next = 0
        self.in_pipe: list[tuple[int, int]] = []  # (epoch, seq), sent and not yet taken by the worker
        self.epoch = 0
        self.held: list[int] = []
        self.current: int | None = None
        self.ran = 0
        self.reports: list[tuple[str, int]] = []  # sent by the worker, not yet taken by the parent
        self.back: list[int] = []
        self.results: list[int] = []  # everything whose run was reported or told as run

    @rule()
    def send(self) -> None:
        self.next += 1
        self.link.send(self.next)
        self.in_pipe.append((self.link.epoch, self.next))

    @precondition(lambda self: self.in_pipe)
    @rule()
    def receive(self) -> None:
        epoch, seq = self.in_pipe.pop(0)
        if epoch == self.epoch:
            self.held.append(seq)

    @precondition(lambda self: self.held and self.current is None)
    @rule()
    def begin(self) -> None:
        self.current = self.held.pop(0)

    @precondition(lambda self: self.current is not None)
    @rule(fails=st.booleans())
    def end(self, *, fails: bool) -> None:
        assert self.current is not None
        self.ran += 1
        self.reports.append(("failed" if fails else "done", self.current))
        self.current = None
        if fails:
            self.held.clear()
            self.epoch += 1

    @precondition(lambda self: self.reports)
    @rule()
    def take_report(self) -> None:
        what, seq = self.reports.pop(0)
        self.back.append(seq)
        if what == "done":
            self.link.done(seq, 0.001)
        else:
            self.back.extend(self.link.failed(seq, 0.001))

    @rule(arrived=st.integers(0, 10))
    def die(self, arrived: int) -> None:
        for _ in range(min(arrived, len(self.reports))):
            self.take_report()
        unheard = [seq for _, seq in self.reports]
        lost = self.link.lose(PageView(self.current, 0.0, self.ran))
        # After a failure that was not heard of, what is behind it counts as not begun, which it is.
        assert list(lost.ran) == unheard
        assert lost.suspect == self.current
        self.start_again(lost)

    @rule()
    def break_the_protocol(self) -> None:
        unheard = [seq for _, seq in self.reports]
        begun = [*unheard, *([] if self.current is None else [self.current])]
        lost = self.link.lose_for_breach(PageView(self.current, 0.0, self.ran))
        assert [*lost.ran, *([] if lost.suspect is None else [lost.suspect])] == begun
        assert (lost.suspect is not None) == (len(begun) == 1)
        assert self.link.doubted == (len(begun) if len(begun) > 1 else 0)
        self.start_again(lost)

    @precondition(lambda self: self.link.outstanding)
    @rule(data=st.data())
    def be_ended_for_one(self, data: st.DataObject) -> None:
        held = self.link.outstanding
        culprit = data.draw(st.sampled_from(held))
        lost = self.link.lose_for(culprit)
        assert (*lost.ran, lost.suspect, *lost.unbegun) == held
        self.start_again(lost)

    def start_again(self, lost: Lost) -> None:
        self.back.extend([*lost.ran, *([] if lost.suspect is None else [lost.suspect]), *lost.unbegun])
        self.link, self.in_pipe, self.held, self.reports = Link(), [], [], []
        self.current, self.epoch, self.ran = None, 0, 0

    @invariant()
    def every_request_is_out_or_back_and_not_both(self) -> None:
        assert sorted([*self.back, *self.link.outstanding]) == list(range(1, self.next + 1))


TestWorker = Worker.TestCase
