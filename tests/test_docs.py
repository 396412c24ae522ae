"""What the documentation shows works.

Covers README.md, CONTRIBUTING.md and every page under docs/.

The `python` blocks of a page run one after another in one namespace, as a guardless script of a fresh process in an
empty folder; a warning is an error. Line numbers in a traceback are those of the page. There is no way to mark a block
as not to be run: what cannot run is not `python`.

Every command with `routilux` or `python` runs, in the words of the page, and is held to its exit status and to what the
page shows of its output. Such a command stands in a `console` block behind `$ `, or within backquotes in a text or a
table; in a block of another kind it is refused. A lone `routilux COMMAND` within backquotes is the name of a command,
which there has to be. How it runs depends on the page:

- README and tutorial (`FOLLOWED`) are followed from their first line to their last, by one shell in an empty folder.
  Only what installs the wheel is left out: `make readme` follows the same pages from it, under each version of Python.
- Pages with sessions (`SESSIONS`) are typed block by block, each into a folder of its own that has the examples and
  what the page says to save.
- What any other page shows, what stands within backquotes, and the examples in the help of each command are about a job
  `nightly`, which `tests/nightly.py` has running and kept. What a page writes for what a person puts in (`JOB`, `PATH`,
  the id of a message) is put in.

Pages speak of much work, so that it can be killed and paused in the middle. Here `Edits` have little work last as long:
smaller numbers, and a wait at each. Each has to be found on its page. What goes on until it is interrupted is
interrupted (`ENDINGS`).

Not run are the following, and a test fails where a page shows anything else that is not:

- `python -m benchmarks...`, `python -m tests...` and `python -m pytest ...` (`LONG`): they measure or kill for minutes,
  or are these tests. Their words are given to their own parsers; of pytest the test is found and not run.
  `tests/benchmarks`, `tests/faults` and `tests/durability` run the code behind them.
- Commands about routines on Ray (`CLUSTERED`): their words are given to their own parsers. `make test-ray` runs them.
- `make ...`, `pip install ...` and `ray ...` (`OTHERS`): what `make` is to make has to be a target. A test installs
  nothing.

Last, links between pages, and to other files of the repository, lead somewhere.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import inspect
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from routilux.cli.main import ADDINGS, EXAMPLES, make_parser
from tests.following import Block, blocks_of, follow, saved_files
from tests.nightly import Nightly, is_about_a_running_job
from tests.typist import Ending, Typist, find_missing

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SECONDS = 60.0
"""How long a page's script may take (arbitrary)."""


class Edits(NamedTuple):
    """What is other than a page has it, so that little work lasts long.

    Args:
        page: texts of the page, each with what stands in its place.
        files: the same, of files that the page goes by.
    """

    page: Mapping[str, str] = {}
    files: Mapping[str, Mapping[str, str]] = {}


_WAIT = 'import os, threading; threading.Event().wait(float(os.environ.get("PACE", 0)))'
_INSTALLED = "$ python3 -m venv env\n$ . env/bin/activate\n$ pip install routilux-0.1.0-py3-none-any.whl\n"
_KILLED = {"kill -9 $!": "kill -9 $!; unset PACE", "--checkpoint-every 1 ": "--checkpoint-every 0.2 "}
FOLLOWED = {
    ROOT / "README.md": Edits(
        {
            _INSTALLED: "",
            **_KILLED,
            "    yield from range(2, upto)\n": f"    for n in range(2, upto):\n        yield n\n        {_WAIT}\n",
            "upto=80000": "upto=1000",
            "{'primes': 7837}": "{'primes': 168}",
        }
    ),
    ROOT / "docs/tutorial.md": Edits(
        {
            _INSTALLED: "",
            **_KILLED,
            "yield  # commits: ": f"{_WAIT}; yield  # commits: ",
            "10_000": "50",
            "upto=50000": "upto=250",
            "upto=3000000": "upto=15000",
            "'start': 2298025, 'steps': 559": "'start': 13255, 'steps': 275",
        }
    ),
}
"""Pages that are followed as a whole, by name, with what is other there in the tests."""
SESSIONS = {
    ROOT / "docs/guides/examples.md": Edits(
        {
            "examples/census.py --store": "examples/census.py files --every 0.3 --checkpoint-every 0.3 --store",
            "census-usr-lib-python3-11": "census-...",
            "$ python examples/pictures.py\n": "$ python examples/pictures.py pictures --side 96 --workers 1 --plain\n",
            "$ python examples/model_search.py\n": "$ python examples/model_search.py --rows 120 --timeout 1 --plain\n",
        },
        {"census.py": {"            yield  # commits": f"            {_WAIT}\n            yield  # commits"}},
    ),
    ROOT / "docs/guides/flow-files.md": Edits(),
    ROOT / "docs/guides/pause-and-resume.md": Edits(
        {"nightly.py start  ": "nightly.py start files --every 0.3", "root=/usr/lib/python3": "root=files"},
        {
            "nightly.py": {
                "            yield\n": f"            {_WAIT}\n            yield\n",
                '"checkpoint_every": 1.0': '"checkpoint_every": 0.3',
            }
        },
    ),
    ROOT / "docs/reference/routines.md": Edits(),
}
"""Pages whose blocks are typed, each in a folder of its own, with the same."""
PICTURES = Path(importlib.util.find_spec("skimage").origin).parent / "data"  # type: ignore[union-attr, arg-type]
PACE = "0.05"
"""Seconds that are waited at each of what is dealt with, until a program is killed that dealt with it."""
ENDINGS = {
    r"routilux replay .*": Ending(1),  # a dead letter: its handler raises again
    r"routilux (retry|skip)( nightly)?": Ending(2),  # which lists them
    r"routilux top.*": Ending(0, signal.SIGINT),
    r"routilux (tap (?!.*-n)|logs .*-f).*": Ending(130, signal.SIGINT),
    r"routilux run .*/data/jobs.*": Ending(3, signal.SIGTERM),
}
"""How commands end that are not done with status 0 by themselves, by what they are."""
LONG = re.compile(r"(py-spy [^;&|]* -- )?python -m (?P<module>(?:benchmarks|tests)\.[\w.]+|pytest)(?P<words>[^;&|]*)")
"""Commands that take minutes: their words are read, and that is all."""
CLUSTERED = re.compile(r"routilux .*(--placement ray|--address).*")
"""Commands that need a cluster of Ray: here their words are read, and that is all."""
OTHERS = re.compile(r"(make|pip install|ray) [^;&|]*")
"""Programs of others, which are not run."""

_OURS = re.compile(r"(?:^|(?<!from)(?<!import)\s)(?P<command>(?:[^`]*\$\()?(?:routilux|python3?) .*)", re.DOTALL)
_QUOTED = re.compile(r"`(?P<text>[^`]+)`")
_NAME = re.compile(r"routilux [a-z-]+|python -m routilux")
_NAMED = re.compile(r"`routilux (?P<command>[a-z-]+)(?P<rest>[^`]*)`")
_LINK = re.compile(r"\]\((?P<target>[^)\s#]+)[^)]*\)")


def _script(text: str) -> str:
    """Give the page's Python, each line at its own line number; empty where there is none."""
    lines: list[str] = []
    for block in blocks_of(text):
        if block.info == "python":
            lines += [""] * (block.line - 1 - len(lines)) + block.lines
    return "\n".join(lines)


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


class Shown(NamedTuple):
    """A command that is shown.

    Args:
        where: the page and line.
        command: its words.
        lines: what is shown of its output.
        is_broken_off: whether Ctrl-C is shown behind these lines.
        rest: what is shown after that.
    """

    where: str
    command: str
    lines: list[str]
    is_broken_off: bool = False
    rest: Sequence[str] = ()


def _edited(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    edits = FOLLOWED.get(page) or SESSIONS.get(page) or Edits()
    return _replace(text, edits.page)


def _replace(text: str, edits: Mapping[str, str]) -> str:
    for old, new in edits.items():
        assert old in text, f"nothing to be edited: {old!r}"
        text = text.replace(old, new)
    return text


def _console(page: Path) -> list[Block]:
    return [block for block in blocks_of(_edited(page)) if block.info == "console"]


def _typed(page: Path, block: Block) -> Iterator[Shown]:
    """Give what a block says to type, with what it shows of the output."""
    starts = [index for index, line in enumerate(block.lines) if line.startswith("$ ")]
    assert starts[:1] == [0] or not block.lines, f"{_name(page)}:{block.line}: begins with no command"
    for start, end in pairwise([*starts, len(block.lines)]):
        command = re.sub(r"\s+#.*", "", block.lines[start].removeprefix("$ "))
        lines, broken_off, rest = _split(block.lines[start + 1 : end], "^C")
        yield Shown(f"{_name(page)}:{block.line + start}", command, lines, broken_off, rest)


def _split(lines: list[str], mark: str) -> tuple[list[str], bool, list[str]]:
    at = lines.index(mark) if mark in lines else len(lines)
    return lines[:at], at < len(lines), lines[at + 1 :]


def _quoted(page: Path) -> Iterator[Shown]:
    """Give the commands within a page's text and tables."""
    lines = page.read_text(encoding="utf-8").splitlines()
    for block in blocks_of("\n".join(lines)):
        lines[block.line - 2 : block.line + len(block.lines)] = [""] * (len(block.lines) + 2)
    text = "\n".join(lines)
    for found in _QUOTED.finditer(text):
        ours = _OURS.search(found["text"])
        if ours is not None and not _NAME.fullmatch(ours["command"]):
            line = text[: found.start()].count("\n") + 1
            yield Shown(f"{_name(page)}:{line}", " ".join(ours["command"].split()), [])


def _helped() -> Iterator[Shown]:
    """Give the examples of the help texts."""
    helps = {"": EXAMPLES, **{name: parser.epilog or "" for name, parser in _subparsers().items()}}
    for name, text in helps.items():
        for line in text.partition("exit status:")[0].splitlines():
            command = re.sub(r"\s\s+\(.*", "", line.strip())
            if line.startswith("  "):
                commands = [command] if "$" in command else command.split("; ")
                yield from (Shown(f"routilux {name} --help", one, []) for one in commands)


def _outside_sessions() -> dict[str, Shown]:
    """Give what is shown outside of pages that are followed or typed block by block, each command once."""
    pages = [page for page in PAGES if page not in FOLLOWED.keys() | SESSIONS.keys()]
    shown = [shown for page in pages for block in _console(page) for shown in _typed(page, block)]
    shown += [one for page in PAGES for one in _quoted(page)]
    shown += _helped()
    mine = [one for one in shown if not LONG.fullmatch(one.command) and not OTHERS.fullmatch(one.command)]
    once: dict[str, Shown] = {}
    for one in mine:
        once.setdefault(one.command, one)
    return once


def _about_nightly() -> list[Shown]:
    return [one for one in _outside_sessions().values() if not CLUSTERED.fullmatch(one.command)]


def on_ray() -> list[Shown]:
    """Give what is shown about routines on Ray."""
    return [one for one in _outside_sessions().values() if CLUSTERED.fullmatch(one.command)]


def _long() -> dict[str, str]:
    """Give the words of what is not run, by where it stands."""
    shown = [shown for page in PAGES for block in _console(page) for shown in _typed(page, block)]
    shown += [one for page in PAGES for one in _quoted(page)]
    return {one.where: one.command for one in shown if LONG.fullmatch(one.command)}


def _check(shown: Shown, ending: Ending, status: int, told: str) -> list[str]:
    """Give what is otherwise than it is shown."""
    problems = [f"this was not printed: {line}" for line in find_missing([*shown.lines, *shown.rest], told)]
    if status != ending.status:
        problems.insert(0, f"it ended with status {status}, not {ending.status}")
    return [f"{shown.where}: {shown.command}: {problem}\n{told[-2000:]}" for problem in problems]


def _ending_of(shown: Shown) -> Ending:
    if shown.is_broken_off:
        return Ending(130, signal.SIGINT)
    return next((ending for kind, ending in ENDINGS.items() if re.fullmatch(kind, shown.command)), Ending())


@pytest.fixture
def typist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Typist]:
    """Somebody in an empty folder, who sees the jobs of this test alone."""
    for name in ("folder", "bin"):
        (tmp_path / name).mkdir()
    sockets = Path(os.environ["XDG_RUNTIME_DIR"], "routilux")  # of the tests of this process
    monkeypatch.setattr("routilux.control.folder._folders", lambda: [sockets])
    monkeypatch.setattr("routilux.cli.ps.LIVE_SECONDS", 0.1)
    monkeypatch.delenv("ROUTILUX_STORE", raising=False)
    typist = Typist(tmp_path / "folder", tmp_path / "bin")
    yield typist
    typist.end()


@pytest.mark.processes
@pytest.mark.parametrize("page", FOLLOWED, ids=_name)
def test_a_page_is_followed_to_its_end(page: Path, typist: Typist) -> None:
    assert follow(_edited(page), typist.folder, {**typist.environment, "PACE": PACE}) == []


@pytest.mark.processes
@pytest.mark.parametrize(
    ("page", "index"),
    [(page, index) for page in SESSIONS for index in range(len(_console(page)))],
    ids=lambda value: _name(value) if isinstance(value, Path) else str(value),
)
def test_a_block_is_typed_to_its_end(page: Path, index: int, typist: Typist) -> None:
    _prepare(page, typist.folder)
    typist.environment["PACE"] = PACE
    problems = []
    for shown in _typed(page, _console(page)[index]):
        if OTHERS.fullmatch(shown.command):
            continue
        ending = _ending_of(shown)
        typed = typist.type(shown.command, ending, shown.lines)
        problems += _check(shown, ending, typed.status, typed.told)
        if "kill -9" in shown.command:
            typist.environment.pop("PACE", None)
    problems += [typed.told for typed in typist.leave() if typed.status != 3]
    assert not problems, "\n".join(problems)


def _prepare(page: Path, folder: Path) -> None:
    """Put what a page goes by into a folder."""
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    for name, edits in SESSIONS[page].files.items():
        file = folder / "examples" / name
        file.write_text(_replace(file.read_text(encoding="utf-8"), edits), encoding="utf-8")
    (folder / "files").mkdir()
    for number in range(200):
        (folder / "files" / f"f{number:03}.py").write_text(f"def f():\n    return {number}\n")
    (folder / "files" / "unparsed.py").write_text("def f(:\n")
    (folder / "pictures").mkdir()
    for name in ("astronaut.png", "brick.png", "multipage_rgb.tif", "text.png"):
        (folder / "pictures" / name).symlink_to(PICTURES / name)
    for name, content in saved_files(_edited(page)).items():
        (folder / name).write_text(content, encoding="utf-8")


@pytest.mark.processes
def test_what_is_shown_about_a_job_does_what_it_says(typist: Typist) -> None:
    shown = _about_nightly()
    assert len(shown) > 80
    nightly, problems = Nightly(typist), []
    nightly.begin()
    for one in shown:
        if is_about_a_running_job(one.command):
            typed = nightly.type_running(one.command, _ending_of(one), one.lines)
            problems += _check(one, _ending_of(one), typed.status, typed.told)
    assert [typed.status for typed in nightly.keep()] == [3]
    for one in shown:
        if not is_about_a_running_job(one.command):
            typed = nightly.type_kept(one.command, _ending_of(one), one.lines)
            problems += _check(one, _ending_of(one), typed.status, typed.told)
    assert not problems, "\n".join(problems)


@functools.cache
def _subparsers() -> dict[str, argparse.ArgumentParser]:
    """Give the parser of each command."""
    names = [name for adding in ADDINGS for name in adding.told]
    lists = {name: action for name in names for action in make_parser(name)._actions if action.choices}
    return {name: action.choices[name] for name, action in lists.items()}


@pytest.mark.parametrize("shown", on_ray(), ids=lambda shown: shown.where)
def test_the_words_of_what_needs_a_cluster_are_understood(shown: Shown) -> None:
    words = shlex.split(shown.command)[1:]
    make_parser(words[0]).parse_args(words)  # which ends the program where they are none, with the reason on stderr


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_commands_that_a_page_names_have_the_options_that_it_says(page: Path) -> None:
    commands = _subparsers()
    for found in _NAMED.finditer(page.read_text(encoding="utf-8")):
        assert found["command"] in commands, found[0]
        for option in re.findall(r"--[a-z-]+", found["rest"]):
            assert option in commands[found["command"]]._option_string_actions, found[0]


class _ReadError(Exception):
    """The words of a command were read."""


@pytest.mark.parametrize("command", _long().values(), ids=_long().keys())
def test_the_words_of_what_takes_minutes_are_understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = LONG.fullmatch(command)
    assert found is not None
    words = shlex.split(found["words"])
    if found["module"] == "pytest":
        _collect([word.replace("name_of_the_test", "test_a_key_is_below_the_prime") for word in words])
        return
    main = importlib.import_module(found["module"]).main
    if not inspect.signature(main).parameters:
        assert words == []
        return
    parse = argparse.ArgumentParser.parse_args

    def read(parser: argparse.ArgumentParser, given: Any = None) -> None:
        parse(parser, given)
        raise _ReadError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", read)
    with pytest.raises(_ReadError):
        main(words)


def _collect(words: list[str]) -> None:
    """Have pytest find a test by its words, and not run it."""
    _run(["-m", "pytest", *words, "--collect-only", "-p", "no:cacheprovider", str(ROOT / "tests/test_ids.py")], ROOT)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_targets_that_a_page_says_to_make_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"(?:`|\$ |^)make ([a-z-]+)", text, re.MULTILINE)) <= {*targets}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_no_block_of_a_page_is_excused_from_running(page: Path) -> None:
    for block in blocks_of(page.read_text(encoding="utf-8")):
        where = f"{page}:{block.line}"
        assert block.info in {"python", "console", "text", "toml"}, where
        for line in block.lines if block.info == "text" else []:
            assert not re.match(r"\s*(\$|routilux|python3?) ", line), (
                f"{where}: to be run, it stands in a `console` block"
            )


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
    text = "Save this as `a.py`:\n\n```python\nn = 42\n```\n\n```console\n$ cat a.py & \n$ wait\n...\n{}\n```\n"
    assert follow(text.format("n = 42"), tmp_path, os.environ) == []
    failing = text.format("n = 43\n$ exit 3\n$ echo n = 43")
    assert follow(failing, tmp_path, os.environ) == ["it ended with status 3", "this was not printed: n = 43"]


def test_what_is_shown_has_to_be_printed_whatever_its_numbers() -> None:
    told = "job   status     for\nnightly  running  12.5 s\nwrote 3d2be069 of 1,790\ncensus: 3 found | more\n"
    shown = ["job status for", "nightly  running  4 s", "...", "wrote 603e1bbb of 4", "census: 412 found ..."]
    assert find_missing(shown, told) == []
    assert find_missing(["nightly  lost  4 s", "nightly"], told) == ["nightly  lost  4 s", "nightly"]


@pytest.mark.parametrize(
    "command", ["dnf install it", "routilux jobs | mail", "sleep 1; $(make it)", "python x & rm it"]
)
def test_nothing_is_run_that_is_not_known(command: str, typist: Typist) -> None:
    with pytest.raises(AssertionError, match="nor is it said why not"):
        typist.type(command, Ending(), [])
