"""The server of a `PostgresStore`: its connection, its tables, its transactions. The door to psycopg, an extra.

Owns what is PostgreSQL's. Never knows who may write what.

A connection may be lost in the middle of anything: the server is restarted, it crashes, a network ends. So what is done
is handed here as a function of a transaction, which is run again on a new connection, for `patience` seconds. That is
safe where nothing was committed. Where COMMIT was sent and no answer came, nobody can tell: then it is run again with
`is_repeated`, and what was done before has to come to the same, done twice. The old connection's transaction may even
still be about to commit; whoever writes locks one row first, so the new one waits for it.

Names of tables are composed by `psycopg.sql`, values are parameters, never part of a statement. Nothing is set for a
whole session, and nothing is prepared on the server: a pool in between (PgBouncer) may share its connections by
transactions.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from routilux.errors import MissingExtraError
from routilux.stores.errors import DamagedStoreError, StoreReadError, StoreWriteError
from routilux.stores.urls import DatabaseUrl

SCHEMA_VERSION = 1
APPLICATION = "routilux"
"""Says in a table that the others are a store's."""
CONNECT_SECONDS = 10
"""How long one try to connect may take (arbitrary)."""
SILENCE_SECONDS = 30.0
"""How long a server is waited for that is there no more and has not said so: its machine has failed (arbitrary)."""
BUSY_SECONDS = 30.0
"""How long one transaction waits for another; one that says nothing for as long is ended by the server, so that a
program that is cut off in the middle of a write holds nobody up for longer (arbitrary)."""

_MAKING = 0x52_6F_75_78
"""Number of the advisory lock under which tables are made: "Roux"."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
_TABLES = ("about", "jobs", "leases", "entries", "chunks")
_STATEMENTS = (
    "CREATE TABLE {about} (application text NOT NULL, version integer NOT NULL)",
    # Sorted as Python sorts, whatever the language of the database.
    'CREATE TABLE {jobs} (job text COLLATE "C" PRIMARY KEY, generation bigint NOT NULL, token bytea)',
    """CREATE TABLE {leases} (job text COLLATE "C" PRIMARY KEY REFERENCES {jobs} ON DELETE CASCADE,
        token bytea NOT NULL, owner bytea NOT NULL, renewals bigint NOT NULL, expires_at timestamptz NOT NULL)""",
    """CREATE TABLE {entries} (job text COLLATE "C" NOT NULL REFERENCES {jobs} ON DELETE CASCADE,
        name text COLLATE "C" NOT NULL, kind smallint NOT NULL, size bigint NOT NULL, written_at float8 NOT NULL,
        PRIMARY KEY (job, name))""",
    """CREATE TABLE {chunks} (job text COLLATE "C" NOT NULL, name text COLLATE "C" NOT NULL, start bigint NOT NULL,
        data bytea NOT NULL, PRIMARY KEY (job, name, start),
        FOREIGN KEY (job, name) REFERENCES {entries} ON DELETE CASCADE)""",
    # As it is, not compressed: then the beginning of a checkpoint is read without the rest.
    "ALTER TABLE {chunks} ALTER COLUMN data SET STORAGE EXTERNAL",
)
_LIMITS = (
    f"SET LOCAL lock_timeout = '{BUSY_SECONDS:g}s'; SET LOCAL idle_in_transaction_session_timeout = '{BUSY_SECONDS:g}s'"
)
# A commit is on the device, whatever the server's setting is: see `PostgresStore`.
_BEGIN_WRITING = f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {_LIMITS}; SET LOCAL synchronous_commit = on"
_BEGIN_READING = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_LIMITS}"
_SETTINGS = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "application_name": APPLICATION,
    "client_encoding": "utf8",
}
"""What a connection is made with, where the URL says nothing else."""

T = TypeVar("T")


class Transaction:
    """One transaction, as those see it who do something in it.

    Args:
        connection: of psycopg.
        compose: makes a statement of a text in which tables stand as `{jobs}`.
        is_repeated: whether an earlier run of the same may have been committed.
    """

    def __init__(self, connection: Any, compose: Callable[[str], Any], *, is_repeated: bool) -> None:
        self._connection = connection
        self._compose = compose
        self.is_repeated = is_repeated

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Give the rows of a statement; its values stand as `%s`."""
        rows: list[tuple[Any, ...]] = self._connection.execute(self._compose(statement), values, binary=True).fetchall()
        return rows

    def row(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        """Give the first row of a statement; None where there is none."""
        return next(iter(self.rows(statement, *values)), None)

    def change(self, statement: str, *values: object) -> int:
        """Carry a statement out, and give how many rows it changed."""
        count: int = self._connection.execute(self._compose(statement), values).rowcount
        return count


class _LostError(Exception):
    """The connection was lost, or there is none.

    Args:
        error: what psycopg said.
        is_doubted: whether COMMIT had been sent.
    """

    def __init__(self, error: Exception, *, is_doubted: bool) -> None:
        self.error, self.is_doubted = error, is_doubted
        super().__init__(error)


class Server:
    """A database of a server; any thread may use it, one at a time. It is connected to when it is first used.

    The connection is closed by `close`, or once nobody has it any more, also at the program's end: a store that was
    named by its URL is nobody's to close.

    Args:
        url: where it is.
        patience: how long a server that was there is waited for when it is gone, in seconds.
        silence_seconds: how long a connection that answers nothing is taken to be there.
    """

    def __init__(self, url: DatabaseUrl, patience: float, silence_seconds: float = SILENCE_SECONDS) -> None:
        self.url = url
        settings = {**_SETTINGS, "tcp_user_timeout": max(1, round(1_000 * silence_seconds))}
        self._settings = {name: value for name, value in settings.items() if name not in url.options}
        self.lock = threading.RLock()  # guards the connection; held for a whole transaction, and for all its repeats
        self._patience = patience
        self._connection: Any = None
        self._pid = 0  # whose process connected
        self._was_there = False
        self._is_made = False
        self._composed: dict[str, Any] = {}

    def __str__(self) -> str:
        return f"the database {self.url.shown!r}"

    def writing(self, what: str, work: Callable[[Transaction], T]) -> T:
        """Do something in a transaction: all that is done within is kept, and on the device, or nothing.

        Args:
            what: what is to be written, for people.
            work: what is done. It is called again where the connection is lost: see the module.

        Raises:
            StoreWriteError: it could not be written. Where it is in doubt, it may be there.
            DamagedStoreError: the tables are gone, or are not this version's.
            MissingExtraError: psycopg is not installed.
        """

        def checked(transaction: Transaction) -> T:
            if not self._find_tables_held(transaction):
                raise StoreWriteError(what, f"there is no schema {self.url.schema!r} in {self}")
            return work(transaction)

        return self._patiently(_BEGIN_WRITING, checked, lambda reason: StoreWriteError(what, reason))

    def reading(self, what: str, work: Callable[[Transaction | None], T]) -> T:
        """Look at what others' writes do not change meanwhile; `work` gets None where no tables have been made yet.

        Raises:
            StoreReadError: it could not be read; `what` says what was to be.
            DamagedStoreError: the tables are not a store's, or not this version's.
            MissingExtraError: psycopg is not installed.
        """

        def checked(transaction: Transaction) -> T:
            return work(transaction if self._find_tables_held(transaction) else None)

        return self._patiently(_BEGIN_READING, checked, lambda reason: StoreReadError(what, reason))

    def make(self, what: str) -> None:
        """Make the schema and its tables where they are not there; several programs may do so at once.

        A schema that is there and empty is used: so nobody needs the right to make one.
        """

        def work(transaction: Transaction) -> None:
            if self._find_tables_held(transaction):
                return
            transaction.rows("SELECT pg_advisory_xact_lock(%s)", _MAKING)  # one at a time
            if self._find_tables_held(transaction):
                return
            if transaction.row("SELECT 1 FROM pg_namespace WHERE nspname = %s", self.url.schema) is None:
                transaction.change("CREATE SCHEMA {schema}")
            for statement in _STATEMENTS:
                transaction.change(statement)
            transaction.change("INSERT INTO {about} VALUES (%s, %s)", APPLICATION, SCHEMA_VERSION)

        self._patiently(_BEGIN_WRITING, work, lambda reason: StoreWriteError(what, reason))

    def close(self) -> None:
        """Close the connection."""
        with self.lock:
            connection, self._connection = self._connection, None
            # That of a forked copy's parent is only forgotten, which psycopg does not tell the server of.
            if connection is not None and self._pid == os.getpid():
                connection.close()

    # ---- transactions

    def _patiently(
        self, begin: str, work: Callable[[Transaction], T], to_error: Callable[[str], StoreReadError | StoreWriteError]
    ) -> T:
        psycopg = _load_psycopg()
        end, pause, is_repeated = time.monotonic() + self._patience, _FIRST_PAUSE, False
        with self.lock:
            while True:
                try:
                    return self._try_held(psycopg, begin, work, is_repeated=is_repeated)
                except _LostError as lost:
                    is_repeated |= lost.is_doubted
                    left = end - time.monotonic()
                    # One that was never there is more likely a wrong name than a server that is being restarted.
                    if left <= 0 or not self._was_there:
                        raise to_error(_in_one_line(lost.error)) from lost.error
                except psycopg.Error as error:
                    raise to_error(_in_one_line(error)) from error
                # No event tells that a server is back.
                threading.Event().wait(min(pause, left))
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _try_held(self, psycopg: ModuleType, begin: str, work: Callable[[Transaction], T], *, is_repeated: bool) -> T:
        connection = self._connect_held(psycopg)
        is_committing = False
        try:
            connection.execute(begin)
            result = work(Transaction(connection, self._compose_held, is_repeated=is_repeated))
            is_committing = True
            connection.execute("COMMIT")
        except psycopg.Error as error:
            self._give_up_held(connection)
            if connection.closed:
                raise _LostError(error, is_doubted=is_committing) from error
            raise
        except BaseException:
            self._give_up_held(connection)
            raise
        return result

    def _give_up_held(self, connection: Any) -> None:
        """Roll back; a connection on which that fails is used no more."""
        self._is_made = False  # what was found or made in this transaction may be gone with it
        psycopg = _load_psycopg()
        try:
            if not connection.closed:
                connection.execute("ROLLBACK")
        except psycopg.Error:
            connection.close()

    def _connect_held(self, psycopg: ModuleType) -> Any:
        if self._connection is not None and (self._pid != os.getpid() or self._connection.closed):
            self.close()
        if self._connection is not None:
            return self._connection
        try:
            connection = _quiet_class(psycopg).connect(
                self.url.to_connect, autocommit=True, prepare_threshold=None, **self._settings
            )
        except psycopg.Error as error:
            raise _LostError(error, is_doubted=False) from error
        self._connection, self._pid, self._was_there, self._is_made = connection, os.getpid(), True, False
        return connection

    # ---- tables

    def _find_tables_held(self, transaction: Transaction) -> bool:
        """Tell whether the tables are there; False where the schema is not there, or is empty.

        Raises:
            DamagedStoreError: the schema is one of something else, or of another version.
        """
        if self._is_made:
            return True
        tables = transaction.rows(
            "SELECT relname::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = %s",
            self.url.schema,
        )
        if not tables:
            return False
        where = f"the schema {self.url.schema!r} of {self}"
        if ("about",) not in tables:
            raise DamagedStoreError(f"{where} is one of something else; a store wants one of its own: schema=...")
        try:
            found = transaction.row("SELECT application, version FROM {about}")
        except _load_psycopg().errors.UndefinedColumn:
            found = None
        if found is None or found[0] != APPLICATION:
            raise DamagedStoreError(f"{where} is one of something else; a store wants one of its own: schema=...")
        if found[1] != SCHEMA_VERSION:
            raise DamagedStoreError(
                f"{where} has version {found[1]}, and this version of routilux knows {SCHEMA_VERSION}"
            )
        self._is_made = True
        return True

    def _compose_held(self, statement: str) -> Any:
        if statement not in self._composed:
            sql = _load_psycopg().sql
            tables = {table: sql.Identifier(self.url.schema, table) for table in _TABLES}
            self._composed[statement] = sql.SQL(statement).format(schema=sql.Identifier(self.url.schema), **tables)
        return self._composed[statement]


def _load_psycopg() -> ModuleType:
    try:
        import psycopg  # noqa: PLC0415  an optional extra
        import psycopg.sql  # noqa: PLC0415  the same
    except ImportError as error:  # also where it finds no libpq
        what = f"a store in PostgreSQL needs psycopg 3, and libpq, which psycopg[binary] brings ({_in_one_line(error)})"
        raise MissingExtraError(what, "postgres") from error
    module: ModuleType = psycopg
    return module


@functools.cache
def _quiet_class(psycopg: Any) -> Any:
    """Give the class of connections that may be left to themselves: they are closed then, and it is not told."""

    class Connection(psycopg.Connection):  # type: ignore[misc]  # its module may not be there
        def __del__(self) -> None:
            pass

    return Connection


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
