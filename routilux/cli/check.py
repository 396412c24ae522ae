"""`routilux check`: all that is wrong or odd about a flow, before it runs."""

from __future__ import annotations

import argparse

from routilux.cli.output import write_result
from routilux.cli.parsing import Commands
from routilux.cli.target import TARGET_HELP, load_flow
from supervisors.text import printable


def add_check(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check", description=check.__doc__, examples=["routilux check mypackage.flows:nightly"]
    )
    parser.add_argument("target", metavar="FLOW", help=TARGET_HELP)
    parser.set_defaults(command=check)


def check(options: argparse.Namespace) -> int:
    """Tell all that is wrong or odd about a flow; status 1 if it cannot run."""
    flow = load_flow(options.target)
    problems = flow.check()
    lines = [printable(str(problem)) for problem in problems] or [
        f"{flow.flow_id}: no problems in {len(flow.routines)} routines and {len(flow.connections)} connections"
    ]
    write_result("".join(f"{line}\n" for line in lines))
    return int(any(problem.severity == "error" for problem in problems))
