"""A running job as it is seen from inside its program, by those who answer for it. Pure.

It is there before the job's handle is, and before its actors: a job is visited as soon as it listens.
"""

from __future__ import annotations

from routilux.jobs.actor import StateActor
from routilux.ledger import Ledger
from routilux.runtime.logbook import Logbook


class Subject:
    """A job (for `observe`, an `Observed`). Any thread may look at it.

    Args:
        ledger: the job's.
        state_actor: the owner of its status.
        created_at: when it was made, in seconds since the epoch.
        store_path: the path of its store; "" where it has none.
        is_kept: whether it has a store.
        logbook: its log.
    """

    is_over = False

    def __init__(
        self,
        ledger: Ledger,
        state_actor: StateActor,
        created_at: float,
        store_path: str,
        logbook: Logbook,
        *,
        is_kept: bool,
    ) -> None:
        self.id = ledger.job_id
        self.ledger = ledger
        self.created_at = created_at
        self.store_path = store_path
        self.is_kept = is_kept
        self.logbook = logbook
        self._state_actor = state_actor

    @property
    def flow_id(self) -> str:
        """The id of its flow."""
        return self.ledger.plan.flow_id

    @property
    def status(self) -> str:
        """Its word."""
        return str(self._state_actor.status)

    def seconds(self, now: float) -> float:
        """Tell how long it has run, pauses not counted."""
        return self._state_actor.seconds(now)

    @property
    def error(self) -> str | None:
        """Why it ended badly."""
        return self._state_actor.error
