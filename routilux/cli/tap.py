"""`routilux tap`: what a routine of a job takes and emits, as it passes."""

from __future__ import annotations

import argparse
import sys
import time

import msgspec

from routilux.cli.errors import UsageError
from routilux.cli.following import as_asked, follow
from routilux.cli.lookup import require_owner, split_words
from routilux.cli.output import write_result
from routilux.cli.parsing import Commands
from routilux.cli.picture import ID_SHOWN, tell_count
from routilux.cli.stored import JOB_HELP, add_store, positive
from routilux.control.frames import Passed, Passing, Tap
from supervisors.text import printable


def add_tap(commands: Commands) -> None:
    """Add it."""
    parser = commands.add_parser(
        "tap", description=tap.__doc__, examples=["routilux tap parse", "routilux tap nightly parse -n 20"]
    )
    parser.add_argument("words", nargs="+", metavar="JOB|ROUTINE", help=f"{JOB_HELP}; and the routine")
    add_store(parser)
    parser.add_argument("-n", type=positive, metavar="N", dest="count", help="end after so many")
    parser.add_argument("--json", action="store_true", help="print an object a line on stdout")
    parser.set_defaults(command=tap)


def tap(options: argparse.Namespace) -> int:
    """Show the messages that a routine takes and the events that it emits, from now on; the job waits for nobody."""
    split_words(options)
    found, owner = require_owner(options, "tapped")
    if len(options.words) != 1:
        raise UsageError(f"say which routine of job {found.job_id!r}, one alone: routilux tap {found.job_id} ROUTINE")
    left = options.count
    for answer in follow(found, owner, Tap(job_id=found.job_id, routine=options.words[0])):
        passed = as_asked(answer, Passed, found.job_id)
        shown = passed.passings[:left]
        write_result("".join(_to_line(passing, options) + "\n" for passing in shown))
        if left is not None:
            left -= len(shown)
            if left <= 0:
                break
        if passed.missed:
            print(f"({tell_count(passed.missed)} more passed than could be told)", file=sys.stderr)
    return 0


def tell_passing(passing: Passing) -> str:
    """Say what has passed, in a line."""
    at = f"{time.strftime('%H:%M:%S', time.localtime(passing.at))}.{int(passing.at % 1 * 1000):03}"
    if passing.is_in:
        return printable(f"{at}  > {passing.name}, message {passing.message_id[:ID_SHOWN]}: {passing.text}")
    return printable(f"{at}  < {passing.name}: {passing.text}")


def _to_line(passing: Passing, options: argparse.Namespace) -> str:
    if not options.json:
        return tell_passing(passing)
    told = {
        "direction": "in" if passing.is_in else "out",
        "name": passing.name,
        "message_id": passing.message_id,
        "at": passing.at,
        "text": passing.text,
    }
    return msgspec.json.encode(told).decode()
