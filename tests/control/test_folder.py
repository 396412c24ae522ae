from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from routilux.control.door import Door
from routilux.control.errors import UnsafeControlError
from routilux.control.folder import MAX_PATH_BYTES, bind, check_socket, new_path, sweep


@pytest.fixture(autouse=True)
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("r")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


def test_a_door_is_a_socket_that_only_this_user_can_reach(runtime: Path) -> None:
    door = Door.open()
    assert door.path.parent == runtime / "routilux"
    assert door.path.parent.stat().st_mode & 0o777 == 0o700
    assert door.path.stat().st_mode & 0o777 == 0o600
    check_socket(door.path)
    door.close()
    door.close()
    assert list(door.path.parent.iterdir()) == []


def test_a_folder_with_a_long_name_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    path = new_path()
    assert deep not in path.parents
    assert len(os.fsencode(path)) <= MAX_PATH_BYTES


def test_a_folder_that_others_may_enter_is_refused(runtime: Path) -> None:
    (runtime / "routilux").mkdir(mode=0o755)
    with pytest.raises(UnsafeControlError, match="is open to others"):
        new_path()
    (runtime / "routilux").rmdir()
    (runtime / "elsewhere").mkdir()
    (runtime / "routilux").symlink_to(runtime / "elsewhere")
    with pytest.raises(UnsafeControlError, match="is no folder, or a link"):
        new_path()


def test_what_is_no_socket_of_this_user_alone_is_refused(runtime: Path) -> None:
    path = new_path()
    path.write_text("no socket")
    with pytest.raises(UnsafeControlError, match="is no socket"):
        check_socket(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        check_socket(path)
    with bind(path):
        path.chmod(0o666)
        with pytest.raises(UnsafeControlError, match="is open to others"):
            check_socket(path)


def test_what_killed_programs_left_is_removed_and_nothing_else(runtime: Path) -> None:
    own = new_path()
    folder = own.parent
    living = folder / "1-living.sock"
    with bind(own), bind(living):
        for name in ("2-dead.sock", ".3-old.sock", ".4-young.sock"):
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(folder / name))
        os.utime(folder / ".3-old.sock", (1, 1))
        (folder / "notes.txt").write_text("mine")
        sweep(folder)
        assert sorted(entry.name for entry in folder.iterdir()) == sorted(
            [own.name, "1-living.sock", ".4-young.sock", "notes.txt"]
        )
