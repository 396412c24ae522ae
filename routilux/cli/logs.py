"""`routilux logs`: what a job has logged and what its workers have printed, in order."""

from __future__ import annotations

import argparse
import sys
import time

import msgspec

from routilux.cli.following import as_asked, follow
from routilux.cli.lookup import require_owner, split_routine
from routilux.cli.output import write_result
from routilux.cli.parsing import Commands
from routilux.cli.picture import ID_SHOWN, tell_count
from routilux.cli.stored import JOB_HELP, add_store, positive
from routilux.control.frames import Logged, LogLine, Logs
from supervisors.text import printable


def add_logs(commands: Commands) -> None:
    """Add it."""
    parser = commands.add_parser(
        "logs", description=logs.__doc__, examples=["routilux logs", "routilux logs nightly parse -f -n 20"]
    )
    parser.add_argument("words", nargs="*", metavar="JOB|ROUTINE", help=f"{JOB_HELP}; and of which routine")
    add_store(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes, until the job is over")
    parser.add_argument("-n", type=positive, metavar="N", dest="last", help="the newest N lines; default: all kept")
    parser.add_argument("--json", action="store_true", help="print an object a line on stdout")
    parser.set_defaults(command=logs)


def logs(options: argparse.Namespace) -> int:
    """Show what a job that runs has logged, and the lines that its workers have printed, oldest first."""
    routine = split_routine(options)
    found, owner = require_owner(options, "looked at")
    command = Logs(job_id=found.job_id, routine=routine, last=options.last, follow=options.follow)
    for answer in follow(found, owner, command):
        logged = as_asked(answer, Logged, found.job_id)
        if logged.missed:
            print(f"({tell_count(logged.missed)} lines before are kept no more)", file=sys.stderr)
        write_result("".join(_to_text(line, options) + "\n" for line in logged.lines))
        if logged.is_all:
            break
    return 0


def tell_line(line: LogLine) -> str:
    """Say what was logged, in lines of which each but the first is set in."""
    at = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(line.at))}.{int(line.at % 1 * 1000):03}"
    who = line.routine if line.worker is None else f"{line.routine}[{line.worker}]"
    head = [at, f"{line.level:7}", who or "(job)"] + ([line.message_id[:ID_SHOWN]] if line.message_id else [])
    first, *rest = line.text.split("\n")
    return "\n".join([printable(f"{' '.join(head)}: {first}"), *(f"  {printable(more)}" for more in rest)])


def _to_text(line: LogLine, options: argparse.Namespace) -> str:
    if not options.json:
        return tell_line(line)
    return msgspec.json.encode({name: getattr(line, name) for name in line.__struct_fields__}).decode()
