"""`routilux`: run, check and draw flows from the command line, and look after jobs that run or are kept.

Exit status: 0 the job completed, 1 it failed or could not be started, 2 usage, 3 it is paused, 4 it was cancelled,
130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from routilux.cli.kept import add_kept, add_watching
from routilux.cli.letters import add_letters
from routilux.cli.logs import add_logs
from routilux.cli.output import open_missing_streams, write_result
from routilux.cli.ps import add_ps
from routilux.cli.run import run
from routilux.cli.stack import add_stack
from routilux.cli.stored import STORE_VARIABLE, refuse
from routilux.cli.tap import add_tap
from routilux.cli.target import CommandError, load_flow
from routilux.drawing import to_dot, to_mermaid
from routilux.errors import RoutiluxError
from supervisors.text import printable

INTERRUPTED = 130
EXAMPLES = """examples:
  routilux run examples/census.py:flow --param root=src
  routilux check mypackage.flows:nightly
  routilux graph flows.py:flow --format dot | dot -Tsvg -o flow.svg

  routilux run flows.py:nightly --store jobs --job-id nightly --checkpoint-every 10
  routilux pause nightly --store jobs --reason lunch     (in another terminal)
  routilux resume nightly --store jobs                   (there, or after the program was killed)
  routilux jobs --store jobs
  routilux show nightly --store jobs --history --routine parse

  routilux top; routilux ps; routilux tap parse -n 20    (while a job runs, with a store or without)

exit status:
  0 the job completed, 1 it failed or could not be started, 2 usage, 3 it is paused, 4 it was cancelled, 130 interrupted
"""
TARGET_HELP = (
    "MODULE:FLOW or path/file.py:flow; a Flow, or a function without arguments that gives one. Or a flow file (.toml, "
    ".yaml, .json), and with ':' the modules that it may use, as flow.toml:shop,mill"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: its words; None for those of the program.

    Returns:
        The exit status.
    """
    open_missing_streams()
    try:
        options = _parser().parse_args(argv)
        status: int = options.command(options)
    except RoutiluxError as error:
        told = error if isinstance(error, CommandError) else refuse(error)
        lines = str(told).splitlines() or [type(error).__name__]
        print("routilux: " + "\n".join(map(printable, lines)), file=sys.stderr)
        return told.exit_status
    except KeyboardInterrupt:
        print("routilux: interrupted", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as end:  # of argparse, which has said why, or for SIGTERM
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return status


def check(options: argparse.Namespace) -> int:
    """Tell all that is wrong or odd about a flow; status 1 if it cannot run."""
    flow = load_flow(options.target)
    problems = flow.check()
    lines = [printable(str(problem)) for problem in problems] or [
        f"{flow.flow_id}: no problems in {len(flow.routines)} routines and {len(flow.connections)} connections"
    ]
    write_result("".join(f"{line}\n" for line in lines))
    return int(any(problem.severity == "error" for problem in problems))


def graph(options: argparse.Namespace) -> int:
    """Draw a flow as text that others make a picture of."""
    flow = load_flow(options.target)
    write_result(to_dot(flow) if options.format == "dot" else to_mermaid(flow))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="routilux",
        description="Run, check and draw flows; look after jobs that run or are kept.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"routilux {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    checker = commands.add_parser("check", help="find what is wrong with a flow", description=check.__doc__)
    checker.add_argument("target", metavar="FLOW", help=TARGET_HELP)
    checker.set_defaults(command=check)
    drawer = commands.add_parser("graph", help="draw a flow as text", description=graph.__doc__)
    drawer.add_argument("target", metavar="FLOW", help=TARGET_HELP)
    drawer.add_argument("--format", choices=("mermaid", "dot"), default="mermaid", help="default: mermaid")
    drawer.set_defaults(command=graph)
    add_kept(commands)
    add_ps(commands)
    add_stack(commands)
    add_tap(commands)
    add_logs(commands)
    add_letters(commands)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    runner = commands.add_parser("run", help="run a flow and wait for it", description=run.__doc__)
    runner.add_argument("target", metavar="FLOW", help=TARGET_HELP)
    runner.add_argument(
        "--entry", metavar="ID", help="routine of the first message; default: the one that nothing is connected to"
    )
    runner.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of that message: JSON, else text",
    )
    runner.add_argument(
        "--store",
        metavar="PATH",
        help="keep the job there, to be resumed: a folder, or a file that ends in .sqlite; "
        f"default: ${STORE_VARIABLE}, if set",
    )
    runner.add_argument("--job-id", metavar="ID", help="its id there; default: one that is made up")
    add_watching(runner)
    runner.set_defaults(command=run)


def _version() -> str:
    try:
        return version("routilux")
    except PackageNotFoundError:
        return "(not installed)"
