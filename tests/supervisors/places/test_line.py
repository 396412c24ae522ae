"""Who is told of next, of requests that run at once."""

from __future__ import annotations

import random

import pytest

from supervisors.places.line import Line
from supervisors.places.reports import Done, Part


def told(line: Line) -> list[tuple[int, object]]:
    """Take all that may be told; who is done leaves."""
    taken = []
    while (report := line.take()) is not None:
        assert isinstance(report, Part | Done)
        taken.append((report.seq, report.body))
        if isinstance(report, Done):
            line.leave(report.seq)
    return taken


def done(seq: int) -> Done:
    return Done(seq, "done", 0.0)


def test_in_an_ordered_line_all_waits_for_those_before() -> None:
    line = Line(is_ordered=True)
    line.enter([1, 2, 3])
    line.keep(Part(2, "a"))
    line.keep(done(2))
    line.keep(Part(1, "b"))
    assert line.has_next()
    assert told(line) == [(1, "b")]
    assert not line.has_next()
    line.keep(done(1))
    assert told(line) == [(1, "done"), (2, "a"), (2, "done")]
    assert list(line.split(None)) == [(3,), ()]


def test_in_a_line_without_order_all_is_told_as_it_comes() -> None:
    line = Line(is_ordered=False)
    line.enter([1, 2, 3])
    line.keep(done(2))
    line.keep(Part(1, "b"))
    line.keep(Part(3, "gone"))
    line.fail(3)
    assert not line.is_blocked
    assert told(line) == [(2, "done"), (1, "b")]
    assert len(line) == 1


def test_one_that_failed_blocks_an_ordered_line_until_it_is_passed_by() -> None:
    line = Line(is_ordered=True)
    line.enter([1, 2])
    line.keep(done(2))
    line.fail(1)
    assert line.is_blocked
    assert told(line) == []
    assert not line.has_next()
    line.pass_by()
    assert told(line) == [(2, "done")]


def test_what_enters_a_blocked_line_goes_to_its_head_in_order() -> None:
    line = Line(is_ordered=True)
    line.enter([1, 2])
    line.keep(done(2))
    line.fail(1)
    line.enter([3, 4])
    assert line.split(None)[0] == (3, 4, 2)
    for seq in (4, 3):
        line.keep(done(seq))
    assert [seq for seq, _ in told(line)] == [3, 4, 2]


def test_a_line_is_split_at_a_suspect() -> None:
    line = Line(is_ordered=True)
    line.enter([1, 2, 3])
    assert line.split(2) == ((1,), (3,))
    assert line.split(7) == ((1, 2, 3), ())
    assert 2 in line
    line.clear()
    assert line.split(2) == ((), ())


@pytest.mark.parametrize("seed", range(50))
def test_an_ordered_line_tells_in_the_order_of_entering_whoever_is_done_first(seed: int) -> None:
    rng = random.Random(seed)
    line, entered, came = Line(is_ordered=True), 0, []
    running: list[int] = []
    failed: int | None = None
    while entered < 30 or running or failed is not None:
        if failed is not None and rng.random() < 0.3:
            line.enter([failed])
            running.append(failed)
            failed = None
        elif failed is None and entered < 30 and rng.random() < 0.5:
            line.enter([entered])
            running.append(entered)
            entered += 1
        elif running:
            line.keep(done(running.pop(rng.randrange(len(running)))))
        while (report := line.take()) is not None:
            if failed is None and rng.random() < 0.2:
                failed = report.seq
                line.fail(report.seq)
            else:
                came.append(report.seq)
                line.leave(report.seq)
    assert came == list(range(30))
