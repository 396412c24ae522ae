"""A reader who follows a page word for word: saves the files that it says to save, and types its commands.

    python -m tests.following PAGE [--wheel WHEEL]

The commands are the lines of its `console` blocks that begin with `$ `, typed one after another into one shell, in an
empty folder that has nothing but the wheel. So what a page needs, it has to say. The first one that does not succeed
ends it, with status 1; so does, at the end, a line that the page shows of what they print and that was not printed
(`...` stands for any lines). Used by `make readme`, which has a Python of each version first on the path; needs
nothing but the standard library, and neither imports the packages nor has the shell see the checkout.

Also what a page is made of, for the tests of the documentation, which follow the same pages in the checkout.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

SECONDS = 600.0
"""How long a page may take (arbitrary)."""

_FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<info>.*)")
_SAVED = re.compile(r"\bsave\b[^`.]*`(?P<name>[^`]+)`", re.IGNORECASE)


class Block(NamedTuple):
    """A fenced block: what its fence says, the number of its first line, its lines, and the paragraph before it."""

    info: str
    line: int
    lines: list[str]
    paragraph: str


def blocks_of(text: str) -> Iterator[Block]:
    """Give the fenced blocks of a page, in their order."""
    lines = text.splitlines()
    fence, block = None, Block("", 0, [], "")
    for index, line in enumerate(lines):
        found = _FENCE.fullmatch(line)
        if fence is None:
            if found is not None:
                fence, block = found, Block(found["info"].strip(), index + 2, [], _paragraph_above(lines[:index]))
        elif found is not None and found["ticks"].startswith(fence["ticks"]) and not found["info"].strip():
            yield block
            fence = None
        else:
            block.lines.append(line.removeprefix(fence["indent"]))
    assert fence is None, f"the block that begins at line {block.line} does not end"


def commands_of(block: Block) -> list[str]:
    """Give what a `console` block says to type."""
    return [line.removeprefix("$ ") for line in block.lines if line.startswith("$ ")]


def saved_files(text: str) -> dict[str, str]:
    """Give the files that a page says to save, by name: the blocks below a paragraph with "save ... `name`"."""
    return {
        found["name"]: "\n".join(block.lines) + "\n"
        for block in blocks_of(text)
        if block.info in {"python", "toml"} and (found := _SAVED.search(block.paragraph))
    }


def shown_lines(block: Block) -> list[str]:
    """Give what a `console` block shows of what its commands print."""
    return [line for line in block.lines if line and line != "..." and not line.startswith("$ ")]


def follow(text: str, folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Do what a page says, in a folder, and let it be seen; give what went otherwise than the page says."""
    for name, content in saved_files(text).items():
        (folder / name).write_text(content, encoding="utf-8")
    blocks = [block for block in blocks_of(text) if block.info == "console"]
    # -e: the first command that fails ends it. -x: each is told before it is run.
    script = "\n".join(["set -ex", *(command for block in blocks for command in commands_of(block)), "wait", ""])
    ended = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    print(ended.stdout)
    lines = ended.stdout.splitlines()
    missing = [line for block in blocks for line in shown_lines(block) if line not in lines]
    problems = [f"this was not printed: {line}" for line in missing]
    return [f"it ended with status {ended.returncode}", *problems] if ended.returncode else problems


def main() -> int:
    """Follow the page that is named on the command line; give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--wheel", type=Path, help="is there in the folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="following-") as name:
        if options.wheel is not None:
            shutil.copy(options.wheel, name)
        problems = follow(options.page.read_text(encoding="utf-8"), Path(name), _bare_environment())
    print(*(f"{options.page}: {problem}" for problem in problems or ["followed to its end"]), sep="\n")
    return int(bool(problems))


def _bare_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def _paragraph_above(lines: list[str]) -> str:
    paragraph: list[str] = []
    for line in reversed(lines):
        if _FENCE.fullmatch(line) or (paragraph and not line.strip()):
            break
        if line.strip():
            paragraph.insert(0, line)
    return "\n".join(paragraph)


if __name__ == "__main__":
    sys.exit(main())
