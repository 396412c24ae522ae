"""The URL of a database: what libpq is told, and what people see."""

from __future__ import annotations

import sys

import pytest

from routilux.errors import MissingExtraError, OptionError
from routilux.stores import PostgresStore, open_store
from routilux.stores.opening import find_path
from routilux.stores.urls import is_url, read_url, without_secrets

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://", "postgresql://"),
        ("postgres://db", "postgres://db"),
        ("postgresql:///jobs", "postgresql:///jobs"),
        ("postgresql://ada@db:5432/jobs", "postgresql://ada@db:5432/jobs"),
        (f"postgresql://ada:{SECRET}@db/jobs", "postgresql://ada@db/jobs"),
        (f"postgresql://:{SECRET}@db/jobs", "postgresql://@db/jobs"),
        (f"postgresql://ada:{SECRET}%40%3A:=&@db/jobs", "postgresql://ada@db/jobs"),
        (f"postgresql://ada@db/jobs?password={SECRET}", "postgresql://ada@db/jobs"),
        (f"postgresql://ada@db/jobs?sslpassword={SECRET}&sslmode=require", "postgresql://ada@db/jobs?sslmode=require"),
        ("postgresql://a,b:5433/jobs?target_session_attrs=read-write",) * 2,
        ("postgresql://[::1]:5432/jobs",) * 2,
        ("postgresql://%2Fvar%2Frun/jobs",) * 2,
        ("postgresql:///jobs?host=/var/run/postgresql&port=5433",) * 2,
        ("postgresql://db/jobs?schema=team",) * 2,
        ("postgresql://db/jobs?schema=routilux&sslmode=require", "postgresql://db/jobs?sslmode=require"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert read_url(url).shown == without_secrets(url) == shown
    assert SECRET not in repr(read_url(url))
    assert read_url(shown).shown == shown
    assert read_url(shown).schema == read_url(url).schema


def test_the_schema_is_the_stores_and_all_else_is_libpqs() -> None:
    url = read_url(f"postgresql://ada:{SECRET}@db/jobs?schema=team&sslmode=require")
    assert url.to_connect == f"postgresql://ada:{SECRET}@db/jobs?sslmode=require"
    assert url.schema == "team"
    assert url.options == {"sslmode"}
    assert read_url("postgresql://db", "team").shown == "postgresql://db?schema=team"
    assert read_url("postgresql://db?schema=team", "team").schema == "team"
    assert read_url("postgresql://db").schema == "routilux"


@pytest.mark.parametrize(
    "wrong",
    [
        f"postgresql://ada:{SECRET}/x@db/jobs",  # libpq would take the password for a port, and say so
        f"postgresql://ada:{SECRET}@x@db/jobs",  # and a part of it for a machine
        f"postgresql://ada:{SECRET}%@db/jobs",
        f"postgresql://ada:{SECRET}%00@db/jobs",
        f"postgresql://ada:{SECRET}?@db/jobs",
        f"postgresql://ada:{SECRET} @db/jobs",
        f"postgresql://ada:{SECRET}@db/jobs/more",
        f"postgresql://ada@db/jobs?{SECRET}",
        f"postgresql://ada@db/jobs?p%61ssword={SECRET}",
        f"postgresql://ada@db/jobs?a=1&&password={SECRET}",
        f"postgresql://ada@db/jobs#{SECRET}",
    ],
)
def test_what_cannot_be_read_is_refused_and_not_shown(wrong: str) -> None:
    with pytest.raises(OptionError, match="this URL cannot be read") as refused:
        open_store(wrong)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("schema", ["", "Team", "pg_jobs", "a-b", "x" * 64, '"; DROP', "1a"])
def test_a_schema_that_cannot_be_one_is_refused(schema: str) -> None:
    with pytest.raises(OptionError, match="a schema is named by 1 to 63"):
        PostgresStore("postgresql://db", schema=schema)


def test_two_schemas_are_one_too_many() -> None:
    with pytest.raises(OptionError, match="says the schema 'a', and schema='b' is given too"):
        PostgresStore("postgresql://db?schema=a", schema="b")


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), "30", None, True])
def test_a_lease_lasts_for_some_time(seconds: object) -> None:
    with pytest.raises(OptionError, match="expected lease_seconds to be a number of seconds above 0"):
        PostgresStore("postgresql://db", lease_seconds=seconds)  # type: ignore[arg-type]


def test_a_url_names_a_store_which_nobody_sees_the_password_of() -> None:
    store = open_store(f"postgres://ada:{SECRET}@db/jobs?schema=team")
    assert isinstance(store, PostgresStore)
    assert find_path(store) == store.url == "postgres://ada@db/jobs?schema=team"
    assert str(store) == "the database 'postgres://ada@db/jobs?schema=team'"
    assert repr(store) == "PostgresStore('postgres://ada@db/jobs?schema=team')"


@pytest.mark.parametrize("path", ["jobs", "/postgresql://x", "postgresql:/x", "jobs.sqlite"])
def test_a_path_is_none(path: str) -> None:
    assert not is_url(path)
    assert without_secrets(path) == path


def test_without_psycopg_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"needs psycopg 3.*: pip install 'routilux\[postgres\]'"):
        PostgresStore(f"postgresql://ada:{SECRET}@db").jobs()
