"""`routilux report`: one static page about a job that is kept.

Owns what is read for it (`story` tells it). It is made of the newest good checkpoint and the complete history, which
is read once: however long that is, the page stays small. No code of users is imported, nothing is unpickled.
"""

from __future__ import annotations

import argparse

from routilux.cli.failures import Failures
from routilux.cli.lookup import find_job, require_store
from routilux.cli.metrics import tell_problems
from routilux.cli.output import write_parts_to
from routilux.cli.page import frame
from routilux.cli.parsing import Commands
from routilux.cli.stored import (
    JOB_HELP,
    add_key,
    add_store,
    read_key,
    stand,
)
from routilux.cli.story import Story, tell_story
from routilux.drawing.timeline import Timeline
from routilux.jobs.tracks import track_image
from routilux.keeping.finding import latest, start_of, summarize_job
from routilux.keeping.history import StoredHistory
from routilux.keeping.listing import list_checkpoints
from routilux.records.errors import KeptError
from routilux.records.schema import Header
from routilux.stores.base import Store
from routilux.stores.errors import MissingObjectError

CHECKPOINTS_SHOWN = 100
"""Checkpoints that are listed, the newest (arbitrary)."""


def add_report(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "report",
        description=report.__doc__,
        examples=["routilux report nightly --store jobs -o nightly.html"],
    )
    parser.add_argument("job", nargs="?", metavar="JOB", help=JOB_HELP)
    add_store(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="write it there; default: stdout")
    add_key(parser)
    parser.set_defaults(command=report)


def report(options: argparse.Namespace) -> int:
    """Write one page about a job, which needs nothing but a browser: no script, and nothing that is fetched."""
    store = require_store(find_job(options))
    story = _gather(store, options)
    header = story.image.header
    title = f"{header.flow_id}, job {header.job_id}"
    write_parts_to(options.output, (part.encode() for part in frame(title, tell_story(story))))
    return tell_problems(story.problems)


def _gather(store: Store, options: argparse.Namespace) -> Story:
    found = latest(store, options.job, key=read_key(options))
    standing = stand(store, summarize_job(store, options.job))
    header = found.image.header
    timeline = Timeline(header.job_created_at, [routine.id for routine in found.image.routines])
    failures = Failures()
    lost_nodes = []
    history = StoredHistory(store, options.job)
    for record in history:
        timeline.add(record)
        failures.add(record)
        if record.kind == "node_lost":
            lost_nodes.append(record)
    timeline.reach(header.created_at)
    headers, total = _list_checkpoints(store, options.job)
    problems = [*found.problems, *history.problems]
    tracker = track_image(found.image)
    return Story(
        found.image,
        standing,
        tracker,
        timeline,
        failures.kinds(),
        lost_nodes,
        headers,
        total,
        problems,
        options.store,
    )


def _list_checkpoints(store: Store, job_id: str) -> tuple[list[Header], int]:
    kept = list_checkpoints(store, job_id)
    headers = []
    for checkpoint in kept[:CHECKPOINTS_SHOWN]:
        try:
            headers.append(start_of(store, job_id, checkpoint).header)
        except (KeptError, MissingObjectError):
            continue  # it is damaged, which the problems tell, or was pruned meanwhile
    return headers, len(kept)
