"""One server for all tests of this folder, and a database of it for each.

All of them are marked, and only `make test-postgres` runs them: other tests need neither a server nor psycopg.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from routilux.stores.postgres import PostgresStore

if TYPE_CHECKING:
    from tests.postgres.servers import TestServer

_numbers = itertools.count()
collect_ignore_glob = [] if importlib.util.find_spec("psycopg") else ["test_*.py"]
"""Without psycopg there is nothing here to be tested; `make test-postgres` installs it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.postgres)


@pytest.fixture(scope="session")
def server() -> Iterator[TestServer]:
    """The server that all share, and that runs all the time."""
    from tests.postgres.servers import TestServer  # noqa: PLC0415  it takes psycopg

    server = TestServer()
    yield server
    server.remove()


@pytest.fixture
def own_server(no_leaks: None) -> Iterator[TestServer]:
    """A server that a test may stop."""
    from tests.postgres.servers import TestServer  # noqa: PLC0415  the same

    server = TestServer()
    yield server
    server.remove()


@pytest.fixture
def url(server: TestServer) -> str:
    """The URL of a database that is empty."""
    name = f"test_{next(_numbers)}"
    server.run(f"CREATE DATABASE {name}")
    return server.url(name)


@pytest.fixture
def make_store(url: str, no_leaks: None) -> Iterator[Callable[..., PostgresStore]]:
    """Makes stores in one database, which are closed at the end."""
    made: list[PostgresStore] = []

    def make(**options: Any) -> PostgresStore:
        store = PostgresStore(options.pop("url", url), **options)
        made.append(store)
        return store

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store: Callable[..., PostgresStore]) -> PostgresStore:
    """A store in an empty database."""
    return make_store()


@pytest.fixture
def guarded(server: TestServer, url: str) -> str:
    """The URL of the test's database as one has to give a password for, with the right one."""
    database = url.partition("?")[0].rpartition("/")[2]
    server.run(f"CREATE ROLE ada_{database} LOGIN SUPERUSER PASSWORD 'pa:ss%w@rd'")
    return f"postgresql://ada_{database}:pa%3Ass%25w%40rd@127.0.0.1:{server.port}/{database}"
