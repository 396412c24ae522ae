"""`routilux stack`: where the handlers of a job are in their code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

import msgspec

from routilux.cli.following import as_asked
from routilux.cli.lookup import require_owner, split_routine
from routilux.cli.output import write_result
from routilux.cli.parsing import Commands
from routilux.cli.picture import ID_SHOWN, tell_seconds
from routilux.cli.stored import JOB_HELP, add_store
from routilux.control.client import ask
from routilux.control.frames import Stack, Stacks, StacksTold
from routilux.frames import LEFT_OUT, leave_out_own, wants_all
from supervisors.text import printable


def add_stack(commands: Commands) -> None:
    """Add it."""
    parser = commands.add_parser(
        "stack", description=stack.__doc__, examples=["routilux stack", "routilux stack nightly parse"]
    )
    parser.add_argument("words", nargs="*", metavar="JOB|ROUTINE", help=f"{JOB_HELP}; and of which routine")
    add_store(parser)
    parser.add_argument("--json", action="store_true", help="print an array of objects on stdout")
    parser.set_defaults(command=stack)


def stack(options: argparse.Namespace) -> int:
    """Show the Python stacks of a job's workers, and of the threads of its program that are in handlers."""
    routine = split_routine(options)
    found, owner = require_owner(options, "looked at")
    answer = as_asked(ask(owner, Stacks(job_id=found.job_id, routine=routine)), StacksTold, found.job_id)
    if options.json:
        write_result(msgspec.json.encode(answer.stacks).decode() + "\n")
        return 0
    write_result("".join(f"{line}\n" for one in answer.stacks for line in tell_stack(one)))
    if not answer.stacks:
        print("no worker is there now", file=sys.stderr)
    elif any(one.text for one in answer.stacks) and not wants_all(os.environ):
        print(LEFT_OUT, file=sys.stderr)
    return 0


def tell_stack(one: Stack) -> Iterator[str]:
    """Say where a handler is, in lines."""
    name = one.routine if one.worker is None else f"{one.routine}[{one.worker}]"
    parts = [name, one.where]
    parts += [f"message {one.message_id[:ID_SHOWN]}"] if one.message_id else []
    parts += [f"for {tell_seconds(one.seconds)}"] if one.seconds is not None else []
    text = one.text if wants_all(os.environ) else leave_out_own(one.text).removesuffix(LEFT_OUT)
    has_told = one.worker is None or one.text
    if one.held_by:
        parts.append(f"held back: waits for room in {', '.join(one.held_by)}")
    elif not text:
        parts.append("waits for messages" if has_told else "has not told where it is")
    yield printable(", ".join(parts))
    for line in text.splitlines():
        yield printable(f"  {line}")
