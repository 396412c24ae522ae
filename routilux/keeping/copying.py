"""All that a store keeps of a job as one piece, to be put into another store.

Owns the piece. Never looks into what is kept; who takes a piece of a job sees to it that nobody writes meanwhile.
"""

from __future__ import annotations

from typing import Any

import msgspec

from routilux.serial.plain_writer import struct_as_it_is
from routilux.stores.base import Store, checked_job_id
from routilux.stores.owners import this_process


class _Piece(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of one job.

    Args:
        job_id: the job.
        generation: how many runners it has had.
        objects, logs: what is kept, by name.
    """

    job_id: str
    generation: int
    objects: dict[str, bytes]
    logs: dict[str, bytes]


def pack_job(store: Store, job_id: str, generation: int) -> Any:
    """Give all that is kept of a job as plain data.

    Args:
        store: where it is kept.
        job_id: the job.
        generation: how many runners it has had.

    Raises:
        StoreError: it is not there, or cannot be read.
    """
    objects = {info.name: store.get(job_id, info.name) for info in store.objects(job_id)}
    logs = {info.name: store.read(job_id, info.name) for info in store.logs(job_id)}
    return struct_as_it_is(_Piece(job_id, generation, objects, logs))


def unpack_job(store: Store, data: Any) -> str:
    """Put a job into a store, in which there is none of its id; give that.

    Raises:
        msgspec.ValidationError: it is not what `pack_job` gave.
        OptionError, ValueError: a name in it can be none.
        StoreError: the store did not take it, or has a job of that id.
    """
    piece = msgspec.convert(data, _Piece)
    lease = store.acquire(checked_job_id(piece.job_id), this_process(), create=True)
    while lease.generation < piece.generation:  # the next runner is one more, as it would have been there
        lease.release()
        lease = store.acquire(piece.job_id, this_process(), create=False)
    for name, content in piece.objects.items():
        store.put(lease, name, [content])
    for name, content in piece.logs.items():
        store.append(lease, name, content, durable=True)
    lease.release()
    return piece.job_id
