"""The reference is complete: a section for each public name, with an example, and every public member is told there.

A section of a name is one whose heading has it as code, such as Flow in the page of flows, with all below it. That its
examples run is held by `test_docs`. Members that are for other rooms of the package are listed in `FOR_OTHER_ROOMS`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import routilux
import supervisors

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs" / "reference").glob("*.md"))
ALL_PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = (routilux, supervisors)

FOR_OTHER_ROOMS = {
    "ErrorHandler": {"policy"},
    "ExecutionTracker": {"flows", "tracks"},
    "Flow": {"wait_for"},
    "Job": {"end_early", "ledger", "pack", "require_here", "require_outside"},
    "Routine": {
        "arguments_by_name",
        "entry_slot",
        "forget_job",
        "initial_stats",
        "note_job",
        "own_pace",
        "slot_annotations",
    },
    "LifeRef": {"life"},
    "Ray": {"changed", "of"},
}
"""Members that users have no need for, by class."""
MACHINES = {
    "AskableMailbox",
    "DynamicSupervisor",
    "Mailbox",
    "PartitionSupervisor",
    "PlainActor",
    "ProcessActor",
    "PykkaHost",
    "PykkaRef",
    "Supervisor",
    "Telemetry",
}
"""Classes that are mostly used by each other: their pages tell what users call."""

_HEADING = re.compile(r"(#+) +(.*)")
_CODE = re.compile(r"`([^`]+)`")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<file>[^)\s#]*)#(?P<anchor>[^)\s]+)\)")


class Section(NamedTuple):
    """A heading, with all below it."""

    heading: str
    text: str


def _sections(page: Path) -> Iterator[Section]:
    lines = page.read_text(encoding="utf-8").splitlines()
    is_code = False
    found: list[tuple[int, int, str]] = []
    for number, line in enumerate(lines):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        heading = None if is_code else _HEADING.fullmatch(line)
        if heading is not None:
            found.append((number, len(heading[1]), heading[2]))
    for index, (number, level, heading) in enumerate(found):
        end = next((begin for begin, other, _ in found[index + 1 :] if other <= level), len(lines))
        yield Section(heading, "\n".join(lines[number:end]))


SECTIONS = [section for page in PAGES for section in _sections(page)]


def _sections_of(name: str) -> list[Section]:
    # The first word of what is code in a heading: `Flow(flow_id=None)` is about Flow.
    return [
        section
        for section in SECTIONS
        if any(re.match(rf"{name}\b(?!\.)", code) for code in _CODE.findall(section.heading))
    ]


def _public() -> list[tuple[ModuleType, str]]:
    return [(package, name) for package in PACKAGES for name in package.__all__]


def _id(value: Any) -> str:
    return value if isinstance(value, str) else value.__name__


@pytest.mark.parametrize(("package", "name"), _public(), ids=_id)
def test_each_public_name_has_a_section_with_an_example(package: ModuleType, name: str) -> None:
    sections = _sections_of(name)
    assert sections, f"no heading under docs/reference/ has `{name}`, which {package.__name__} makes public"
    examples = [body for section in sections for info, body in _BLOCK.findall(section.text) if info == "python"]
    assert any(re.search(rf"\b{name}\b", body) for body in examples), f"no example below its heading uses {name}"


@pytest.mark.parametrize(("package", "name"), _public(), ids=_id)
def test_each_public_member_is_told_where_its_class_is(package: ModuleType, name: str) -> None:
    found = getattr(package, name)
    if not inspect.isclass(found) or name in MACHINES:
        return
    text = "\n".join(section.text for section in _sections_of(name))
    members = {
        member
        for cls in found.__mro__
        if cls.__module__.startswith(("routilux", "supervisors"))
        for member in (*vars(cls), *getattr(cls, "__annotations__", {}))
        if not member.startswith("_")
    }
    if issubclass(found, Enum):
        members = {member for member in members if member in found.__members__}
    if found is not routilux.Serializable:
        members -= set(dir(routilux.Serializable))  # told once, there
    missing = {member for member in members if not re.search(rf"\b{member}\b", text)}
    assert missing <= FOR_OTHER_ROOMS.get(name, set())


def _errors() -> list[str]:
    for module in pkgutil.walk_packages(routilux.__path__, "routilux."):
        if module.name != "routilux.__main__" and not module.name.startswith("routilux.cli"):
            importlib.import_module(module.name)
    found: list[type[BaseException]] = [routilux.RoutiluxError]
    for error in found:
        found += [kind for kind in error.__subclasses__() if kind not in found]
    return [kind.__name__ for kind in found if not kind.__module__.startswith(("routilux.cli", "tests"))]


@pytest.mark.parametrize("name", _errors())
def test_each_error_is_told_somewhere(name: str) -> None:
    assert any(re.search(rf"\b{name}\b", page.read_text(encoding="utf-8")) for page in PAGES)


def test_nobody_is_excused_that_is_not_there() -> None:
    for name, members in FOR_OTHER_ROOMS.items():
        owner = getattr(routilux, name, None) or getattr(supervisors, name)
        assert members <= {*dir(owner), *getattr(owner, "__annotations__", {})}
    assert set(supervisors.__all__) >= MACHINES


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_link_into_a_page_leads_to_a_heading_of_it(page: Path) -> None:
    for found in _LINK.finditer(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", found["file"]):
            continue
        target = page if not found["file"] else page.parent / found["file"]
        assert found["anchor"] in {_anchor(section.heading) for section in _sections(target)}, found[0]


def _anchor(heading: str) -> str:
    """Give what GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
