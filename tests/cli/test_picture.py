from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.cli.picture import (
    WORKERS_SHOWN,
    Column,
    draw_bar,
    draw_job,
    fit,
    lay_out,
    tell_bytes,
    tell_percent,
    tell_place,
    tell_progress,
    tell_rate,
    tell_seconds,
    width_of,
)
from routilux.figures import RoutineFigures
from routilux.observe import JobView, WorkerView
from tests.cli.views import busy_job, routine

AT_120 = """\
1,790 files
census, job ab12: running, 12.3 s, this program cpu 12 % 40 MiB
routine  status           runs on     mailbox   waiting  handled  per s   busy    cpu   memory  restarts  failed
read     running          thread      ........        0        0      0   12 %                         0       0
parse    error_continued  process x2  ########      987   12,345    101   97 %  186 %  115 MiB         3       9
tally    running          thread      #.......       37   12,340    2.5    3 %                         0       0
  parse: raised ValueError: bad row 17
  parse[0]  pid 4321  cpu 98 % 55 MiB
  parse[1]  pid 4322  cpu 88 % 60 MiB"""

AT_80 = """\
1,790 files
census, job ab12: running, 12.3 s, this program cpu 12 % 40 MiB
routine  runs on     mailbox   waiting  handled  per s   busy    cpu   memory
read     thread      ........        0        0      0   12 %
parse    process x2  ########      987   12,345    101   97 %  186 %  115 MiB
tally    thread      #.......       37   12,340    2.5    3 %
  parse: raised ValueError: bad row 17
  parse[0]  pid 4321  cpu 98 % 55 MiB
  parse[1]  pid 4322  cpu 88 % 60 MiB"""

AT_60 = """\
1,790 files
census, job ab12: running, 12.3 s, this program cpu 12 % ...
routine  mailbox   waiting  handled  per s   busy    cpu
read     ........        0        0      0   12 %
parse    ########      987   12,345    101   97 %  186 %
tally    #.......       37   12,340    2.5    3 %
  parse: raised ValueError: bad row 17
  parse[0]  pid 4321  cpu 98 % 55 MiB
  parse[1]  pid 4322  cpu 88 % 60 MiB"""

# Lines of the source are shorter than this terminal: the row of `parse`, with all columns that there are.
TITLES_AT_200 = (
    "routine  status           runs on     mailbox   waiting  in hand  handled  per s   busy    cpu   memory  restarts"
    "  failed  dead  retries"
)
PARSE_AT_200 = (
    "parse    error_continued  process x2  ########      987        2   12,345    101   97 %  186 %  115 MiB         3"
    "       9     4        5"
)


def drawn(width: int, headline: str = "1,790 files") -> str:
    return "\n".join(line.text for line in draw_job(busy_job(), width, headline))


@pytest.mark.parametrize(("width", "expected"), [(120, AT_120), (80, AT_80), (60, AT_60)])
def test_a_job_is_drawn_in_the_columns_there_are_without_what_matters_least(width: int, expected: str) -> None:
    assert drawn(width) == expected


def test_a_wide_terminal_shows_all_columns() -> None:
    lines = drawn(200).split("\n")
    assert (lines[2], lines[4]) == (TITLES_AT_200, PARSE_AT_200)


def test_a_picture_that_is_drawn_again_does_not_jump_as_numbers_grow() -> None:
    view = busy_job()
    first = view._replace(
        routines=tuple(
            routine._replace(
                figures=RoutineFigures(),
                rate=None,
                busy=None,
                workers=tuple(WorkerView(worker.number) for worker in routine.workers),
            )
            for routine in view.routines
        )
    )
    for width in (80, 120):
        assert draw_job(first, width)[1] == draw_job(view, width)[1]


LONG_AT_80 = """\
census, job ab12: running, 12.3 s, this program cpu 12 % 40 MiB
routine                             mailbox   waiting  handled  per s   busy
measure_the_complexity_of_each_one  ........        0        0      0   12 %
計る                                ........        0        0
e\u0301te\u0301                                 ........        0        0"""


def test_long_ids_push_out_columns_and_wide_characters_keep_them_straight() -> None:
    read, _parse, _tally = busy_job().routines
    routines = (read._replace(id="measure_the_complexity_of_each_one"), routine("計る"), routine("e\u0301te\u0301"))
    lines = draw_job(busy_job()._replace(routines=routines), 80)
    assert "\n".join(line.text for line in lines) == LONG_AT_80


def test_a_text_is_cut_by_the_columns_it_takes() -> None:
    assert [width_of(text) for text in ("", "abc", "計る", "e\u0301", "ｱ")] == [0, 3, 4, 1, 1]
    assert fit("計る計る", 8) == "計る計る"
    assert fit("計る計る", 7) == "計る..."
    assert fit("計る計る", 6) == "計..."
    assert fit("abc", 2) == ".."


def test_a_bar_is_empty_for_nothing_alone_and_full_for_all() -> None:
    bars = [draw_bar(count, 100) for count in (0, 1, 13, 50, 99, 100, 250)]
    assert bars == ["........", "#.......", "##......", "####....", "########", "########", "########"]


def test_where_a_routine_runs_is_told_with_the_processes_it_has() -> None:
    pool = (WorkerView(0, 7), WorkerView(1))
    assert [
        tell_place(routine()),
        tell_place(routine(is_async=True)),
        tell_place(routine(placement="process", workers=pool[:1])),
        tell_place(routine(placement="process", workers=pool)),
        tell_place(routine(placement="ray", workers=pool[:1])),
        tell_place(routine(placement="ray", workers=pool)),
    ] == ["thread", "async", "process", "process x1", "ray", "ray x1"]


# ---- more than there is room for

CROWDED = """\
crowd, job ab12: running, 12.3 s, this program cpu 12 % 40 MiB
routine  runs on     mailbox   waiting  handled  per s   busy    cpu   memory
r0       thread      ........        0        0
r1       thread      ........        1       10
r2       thread      ........        2       20
r3       thread      ........        3       30
r4       thread      ........        4       40
r30      thread      ........       30      300
r33      thread      ........       33      330
and 33 more routines: 707 waiting, 7,070 handled
  r30: raised ValueError: 30
  r33: raised ValueError: 33"""


def crowd(*failed: int, count: int = 40) -> JobView:
    return busy_job()._replace(
        flow_id="crowd",
        routines=tuple(
            routine(
                f"r{number}",
                capacity=10_000_000,
                figures=RoutineFigures(waiting=number, handled=10 * number),
                error=f"raised ValueError: {number}" if number in failed else None,
            )
            for number in range(count)
        ),
    )


def test_routines_that_find_no_room_are_counted_and_those_with_errors_come_first() -> None:
    text = "\n".join(line.text for line in draw_job(crowd(30, 33), 80, height=12))
    assert text.replace("#", ".") == CROWDED


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 20), st.integers(3, 60), st.booleans())
def test_no_picture_is_higher_than_the_terminal_and_nothing_goes_unsaid(
    count: int, failed: int, workers: int, height: int, has_headline: bool
) -> None:
    view = crowd(*range(failed), count=count)
    pool = tuple(WorkerView(number, 100 + number) for number in range(workers))
    last = view.routines[-1]._replace(placement="process", workers=pool)
    view = view._replace(routines=(*view.routines[:-1], last))
    lines = draw_job(view, 80, "head" if has_headline else "", height=height)
    assert len(lines) <= max(height, 5 + has_headline)
    texts = [line.text for line in lines]
    rows = [text for text in texts if text.startswith("r") and not text.startswith("routine")]
    more = [text for text in texts if text.startswith("and ") and "more routine" in text]
    left_out = sum(int(text.split()[1]) for text in more)
    assert len(rows) + left_out == count
    errors = sum(text.startswith("  r") and "raised" in text for text in texts)
    unsaid = sum(int(text.split()[1]) for text in texts if text.endswith("more errors"))
    assert errors + unsaid == min(failed, count)


@given(st.integers(1, 150))
def test_no_line_is_longer_than_the_terminal_is_wide_down_to_what_cannot_be_cut(width: int) -> None:
    assert all(len(line) <= max(width, 17) for line in drawn(width).split("\n"))


def test_without_a_headline_the_job_itself_is_the_head() -> None:
    first, *_ = draw_job(busy_job(), 80)
    assert first == ("census, job ab12: running, 12.3 s, this program cpu 12 % 40 MiB", "head")


def test_a_failed_routine_stands_out() -> None:
    view = busy_job()._replace(routines=(routine("a"), routine("b", status="failed"), routine("c", status="skipped")))
    assert [line.part for line in draw_job(view, 80)] == ["head", "titles", "row", "bad", "bad"]


def test_only_so_many_workers_get_a_line() -> None:
    workers = tuple(WorkerView(number, 100 + number) for number in range(WORKERS_SHOWN + 3))
    lines = draw_job(busy_job()._replace(routines=(routine(workers=workers),)), 80)
    assert len(lines) == 3 + WORKERS_SHOWN + 1
    assert lines[-1].text == "  and 3 more workers"


def test_a_worker_without_a_process_is_starting() -> None:
    lines = draw_job(busy_job()._replace(routines=(routine(workers=(WorkerView(0),)),)), 80)
    assert lines[-1].text == "  parse  starting"


def test_progress_is_one_line() -> None:
    assert tell_progress(busy_job()) == (
        "read 0 handled, 0/s"
        " | parse 12,345 handled, 987 waiting, 101/s, 2 workers, cpu 186 %, 115 MiB, 4 dead, 3 restarts"
        " | tally 12,340 handled, 37 waiting, 2.5/s"
    )


def test_what_a_terminal_would_obey_is_escaped() -> None:
    text = "".join(line.text for line in draw_job(busy_job(), 80, "evil\x1b[2J"))
    assert "\x1b" not in text


def test_columns_go_by_rank_and_the_first_is_cut_last() -> None:
    columns: list[Column[str]] = [
        Column("name", str, 0, is_text=True),
        Column("much", lambda _: "much", 2),
        Column("more", lambda _: "more", 1),
    ]
    assert lay_out(columns, ["a" * 12], 24) == (
        "name          much  more",
        ["aaaaaaaaaaaa  much  more"],
    )
    assert lay_out(columns, ["a" * 12], 23) == ("name          more", ["aaaaaaaaaaaa  more"])
    assert lay_out(columns, ["a" * 12], 10) == ("name", ["aaaaaaa..."])


def test_figures_read_as_people_write_them() -> None:
    assert [tell_rate(rate) for rate in (None, 0.0, 0.25, 9.96, 1234.5)] == ["", "0", "0.2", "10.0", "1,234"]
    assert [tell_percent(percent) for percent in (None, 0.0, 187.4)] == ["", "0 %", "187 %"]
    assert [tell_bytes(count) for count in (None, 0, 55 * 2**20, 20 * 2**30)] == ["", "0 MiB", "55 MiB", "20.0 GiB"]
    seconds = [tell_seconds(value) for value in (0.04, 59.94, 60.0, 125.4, 3720.0)]
    assert seconds == ["0.0 s", "59.9 s", "1 min 00 s", "2 min 05 s", "1 h 02 min"]


def test_threads_that_were_abandoned_are_told_in_the_line_of_progress() -> None:
    view = busy_job()._replace(routines=(routine("parse", figures=RoutineFigures(handled=2, abandoned=1)),))
    assert tell_progress(view) == "parse 2 handled, 1 abandoned"
