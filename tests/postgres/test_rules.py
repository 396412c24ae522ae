"""The store in PostgreSQL keeps the rules of all stores."""

from __future__ import annotations

import itertools
from typing import Any

from routilux.stores.postgres import PostgresStore
from routilux.testing import check_store
from tests.postgres.servers import TestServer


def test_a_store_in_postgresql_keeps_the_rules(server: TestServer, url: str) -> None:
    numbers = itertools.count()

    def make() -> PostgresStore:
        return PostgresStore(url, schema=f"rules_{next(numbers)}")

    def reopen(store: Any) -> PostgresStore:
        return PostgresStore(url + "&schema=" + store._url.schema, takeover_seconds=0.05)

    def take_over(store: Any, job_id: str) -> None:
        schema, database = store._url.schema, url.partition("?")[0].rpartition("/")[2]
        server.run(f"UPDATE {schema}.jobs SET generation = generation + 1 WHERE job = %s", job_id, database=database)

    check_store(make, reopen=reopen, take_over=take_over)
