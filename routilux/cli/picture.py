"""How a job looks as text: a view in, lines out.

Owns the layout: which columns there are, which go first when the terminal is narrow, how numbers
read. Pure. Never asks a job, never writes: whoever draws (`live`, `screen`) does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from supervisors.text import cut, printable

if TYPE_CHECKING:  # tables are laid out by commands that watch no job too
    from routilux.observe import JobView, RoutineView, WorkerView

GAP = "  "
WORKERS_SHOWN = 8
"""Worker processes that get a line of their own (arbitrary: what leaves room for the rest)."""
LEAST_WIDTH = 8
"""Characters that a name keeps however narrow the terminal is (arbitrary)."""

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
    """

    title: str
    cell: Callable[[_Row], str]
    rank: int
    is_text: bool = False


COLUMNS: tuple[Column[RoutineView], ...] = (
    Column("routine", lambda routine: routine.id, 0, is_text=True),
    Column("status", lambda routine: routine.status, 6, is_text=True),
    Column("waiting", lambda routine: tell_count(routine.figures.waiting + routine.figures.merging), 1),
    Column("in hand", lambda routine: tell_count(routine.figures.in_hand), 8),
    Column("handled", lambda routine: tell_count(routine.figures.handled), 0),
    Column("per s", lambda routine: tell_rate(routine.rate), 2),
    Column("failed", lambda routine: tell_count(routine.figures.failed), 7),
    Column("dead", lambda routine: tell_count(routine.figures.dead), 10),
    Column("retries", lambda routine: tell_count(routine.figures.retries), 11),
    Column("restarts", lambda routine: tell_count(routine.figures.restarts), 5),
    Column("workers", lambda routine: tell_count(len(routine.pids)) if routine.workers else "thread", 9),
    Column("cpu", lambda routine: tell_percent(routine.cpu_percent), 3),
    Column("memory", lambda routine: tell_bytes(routine.rss_bytes), 4),
)


def draw_job(view: JobView, width: int, headline: str = "") -> list[Line]:
    """Draw a job as some lines: what it is, a line a routine, a line a worker.

    Args:
        view: the job.
        width: characters a line may have.
        headline: a line of the program's own, above the rest; none when empty.
    """
    titles, rows = lay_out(COLUMNS, view.routines, width)
    lines = [Line(cut(printable(headline), width), "head")] if headline else []
    lines.append(Line(cut(tell_job(view), width), "quiet" if headline else "head"))
    lines.append(Line(titles, "titles"))
    lines += [
        Line(row, "bad" if routine.status in {"failed", "skipped"} else "row")
        for row, routine in zip(rows, view.routines, strict=True)
    ]
    return lines + [Line(cut(text, width), "quiet") for text in _draw_workers(view)]


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
        width: characters a line may have.

    Returns:
        The line of titles, and a line for each row.
    """
    cells = [[column.title, *(printable(column.cell(row)) for row in rows)] for column in columns]
    widths = [max(map(len, texts)) for texts in cells]
    kept = list(range(len(columns)))

    def too_wide() -> int:
        return sum(widths[index] for index in kept) + len(GAP) * (len(kept) - 1) - width

    while too_wide() > 0 and any(columns[index].rank for index in kept):
        kept.remove(max(kept, key=lambda index: columns[index].rank))
    widths[0] = max(min(LEAST_WIDTH, widths[0]), widths[0] - max(0, too_wide()))
    lines = []
    for number in range(len(rows) + 1):
        texts = [(cut(cells[index][number], widths[index]), index) for index in kept]
        padded = [
            text.ljust(widths[index]) if columns[index].is_text else text.rjust(widths[index]) for text, index in texts
        ]
        lines.append(GAP.join(padded).rstrip())
    return lines[0], lines[1:]


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


def _draw_workers(view: JobView) -> list[str]:
    listed = [(routine, worker) for routine in view.routines for worker in routine.workers]
    lines = []
    for routine, worker in listed[:WORKERS_SHOWN]:
        name = f"{routine.id}[{worker.number}]" if len(routine.workers) > 1 else routine.id
        pid = f"pid {worker.pid}" if worker.pid is not None else "starting"
        lines.append(printable(GAP.join([f"  {name}", pid, _tell_usage(worker)]).rstrip()))
    if len(listed) > WORKERS_SHOWN:
        lines.append(f"  and {len(listed) - WORKERS_SHOWN} more workers")
    return lines


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
