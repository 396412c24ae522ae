"""What a job that another program runs tells, answer after answer, and how that ends.

Owns the waiting, and what is said when the job is over or its program is gone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TypeVar

from routilux.cli.errors import CommandError
from routilux.cli.lookup import Found
from routilux.cli.stored import how_to_resume
from routilux.control.client import asking
from routilux.control.errors import UnreachableError
from routilux.control.frames import Answer, Command, Ended
from routilux.stores.base import Owner
from supervisors.text import printable

Wanted = TypeVar("Wanted", bound=Answer)


def follow(found: Found, owner: Owner, command: Command) -> Iterator[Answer]:
    """Give the answers to a command until the job is over in its program, which is said on stderr.

    Ctrl-C ends the following, and nothing else.

    Args:
        found: the job.
        owner: who runs it.
        command: the command.

    Raises:
        CommandError: its program is gone.
        CommandRefusedError: the job does not do it.
    """
    try:
        with asking(owner, command) as answers:
            while not isinstance(answer := answers.read(), Ended):
                yield answer
        print(tell_end(found, answer), file=sys.stderr)
    except UnreachableError as error:
        raise tell_lost(found, error) from error
    except KeyboardInterrupt:
        return


def as_asked(answer: Answer, wanted: type[Wanted], job_id: str) -> Wanted:
    """Give an answer of a job, if it is of the kind that was asked for.

    Raises:
        CommandError: it is not.
    """
    if not isinstance(answer, wanted):
        raise odd_answer(job_id)
    return answer


def odd_answer(job_id: str) -> CommandError:
    """Say that a job has not answered what it was asked."""
    return CommandError(f"job {job_id!r} gave another answer than was asked for", 1)


def tell_end(found: Found, ended: Ended) -> str:
    """Say how a job is over in its program, and how to go on with it."""
    error = f": {ended.error}" if ended.error else ""
    how = ""
    if found.store_path and ended.status in {"paused", "failed"}:
        how = f"; go on with it by: {how_to_resume(found.job_id, found.store_path)}"
    return printable(f"job {found.job_id} is {ended.status}{error}{how}")


def tell_lost(found: Found, error: UnreachableError) -> CommandError:
    """Say that a job's program is gone, and how to go on with the job."""
    how = f"; go on with it by: {how_to_resume(found.job_id, found.store_path)}" if found.store_path else ""
    is_gone = isinstance(error.__cause__, ConnectionError)
    told = f"job {found.job_id!r} is lost: {found.owner}, which ran it, ended without a word" if is_gone else str(error)
    return CommandError(f"{told}{how}", 1)
