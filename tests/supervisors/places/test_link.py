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
    link.send(numbers)
    return link


def report_done(link: Link, number: int, seconds: float) -> None:
    link.done([number], [seconds])


@pytest.mark.parametrize(
    ("durations", "window"),
    [
        ([], 1),
        ([0.0], WINDOW_LIMIT),
        ([1e-6], WINDOW_LIMIT),
        ([0.000_1], 100),
        ([0.001], 10),
        ([0.006], 1),
        ([0.01], 1),
        ([3600.0], 1),
        ([math.inf], WINDOW_LIMIT),  # a worker gone mad does not make the window so
        ([math.nan], WINDOW_LIMIT),
        ([-5.0], WINDOW_LIMIT),
        ([0.000_1] * 50 + [1.0], 1),  # one long request closes it at once
        ([1.0] + [0.000_1] * 60, 99),  # and short ones open it again
    ],
)
def test_the_window_holds_some_milliseconds_of_work(durations: list[float], window: int) -> None:
    link = Link()
    for number, duration in enumerate(durations):
        link.send([number])
        link.done([number], [duration])
    assert link.window == window
    assert link.room == window


def test_room_is_what_the_window_has_over_what_is_held() -> None:
    link = sent(1)
    assert link.room == 0
    link.done([1], [0.002])
    for number in range(2, 9):
        link.send([number])
    assert (len(link), link.window, link.room) == (7, 5, 0)


def test_a_window_that_was_full_is_filled_again_once_half_of_it_is_free() -> None:
    link = sent(1)
    link.done([1], [0.001])
    rooms = []
    for number in range(2, 12):  # one after the other, as it is filled
        rooms.append(link.room)
        link.send([number])
    assert (rooms, link.room) == ([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], 0)
    rooms = []
    for number in range(2, 12):
        link.done([number], [0.001])
        rooms.append(link.room)
    assert rooms == [0, 0, 0, 0, 5, 6, 7, 8, 9, 10]


def test_those_of_a_batch_are_reported_together() -> None:
    link = sent(*range(1, 7))
    assert link.done_together(1, 4, 0.008) == 0.008
    assert (link.outstanding, link.window) == ((5, 6), 5)
    assert link.done_together(5, 2, math.nan) == 0.0
    assert link.outstanding == ()
    assert link.lose(PageView(None, 0.0, 6)) == Lost(None, (), ())


@pytest.mark.parametrize(("first", "count"), [(1, 0), (1, 4), (2, 1), (0, 2), (1, 3), (1, -1)])
def test_of_a_batch_that_is_not_next_none_counts(first: int, count: int) -> None:
    link = sent(1, 2, 5)
    with pytest.raises(FrameError, match=f"done for request {first}, expected request 1"):
        link.done_together(first, count, 0.0)
    assert link.outstanding == (1, 2, 5)


@pytest.mark.parametrize("number", [0, 2, 3, 99])
def test_only_the_oldest_request_can_be_reported(number: int) -> None:
    for report in (
        lambda link: link.done([number], [0.0]),
        lambda link: link.failed(number, 0.0),
        lambda link: link.part(number),
    ):
        link = sent(1, 2, 3)
        with pytest.raises(FrameError, match=f"for request {number}, expected request 1"):
            report(link)
        assert link.outstanding == (1, 2, 3)


@pytest.mark.parametrize(("numbers", "wrong"), [([1, 3], 3), ([2, 1], 2), ([1, 1], 1), ([1, 2, 3, 4], 4), ([0], 0)])
def test_of_requests_that_are_reported_together_none_counts_if_one_is_not_next(numbers: list[int], wrong: int) -> None:
    link = sent(1, 2, 3)
    with pytest.raises(FrameError, match=f"it reported done for request {wrong}, expected request 1"):
        link.done(numbers, [0.0] * len(numbers))
    assert (link.outstanding, link.window) == ((1, 2, 3), 1)


def test_requests_that_are_reported_together_count_as_one_after_the_other() -> None:
    one, other = sent(1, 2, 3, 4), sent(1, 2, 3, 4)
    for number in (1, 2, 3):
        one.done([number], [0.002])
    assert other.done([1, 2, 3], [0.002] * 3) == [0.002] * 3
    assert (other.outstanding, other.window) == (one.outstanding, one.window) == ((4,), 5)
    assert other.lose(PageView(4, 0.0, 3)) == Lost(4, (), ())


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0, 1e300])
def test_one_duration_that_cannot_be_is_not_believed_among_others(seconds: float) -> None:
    assert sent(1, 2, 3).done([1, 2, 3], [0.5, seconds, 0.25]) == [0.5, 0.0, 0.25]


def test_nothing_can_be_reported_by_an_idle_worker() -> None:
    with pytest.raises(FrameError, match="expected nothing, as it holds no request"):
        Link().done([1], [0.0])


def test_a_failure_returns_what_is_behind_it_and_begins_an_epoch() -> None:
    link = sent(1, 2, 3, 4)
    link.done([1], [0.0])
    assert link.failed(2, 0.0) == (3, 4)
    assert (link.epoch, link.outstanding) == (1, ())
    link.send([5])
    assert link.failed(5, 0.0) == ()
    assert link.epoch == 2


def test_what_could_not_be_read_of_a_worker_is_back_with_its_loss() -> None:
    link = sent(1, 2, 3, 4)
    link.done([1], [0.0])
    link.done([2], [0.0])
    link.take_back([2])
    assert link.lose_for(2) == Lost(2, (), (3, 4))
    link = sent(1, 2, 3)
    link.take_back([1], link.failed(1, 0.0))
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
    link.done([1], [0.0])
    link.done([2], [0.0])
    assert link.lose_for_breach(page) == lost
    assert (link.outstanding, link.doubted) == ((), doubted)


def test_a_doubted_worker_gets_requests_one_at_a_time_until_so_many_were_reported() -> None:
    link = Link(doubted=3)
    for number, report in ((1, report_done), (2, Link.failed), (3, report_done)):
        assert (link.doubted, link.window, link.room) == (4 - number, 1, 1)
        link.send([number])
        assert link.room == 0
        report(link, number, 0.0)
    assert (link.doubted, link.window) == (0, WINDOW_LIMIT)


def test_what_ran_alone_and_was_not_reported_again_is_the_suspect() -> None:
    link = sent(1, 2, 3)
    assert link.lose(PageView(None, 0.0, 2)) == Lost(None, (1, 2), (3,))
    assert link.doubted == 2
    link = Link(link.doubted)
    link.send([1])
    link.done([1], [0.0])
    link.send([2])
    assert link.lose(PageView(None, 0.0, 2)) == Lost(2, (), ())


def test_what_an_incarnation_was_doubted_for_is_left_for_the_next() -> None:
    link = Link(doubted=3)
    link.send([1])
    link.done([1], [0.0])
    link.send([2])
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
    link.done([1], [0.0])
    link.done([2], [0.0])
    assert link.lose(page) == lost
    assert link.outstanding == ()


def test_a_hold_returns_what_is_behind_the_request_in_progress_and_begins_an_epoch() -> None:
    link = sent(1, 2, 3, 4)
    link.done([1], [0.0])
    assert link.parked(2) == (3, 4)
    assert (link.epoch, link.outstanding) == (1, (2,))
    link.send([5])
    link.done([2], [0.0])
    assert link.parked(None) == (5,)
    assert (link.epoch, link.outstanding) == (2, ())


@pytest.mark.parametrize("number", [2, 99])
def test_a_worker_is_held_on_its_oldest_request_alone(number: int) -> None:
    link = sent(1, 2)
    with pytest.raises(FrameError, match=f"a hold for request {number}, expected request 1"):
        link.parked(number)
    assert (link.outstanding, link.epoch) == ((1, 2), 0)
    with pytest.raises(FrameError, match="expected nothing"):
        Link().parked(number)


class Worker(RuleBasedStateMachine):
    """A link against a naive worker, whose parent sends again what comes back, and holds it at any time.

    Every request is reported once and in order, whatever is in flight, and a worker that is taken for still is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.next = 0
        self.waiting: list[int] = []
        self.reported: list[int] = []
        self.is_held = False
        self.be_born()

    def be_born(self) -> None:
        self.link = Link()
        # Sent and not yet taken by the worker: (epoch, seq) of a request, (number, None) of a hold, 0 for its end.
        self.in_pipe: list[tuple[int, int | None]] = []
        self.epoch = 0
        self.held: list[int] = []
        self.current: int | None = None
        self.ran = 0
        self.heard = self.told = 0  # the hold that the worker is under, and the last by which it has told to be parked
        self.reports: list[tuple[str | int, int | None]] = []  # sent by the worker, not yet taken by the parent
        self.holds = self.parked = 0
        if self.is_held:
            self.send_hold()

    @property
    def unheard(self) -> list[int]:
        return [seq for what, seq in self.reports if what in {"done", "failed"} and seq is not None]

    def send_hold(self) -> None:
        self.holds += 1
        self.in_pipe.append((self.holds, None))

    # -- The parent

    @precondition(lambda self: not self.is_held)
    @rule()
    def send(self) -> None:
        if not self.waiting:
            self.next += 1
            self.waiting.append(self.next)
        seq = self.waiting.pop(0)
        self.link.send([seq])
        self.in_pipe.append((self.link.epoch, seq))

    @rule()
    def hold_or_release(self) -> None:
        self.is_held = not self.is_held
        if self.is_held:
            self.send_hold()
        else:
            self.in_pipe.append((0, None))

    @precondition(lambda self: self.reports)
    @rule()
    def take_report(self) -> None:
        what, seq = self.reports.pop(0)
        if isinstance(what, int):
            assert self.parked < what <= self.holds
            self.parked = what
            self.waiting[:0] = self.link.parked(seq)
            return
        assert seq is not None
        self.reported.append(seq)
        if what == "done":
            self.link.done([seq], [0.001])
        else:
            self.waiting[:0] = self.link.failed(seq, 0.001)

    # -- The worker

    @precondition(lambda self: self.in_pipe)
    @rule()
    def receive(self) -> None:
        number, seq = self.in_pipe.pop(0)
        if seq is None:
            self.heard = number
        else:
            assert number <= self.epoch
            if number == self.epoch:
                self.held.append(seq)

    def drop(self) -> None:
        self.held.clear()
        self.epoch += 1

    def park(self) -> None:
        self.told = self.heard
        self.reports.append((self.heard, self.current))
        self.drop()

    @precondition(lambda self: self.held and self.current is None)
    @rule()
    def begin(self) -> None:
        if self.heard:
            self.park()
        else:
            self.current = self.held.pop(0)

    @precondition(lambda self: self.current is not None and self.heard not in {0, self.told})
    @rule()
    def come_to_a_part(self) -> None:
        self.park()

    @precondition(lambda self: self.current is not None and not self.is_parked)
    @rule(fails=st.booleans())
    def end(self, *, fails: bool) -> None:
        self.ran += 1
        self.reports.append(("failed" if fails else "done", self.current))
        self.current = None
        if fails:
            self.drop()

    @property
    def is_parked(self) -> bool:
        return self.heard != 0 and self.heard == self.told

    # -- Its end

    @rule(arrived=st.integers(0, 10))
    def die(self, arrived: int) -> None:
        for _ in range(min(arrived, len(self.reports))):
            self.take_report()
        lost = self.link.lose(PageView(self.current, 0.0, self.ran))
        # After a failure that was not heard of, what is behind it counts as not begun, which it is.
        assert list(lost.ran) == self.unheard
        assert lost.suspect == self.current
        self.start_again(lost)

    @rule()
    def break_the_protocol(self) -> None:
        begun = [*self.unheard, *([] if self.current is None else [self.current])]
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
        self.waiting[:0] = [*lost.ran, *([] if lost.suspect is None else [lost.suspect]), *lost.unbegun]
        self.be_born()

    # -- What holds at any time

    @invariant()
    def every_request_was_reported_or_is_out_or_waits_and_in_order(self) -> None:
        assert [*self.reported, *self.link.outstanding, *self.waiting] == list(range(1, self.next + 1))

    @invariant()
    def a_worker_that_is_taken_for_still_is(self) -> None:
        is_parked = self.is_held and self.parked == self.holds and len(self.link) == 1
        if is_parked or not len(self.link):
            assert self.current is None or self.is_parked


TestWorker = Worker.TestCase
