"""`routilux trace`: a job's complete history as a trace, for viewers of such."""

from __future__ import annotations

import argparse

from routilux.cli.lookup import find_job, require_store
from routilux.cli.metrics import tell_problems
from routilux.cli.output import write_parts_to
from routilux.cli.parsing import Commands
from routilux.cli.stored import JOB_HELP, add_key, add_store, read_key, read_records
from routilux.keeping.finding import latest
from routilux.keeping.history import StoredHistory
from routilux.tracking.trace import write_trace


def add_trace(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "trace",
        description=trace.__doc__,
        examples=[
            "routilux trace nightly --store jobs -o nightly.json    (open it at ui.perfetto.dev, or in chrome://tracing)",
            "routilux trace nightly --store jobs --routine parse | gzip > parse.json.gz",
        ],
    )
    parser.add_argument("job", nargs="?", metavar="JOB", help=JOB_HELP)
    add_store(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="write it there; default: stdout")
    parser.add_argument("--routine", metavar="ID", help="of this routine alone")
    add_key(parser)
    parser.set_defaults(command=trace)


def trace(options: argparse.Namespace) -> int:
    """Write the complete history of a job as a trace: each turn on the track of its routine, and what went wrong."""
    store = require_store(find_job(options))
    header = latest(store, options.job, key=read_key(options)).image.header
    history = StoredHistory(store, options.job)
    title = f"{header.flow_id}, job {header.job_id}"
    records = read_records(store, history, options)
    write_parts_to(options.output, write_trace(title, records, header.job_created_at))
    return tell_problems(history.problems)
