"""`routilux graph`: a flow as a picture, or a job with its numbers.

Owns what of the two a command means. A job that runs is asked itself, of others the newest good checkpoint tells: no
code of users is imported for a job.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import msgspec

from routilux.cli.errors import UsageError
from routilux.cli.lookup import find_job
from routilux.cli.metrics import find_tracker, tell_problems
from routilux.cli.output import write_parts_to
from routilux.cli.parsing import Commands
from routilux.cli.stored import STORE_VARIABLE, add_key, read_key, stand
from routilux.cli.target import TARGET_HELP, load_flow
from routilux.drawing.diagram import Diagram, draw_flow, draw_job
from routilux.drawing.dot import to_dot
from routilux.drawing.mermaid import to_mermaid
from routilux.drawing.svg import to_svg
from routilux.flowfile.formats import is_flow_file
from routilux.keeping.finding import summarize_job

FORMATS: dict[str, Callable[[Diagram], str]] = {"mermaid": to_mermaid, "dot": to_dot, "svg": to_svg}


def add_graph(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "graph",
        description=graph.__doc__,
        examples=[
            "routilux graph flows.py:nightly -o nightly.svg",
            "routilux graph nightly --store jobs -o now.svg    (the job, with its numbers)",
        ],
    )
    parser.add_argument("target", metavar="FLOW|JOB", help=f"the id of a job, or {TARGET_HELP}")
    parser.add_argument(
        "--store", metavar="PATH", help=f"where the job is kept; default: ${STORE_VARIABLE}, if set, or nowhere"
    )
    parser.add_argument("--format", choices=tuple(FORMATS), help="default: by FILE's ending (.svg, .dot), else mermaid")
    parser.add_argument("-o", "--output", metavar="FILE", help="write it there; default: stdout")
    add_key(parser)
    parser.set_defaults(command=graph)


def graph(options: argparse.Namespace) -> int:
    """Draw a flow, or a job with its numbers."""
    if options.store is not None or not (":" in options.target or is_flow_file(options.target)):
        return _draw_job(options)
    if options.key_file is not None:
        raise UsageError("--key-file means nothing for a flow: a job is found in its --store")
    _write(draw_flow(load_flow(options.target)), options)
    return 0


def _draw_job(options: argparse.Namespace) -> int:
    is_named = options.store is not None
    try:
        found = find_job(argparse.Namespace(job=options.target, store=options.store))
    except UsageError as error:
        if is_named:
            raise
        expected = "MODULE:FLOW, path/file.py:flow or a flow file, or the id of a job"
        raise UsageError(f"expected {expected}, got {options.target!r}: {error}") from error
    tracker, problems = find_tracker(found, read_key(options))
    if found.store is not None:
        standing = stand(found.store, summarize_job(found.store, found.job_id))
        tracker = msgspec.structs.replace(tracker, status=standing.status)
    _write(draw_job(tracker), options)
    return tell_problems(problems)


def _write(diagram: Diagram, options: argparse.Namespace) -> None:
    ending = Path(options.output or "").suffix.removeprefix(".")
    chosen = options.format or (ending if ending in FORMATS else "mermaid")
    write_parts_to(options.output, [FORMATS[chosen](diagram).encode()])
