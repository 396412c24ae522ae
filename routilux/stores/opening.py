"""From what a program names to a store."""

from __future__ import annotations

import os
from pathlib import Path

from routilux.errors import OptionError
from routilux.stores.base import Store
from routilux.stores.files import FileStore
from routilux.stores.sqlite import SqliteStore

DATABASE_ENDINGS = frozenset({".sqlite", ".sqlite3", ".db"})
"""What the name of a database ends in."""


def open_store(store: Store | str | os.PathLike[str]) -> Store:
    """Give the store that is meant: a store itself, or the path of one, which need not be there yet.

    Args:
        store: a store; the path of a database, which ends in `.sqlite`, `.sqlite3` or `.db`; or that of a folder.

    Raises:
        OptionError: it is neither.
    """
    if isinstance(store, str | os.PathLike):
        path = os.fspath(store)
        if not isinstance(path, str) or not path:
            raise OptionError(f"a store is named by a path that is text, and not empty; got {path!r}")
        is_database = Path(path).suffix.lower() in DATABASE_ENDINGS and not path.endswith(os.sep)
        return SqliteStore(path) if is_database else FileStore(path)
    if callable(getattr(store, "acquire", None)) and callable(getattr(store, "put", None)):
        return store
    raise OptionError(f"a store is a path, or has the methods of routilux.stores.Store; got {store!r}")
