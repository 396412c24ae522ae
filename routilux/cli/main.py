"""`routilux`: run, check and draw flows from the command line.

Exit status: 0 completed, 1 failed, 2 usage, 4 cancelled, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Sequence
from typing import Any

import msgspec

from routilux.cli.live import summarize, watch
from routilux.cli.target import UsageError, load_flow
from routilux.drawing import to_dot, to_mermaid
from routilux.errors import WiringError
from routilux.jobs.machine import JobStatus
from routilux.jobs.state import JobState

EXIT_STATUS = {JobStatus.COMPLETED: 0, JobStatus.FAILED: 1, JobStatus.CANCELLED: 4}
USAGE, INTERRUPTED = 2, 130
EXAMPLES = """examples:
  routilux run examples/census.py:flow --entry read --param root=.
  routilux check mypackage.flows:nightly
  routilux graph flows.py:flow --format dot | dot -Tsvg -o flow.svg
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: its words; None for those of the program.

    Returns:
        The exit status.
    """
    options = _parser().parse_args(argv)
    try:
        status: int = options.command(options)
    except UsageError as error:
        print(f"routilux: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("routilux: interrupted", file=sys.stderr)
        return INTERRUPTED
    return status


def run(options: argparse.Namespace) -> int:
    """`routilux run`: run a flow, watched, and tell how it ended."""
    flow = load_flow(options.flow)
    params = _params(options.param)
    try:
        job = flow.start(options.entry, params)
    except WiringError as error:
        raise UsageError(str(error)) from error
    # Results are taken as they come, whoever wants them: a bounded output would hold the flow up.
    collector = threading.Thread(target=job.collect, name="collector")
    collector.start()
    try:
        watch(job, plain=options.plain or None)
    finally:
        collector.join()
    state = job.state
    print(summarize(state), file=sys.stderr)
    if options.json:
        sys.stdout.write(_as_json(state) + "\n")
    return EXIT_STATUS[state.status]


def check(options: argparse.Namespace) -> int:
    """`routilux check`: tell all that is wrong or odd about a flow; status 1 if it cannot run."""
    flow = load_flow(options.flow)
    problems = flow.check()
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{flow.flow_id}: {len(flow.routines)} routines, {len(flow.connections)} connections, no problems")
    return int(any(problem.severity == "error" for problem in problems))


def graph(options: argparse.Namespace) -> int:
    """`routilux graph`: draw a flow as text."""
    flow = load_flow(options.flow)
    sys.stdout.write(to_dot(flow) if options.format == "dot" else to_mermaid(flow))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="routilux",
        description="Run, check and draw flows.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    target = "MODULE:FLOW, or path/file.py:flow"
    runner = commands.add_parser("run", help="run a flow and wait for it", description=run.__doc__)
    runner.add_argument("flow", metavar="FLOW", help=target)
    runner.add_argument("--entry", metavar="ID", help="the routine that gets the first message (default: the only one)")
    runner.add_argument(
        "--param", action="append", default=[], metavar="K=V", help="a parameter of it; JSON, else text"
    )
    runner.add_argument("--plain", action="store_true", help="plain lines instead of the live view")
    runner.add_argument("--json", action="store_true", help="print state and results as one JSON object on stdout")
    runner.set_defaults(command=run)
    checker = commands.add_parser("check", help="find what is wrong with a flow", description=check.__doc__)
    checker.add_argument("flow", metavar="FLOW", help=target)
    checker.set_defaults(command=check)
    drawer = commands.add_parser("graph", help="draw a flow as text", description=graph.__doc__)
    drawer.add_argument("flow", metavar="FLOW", help=target)
    drawer.add_argument("--format", choices=("mermaid", "dot"), default="mermaid")
    drawer.set_defaults(command=graph)
    return parser


def _params(given: list[str]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for item in given:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise UsageError(f"expected --param NAME=VALUE, got {item!r}")
        try:
            params[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            params[name] = value
    return params


def _as_json(state: JobState) -> str:
    told = {
        "job_id": state.job_id,
        "flow_id": state.flow_id,
        "status": str(state.status),
        "error": state.error,
        "routines": state.routine_states,
        "dead_letters": [
            {"routine_id": letter.routine_id, "message_id": letter.message.id, "cause": letter.cause}
            for letter in state.dead_letters
        ],
        "results": state.results(),
    }
    return msgspec.json.encode(told, enc_hook=repr).decode()
