"""The faults of the suite, one a line: what is done, where that makes sense, and the words it must be told in."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tests.faults import deeds

ANYWHERE = ("thread", "process")
PROCESS = ("process",)
STRATEGIES = ("continue", "retry", "skip", "stop")
HANG_SECONDS = 0.3
"""What a handler that hangs is given: as little as makes no other message of the suite late."""


class Kind(Enum):
    """What a fault does to its turn."""

    RAISES = "raises"
    DIES = "dies"
    HARMLESS = "harmless"


class Where(Enum):
    """Where the deed is done: after the handler's `emit`, or where its value is emitted, or where one arrives."""

    HANDLER = "handler"
    EMIT = "emit"
    ARRIVAL = "arrival"


@dataclass(frozen=True)
class Fault:
    """One fault.

    Args:
        deed: what is done, or what makes the value that does it.
        told: words that the cause must hold.
        kind: what it does to its turn.
        where: where the deed is done.
        placements: of the faulty routine.
        strategies: those that `make test` runs it with; the others are left to `make faults`.
        options: more options of the faulty routine.
        prints: whether its worker prints: what it says comes out under the routine's name.
        long: whether it is left to `make faults` altogether.
        is_unseen: whether nobody can tell what its worker was on when it died, nor how it did: on another machine.
    """

    deed: Callable[[], Any]
    told: tuple[str, ...]
    kind: Kind = Kind.RAISES
    where: Where = Where.HANDLER
    placements: tuple[str, ...] = ANYWHERE
    strategies: tuple[str, ...] = ("continue", "retry")
    options: dict[str, Any] = field(default_factory=dict)
    prints: bool = False
    long: bool = False
    is_unseen: bool = False

    @property
    def name(self) -> str:
        """Its name in the ids of tests."""
        deed = self.deed
        return signal.Signals(deed.number).name if isinstance(deed, deeds.Signal) else deed.__name__

    @property
    def passes(self) -> bool:
        """Whether a later try can succeed: what is in a message stays in it."""
        return self.where is not Where.ARRIVAL


def _dies(deed: Callable[[], Any], *told: str, **more: Any) -> Fault:
    return Fault(deed, told, Kind.DIES, placements=PROCESS, **more)


def _hangs(deed: Callable[[], Any], *told: str, **more: Any) -> Fault:
    told = told or (f"took longer than {HANG_SECONDS:g} s",)
    options = {"timeout": HANG_SECONDS}
    return Fault(deed, told, Kind.DIES, placements=PROCESS, strategies=("continue",), options=options, **more)


def _emits(deed: Callable[[], Any], *told: str, **more: Any) -> Fault:
    return Fault(deed, told, where=Where.EMIT, **more)


def _arrives(deed: Callable[[], Any], *told: str, **more: Any) -> Fault:
    return Fault(deed, told, where=Where.ARRIVAL, **more)


def _harmless(deed: Callable[[], Any], **more: Any) -> Fault:
    return Fault(deed, (), Kind.HARMLESS, placements=PROCESS, strategies=("continue",), **more)


CARRIED_ERRORS = [
    Fault(deeds.raise_plainly, ("ValueError: the message is bad",), strategies=STRATEGIES),
    Fault(deeds.raise_unpicklable, ("Unpicklable: cannot",)),
    Fault(deeds.raise_one_way, ("OneWay: no way back",)),
    Fault(deeds.raise_that_leaves_on_pickling, ("LeavesOnPickling: on its way",)),
    Fault(deeds.raise_long, ("ValueError: long xxx", "[cut]")),
    Fault(deeds.raise_lone_surrogate, ("FileNotFoundError", "name-\\udcff")),
]
"""Errors that are hard on the way out of a process."""
OTHER_ERRORS = [
    Fault(deeds.want_memory, ("MemoryError",)),
    Fault(deeds.recurse, ("RecursionError",)),
    Fault(deeds.interrupt, ("KeyboardInterrupt",)),
    Fault(deeds.exit_softly, ("SystemExit: 3",)),
    Fault(deeds.raise_deep_group, ("ExceptionGroup: a shell",)),
    Fault(deeds.raise_mute_for_good, ("MuteForGood: <its __str__ raised SystemExit>",)),
    Fault(deeds.raise_mute, ("Mute: <its __str__ raised RuntimeError>",)),
    Fault(deeds.raise_nameless, ("Nameless: <its __str__ raised TypeError>",)),
    Fault(deeds.raise_secretive, ("Secretive: in words",)),
    Fault(deeds.raise_long_notes, ("ValueError: noted",)),
    Fault(deeds.raise_with_terminal_codes, ("ValueError: a title",)),
    Fault(deeds.raise_chain, ("ValueError: number 499",)),
    Fault(deeds.raise_cyclic_context, ("ValueError: first",)),
    Fault(deeds.raise_cyclic_cause, ("ValueError: of itself",)),
    Fault(deeds.raise_group, ("ExceptionGroup: outer (2 sub-exceptions)",)),
    Fault(deeds.exit_with_words, ("SystemExit: farewell",)),
    Fault(deeds.end_generator, ("GeneratorExit",)),
    Fault(deeds.stop_iterating, ("StopIteration: 1",)),
    Fault(deeds.be_cancelled, ("CancelledError",)),
    Fault(deeds.raise_own, ("Own: not an Exception",)),
    Fault(deeds.fail_to_assert, ("AssertionError",)),
]
ERRORS = [*CARRIED_ERRORS, *OTHER_ERRORS]
VALUES = [
    _emits(deeds.make_unpicklable, "emit('handled')['cargo']['items'][1]", "lock"),
    _emits(deeds.make_raising_on_pickling, "['cargo']['items'][1]", "the message is bad"),
    _emits(deeds.make_leaving_on_pickling, "SystemExit: 3", strategies=("continue",)),
    _emits(deeds.make_too_large, "cannot be carried: it takes more than the 267,", strategies=("continue",)),
    _emits(deeds.make_gigabyte, "cannot be carried: it takes more than the 267,", long=True),
    _emits(deeds.make_deep, "nested too deeply", strategies=("continue",)),
    _arrives(deeds.make_raising_on_arrival, "could not be turned back", "the message is bad"),
    _arrives(deeds.make_leaving_on_arrival, "could not be turned back", "SystemExit: 3", strategies=("continue",)),
    _arrives(
        deeds.make_dying_on_arrival, "exited with code 7", kind=Kind.DIES, placements=PROCESS, strategies=("continue",)
    ),
    _emits(
        deeds.make_dying_on_pickling, "exited with code 7", kind=Kind.DIES, placements=PROCESS, strategies=("continue",)
    ),
]
SIGNALS = [
    _dies(deeds.Signal(number), number.name, strategies=("continue",), long=number is not signal.SIGTERM)
    for number in signal.valid_signals()
    if isinstance(number, signal.Signals)
    and number
    not in {
        signal.SIGCHLD,  # ignored
        signal.SIGCONT,
        signal.SIGURG,
        signal.SIGWINCH,
        signal.SIGSTOP,  # stop a process, and are among the hangs
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
        signal.SIGRTMIN,  # without names of their own
        signal.SIGRTMAX,
    }
]
DEATHS = [
    _dies(deeds.exit_hard, "exited with code 0", strategies=("continue",)),
    _dies(deeds.exit_hard_with_code, "exited with code 7", long=True),
    _dies(deeds.be_killed, "SIGKILL", strategies=STRATEGIES),
    _dies(deeds.segfault, "SIGSEGV", prints=True, strategies=("continue",)),
    _dies(deeds.abort, "SIGABRT", prints=True, long=True),
    _dies(deeds.raise_that_dies_on_pickling, "exited with code 5", strategies=("continue",)),
    _dies(deeds.die_in_a_large_frame, "SIGKILL", where=Where.EMIT, strategies=("continue",)),
    # What it had yet to send, it cannot, and says so.
    _dies(
        deeds.shut_channel,
        "broke the channel's protocol: it has lost its channel",
        prints=True,
        strategies=("continue",),
    ),
    _dies(deeds.write_garbage, "broke the channel's protocol", prints=True, strategies=("continue",)),
    _dies(deeds.end_main_thread_with_fork, "SIGKILL", strategies=("continue",)),
    *SIGNALS,
]
HANGS = [
    _hangs(deeds.hang),
    _hangs(deeds.spin, long=True),
    _hangs(deeds.ignore_signals_and_hang),
    _hangs(deeds.stand_still),
]
MEMORY = {"memory_limit": deeds.MEMORY_LIMIT}
LIMITS = [
    _dies(deeds.hold_memory, "MiB, over its memory_limit of 128 MiB", options=MEMORY, strategies=("continue",)),
    Fault(deeds.take_memory, ("MemoryError",), placements=PROCESS, options=MEMORY),
]
FAULTS = [*ERRORS, *VALUES, *DEATHS, *HANGS, *LIMITS]
HARMLESS = [
    _harmless(deeds.fork_and_return),
    _harmless(deeds.leave_a_copy, long=True),
    _harmless(deeds.leave_a_program, long=True),
    _harmless(deeds.leave_a_thread),
    _harmless(deeds.flood, prints=True),
    _harmless(deeds.flood_without_lines, prints=True, long=True),
    _harmless(deeds.close_output),
    _harmless(deeds.forget_output, long=True),
    _harmless(deeds.ignore_the_polite_signals),
    _harmless(deeds.change_the_surroundings),
]
