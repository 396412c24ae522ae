"""The jobs that run now on this machine for this user, found without a store: each socket is asked whose it is."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from routilux.control.client import Answers, asking
from routilux.control.errors import ControlError
from routilux.control.folder import list_sockets
from routilux.control.frames import Identity, Who
from routilux.control.peers import IS_POSSIBLE
from routilux.stores.base import Owner
from routilux.stores.owners import process_here

WHO_SECONDS = 2.0
"""What programs get to say which jobs they run, all together; one that is stopped says nothing (arbitrary)."""
ASKED_TOGETHER = 64
"""Programs that are asked at a time: each takes a descriptor (arbitrary)."""


class RunningJob(NamedTuple):
    """A job that takes commands.

    Args:
        identity: what it says of itself.
        owner: the program that runs it, for `ask`.
    """

    identity: Identity
    owner: Owner


def find_running() -> list[RunningJob]:
    """Give the jobs of this user that run on this machine and take commands, oldest first.

    One whose program does not answer in time is left out, as one that ends meanwhile.
    """
    if not IS_POSSIBLE:
        return []
    paths = list_sockets()
    found: list[RunningJob] = []
    for first in range(0, len(paths), ASKED_TOGETHER):
        found += _ask_together(paths[first : first + ASKED_TOGETHER])
    return sorted(found, key=lambda job: (job.identity.created_at, job.identity.job_id))


def _ask_together(paths: list[Path]) -> list[RunningJob]:
    host, found = os.uname().nodename, []
    with ExitStack() as connections:
        asked: list[Answers] = []
        for path in paths:
            # Of its process nothing is known before it answers.
            owner = Owner(pid=0, started_at=0.0, boot_id="", host=host, control=str(path))
            try:
                asked.append(connections.enter_context(asking(owner, Who())))
            except ControlError:
                continue  # it has ended, or is not ours
        end = time.monotonic() + WHO_SECONDS
        for answers in asked:
            try:
                answer = answers.read(max(0.0, end - time.monotonic()))
            except ControlError:
                continue
            if isinstance(answer, Identity):
                found.append(RunningJob(answer, process_here(answer.pid, answers.owner.control)))
    return found
