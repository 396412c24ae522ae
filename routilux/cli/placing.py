"""What `--placement` and `--address` say: where the routines of a flow run.

Owns the reading of their words, and what is told of routines that stay where they are. What keeps one is for
`model.placing`.
"""

from __future__ import annotations

import os
import re

from routilux.cli.errors import UsageError
from routilux.cli.output import tell
from routilux.errors import OptionError
from routilux.flow import Flow
from routilux.hints import describe_names
from routilux.model.options import PLACEMENTS
from routilux.model.placing import place
from supervisors.text import printable

ADDRESS_VARIABLE = "RAY_ADDRESS"
"""Where Ray itself looks for its cluster."""
_WORDS = {"thread": "on a thread", "process": "in a process", "ray": "on Ray"}
_ADDRESS = re.compile(r"auto|local|(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")


def place_routines(flow: Flow, given: list[str]) -> None:
    """Place the routines of a flow; tell which stay where they are, and what of their options was left behind.

    Args:
        flow: the flow, which is changed.
        given: the words of `--placement`.

    Raises:
        UsageError: there is no such placement or routine, two of the words say different things, or a routine that is
            named cannot run there.
    """
    everywhere, named = read_placements(given, flow)
    wanted = {**(dict.fromkeys(flow.routines, everywhere) if everywhere else {}), **named}
    for routine_id, placement in wanted.items():
        if flow.options[routine_id].placement == placement:
            continue
        need = flow.routines[routine_id].needs_here() if placement == "ray" else None
        if need is not None and routine_id not in named:
            told = f"works on {need} of this machine; --placement ray={routine_id} moves it all the same"
            _tell_staying(flow, routine_id, told)
            continue
        try:
            left = place(flow, routine_id, placement)
        except OptionError as error:
            if routine_id in named:
                raise UsageError(f"--placement {placement}={routine_id}: {error}") from error
            _tell_staying(flow, routine_id, str(error))
        else:
            if left:
                told = f"without its {', '.join(left)}, which mean nothing there"
                tell(printable(f"routine {routine_id!r} runs {_WORDS[placement]}, {told}"))


def read_placements(given: list[str], flow: Flow) -> tuple[str, dict[str, str]]:
    """Read `WHERE` and `WHERE=ID,...` words.

    Args:
        given: the words.
        flow: whose routines they name.

    Returns:
        The placement of all that can, "" for none; and that of routines that are named, by id.

    Raises:
        UsageError: one means nothing, or two of them contradict each other.
    """
    everywhere = ""
    named: dict[str, str] = {}
    for word in given:
        placement, separator, ids = word.partition("=")
        if placement not in PLACEMENTS:
            known = describe_names(placement, PLACEMENTS, "there are", "")
            raise UsageError(f"--placement: expected WHERE or WHERE=ID,..., got {word!r}; {known}")
        if not separator:
            if everywhere not in {"", placement}:
                raise UsageError(f"--placement: all routines are to run {_WORDS[everywhere]} and {_WORDS[placement]}")
            everywhere = placement
            continue
        for routine_id in ids.split(","):
            if routine_id not in flow.routines:
                known = describe_names(routine_id, flow.routines, "its routines are", "it has no routines")
                raise UsageError(f"--placement {word}: the flow has no routine {routine_id!r}; {known}")
            if named.setdefault(routine_id, placement) != placement:
                both = f"{_WORDS[named[routine_id]]} and {_WORDS[placement]}"
                raise UsageError(f"--placement: routine {routine_id!r} is to run {both}")
    return everywhere, named


def use_address(address: str | None, flow: Flow) -> None:
    """Have Ray use the cluster of that address in this program; None: whichever it finds.

    Raises:
        UsageError: it is no address, or no routine of the flow is placed on Ray.
    """
    if address is None:
        return
    if not _ADDRESS.fullmatch(address):
        hint = ""
        if "://" in address:
            hint = "; Ray Client is not used: run this on a machine of the cluster"
        raise UsageError(f"--address: expected auto, local or HOST:PORT, got {address!r}{hint}")
    if not any(own.placement == "ray" for own in flow.options.values()):
        raise UsageError("--address means nothing for a flow without routines on Ray: give --placement ray too")
    os.environ[ADDRESS_VARIABLE] = address


def _tell_staying(flow: Flow, routine_id: str, why: str) -> None:
    tell(printable(f"routine {routine_id!r} stays {_WORDS[flow.options[routine_id].placement]}: {why}"))
