"""`routilux check`: all that is wrong or odd about a flow, before it runs; and what a flow is that is all right."""

from __future__ import annotations

import argparse
import sys

import msgspec

from routilux.cli.kept import add_placement
from routilux.cli.output import write_result
from routilux.cli.parsing import Commands
from routilux.cli.placing import place_routines
from routilux.cli.target import TARGET_HELP, load_flow
from routilux.flow import Flow
from routilux.model.check import Problem, find_entry
from routilux.model.options import RoutineOptions
from routilux.runtime.trial import try_workers
from supervisors.text import printable, printable_output


def add_check(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check",
        description=check.__doc__,
        examples=[
            "routilux check mypackage.flows:nightly",
            "routilux check flows.py:nightly --json",
            "routilux check flows.py:nightly --placement ray",
        ],
    )
    parser.add_argument("target", metavar="FLOW", help=TARGET_HELP)
    add_placement(parser)
    parser.add_argument(
        "--json", action="store_true", help="print the flow and its problems as a JSON object on stdout"
    )
    parser.set_defaults(command=check)


def check(options: argparse.Namespace) -> int:
    """Tell all that is wrong or odd about a flow; status 1 if it cannot run.

    It imports your code. A worker of each process routine is started, as a job would, and ended again: what cannot be
    carried to it, or be made again there, is named. Of routines on Ray it is tried whether they can be carried: no
    cluster is asked. No handler runs.
    """
    flow = load_flow(options.target)
    place_routines(flow, options.placement)
    problems = flow.check()
    is_tried = not _has_errors(problems)
    if is_tried:
        problems = try_workers(flow, _tell_output) + problems
    if options.json:
        write_result(msgspec.json.encode(_to_dict(flow, problems)).decode() + "\n")
    else:
        lines = [*map(str, problems), *([] if _has_errors(problems) else _describe(flow, len(problems)))]
        write_result("".join(f"{printable(line)}\n" for line in lines))
    if not is_tried and any(own.is_local for own in flow.options.values()):
        print("no worker was started to try the rest, as these are errors anyway", file=sys.stderr)
    return int(_has_errors(problems))


def _has_errors(problems: list[Problem]) -> bool:
    return any(problem.severity == "error" for problem in problems)


def _tell_output(routine_id: str, line: str) -> None:
    print(printable(routine_id), printable_output(line), sep="| ", file=sys.stderr)


def _describe(flow: Flow, warnings: int) -> list[str]:
    """Say what a flow is that can run."""
    links, outputs, entries = list(flow.connections), list(flow.outputs), _entries(flow)
    placements = {routine_id: _tell_placement(own) for routine_id, own in flow.options.items()}
    width, wide = (max(map(len, column)) for column in (placements, placements.values()))
    told = f"{flow.flow_id}: " + (f"it can run, with {_counted(warnings, 'warning')}" if warnings else "no problems")
    if any(own.is_local for own in flow.options.values()):
        told += "; a worker of each process routine was started"
    if any(own.placement == "ray" for own in flow.options.values()):
        told += "; of those on Ray it was tried whether they travel"
    lines = [told, _tell_count(len(placements), "routine")]
    for routine_id, told in placements.items():
        note = "gets the first message" if entries == [routine_id] else "may get the first message"
        lines.append(f"  {routine_id:{width}}  {told:{wide}}  {note if routine_id in entries else ''}".rstrip())
    lines.append(_tell_count(len(links), "connection"))
    lines += [f"  {link}" for link in links]
    if outputs:
        lines.append(_tell_count(len(outputs), "output"))
        lines += [f"  {output.routine_id}.{output.event}" for output in outputs]
    return lines


def _tell_placement(own: RoutineOptions) -> str:
    if own.placement == "thread":
        return "on a thread" if own.concurrency == 1 else f"on a thread, {own.concurrency} messages at once"
    if own.placement == "ray":
        return "on Ray" if own.pool == 1 else f"on Ray, {own.pool} workers"
    return "in a process" if own.pool == 1 else f"in {own.pool} processes"


def _tell_count(count: int, noun: str) -> str:
    return _counted(count, noun) + (":" if count else "")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _entries(flow: Flow) -> list[str]:
    """Give the routines that a job may begin with: those with an entry, and of these those that nobody feeds."""
    fed = {link.target_id for link in flow.connections}
    having = [routine_id for routine_id, routine in flow.routines.items() if find_entry(routine) is not None]
    return [routine_id for routine_id in having if routine_id not in fed] or having


def _to_dict(flow: Flow, problems: list[Problem]) -> dict[str, object]:
    return {
        "flow_id": flow.flow_id,
        "problems": [problem._asdict() for problem in problems],
        "routines": [
            {"id": routine_id, "placement": own.placement, "workers": own.pool}
            for routine_id, own in flow.options.items()
        ],
        "entries": _entries(flow),
        "connections": list(map(str, flow.connections)),
        "outputs": [f"{output.routine_id}.{output.event}" for output in flow.outputs],
    }
