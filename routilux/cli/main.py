"""`routilux`: run, check and draw flows from the command line, and look after jobs that run or are kept.

Owns the list of commands, and the end of each: its exit status, and what is told of an error. Loads the module of the
command that is given alone.

Exit status: 0 the job completed, 1 it failed or could not be started, 2 usage, 3 it is paused, 4 it was cancelled,
130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from routilux.cli.errors import INTERRUPTED, CommandError, UsageError
from routilux.cli.output import flush_streams, open_missing_streams, tell
from routilux.cli.parsing import CommandParser, Commands
from routilux.errors import RoutiluxError
from routilux.frames import wants_all
from routilux.hints import describe_names
from routilux.version import VERSION
from supervisors.text import printable

EXAMPLES = """examples:
  routilux run examples/census.py:flow --param root=src
  routilux check mypackage.flows:nightly
  routilux graph flows.py:flow -o flow.svg

  routilux run flows.py:nightly --store jobs --job-id nightly --checkpoint-every 10
  routilux pause nightly --store jobs --reason lunch     (in another terminal)
  routilux resume nightly --store jobs                   (there, or after the program was killed)
  routilux jobs --store jobs
  routilux show nightly --store jobs --history --routine parse
  routilux report nightly --store jobs -o nightly.html

  routilux top; routilux ps; routilux tap parse -n 20    (while a job runs, with a store or without)

exit status:
  0 the job completed, 1 it failed or could not be started, 2 usage, 3 it is paused, 4 it was cancelled, 130 interrupted
"""


class Adding(NamedTuple):
    """What adds some commands.

    Args:
        where: the module, and its function, which is given the parser's commands.
        told: what each command does, in a line.
    """

    where: str
    told: Mapping[str, str]


ADDINGS = (
    Adding("routilux.cli.run:add_run", {"run": "run a flow and wait for it"}),
    Adding("routilux.cli.check:add_check", {"check": "find what is wrong with a flow"}),
    Adding("routilux.cli.graph:add_graph", {"graph": "draw a flow, or a job with its numbers"}),
    Adding(
        "routilux.cli.kept:add_kept",
        {
            "jobs": "list the jobs that run, or those of a store",
            "show": "show what is kept of a job",
            "resume": "go on with a job",
            "pause": "pause a job that runs in another terminal",
            "checkpoint": "keep a job as it is now, while it runs elsewhere",
            "cancel": "end a job for good",
            "fork": "make a new job of a kept checkpoint",
            "prune": "let old checkpoints go, of jobs that stay",
            "verify": "look for damage",
        },
    ),
    Adding(
        "routilux.cli.ps:add_ps",
        {"ps": "show how each routine of a job does that runs", "top": "show that again and again, while jobs run"},
    ),
    Adding("routilux.cli.stack:add_stack", {"stack": "show where the handlers of a job are in their code"}),
    Adding("routilux.cli.tap:add_tap", {"tap": "show what passes a routine, as it passes"}),
    Adding("routilux.cli.logs:add_logs", {"logs": "show what a job has logged and its workers have printed"}),
    Adding(
        "routilux.cli.letters:add_letters",
        {"retry": "try messages again that were given up", "skip": "let messages go that were given up"},
    ),
    Adding("routilux.cli.replay:add_replay", {"replay": "run one recorded message once more, here"}),
    Adding(
        "routilux.cli.report:add_report", {"report": "write a page about a job: numbers, picture, timeline, errors"}
    ),
    Adding("routilux.cli.trace:add_trace", {"trace": "write a job's history as a trace for viewers of such"}),
    Adding("routilux.cli.clean:add_clean", {"clean": "remove whole jobs that are over"}),
    Adding("routilux.cli.info:add_info", {"info": "tell versions, limits and settings, for a report of a fault"}),
)
"""All commands, in the order in which the help tells them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: its words; None for those of the program.

    Returns:
        The exit status.
    """
    open_missing_streams()
    try:
        words = sys.argv[1:] if argv is None else list(argv)
        options = make_parser(_command_of(words)).parse_args(words)
        status: int = options.command(options)
    except RoutiluxError as error:
        if wants_all(os.environ):
            traceback.print_exception(error)
        told = _refuse(error)
        lines = str(told).splitlines() or [type(error).__name__]
        tell("routilux: " + "\n".join(map(printable, lines)))
        return told.exit_status
    except KeyboardInterrupt:
        tell("routilux: interrupted")
        return INTERRUPTED
    except SystemExit as end:  # of argparse, which has said why, or for SIGTERM or SIGHUP
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        flush_streams()
    return status


def make_parser(command: str | None) -> CommandParser:
    """Make the parser of all commands, with the words of one of them.

    Args:
        command: that one; None for none, where all that is wanted is what commands there are.
    """
    parser = CommandParser(
        prog="routilux",
        description="Run, check and draw flows; look after jobs that run or are kept.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"routilux {VERSION}")
    commands: Commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=CommandParser)
    for adding in ADDINGS:
        if command in adding.told:
            module, _, name = adding.where.partition(":")
            getattr(importlib.import_module(module), name)(commands)
        else:
            for name, told in adding.told.items():
                commands.add_parser(name, help=told)
    return parser


def _command_of(words: Sequence[str]) -> str | None:
    """Give the command that is given; raises `UsageError` where there is no such one."""
    command = next((word for word in words if not word.startswith("-")), None)
    names = [name for adding in ADDINGS for name in adding.told]
    if command is not None and command not in names:
        raise UsageError(f"there is no command {command!r}; {describe_names(command, names, 'there are', '')}")
    return command


def _refuse(error: RoutiluxError) -> CommandError:
    if isinstance(error, CommandError):
        return error
    from routilux.cli.stored import refuse  # noqa: PLC0415  for errors alone

    return refuse(error)
