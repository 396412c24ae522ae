"""What the documentation shows works.

Covers README.md and every page under docs/:

- the `python` blocks of a page, one after another in one namespace, as a guardless script of a fresh process in an
  empty folder; a warning is an error. Line numbers in a traceback are those of the page. There is no way to mark a
  block as not to be run: what cannot run is not `python`.
- the lines `$ routilux ...` and `$ python ...` of `console` blocks, by exit status: those of a block one after another
  in a folder that holds the examples. Other commands (make, git, paths into .venv) are not run here.
- links between pages, and to other files of the repository.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SECONDS = 60.0
"""How long a page's script or a command may take (arbitrary)."""

_FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<info>.*)")
_LINK = re.compile(r"\]\((?P<target>[^)\s#]+)[^)]*\)")


class Block(NamedTuple):
    """A fenced block: what its fence says, the number of its first line, and its lines."""

    info: str
    line: int
    lines: list[str]


def blocks_of(text: str) -> Iterator[Block]:
    """Give the fenced blocks of a page."""
    fence, block = None, Block("", 0, [])
    for number, line in enumerate(text.splitlines(), start=1):
        found = _FENCE.fullmatch(line)
        if fence is None:
            if found is not None:
                fence, block = found, Block(found["info"].strip(), number + 1, [])
        elif found is not None and found["ticks"].startswith(fence["ticks"]) and not found["info"].strip():
            yield block
            fence = None
        else:
            block.lines.append(line.removeprefix(fence["indent"]))
    assert fence is None, f"the block that begins at line {block.line} does not end"


def _script(text: str) -> str:
    """Give the page's Python, each line at its own line number; empty where there is none."""
    lines: list[str] = []
    for block in blocks_of(text):
        if block.info == "python":
            lines += [""] * (block.line - 1 - len(lines)) + block.lines
    return "\n".join(lines)


def _commands() -> dict[str, list[str]]:
    """Give the commands to be run, by block: its page and line."""
    blocks = {
        f"{_name(page)}:{block.line}": [
            line.removeprefix("$ ") for line in block.lines if line.startswith(("$ routilux ", "$ python "))
        ]
        for page in PAGES
        for block in blocks_of(page.read_text(encoding="utf-8"))
        if block.info == "console"
    }
    return {where: commands for where, commands in blocks.items() if commands}


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _run(arguments: list[str], folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.processes
@pytest.mark.parametrize("page", [page for page in PAGES if _script(page.read_text(encoding="utf-8"))], ids=_name)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    script = tmp_path / f"page_{page.stem}.py"  # not the page's bare name, which may be a package's
    script.write_text(_script(page.read_text(encoding="utf-8")), encoding="utf-8")
    _run(["-W", "error", str(script)], tmp_path)


@pytest.mark.processes
@pytest.mark.parametrize("commands", _commands().values(), ids=_commands().keys())
def test_the_commands_of_a_block_succeed(commands: list[str], tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples", target_is_directory=True)
    for command in commands:
        program, *arguments = shlex.split(command, comments=True)
        _run(["-m", "routilux", *arguments] if program == "routilux" else arguments, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_no_block_of_a_page_is_excused_from_running(page: Path) -> None:
    for block in blocks_of(page.read_text(encoding="utf-8")):
        assert not block.info.startswith("python") or block.info == "python", f"{page}:{block.line}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_links_of_a_page_lead_to_files(page: Path) -> None:
    targets = [found["target"] for found in _LINK.finditer(page.read_text(encoding="utf-8"))]
    files = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in files if not (page.parent / target).exists()] == []


def test_blocks_are_found_with_their_line_numbers() -> None:
    text = "intro\n\n```python\na = 1\n```\n\n- item\n\n  ~~~python\n  b = 2\n  ~~~\n\n```text\nno\n```\n"
    assert list(blocks_of(text)) == [
        Block("python", 4, ["a = 1"]),
        Block("python", 10, ["b = 2"]),
        Block("text", 14, ["no"]),
    ]
    assert _script(text).splitlines()[9] == "b = 2"
