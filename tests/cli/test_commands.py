"""All commands: each says what it does and shows how, and an error of usage names what there is."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from routilux.cli.main import ADDINGS, main, make_parser
from routilux.cli.parsing import CommandParser

COMMANDS = [name for adding in ADDINGS for name in adding.told]
PROGRAM = """
import sys
from routilux.cli.main import main
status = main({words!r})
print(status, len(sys.modules), "msgspec" in sys.modules, "pykka" in sys.modules, file=sys.stderr)
"""


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(words)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def parser_of(command: str) -> CommandParser:
    (action,) = [action for action in make_parser(command)._actions if action.dest not in {"help", "version"}]
    assert isinstance(action.choices, dict)
    parser = action.choices[command]
    assert isinstance(parser, CommandParser)
    return parser


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_what_it_does_and_shows_how(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, help_, _ = told(capsys, command, "--help")
    assert status == 0
    parser = parser_of(command)
    parser.format_help()  # what a command does is told where it is carried out
    assert parser.description
    assert parser.description.split("\n")[0] in " ".join(help_.split())
    examples = [line.strip() for line in str(parser.epilog).splitlines() if line.startswith("  routilux ")]
    assert examples
    for example in examples:
        assert example in help_
        # Behind two spaces and a parenthesis something is said of it.
        words = shlex.split(example.partition("  (")[0].partition(" | ")[0].partition(" > ")[0])
        assert words[:2] == ["routilux", command]
        assert callable(make_parser(command).parse_args(words[1:]).command)


def test_the_overview_tells_every_command_and_each_only_once(capsys: pytest.CaptureFixture[str]) -> None:
    status, help_, _ = told(capsys, "--help")
    assert status == 0
    assert len(COMMANDS) == len(set(COMMANDS))
    for adding in ADDINGS:
        for name, line in adding.told.items():
            assert re.search(rf"^    {name}\s", help_, re.MULTILINE)
            assert line in " ".join(help_.split())


@pytest.mark.parametrize("adding", ADDINGS, ids=lambda adding: adding.where)
def test_who_adds_commands_adds_those_that_are_told(adding: object) -> None:
    (first, *_) = adding.told  # type: ignore[attr-defined]
    (action,) = [action for action in make_parser(first)._actions if action.dest not in {"help", "version"}]
    assert set(action.choices or ()) == set(COMMANDS)


def test_a_command_that_is_not_there_is_told_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = told(capsys, "jbos", "--store", "x")
    assert status == 2
    assert err.startswith("routilux: there is no command 'jbos'; there are 'run', 'check'")
    assert err.endswith("did you mean 'jobs'?\n")


def test_an_option_that_is_not_there_is_an_error_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = told(capsys, "jobs", "--store", "x", "--jsno")
    assert status == 2
    assert err.startswith("usage: routilux jobs ")
    assert err.endswith("unrecognized arguments: --jsno; did you mean '--json'?\n")
    assert told(capsys, "jobs", "--store", "x", "more")[2].endswith("unrecognized arguments: more\n")


def test_no_command_at_all_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = told(capsys)
    assert status == 2
    assert "required: COMMAND" in err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--help"], "0 {} False False"),
        (["--version"], "0 {} False False"),
        (["jobs", "--store", "none"], "2 {} True False"),
    ],
)
def test_a_command_loads_what_it_needs_alone(words: list[str], expected: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(words=words)], capture_output=True, text=True, check=False
    )
    line = ended.stderr.splitlines()[-1]
    assert line == expected.format(line.split()[1])


def test_the_package_is_run_as_the_command_is() -> None:
    ended = subprocess.run([sys.executable, "-m", "routilux", "--version"], capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("routilux ")
