"""The words of those commands that are about jobs in a store. Owns their options; never carries one out."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from routilux.cli.parsing import Command, CommandParser, Commands, Later
from routilux.cli.stored import JOB_HELP, add_changes, add_key, add_store, positive
from routilux.runtime.defaults import KEEP_CHECKPOINTS, PAUSE_SECONDS

jobs = Later("routilux.cli.jobs", "jobs")
show = Later("routilux.cli.show", "show")
resume = Later("routilux.cli.run", "resume")
pause, checkpoint, cancel = (Later("routilux.cli.steering", name) for name in ("pause", "checkpoint", "cancel"))
fork, prune, verify = (Later("routilux.cli.upkeep", name) for name in ("fork", "prune", "verify"))

_EXAMPLES = {
    "jobs": ["routilux jobs", "routilux jobs --store jobs"],
    "show": [
        "routilux show nightly --store jobs",
        "routilux show nightly --store jobs --history --routine parse",
        "routilux show nightly --store jobs --messages",
    ],
    "resume": [
        "routilux resume nightly --store jobs",
        "routilux resume nightly --store jobs --flow new_flows.py:nightly --rename parse=read",
        "routilux resume nightly --store jobs --placement ray --address 10.0.0.1:6379",
    ],
    "pause": ["routilux pause nightly --store jobs --reason lunch"],
    "checkpoint": ["routilux checkpoint nightly --store jobs"],
    "cancel": ["routilux cancel nightly --store jobs --reason 'not needed any more'"],
    "fork": ["routilux fork nightly trial --store jobs --checkpoint 1-12"],
    "prune": ["routilux prune nightly --store jobs --keep 3", "routilux prune --all --store jobs --keep 1"],
    "verify": ["routilux verify --all --store jobs"],
}


def add_kept(commands: Commands) -> None:
    """Add all of them."""
    lister = _add(commands, "jobs", jobs, has_job=False)
    lister.add_argument("--running", action="store_true", help="those that run now, whatever the store")
    lister.add_argument("--json", action="store_true", help="print an array of objects on stdout")
    shower = _add(commands, "show", show, has_job=False)
    shower.add_argument("job", nargs="?", metavar="JOB", help=JOB_HELP)
    instead = shower.add_mutually_exclusive_group()
    instead.add_argument("--history", action="store_true", help="its complete history instead, record for record")
    instead.add_argument(
        "--messages", action="store_true", help="what waits, is handled or was given up instead, with the ids"
    )
    instead.add_argument("--metrics", action="store_true", help="how it does instead: counts, times, flow of events")
    instead.add_argument("--prometheus", action="store_true", help="the metrics as text that Prometheus reads")
    shower.add_argument("--routine", metavar="ID", help="of this routine alone, with its state")
    shower.add_argument("--json", action="store_true", help="print JSON on stdout; of a history, an object a line")
    add_key(shower)
    _add_resume(commands)
    _add_steering(commands)
    _add_upkeep(commands)


def add_watching(parser: argparse.ArgumentParser) -> None:
    """Let a command run a job, watched and kept."""
    parser.add_argument("--checkpoint-every", type=seconds, metavar="SECONDS", help="keep it that often while it runs")
    parser.add_argument(
        "--keep-checkpoints",
        type=positive,
        metavar="N",
        help=f"checkpoints to keep beside those of pauses; default: {KEEP_CHECKPOINTS}",
    )
    parser.add_argument(
        "--allow-pickle", action="store_true", help="let values be pickles; reading one runs code of who wrote it"
    )
    add_key(parser)
    parser.add_argument("--timeout", type=seconds, metavar="SECONDS", help="cancel the job after that time")
    parser.add_argument("--plain", action="store_true", help="plain lines instead of the live view")
    parser.add_argument("--json", action="store_true", help="print state and results as one JSON object on stdout")


def add_placement(parser: argparse.ArgumentParser) -> None:
    """Let a command place the routines of its flow."""
    parser.add_argument(
        "--placement",
        action="append",
        default=[],
        metavar="WHERE[=ID,...]",
        help="run these routines there, or all that can: thread, process or ray; may be given several times",
    )


def add_address(parser: argparse.ArgumentParser) -> None:
    """Let a command say which cluster of Ray is meant."""
    parser.add_argument(
        "--address",
        metavar="WHERE",
        help="the cluster of Ray: auto: the one that runs on this machine; local: one that is started for this job; "
        "or HOST:PORT of its head; default: $RAY_ADDRESS, or as Ray finds one",
    )


def seconds(text: str) -> float:
    """Read a number of seconds above 0."""
    return _number(text, lambda number: number > 0, "above 0")


def seconds_or_none(text: str) -> float:
    """Read a number of seconds, or 0."""
    return _number(text, lambda number: number >= 0, "of at least 0")


def _number(text: str, is_fit: Callable[[float], bool], told: str) -> float:
    number = float(text)
    if not is_fit(number) or number == float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds {told}, got {text}")
    return number


def _add(
    commands: Commands,
    name: str,
    command: Command,
    *,
    has_job: bool = True,
) -> CommandParser:
    parser = commands.add_parser(name, examples=_EXAMPLES[name])
    if has_job:  # what changes a job has it named
        parser.add_argument("job", metavar="JOB", help="the job's id, or its beginning")
    add_store(parser)
    parser.set_defaults(command=command)
    return parser


def _add_resume(commands: Commands) -> None:
    resumer = _add(commands, "resume", resume)
    add_changes(resumer)
    add_placement(resumer)
    add_address(resumer)
    add_watching(resumer)


def _add_steering(commands: Commands) -> None:
    pauser = _add(commands, "pause", pause)
    pauser.add_argument("--reason", default="", metavar="TEXT", help="why; kept with the pause")
    pauser.add_argument(
        "--timeout",
        type=seconds_or_none,
        default=PAUSE_SECONDS,
        metavar="SECONDS",
        help=f"what handlers get to end; 0 for as long as they take; default: {PAUSE_SECONDS:g}",
    )
    pauser.add_argument(
        "--on-timeout",
        choices=("abort", "requeue"),
        default="abort",
        help="what follows then: the job goes on, or what runs is given up and run again later; default: abort",
    )
    pauser.add_argument("--leave", action="store_true", help="end its program too; it is resumed by another one")
    pauser.add_argument("--json", action="store_true", help="print the checkpoint as a JSON object on stdout")
    keeper = _add(commands, "checkpoint", checkpoint)
    keeper.add_argument("--json", action="store_true", help="print the checkpoint as a JSON object on stdout")
    canceller = _add(commands, "cancel", cancel)
    canceller.add_argument("--reason", default="", metavar="TEXT", help="why; told as the job's error")
    canceller.add_argument(
        "--shutdown",
        type=seconds_or_none,
        metavar="SECONDS",
        help="what handlers get; default: what it was started with",
    )
    add_key(canceller)


def _add_upkeep(commands: Commands) -> None:
    forker = _add(commands, "fork", fork, has_job=False)
    forker.add_argument("job", metavar="JOB", help="the job's id, or its beginning")
    forker.add_argument("new", metavar="NEW", help="the new job's id")
    forker.add_argument("--checkpoint", metavar="G-N", help="generation and number; default: the newest good one")
    add_key(forker)
    for name, command in (("prune", prune), ("verify", verify)):
        parser = _add(commands, name, command, has_job=False)
        parser.add_argument("job", nargs="?", metavar="JOB", help="the job's id, or its beginning")
        parser.add_argument("--all", action="store_true", help="all jobs of the store")
        add_key(parser)
        if name == "prune":
            parser.add_argument(
                "--keep", type=positive, required=True, metavar="N", help="checkpoints that stay beside those of pauses"
            )
