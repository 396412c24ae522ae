"""The program that is killed, as another machine would run it.

`python -m tests.postgres.elsewhere SHAPE SEED FOLDER PART URL HOST` is `tests.durability.program`, but says of itself
that it runs on HOST, so that nobody else can see whether it lives; its lease ends after `LEASE_SECONDS`.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from routilux.stores.base import Lease, Owner
from routilux.stores.postgres import PostgresStore
from tests.durability.program import go
from tests.durability.shapes import Run

LEASE_SECONDS = 6.0


class FarStore(PostgresStore):
    """A store on another machine."""

    def __init__(self, url: str, host: str) -> None:
        super().__init__(url, lease_seconds=LEASE_SECONDS)
        self.host = host

    def acquire(self, job_id: str, owner: Owner, *, create: bool) -> Lease:
        return super().acquire(job_id, self._far(owner), create=create)

    def announce(self, lease: Lease, owner: Owner) -> None:
        super().announce(lease, self._far(owner))

    def _far(self, owner: Owner) -> Owner:
        return msgspec.structs.replace(owner, host=self.host)


class FarRun(Run):
    """A run whose store is there."""

    @property
    def store(self) -> Any:
        return FarStore(self.url, sys.argv[6])


if __name__ == "__main__":
    sys.exit(go(FarRun(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), sys.argv[5])))
