"""All that a job needs to be visited by other programs: its door, its log, and the actor that stands there.

Owns the decision whether there is a door. Imported only by jobs that have one: others start without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from routilux.control.door import Door
from routilux.jobs.actor import StateActor
from routilux.ledger import Ledger
from routilux.runtime.control import Control, Told
from routilux.runtime.keeping import Kept
from routilux.runtime.logbook import Logbook
from routilux.runtime.subject import Subject
from routilux.stores.opening import find_path
from routilux.stores.owners import this_process
from supervisors.report import reporter

_log = reporter("routilux")


class Visits:
    """What one job has for those who visit it; `close` it.

    Args:
        job_id: the job's id.
        door: where they come.
        kept: how the job is kept.
    """

    def __init__(self, job_id: str, door: Door, kept: Kept | None) -> None:
        self.logbook = Logbook(job_id)
        self._door = door
        self._kept = kept

    def make_control(
        self,
        ledger: Ledger,
        state_actor: StateActor,
        created_at: float,
        tell_root: Callable[[Any], None],
        tell_state: Callable[[Any], None],
    ) -> Control:
        """Give the actor that takes commands.

        Args:
            ledger: the job's.
            state_actor: the owner of its status.
            created_at: when it was made, in seconds since the epoch.
            tell_root: sends a message to the job's supervisor.
            tell_state: sends one to the state actor.
        """
        path = "" if self._kept is None else find_path(self._kept.store)
        subject = Subject(ledger, state_actor, created_at, path, self.logbook, is_kept=self._kept is not None)
        return Control(ledger.job_id, self._door, Told(subject, tell_root, tell_state))

    def begin(self) -> None:
        """Log from now on."""
        self.logbook.open()

    def close(self) -> None:
        """Log nothing more; the door is closed by who stands there, or here where nobody did."""
        self.logbook.close()
        self._door.close()


def open_visits(job_id: str, kept: Kept | None) -> Visits | None:
    """Open a job's door, and tell in its store where it is; None, and a line on the log, where that cannot be.

    Args:
        job_id: the job's id.
        kept: how the job is kept.
    """
    try:
        door = Door.open()
    except OSError as error:
        _log.warning("job %r takes no commands from other programs: %s", job_id, error)
        return None
    try:
        if kept is not None:
            kept.lease.announce(this_process(str(door.path)))
    except BaseException:
        door.close()
        raise
    return Visits(job_id, door, kept)
