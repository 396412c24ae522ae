"""Where jobs are kept: named objects and append-only logs, over bytes."""

from __future__ import annotations

from routilux.stores.base import Lease, ObjectInfo, Owner, Store
from routilux.stores.files import FileStore
from routilux.stores.memory import MemoryStore
from routilux.stores.opening import open_store
from routilux.stores.owners import this_process
from routilux.stores.sqlite import SqliteStore

__all__ = [
    "FileStore",
    "Lease",
    "MemoryStore",
    "ObjectInfo",
    "Owner",
    "SqliteStore",
    "Store",
    "open_store",
    "this_process",
]
