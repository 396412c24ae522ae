"""`routilux graph`: a flow as text that others make a picture of."""

from __future__ import annotations

import argparse

from routilux.cli.output import write_result
from routilux.cli.parsing import Commands
from routilux.cli.target import TARGET_HELP, load_flow
from routilux.drawing import to_dot, to_mermaid


def add_graph(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "graph",
        description=graph.__doc__,
        examples=["routilux graph flows.py:flow --format dot | dot -Tsvg -o flow.svg"],
    )
    parser.add_argument("target", metavar="FLOW", help=TARGET_HELP)
    parser.add_argument("--format", choices=("mermaid", "dot"), default="mermaid", help="default: mermaid")
    parser.set_defaults(command=graph)


def graph(options: argparse.Namespace) -> int:
    """Draw a flow as text that others make a picture of."""
    flow = load_flow(options.target)
    write_result(to_dot(flow) if options.format == "dot" else to_mermaid(flow))
    return 0
