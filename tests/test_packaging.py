"""The wheel holds both packages, typed, and asks for exactly what the project stands on."""

from __future__ import annotations

import email
import re
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.Path]:
    """Build the wheel with the project's own back end, in this process."""
    folder = tmp_path_factory.mktemp("wheel")
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(built) as archive:
        yield zipfile.Path(archive)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.Path) -> Message:
    (info,) = [entry for entry in wheel.iterdir() if entry.name.endswith(".dist-info")]
    return email.message_from_string((info / "METADATA").read_text(encoding="utf-8"))


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~;\[ ]", requirement, maxsplit=1)[0] for requirement in requirements}


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel: zipfile.Path) -> None:
    folders = {entry.name for entry in wheel.iterdir() if not entry.name.endswith(".dist-info")}
    assert folders == {"routilux", "supervisors"}


def test_pages_that_begin_with_an_install_name_this_wheel(wheel: zipfile.Path) -> None:
    name = Path(str(wheel.root.filename)).name
    for page in (ROOT / "README.md", ROOT / "docs" / "tutorial.md"):
        assert re.findall(r"routilux-[\w.-]+\.whl", page.read_text(encoding="utf-8")) == [name], page


def test_both_packages_are_typed(wheel: zipfile.Path) -> None:
    assert (wheel / "routilux" / "py.typed").is_file()
    assert (wheel / "supervisors" / "py.typed").is_file()


def test_every_module_of_the_repository_is_in_the_wheel(wheel: zipfile.Path) -> None:
    packages = (ROOT / "routilux", ROOT / "supervisors")
    modules = [path.relative_to(ROOT) for package in packages for path in package.rglob("*.py")]
    assert [path for path in modules if not (wheel / path.as_posix()).is_file()] == []


def test_four_libraries_are_needed_and_no_other(metadata: Message) -> None:
    requirements = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert _names(requirements) == {"pykka", "cloudpickle", "msgspec", "psutil"}


def test_every_requirement_has_both_bounds(metadata: Message) -> None:
    for requirement in metadata.get_all("Requires-Dist", []):
        bounds = requirement.split(";")[0]
        assert ">=" in bounds, requirement
        assert re.search(r"<\d", bounds), requirement


def test_the_licence_travels_with_the_wheel(wheel: zipfile.Path, metadata: Message) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    (info,) = [entry for entry in wheel.iterdir() if entry.name.endswith(".dist-info")]
    assert "Apache License" in (info / "licenses" / "LICENSE").read_text(encoding="utf-8")


def test_the_command_is_named_routilux(wheel: zipfile.Path) -> None:
    (info,) = [entry for entry in wheel.iterdir() if entry.name.endswith(".dist-info")]
    assert "routilux = routilux.cli.main:main" in (info / "entry_points.txt").read_text(encoding="utf-8")
