"""`routilux retry` and `skip`: what becomes of the messages of a job that were given up.

Owns what is said of it. One that runs does it itself; of one that nobody runs a new checkpoint is written.
"""

from __future__ import annotations

import argparse
import shlex
import sys

from routilux.causes import tell_cause
from routilux.cli.errors import CommandError, UsageError
from routilux.cli.following import as_asked
from routilux.cli.lookup import Found, find_job, require_store, split_words
from routilux.cli.output import width_of, write_result
from routilux.cli.parsing import Commands
from routilux.cli.picture import ID_SHOWN, tell_count
from routilux.cli.stored import JOB_HELP, add_key, add_store, how_to_resume, read_key, tell_time
from routilux.control.client import ask
from routilux.control.frames import MOST_IDS, Discard, Letter, Letters, LettersTold, Redeliver, Settled
from routilux.ids import from_bytes, to_id
from routilux.keeping.finding import OVER, latest
from routilux.keeping.messages import short_ids
from routilux.keeping.settling import choose, discard_kept, redeliver_kept
from routilux.records.schema import Image
from routilux.stores.base import Owner
from routilux.stores.owners import this_process
from supervisors.text import cut, printable


def add_letters(commands: Commands) -> None:
    """Add both."""
    for name, command in (("retry", retry), ("skip", skip)):
        parser = commands.add_parser(
            name,
            description=command.__doc__,
            examples=[
                f"routilux {name} nightly",
                f"routilux {name} nightly 1a2b3c4d",
                f"routilux {name} nightly --routine parse",
            ],
        )
        parser.add_argument(
            "words",
            nargs="*",
            metavar="JOB|ID",
            help=f"{JOB_HELP}; and ids of messages, or their beginnings, as the list tells them",
        )
        add_store(parser)
        parser.add_argument(
            "--routine", metavar="ROUTINE", help="all that this routine has given up, of a JOB that is named"
        )
        parser.add_argument("--all", action="store_true", help="all that the JOB has that is named")
        add_key(parser)
        parser.set_defaults(command=command)


def retry(options: argparse.Namespace) -> int:
    """Put dead letters back into their mailboxes, to be tried as new ones. Without words that say which, list them."""
    return _settle_those(options, Redeliver, "put back, to be tried again")


def skip(options: argparse.Namespace) -> int:
    """Let dead letters go for good; they count as skipped. Without words that say which, list them."""
    return _settle_those(options, Discard, "let go")


def read_letters(found: Found, options: argparse.Namespace) -> LettersTold:
    """Give the dead letters of a job, as it tells them or as its newest good checkpoint has them."""
    if found.owner is not None:
        answer = ask(found.owner, Letters(job_id=found.job_id, routine=options.routine))
        return as_asked(answer, LettersTold, found.job_id)
    image = latest(require_store(found), found.job_id, key=read_key(options)).image
    letters = _letters_of(image, options.routine)
    return LettersTold(letters=letters, count=len(letters))


def tell_letter(letter: Letter, name: str) -> str:
    """Say which message was given up, by the beginning of its id, and why, in a line."""
    tried = f"tried {letter.attempts} x, given up {tell_time(letter.at)}"
    return printable(f"{name}  {letter.routine}: {tried}: {letter.cause}")


def _find(options: argparse.Namespace) -> Found:
    split_words(options)
    options.routine = options.routine or ""
    if len(options.words) > MOST_IDS:
        raise UsageError(f"expected {MOST_IDS:,} ids at most, got {len(options.words):,}: name a routine, or --all")
    if options.all and (options.words or options.routine):
        raise UsageError("--all means all: it goes without ids and without --routine")
    if options.job is None and (options.all or options.routine):
        raise UsageError("name the job of which all that is wanted: JOB may be left out where ids are given alone")
    return find_job(options)


def _count(count: int) -> str:
    return f"{tell_count(count)} dead letter{'' if count == 1 else 's'}"


def _says_which(options: argparse.Namespace) -> bool:
    return bool(options.words or options.routine or options.all)


def _list_letters(found: Found, options: argparse.Namespace) -> int:
    told = read_letters(found, options)
    if not told.letters:
        return _tell_none(found, options)
    width, names = 2 * width_of(sys.stdout), short_ids([letter.message_id for letter in told.letters], ID_SHOWN)
    lines = [cut(tell_letter(letter, names[letter.message_id]), width) for letter in told.letters]
    write_result("".join(f"{line}\n" for line in lines))
    newest = "" if len(lines) == told.count else f", of which the newest {tell_count(len(lines))} are told"
    which = "say which by the beginnings of their ids, by --routine, or with --all"
    print(printable(f"{_count(told.count)} of job {found.job_id}{newest}: {which}"), file=sys.stderr)
    return 2


def _tell_none(found: Found, options: argparse.Namespace) -> int:
    whose = f"routine {options.routine!r} of job {found.job_id}" if options.routine else f"job {found.job_id}"
    print(printable(f"{whose} has no dead letters"), file=sys.stderr)
    if found.owner is None and found.store is not None:
        status = latest(found.store, found.job_id, key=read_key(options)).image.header.status
        if status == "failed":
            told = "the message by which it failed is none: it is kept first in line, and handled again by a resume"
            how = f"routilux show {found.job_id} --messages --store {shlex.quote(found.store_path)}"
            print(printable(f"{told} ({how})"), file=sys.stderr)
    return 0


def _settle_those(options: argparse.Namespace, command: type[Redeliver | Discard], done: str) -> int:
    """Settle what the words say, where the job is, and tell how many that were; or list what there is."""
    found = _find(options)
    if not _says_which(options):
        return _list_letters(found, options)
    is_retry = command is Redeliver
    if found.owner is None:
        count = _settle_kept(found, options, is_retry=is_retry)
    else:
        count = _settle(found.owner, command(job_id=found.job_id, ids=options.words, routine=options.routine))
    if not count:
        return _tell_none(found, options)
    print(printable(f"{_count(count)} of job {found.job_id} {done}"), file=sys.stderr)
    if is_retry and found.owner is None:
        print(printable(f"go on with it by: {how_to_resume(found.job_id, found.store_path)}"), file=sys.stderr)
    return 0


def _settle(owner: Owner, command: Redeliver | Discard) -> int:
    return as_asked(ask(owner, command), Settled, command.job_id).count


def _settle_kept(found: Found, options: argparse.Namespace, *, is_retry: bool) -> int:
    store, key = require_store(found), read_key(options)
    lease = store.acquire(found.job_id, this_process(), create=False)
    try:
        status = latest(store, found.job_id, key=key).image.header.status
        if status in OVER:
            raise CommandError(
                f"job {found.job_id!r} is over: it is {status}, and not resumed any more; `routilux fork` makes a new "
                "job of it, of which they may be tried again",
                1,
            )
        settle = redeliver_kept if is_retry else discard_kept
        return settle(store, lease, options.words, options.routine, key=key)
    finally:
        lease.release()


def _letters_of(image: Image, routine_id: str) -> list[Letter]:
    letters = []
    for one in choose(image, [], routine_id):
        routine = image.routines[one.routine]
        letter = routine.dead_letters[one.letter]
        message_id = to_id(from_bytes(letter.message.key))
        letters.append(Letter(routine.id, message_id, letter.attempts, letter.at, tell_cause(letter.reason)))
    return sorted(letters, key=lambda letter: letter.at)
