"""From what a program names to a store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from routilux.errors import OptionError
from routilux.stores.base import Store
from routilux.stores.files import FileStore
from routilux.stores.postgres import PostgresStore
from routilux.stores.sqlite import SqliteStore
from routilux.stores.urls import is_url

DATABASE_ENDINGS = frozenset({".sqlite", ".sqlite3", ".db"})
"""What the name of a database ends in."""


def open_store(store: Store | str | os.PathLike[str]) -> Store:
    """Give the store that is meant: a store itself, or the path or URL of one, which need not be there yet.

    Args:
        store: a store; the path of a database, which ends in `.sqlite`, `.sqlite3` or `.db`; that of a folder; or the
            URL of a database of PostgreSQL, which begins with `postgresql://` or `postgres://`.

    Raises:
        OptionError: it is none of them.
    """
    if not isinstance(store, str | os.PathLike):
        return _checked(store)
    if isinstance(store, str) and is_url(store):
        return PostgresStore(store)
    path = os.fspath(store)
    if not path:
        raise OptionError("a store is named by a path, and this one is empty")
    if "\0" in path:
        raise OptionError(f"a store is named by a path, which no zero character is in; got {path!r}")
    is_database = Path(path).suffix.lower() in DATABASE_ENDINGS and not path.endswith(os.sep)
    return SqliteStore(path) if is_database else FileStore(path)


def find_path(store: Store) -> str:
    """Give the absolute path, or the URL, by which another program opens the same store; "" where there is none.

    No URL has a password: the other program has its own.
    """
    if isinstance(store, PostgresStore):
        return store.url
    if isinstance(store, FileStore):
        return os.path.abspath(store.root)  # noqa: PTH100  links stay as they were named
    return os.path.abspath(store.path) if isinstance(store, SqliteStore) else ""  # noqa: PTH100  the same


def is_there(store: Store) -> bool:
    """Tell whether there is a folder, a file, or a schema in a database, in which the store keeps its jobs.

    Raises:
        StoreReadError: a server does not answer.
    """
    if isinstance(store, PostgresStore):
        return store.is_there()
    if isinstance(store, SqliteStore):
        return store.path.is_file()
    return not isinstance(store, FileStore) or store.root.is_dir()


def _checked(store: Any) -> Store:
    if not isinstance(store, type) and all(
        callable(getattr(store, verb, None)) for verb in ("acquire", "put", "get", "append", "read")
    ):
        return cast("Store", store)
    raise OptionError(f"a store is a path, or has the methods of routilux.stores.Store; got {store!r}")
