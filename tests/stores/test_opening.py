"""What a program names becomes a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from routilux.errors import OptionError
from routilux.stores import FileStore, MemoryStore, SqliteStore, open_store


@pytest.mark.parametrize("name", ["jobs", "jobs/", "jobs.d", ".db", "a.sqlite/jobs", "jobs.sqlite/"])
def test_a_path_is_a_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store(name)
    assert isinstance(store, FileStore)
    assert store.root == tmp_path / name.rstrip("/")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["jobs.sqlite", "jobs.sqlite3", "jobs.db", "below/JOBS.DB"])
def test_a_path_that_ends_so_is_a_database(name: str, tmp_path: Path) -> None:
    store = open_store(tmp_path / name)
    assert isinstance(store, SqliteStore)
    assert store.path == tmp_path / name
    assert str(store) == f"the database '{tmp_path / name}'"
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_itself() -> None:
    store = MemoryStore()
    assert open_store(store) is store


@pytest.mark.parametrize("nothing", [None, "", "a\0b", 7, b"jobs", object(), MemoryStore])
def test_what_is_no_store_is_refused(nothing: object) -> None:
    with pytest.raises(OptionError, match="a store is"):
        open_store(nothing)  # type: ignore[arg-type]
