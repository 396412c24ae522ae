"""A kept job that nobody runs is cancelled: it is over, and is not resumed any more."""

from __future__ import annotations

import time

from msgspec.structs import replace

from routilux.keeping.finding import latest
from routilux.keeping.saving import Saved, save
from routilux.records.schema import Header
from routilux.stores.base import Lease, Store

STATUS = "cancelled"
"""The word for it."""


def cancel_kept(store: Store, lease: Lease, reason: str, *, key: bytes | None = None) -> Saved:
    """Write a last checkpoint, the same as the newest good one but for its status.

    Nothing of users is decoded. All that is kept of the job stays, and it can be forked.

    Args:
        store: where the job is kept.
        lease: the right to write there.
        reason: why; told as the job's error.
        key: what its checkpoints are sealed with.

    Raises:
        KeptError: it has none that can be read.
        StoreWriteError: the store did not take it.
    """
    image = latest(store, lease.job_id, key=key).image
    header: Header = replace(
        image.header,
        generation=lease.generation,
        number=image.header.number + 1,
        status=STATUS,
        error=reason,
        cause="end",
        created_at=time.time(),
    )
    return save(store, lease, replace(image, header=header), key=key)
