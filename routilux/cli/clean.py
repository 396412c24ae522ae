"""`routilux clean`: jobs that are over are removed from a store, and what killed programs have left.

Owns what is told of it. Imports no code of users, and decodes no value.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator

import msgspec

from routilux.cli.output import width_of, write_result
from routilux.cli.parsing import Commands
from routilux.cli.picture import Column, lay_out, tell_seconds
from routilux.cli.stored import add_key, add_store, find_store, read_key, tell_size
from routilux.control.folder import find_left
from routilux.keeping.finding import OVER
from routilux.keeping.removing import (
    REMOVABLE,
    RUNNING,
    Found,
    count_letters,
    find_jobs,
    is_removable,
    remove_job,
)
from routilux.stores.base import Store
from routilux.stores.errors import StoreError, UnknownJobError
from supervisors.text import printable

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")

COLUMNS: tuple[Column[tuple[Found, float]], ...] = (
    Column("job", lambda row: row[0].job_id, 0, is_text=True),
    Column("status", lambda row: row[0].status, 0, is_text=True),
    Column("kept", lambda row: _tell_age(row[0], row[1]), 0),
    Column("size", lambda row: tell_size(row[0].size_bytes), 0),
)


def add_clean(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "clean",
        description=clean.__doc__,
        examples=[
            "routilux clean --store jobs --older 30d --dry-run",
            "routilux clean --store jobs --older 30d",
            "routilux clean --store jobs --all --status failed --status lost",
        ],
    )
    add_store(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--older", type=age, metavar="AGE", help="what was kept last that long ago, as 90m, 12h, 30d or 4w"
    )
    which.add_argument("--all", action="store_true", help="however short ago it was kept")
    parser.add_argument(
        "--status",
        action="append",
        choices=REMOVABLE,
        metavar="STATUS",
        help=f"jobs of that status instead; may be given again: {', '.join(REMOVABLE)}; default: {' and '.join(OVER)}",
    )
    parser.add_argument(
        "--with-dead-letters", action="store_true", help="those too that have dead letters, which stay otherwise"
    )
    add_key(parser)
    parser.add_argument("--dry-run", action="store_true", help="tell what would be removed, and remove nothing")
    parser.add_argument("--json", action="store_true", help="print what is removed as an array of objects on stdout")
    parser.set_defaults(command=clean)


def age(text: str) -> float:
    """Read an age, in seconds."""
    found = _AGE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected an age such as 90m, 12h, 30d or 4w, got {text!r}")
    return float(found[1]) * _UNITS[found[2]]


def clean(options: argparse.Namespace) -> int:
    """Remove whole jobs from a store, those that are over; prune removes old checkpoints of jobs that stay.

    A job that is completed or cancelled cannot be gone on with, and goes with all that is kept of it, its history too.
    One that failed, is paused, or was lost with its program can be resumed, and stays unless --status names it. One
    that runs is never removed, and one with dead letters stays unless --with-dead-letters is given. The sockets that
    killed programs left behind are removed too.
    """
    store = find_store(options)
    now = time.time()
    statuses, before = tuple(options.status or OVER), float("inf") if options.older is None else now - options.older
    jobs = list(find_jobs(store))
    spared = _Spared(store, None if options.with_dead_letters else read_key(options), options.with_dead_letters)
    chosen = [found for found in jobs if is_removable(found, statuses, before) and not spared.has(found.job_id)]
    gone, problems = chosen, {}
    if not options.dry_run:
        gone = []
        for found in chosen:
            try:
                if remove_job(store, found, statuses, before, spared.has):
                    gone.append(found)
            except StoreError as error:
                problems[found.job_id] = f"{found.job_id}: it could not be removed: {error}"
    sockets = list(find_left())
    for socket in () if options.dry_run else sockets:
        socket.unlink(missing_ok=True)
    if options.json:
        write_result(msgspec.json.encode([found._asdict() for found in gone]).decode() + "\n")
    elif gone:
        titles, lines = lay_out(COLUMNS, [(found, now) for found in gone], width_of(sys.stdout))
        write_result("\n".join([titles, *lines]) + "\n")
    for problem in problems.values():
        print(printable(problem), file=sys.stderr)
    print(_summarize(gone, len(sockets), is_dry=options.dry_run), file=sys.stderr)
    # One that was to go and was taken by somebody meanwhile is left, one that was removed by somebody is not.
    there = set(store.jobs()) - problems.keys() - spared.letters.keys()
    told = _tell_left([found for found in jobs if found not in gone and found.job_id in there], statuses)
    for line in [*([told] if told else []), *spared.tell()]:
        print(printable(line), file=sys.stderr)
    return int(bool(problems))


class _Spared:
    """Which jobs stay though they are over: those with dead letters, which nobody may have looked at.

    Args:
        store: where they are kept.
        key: what they were sealed with.
        has_none: whether none is spared.
    """

    def __init__(self, store: Store, key: bytes | None, has_none: bool) -> None:  # noqa: FBT001
        self._store = store
        self._key = key
        self._has_none = has_none
        self.letters: dict[str, int | None] = {}
        """Of those that were looked at and stay, how many they have; None where that cannot be known."""

    def has(self, job_id: str) -> bool:
        """Tell whether a job stays, and note it."""
        if self._has_none:
            return False
        try:
            count = count_letters(self._store, job_id, self._key)
        except UnknownJobError:
            return False
        if count != 0:
            self.letters[job_id] = count
        return count != 0

    def tell(self) -> Iterator[str]:
        """Say what stays, and how to look at it, or remove it."""
        for job_id, count in self.letters.items():
            if count is None:
                told = "whether it has dead letters cannot be read (--key-file)"
            else:
                told = f"it has {count} dead letter{'' if count == 1 else 's'}"
            yield f"left: {job_id}: {told}; --with-dead-letters removes it"


def _summarize(gone: list[Found], sockets: int, *, is_dry: bool) -> str:
    what = [f"{len(gone)} job{'' if len(gone) == 1 else 's'} ({tell_size(sum(found.size_bytes for found in gone))})"]
    if sockets:
        what.append(f"{sockets} socket{'' if sockets == 1 else 's'} of killed programs")
    return f"{'would be removed' if is_dry else 'removed'}: {' and '.join(what)}"


def _tell_left(left: list[Found], statuses: tuple[str, ...]) -> str:
    """Say what stays, and why."""
    counts = {status: sum(found.status == status for found in left) for status in (RUNNING, *REMOVABLE)}
    told = []
    for status, count in counts.items():
        if count:
            why = "too new, or gone on with" if status in statuses else f"--status {status} removes such"
            told.append(f"{count} {status} ({'never removed' if status == RUNNING else why})")
    return f"left: {', '.join(told)}" if told else ""


def _tell_age(found: Found, now: float) -> str:
    return "" if found.kept_at is None else f"{tell_seconds(max(0.0, now - found.kept_at))} ago"
