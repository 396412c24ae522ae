"""The table of the failure model names tests that there are, and leaves no fault out."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.faults.table import FAULTS, HARMLESS, SIGNALS, Fault

pytestmark = pytest.mark.faults

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "explanation" / "failure-model.md"
TABLE = PAGE.read_text(encoding="utf-8").partition("## The table")[2]
ROWS = [
    line
    for line in TABLE.splitlines()
    if line.startswith("| ") and not line.startswith(("| fault ", "| deed ", "| ---"))
]
TEST = re.compile(r"`(?P<file>[\w/]+\.py)::(?P<name>\w+)")
FAULT = re.compile(r"\[(?P<name>\w+)\]`")


@cache
def functions_of(file: str) -> frozenset[str]:
    """Give the names of a file's functions; most are named by several rows."""
    module = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in module.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:60])
def test_a_row_names_what_happens_what_is_seen_and_a_test_that_there_is(row: str) -> None:
    *told, tests = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(told) == 3
    assert all(told)
    named = list(TEST.finditer(tests))
    assert named
    for each in named:
        assert each["name"] in functions_of(each["file"])
    assert {each["name"] for each in FAULT.finditer(tests)} <= {fault.name for fault in (*FAULTS, *HARMLESS)}


@pytest.mark.parametrize("fault", [*FAULTS, *HARMLESS], ids=lambda fault: fault.name)
def test_every_fault_has_its_row(fault: Fault) -> None:
    if fault not in SIGNALS:  # they have one for all
        assert f"[{fault.name}]`" in TABLE
