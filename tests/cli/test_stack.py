from __future__ import annotations

import pytest

from routilux.cli.stack import tell_stack
from routilux.control.frames import Stack

TEXT = '  File "mine.py", line 3, in go\n    self.emit("n", n=1)\n'


@pytest.mark.parametrize(
    ("stack", "head"),
    [
        (Stack("read", None, "a thread", "", None, ""), "read, a thread, waits for messages"),
        (Stack("read", 0, "pid 7", "", None, ""), "read[0], pid 7, has not told where it is"),
        (
            Stack("read", None, "a thread", "ab" * 16, None, TEXT, ("parse", "tally")),
            "read, a thread, message abababab, held back: waits for room in parse, tally",
        ),
        (Stack("read", None, "a thread", "", None, "", ("x",)), "read, a thread, held back: waits for room in x"),
    ],
)
def test_what_a_handler_waits_for_is_told_at_the_head_of_its_stack(stack: Stack, head: str) -> None:
    assert list(tell_stack(stack)) == [head, *(f"  {line}" for line in stack.text.splitlines())]
