"""The parsers of commands: what each says in its help, and what an error of usage names.

Owns how a command is found, and loaded when it is carried out: `routilux --help` loads none of them. Never carries one
out itself.
"""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias, cast

from routilux.hints import did_you_mean

Commands: TypeAlias = "argparse._SubParsersAction[CommandParser]"  # noqa: SLF001  argparse names it nowhere else
Command: TypeAlias = Callable[[argparse.Namespace], int]

MAY_BE_EMPTY = "TEXT"
"""What the words are called that may be empty: they are for people."""
_UNKNOWN = re.compile(r"unrecognized arguments: (.*)", re.DOTALL)


class Later:
    """The function of a command, whose module is loaded when it is called, or when its help is asked for.

    Args:
        module: where it is.
        name: what it is called there.
    """

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    def __call__(self, options: argparse.Namespace) -> int:
        return self.load()(options)

    def load(self) -> Command:
        """Give the function itself."""
        return cast("Command", getattr(importlib.import_module(self._module), self._name))


class CommandParser(argparse.ArgumentParser):
    """The parser of one command. Its description is the docstring of the command's function; examples come below it.

    Args:
        args: as for `argparse.ArgumentParser`.
        examples: lines of a shell that show how it is used; what is said of one follows two spaces, in parentheses.
        named: as for `argparse.ArgumentParser`.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **named: Any) -> None:
        if examples:
            named["epilog"] = "\n".join(
                ["examples:" if len(examples) > 1 else "example:", *(f"  {e}" for e in examples)]
            )
        named.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **named)

    def add_argument(self, *names: Any, **named: Any) -> argparse.Action:
        """Add one; what is text of the user's is refused where it is empty: a variable of a shell that is not set."""
        is_text = named.get("action") in {None, "append"} and not named.keys() & {"type", "choices"}
        if is_text and named.get("metavar") != MAY_BE_EMPTY:
            named["type"] = _word
        return super().add_argument(*names, **named)

    def format_help(self) -> str:
        """Give the help, with the description of the function that carries the command out."""
        command = self.get_default("command")
        if self.description is None and isinstance(command, Later):
            self.description = command.load().__doc__
        return super().format_help()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse; what is left over is an error of this command, and not of `routilux` as a whole."""
        options, left = super().parse_known_args(args, namespace)
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}")
        return options, left

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong, with the option that may have been meant, and end with status 2."""
        unknown = _UNKNOWN.fullmatch(message)
        if unknown is not None:
            word = unknown[1].split(maxsplit=1)[0]
            message += did_you_mean(
                word.partition("=")[0], [name for name in self._option_string_actions if name.startswith("--")]
            )
        super().error(message)


def _word(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("it is empty, as of a variable of the shell that is not set")
    return text
