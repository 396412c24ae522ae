"""What a limit of time leads to, stage by stage."""

from __future__ import annotations

import math

import pytest

from supervisors.places.process.overdue import SILENT_SECONDS, STACK_PATIENCE, STACK_SECONDS, Overdue, Step
from supervisors.places.process.page import PageView

NOTHING, ASK, WARN, END, GIVE_UP = Step.NOTHING, Step.ASK_STACK, Step.WARN, Step.END, Step.GIVE_UP
T = 10.0
IDLE = PageView(None, 0.0, 0)
ON_1 = PageView(1, 100.0, 0)
WAITING = PageView(1, math.inf, 0)
LATER = PageView(1, 103.0, 0)
ON_2 = PageView(2, 100.0, 1)
SOON = STACK_SECONDS


@pytest.mark.parametrize(
    "looks",
    [
        # Never long on anything.
        [
            (IDLE, 0.0, NOTHING),
            (ON_1, 104.9, NOTHING),
            (PageView(None, 0.0, 1), 300.0, NOTHING),
            (PageView(2, 299.0, 1), 301.0, NOTHING),
        ],
        # All the way: warned once, ended once the second stack is there.
        [
            (ON_1, 105.0, ASK),
            (ON_1, 105.0 + SOON / 2, NOTHING),
            (ON_1, 105.0 + SOON, WARN),
            (ON_1, 109.9, NOTHING),
            (ON_1, 110.0, ASK),
            (ON_1, 110.0 + SOON / 2, NOTHING),
            (ON_1, 110.0 + SOON, END),
        ],
        # Looked at too late for a warning: the one stack is for the end.
        [(ON_1, 200.0, ASK), (ON_1, 200.0 + SOON, END)],
        [(ON_1, 109.99, ASK), (ON_1, 110.1, END)],
        # It is over before anything was done.
        [(ON_1, 105.0, ASK), (IDLE, 105.1, NOTHING), (PageView(2, 105.0, 1), 105.2, NOTHING)],
        [(ON_1, 110.0, ASK), (PageView(2, 110.01, 1), 110.1, NOTHING)],
        # The next one has stages of its own.
        [(ON_1, 105.0, ASK), (ON_1, 105.1, WARN), (ON_2, 106.0, ASK), (ON_2, 106.1, WARN), (ON_2, 107.0, NOTHING)],
        # A wait for a grant is not counted, and what was asked for before it is forgotten.
        [(ON_1, 105.0, ASK), (WAITING, 105.1, NOTHING), (WAITING, 107.0, NOTHING), (LATER, 107.9, NOTHING)],
        [(ON_1, 105.0, ASK), (WAITING, 105.1, NOTHING), (LATER, 108.0, ASK), (LATER, 108.1, WARN)],
        # It is warned of once, though a wait has put its half off.
        [(ON_1, 105.0, ASK), (ON_1, 105.1, WARN), (WAITING, 106.0, NOTHING), (LATER, 109.0, NOTHING)],
        # A page gone mad.
        [(PageView(1, -math.inf, 0), 100.0, ASK), (PageView(1, -math.inf, 0), 100.1, END)],
        [(PageView(1, 1e300, 0), 100.0, NOTHING)],
    ],
)
def test_every_stage_has_its_time(looks: list[tuple[PageView, float, Step]]) -> None:
    overdue = Overdue(T)
    assert [overdue.decide_step(page, now, oldest=1, is_told=True) for page, now, _ in looks] == [
        step for _, _, step in looks
    ]


def test_a_stack_that_does_not_come_is_waited_for_and_not_for_long() -> None:
    overdue = Overdue(T)
    looks = [105.0, 105.0 + SOON, 105.0 + STACK_PATIENCE, 110.0, 110.0 + SOON, 110.0 + STACK_PATIENCE]
    steps = [overdue.decide_step(ON_1, now, oldest=1, is_told=False) for now in looks]
    assert steps == [ASK, NOTHING, WARN, ASK, NOTHING, END]


@pytest.mark.parametrize("page", [IDLE, WAITING])
def test_a_worker_that_does_nothing_though_it_could_is_given_up(page: PageView) -> None:
    overdue, patience = Overdue(T), T + SILENT_SECONDS
    told = [overdue.decide_step(page, at, oldest=1, is_told=False) for at in (0.0, patience - 0.1, patience)]
    assert told == [NOTHING, NOTHING, GIVE_UP]


@pytest.mark.parametrize(
    "looks",
    [
        [(WAITING, 1), (WAITING, None), (WAITING, 1)],  # it waited for somebody else meanwhile
        [(IDLE, 1), (IDLE, 2)],  # what it had run was reported, and it was given another
        [(IDLE, 1), (PageView(None, 0.0, 1), 1)],  # it has run one, and its report is on the way
        [(IDLE, 1), (WAITING, 1)],
    ],
)
def test_every_sign_of_life_gives_a_worker_all_of_its_time(looks: list[tuple[PageView, int | None]]) -> None:
    overdue, patience = Overdue(T), T + SILENT_SECONDS
    for n, (page, oldest) in enumerate(looks):
        assert overdue.decide_step(page, n * patience, oldest=oldest, is_told=False) is NOTHING


@pytest.mark.parametrize(
    ("looks", "page", "now", "next_look"),
    [
        ([], IDLE, 50.0, 55.0),  # nothing that begins now can be due before
        ([], WAITING, 50.0, 55.0),
        ([], ON_1, 101.0, 105.0),
        ([], ON_1, 120.0, 105.0),
        ([], PageView(1, 1e300, 0), 50.0, 55.0),  # what is to begin in times to come is not believed
        ([(ON_1, 105.0)], ON_1, 105.01, 105.0 + SOON),
        ([(ON_1, 105.0)], ON_1, 105.2, 105.2 + SOON),
        ([(ON_1, 105.0)], ON_1, 105.0 + STACK_PATIENCE - SOON / 2, 105.0 + STACK_PATIENCE),
        ([(ON_1, 105.0)], ON_1, 107.0, 105.0 + STACK_PATIENCE),
        ([(ON_1, 105.0)], ON_2, 105.01, 105.0),
        ([(ON_1, 105.0), (ON_1, 105.1)], ON_1, 106.0, 110.0),
        ([(ON_1, 105.0), (ON_1, 105.1)], WAITING, 106.0, 116.0),
        ([(ON_1, 105.0), (ON_1, 105.1)], IDLE, 106.0, 111.0),
    ],
)
def test_the_next_look_is_when_something_may_be_due(
    looks: list[tuple[PageView, float]], page: PageView, now: float, next_look: float
) -> None:
    overdue = Overdue(T)
    for seen, at in looks:
        overdue.decide_step(seen, at, oldest=1, is_told=True)
    assert overdue.next_look(page, now) == pytest.approx(next_look)


@pytest.mark.parametrize(("is_told", "late"), [(True, 2 * STACK_SECONDS), (False, 2 * STACK_PATIENCE)])
@pytest.mark.parametrize("timeout", [0.001, 0.1, 1.0, 60.0])
def test_whoever_looks_when_told_ends_what_hangs_soon_after_its_time(
    timeout: float, late: float, *, is_told: bool
) -> None:
    overdue, now, steps = Overdue(timeout), 100.0, []
    while END not in steps:
        now = max(now, overdue.next_look(ON_1, now))
        steps.append(overdue.decide_step(ON_1, now, oldest=1, is_told=is_told))
        assert len(steps) < 30
    assert 100.0 + timeout <= now <= 100.0 + timeout + late
