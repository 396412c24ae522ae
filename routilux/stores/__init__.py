"""Where jobs are kept: named objects and append-only logs, over bytes.

The names below are loaded when they are first asked for: who keeps jobs in folders needs no SQLite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisors.deferred import deferred

if TYPE_CHECKING:
    from routilux.stores.base import Lease, ObjectInfo, Owner, Store
    from routilux.stores.files import FileStore
    from routilux.stores.memory import MemoryStore
    from routilux.stores.opening import open_store
    from routilux.stores.owners import this_process
    from routilux.stores.postgres import PostgresStore
    from routilux.stores.sqlite import SqliteStore

__all__ = [
    "FileStore",
    "Lease",
    "MemoryStore",
    "ObjectInfo",
    "Owner",
    "PostgresStore",
    "SqliteStore",
    "Store",
    "open_store",
    "this_process",
]

__getattr__ = deferred(
    __name__,
    {
        "FileStore": ".files",
        "Lease": ".base",
        "MemoryStore": ".memory",
        "ObjectInfo": ".base",
        "Owner": ".base",
        "PostgresStore": ".postgres",
        "SqliteStore": ".sqlite",
        "Store": ".base",
        "open_store": ".opening",
        "this_process": ".owners",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
