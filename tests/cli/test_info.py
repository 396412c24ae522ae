"""`routilux info`: what a report of a fault should say, and where each setting comes from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from routilux import usable_cpus
from routilux.cli import info
from routilux.cli.info import Memory, Processors, Setting, collect, read_requirements, read_settings, tell
from routilux.cli.main import main
from routilux.control import folder
from routilux.version import VERSION

METADATA = [
    "cloudpickle<4,>=3.1",
    "pykka<5,>=4.5",
    "no-such-thing>=1",
    "pyyaml<7,>=6; extra == 'files'",
    'no-such-thing>=2; extra == "files"',
]


def test_it_tells_versions_limits_and_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"routilux {VERSION} in ")
    for part in ("requires: ", "cloudpickle 3.", "extra rich: rich ", "workers are started by: ", "control folder: "):
        assert part in out
    assert f"processors: {usable_cpus()} usable (" in out


def test_the_same_is_had_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["version"] == VERSION
    assert found["processors"]["usable"] == usable_cpus()
    assert found["memory"]["machine_bytes"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert set(found["required"]) == {"cloudpickle", "msgspec", "psutil", "pykka"}
    assert found["settings"]["ROUTILUX_FULL_TRACEBACK"]["origin"] in {"default", "environment"}


def test_what_is_required_and_what_extras_take_is_told_with_what_is_not_there() -> None:
    required, extras = read_requirements(METADATA)
    assert required["cloudpickle"].startswith("3.")
    assert (list(required), required["no-such-thing"]) == (["cloudpickle", "pykka", "no-such-thing"], "not installed")
    assert list(extras) == ["files"]
    assert extras["files"]["no-such-thing"] == "not installed"


def test_the_libraries_are_told_too_where_routilux_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info, "requires", lambda _name: None)
    found = collect({})
    assert (set(found.required), found.extras) == ({"cloudpickle", "msgspec", "psutil", "pykka"}, {})
    assert found.required["cloudpickle"].startswith("3.")


def test_settings_come_with_their_origin_and_misspelt_ones_are_told() -> None:
    assert read_settings({}) == {
        "ROUTILUX_STORE": Setting("", "default"),
        "ROUTILUX_FULL_TRACEBACK": Setting("0", "default"),
    }
    assert read_settings({"ROUTILUX_FULL_TRACEBACK": "1", "ROUTILUX_TRACEBACK": "1", "HOME": "/"}) == {
        "ROUTILUX_STORE": Setting("", "default"),
        "ROUTILUX_FULL_TRACEBACK": Setting("1", "environment"),
        "ROUTILUX_TRACEBACK": Setting("1", "environment, unknown"),
    }


def test_limits_are_told_where_there_are_any() -> None:
    found = collect({})
    found.processors, found.memory = Processors(2, 64, 8, 1.5), Memory(64 << 30, 2 << 30, 512 << 20)
    lines = list(tell(found))
    assert "processors: 2 usable (64 in the machine, 8 by affinity, 1.5 by control group)" in lines
    assert (
        "memory: 64.0 GiB in the machine, 2.0 GiB by control group; a job shares 512.0 MiB with its workers at most"
        in lines
    )


def test_a_home_folder_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path(__file__).parents[2]))
    found = collect({"ROUTILUX_STORE": f"{Path(__file__).parents[2]}/jobs"})
    assert (found.folder, found.settings["ROUTILUX_STORE"].value) == ("~/routilux", "~/jobs")


def test_a_control_folder_that_cannot_be_used_is_told_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    open_ = tmp_path / "open"
    monkeypatch.setattr(folder, "_folders", lambda: [tmp_path / ("long" * 30), open_])
    assert collect({}).control_folder == str(open_)  # it is made when it is needed
    open_.mkdir()
    open_.chmod(0o777)
    assert collect({}).control_folder == f"none: {str(open_)!r} is open to others (mode 0777)"
