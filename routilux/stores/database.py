"""The database of a `SqliteStore`: its file, its one connection, its tables, its transactions.

Owns what is SQLite's. Never knows who may write what.

`synchronous=FULL`: what is committed is on the device. Write-ahead logging is used from SQLite 3.51.3 on; before it a
database with two connections could be damaged (https://sqlite.org/wal.html, "The WAL-Reset Bug"). Names and ids are
parameters, never part of a statement.

The file is never opened here: SQLite locks it as POSIX does, and whoever closes a descriptor of it loses all such locks
of the process (https://sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

from routilux.stores.errors import DamagedStoreError, StoreReadError, StoreWriteError
from routilux.stores.folders import Folder, check_plain, reading, writing
from routilux.stores.syscalls import Syscalls

BUSY_SECONDS = 30.0
"""How long another process may keep the database busy."""
SCHEMA = 1
APPLICATION_ID = 0x52_6F_75_78
"""Says in the database's header that it is one of these: "Roux"."""

_WAL_SINCE = (3, 51, 3)
_TABLES = (
    "CREATE TABLE jobs (job TEXT PRIMARY KEY, generation INTEGER NOT NULL, owner BLOB)",
    """CREATE TABLE entries (job TEXT NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL, size INTEGER NOT NULL,
        written_at REAL NOT NULL, PRIMARY KEY (job, name))""",
    """CREATE TABLE chunks (job TEXT NOT NULL, name TEXT NOT NULL, start INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (job, name, start))""",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA}",
)


_inherited: list[sqlite3.Connection] = []
"""Connections of the parent in a forked copy of the program: not used there, and not even closed
(https://sqlite.org/howtocorrupt.html, 2.6)."""


class Database:
    """A database; any thread may use it, one at a time. It is opened when it is first used.

    It is closed by `close`, or once nobody has it any more: a store that was named by its path is nobody's to close.

    Args:
        path: its file.
        factory: the class of the connection.
    """

    def __init__(self, path: Path, factory: type[sqlite3.Connection]) -> None:
        self.path = path
        self.lock = threading.RLock()  # guards the connection; held for a whole transaction
        self._factory = factory
        self._connection: sqlite3.Connection | None = None
        self._closing: weakref.finalize[..., Database] | None = None
        self._file: os.stat_result | None = None  # what is connected
        self._pid = 0  # whose process connected

    def __str__(self) -> str:
        return f"the database {str(self.path)!r}"

    def is_there(self, what: str) -> bool:
        """True if there is a file; `what` is looked for."""
        with reading(what):
            return self._find_file() is not None

    def make(self, what: str) -> None:
        """Make the file, and the folders above it, where they are not there."""
        with writing(what), Folder.make(self.path.parent, Syscalls()) as above:
            if above.find(self.path.name) is None:
                with contextlib.suppress(FileExistsError):  # another one was faster
                    above.put(self.path.name, [])

    @contextlib.contextmanager
    def writing(self, what: str) -> Iterator[sqlite3.Connection]:
        """Give the connection for a transaction: all that is done within is kept, or nothing.

        Raises:
            StoreWriteError: it is not there, or could not be written; `what` says what was to be.
        """
        with self.lock, writing(what):
            try:
                connection = self._connect_held()
                if connection is None:
                    raise StoreWriteError(what, f"{self} is gone")
                with _transaction(connection, "BEGIN IMMEDIATE"):
                    yield connection
            except sqlite3.Error as error:
                raise self._to_damage(error) or StoreWriteError(what, str(error)) from error

    @contextlib.contextmanager
    def reading(self, what: str) -> Iterator[sqlite3.Connection | None]:
        """Give the connection for a look that others' writes do not change meanwhile; None where there is no database.

        Raises:
            StoreReadError: it could not be read; `what` says what was to be.
        """
        with self.lock, reading(what):
            try:
                connection = self._connect_held()
                if connection is None:
                    yield None
                    return
                with _transaction(connection, "BEGIN"):
                    yield connection
            except sqlite3.Error as error:
                raise self._to_damage(error) or StoreReadError(what, str(error)) from error

    def close(self) -> None:
        """Close the connection."""
        with self.lock:
            if self._closing is not None:
                self._closing()
            self._connection = self._closing = None

    def _connect_held(self) -> sqlite3.Connection | None:
        found = self._find_file()
        if self._connection is not None and self._pid != os.getpid():
            self.close()
        if self._connection is not None:
            if found is not None and self._file is not None and os.path.samestat(found, self._file):
                return self._connection
            self.close()  # the file was moved away: what is written to it would be lost
        if found is None:
            return None
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=self._factory
        )
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        self._connection, self._file, self._pid = connection, found, os.getpid()
        # Left to itself, a connection would warn of that from Python 3.13 on. Not at the program's end: jobs are
        # ended there, and kept.
        self._closing = weakref.finalize(self, _close, connection, self._pid)
        self._closing.atexit = False
        return connection

    def _find_file(self) -> os.stat_result | None:
        """Look at the file, and refuse one that others may write."""
        # SQLite makes its journal beside the database, and believes one that it finds there: so the folder counts too,
        # and as nobody else may write that, the file stays what it is seen to be here.
        try:
            with Folder.open(self.path.parent, Syscalls()) as above:
                found = above.find(self.path.name)
        except FileNotFoundError:
            return None
        if found is not None:
            check_plain(found, self.path)
        return found

    def _set_up(self, connection: sqlite3.Connection) -> None:
        """Set the connection up, and make the tables in a new database."""
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA trusted_schema = OFF")
        self._check_schema(connection)
        mode = "WAL" if sqlite3.sqlite_version_info >= _WAL_SINCE else "TRUNCATE"
        connection.execute(f"PRAGMA journal_mode = {mode}")
        with _transaction(connection, "BEGIN IMMEDIATE"):
            if not self._check_schema(connection):
                for statement in _TABLES:
                    connection.execute(statement)

    def _check_schema(self, connection: sqlite3.Connection) -> bool:
        """Tell whether the tables are there; False for an empty database.

        Raises:
            DamagedStoreError: it is a database of something else, or of another version.
        """
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (application, schema, tables) == (0, 0, 0):
            return False
        if application != APPLICATION_ID:
            raise DamagedStoreError(f"{self} is one of something else (application id {application:#010x})")
        if schema != SCHEMA:
            raise DamagedStoreError(f"{self} has schema {schema}, and this version of routilux knows {SCHEMA}")
        return True

    def _to_damage(self, error: sqlite3.Error) -> DamagedStoreError | None:
        if getattr(error, "sqlite_errorcode", None) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            return DamagedStoreError(f"{self} is damaged, or no database: {error}")
        return None


def _close(connection: sqlite3.Connection, pid: int) -> None:
    """Close a connection, unless it is the parent's."""
    if pid == os.getpid():
        connection.close()
    else:
        _inherited.append(connection)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
