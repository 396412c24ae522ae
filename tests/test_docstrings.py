"""The examples in docstrings run, of both packages: those that are found wherever a line begins with `>>>`."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("routilux", "supervisors")
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # for those that write files
    examples = [found for found in doctest.DocTestFinder().find(importlib.import_module(name)) if found.examples]
    assert examples, "what looks like an example is in no docstring"
    runner = doctest.DocTestRunner()
    assert [found.name for found in examples if runner.run(found).failed] == []
