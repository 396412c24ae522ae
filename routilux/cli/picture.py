"""How a job looks as text: a view in, lines out.

Owns the layout: which columns there are, which go first when the terminal is narrow, how numbers
read. Pure. Never asks a job, never writes: whoever draws (`live`, `screen`) does.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from supervisors.text import printable

if TYPE_CHECKING:  # tables are laid out by commands that watch no job too
    from routilux.observe import JobView, RoutineView, WorkerView

GAP = "  "
WORKERS_SHOWN = 8
"""Worker processes that get a line of their own (arbitrary: what leaves room for the rest)."""
LEAST_WIDTH = 8
"""Columns that a name keeps however narrow the terminal is (arbitrary)."""
ID_SHOWN = 8
"""Digits of a message's id that are shown, at least (arbitrary: nearly always enough to tell it from others)."""
BAR_WIDTH = 8
FULL, FREE = "#", "."
"""What a bar is made of: characters that every terminal has, and that are as wide on each."""
_ALL_LINES = 10_000
_AT_REST = {"paused": "paused", "failed": "stopped", "cancelled": "cancelled", "lost": "lost"}
"""What a routine is that was running, by what its job is now: the runtime leaves its word as it was."""

_Row = TypeVar("_Row")


class Line(NamedTuple):
    """One line and its part in the picture: `head`, `titles`, `row`, `bad` or `quiet`."""

    text: str
    part: str = "row"


class Column(NamedTuple, Generic[_Row]):
    """One column of a table.

    Args:
        title: what stands above it.
        cell: gives the text of a row.
        rank: which goes first when there is no room: the highest; 0 never goes.
        is_text: whether it is aligned to the left, as words are.
        least: how wide it is in any case, so that a picture which is drawn again does not jump as numbers grow.
    """

    title: str
    cell: Callable[[_Row], str]
    rank: int
    is_text: bool = False
    least: int = 0


COLUMNS: tuple[Column[RoutineView], ...] = (
    Column("routine", lambda routine: routine.id, 0, is_text=True),
    Column("status", lambda routine: routine.status, 10, is_text=True),
    Column("runs on", lambda routine: tell_place(routine), 6, is_text=True, least=10),  # noqa: PLW0108  below
    Column("mailbox", lambda routine: draw_bar(_waiting(routine), routine.capacity), 4, is_text=True),
    Column("waiting", lambda routine: tell_count(_waiting(routine)), 1),
    Column("in hand", lambda routine: tell_count(routine.figures.in_hand), 11),
    Column("handled", lambda routine: tell_count(routine.figures.handled), 0),
    Column("per s", lambda routine: tell_rate(routine.rate), 2),
    Column("busy", lambda routine: "" if routine.busy is None else tell_percent(100.0 * routine.busy), 3, least=5),
    Column("cpu", lambda routine: tell_percent(routine.cpu_percent), 5, least=5),
    Column("memory", lambda routine: tell_bytes(routine.rss_bytes), 7, least=7),
    Column("restarts", lambda routine: tell_count(routine.figures.restarts), 8),
    Column("failed", lambda routine: tell_count(routine.figures.failed), 9),
    Column("dead", lambda routine: tell_count(routine.figures.dead), 12),
    Column("retries", lambda routine: tell_count(routine.figures.retries), 13),
)


def draw_job(view: JobView, width: int, headline: str = "", *, height: int | None = None) -> list[Line]:
    """Draw a job as some lines: what it is, a line a routine, their last errors, a line a worker.

    Args:
        view: the job.
        width: columns that a line may have.
        headline: a line of the program's own, above the rest; none when empty.
        height: lines that there may be. What finds no room is left out, and counted: workers first, then errors, then
            routines that have had no error. None for no limit.
    """
    heads = [Line(fit(printable(headline), width), "head")] if headline else []
    heads.append(Line(fit(tell_job(view), width), "quiet" if headline else "head"))
    room = _ALL_LINES if height is None else max(1, height - len(heads) - 1)
    errors, workers = _tell_errors(view), _draw_workers(view)
    if len(errors) + len(view.routines) > room:
        errors = _shorten(errors, max(1, room // 4), "errors")
    shown = _choose(view.routines, max(1, room - len(errors)))
    left_out = [routine for routine in view.routines if routine not in shown]
    told = [routine._replace(status=tell_status(routine.status, view.status)) for routine in shown]
    titles, rows = lay_out(COLUMNS, told, width)
    lines = [*heads, Line(titles, "titles")]
    lines += [Line(row, "bad" if _is_bad(routine) else "row") for row, routine in zip(rows, shown, strict=True)]
    if left_out:
        lines.append(Line(fit(_tell_left_out(left_out), width), "quiet"))
    lines += [Line(fit(text, width), "bad") for text in errors]
    room -= len(rows) + bool(left_out) + len(errors)
    workers = _shorten(workers, min(room, WORKERS_SHOWN + 1), "workers") if room > 0 else []
    return lines + [Line(fit(text, width), "quiet") for text in workers]


def tell_job(view: JobView) -> str:
    """Say in one line which job it is, how long it has run, and what the program itself uses."""
    program = _tell_usage(view.program)
    own = f", this program {program}" if program else ""
    return printable(f"{view.flow_id}, job {view.job_id}: {view.status}, {tell_seconds(view.seconds)}{own}")


def tell_progress(view: JobView) -> str:
    """Say in one line how far each routine is; for logs and pipes."""
    return " | ".join(_tell_routine(routine) for routine in view.routines)


def lay_out(columns: Sequence[Column[_Row]], rows: Sequence[_Row], width: int) -> tuple[str, list[str]]:
    """Set a table: columns that find no room are left out, then the first one is cut.

    Args:
        columns: the columns, from left to right.
        rows: what the lines are about.
        width: columns of the terminal that a line may take.

    Returns:
        The line of titles, and a line for each row.
    """
    cells = [[column.title, *(printable(column.cell(row)) for row in rows)] for column in columns]
    widths = [max(column.least, *map(width_of, texts)) for column, texts in zip(columns, cells, strict=True)]
    kept = list(range(len(columns)))

    def too_wide() -> int:
        return sum(widths[index] for index in kept) + len(GAP) * (len(kept) - 1) - width

    while too_wide() > 0 and any(columns[index].rank for index in kept):
        kept.remove(max(kept, key=lambda index: columns[index].rank))
    widths[0] = max(min(LEAST_WIDTH, widths[0]), widths[0] - max(0, too_wide()))
    lines = []
    for number in range(len(rows) + 1):
        padded = []
        for index in kept:
            text = fit(cells[index][number], widths[index])
            space = " " * (widths[index] - width_of(text))
            padded.append(text + space if columns[index].is_text else space + text)
        lines.append(GAP.join(padded).rstrip())
    return lines[0], lines[1:]


def width_of(text: str) -> int:
    """Give the columns that a text takes on a terminal: two for a wide character (as of East Asia), none for a mark."""
    if text.isascii():
        return len(text)
    return sum(map(_width_of_one, text))


def fit(text: str, width: int) -> str:
    """Give as much of `text` as has room in `width` columns, with dots where some is missing."""
    if width_of(text) <= width:
        return text
    dots = "..."[: max(0, width)]
    room, kept = width - len(dots), []
    for char in text:
        room -= _width_of_one(char)
        if room < 0:
            break
        kept.append(char)
    return "".join(kept) + dots


def draw_bar(count: int, capacity: int) -> str:
    """Draw how much of its capacity is filled; all of it for anything above. Only what is empty is drawn as such."""
    filled = min(BAR_WIDTH, -(-count * BAR_WIDTH // max(1, capacity)))
    return FULL * filled + FREE * (BAR_WIDTH - filled)


def tell_status(status: str, job_status: str) -> str:
    """Say what a routine does: of one that is told to be running, while its job rests, what the job does."""
    return _AT_REST.get(job_status, status) if status == "running" else status


def tell_place(routine: RoutineView) -> str:
    """Say where handlers run: `thread`, `async`, `process`, `ray x4` with as many workers as there are now."""
    if routine.placement == "thread":
        return "async" if routine.is_async else "thread"
    return routine.placement if len(routine.workers) == 1 else f"{routine.placement} x{len(routine.pids)}"


def tell_count(count: int) -> str:
    """Say a number of things: `12,345`."""
    return f"{count:,}"


def tell_rate(rate: float | None) -> str:
    """Say how many a second: `1,234`, `0.5`; nothing where it is not known."""
    if rate is None:
        return ""
    return f"{rate:,.0f}" if rate >= 10 or rate == 0 else f"{rate:.1f}"  # noqa: PLR2004  two digits tell enough


def tell_percent(percent: float | None) -> str:
    """Say a share of one core: `187 %`; nothing where it is not known."""
    return "" if percent is None else f"{percent:.0f} %"


def tell_bytes(count: int | None) -> str:
    """Say an amount of memory: `55 MiB`; nothing where it is not known."""
    if count is None:
        return ""
    mebibytes = count / 2**20
    return f"{mebibytes:,.0f} MiB" if mebibytes < 10_000 else f"{mebibytes / 2**10:,.1f} GiB"  # noqa: PLR2004  as above


def tell_seconds(seconds: float) -> str:
    """Say how long: `12.3 s`, `2 min 05 s`, `1 h 02 min`."""
    if seconds < 60:  # noqa: PLR2004  a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _is_bad(routine: RoutineView) -> bool:
    return routine.status in {"failed", "skipped"}


def _waiting(routine: RoutineView) -> int:
    return routine.figures.waiting + routine.figures.merging


def _choose(routines: Sequence[RoutineView], room: int) -> list[RoutineView]:
    """Give the routines that find room, in their order: those with an error before others, one line less if any go."""
    if len(routines) <= room:
        return list(routines)
    # Which are busy changes from look to look; whoever reads a picture wants each at its place.
    by_need = sorted(range(len(routines)), key=lambda index: (routines[index].error is None, index))
    return [routines[index] for index in sorted(by_need[: max(1, room - 1)])]


def _tell_left_out(routines: Sequence[RoutineView]) -> str:
    waiting, handled = sum(map(_waiting, routines)), sum(routine.figures.handled for routine in routines)
    more = "1 more routine" if len(routines) == 1 else f"{len(routines)} more routines"
    return f"and {more}: {tell_count(waiting)} waiting, {tell_count(handled)} handled"


def _shorten(lines: list[str], room: int, what: str) -> list[str]:
    """Give as many lines as find room, the last of which counts those that do not."""
    if len(lines) <= room:
        return lines
    kept = max(0, room - 1)
    return [*lines[:kept], f"  and {len(lines) - kept} more {what}"]


def _tell_errors(view: JobView) -> list[str]:
    return [printable(f"  {routine.id}: {routine.error}") for routine in view.routines if routine.error is not None]


def _draw_workers(view: JobView) -> list[str]:
    lines = []
    for routine in view.routines:
        for worker in routine.workers:
            name = f"{routine.id}[{worker.number}]" if len(routine.workers) > 1 else routine.id
            pid = f"pid {worker.pid}" if worker.pid is not None else "starting"
            pid += f" on {worker.node}" if worker.node else ""
            lines.append(printable(GAP.join([f"  {name}", pid, _tell_usage(worker)]).rstrip()))
    return lines


def _width_of_one(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def _tell_usage(worker: WorkerView) -> str:
    cpu = "" if worker.cpu_percent is None else f"cpu {tell_percent(worker.cpu_percent)}"
    return " ".join(part for part in (cpu, tell_bytes(worker.rss_bytes)) if part)


def _tell_routine(routine: RoutineView) -> str:
    figures = routine.figures
    parts = [f"{routine.id} {tell_count(figures.handled)} handled"]
    if figures.waiting + figures.merging:
        parts.append(f"{tell_count(figures.waiting + figures.merging)} waiting")
    if routine.rate is not None:
        parts.append(f"{tell_rate(routine.rate)}/s")
    if routine.workers:
        count = len(routine.pids)
        parts.append(f"{count} worker{'s' if count != 1 else ''}")
        if routine.cpu_percent is not None:
            parts.append(f"cpu {tell_percent(routine.cpu_percent)}")
        if routine.rss_bytes is not None:
            parts.append(tell_bytes(routine.rss_bytes))
    parts += [
        f"{tell_count(count)} {word}"
        for word, count in (
            ("dead", figures.dead),
            ("skipped", figures.skipped),
            ("restarts", figures.restarts),
            ("abandoned", figures.abandoned),
        )
        if count
    ]
    return printable(", ".join(parts))
