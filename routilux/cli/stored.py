"""Jobs in a store, as commands name them: the store, the key, the job and where it stands.

Owns the words for that, and how it is found out. Imports no code of users, decodes no value, and changes nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from routilux.cli.errors import CommandError, UsageError
from routilux.control.client import ask
from routilux.control.errors import CommandRefusedError, ControlError
from routilux.control.frames import Now, Status
from routilux.errors import CallerError, RoutiluxError
from routilux.executions import ExecutionRecord
from routilux.hints import describe_names
from routilux.jobs.errors import NotResumableError, ResumeRefusedError
from routilux.keeping.finding import JobSummary, latest
from routilux.keeping.history import StoredHistory
from routilux.records.errors import KeyMissingError
from routilux.stores.base import Owner, Store
from routilux.stores.errors import JobExistsError, JobOwnedError, StoreError, StoreReadError, UnknownJobError
from routilux.stores.opening import is_there, open_store
from routilux.stores.postgres import PostgresStore
from routilux.stores.single_file import read_file
from routilux.stores.sqlite import SqliteStore
from routilux.stores.urls import without_secrets

STATUS_SECONDS = 2.0
"""What a running job gets to say how it is, before what its store says has to do (arbitrary)."""
JOB_HELP = "the job's id, or its beginning; default: the only one that runs"
STORE_VARIABLE = "ROUTILUX_STORE"
"""In the environment: the store that is meant where none is named."""
STORE_HELP = "a folder, a file that ends in .sqlite, or the URL of a database, postgresql://..."
LOST = "lost"
"""Of a job that is told to be running and that nobody runs: its program was killed."""
NOT_BEGUN = "not begun"
"""Of a job of which there is no checkpoint, and that nobody runs."""
UNREADABLE = "unreadable"
"""Of a job of which nothing can be read."""

_WORDS = (
    (re.compile(r"on_timeout='(?P<name>\w+)'"), "--on-timeout {}"),
    (re.compile(r"allow_pickle=True"), "--allow-pickle"),
    (re.compile(r"store=\.\.\."), "--store PATH"),
    (re.compile(r"drop=\[(['\"])(?P<name>.*?)\1\]"), "--drop {}"),
    (re.compile(r"rename=\{(['\"])(?P<name>.*?)\1: its new (?:id|name)\}"), "--rename {}=NEW"),
)
"""What errors say in Python's words, and what the command line has for it; a name is quoted as a shell wants it."""
_RUNNING = ("pending", "running")
_NO_SUCH = frozenset({"UnknownRoutineError", "NotADeadLetterError"})
"""What a job's program refuses because there is none of that name."""


class Standing(NamedTuple):
    """Where a job stands.

    Args:
        status: a word of `JobStatus`, or `LOST`, `NOT_BEGUN`, `UNREADABLE`.
        owner: who runs it; None for nobody.
        now: what it said itself; None where it was not asked, or did not answer.
    """

    status: str
    owner: Owner | None
    now: Now | None = None


def add_store(parser: argparse.ArgumentParser) -> None:
    """Let a command take `--store`."""
    parser.add_argument(
        "--store",
        metavar="PATH",
        help=f"where jobs are kept: {STORE_HELP}; default: ${STORE_VARIABLE}, if set",
    )


def add_key(parser: argparse.ArgumentParser) -> None:
    """Let a command take `--key-file`."""
    parser.add_argument(
        "--key-file", metavar="FILE", help="file with the 16 to 64 secret bytes that checkpoints are sealed with"
    )


def positive(text: str) -> int:
    """Read a number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return number


def check_routine(routine_id: str, known: Sequence[str], option: str = "--routine") -> None:
    """Refuse a routine that a job does not have.

    Args:
        routine_id: what was given.
        known: those it has.
        option: by which it was given.

    Raises:
        UsageError: it has none of that id; it names those it has.
    """
    if routine_id not in known:
        told = describe_names(routine_id, known, "its routines are", "it has none")
        raise UsageError(f"{option}: the job has no routine {routine_id!r}; {told}")


def read_records(store: Store, history: StoredHistory, options: argparse.Namespace) -> Iterator[ExecutionRecord]:
    """Give the history of a job, or of the routine that is asked for, which may be one that its flow has no more.

    Raises:
        UsageError: there is no such routine, nor a record of one.
    """
    has_records = False
    for record in history.records(options.routine):
        has_records = True
        yield record
    if options.routine is not None and not has_records:
        image = latest(store, options.job, key=read_key(options)).image
        check_routine(options.routine, [routine.id for routine in image.routines])


def name_store(options: argparse.Namespace) -> str | None:
    """Give the store that is meant, by `--store` or else by the environment; None for none."""
    return options.store or os.environ.get(STORE_VARIABLE) or None


def find_store(options: argparse.Namespace) -> Store:
    """Open the store that is meant, which is there, and note it in the options, without a password.

    Raises:
        UsageError: none is meant, or there is none.
    """
    named = name_store(options)
    if named is None:
        raise UsageError(f"say with --store, or in ${STORE_VARIABLE}, where the job is kept")
    store = open_store(named)
    options.store = without_secrets(named)
    if not is_there(store):
        if isinstance(store, PostgresStore):
            raise UsageError(f"--store: no job was ever kept in {store}")
        kind = "file" if isinstance(store, SqliteStore) else "folder"
        raise UsageError(f"--store: there is no {kind} {str(Path(options.store))!r}")
    return store


def add_changes(parser: argparse.ArgumentParser) -> None:
    """Add `--flow`, `--rename` and `--drop`: how the flow has changed since the job was kept."""
    parser.add_argument(
        "--flow",
        metavar="FLOW",
        help="MODULE:FLOW, path/file.py:flow or a flow file; default: what it was started from here",
    )
    parser.add_argument(
        "--rename", action="append", default=[], metavar="OLD=NEW", help="what a routine, slot or event is called now"
    )
    parser.add_argument(
        "--drop", action="append", default=[], metavar="NAME", help="what may be let go of what the flow has no more"
    )


def read_key(options: argparse.Namespace) -> bytes | None:
    """Give the key of `--key-file`, less one line end; None where none is given."""
    if options.key_file is None:
        return None
    try:
        key = read_file(options.key_file)
    except StoreReadError as error:
        raise UsageError(f"--key-file: {error}") from error
    return key[:-1] if key.endswith(b"\n") else key


def stand(store: Store, summary: JobSummary) -> Standing:
    """Tell where a job stands: one that runs is asked itself, of others the newest checkpoint tells."""
    nothing = UNREADABLE if summary.checkpoints or summary.problems else NOT_BEGUN
    told = nothing if summary.header is None else summary.header.status
    try:
        owner = store.owner(summary.job_id)
    except StoreError:
        owner = None  # it was removed since it was listed, or cannot be read, which its problems tell
    if owner is None:
        return Standing(LOST if told in _RUNNING else told, None)
    try:
        now = ask(owner, Status(summary.job_id), STATUS_SECONDS)
    except ControlError:
        return Standing("running", owner)
    return Standing(now.status, owner, now) if isinstance(now, Now) else Standing("running", owner)


def how_to_resume(job_id: str, store: str | None) -> str:
    """Give the command that goes on with a job; `store` is None for one that is kept nowhere, but runs."""
    return f"routilux resume {job_id}" + ("" if store is None else f" --store {shlex.quote(store)}")


def how_to_replay(job_id: str, message_id: str, store: str) -> str:
    """Give the command that shows what the handler of a message does with it."""
    return f"routilux replay {job_id} {message_id} --store {shlex.quote(store)}"


def refuse(error: RoutiluxError) -> CommandError:
    """Turn an error into what a command says of it: in one line, but for a list of losses."""
    is_usage = isinstance(error, CallerError | UnknownJobError | JobExistsError)
    if isinstance(error, CommandRefusedError):
        is_usage = error.kind in _NO_SUCH
    is_of_job = isinstance(error, ResumeRefusedError | NotResumableError)
    return CommandError(_tell_error(error), 2 if is_usage and not is_of_job else 1)


def _tell_error(error: RoutiluxError) -> str:
    """Give an error's text; where it says what to do in Python's words, in those of the command line."""
    if isinstance(error, KeyMissingError):
        return f"{error} (--key-file FILE)"
    if isinstance(error, ResumeRefusedError):
        return (
            f"{in_words_of_commands(str(error))}\n"
            "say what is to become of each by --rename OLD=NEW or --drop NAME; a state of another kind is migrated by "
            "Flow.resume(..., migrate=...)"
        )
    if isinstance(error, JobOwnedError) and error.is_alive:
        return f"{error} (routilux pause {error.job_id} --leave, or routilux cancel {error.job_id})"
    return in_words_of_commands(str(error))


def in_words_of_commands(text: str) -> str:
    """Give a text that says what to do in Python's words in those of the command line."""
    for pattern, words in _WORDS:
        text = pattern.sub(partial(_fill, words), text)
    return text


def _fill(words: str, found: re.Match[str]) -> str:
    return words.format(*map(shlex.quote, found.groupdict().values()))


def tell_time(at: float) -> str:
    """Say when, in local time: `2026-03-01 14:05:09`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def tell_size(size_bytes: int) -> str:
    """Say how much: `310 B`, `12.0 KiB`, `3.4 MiB`."""
    size, units = float(size_bytes), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:  # noqa: PLR2004  the binary prefixes
        size, units = size / 1024, units[1:]
    return f"{size_bytes} B" if units[0] == "B" else f"{size:,.1f} {units[0]}"
