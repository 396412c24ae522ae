"""A checkpoint goes into a store: large states first, then the checkpoint that refers to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from routilux.errors import InternalError
from routilux.keeping.listing import checkpoint_name, list_states
from routilux.records.format import StateObject, write_checkpoint
from routilux.records.schema import Image, KeptState
from routilux.stores.base import Lease, Store


class Saved(NamedTuple):
    """A checkpoint that is durable.

    Args:
        name: the name of its object.
        size_bytes: what was written for it, its new state objects included.
        states: all its states, to stand for those that are unchanged in the next one.
    """

    name: str
    size_bytes: int
    states: list[KeptState]


def save(
    store: Store, lease: Lease, image: Image, *, kept: Sequence[KeptState] = (), key: bytes | None = None
) -> Saved:
    """Write a checkpoint; it is whole and durable when this returns, and not there at all if it raises.

    It waits for the store. One thread at a time may save for one lease.

    Args:
        store: where to.
        lease: the right to.
        image: the job, with those states that have changed.
        kept: the states that have not: from what the last `save` gave.
        key: what it is sealed with; None for no seal.

    Raises:
        StoreWriteError: it could not be written. State objects may be left, until `Retention` lets them go.
        FencedError: the job was taken over.
        OptionError: the key cannot be one.
        InternalError: the image contradicts itself, or is not of the lease's job and generation.
    """
    header = image.header
    if (header.job_id, header.generation) != (lease.job_id, lease.generation):
        raise InternalError(
            f"an image of job {header.job_id!r}, generation {header.generation}, is not for the lease of "
            f"job {lease.job_id!r}, generation {lease.generation}"
        )
    written = write_checkpoint(image, kept=kept, key=key)
    size = _put_states(store, lease, written.objects) if written.objects else 0
    name = checkpoint_name(header.generation, header.number)
    size += store.put(lease, name, written.parts)
    return Saved(name, size, written.states)


def _put_states(store: Store, lease: Lease, objects: list[StateObject]) -> int:
    there = list_states(store, lease.job_id)
    size = 0
    for state in objects:
        if state.name in there:
            # Of an earlier runner, or of a save that failed. Reading costs no more than writing would.
            if store.get(lease.job_id, state.name, len(state.body) + 1) == state.body:
                continue
            store.delete(lease, state.name)
        size += store.put(lease, state.name, [state.body])
    return size
