"""What ends a command before it has done what it was asked: told in one line, with an exit status.

RoutiluxError
  CommandError
    UsageError       what was asked for cannot be: 2
    BrokenFlowError  the user's module raised, or the flow cannot run: 1
"""

from __future__ import annotations

from routilux.errors import RoutiluxError

INTERRUPTED = 130
"""Exit status of what Ctrl-C has ended, as shells have it."""


class CommandError(RoutiluxError):
    """A command cannot be carried out; told in one line.

    Args:
        message: what is wrong, and what there is instead.
        exit_status: of the program.
    """

    def __init__(self, message: str, exit_status: int) -> None:
        self.exit_status = exit_status
        super().__init__(message)


class UsageError(CommandError):
    """What was asked for on the command line cannot be."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 2)


class BrokenFlowError(CommandError):
    """The user's module raised where the flow is built, or the flow cannot run as it is."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 1)
