from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.errors import OptionError
from routilux.routines import DirectorySource
from tests.routines.running import emitted, failure, flow_of, go_on, leave_midway, run, state_of

NAMES = st.lists(
    st.lists(st.sampled_from(["a", "b", "a.b", "B", "ä", "z.log"]), min_size=1, max_size=3).map("/".join), max_size=8
)


def plain_loop(root: Path, pattern: str = "*", *, recursive: bool = True) -> list[str]:
    """The same without routilux: by the parts of the names."""
    names = [path.relative_to(root) for path in (root.rglob("*") if recursive else root.glob("*")) if path.is_file()]
    return [str(name) for name in sorted(names, key=lambda name: name.parts) if fnmatch.fnmatchcase(name.name, pattern)]


def names_of(root: Path, **options: Any) -> list[str]:
    return [item["name"] for item in emitted(flow_of(DirectorySource(root, **options)).execute())]


@given(NAMES, st.sampled_from(["*", "*.log", "[ab]*"]), st.booleans())
def test_files_are_those_of_a_plain_loop(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], pattern: str, recursive: bool
) -> None:
    root = tmp_path_factory.mktemp("root")
    for name in names:
        path = root / name
        if not any(parent.is_file() for parent in path.parents) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    state = flow_of(DirectorySource(pattern=pattern, recursive=recursive)).execute("it", {"root": str(root)})
    expected = plain_loop(root, pattern, recursive=recursive)
    assert emitted(state) == [{"path": str(root / name), "name": name} for name in expected]
    assert state_of(state) == {}


def test_links_to_files_are_followed_and_those_to_folders_where_that_is_wanted(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    (root / "inner" / "file").touch()
    (root / "file").symlink_to(root / "inner" / "file")
    (root / "again").symlink_to(root / "inner", target_is_directory=True)
    (root / "inner" / "up").symlink_to(root, target_is_directory=True)
    (root / "gone").symlink_to(root / "nothing")
    (root / "itself").symlink_to(root / "itself")
    os.mkfifo(root / "pipe")
    assert names_of(root) == ["file", "inner/file"]
    assert names_of(root, follow_links=True) == ["again/file", "file", "inner/file"]


def test_several_patterns_are_as_good_as_one(tmp_path: Path) -> None:
    for name in ("a.py", "b.txt", "c.md"):
        (tmp_path / name).touch()
    assert names_of(tmp_path, pattern=["*.md", "*.py"]) == ["a.py", "c.md"]


def test_a_name_that_is_no_text_in_its_encoding_comes_as_the_system_has_it(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9")).write_text("x")
    state = flow_of(DirectorySource(tmp_path)).execute(store=tmp_path / "jobs")
    assert emitted(state)[0]["name"].encode(errors="surrogateescape") == b"caf\xe9"


@pytest.mark.processes
def test_a_folder_is_walked_in_a_process(tmp_path: Path) -> None:
    for n in range(9):
        (tmp_path / str(n)).touch()
    state = flow_of(DirectorySource(tmp_path), placement="process").execute()
    assert [item["name"] for item in emitted(state)] == [str(n) for n in range(9)]


def test_a_resumed_job_goes_on_by_the_list_it_began_with(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for n in range(500):
        (root / f"{n:03}").touch()
    expected = plain_loop(root)
    read = leave_midway(DirectorySource(root), tmp_path / "jobs")
    (root / "000a").touch()
    (root / "499").unlink()
    names = [item["name"] for item in read + emitted(go_on(DirectorySource(root), tmp_path / "jobs"))]
    assert names == expected


def test_a_folder_that_cannot_be_listed_is_an_error_or_an_event(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="embedded null") as zero:
        os.scandir("\0")
    for name, told in (
        ("none", "No such file or directory"),
        ("file", "Not a directory"),
        ("\0", str(zero.value)),
    ):
        path = str(tmp_path / name)
        assert f"cannot read {path!r}: {told}" in failure(DirectorySource(), {"root": path}, "trigger")
        state = run(DirectorySource(unreadable="event"), [{"root": path}], "trigger")
        assert emitted(state) == []
        assert emitted(state, "unreadable") == [{"path": path, "line": None, "error": told}]


def test_what_is_asked_of_no_folder_is_told() -> None:
    assert "slot 'trigger' of routine 'it' expected 'root', got 'path'" in failure(
        DirectorySource(), {"path": "x"}, "trigger"
    )
    assert "DirectorySource: expected root to be a path, got 5" in failure(DirectorySource(), {"root": 5}, "trigger")
    assert "DirectorySource: expected root to be a path, got ''" in failure(DirectorySource(), {"root": ""}, "trigger")


@pytest.mark.parametrize("pattern", ["", [], "a/*.log", 5, ["*.log", ""]])
def test_what_cannot_be_a_pattern_is_refused(pattern: Any) -> None:
    with pytest.raises(OptionError, match="expected pattern to be one for the names of files"):
        DirectorySource(pattern=pattern)


def test_what_cannot_be_is_refused() -> None:
    number: Any = 5
    with pytest.raises(OptionError, match="DirectorySource: expected root to be a path, got 5"):
        DirectorySource(number)
    with pytest.raises(OptionError, match="DirectorySource: expected unreadable to be 'error' or 'event', got 'x'"):
        DirectorySource(unreadable="x")


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Let modes of files mean something, also to who may do all."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("follow_links", [False, True])
def test_what_may_not_be_looked_into_is_an_error_or_an_event_and_hides_nothing_else(
    follow_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "file").touch()
    (tmp_path / "open").touch()
    (tmp_path / "link").symlink_to("locked/file")
    for broken in ("open/none", "x" * 300, "none"):
        (tmp_path / f"broken {len(broken)}").symlink_to(broken)
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    (tmp_path / "locked").chmod(0)
    try:
        with as_ordinary_user():
            state = flow_of(DirectorySource(".", unreadable="event", follow_links=follow_links)).execute()
            failed = flow_of(DirectorySource(".", follow_links=follow_links)).execute()
    finally:
        (tmp_path / "locked").chmod(0o755)
    denied = [(item["path"], item["error"]) for item in emitted(state, "unreadable")]
    assert denied == [("link", "Permission denied"), ("locked", "Permission denied")]
    assert [item["name"] for item in emitted(state)] == ["open"]
    assert failed.status == "failed"
    assert "cannot read 'link': Permission denied" in str(failed.error)
    assert failed.outputs["it", "output"] == []
