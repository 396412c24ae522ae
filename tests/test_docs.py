"""What the documentation shows works.

Covers README.md, CONTRIBUTING.md and every page under docs/:

- the `python` blocks of a page, one after another in one namespace, as a guardless script of a fresh process in an
  empty folder; a warning is an error. Line numbers in a traceback are those of the page. There is no way to mark a
  block as not to be run: what cannot run is not `python`.
- the lines `$ routilux ...` and `$ python ...` of `console` blocks, by exit status: those of a block one after another
  in a folder that holds the examples. Other commands (make, git, paths into .venv) are not run here. Pages that are to
  be followed from an empty folder are followed word for word by `make readme` instead, under each version of Python.
- whatever else looks like a command, in other blocks and in tables: its words are held to the parser of the commands.
- links between pages, and to other files of the repository.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from routilux.cli.main import ADDINGS, EXAMPLES, make_parser
from tests.following import Block, blocks_of, commands_of, follow, saved_files

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLLOWED = (ROOT / "README.md", ROOT / "docs" / "tutorial.md")
"""Pages that `make readme` follows: what they run takes as long as a person needs to look at it."""
SECONDS = 60.0
"""How long a page's script or a command may take (arbitrary)."""

_TYPED = re.compile(r"(?:^|[\s(])routilux (?P<words>[a-z][^|;&)`]*)")
_TABLED = re.compile(r"^\| `(?P<line>routilux [^`]*)` \|", re.MULTILINE)
_NAMED = re.compile(r"`routilux (?P<command>[a-z-]+)(?P<rest>[^`]*)`")
_LINK = re.compile(r"\]\((?P<target>[^)\s#]+)[^)]*\)")


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
            command for command in commands_of(block) if command.startswith(("routilux ", "python "))
        ]
        for page in PAGES
        if page not in FOLLOWED
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


def _typed() -> list[str]:
    """Give what is to be typed behind `routilux`, in blocks and tables of pages and in the examples of help texts."""
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    lines = [
        line.removeprefix("$ ")
        for text in texts.values()
        for block in blocks_of(text)
        if block.info in {"console", "text"}
        for line in block.lines
        if line.startswith(("$ ", "routilux "))
    ]
    for help_text in (EXAMPLES, *(parser.epilog or "" for parser in _subparsers().values())):
        lines += [line for line in help_text.splitlines() if line.startswith("  ")]
    lines = [re.sub(r"\s[#(].*", "", line) for line in lines]
    lines += [found["line"] for text in texts.values() for found in _TABLED.finditer(text)]
    return sorted({found["words"].strip() for line in lines for found in _TYPED.finditer(line)})


@functools.cache
def _subparsers() -> dict[str, argparse.ArgumentParser]:
    """Give the parser of each command."""
    names = [name for adding in ADDINGS for name in adding.told]
    lists = {name: action for name in names for action in make_parser(name)._actions if action.choices}
    return {name: action.choices[name] for name, action in lists.items()}


@pytest.mark.parametrize("words", _typed())
def test_what_is_shown_to_be_typed_is_a_command(words: str) -> None:
    given = [re.sub(r"^N$", "3", word) for word in shlex.split(words)]  # tables have N for a number
    make_parser(given[0]).parse_args(given)  # which ends the program where they are none, with the reason on stderr


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_commands_that_a_page_names_have_the_options_that_it_says(page: Path) -> None:
    commands = _subparsers()
    for found in _NAMED.finditer(page.read_text(encoding="utf-8")):
        assert found["command"] in commands, found[0]
        for option in re.findall(r"--[a-z-]+", found["rest"]):
            assert option in commands[found["command"]]._option_string_actions, found[0]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_modules_and_targets_that_a_page_says_to_run_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for module in re.findall(r"python -m ((?:benchmarks|tests)[\w.]*)", text):
        assert ROOT.joinpath(*module.split(".")).with_suffix(".py").is_file(), module
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"(?:`|\$ |^)make ([a-z-]+)", text, re.MULTILINE)) <= {*targets}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_no_block_of_a_page_is_excused_from_running(page: Path) -> None:
    for block in blocks_of(page.read_text(encoding="utf-8")):
        assert not block.info.startswith("python") or block.info == "python", f"{page}:{block.line}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_links_of_a_page_lead_to_files(page: Path) -> None:
    targets = [found["target"] for found in _LINK.finditer(page.read_text(encoding="utf-8"))]
    files = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in files if not (page.parent / target).exists()] == []


def test_contributors_are_told_the_targets_of_make() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"^\| `make ([a-z-]+)` \|", text, re.MULTILINE)) == set(targets) - {"help"}


def test_the_files_that_contributors_are_told_of_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:routilux|supervisors|tests|docs)/[\w./-]*)`", text)
    assert len(paths) > 50
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_blocks_are_found_with_their_line_numbers() -> None:
    text = "intro\n\n```python\na = 1\n```\n\n- item\n\n  ~~~python\n  b = 2\n  ~~~\n\n```text\nno\n```\n"
    assert list(blocks_of(text)) == [
        Block("python", 4, ["a = 1"], "intro"),
        Block("python", 10, ["b = 2"], "- item"),
        Block("text", 14, ["no"], ""),
    ]
    assert _script(text).splitlines()[9] == "b = 2"


def test_a_file_to_be_saved_is_known_by_the_paragraph_above_it() -> None:
    text = "Save this as `a.py`:\n\n```python\na = 1\n```\n\nNow\nsave it as\n`b.py`.\n\n```python\nb = 2\n```\n"
    assert saved_files(text + "\n```python\nc = 3\n```\n") == {"a.py": "a = 1\n", "b.py": "b = 2\n"}


def test_a_page_is_followed_until_a_command_fails_and_what_it_shows_has_to_be_printed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = "Save this as `a.py`:\n\n```python\nn = 42\n```\n\n```console\n$ cat a.py & \n$ wait\n...\n{}\n```\n"
    page.write_text(text.format("n = 42"))
    assert follow(page, tmp_path) == []
    page.write_text(text.format("n = 43\n$ exit 3\n$ echo n = 43"))
    assert follow(page, tmp_path) == ["it ended with status 3", "this was not printed: n = 43"]
